"""Connections, how each stands, their sessions and their history in SQL. Source: requirements SES-02, SES-12, SES-14.

What one look at a connection found is one transaction: state, session row and events. A connection that somebody has
logged out (`wanted` is false) takes no more of them, whichever process looked.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import datetime, timedelta

from sqlalchemy import Connection, delete, insert, select, update

from ibkit.errors import ConfigError
from ibkit.store.connection_rows import (
    CONNECTIONS,
    EVENTS,
    LONGEST_TEXT,
    SESSIONS,
    ConnectionRow,
    check_gateway,
    connection_rows,
    end_session,
    event_rows,
    left_behind,
    named,
    needed_row,
    of_row,
    open_of,
    put_events,
    put_session,
    session_rows,
    values_of,
)
from ibkit.store.database import Database
from ibkit.store.migrating import for_engine
from ibkit.trading.connection import (
    CLOSED,
    ConnectionEvent,
    ConnectionState,
    EventName,
    HistoryEvent,
    SessionRecord,
    Standing,
    move,
)

__all__ = ["KEPT", "ConnectionRow", "SqlConnections"]

KEPT = timedelta(days=90)
"""Sessions that have ended, and events. SES-11."""


class SqlConnections:
    """database: with the part `connections`. StorageError where it fails."""

    def __init__(self, database: Database) -> None:
        self._database = database

    # -- connections ----------------------------------------------------------------------------------------------

    async def add(self, row: ConnectionRow) -> ConnectionRow:
        """A new one; the first of a user is their default.

        ConfigError (E-CONFIG-CONFLICT) where there is one of that name, or where its gateway, which holds one login,
        is another user name's already (SES-16).
        """

        def work(connection: Connection) -> ConnectionRow:
            connection = for_engine(connection)
            others = connection_rows(connection, select(CONNECTIONS))
            mine = [each for each in others if each.user_id == row.user_id]
            if any(each.connection_id == row.connection_id for each in mine):
                raise ConfigError(
                    f"Conflicting settings: there is a connection {row.connection_id} already",
                    code="E-CONFIG-CONFLICT",
                    remedy="Choose another name, or delete that one first.",
                    details={"connection_id": row.connection_id},
                )
            check_gateway(row, others)
            is_default = row.is_default or not any(each.is_default for each in mine)
            if is_default:
                connection.execute(
                    update(CONNECTIONS).where(CONNECTIONS.c.user_id == row.user_id).values(is_default=False)
                )
            made = replace(row, is_default=is_default)
            connection.execute(insert(CONNECTIONS).values(values_of(made)))
            return made

        return await self._database.write(work)

    async def ensure(self, row: ConnectionRow) -> ConnectionRow:
        """The one of that name, as it stands; made, or brought to the row's method and address, where need be."""

        def work(connection: Connection) -> ConnectionRow:
            connection = for_engine(connection)
            there = connection_rows(connection, select(CONNECTIONS).where(*of_row(CONNECTIONS, row)))
            if not there:
                connection.execute(insert(CONNECTIONS).values(values_of(row)))
                return row
            now = {name: getattr(row, name) for name in ("method", "environment", "address", "username")}
            if any(getattr(there[0], name) != value for name, value in now.items()):
                connection.execute(update(CONNECTIONS).where(*of_row(CONNECTIONS, row)).values(now))
            return replace(there[0], **now)

        return await self._database.write(work)

    async def get(self, user_id: str, connection_id: str) -> ConnectionRow | None:
        query = select(CONNECTIONS).where(*named(CONNECTIONS, user_id, connection_id))
        found = await self._database.read(lambda c: connection_rows(for_engine(c), query), quick=True)
        return found[0] if found else None

    async def of_user(self, user_id: str) -> tuple[ConnectionRow, ...]:
        """Their default first, then by name."""
        query = (
            select(CONNECTIONS)
            .where(CONNECTIONS.c.user_id == user_id)
            .order_by(CONNECTIONS.c.is_default.desc(), CONNECTIONS.c.connection_id)
        )
        return tuple(await self._database.read(lambda c: connection_rows(for_engine(c), query)))

    async def all(self) -> tuple[ConnectionRow, ...]:
        query = select(CONNECTIONS).order_by(CONNECTIONS.c.user_id, CONNECTIONS.c.connection_id)
        return tuple(await self._database.read(lambda c: connection_rows(for_engine(c), query)))

    async def set_default(self, user_id: str, connection_id: str) -> None:
        """NotFound."""

        def work(connection: Connection) -> None:
            connection = for_engine(connection)
            needed_row(connection, user_id, connection_id)
            connection.execute(update(CONNECTIONS).where(CONNECTIONS.c.user_id == user_id).values(is_default=False))
            this = named(CONNECTIONS, user_id, connection_id)
            connection.execute(update(CONNECTIONS).where(*this).values(is_default=True))

        await self._database.write(work)

    async def want(self, user_id: str, connection_id: str, wanted: bool, *, now: datetime) -> None:
        """Somebody connects it, or logs it out, which ends its session row; every process that keeps it sees it."""

        def work(connection: Connection) -> None:
            connection = for_engine(connection)
            row = needed_row(connection, user_id, connection_id)
            this = named(CONNECTIONS, user_id, connection_id)
            connection.execute(
                update(CONNECTIONS).where(*this).values({"wanted": wanted, **({"asked_at": now} if wanted else {})})
            )
            if wanted or row.state in (ConnectionState.DISCONNECTED, ConnectionState.NOT_CONFIGURED):
                return
            ended = session_rows(connection, select(SESSIONS).where(*open_of(user_id, connection_id)))
            session_id = ended[0].session_id if ended else ""
            for session in ended:
                end_session(connection, session, CLOSED, now)
            change = {"state": ConnectionState.DISCONNECTED.value, "since": now}
            connection.execute(update(CONNECTIONS).where(*this).values(change))
            told = HistoryEvent(
                user_id=user_id,
                connection_id=connection_id,
                session_id=session_id,
                at=now,
                name=EventName.LOGOUT,
                was=row.state,
                state=ConnectionState.DISCONNECTED,
            )
            lasted = (now - row.since).total_seconds()
            put_events(connection, told, replace(told, name=EventName.STATE, lasted_s=lasted))

        await self._database.write(work)

    async def delete(self, user_id: str, connection_id: str) -> None:
        """With its sessions and history. The next by name becomes the default. NotFound."""

        def work(connection: Connection) -> None:
            connection = for_engine(connection)
            row = needed_row(connection, user_id, connection_id)
            for table in (CONNECTIONS, SESSIONS, EVENTS):
                connection.execute(delete(table).where(*named(table, user_id, connection_id)))
            left = connection_rows(
                connection,
                select(CONNECTIONS).where(CONNECTIONS.c.user_id == user_id).order_by(CONNECTIONS.c.connection_id),
            )
            if row.is_default and left:
                following = named(CONNECTIONS, user_id, left[0].connection_id)
                connection.execute(update(CONNECTIONS).where(*following).values(is_default=True))

        await self._database.write(work)

    # -- looks ----------------------------------------------------------------------------------------------------

    async def note(
        self,
        user_id: str,
        connection_id: str,
        standing: Standing,
        *,
        accounts: Sequence[str],
        sessions: Sequence[SessionRecord],
        events: Sequence[HistoryEvent],
    ) -> bool:
        """What one look found. False, and nothing is kept, where the connection was logged out or deleted meanwhile."""
        error = standing.trouble
        values = {
            "state": standing.state.value,
            "since": standing.since,
            "checked_at": standing.checked_at,
            "succeeded_at": standing.succeeded_at,
            "error_code": "" if error is None else error.code,
            "error_message": "" if error is None else error.message[:LONGEST_TEXT],
            "error_remedy": "" if error is None else error.remedy[:LONGEST_TEXT],
            "accounts": list(accounts),
        }

        def work(connection: Connection) -> bool:
            connection = for_engine(connection)
            this = named(CONNECTIONS, user_id, connection_id)
            done = connection.execute(update(CONNECTIONS).where(*this, CONNECTIONS.c.wanted.is_(True)).values(values))
            if done.rowcount == 0:
                return False
            for session in sessions:
                put_session(connection, session)
            put_events(connection, *events)
            return True

        return await self._database.write(work)

    # -- sessions -------------------------------------------------------------------------------------------------

    async def open_session(self, user_id: str, connection_id: str) -> SessionRecord | None:
        query = select(SESSIONS).where(*open_of(user_id, connection_id))
        found = await self._database.read(lambda c: session_rows(for_engine(c), query), quick=True)
        return found[0] if found else None

    async def sessions(self, user_id: str, connection_id: str, *, since: datetime) -> tuple[SessionRecord, ...]:
        """Those that lasted into `since` or began later, newest first."""
        query = (
            select(SESSIONS)
            .where(
                *named(SESSIONS, user_id, connection_id),
                SESSIONS.c.ended_at.is_(None) | (SESSIONS.c.ended_at >= since),
            )
            .order_by(SESSIONS.c.created_at.desc())
        )
        return tuple(await self._database.read(lambda c: session_rows(for_engine(c), query)))

    async def clean(self, now: datetime, held: Callable[[str], bool]) -> tuple[SessionRecord, ...]:
        """Put away the sessions that were left behind: those cleaned, as they are now. held: whether a lease is. SES-11

        In error or in want of a login for 15 minutes, past their life, or open for 15 minutes without a sign of life
        and without a process that holds them.
        """

        def work(connection: Connection) -> tuple[SessionRecord, ...]:
            connection = for_engine(connection)
            cleaned: list[SessionRecord] = []
            for session in session_rows(connection, select(SESSIONS).where(SESSIONS.c.ended_at.is_(None))):
                row = next(
                    iter(
                        connection_rows(
                            connection,
                            select(CONNECTIONS).where(*named(CONNECTIONS, session.user_id, session.connection_id)),
                        )
                    ),
                    None,
                )
                status = left_behind(session, row, now, held)
                if status is None:
                    continue
                cleaned.append(end_session(connection, session, status, now))
                state = ConnectionState.NOT_CONFIGURED if row is None else row.state
                told = HistoryEvent(
                    user_id=session.user_id,
                    connection_id=session.connection_id,
                    session_id=session.session_id,
                    at=now,
                    name=EventName.CLEANED,
                    was=state,
                    state=state,
                )
                put_events(connection, told)
                if row is not None and row.state.is_up:
                    # Nobody is there who could still say so.
                    this = named(CONNECTIONS, session.user_id, session.connection_id)
                    left = move(row.state, ConnectionEvent.LEFT)
                    change = {"state": left.value, "since": now}
                    connection.execute(update(CONNECTIONS).where(*this).values(change))
                    lasted = (now - row.since).total_seconds()
                    fell = replace(told, name=EventName.STATE, state=left, lasted_s=lasted)
                    put_events(connection, fell)
            return tuple(cleaned)

        return await self._database.write(work)

    async def purge(self, now: datetime) -> int:
        """Sessions that ended, and events, of more than 90 days ago: how many rows went."""
        before = now - KEPT

        def work(connection: Connection) -> int:
            connection = for_engine(connection)
            gone = connection.execute(delete(SESSIONS).where(SESSIONS.c.ended_at < before)).rowcount
            return gone + connection.execute(delete(EVENTS).where(EVENTS.c.at < before)).rowcount

        return await self._database.write(work)

    # -- history --------------------------------------------------------------------------------------------------

    async def history(self, user_id: str, connection_id: str, *, since: datetime) -> tuple[HistoryEvent, ...]:
        """Everything since then, oldest first."""
        query = (
            select(EVENTS)
            .where(*named(EVENTS, user_id, connection_id), EVENTS.c.at >= since)
            .order_by(EVENTS.c.at, EVENTS.c.event_id)
        )
        return tuple(await self._database.read(lambda c: event_rows(for_engine(c), query)))

    async def state_at(self, user_id: str, connection_id: str, at: datetime) -> ConnectionState | None:
        """The state that the last change before `at` led to; None where none is known."""
        query = (
            select(EVENTS)
            .where(
                *named(EVENTS, user_id, connection_id),
                EVENTS.c.at < at,
                EVENTS.c.name == EventName.STATE.value,
            )
            .order_by(EVENTS.c.at.desc(), EVENTS.c.event_id.desc())
            .limit(1)
        )
        found = await self._database.read(lambda c: event_rows(for_engine(c), query))
        return found[0].state if found else None

    async def events_after(self, event_id: int, *, user_ids: Sequence[str], limit: int) -> tuple[HistoryEvent, ...]:
        """Of those users' connections, in the order they came."""
        query = (
            select(EVENTS)
            .where(EVENTS.c.event_id > event_id, EVENTS.c.user_id.in_(list(user_ids)))
            .order_by(EVENTS.c.event_id)
            .limit(limit)
        )
        return tuple(await self._database.read(lambda c: event_rows(for_engine(c), query), quick=True))

    async def last_event_id(self) -> int:
        query = select(EVENTS.c.event_id).order_by(EVENTS.c.event_id.desc()).limit(1)
        return await self._database.read(lambda c: for_engine(c).execute(query).scalar() or 0, quick=True)
