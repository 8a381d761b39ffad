"""A user: name, role, what proves who they are, and the changes of it that rules allow.

A change is a plain function from one record to the next, so that the store can do it inside a transaction, where two
that come at once find one winner (the same code, the same link).
"""

from __future__ import annotations

import hmac
import re
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta

from ibkit.errors import AuthError, ConfigError
from ibkit.model import Secret
from ibkit.users.digests import digest
from ibkit.users.principal import Role, Scope

__all__ = [
    "LINK_LIFE",
    "User",
    "allowed_scopes",
    "check_name",
    "may_manage",
    "parse_scopes",
    "unauthorized",
    "with_disabled",
    "with_enabled",
    "with_link",
    "with_nothing_open",
    "with_password",
    "with_role",
    "without_link",
]

LINK_LIFE = timedelta(hours=24)
"""Of the link by which the first owner signs in."""
_NAME = re.compile(r"[a-z0-9][a-z0-9._@+-]{0,63}")
_TRADES = frozenset({Scope.READ, Scope.ORDERS_PAPER, Scope.ORDERS_LIVE})
_SCOPES = {
    Role.OWNER: _TRADES | {Scope.CREDENTIALS, Scope.ADMIN},
    Role.ADMIN: _TRADES | {Scope.CREDENTIALS, Scope.ADMIN},
    Role.TRADER: _TRADES | {Scope.CREDENTIALS},
    Role.VIEWER: frozenset({Scope.READ}),
}
_RANK = tuple(Role)
"""Highest first, as the roles stand in their enum."""


@dataclass(frozen=True, slots=True, kw_only=True)
class User:
    """One who may sign in.

    generation:    of their tokens; a token of an earlier one is over. Raised by whatever ends all of them.
    password_hash: argon2id in its own text form, "" where there is no password yet.
    totp_secret:   sealed, "" where no second step is set up; not in force before totp_since.
    totp_step:     the last 30 s step whose code was used: a code is good once.
    recovery:      hashes of the codes that stand in for a lost phone, each good once.
    link_hash:     of a one-time sign-in link, "" where there is none.
    """

    user_id: str
    name: str
    role: Role
    created_at: datetime
    enabled: bool = True
    generation: int = 1
    password_hash: str = field(default="", repr=False)
    password_at: datetime | None = None
    totp_secret: str = field(default="", repr=False)
    totp_since: datetime | None = None
    totp_step: int = 0
    recovery: tuple[str, ...] = field(default=(), repr=False)
    link_hash: str = field(default="", repr=False)
    link_expires_at: datetime | None = None

    @property
    def needs_code(self) -> bool:
        """Whether a code follows the password."""
        return bool(self.totp_secret) and self.totp_since is not None


def allowed_scopes(role: Role) -> frozenset[Scope]:
    """What a user of `role` may do at most."""
    return _SCOPES[role]


def may_manage(actor: Role, subject: Role) -> bool:
    """Whether `actor` may change users of the role `subject`: an owner everybody, an admin those below owner."""
    return actor is Role.OWNER or (actor is Role.ADMIN and _RANK.index(subject) >= _RANK.index(Role.ADMIN))


def parse_scopes(words: Iterable[str]) -> frozenset[Scope]:
    """ConfigError (E-VALIDATION) for a word that is no scope, or for none at all."""
    found = set()
    for word in words:
        try:
            found.add(Scope(word))
        except ValueError:
            raise ConfigError(
                f"Invalid request: scope: {word[:40]} is none",
                code="E-VALIDATION",
                remedy=f"Use {', '.join(Scope)}.",
            ) from None
    if not found:
        raise ConfigError("Invalid request: scope: none was given", code="E-VALIDATION", remedy="Name at least one.")
    return frozenset(found)


def check_name(name: str) -> str:
    """`name` in the form in which it is kept: lower case. ConfigError (E-VALIDATION)."""
    plain = name.strip().lower()
    if not _NAME.fullmatch(plain):
        raise ConfigError(
            "Invalid request: name: a user's name has 1 to 64 letters of a-z, digits and . _ @ + -",
            code="E-VALIDATION",
            remedy="Use another name, like `anna` or `anna@example.org`.",
        )
    return plain


def unauthorized() -> AuthError:
    """The one answer for everything that is wrong with a token, a name, a password, a code or a link."""
    return AuthError(code="E-APP-AUTH")


def with_password(user: User, password_hash: str, now: datetime) -> User:
    """A new password ends every token and session from before, and a link that waits."""
    return replace(
        user,
        password_hash=password_hash,
        password_at=now,
        generation=user.generation + 1,
        link_hash="",
        link_expires_at=None,
    )


def with_role(user: User, role: Role) -> User:
    """Tokens stay: each is held against the role at every use."""
    return replace(user, role=role)


def with_disabled(user: User) -> User:
    return replace(user, enabled=False, generation=user.generation + 1, link_hash="", link_expires_at=None)


def with_nothing_open(user: User) -> User:
    """Signed out everywhere: every token and browser session from before is over. Keys stay."""
    return replace(user, generation=user.generation + 1)


def with_enabled(user: User) -> User:
    """What was ended stays ended: they sign in anew."""
    return replace(user, enabled=True)


def with_link(user: User, token: Secret[str], now: datetime) -> User:
    return replace(user, link_hash=digest(token), link_expires_at=now + LINK_LIFE)


def without_link(user: User, token: Secret[str], now: datetime) -> User:
    """The link used up. AuthError where it is another, or over: so only the first of two gets through."""
    fits = hmac.compare_digest(user.link_hash.encode(), digest(token).encode())
    if not fits or user.link_expires_at is None or user.link_expires_at <= now or not user.enabled:
        raise unauthorized()
    return replace(user, link_hash="", link_expires_at=None)
