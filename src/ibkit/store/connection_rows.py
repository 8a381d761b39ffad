"""The tables of connections as the present code knows them, and rows to and from values."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from sqlalchemy import (
    JSON,
    Boolean,
    Column,
    Connection,
    Float,
    Integer,
    MetaData,
    String,
    Table,
    insert,
    select,
    update,
)

from ibkit.errors import ConfigError, NotFound
from ibkit.store.columns import Instant
from ibkit.store.database import SCHEMA
from ibkit.trading.connection import (
    CLEANED,
    EXPIRED,
    LEFT_ALONE,
    ConnectionState,
    EventName,
    HistoryEvent,
    SessionRecord,
)

__all__ = [
    "CONNECTIONS",
    "EVENTS",
    "LONGEST_TEXT",
    "SESSIONS",
    "ConnectionRow",
    "check_gateway",
    "connection_rows",
    "end_session",
    "event_rows",
    "left_behind",
    "named",
    "needed_row",
    "of_row",
    "open_of",
    "put_events",
    "put_session",
    "session_rows",
    "values_of",
]

LONGEST_TEXT = 500
_METADATA = MetaData(schema=SCHEMA)
CONNECTIONS = Table(
    "connections",
    _METADATA,
    *(Column(name, String, primary_key=True) for name in ("user_id", "connection_id")),
    *(Column(name, String) for name in ("label", "method", "environment", "address", "username")),
    *(Column(name, Boolean) for name in ("is_default", "wanted")),
    Column("created_at", Instant),
    Column("state", String),
    *(Column(name, Instant) for name in ("asked_at", "since", "checked_at", "succeeded_at")),
    *(Column(name, String) for name in ("error_code", "error_message", "error_remedy")),
    Column("accounts", JSON),
)
SESSIONS = Table(
    "broker_sessions",
    _METADATA,
    Column("session_id", String, primary_key=True),
    *(Column(name, String) for name in ("user_id", "connection_id", "login", "method", "environment")),
    *(Column(name, Instant) for name in ("created_at", "expires_at", "last_activity_at", "last_keep_alive_at")),
    *(Column(name, String) for name in ("status", "last_error")),
    Column("ended_at", Instant),
    Column("holder", String),
    Column("warned", JSON),
)
EVENTS = Table(
    "connection_events",
    _METADATA,
    Column("event_id", Integer, primary_key=True),
    *(Column(name, String) for name in ("user_id", "connection_id", "session_id")),
    Column("at", Instant),
    *(Column(name, String) for name in ("name", "was", "state", "code", "message")),
    Column("number", Integer),
    Column("lasted_s", Float),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class ConnectionRow:
    """user_id: "" for the connection of the settings. address, username: of a gateway's login, "" elsewhere.

    wanted: nobody has logged it out. asked_at: when somebody last asked for it to be connected.
    error_…: of the last look, "" where it worked. accounts: those last seen.
    """

    user_id: str
    connection_id: str
    label: str = ""
    method: str
    environment: str
    address: str = ""
    username: str = ""
    is_default: bool = False
    wanted: bool = True
    asked_at: datetime | None = None
    created_at: datetime
    state: ConnectionState
    since: datetime
    checked_at: datetime | None = None
    succeeded_at: datetime | None = None
    error_code: str = ""
    error_message: str = ""
    error_remedy: str = ""
    accounts: tuple[str, ...] = ()


def left_behind(
    session: SessionRecord, row: ConnectionRow | None, now: datetime, held: Callable[[str], bool]
) -> str | None:
    """How it is to end; None where it lives."""
    if row is None:
        return CLEANED
    if now >= session.expires_at and not row.state.is_up:
        return EXPIRED
    down = row.state in (ConnectionState.ERROR, ConnectionState.NEEDS_LOGIN)
    if down and now - row.since > LEFT_ALONE:
        return CLEANED
    if now - session.last_activity_at > LEFT_ALONE and not (session.holder and held(session.holder)):
        return CLEANED
    return None


def check_gateway(row: ConnectionRow, others: Sequence[ConnectionRow]) -> None:
    if row.method != "gateway":
        return
    for other in others:
        same_place = other.method == "gateway" and other.address == row.address
        if same_place and other.username.lower() != row.username.lower():
            # Of somebody else's connection nothing is told but that it is there.
            ours = other.user_id == row.user_id
            first = f"{other.connection_id} (user name {other.username or 'not told'})" if ours else "of another user"
            raise ConfigError(
                f"Conflicting settings: the gateway at {row.address} belongs to the connection {first}",
                code="E-CONFIG-CONFLICT",
                remedy="A gateway holds one login: run another one on another port, and give that address.",
                details={"connection_id": other.connection_id if ours else "", "address": row.address},
            )


def named(table: Table, user_id: str, connection_id: str) -> tuple[Any, Any]:
    return table.c.user_id == user_id, table.c.connection_id == connection_id


def of_row(table: Table, row: ConnectionRow) -> tuple[Any, Any]:
    return named(table, row.user_id, row.connection_id)


def open_of(user_id: str, connection_id: str) -> tuple[Any, Any, Any]:
    return (*named(SESSIONS, user_id, connection_id), SESSIONS.c.ended_at.is_(None))


def needed_row(connection: Connection, user_id: str, connection_id: str) -> ConnectionRow:
    found = connection_rows(connection, select(CONNECTIONS).where(*named(CONNECTIONS, user_id, connection_id)))
    if not found:
        raise NotFound(code="E-NOT-FOUND", details={"thing": "connection"})
    return found[0]


def connection_rows(connection: Connection, query: Any) -> list[ConnectionRow]:
    return [
        ConnectionRow(**{**row, "state": ConnectionState(row["state"]), "accounts": tuple(row["accounts"])})
        for row in connection.execute(query).mappings()
    ]


def values_of(row: ConnectionRow) -> dict[str, Any]:
    values = {name: getattr(row, name) for name in ConnectionRow.__dataclass_fields__}
    return {**values, "state": row.state.value, "accounts": list(row.accounts)}


def session_rows(connection: Connection, query: Any) -> list[SessionRecord]:
    return [SessionRecord(**{**row, "warned": tuple(row["warned"])}) for row in connection.execute(query).mappings()]


def put_session(connection: Connection, session: SessionRecord) -> None:
    values = {name: getattr(session, name) for name in SessionRecord.__dataclass_fields__}
    values |= {"warned": list(session.warned), "last_error": session.last_error[:LONGEST_TEXT]}
    this = SESSIONS.c.session_id == session.session_id
    if connection.execute(update(SESSIONS).where(this).values(values)).rowcount == 0:
        connection.execute(insert(SESSIONS).values(values))


def end_session(connection: Connection, session: SessionRecord, status: str, now: datetime) -> SessionRecord:
    ended = replace(session, status=status, ended_at=now)
    put_session(connection, ended)
    return ended


def put_events(connection: Connection, *events: HistoryEvent) -> None:
    for each in events:
        values = {name: getattr(each, name) for name in HistoryEvent.__dataclass_fields__ if name != "event_id"}
        values |= {
            "name": each.name.value,
            "was": each.was.value,
            "state": each.state.value,
            "message": each.message[:LONGEST_TEXT],
        }
        connection.execute(insert(EVENTS).values(values))


def event_rows(connection: Connection, query: Any) -> list[HistoryEvent]:
    return [
        HistoryEvent(
            **{
                **row,
                "name": EventName(row["name"]),
                "was": ConnectionState(row["was"]),
                "state": ConnectionState(row["state"]),
            }
        )
        for row in connection.execute(query).mappings()
    ]
