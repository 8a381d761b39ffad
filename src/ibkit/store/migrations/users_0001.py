"""Users, their machine keys and browser sessions, tokens that were revoked, sign-ins that failed; both engines.

No secret stands in any of them: passwords are argon2id, other secrets SHA-256 of random text, the secret of the second
step is sealed by the vault.
"""

from __future__ import annotations

from sqlalchemy import (
    JSON,
    BigInteger,
    Boolean,
    CheckConstraint,
    Column,
    Connection,
    ForeignKey,
    Index,
    Integer,
    MetaData,
    String,
    Table,
)

from ibkit.store.columns import Instant
from ibkit.store.database import SCHEMA

__all__ = ["upgrade"]

_METADATA = MetaData(schema=SCHEMA)
_USER = f"{SCHEMA}.users.user_id"

_USERS = Table(
    "users",
    _METADATA,
    Column("user_id", String(32), primary_key=True),
    Column("name", String(64), nullable=False, unique=True),
    Column("role", String(8), nullable=False),
    Column("created_at", Instant, nullable=False),
    Column("enabled", Boolean, nullable=False),
    Column("generation", Integer, nullable=False),
    Column("password_hash", String(200), nullable=False),
    Column("password_at", Instant),
    Column("totp_secret", String(400), nullable=False),
    Column("totp_since", Instant),
    Column("totp_step", BigInteger, nullable=False),
    Column("recovery", JSON, nullable=False),
    Column("link_hash", String(64), nullable=False),
    Column("link_expires_at", Instant),
    CheckConstraint("role IN ('owner', 'admin', 'trader', 'viewer')", name="users_role"),
)

_API_KEYS = Table(
    "api_keys",
    _METADATA,
    Column("key_id", String(16), primary_key=True),
    Column("user_id", ForeignKey(_USER), nullable=False),
    Column("label", String(80), nullable=False),
    Column("scopes", JSON, nullable=False),
    Column("accounts", JSON(none_as_null=True)),
    Column("key_hash", String(64), nullable=False),
    Column("created_at", Instant, nullable=False),
    Column("expires_at", Instant, nullable=False),
    Column("revoked_at", Instant),
    Column("used_at", Instant),
)
Index("api_keys_user", _API_KEYS.c.user_id)

_REVOCATIONS = Table(
    "token_revocations",
    _METADATA,
    Column("token_id", String(32), primary_key=True),
    Column("user_id", String(32), nullable=False),
    Column("revoked_at", Instant, nullable=False),
    Column("expires_at", Instant, nullable=False),
)
Index("token_revocations_end", _REVOCATIONS.c.expires_at)

_SESSIONS = Table(
    "browser_sessions",
    _METADATA,
    Column("id_hash", String(64), primary_key=True),
    Column("user_id", ForeignKey(_USER), nullable=False),
    Column("generation", Integer, nullable=False),
    Column("created_at", Instant, nullable=False),
    Column("seen_at", Instant, nullable=False),
    Column("signed_in_at", Instant, nullable=False),
    Column("address", String(64), nullable=False),
    Column("agent", String(200), nullable=False),
)
Index("browser_sessions_user", _SESSIONS.c.user_id)

_FAILURES = Table(
    "sign_in_failures",
    _METADATA,
    Column("attempt_id", String(32), primary_key=True),
    Column("account", String(32), nullable=False),
    Column("user_id", String(32), nullable=False),
    Column("address", String(64), nullable=False),
    Column("network", String(64), nullable=False),
    Column("kind", String(8), nullable=False),
    Column("forgiven", Boolean, nullable=False),
    Column("at", Instant, nullable=False),
)
Index("sign_in_failures_account", _FAILURES.c.account, _FAILURES.c.at)
Index("sign_in_failures_network", _FAILURES.c.network, _FAILURES.c.at)
Index("sign_in_failures_at", _FAILURES.c.at)

Table(
    "sign_in_networks",
    _METADATA,
    Column("account", String(32), primary_key=True),
    Column("network", String(64), primary_key=True),
    Column("seen_at", Instant, nullable=False),
)


def upgrade(connection: Connection) -> None:
    _METADATA.create_all(connection)
