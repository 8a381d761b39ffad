"""Machine keys: `ibk_<id>_<secret>`, for a program of a user's. Only the hash of the secret is kept.

A key is not signed in by anybody, so it has what it is given and no more: scopes (orders:paper and orders:live apart),
accounts, an end.
"""

from __future__ import annotations

import hmac
import re
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from ibkit.errors import ConfigError
from ibkit.model import AccountId, Secret
from ibkit.users.digests import Random, digest
from ibkit.users.principal import Scope
from ibkit.users.user import User, allowed_scopes

__all__ = ["LONGEST_KEY_LIFE", "ApiKey", "is_api_key", "key_id_of", "new_api_key"]

LONGEST_KEY_LIFE = timedelta(days=366)
_FORM = re.compile(r"ibk_([0-9a-f]{16})_[0-9a-f]{64}", re.ASCII)
_PREFIX = "ibk_"


@dataclass(frozen=True, slots=True, kw_only=True)
class ApiKey:
    """accounts: those it is confined to, None for all of the user's. used_at: to the minute."""

    key_id: str
    user_id: str
    label: str
    scopes: frozenset[Scope]
    created_at: datetime
    expires_at: datetime
    key_hash: str = field(repr=False)
    accounts: frozenset[AccountId] | None = None
    revoked_at: datetime | None = None
    used_at: datetime | None = None

    def fits(self, key: Secret[str], now: datetime) -> bool:
        """Whether `key` is this one, and still good."""
        same = hmac.compare_digest(self.key_hash, digest(key))
        return same and self.revoked_at is None and now < self.expires_at


def is_api_key(token: Secret[str]) -> bool:
    """Whether it looks like one, and so is no JWT."""
    return token.reveal().startswith(_PREFIX)


def key_id_of(token: Secret[str]) -> str | None:
    """The id that `token` names; None where it has not the form of a key."""
    found = _FORM.fullmatch(token.reveal())
    return found[1] if found else None


def new_api_key(
    user: User,
    *,
    label: str,
    scopes: frozenset[Scope],
    life: timedelta,
    now: datetime,
    random: Random,
    accounts: frozenset[AccountId] | None = None,
) -> tuple[ApiKey, Secret[str]]:
    """The record, and the key itself, which is seen this once. ConfigError (E-VALIDATION, E-FORBIDDEN)."""
    if not label.strip() or len(label) > 80 or not label.isprintable():
        raise _invalid("label", "1 to 80 printable characters that say what the key is for")
    if not timedelta(0) < life <= LONGEST_KEY_LIFE:
        raise _invalid("days", f"a key lives from 1 to {LONGEST_KEY_LIFE.days} days")
    if accounts is not None and not accounts:
        raise _invalid("account", "name at least one, or confine the key to none")
    beyond = scopes - allowed_scopes(user.role)
    if beyond or not scopes:
        raise ConfigError(
            f"Forbidden: the role {user.role} does not have {', '.join(sorted(beyond)) or 'a key without scopes'}",
            code="E-FORBIDDEN",
            remedy=f"Use {', '.join(sorted(allowed_scopes(user.role)))}, or give the user another role.",
        )
    key_id = random(8).hex()
    key = Secret(f"{_PREFIX}{key_id}_{random(32).hex()}")
    record = ApiKey(
        key_id=key_id,
        user_id=user.user_id,
        label=label.strip(),
        scopes=scopes,
        created_at=now,
        expires_at=now + life,
        key_hash=digest(key),
        accounts=accounts,
    )
    return record, key


def _invalid(name: str, reason: str) -> ConfigError:
    return ConfigError(f"Invalid request: {name}: {reason}", code="E-VALIDATION", remedy=f"Correct {name}.")
