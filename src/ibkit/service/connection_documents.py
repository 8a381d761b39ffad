"""What is told of a connection and its sessions over HTTP, and what is taken."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from ibkit.bootstrap.connections import Connection
from ibkit.bootstrap.session_book import OF_SETTINGS
from ibkit.service.connection_status import LastError
from ibkit.store.connection_rows import ConnectionRow
from ibkit.store.connections import SqlConnections
from ibkit.trading.connection import LABELS, HistoryEvent, SessionRecord, availability
from ibkit.wire.session_clocks import SessionClocks, session_clocks

__all__ = [
    "ConnectionInfo",
    "ConnectionList",
    "ConnectionWish",
    "DeletedConnection",
    "Happened",
    "LoggedOut",
    "SessionHistory",
    "SessionRow",
    "SessionStatus",
    "TakeOver",
    "happened",
    "history_document",
    "info_of",
    "session_document",
    "shown_id",
]

_MOST_EVENTS = 2_000


class TakeOver(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """confirm: true. The other login loses its session at once, with whatever it was doing."""

    confirm: bool


class ConnectionWish(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """address, username: of a gateway, which holds one login."""

    connection_id: Annotated[str, Meta(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$")]
    method: Literal["gateway", "oauth1a", "oauth2"]
    environment: Literal["paper", "live"] = "paper"
    label: Annotated[str, Meta(max_length=200)] = ""
    address: Annotated[str, Meta(max_length=300)] = ""
    username: Annotated[str, Meta(max_length=64)] = ""


class ConnectionInfo(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    connection_id: str
    label: str
    method: str
    environment: str
    address: str
    is_default: bool
    state: str
    state_label: str
    since: datetime
    accounts: list[str]
    checked_at: datetime | None
    last_success: datetime | None
    last_error: LastError | None


class ConnectionList(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    data: list[ConnectionInfo]


class DeletedConnection(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    connection_id: str
    deleted: bool


class SessionStatus(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """authenticated, competing, connected, message, server_version: IBKR's own word of the last look, null before it.

    session_id: ours, for tracking; null while there is no session, as all that follows from it.
    """

    connection_id: str
    state: str
    state_label: str
    since: datetime | None
    authenticated: bool | None
    competing: bool | None
    connected: bool | None
    message: str | None
    server_version: str | None
    username: str | None
    environment: str
    method: str
    checked_at: datetime | None
    last_error: LastError | None
    session_id: str | None
    created_at: datetime | None
    expires_at: datetime | None
    last_activity_at: datetime | None
    last_keep_alive_at: datetime | None
    idle_seconds_left: int | None
    age_seconds_left: int | None
    next_reset: datetime | None
    ends_first: str | None
    sso_renews_in: int | None


class LoggedOut(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """warning: what IBKR could not be told because of; null where it was told."""

    connection_id: str
    state: str
    warning: LastError | None


class SessionRow(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    session_id: str
    method: str
    environment: str
    created_at: datetime
    expires_at: datetime
    last_activity_at: datetime
    last_keep_alive_at: datetime | None
    status: str
    last_error: str
    ended_at: datetime | None


class Happened(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """lasted_s: how long the state that ended had lasted. number: of a try to reconnect."""

    id: int
    connection_id: str
    session_id: str
    at: datetime
    event: str
    was: str
    state: str
    code: str
    message: str
    number: int
    lasted_s: float | None


class SessionHistory(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """availability_percent: of the time in which it was wanted connected; null where it never was."""

    connection_id: str
    since: datetime
    until: datetime
    availability_percent: float | None
    up_s: float
    wanted_s: float
    sessions: list[SessionRow]
    events: list[Happened]


def info_of(row: ConnectionRow) -> ConnectionInfo:
    return ConnectionInfo(
        connection_id=shown_id(row),
        label=row.label,
        method=row.method,
        environment=row.environment,
        address=row.address,
        is_default=row.is_default or not row.user_id,
        state=row.state.value,
        state_label=LABELS[row.state],
        since=row.since,
        accounts=list(row.accounts),
        checked_at=row.checked_at,
        last_success=row.succeeded_at,
        last_error=LastError(code=row.error_code, message=row.error_message, remedy=row.error_remedy)
        if row.error_code
        else None,
    )


def shown_id(row: ConnectionRow) -> str:
    """That of the settings is `default` here, paper or live."""
    return row.connection_id if row.user_id else OF_SETTINGS


def session_document(connection: Connection) -> SessionStatus:
    """From what is known; no call is made."""
    held, book, keeper = connection.health, connection.book, connection.client.keeper
    last, session, error = keeper.last_status, book.session, held.trouble
    clocks = None if session is None else _clocks(connection, session)
    return SessionStatus(
        connection_id=shown_id(book.row),
        state=connection.state.value,
        state_label=LABELS[connection.state],
        since=held.since,
        authenticated=last.authenticated if last else None,
        competing=last.competing if last else None,
        connected=last.connected if last else None,
        message=last.message if last else None,
        server_version=last.serverInfo.serverVersion if last and last.serverInfo else None,
        username=keeper.username if keeper.level > 0 else None,
        environment=book.row.environment,
        method=book.row.method,
        checked_at=held.checked_at,
        last_error=None if error is None else LastError(code=error.code, message=error.message, remedy=error.remedy),
        session_id=session.session_id if session else None,
        created_at=session.created_at if session else None,
        expires_at=session.expires_at if session else None,
        last_activity_at=session.last_activity_at if session else None,
        last_keep_alive_at=session.last_keep_alive_at if session else None,
        idle_seconds_left=clocks.idle_seconds_left if clocks else None,
        age_seconds_left=clocks.age_seconds_left if clocks else None,
        next_reset=clocks.next_reset if clocks else None,
        ends_first=clocks.ends_first if clocks else None,
        sso_renews_in=clocks.sso_renews_in if clocks else None,
    )


def _clocks(connection: Connection, session: SessionRecord) -> SessionClocks:
    return session_clocks(
        connection.clock.now(),
        last_activity_at=session.last_activity_at,
        expires_at=session.expires_at,
        region=connection.settings.general.region,
        sso_expires=connection.client.keeper.sso_expires,
    )


async def history_document(rows: SqlConnections, row: ConnectionRow, *, days: float, now: datetime) -> SessionHistory:
    """The last days of a connection: its sessions, what happened, and how much of the time it was connected."""
    since = now - timedelta(days=days)
    events = await rows.history(row.user_id, row.connection_id, since=since)
    before = await rows.state_at(row.user_id, row.connection_id, since)
    told = availability(events, since, now, before=before)
    return SessionHistory(
        connection_id=shown_id(row),
        since=since,
        until=now,
        availability_percent=None if told.percent is None else round(told.percent, 3),
        up_s=round(told.up_s, 3),
        wanted_s=round(told.wanted_s, 3),
        sessions=[_session_row(each) for each in await rows.sessions(row.user_id, row.connection_id, since=since)],
        events=[happened(each) for each in events[-_MOST_EVENTS:]],
    )


def _session_row(session: SessionRecord) -> SessionRow:
    return SessionRow(**{name: getattr(session, name) for name in SessionRow.__struct_fields__})


def happened(event: HistoryEvent) -> Happened:
    return Happened(
        id=event.event_id,
        connection_id=event.connection_id if event.user_id else OF_SETTINGS,
        session_id=event.session_id,
        at=event.at,
        event=event.name.value,
        was=event.was.value,
        state=event.state.value,
        code=event.code,
        message=event.message,
        number=event.number,
        lasted_s=event.lasted_s,
    )
