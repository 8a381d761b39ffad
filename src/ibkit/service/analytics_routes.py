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

from ibkit.bootstrap.portfolio_greeks import greeks_of
from ibkit.client.core import Core
from ibkit.portfolio.analytics.levels import LARGEST_TABLE, levels_of
from ibkit.portfolio.analytics.options import Greeks
from ibkit.portfolio.book import Link
from ibkit.service.analytics_documents import analytics_info
from ibkit.service.orders import Answer
from ibkit.service.people import may_read_books
from ibkit.service.refusals import invalid
from ibkit.service.requests import AnyRequest, address_of, days_in, once
from ibkit.service.responses import response
from ibkit.users.principal import Principal

if TYPE_CHECKING:
    from ibkit.service.app import Service

__all__ = ["analytics_routes", "benchmark_in"]

_DAYS = ("as_of", "from", "to")
_PATHS = ["/portfolio/{portfolio_id:str}/analytics", "/api/portfolio/{portfolio_id:str}/analytics"]


def analytics_routes(service: Service) -> list[HTTPRouteHandler]:
    async def answered(request: AnyRequest, who: Principal, benchmark: Mapping[date, float] | None) -> Response[bytes]:
        given, problems = once(request.query_params.multi_items(), (*_DAYS, "currency", "greeks"))
        days, wrong = days_in(given, _DAYS)
        problems += wrong
        if given.get("greeks", "false") not in ("true", "false"):
            problems.append(("greeks", "it is true or false"))
        if problems:
            raise invalid(*problems)
        portfolio_id = str(request.path_params["portfolio_id"])
        greeks = None
        if given.get("greeks") == "true" and days["as_of"] is None:
            greeks = await _greeks(service, who, portfolio_id, request)
        found = await service.portfolios.figures(
            who.user_id,
            portfolio_id,
            as_of=days["as_of"],
            since=days["from"],
            until=days["to"],
            currency=given.get("currency"),
            benchmark=benchmark,
            greeks=greeks,
        )
        return response(Answer(200, analytics_info(found)))

    @get(_PATHS)
    async def analytics(request: AnyRequest) -> Response[bytes]:
        who = await service.asked.who(request)
        may_read_books(who)
        return await answered(request, who, None)

    @post(_PATHS, status_code=200)
    async def compared(request: AnyRequest) -> Response[bytes]:
        who = await service.asked.who(request)
        may_read_books(who)
        service.acts.take(who.user_id)
        return await answered(request, who, await benchmark_in(service, request, who.user_id))

    return [analytics, compared]


async def _greeks(service: Service, who: Principal, portfolio_id: str, request: AnyRequest) -> Mapping[int, Greeks]:
    """By the logins of the accounts' links, which are opened for nothing of it."""
    service.acts.take(who.user_id)
    portfolio = await service.portfolios.books.get(who.user_id, portfolio_id)

    async def login_of(link: Link) -> Core | None:
        if service.portfolios.is_without_session(link):
            return None
        return (await service.own.connection(who, link.connection_id, address=address_of(request))).client

    return await greeks_of(portfolio, login_of)


async def benchmark_in(service: Service, request: AnyRequest, user_id: str) -> Mapping[date, float]:
    """Out of the body. NotFound; Refusal as `Asked.raw`; ConfigError (E-VALIDATION) where it cannot be read."""
    await service.portfolios.books.get(user_id, str(request.path_params["portfolio_id"]))
    _, body = await service.asked.raw(request, ("text/csv",), largest=LARGEST_TABLE)
    try:
        return await anyio.to_thread.run_sync(levels_of, body)
    except ValueError as error:
        raise invalid(("benchmark", str(error))) from error
