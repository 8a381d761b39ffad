"""Selling options with their stops over HTTP: previewed, made, and how a sale stands."""

from __future__ import annotations

from typing import TYPE_CHECKING

from litestar import Response, get, post
from litestar.handlers import HTTPRouteHandler

from ibkit.service.idempotency_key import HEADER, read_key
from ibkit.service.people import may_read
from ibkit.service.requests import AnyRequest, headers_of
from ibkit.service.responses import response
from ibkit.service.sale_wish import SaleWish
from ibkit.trading.ref import make_key

if TYPE_CHECKING:
    from ibkit.service.app import Service

__all__ = ["sale_routes"]


def sale_routes(service: Service) -> list[HTTPRouteHandler]:
    asked, sales, traders = service.asked, service.sales, service.traders

    @post("/api/option-sale/preview", status_code=200)
    async def preview(request: AnyRequest) -> Response[bytes]:
        who = await traders.who(request)
        wish = SaleWish.read(await traders.body(who, request))
        return response(await sales.preview(who, wish, make_key(service.random)))

    @post("/api/option-sale", status_code=200)
    async def sell(request: AnyRequest) -> Response[bytes]:
        who = await traders.who(request)
        key = read_key(headers_of(request, HEADER), user_id=who.user_id)
        wish = SaleWish.read(await traders.body(who, request))
        await service.refuse_new(lambda: sales.known(who, key))
        return response(await sales.sell(who, wish, key))

    @get("/api/option-sale/{key:str}")
    async def show(request: AnyRequest) -> Response[bytes]:
        who = await asked.who(request)
        may_read(who)
        return response(await sales.show(who, str(request.path_params["key"])))

    return [preview, sell, show]
