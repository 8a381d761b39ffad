"""The second transport: aiohttp, for pinned certificates and platforms without a wheel of the first.

aiohttp sends GET, PUT and DELETE once more by itself when a connection breaks before an answer, a fresh connection
included, and has no switch for it. Its middlewares run for each copy: ours lets the first pass and stops the second.
Besides, everything that is not a GET goes over a connection of its own.
"""

from __future__ import annotations

import asyncio
import ssl
from typing import Final
from urllib.parse import urlsplit

import aiohttp
from yarl import URL

from ibkit.client.transport import USER_AGENT, Socket
from ibkit.client.transports.pins import PinFile, normal_fingerprint
from ibkit.errors import IbkitError, OutcomeUnknown, Unreachable, frameless
from ibkit.wire.codec import BODY_LIMIT
from ibkit.wire.http import Request, Response

__all__ = ["AiohttpTransport"]

CONNECT_TIMEOUT_S: Final = 5.0
IDLE_S: Final = 50.0


class AiohttpTransport:
    """ca, fingerprint, pins: as in `open_transport`; none of them means the system's authorities."""

    def __init__(
        self,
        base_url: str,
        *,
        ca: bytes | None = None,
        fingerprint: str | None = None,
        pins: PinFile | None = None,
        pool_size: int = 10,
        body_limit: int = BODY_LIMIT,
    ) -> None:
        place = urlsplit(base_url)
        self._host, self._port = place.hostname or "", place.port or 443
        self._ca = ca
        self._fingerprint = normal_fingerprint(fingerprint) if fingerprint else None
        self._pins = pins
        self._pool_size = pool_size
        self._body_limit = body_limit
        self._trust: ssl.SSLContext | aiohttp.Fingerprint | None = None
        self._kept: aiohttp.ClientSession | None = None
        self._once: aiohttp.ClientSession | None = None

    async def send(self, request: Request, *, timeout_s: float) -> Response:
        if self._kept is None or self._once is None:
            await self._open()
        assert self._kept is not None
        assert self._once is not None
        assert self._trust is not None
        session = self._kept if request.method == "GET" else self._once
        try:
            async with session.request(
                request.method,
                URL(request.url, encoded=True),
                headers=_headers(request),
                data=request.body or None,
                allow_redirects=False,
                ssl=self._trust,
                middlewares=(_FirstCopyOnly(),),
                timeout=aiohttp.ClientTimeout(total=timeout_s, sock_connect=CONNECT_TIMEOUT_S),
            ) as answer:
                body = await _read(answer, self._body_limit)
                return Response(answer.status, {name.lower(): value for name, value in answer.headers.items()}, body)
        except (aiohttp.ClientError, OSError) as error:
            raise _mapped(error, timeout_s) from frameless(error)
        except OutcomeUnknown as error:
            raise frameless(error)  # noqa: B904  # the same error

    async def dial(self, request: Request, *, timeout_s: float) -> Socket:
        from ibkit.client.transports.sockets import dial

        if self._pins is not None and self._fingerprint is None:
            self._fingerprint = await self._pins.of_first_use(self._host, self._port)
        fingerprint = self._fingerprint if self._ca is None else None
        return await dial(request, ca=self._ca, fingerprint=fingerprint, timeout_s=timeout_s)

    async def aclose(self) -> None:
        sessions, self._kept, self._once = (self._kept, self._once), None, None
        for session in sessions:
            if session is not None:
                await session.close()
        # aiohttp closes TLS connections in a callback of the next turns of the loop.
        await asyncio.sleep(0)

    async def _open(self) -> None:
        self._trust = await self._trusted()
        jar = aiohttp.DummyCookieJar()
        kept = aiohttp.TCPConnector(limit=self._pool_size, keepalive_timeout=IDLE_S)
        once = aiohttp.TCPConnector(limit=self._pool_size, force_close=True)
        headers = {"User-Agent": USER_AGENT, "Accept": "*/*", "Accept-Encoding": "gzip, deflate"}
        self._kept = aiohttp.ClientSession(connector=kept, cookie_jar=jar, headers=headers, trust_env=False)
        self._once = aiohttp.ClientSession(connector=once, cookie_jar=jar, headers=headers, trust_env=False)

    async def _trusted(self) -> ssl.SSLContext | aiohttp.Fingerprint:
        if self._ca is not None:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
            context.load_verify_locations(cadata=self._ca.decode("ascii"))
            return context
        if self._pins is not None and self._fingerprint is None:
            self._fingerprint = await self._pins.of_first_use(self._host, self._port)
        if self._fingerprint is not None:
            return aiohttp.Fingerprint(bytes.fromhex(self._fingerprint))
        return ssl.create_default_context()


def _headers(request: Request) -> dict[str, str]:
    length = {} if request.method == "GET" else {"Content-Length": str(len(request.body))}
    return {**request.headers, **length}


def _mapped(error: aiohttp.ClientError | OSError, timeout_s: float) -> IbkitError:
    match error:
        case aiohttp.ServerFingerprintMismatch():
            return Unreachable("the server shows another certificate than before", details={"cause": "tls"})
        case aiohttp.ClientConnectorCertificateError() | aiohttp.ClientConnectorSSLError():
            return Unreachable(f"TLS failed: {error.os_error}", details={"cause": "tls"})
        case aiohttp.ClientConnectorDNSError():
            return Unreachable(f"no address for {error.host}", details={"cause": "dns"})
        case aiohttp.ClientConnectorError():
            refused = isinstance(error.os_error, ConnectionRefusedError)
            told = "connection refused" if refused else str(error.os_error)
            return Unreachable(told, details={"cause": "refused" if refused else "other"})
        case aiohttp.ConnectionTimeoutError():
            return Unreachable("no connection in time", details={"cause": "timeout"})
        case TimeoutError():
            return OutcomeUnknown(f"no answer within {timeout_s:g} s", code="E-TIMEOUT", details={"cause": "timeout"})
    return OutcomeUnknown(
        f"the connection broke: {type(error).__name__}", code="E-API-CONNECT", details={"cause": "broken"}
    )


class _FirstCopyOnly:
    """A middleware for one request."""

    __slots__ = ("_sent",)

    def __init__(self) -> None:
        self._sent = False

    async def __call__(
        self, request: aiohttp.ClientRequest, handler: aiohttp.ClientHandlerType
    ) -> aiohttp.ClientResponse:
        if self._sent:
            raise OutcomeUnknown(
                "the connection broke before an answer", code="E-API-CONNECT", details={"cause": "broken"}
            )
        self._sent = True
        return await handler(request)


async def _read(answer: aiohttp.ClientResponse, limit: int) -> bytes:
    """The body, cut off where it grows beyond the limit."""
    pieces: list[bytes] = []
    size = 0
    async for piece in answer.content.iter_any():
        size += len(piece)
        if size > limit:
            answer.close()
            raise OutcomeUnknown(
                "IBKR's answer is too long and was cut off", code="E-UPSTREAM", details={"cause": "cut"}
            )
        pieces.append(piece)
    return b"".join(pieces)
