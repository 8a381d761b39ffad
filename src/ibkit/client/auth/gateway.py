"""The Client Portal Gateway: it holds the login itself, the caller proves nothing.

Source: docs/facts/auth-and-sessions.md §0.1, §3.
"""

from __future__ import annotations

from collections.abc import Callable, Generator
from datetime import datetime

from ibkit.client.auth.grant import Grant
from ibkit.model import AuthMethod, GatewayLogin, Secret
from ibkit.wire.http import Request, Response

__all__ = ["GatewayAuth"]


class GatewayAuth:
    """No request to sign in and nothing to sign; whether somebody is logged in, the session calls tell."""

    method = AuthMethod.GATEWAY
    settle_s = 0.0

    def __init__(self, credentials: GatewayLogin | None = None) -> None:
        self._credentials = credentials or GatewayLogin()

    def handshake(self, now: Callable[[], datetime]) -> Generator[Request, Response, Grant]:
        # A handshake of no requests: the gateway's login was made in a browser.
        yield from ()
        return Grant(self.method, Secret(""), now(), None, self._credentials.username or "gateway")

    def sign(self, request: Request, grant: Grant, now: datetime) -> Request:
        return request

    def stream_proof(self, grant: Grant) -> tuple[tuple[str, Secret[str]], ...]:
        return ()
