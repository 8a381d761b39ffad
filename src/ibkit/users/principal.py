"""Who asks: a user, or a machine of theirs, as a token proves it."""

from __future__ import annotations

import enum
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from ibkit.model import AccountId, Secret

__all__ = ["Authenticator", "Principal", "Role", "Scope"]


class Role(enum.StrEnum):
    """What a user may do at most; each may also do what those after it may."""

    OWNER = "owner"
    ADMIN = "admin"
    TRADER = "trader"
    VIEWER = "viewer"


class Scope(enum.StrEnum):
    """What one token may do, within its user's role."""

    READ = "read"
    ORDERS_PAPER = "orders:paper"
    ORDERS_LIVE = "orders:live"
    CREDENTIALS = "credentials"
    """Of their own connections: give, test, put in use, delete; never read."""
    ADMIN = "admin"


@dataclass(frozen=True, slots=True, kw_only=True)
class Principal:
    """user_id: by which everything of theirs is stored; a name may change.

    signed_in_at: when a person proved who they are, None for a machine. api_key_id: "" for a person.
    accounts:     those that the token is confined to, None for all of the user's.
    second_step_due: a person who has to set one up before anything else (REQUIRE_SECOND_STEP).
    """

    user_id: str
    name: str
    role: Role
    scopes: frozenset[Scope]
    token_id: str
    signed_in_at: datetime | None = None
    api_key_id: str = ""
    accounts: frozenset[AccountId] | None = None
    second_step_due: bool = False


class Authenticator(Protocol):
    async def authenticate(self, token: Secret[str], *, address: str) -> Principal:
        """Who holds `token`. AuthError (E-APP-AUTH), the same for every reason; each failure is counted by address."""
        ...
