"""One HTTP exchange, and nothing else: no retry, no redirect, no cookies, no pacing."""

from __future__ import annotations

from typing import Final, Protocol

from ibkit.wire.http import Request, Response

__all__ = ["USER_AGENT", "Transport"]

USER_AGENT: Final = "ibkit"
"""Any non-empty value; without one the edge answers 403. Source: docs/facts/auth-and-sessions.md §0.2."""


class Transport(Protocol):
    """Delivers a request at most once.

    send raises Unreachable where no byte of the request left (`details["cause"]`: refused, dns, tls, timeout, other),
    and OutcomeUnknown for everything after that (`details["cause"]`: timeout, broken, cut). timeout_s is the whole
    exchange, connecting included; a connection that ran into it is not used again.
    """

    async def send(self, request: Request, *, timeout_s: float) -> Response: ...

    async def aclose(self) -> None: ...
