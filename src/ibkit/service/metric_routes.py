"""Figures over HTTP: this process's for Prometheus, and those of every process, minute by minute, for administrators.

Source: requirement MON-05.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Literal

import anyio.to_thread
import msgspec
from litestar import Response, get
from litestar.handlers import HTTPRouteHandler

from ibkit.bootstrap.connections import Connection
from ibkit.notify.exposition import CONTENT_TYPE, document_of, exposition
from ibkit.notify.metrics import Metrics
from ibkit.notify.minutes import KEPT, figures_of, total
from ibkit.service.operation import Operation, query
from ibkit.service.orders import Answer
from ibkit.service.people import may_administer
from ibkit.service.refusals import invalid
from ibkit.service.requests import AnyRequest, moment, once
from ibkit.service.responses import response
from ibkit.store.metric_minutes import SqlMinutes
from ibkit.store.records import open_records

if TYPE_CHECKING:
    from ibkit.service.app import Service

__all__ = ["METRICS", "MetricList", "metric_routes"]

LONGEST = timedelta(days=1)
"""A day of minutes is some thousand rows; thirty would be read for seconds, and by everybody's database."""
_MINUTE = "minute"


class MetricInfo(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One endpoint over one connection. count: calls that were asked for; errors: how many ended with each code.

    attempts: requests on the line; pool_in_use_max: most connections that carried one at once. minute: null for a span.
    Times in seconds, null without any; error_rate 0 to 1.
    """

    minute: datetime | None
    connection: str
    endpoint: str
    count: int
    errors: dict[str, int]
    error_rate: float
    mean_s: float | None
    p50_s: float | None
    p95_s: float | None
    p99_s: float | None
    attempts: int
    retries: int
    bytes_sent: int
    bytes_received: int
    rate_limit_waits: int
    rate_limit_wait_s: float
    pool_in_use_max: int


class MetricList(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """since ≤ minute < until: whole minutes that are over."""

    since: datetime
    until: datetime
    data: list[MetricInfo]


METRICS: tuple[Operation, ...] = (
    Operation(
        path="/api/metrics",
        method="get",
        name="listMetrics",
        summary="Calls to the broker by connection and endpoint: number, errors, response times, bytes, waits",
        answers={200: MetricList},
        errors=(400, 401, 403, 422, 503),
        parameters=(
            query("since", {"type": "string", "format": "date-time"}, "From then on; a day before `until`."),
            query("until", {"type": "string", "format": "date-time"}, "Before then; now. At most a day after `since`."),
            query("connection", {"type": "string", "maxLength": 64}, "Only of this one, as it is called in the rows."),
            query("by", {"enum": ["span", _MINUTE]}, "One row for the whole time, or one for each minute."),
        ),
    ),
)


def metric_routes(service: Service) -> list[HTTPRouteHandler]:
    @get("/metrics")
    async def metrics() -> Response[bytes]:
        """Figures of this process, by Prometheus' rules; no account, no order and nobody is named in them."""
        found = Metrics.merged(each.measuring.metrics for each in _connections(service))
        return Response((exposition(found) + service.http.exposition()).encode(), media_type=CONTENT_TYPE)

    @get("/api/metrics")
    async def listed(request: AnyRequest) -> Response[bytes]:
        may_administer(await service.asked.who(request))
        since, until, connection, by = _asked_for(request, service.clock.now())
        async with _minutes(service) as minutes:
            rows = await minutes.rows(since, until, connection=connection)
        data = (
            [_info(each) for each in document_of(total(rows))]
            if by == "span"
            else [_info(each, minute=row[_MINUTE]) for key, row in rows for each in document_of({key: figures_of(row)})]
        )
        return response(Answer(200, MetricList(since=since, until=until, data=data)))

    return [metrics, listed]


def _info(row: Mapping[str, object], *, minute: object = None) -> MetricInfo:
    return msgspec.convert({**row, _MINUTE: minute}, MetricInfo)


def _connections(service: Service) -> list[Connection]:
    """The open logins; a simulated one beside them has figures of its own, which say nothing."""
    found = [login for login in service.brokers.opened.values() if isinstance(login, Connection)]
    return [each for each in found if each.settings.mock == service.simulated]


@asynccontextmanager
async def _minutes(service: Service) -> AsyncIterator[SqlMinutes]:
    """Of a login's database, which is open; else the settings'."""
    for each in _connections(service):
        if each.books.records is not None:
            yield SqlMinutes(each.books.records)
            return
    url = service.settings.database_url
    database = await anyio.to_thread.run_sync(lambda: open_records(url, parts=("metrics",)))
    try:
        yield SqlMinutes(database)
    finally:
        await database.close()


def _asked_for(request: AnyRequest, now: datetime) -> tuple[datetime, datetime, str | None, Literal["span", "minute"]]:
    """ConfigError (E-VALIDATION, 422) naming each parameter that is wrong."""
    given, problems = once(request.query_params.multi_items(), ("since", "until", "connection", "by"))
    moments = {name: moment(given[name]) for name in ("since", "until") if name in given}
    problems += [
        (name, "it is a day or a moment like 2026-11-20 or 2026-11-20T15:30:00Z")
        for name, at in moments.items()
        if at is None
    ]
    connection, by = given.get("connection"), given.get("by", "span")
    if connection is not None and not 0 < len(connection) <= 64:
        problems.append(("connection", "it has 1 to 64 characters"))
    if by not in ("span", _MINUTE):
        problems.append(("by", "it is span or minute"))
    if problems:
        raise invalid(*problems)
    until = moments.get("until") or now
    since = moments.get("since") or until - LONGEST
    if not timedelta(0) < until - since <= LONGEST:
        raise invalid(("since", f"it lies before `until`, at most {LONGEST.days} day; {KEPT.days} days are kept"))
    return since, until, connection, "minute" if by == _MINUTE else "span"
