"""Credentials of connections, the sealed text of secrets, and the keys it was sealed with; SQLite and PostgreSQL."""

from __future__ import annotations

from sqlalchemy import CheckConstraint, Column, Connection, Index, Integer, MetaData, String, Table, Text

from ibkit.store.columns import Instant
from ibkit.store.database import SCHEMA

__all__ = ["upgrade"]

_METADATA = MetaData(schema=SCHEMA)

_CREDENTIALS = Table(
    "credentials",
    _METADATA,
    Column("credential_id", String(32), primary_key=True),
    Column("user_id", String(64), nullable=False),
    Column("connection_id", String(64), nullable=False),
    Column("method", String(16), nullable=False),
    Column("environment", String(8), nullable=False),
    Column("label", String(200), nullable=False),
    Column("status", String(8), nullable=False),
    Column("last_error", String(500)),
    Column("created_at", Instant, nullable=False),
    Column("changed_at", Instant, nullable=False),
    Column("last_used_at", Instant),
    Column("last_connected_at", Instant),
    Column("version", Integer, nullable=False),
    CheckConstraint("status IN ('inactive', 'active', 'error')", name="credentials_status"),
    CheckConstraint("environment IN ('paper', 'live')", name="credentials_environment"),
    CheckConstraint("method IN ('gateway', 'oauth1a', 'oauth2')", name="credentials_method"),
)
_ACTIVE = _CREDENTIALS.c.status == "active"
# Of a connection at most one is in use, and at most one waits for its test or has failed it.
Index(
    "credentials_in_use",
    _CREDENTIALS.c.user_id,
    _CREDENTIALS.c.connection_id,
    unique=True,
    sqlite_where=_ACTIVE,
    postgresql_where=_ACTIVE,
)
Index(
    "credentials_waiting",
    _CREDENTIALS.c.user_id,
    _CREDENTIALS.c.connection_id,
    unique=True,
    sqlite_where=~_ACTIVE,
    postgresql_where=~_ACTIVE,
)

# A record is whatever a secret belongs to; its name and the field's are bound into the sealed text.
_SEALED = Table(
    "sealed",
    _METADATA,
    Column("sealed_id", Integer, primary_key=True),
    Column("user_id", String(64), nullable=False),
    Column("record", String(200), nullable=False),
    Column("field", String(64), nullable=False),
    Column("text", Text, nullable=False),
)
Index("sealed_place", _SEALED.c.user_id, _SEALED.c.record, _SEALED.c.field, unique=True)

# superseded_at: nothing more is sealed with it. A row is gone when nothing is left that needs its key.
Table(
    "vault_keys",
    _METADATA,
    Column("key_id", String(8), primary_key=True),
    Column("check_value", Text, nullable=False),
    Column("since", Instant, nullable=False),
    Column("superseded_at", Instant),
)


def upgrade(connection: Connection) -> None:
    _METADATA.create_all(connection)
