"""WebSockets over TLS: `picows.websockets` where it is installed, else `websockets`, which has the same API.

Neither pings by itself here: IBKR documents none, and an unasked pong confuses its gateway. `tic` and the server's
heartbeats do that work. Source: docs/facts/websocket.md §1.2.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import ssl
from collections.abc import Callable
from importlib import import_module
from typing import Any, Final, Literal

from ibkit.client.transport import USER_AGENT, Socket
from ibkit.errors import ConfigError, IbkitError, Unreachable
from ibkit.wire.codec import BODY_LIMIT
from ibkit.wire.http import Request

__all__ = ["LIBRARIES", "Library", "dial", "pinned", "trusting"]

Library = Literal["picows", "websockets"]
LIBRARIES: Final[dict[Library, tuple[str, str]]] = {
    "picows": ("picows.websockets", "picows.websockets"),
    "websockets": ("websockets.asyncio.client", "websockets.exceptions"),
}
"""Where `connect` is, and where the exceptions are."""
QUEUE: Final = 256
"""Frames that wait unread; then the server is made to wait, for nothing may be dropped here."""
CLOSE_TIMEOUT_S: Final = 1.0


def trusting(ca: bytes | None) -> ssl.SSLContext:
    """ca: PEM of the only authority to trust; None for the system's."""
    if ca is None:
        return ssl.create_default_context()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.load_verify_locations(cadata=ca.decode("ascii"))
    return context


def pinned(fingerprint: str) -> ssl.SSLContext:
    """Takes one certificate alone, whoever signed it: its SHA-256 is compared before a byte of ours leaves."""

    class Pinned(ssl.SSLObject):
        def do_handshake(self) -> None:
            super().do_handshake()
            shown = self.getpeercert(binary_form=True)
            if shown is None or hashlib.sha256(shown).hexdigest() != fingerprint:
                raise ssl.SSLCertVerificationError(1, "another certificate than the pinned one")

    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    context.sslobject_class = Pinned
    return context


async def dial(
    request: Request,
    *,
    timeout_s: float,
    ca: bytes | None = None,
    fingerprint: str | None = None,
    library: Library | None = None,
) -> Socket:
    """Open a WebSocket. ca, fingerprint: whom to trust, else the system's authorities.

    library: None takes the first that is installed; a pinned certificate needs `websockets`, for picows speaks TLS
    with code of its own, which would take any certificate there.
    """
    if fingerprint is not None:
        if library == "picows":
            raise ConfigError("picows cannot compare a pinned certificate", code="E-CONFIG")
        library = "websockets"
    connect, errors = _load(library)
    headers = {name: value for name, value in request.headers.items() if name.lower() != "user-agent"}
    try:
        connection = await connect(
            request.url,
            ssl=trusting(ca) if fingerprint is None else pinned(fingerprint),
            additional_headers=headers,
            user_agent_header=request.headers.get("User-Agent", USER_AGENT),
            compression=None,
            proxy=None,
            open_timeout=timeout_s,
            close_timeout=CLOSE_TIMEOUT_S,
            ping_interval=None,
            max_size=BODY_LIMIT,
            max_queue=QUEUE,
        )
    except TimeoutError as error:
        raise _refused("no connection in time", "timeout") from error
    except errors.InvalidStatus as error:
        status = error.response.status_code
        raise _refused(f"the WebSocket was refused with {status}", "refused", status=status) from error
    except ssl.SSLError as error:
        raise _refused(f"TLS failed: {error.strerror or type(error).__name__}", "tls") from error
    except ConnectionRefusedError as error:
        raise _refused("connection refused", "refused") from error
    except (OSError, EOFError, errors.WebSocketException) as error:
        raise _refused(f"no WebSocket: {type(error).__name__}", "other") from error
    return _LibrarySocket(connection, errors.ConnectionClosed)


def _load(library: Library | None) -> tuple[Callable[..., Any], Any]:
    for name in (library,) if library is not None else LIBRARIES:
        home, errors = LIBRARIES[name]
        with contextlib.suppress(ImportError):
            return import_module(home).connect, import_module(errors)
    raise ConfigError("no WebSocket library is installed", code="E-CONFIG", remedy="Install picows, or websockets.")


def _refused(told: str, cause: str, **details: object) -> IbkitError:
    # The address holds a token: no message names it.
    return Unreachable(told, code="E-API-CONNECT", details={"cause": cause, **details})


class _LibrarySocket:
    """closed: the library's own exception for a connection that is over."""

    def __init__(self, connection: Any, closed: type[Exception]) -> None:
        self._connection = connection
        self._closed = closed

    async def send(self, text: str) -> None:
        try:
            await self._connection.send(text)
        except (self._closed, OSError) as error:
            raise self._over(error) from error

    async def receive(self, timeout_s: float) -> str | bytes | None:
        try:
            async with asyncio.timeout(max(timeout_s, 0.0)):
                # As bytes, whichever opcode: a text that is no UTF-8 must not end the connection.
                data: bytes = await self._connection.recv(decode=False)
                return data
        except TimeoutError:
            return None
        except (self._closed, OSError, EOFError) as error:
            raise self._over(error) from error

    async def aclose(self) -> None:
        with contextlib.suppress(self._closed, OSError, TimeoutError):
            async with asyncio.timeout(2 * CLOSE_TIMEOUT_S):
                await self._connection.close()

    @staticmethod
    def _over(error: Exception) -> Unreachable:
        frame = getattr(error, "rcvd", None)
        code = getattr(frame, "code", None)
        if code is None:
            return Unreachable("the connection broke", code="E-API-CONNECT", details={"cause": "broken"})
        return Unreachable(
            f"the server closed the WebSocket ({int(code)})",
            code="E-API-CONNECT",
            details={"cause": "closed", "code": int(code)},
        )
