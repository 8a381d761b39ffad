"""How a handler looks: it translates one call for the world and the world's answer back, and decides nothing.

    @handles(PLACE_ORDERS)
    def place(call: Call) -> Reply | Json: ...

The server has already checked credentials, pacing and sessions when a handler runs (auth-and-sessions.md §8).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING, Any, TypeAlias

from ibkit.wire.endpoint import Endpoint

if TYPE_CHECKING:
    from ibkit.sim.logins.logins import Session
    from ibkit.sim.world import World

__all__ = ["HANDLERS", "ApiError", "Call", "Handler", "Json", "Reply", "TokenCall", "handles"]

Json: TypeAlias = Any
"""What msgspec can encode: Decimals leave as JSON numbers with their exact digits."""


@dataclass(frozen=True, slots=True)
class Call:
    """One authenticated API call. `session` is the caller's login; `now` is the world's time of this call.

    query: last value of each name, as text. body: decoded JSON, or None.
    """

    world: World
    session: Session
    endpoint: Endpoint
    path: Mapping[str, str]
    query: Mapping[str, str]
    body: Json
    now: datetime
    face: str
    """"gateway" or "cloud"."""


@dataclass(frozen=True, slots=True)
class Reply:
    """body: encoded as JSON unless it is bytes or str, which go out as they are (then set content_type)."""

    body: Json = None
    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict)
    content_type: str = "application/json; charset=utf-8"


@dataclass(frozen=True, slots=True)
class TokenCall:
    """One call of `wire/login.py`: it carries its own proof, so its handler sees the request as it was sent.

    headers: names in lower case. path, query: as sent. bases: under which URLs the client may have signed.
    clocks: the moments that a timestamp is measured against. notes: shown in the request log, so no secrets.
    """

    world: World
    endpoint: Endpoint
    method: str
    path: str
    query: str
    headers: Mapping[str, str]
    body: bytes
    bases: tuple[str, ...]
    clocks: tuple[datetime, ...]
    peer: str
    notes: dict[str, Any]


class ApiError(Exception):
    """A refusal, as IBKR words it. body None means an empty body."""

    def __init__(
        self, status: int, body: Json = None, *, content_type: str = "application/json; charset=utf-8"
    ) -> None:
        super().__init__(status, body)
        self.status = status
        self.body = body
        self.content_type = content_type


Handler: TypeAlias = Callable[[Any], Any]
"""Takes a `Call`, or a `TokenCall` for the endpoints of `wire/login.py`; gives a `Reply` or what is encoded as one."""
HANDLERS: dict[Endpoint, Handler] = {}


def handles(*endpoints: Endpoint) -> Callable[[Handler], Handler]:
    """Register a handler for endpoints of the catalogue; each endpoint has one."""

    def register(handler: Handler) -> Handler:
        for endpoint in endpoints:
            if endpoint in HANDLERS:
                raise ValueError(f"two handlers for {endpoint.method} {endpoint.path}")
            HANDLERS[endpoint] = handler
        return handler

    return register
