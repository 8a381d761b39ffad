"""The option seller's trades over HTTP, one by one and as a whole: those of the accounts that the user may see."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from typing import TYPE_CHECKING

from litestar import Response, get
from litestar.handlers import HTTPRouteHandler

from ibkit.bootstrap.connections import Connection
from ibkit.service.orders import Answer
from ibkit.service.own_connections import IBKR
from ibkit.service.people import may_read, of_theirs
from ibkit.service.refusals import invalid
from ibkit.service.requests import AnyRequest, address_of, days_in, once
from ibkit.service.responses import response
from ibkit.service.trade_documents import TradeList, performance_answer, trade_info
from ibkit.trading.selling.performance import performance_of
from ibkit.trading.selling.trade import Trade, TradeStatus
from ibkit.users import Principal

if TYPE_CHECKING:
    from ibkit.service.app import Service

__all__ = ["trade_routes"]

_LONGEST = {"symbol": 12, "account_id": 32, "broker": 32, "connection_id": 64}
_MOST = 1_000


@dataclass(frozen=True, slots=True, kw_only=True)
class _Wanted:
    """since, until: days of their creation, in UTC, both included."""

    status: TradeStatus | None
    symbol: str | None
    since: date | None
    until: date | None
    account_id: str | None
    broker: str | None
    connection_id: str | None
    limit: int


def trade_routes(service: Service) -> list[HTTPRouteHandler]:
    async def reader(request: AnyRequest) -> Principal:
        who = await service.asked.who(request)
        may_read(who)
        return who

    @get("/api/trades")
    async def listed(request: AnyRequest) -> Response[bytes]:
        who = await reader(request)
        wanted = _wanted(request, "status", "limit")
        found = await _trades(service, who, wanted, address=address_of(request))
        data = [trade_info(each) for each in found[: wanted.limit]]
        return response(Answer(200, TradeList(data=data, more=len(found) > wanted.limit)))

    @get("/api/trades/performance")
    async def performance(request: AnyRequest) -> Response[bytes]:
        who = await reader(request)
        found = await _trades(service, who, _wanted(request), address=address_of(request))
        closed = [each for each in found if each.status is TradeStatus.CLOSED]
        return response(Answer(200, performance_answer(performance_of(closed))))

    return [listed, performance]


async def _trades(service: Service, who: Principal, wanted: _Wanted, *, address: str) -> list[Trade]:
    """Newest first. NotFound for an account or a connection that is not theirs."""
    name = wanted.broker or service.brokers.default
    login = await service.logins.of(who, name, wanted.connection_id, address=address)
    if not isinstance(login, Connection):
        return []
    account_id = None if wanted.account_id is None else of_theirs(who, wanted.account_id)
    seen = await service.own.accounts_of(who) if name == IBKR else who.accounts
    found = await login.books.trades.trades(
        account_id=account_id,
        symbol=wanted.symbol,
        status=wanted.status,
        since=None if wanted.since is None else _midnight(wanted.since),
        until=None if wanted.until is None else _midnight(wanted.until) + timedelta(days=1),
    )
    return [each for each in found if seen is None or each.account_id in seen]


def _midnight(day: date) -> datetime:
    return datetime.combine(day, time.min, UTC)


def _wanted(request: AnyRequest, *more: str) -> _Wanted:
    """ConfigError (E-VALIDATION, 422) naming each filter that is wrong."""
    given, problems = once(request.query_params.multi_items(), ("since", "until", *_LONGEST, *more))
    days, wrong = days_in(given, ("since", "until"))
    problems += wrong
    problems += [
        (name, f"it has 1 to {most} characters")
        for name, most in _LONGEST.items()
        if name in given and not 1 <= len(given[name].strip()) <= most
    ]
    status, limit = given.get("status"), given.get("limit", "200")
    if status not in (None, "open", "closed"):
        problems.append(("status", "it is open or closed"))
    if not (limit.isascii() and limit.isdigit() and 1 <= int(limit[:9]) <= _MOST):
        problems.append(("limit", f"it is a whole number from 1 to {_MOST}"))
    if days["until"] is not None and days["until"] == date.max:
        problems.append(("until", "it is before 9999-12-31"))
    if problems:
        raise invalid(*problems)
    symbol = given.get("symbol")
    return _Wanted(
        status=None if status is None else TradeStatus(status),
        symbol=None if symbol is None else symbol.strip().upper(),
        since=days["since"],
        until=days["until"],
        account_id=given.get("account_id"),
        broker=given.get("broker"),
        connection_id=given.get("connection_id"),
        limit=int(limit),
    )
