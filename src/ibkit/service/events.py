"""Events to whoever listens: one source, carried as server-sent events or over a WebSocket.

    GET … with Accept: text/event-stream   id, event, data; `: still here` every 15 s
    GET … as an upgrade                    {"id", "event", "data"} each; pings of the protocol

A page of the service itself is let in by its browser's cookie (`browsers.py`). Elsewhere a browser cannot set the
header of an upgrade: there the first message is `{"token": "…"}`, within ten seconds. A token is never looked for in
the URL. Token and cookie are asked for anew every minute: a stream does not outlive them. Who reads nothing for ten
seconds is cut off: orders are found again by the id of the last event, of quotes only the newest counts.

Source: requirements GWY-02, GWY-06; reliability rules §6.5.
"""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping
from contextlib import aclosing, contextmanager, suppress
from dataclasses import dataclass, field
from typing import Any

import anyio
from litestar import Response, WebSocket
from litestar.exceptions import WebSocketDisconnect

from ibkit.errors import AuthError, IbkitError, NotPermitted, RateLimited
from ibkit.model import Secret
from ibkit.service.browsers import Browsers, check_own_page, cookie_of, from_own_page
from ibkit.service.people import check_second_step, may_read, who_asks
from ibkit.service.problems import encode
from ibkit.service.refusals import Refusal
from ibkit.users.principal import Authenticator, Principal

__all__ = ["HEARTBEAT_S", "LONGEST_MESSAGE", "Event", "EventStream", "Seats", "Source", "Standing", "serve_socket"]

HEARTBEAT_S = 15.0
MOST_LISTENERS = 10
SEND_WITHIN_S = 10.0
TOKEN_WITHIN_S = 10.0
ASK_AGAIN_S = 60.0
LONGEST_MESSAGE = 16 * 1024

BAD_REQUEST, NOT_SIGNED_IN, FORBIDDEN, TOO_SLOW, TOO_MANY, OURS = 4400, 4401, 4403, 4408, 4429, 1011


@dataclass(frozen=True, slots=True)
class Event:
    """data: what `encode` takes. id: where to go on after it, None where nothing can be resumed."""

    name: str
    data: Any
    id: str | None = None


Source = AsyncIterator[Event | None]
"""None now and then where nothing happened."""


@dataclass(slots=True)
class Seats:
    """How many streams each user has open, in this process."""

    most: int = MOST_LISTENERS
    _taken: dict[str, int] = field(default_factory=dict)

    def check(self, user_id: str) -> None:
        """RateLimited for one too many."""
        if self._taken.get(user_id, 0) >= self.most:
            raise RateLimited(
                f"Rate limit reached: {self.most} streams for each user",
                remedy="Close one first.",
                details={"retry_after": 5},
            )

    @contextmanager
    def hold(self, user_id: str) -> Iterator[None]:
        self._taken[user_id] = self._taken.get(user_id, 0) + 1
        try:
            yield
        finally:
            self._taken[user_id] -= 1
            if not self._taken[user_id]:
                del self._taken[user_id]


@dataclass(frozen=True, slots=True)
class Standing:
    """Who listens, and whether they still may. headers: the Authorization that let them in; or the browser's cookie."""

    authenticator: Authenticator
    headers: list[str]
    address: str
    browsers: Browsers | None = None
    cookie: Secret[str] | None = None

    async def who(self, *, again: bool = False) -> Principal:
        """AuthError, NotPermitted, Refusal. again: it goes on by itself, so that a browser's session grows idle."""
        if self.browsers is not None and self.cookie is not None:
            who = await self.browsers.session_of(self.cookie, address=self.address, used=not again)
        else:
            who = await who_asks(self.authenticator, self.headers, address=self.address)
        check_second_step(who)
        may_read(who)
        return who

    async def watch(self) -> IbkitError:
        """Returns why they may not listen any longer, once that is so."""
        while True:
            await anyio.sleep(ASK_AGAIN_S)
            try:
                await self.who(again=True)
            except Refusal as refusal:
                return refusal.error
            except (AuthError, NotPermitted) as error:
                return error
            except IbkitError:
                continue  # the database is away; that says nothing of them


def _told(error: IbkitError) -> Mapping[str, Any]:
    return {"code": error.code, "message": error.message, "remedy": [error.remedy] if error.remedy else []}


# -- server-sent events -----------------------------------------------------------------------------------------------


class EventStream(Response[bytes]):
    """A source as `text/event-stream`, until it ends, the reader leaves or is too slow, or may not listen any more."""

    def __init__(self, source: Source, seats: Seats, who: Principal, standing: Standing) -> None:
        super().__init__(b"", media_type="text/event-stream")
        self._source = source
        self._seats = seats
        self._user_id = who.user_id
        self._standing = standing

    def to_asgi_response(self, *_: Any, **__: Any) -> Any:
        return self._serve

    async def _serve(self, scope: Any, receive: Any, send: Any) -> None:
        head = [(b"content-type", b"text/event-stream; charset=utf-8"), (b"x-accel-buffering", b"no")]
        with self._seats.hold(self._user_id):
            async with aclosing(self._source), anyio.create_task_group() as tasks:  # type: ignore[type-var]
                end = tasks.cancel_scope.cancel

                async def leave() -> None:
                    while (await receive())["type"] != "http.disconnect":
                        pass
                    end()

                async def tell(text: bytes, *, more: bool = True) -> None:
                    with anyio.fail_after(SEND_WITHIN_S):
                        await send({"type": "http.response.body", "body": text, "more_body": more})

                async def stand() -> None:
                    error = await self._standing.watch()
                    await tell(_sse(Event("error", _told(error))))
                    end()

                await send({"type": "http.response.start", "status": 200, "headers": head})
                tasks.start_soon(leave)
                tasks.start_soon(stand)
                try:
                    await tell(b"retry: 2000\n\n")
                    async for event in self._source:
                        await tell(b": still here\n\n" if event is None else _sse(event))
                    await tell(b"", more=False)
                except TimeoutError:
                    pass  # the connection breaks when this returns without its end
                except IbkitError as error:
                    await tell(_sse(Event("error", _told(error))), more=False)
                end()


def _sse(event: Event) -> bytes:
    head = f"id: {event.id}\n" if event.id else ""
    return f"{head}event: {event.name}\ndata: ".encode() + encode(event.data) + b"\n\n"


# -- WebSocket --------------------------------------------------------------------------------------------------------

AnySocket = WebSocket[Any, Any, Any]
Opens = Callable[[Principal], Awaitable[Source]]


async def serve_socket(
    socket: AnySocket,
    *,
    authenticator: Authenticator,
    browsers: Browsers,
    seats: Seats,
    origins: frozenset[str],
    opens: Opens,
) -> None:
    """Let in, and tell what `opens` gives to whoever asks; every refusal is an error frame and a closing code."""
    await socket.accept()
    try:
        _from_here(socket, origins)
        standing = await _let_in(socket, authenticator, browsers)
        who = await standing.who(again=True)
        seats.check(who.user_id)
        with seats.hold(who.user_id):
            await _carry(socket, await opens(who), standing)
    except WebSocketDisconnect:
        return
    except Refusal as refusal:
        await _refuse(socket, refusal.error, BAD_REQUEST)
    except IbkitError as error:
        await _refuse(socket, error, _closing(error))


def _from_here(socket: AnySocket, origins: frozenset[str]) -> None:
    """A page of somebody else must not listen: NotPermitted. Programs send no Origin, our own pages this host's."""
    given = _headers(socket, b"origin")
    if given and not from_own_page(socket) and any(origin.lower() not in origins for origin in given):
        raise NotPermitted("Forbidden: pages of this origin may not listen", code="E-FORBIDDEN")


async def _let_in(socket: AnySocket, authenticator: Authenticator, browsers: Browsers) -> Standing:
    """By the header, by the cookie of a page of ours, or by the first message."""
    address = str(socket.scope.get("state", {}).get("address", ""))
    headers = _headers(socket, b"authorization")
    cookie = None if headers else cookie_of(socket)
    if cookie is not None and (from_own_page(socket) or not _headers(socket, b"origin")):
        _check_upgrade(socket)
        return Standing(authenticator, [], address, browsers, cookie)
    if not headers:
        with anyio.move_on_after(TOKEN_WITHIN_S):
            message = _token_of(await socket.receive_data(mode="text"))
            return Standing(authenticator, [f"Bearer {message}"], address)
        raise AuthError(code="E-APP-AUTH")
    return Standing(authenticator, headers, address)


def _check_upgrade(socket: AnySocket) -> None:
    """NotPermitted where nothing says that a page of ours opens it: browsers let any page open a WebSocket. TM-06."""
    check_own_page(socket)
    if not from_own_page(socket):
        raise NotPermitted(
            "Forbidden: an upgrade with a cookie names no Origin",
            code="E-FORBIDDEN",
            remedy="A program sends a token in Authorization instead.",
        )


def _headers(socket: AnySocket, name: bytes) -> list[str]:
    return [value.decode("latin-1") for key, value in socket.scope["headers"] if key.lower() == name]


def _token_of(text: str | bytes) -> str:
    try:
        told = json.loads(text)
        token = told["token"]
    except (ValueError, RecursionError, TypeError, KeyError):
        raise IbkitError(
            "Invalid request: the first message is not a token",
            code="E-VALIDATION",
            remedy='Send {"token": "…"} first, or the header Authorization with the upgrade.',
        ) from None
    if not isinstance(token, str) or not token.isascii():
        raise AuthError(code="E-APP-AUTH")
    return token


def _closing(error: IbkitError) -> int:
    match error:
        case AuthError() if error.code == "E-APP-AUTH":
            return NOT_SIGNED_IN
        case NotPermitted():
            return FORBIDDEN
        case RateLimited():
            return TOO_MANY
        case _:
            return BAD_REQUEST if error.http_status < 500 else OURS


async def _carry(socket: AnySocket, source: Source, standing: Standing) -> None:
    async with aclosing(source), anyio.create_task_group() as tasks:  # type: ignore[type-var]
        end = tasks.cancel_scope.cancel

        async def listen() -> None:
            """They have nothing to say: their end is waited for, anything else ends it."""
            try:
                await socket.receive_data(mode="text")
            except WebSocketDisconnect:
                end()
                return
            await _refuse(
                socket,
                IbkitError(
                    "Invalid request: a message that nobody asked for",
                    code="E-VALIDATION",
                    remedy="Say what to listen to in the address, and nothing afterwards.",
                ),
                BAD_REQUEST,
            )
            end()

        async def stand() -> None:
            error = await standing.watch()
            await _refuse(socket, error, _closing(error))
            end()

        tasks.start_soon(listen)
        tasks.start_soon(stand)
        try:
            async for event in source:
                if event is not None:
                    with anyio.fail_after(SEND_WITHIN_S):
                        await socket.send_data(_frame(event), mode="text")
            await _close(socket, 1001, "the service is about to end")
        except WebSocketDisconnect:
            pass
        except TimeoutError:
            await _close(socket, TOO_SLOW, "too slow a reader")
        except IbkitError as error:
            await _refuse(socket, error, _closing(error))
        end()


async def _refuse(socket: AnySocket, error: IbkitError, code: int) -> None:
    with anyio.move_on_after(SEND_WITHIN_S):
        try:
            await socket.send_data(_frame(Event("error", _told(error))), mode="text")
        except WebSocketDisconnect:
            return
    await _close(socket, code, error.code)


async def _close(socket: AnySocket, code: int, reason: str) -> None:
    with anyio.move_on_after(SEND_WITHIN_S):
        with suppress(WebSocketDisconnect, RuntimeError):  # gone meanwhile
            await socket.close(code=code, reason=reason)


def _frame(event: Event) -> str:
    told = {"event": event.name, "data": event.data}
    return encode(told if event.id is None else {"id": event.id, **told}).decode()
