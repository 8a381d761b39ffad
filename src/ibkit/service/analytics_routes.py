"""`GET /portfolio/{id}/analytics`: the figures of a portfolio, now or as of a day. Requirement FUT-05."""

from __future__ import annotations

from typing import TYPE_CHECKING

from litestar import Response, get
from litestar.handlers import HTTPRouteHandler

from ibkit.service.analytics_documents import analytics_info
from ibkit.service.orders import Answer
from ibkit.service.people import may_read_books
from ibkit.service.refusals import invalid
from ibkit.service.requests import AnyRequest, days_in, once
from ibkit.service.responses import response

if TYPE_CHECKING:
    from ibkit.service.app import Service

__all__ = ["analytics_routes"]

_DAYS = ("as_of", "from", "to")


def analytics_routes(service: Service) -> list[HTTPRouteHandler]:
    @get(["/portfolio/{portfolio_id:str}/analytics", "/api/portfolio/{portfolio_id:str}/analytics"])
    async def analytics(request: AnyRequest) -> Response[bytes]:
        who = await service.asked.who(request)
        may_read_books(who)
        given, problems = once(request.query_params.multi_items(), (*_DAYS, "currency"))
        days, wrong = days_in(given, _DAYS)
        problems += wrong
        if problems:
            raise invalid(*problems)
        found = await service.portfolios.figures(
            who.user_id,
            str(request.path_params["portfolio_id"]),
            as_of=days["as_of"],
            since=days["from"],
            until=days["to"],
            currency=given.get("currency"),
        )
        return response(Answer(200, analytics_info(found)))

    return [analytics]
