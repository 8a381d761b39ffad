"""Users and what belongs to them as rows, both ways."""

from __future__ import annotations

from typing import Any

from sqlalchemy import JSON, BigInteger, Boolean, Column, Integer, MetaData, RowMapping, String, Table

from ibkit.model import AccountId
from ibkit.store.columns import Instant
from ibkit.store.database import SCHEMA
from ibkit.users.api_keys import ApiKey
from ibkit.users.attempts import Attempt, Kind
from ibkit.users.browser import BrowserSession
from ibkit.users.principal import Role, Scope
from ibkit.users.user import User

__all__ = [
    "API_KEYS",
    "FAILURES",
    "NETWORKS",
    "REQUESTS",
    "REVOCATIONS",
    "SESSIONS",
    "USERS",
    "attempt_of",
    "attempt_row",
    "key_of",
    "key_row",
    "session_of",
    "session_row",
    "user_of",
    "user_row",
]

_METADATA = MetaData(schema=SCHEMA)


def _table(name: str, /, **columns: Any) -> Table:
    return Table(name, _METADATA, *(Column(each, kind) for each, kind in columns.items()))


_TEXT, _SCOPES_OR_NONE = String(), JSON(none_as_null=True)
USERS = _table(
    "users",
    user_id=_TEXT,
    name=_TEXT,
    role=_TEXT,
    created_at=Instant(),
    enabled=Boolean(),
    generation=Integer(),
    password_hash=_TEXT,
    password_at=Instant(),
    totp_secret=_TEXT,
    totp_since=Instant(),
    totp_step=BigInteger(),
    recovery=JSON(),
    link_hash=_TEXT,
    link_expires_at=Instant(),
)
API_KEYS = _table(
    "api_keys",
    key_id=_TEXT,
    user_id=_TEXT,
    label=_TEXT,
    scopes=JSON(),
    accounts=_SCOPES_OR_NONE,
    key_hash=_TEXT,
    created_at=Instant(),
    expires_at=Instant(),
    revoked_at=Instant(),
    used_at=Instant(),
)
REVOCATIONS = _table("token_revocations", token_id=_TEXT, user_id=_TEXT, revoked_at=Instant(), expires_at=Instant())
SESSIONS = _table(
    "browser_sessions",
    id_hash=_TEXT,
    user_id=_TEXT,
    generation=Integer(),
    created_at=Instant(),
    seen_at=Instant(),
    signed_in_at=Instant(),
    address=_TEXT,
    agent=_TEXT,
)
FAILURES = _table(
    "sign_in_failures",
    attempt_id=_TEXT,
    account=_TEXT,
    user_id=_TEXT,
    address=_TEXT,
    network=_TEXT,
    kind=_TEXT,
    forgiven=Boolean(),
    at=Instant(),
)
NETWORKS = _table("sign_in_networks", account=_TEXT, network=_TEXT, seen_at=Instant())
REQUESTS = _table("order_requests", user_id=_TEXT, at=Instant())


def user_row(user: User) -> dict[str, Any]:
    return {
        "user_id": user.user_id,
        "name": user.name,
        "role": user.role.value,
        "created_at": user.created_at,
        "enabled": user.enabled,
        "generation": user.generation,
        "password_hash": user.password_hash,
        "password_at": user.password_at,
        "totp_secret": user.totp_secret,
        "totp_since": user.totp_since,
        "totp_step": user.totp_step,
        "recovery": list(user.recovery),
        "link_hash": user.link_hash,
        "link_expires_at": user.link_expires_at,
    }


def user_of(row: RowMapping) -> User:
    """row: of a statement that selects USERS, with others beside it or not."""
    values = {column.name: row[column] for column in USERS.c}
    return User(**values | {"role": Role(values["role"]), "recovery": tuple(values["recovery"])})


def key_row(key: ApiKey) -> dict[str, Any]:
    return {
        "key_id": key.key_id,
        "user_id": key.user_id,
        "label": key.label,
        "scopes": sorted(key.scopes),
        "accounts": None if key.accounts is None else sorted(key.accounts),
        "key_hash": key.key_hash,
        "created_at": key.created_at,
        "expires_at": key.expires_at,
        "revoked_at": key.revoked_at,
        "used_at": key.used_at,
    }


def key_of(row: RowMapping) -> ApiKey:
    values = {column.name: row[column] for column in API_KEYS.c}
    accounts = values["accounts"]
    return ApiKey(
        **values
        | {
            "scopes": frozenset(Scope(each) for each in values["scopes"]),
            "accounts": None if accounts is None else frozenset(AccountId(each) for each in accounts),
        }
    )


def session_row(session: BrowserSession) -> dict[str, Any]:
    return {column.name: getattr(session, column.name) for column in SESSIONS.c}


def session_of(row: RowMapping) -> BrowserSession:
    return BrowserSession(**{column.name: row[column] for column in SESSIONS.c})


def attempt_row(attempt: Attempt, kind: Kind) -> dict[str, Any]:
    return {
        "attempt_id": attempt.attempt_id,
        "account": attempt.account,
        "user_id": attempt.user_id,
        "address": attempt.address,
        "network": attempt.network,
        "kind": kind.value,
        "forgiven": False,
        "at": attempt.at,
    }


def attempt_of(row: RowMapping) -> Attempt:
    return Attempt(
        attempt_id=row["attempt_id"],
        account=row["account"],
        user_id=row["user_id"],
        address=row["address"],
        kind=Kind(row["kind"]),
        at=row["at"],
    )
