"""Connections of users with how each stands, their sessions, and what happened to them; SQLite and PostgreSQL."""

from __future__ import annotations

from sqlalchemy import JSON, Boolean, Column, Connection, Float, Index, Integer, MetaData, String, Table

from ibkit.store.columns import Instant
from ibkit.store.database import SCHEMA

__all__ = ["upgrade"]

_METADATA = MetaData(schema=SCHEMA)

# user_id: "" for the connection of the settings. wanted: nobody has logged it out. asked_at: when
# somebody last asked for it to be connected. address, username: of a gateway.
_CONNECTIONS = Table(
    "connections",
    _METADATA,
    Column("user_id", String(64), primary_key=True),
    Column("connection_id", String(64), primary_key=True),
    Column("label", String(200), nullable=False),
    Column("method", String(16), nullable=False),
    Column("environment", String(8), nullable=False),
    Column("address", String(300), nullable=False),
    Column("username", String(64), nullable=False),
    Column("is_default", Boolean, nullable=False),
    Column("wanted", Boolean, nullable=False),
    Column("asked_at", Instant),
    Column("created_at", Instant, nullable=False),
    Column("state", String(16), nullable=False),
    Column("since", Instant, nullable=False),
    Column("checked_at", Instant),
    Column("succeeded_at", Instant),
    Column("error_code", String(40), nullable=False),
    Column("error_message", String(500), nullable=False),
    Column("error_remedy", String(500), nullable=False),
    Column("accounts", JSON, nullable=False),
)
_DEFAULT = _CONNECTIONS.c.is_default.is_(True)
Index("connections_default", _CONNECTIONS.c.user_id, unique=True, sqlite_where=_DEFAULT, postgresql_where=_DEFAULT)

_SESSIONS = Table(
    "broker_sessions",
    _METADATA,
    Column("session_id", String(32), primary_key=True),
    Column("user_id", String(64), nullable=False),
    Column("connection_id", String(64), nullable=False),
    Column("login", String(64), nullable=False),
    Column("method", String(16), nullable=False),
    Column("environment", String(8), nullable=False),
    Column("created_at", Instant, nullable=False),
    Column("expires_at", Instant, nullable=False),
    Column("last_activity_at", Instant, nullable=False),
    Column("last_keep_alive_at", Instant),
    Column("status", String(16), nullable=False),
    Column("last_error", String(500), nullable=False),
    Column("ended_at", Instant),
    Column("holder", String(100), nullable=False),
    Column("warned", JSON, nullable=False),
)
_OPEN = _SESSIONS.c.ended_at.is_(None)
Index(
    "broker_sessions_open",
    _SESSIONS.c.user_id,
    _SESSIONS.c.connection_id,
    unique=True,
    sqlite_where=_OPEN,
    postgresql_where=_OPEN,
)

_EVENTS = Table(
    "connection_events",
    _METADATA,
    Column("event_id", Integer, primary_key=True),
    Column("user_id", String(64), nullable=False),
    Column("connection_id", String(64), nullable=False),
    Column("session_id", String(32), nullable=False),
    Column("at", Instant, nullable=False),
    Column("name", String(24), nullable=False),
    Column("was", String(16), nullable=False),
    Column("state", String(16), nullable=False),
    Column("code", String(40), nullable=False),
    Column("message", String(500), nullable=False),
    Column("number", Integer, nullable=False),
    Column("lasted_s", Float),
)
Index("connection_events_of", _EVENTS.c.user_id, _EVENTS.c.connection_id, _EVENTS.c.at)


def upgrade(connection: Connection) -> None:
    _METADATA.create_all(connection)
