"""One HTTP exchange, or one WebSocket, and nothing else: no retry, no redirect, no cookies, no pacing."""

from __future__ import annotations

from typing import Final, Protocol

from ibkit.wire.http import Request, Response

__all__ = ["USER_AGENT", "Socket", "Transport"]

USER_AGENT: Final = "ibkit"
"""Any non-empty value; without one the edge answers 403. Source: docs/facts/auth-and-sessions.md §0.2."""


class Transport(Protocol):
    """Delivers a request at most once.

    send raises Unreachable where no byte of the request left (`details["cause"]`: refused, dns, tls, timeout, other),
    and OutcomeUnknown for everything after that (`details["cause"]`: timeout, broken, cut). timeout_s is the whole
    exchange, connecting included; a connection that ran into it is not used again.
    """

    async def send(self, request: Request, *, timeout_s: float) -> Response: ...

    async def dial(self, request: Request, *, timeout_s: float) -> Socket:
        """Open a WebSocket to the address of `request` (wss) with its headers, trusting whom `send` trusts.

        Raises Unreachable, with `details["status"]` where the upgrade was refused.
        """
        ...

    async def aclose(self) -> None: ...


class Socket(Protocol):
    """One open WebSocket. Both ways raise Unreachable once it is over (`details["cause"]`: closed, broken)."""

    async def send(self, text: str) -> None: ...

    async def receive(self, timeout_s: float) -> str | bytes | None:
        """The next frame, text or binary; None when none came in time."""
        ...

    async def aclose(self) -> None: ...
