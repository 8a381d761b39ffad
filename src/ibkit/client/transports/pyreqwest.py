"""The default transport: pyreqwest, HTTP/1.1, no redirects, no cookies, no retries.

`ConnectError` and `ConnectTimeoutError` come also after the request was fully sent, so only the
cause `client error (Connect)` proves that nothing left. (tests/client/transports keeps watch.)
"""

from __future__ import annotations

import asyncio
import sys
from datetime import timedelta
from typing import Final

from pyreqwest.client import Client, ClientBuilder
from pyreqwest.exceptions import BuilderError, RequestError, RequestTimeoutError

from ibkit.client.transport import USER_AGENT, Socket
from ibkit.errors import IbkitError, OutcomeUnknown, Unreachable
from ibkit.wire.codec import BODY_LIMIT
from ibkit.wire.http import Request, Response

__all__ = ["PyreqwestTransport"]

IDLE: Final = timedelta(seconds=50)
"""Less than the peer's minute, so that a connection is not reused while it is being closed. LIM-07."""
UNACKNOWLEDGED: Final = timedelta(seconds=10)
DRAIN_S: Final = 0.05
"""On stock asyncio the interpreter may abort at exit right after a close; this pause prevents it."""


class PyreqwestTransport:
    """ca: PEM of the only authority to trust, or None for the system's. direct: never through a proxy."""

    def __init__(
        self,
        *,
        ca: bytes | None = None,
        pool_size: int = 10,
        body_limit: int = BODY_LIMIT,
        direct: bool = False,
        connect_timeout_s: float = 5.0,
    ) -> None:
        self._ca = ca
        self._connect_timeout = timedelta(seconds=connect_timeout_s)
        self._pool_size = pool_size
        self._body_limit = body_limit
        self._direct = direct
        self._client: Client | None = None
        self._timeouts: dict[float, timedelta] = {}

    async def send(self, request: Request, *, timeout_s: float) -> Response:
        client = self._client or self._open()
        limit = self._timeouts.get(timeout_s)
        if limit is None:
            limit = self._timeouts[timeout_s] = timedelta(seconds=timeout_s)
        try:
            builder = client.request(request.method, request.url).headers(request.headers).timeout(limit)
            if request.body:
                builder = builder.body_bytes(request.body)
            elif request.method != "GET" and "Content-Length" not in request.headers:
                # Not sent by itself for an empty body, and IBKR answers 411 without. Source: §0.2.
                builder = builder.header("Content-Length", "0")
            async with builder.build_streamed() as answer:
                body = await answer.body_reader.read(self._body_limit + 1)
                if body is not None and len(body) > self._body_limit:
                    # Leaving closes the connection; the rest is not drained.
                    raise OutcomeUnknown(
                        "IBKR's answer is too long and was cut off", code="E-UPSTREAM", details={"cause": "cut"}
                    )
                # A view, not a copy: names are found in any case, and hardly ever looked at.
                return Response(answer.status, answer.headers, b"" if body is None else body.to_bytes())
        except BuilderError as error:
            raise Unreachable(f"the request could not be built: {error.message}", details={"cause": "other"}) from error
        except RequestError as error:
            raise _mapped(error, timeout_s) from error

    async def dial(self, request: Request, *, timeout_s: float) -> Socket:
        from ibkit.client.transports.sockets import dial

        return await dial(request, ca=self._ca, timeout_s=timeout_s)

    async def aclose(self) -> None:
        client, self._client = self._client, None
        if client is not None:
            await client.close()
            await asyncio.sleep(DRAIN_S)

    def _open(self) -> Client:
        builder = (
            ClientBuilder()
            .http1_only()
            .https_only(True)
            .follow_redirects(False)
            .default_cookie_store(False)
            .referer(False)
            .brotli(False)
            .zstd(False)
            .user_agent(USER_AGENT)
            .connect_timeout(self._connect_timeout)
            .pool_idle_timeout(IDLE)
            .pool_max_idle_per_host(self._pool_size)
        )
        if sys.platform == "linux":
            # Bytes that nobody acknowledges are given up, so that an order is not delivered minutes late.
            builder = builder.tcp_user_timeout(UNACKNOWLEDGED)
        if self._ca is not None:
            builder = builder.add_root_certificate_pem(self._ca)
        if self._direct:
            builder = builder.no_proxy()
        self._client = builder.build()
        return self._client


def _mapped(error: RequestError, timeout_s: float) -> IbkitError:
    causes = [cause["message"] for cause in error.details["causes"] or ()]
    told = "; ".join(dict.fromkeys(causes)) or error.message
    # The class proves nothing: ConnectError and ConnectTimeoutError come for requests that were fully sent, too.
    if any("client error (Connect)" in cause for cause in causes):
        return Unreachable(told, details={"cause": _cause_of(told)})
    if isinstance(error, RequestTimeoutError):
        return OutcomeUnknown(f"no answer within {timeout_s:g} s", code="E-TIMEOUT", details={"cause": "timeout"})
    return OutcomeUnknown(f"the connection broke: {told}", code="E-API-CONNECT", details={"cause": "broken"})


def _cause_of(told: str) -> str:
    words = told.lower()
    if "timed out" in words:
        return "timeout"
    if "refused" in words:
        return "refused"
    if "certificate" in words or "tls" in words or "handshake" in words:
        return "tls"
    return "dns" if "dns" in words or "lookup" in words else "other"
