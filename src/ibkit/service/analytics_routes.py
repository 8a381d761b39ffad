"""`/portfolio/{id}/analytics`: the figures of a portfolio, now or as of a day; by POST beside a benchmark.

Requirement FUT-05.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date
from typing import TYPE_CHECKING

import anyio.to_thread
from litestar import Response, get, post
from litestar.handlers import HTTPRouteHandler

from ibkit.portfolio.analytics.levels import LARGEST_TABLE, levels_of
from ibkit.service.analytics_documents import analytics_info
from ibkit.service.orders import Answer
from ibkit.service.people import may_read_books
from ibkit.service.refusals import invalid
from ibkit.service.requests import AnyRequest, days_in, once
from ibkit.service.responses import response

if TYPE_CHECKING:
    from ibkit.service.app import Service

__all__ = ["analytics_routes", "benchmark_in"]

_DAYS = ("as_of", "from", "to")
_PATHS = ["/portfolio/{portfolio_id:str}/analytics", "/api/portfolio/{portfolio_id:str}/analytics"]


def analytics_routes(service: Service) -> list[HTTPRouteHandler]:
    async def answered(request: AnyRequest, user_id: str, benchmark: Mapping[date, float] | None) -> Response[bytes]:
        given, problems = once(request.query_params.multi_items(), (*_DAYS, "currency"))
        days, wrong = days_in(given, _DAYS)
        problems += wrong
        if problems:
            raise invalid(*problems)
        found = await service.portfolios.figures(
            user_id,
            str(request.path_params["portfolio_id"]),
            as_of=days["as_of"],
            since=days["from"],
            until=days["to"],
            currency=given.get("currency"),
            benchmark=benchmark,
        )
        return response(Answer(200, analytics_info(found)))

    @get(_PATHS)
    async def analytics(request: AnyRequest) -> Response[bytes]:
        who = await service.asked.who(request)
        may_read_books(who)
        return await answered(request, who.user_id, None)

    @post(_PATHS, status_code=200)
    async def compared(request: AnyRequest) -> Response[bytes]:
        who = await service.asked.who(request)
        may_read_books(who)
        service.acts.take(who.user_id)
        return await answered(request, who.user_id, await benchmark_in(service, request, who.user_id))

    return [analytics, compared]


async def benchmark_in(service: Service, request: AnyRequest, user_id: str) -> Mapping[date, float]:
    """Out of the body. NotFound; Refusal as `Asked.raw`; ConfigError (E-VALIDATION) where it cannot be read."""
    await service.portfolios.books.get(user_id, str(request.path_params["portfolio_id"]))
    _, body = await service.asked.raw(request, ("text/csv",), largest=LARGEST_TABLE)
    try:
        return await anyio.to_thread.run_sync(levels_of, body)
    except ValueError as error:
        raise invalid(("benchmark", str(error))) from error
