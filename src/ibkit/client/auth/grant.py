"""What a sign-in yields, and what every sign-in method offers.

An `Auth` does no I/O: `handshake` is a generator of requests that is sent the responses, `sign` turns a request
into one that carries proof. The keeper drives the handshake, the client signs.
"""

from __future__ import annotations

from collections.abc import Callable, Generator
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol
from urllib.parse import urlsplit

from ibkit.errors import ConfigError
from ibkit.model import AuthMethod, Secret
from ibkit.wire.http import Request, Response

__all__ = ["Auth", "Grant", "Random", "own_root"]

Random = Callable[[int], bytes]
"""n → n random bytes from a cryptographic source (`secrets.token_bytes`)."""


@dataclass(frozen=True, slots=True)
class Grant:
    """What proves identity on each call after a sign-in.

    token:      the live session token (20 bytes), the SSO bearer (text), or empty for the gateway.
    expires_at: None where the broker does not say; the session then ends on its own signs.
    label:      for people: consumer key, client id or "gateway"; never a secret.
    """

    method: AuthMethod
    token: Secret[bytes] | Secret[str]
    obtained_at: datetime
    expires_at: datetime | None
    label: str


def own_root(base_url: str) -> str:
    """Scheme and host of `base_url` with a slash at the end: what an address must start with to be signed.

    The slash matters: without it https://api.ibkr.com.example.org would pass.
    """
    parts = urlsplit(base_url)
    if not parts.scheme or not parts.netloc:
        raise ConfigError(f"Setting invalid: IBKR_BASE_URL: {base_url!r} is not an address")
    return f"{parts.scheme}://{parts.netloc}/"


class Auth(Protocol):
    """One of the three sign-ins.

    settle_s: pause after a fresh handshake before the next call (OAuth 2.0: docs/facts/auth-and-sessions.md §2.4).
    """

    @property
    def method(self) -> AuthMethod: ...

    @property
    def settle_s(self) -> float: ...

    def handshake(self, now: Callable[[], datetime]) -> Generator[Request, Response, Grant]:
        """Yields each request to send, is sent its response, returns the grant.

        Raises CredentialsRejected (a person must act), SessionUnavailable (IBKR cannot just now; later may work),
        ConfigError (our keys), UnexpectedAnswer.
        """
        ...

    def sign(self, request: Request, grant: Grant, now: datetime) -> Request:
        """`request` with its proof; call it anew for every attempt. ConfigError for a foreign address."""
        ...

    def stream_proof(self, grant: Grant) -> tuple[tuple[str, Secret[str]], ...]:
        """The query of a WebSocket's address: which token stands there. Source: docs/facts/websocket.md §1."""
        ...
