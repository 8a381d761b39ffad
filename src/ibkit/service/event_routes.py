"""Where one listens: to orders, quotes and connections, as server-sent events and as WebSockets."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass
from typing import Any

from litestar import WebSocket, get, websocket
from litestar.handlers import HTTPRouteHandler, WebsocketRouteHandler

from ibkit.service.browsers import Browsers, check_own_page, cookie_of
from ibkit.service.connection_events import ConnectionEvents, after_of
from ibkit.service.events import EventStream, Seats, Source, Standing, serve_socket
from ibkit.service.order_events import OrderEvents
from ibkit.service.quote_events import QuoteEvents
from ibkit.service.requests import AnyRequest, headers_of, quotes_of, since_of
from ibkit.users.principal import Authenticator, Principal

__all__ = ["Listening", "event_routes"]

ORDERS = ["/broker-order/events", "/api/broker-order/events"]
CONNECTIONS = "/api/ibkr/events"
QUOTES = ["/quotes/events", "/api/quotes/events"]

Opens = Callable[[Principal, Iterable[tuple[str, str]], list[str]], Awaitable[Source]]
"""Who, the query, every Last-Event-ID."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Listening:
    """What the routes need. browsers: who holds a cookie. origins: pages beside our own that may open a WebSocket."""

    authenticator: Authenticator
    browsers: Browsers
    orders: OrderEvents
    quotes: QuoteEvents
    connections: ConnectionEvents
    seats: Seats
    origins: frozenset[str]


def event_routes(listening: Listening) -> list[HTTPRouteHandler | WebsocketRouteHandler]:
    async def orders(who: Principal, query: Iterable[tuple[str, str]], last: list[str]) -> Source:
        return await listening.orders.stream(who, since_of(query, last))

    async def quotes(who: Principal, query: Iterable[tuple[str, str]], last: list[str]) -> Source:
        del last  # of quotes only the newest counts
        return await listening.quotes.stream(who, quotes_of(query))

    async def connections(who: Principal, query: Iterable[tuple[str, str]], last: list[str]) -> Source:
        return await listening.connections.stream(who, after_of(query, last))

    async def told(request: AnyRequest, opens: Opens) -> EventStream:
        address = str(request.scope.get("state", {}).get("address", ""))
        headers = headers_of(request, "authorization")
        cookie = None if headers else cookie_of(request)
        if cookie is not None:
            check_own_page(request)
        standing = Standing(listening.authenticator, headers, address, listening.browsers, cookie)
        last = headers_of(request, "last-event-id")
        who = await standing.who(again=True)  # a page opens and opens again by itself: that is no use of the session
        listening.seats.check(who.user_id)
        source = await opens(who, request.query_params.multi_items(), last)
        return EventStream(source, listening.seats, who, standing)

    async def carried(socket: WebSocket[Any, Any, Any], opens: Opens) -> None:
        await serve_socket(
            socket,
            authenticator=listening.authenticator,
            browsers=listening.browsers,
            seats=listening.seats,
            origins=listening.origins,
            opens=lambda who: opens(who, socket.query_params.multi_items(), []),
        )

    @get(ORDERS)
    async def order_events(request: AnyRequest) -> EventStream:
        return await told(request, orders)

    @get(QUOTES)
    async def quote_events(request: AnyRequest) -> EventStream:
        return await told(request, quotes)

    @get(CONNECTIONS)
    async def connection_events(request: AnyRequest) -> EventStream:
        return await told(request, connections)

    @websocket(CONNECTIONS)
    async def connection_socket(socket: WebSocket[Any, Any, Any]) -> None:
        await carried(socket, connections)

    @websocket(ORDERS)
    async def order_socket(socket: WebSocket[Any, Any, Any]) -> None:
        await carried(socket, orders)

    @websocket(QUOTES)
    async def quote_socket(socket: WebSocket[Any, Any, Any]) -> None:
        await carried(socket, quotes)

    return [order_events, quote_events, connection_events, order_socket, quote_socket, connection_socket]
