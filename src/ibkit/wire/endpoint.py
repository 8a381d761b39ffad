"""What an endpoint is: its path, what it needs, how fast, and whether it may be sent twice."""

from __future__ import annotations

import enum
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

__all__ = ["Base", "Concurrent", "Endpoint", "Lane", "Limit", "Needs", "Resend"]


class Base(enum.Enum):
    """Where a path hangs. Source: docs/facts/auth-and-sessions.md §0.1."""

    API = "/v1/api"
    ROOT = ""


class Needs(enum.Enum):
    """Which session a call needs, weakest first. Source: docs/facts/auth-and-sessions.md §3.10."""

    NOTHING = 0
    OUTER_SESSION = 1
    BROKERAGE_SESSION = 2
    PRIMED_ACCOUNTS = 3
    """A brokerage session in which GET /iserver/accounts has been asked."""


class Resend(enum.Enum):
    """Whether a call with an unknown outcome may be sent again, each time freshly signed."""

    FREELY = "freely"
    """A read, or a write that sets an absolute value."""
    NEVER = "never"
    """A lost answer may be a live order: it is looked up, not sent again."""


class Lane(enum.Enum):
    """Who goes first when calls wait for the pacer."""

    ORDERS = 0
    SESSION = 1
    DATA = 2


@dataclass(frozen=True, slots=True)
class Limit:
    """At most `calls` in any `per_s` seconds, per user name."""

    calls: int
    per_s: float


@dataclass(frozen=True, slots=True)
class Concurrent:
    """At most `calls` under way at once, per user name."""

    calls: int


@dataclass(frozen=True, slots=True)
class Endpoint:
    """One row of the catalogue; client, simulator, docs and tests all read it here.

    path:  `{name}` marks a path parameter.
    takes: the struct of the JSON body; None for no body.
    gives: what the body decodes to (anything msgspec can decode).
    also:  other methods that IBKR answers as well.
    quiet_401: a 401 here does not mean that the login is over (accounts.md §0: bad account on /portfolio).
    """

    method: str
    path: str
    source: str
    takes: Any = None
    gives: Any = Any
    needs: Needs = Needs.BROKERAGE_SESSION
    resend: Resend = Resend.FREELY
    lane: Lane = Lane.DATA
    limit: Limit | Concurrent | None = None
    base: Base = Base.API
    also: tuple[str, ...] = ()
    quiet_401: bool = False

    def url_path(self, **path: object) -> str:
        """The path with its parameters filled in and percent-encoded, base included."""
        filled = self.path.format(**{name: quote(str(value), safe="") for name, value in path.items()})
        return self.base.value + filled

    @property
    def methods(self) -> tuple[str, ...]:
        return (self.method, *self.also)

    def __hash__(self) -> int:
        return hash((self.method, self.path, self.base))
