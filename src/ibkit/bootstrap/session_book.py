"""What the looks at one connection find, into its state, its session row and its history; and whom that concerns.

One process writes for a connection at a time, by a lease; what others find stays with them. A database that fails keeps
nobody from looking: what could not be stored is stored with the next look.
Source: requirements SES-02, SES-07, SES-09, SES-12, SES-14.
"""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from datetime import datetime, timedelta

import anyio
import anyio.to_thread

from ibkit.bootstrap.alerting import Alerting, connection_of
from ibkit.bootstrap.edge import edges
from ibkit.bootstrap.pauses import Waiting, nothing_waits
from ibkit.bootstrap.session_leases import lease_folder, lease_name_of
from ibkit.clock import Clock
from ibkit.errors import IbkitError, InFlight, StorageError
from ibkit.model import AuthMethod, Environment
from ibkit.settings import Settings
from ibkit.store.connection_rows import ConnectionRow
from ibkit.store.connections import SqlConnections
from ibkit.store.database import Database
from ibkit.store.lease import Lease
from ibkit.store.records import open_records
from ibkit.trading.alerting import EventKind, Happening, Signs
from ibkit.trading.connection import (
    EXPIRED,
    RENEWED,
    ConnectionEvent,
    ConnectionState,
    EventName,
    HistoryEvent,
    SessionRecord,
    Standing,
    due_warnings,
    event_of,
    heals,
    move,
    warning_name,
)
from ibkit.wire.session_clocks import LONGEST_S

__all__ = [
    "CHECK_EVERY_S",
    "CLEAN_EVERY_S",
    "OF_SETTINGS",
    "PART",
    "WISH_EVERY_S",
    "SessionBook",
    "connection_id_of",
    "open_connection_rows",
    "open_session_book",
    "row_of",
]

log = logging.getLogger(__name__)

PART = "connections"
"""Part of the database that this room keeps."""
OF_SETTINGS = "default"
CHECK_EVERY_S = 30.0
"""Between two looks at a connection at most. MON-04."""
WISH_EVERY_S = 2.0
"""How soon a process notices that another one logged its connection out, or wants it again."""
CLEAN_EVERY_S = 300.0
LONGEST = timedelta(seconds=LONGEST_S)
_MOST_WAITING = 1_000
"""Events that wait for a database that does not answer; the oldest go first."""
_ONCE = {EventKind.SESSION_EXPIRED, EventKind.SESSION_NEEDS_LOGIN}
"""Told once for each session (SES-09), however long it lasts."""


@dataclass(kw_only=True)
class SessionBook:
    """name: of the connection, as alerts call it. alert_before: minutes before the age limit. lease: of whoever writes.
    held: whether a lease of that name is.

    tell: hands alerts on; it neither waits nor raises. random: n → n bytes.
    """

    store: SqlConnections
    row: ConnectionRow
    name: str
    alert_before: Sequence[float]
    lease: Lease
    lease_name: str
    held: Callable[[str], bool]
    clock: Clock
    random: Callable[[int], bytes]
    tell_all: Callable[[Iterable[Happening]], None]
    waiting: Waiting = nothing_waits
    standing: Standing = field(default_factory=Standing)
    session: SessionRecord | None = None
    asked_anew: bool = False
    """Somebody asked for it to be connected, here or elsewhere; whoever acts on it takes it back."""
    signs: Signs = field(init=False)
    _kept_alive_at: datetime | None = None
    _waiting: list[HistoryEvent] = field(default_factory=list)
    _ended: list[SessionRecord] = field(default_factory=list)
    _told: set[str] = field(default_factory=set)
    _held: AsyncExitStack | None = None
    _cleaned_at: float | None = None

    def __post_init__(self) -> None:
        self.signs = Signs(self.name)

    # -- beginning and end ----------------------------------------------------------------------------------------

    async def open(self) -> None:
        """Take up what an earlier process left. StorageError."""
        self.row = await self.store.ensure(self.row)
        now = self.clock.now()
        self.standing = Standing(self.row.state, self.row.since)
        await self._holds()
        self.session = await self.store.open_session(self.row.user_id, self.row.connection_id)
        if self.session is not None:
            self._told = set(self.session.warned)
        if self._held is not None:
            # Nobody looked since then: from that moment on nothing is known of it.
            self._move(ConnectionEvent.LEFT, self.row.checked_at or now)
        elif self.standing.state is not ConnectionState.DISCONNECTED:
            self.standing = Standing(ConnectionState.CONFIGURED, now)

    async def close(self) -> None:
        """The process ends; the session at IBKR may go on, and whoever comes next takes it up."""
        self._move(ConnectionEvent.LEFT, self.clock.now())
        await self._store()
        if self._held is not None:
            held, self._held = self._held, None
            await held.aclose()

    async def wanted(self) -> bool:
        """Whether nobody has logged it out, in this process or another. Where the database fails: as it was."""
        try:
            row = await self.store.get(self.row.user_id, self.row.connection_id)
        except StorageError as error:
            log.warning("whether the connection is wanted could not be read", extra={"code": error.code})
            return self.standing.state is not ConnectionState.DISCONNECTED
        if row is None:
            return False
        self.asked_anew |= row.asked_at != self.row.asked_at
        self.row = dataclasses.replace(self.row, asked_at=row.asked_at)
        return row.wanted

    async def want(self, wanted: bool) -> None:
        """StorageError: what a person asks for is on disk, or they are told."""
        now = self.clock.now()
        await self.store.want(self.row.user_id, self.row.connection_id, wanted, now=now)
        if not wanted:
            self.left_alone()

    @property
    def keeps(self) -> bool:
        """This process is the one that keeps the connection: it writes, and keeps the session alive. SES-05."""
        return self._held is not None

    def row_now(self) -> ConnectionRow:
        """The row as this process knows it."""
        held, error = self.standing, self.standing.trouble
        return dataclasses.replace(
            self.row,
            state=held.state,
            since=held.since or self.row.since,
            checked_at=held.checked_at,
            succeeded_at=held.succeeded_at,
            error_code="" if error is None else error.code,
            error_message="" if error is None else error.message,
            error_remedy="" if error is None else error.remedy,
        )

    def left_alone(self) -> None:
        """It was logged out, here or by another process, and that is stored already."""
        now = self.clock.now()
        state = move(self.standing.state, ConnectionEvent.LOGGED_OUT)
        self.standing = Standing(state, now, self.standing.checked_at, self.standing.succeeded_at)
        self.session, self._kept_alive_at = None, None
        self._waiting.clear()
        self._ended.clear()

    # -- what is found --------------------------------------------------------------------------------------------

    async def trying(self) -> None:
        self._move(ConnectionEvent.TRYING, self.clock.now())
        await self._store()

    async def rests(self) -> None:
        """Nobody uses it, so nobody keeps it."""
        self._move(ConnectionEvent.LEFT, self.clock.now())
        await self._store()

    async def worked(self, login: str, accounts: Sequence[str], *, missing: IbkitError | None = None) -> None:
        """A look found the brokerage session ready.

        login: a hash of what tells this login from the next, "" where that is unknown. missing: why no data come.
        """
        now = self.clock.now()
        self._begin(now)
        before = self.standing.state
        if self.standing.attempts:
            self._event(EventName.RECONNECT, now, was=before, number=self.standing.attempts)
        self.standing.checked_at = self.standing.succeeded_at = now
        self.standing.error, self.standing.attempts, self.standing.missing = None, 0, missing
        self.row = dataclasses.replace(self.row, accounts=tuple(accounts))
        self._session_goes_on(login, now)
        self._move(ConnectionEvent.WORKED if missing is None else ConnectionEvent.WORKED_PARTLY, now, missing)
        self.tell(self.signs.heard(None, now))
        self._warn_of_age(now)
        await self._store()

    async def failed(self, error: IbkitError) -> None:
        """A look failed. The state is another than connected from here on."""
        now = self.clock.now()
        self._begin(now)
        before, event = self.standing.state, event_of(error)
        if self.standing.attempts and heals(error):
            self._event(EventName.RECONNECT, now, was=before, number=self.standing.attempts, error=error)
        self.standing.checked_at, self.standing.error, self.standing.missing = now, error, None
        self.standing.attempts += 1
        if self.session is not None:
            self.session = dataclasses.replace(self.session, last_error=f"{error.code}: {error.message}")
            if error.code == "E-SES-EXPIRED":
                self._event(EventName.EXPIRED, now, was=before, error=error)
                self._end_session(EXPIRED, now)
        self._move(event, now, error)
        self.tell(self.signs.failed(error, now, await self.waiting(error, self.row.accounts)))
        await self._store()

    def beaten(self, error: IbkitError | None) -> None:
        """The keep-alive has worked, or not; stored with the next look."""
        now = self.clock.now()
        if error is None:
            self._kept_alive_at = now
            if self.session is not None:
                self.session = dataclasses.replace(self.session, last_activity_at=now, last_keep_alive_at=now)
        elif self.standing.state.is_up:
            self._event(EventName.KEEP_ALIVE_FAILED, now, was=self.standing.state, error=error)

    async def taken_over(self) -> None:
        """Somebody asked for the session that another login had, and has it."""
        self._event(EventName.TAKEN_OVER, self.clock.now(), was=self.standing.state)
        await self._store()

    def tell(self, happenings: Iterable[Happening]) -> None:
        """Alerts of this connection, to its owner; those of a session's end once for each session."""
        told = []
        for each in happenings:
            if each.event in _ONCE:
                if each.event.value in self._told:
                    continue
                self._warned(each.event.value)
            told.append(dataclasses.replace(each, user=self.row.user_id))
        if told:
            self.tell_all(told)

    def _begin(self, now: datetime) -> None:
        """Whoever is looked at is being connected, also where nobody said so before."""
        if self.standing.state is ConnectionState.CONFIGURED:
            self._move(ConnectionEvent.TRYING, now)

    # -- how it is done -------------------------------------------------------------------------------------------

    def _session_goes_on(self, login: str, now: datetime) -> None:
        """The row of this login: the one that is there, or a new one in its place."""
        present = self.session
        if present is not None and present.login and login and present.login != login:
            self._end_session(RENEWED, now)  # somebody signed in anew, or we did
        elif present is not None and now >= present.expires_at:
            self._end_session(RENEWED, now)  # IBKR still takes the login: it is renewed without the user (SES-04)
        if self.session is None:
            self._told.clear()
            self.session = SessionRecord(
                session_id=self.random(16).hex(),
                user_id=self.row.user_id,
                connection_id=self.row.connection_id,
                login=login,
                method=self.row.method,
                environment=self.row.environment,
                created_at=now,
                expires_at=now + LONGEST,
                last_activity_at=now,
                last_keep_alive_at=self._kept_alive_at,
                status=self.standing.state.value,
                holder=self.lease_name,
            )
            self._event(EventName.LOGIN if present is None else EventName.RENEWED, now, was=self.standing.state)
            return
        self.session = dataclasses.replace(
            self.session,
            login=login or self.session.login,
            last_activity_at=now,
            last_error="",
            holder=self.lease_name,
        )

    def _end_session(self, status: str, now: datetime) -> None:
        assert self.session is not None, "there is one to end"
        self._ended.append(dataclasses.replace(self.session, status=status, ended_at=now))
        self.session = None

    def _warn_of_age(self, now: datetime) -> None:
        if self.session is None:
            return
        due = due_warnings(self.session, self.alert_before, now)
        if not due:
            return
        for minutes in due:
            self._warned(warning_name(minutes))
        begun, left = self.session.created_at, self.session.expires_at - now
        expiring = Happening(
            event=EventKind.SESSION_EXPIRING,
            subject=f"{self.name}, {due[-1]:g} min",
            message=f"{self.name}: the session of {begun:%Y-%m-%d %H:%M} UTC ends in {_lasting(left)}",
            at=now,
        )
        self.tell((expiring,))

    def _warned(self, name: str) -> None:
        self._told.add(name)
        if self.session is not None:
            self.session = dataclasses.replace(self.session, warned=tuple(sorted(self._told)))

    def _move(self, event: ConnectionEvent, at: datetime, error: IbkitError | None = None) -> None:
        was = self.standing.state
        state = move(was, event)
        if state is was:
            return
        since = self.standing.since
        lasted = None if since is None else max(0.0, (at - since).total_seconds())
        self.standing.state, self.standing.since = state, at
        self._event(EventName.STATE, at, was=was, error=error, lasted_s=lasted)
        if self.session is not None:
            self.session = dataclasses.replace(self.session, status=state.value)

    def _event(
        self,
        name: EventName,
        at: datetime,
        *,
        was: ConnectionState,
        error: IbkitError | None = None,
        number: int = 0,
        lasted_s: float | None = None,
    ) -> None:
        event = HistoryEvent(
            user_id=self.row.user_id,
            connection_id=self.row.connection_id,
            session_id="" if self.session is None else self.session.session_id,
            at=at,
            name=name,
            was=was,
            state=self.standing.state,
            code="" if error is None else error.code,
            message="" if error is None else error.message,
            number=number,
            lasted_s=lasted_s,
        )
        self._waiting.append(event)
        del self._waiting[:-_MOST_WAITING]

    async def _holds(self) -> bool:
        """Whether this process is the one that writes; taken where nobody is."""
        if self._held is not None:
            return True
        stack = AsyncExitStack()
        try:
            if self.lease.held():
                return False
            await stack.enter_async_context(
                self.lease.hold(clock=self.clock, what=f"the session of {self.row.connection_id}")
            )
        except (InFlight, StorageError) as error:
            log.debug("another process keeps the record of this session", extra={"code": error.code})
            return False
        self._held = stack
        return True

    async def _store(self) -> None:
        if not await self._holds():
            self._waiting.clear()
            self._ended.clear()
            return
        sessions = [*self._ended, *([] if self.session is None else [self.session])]
        events = list(self._waiting)
        try:
            kept = await self.store.note(
                self.row.user_id,
                self.row.connection_id,
                self.standing,
                accounts=self.row.accounts,
                sessions=sessions,
                events=events,
            )
        except StorageError as error:
            log.warning("how the connection stands could not be stored", extra={"code": error.code})
            return
        del self._waiting[: len(events)]
        self._ended.clear()
        if not kept:
            self.left_alone()
        await self._clean()

    async def _clean(self) -> None:
        """Every five minutes, what processes that have ended left behind (SES-11), and what is older than 90 days."""
        now = self.clock.monotonic()
        if self._cleaned_at is not None and now - self._cleaned_at < CLEAN_EVERY_S:
            return
        self._cleaned_at = now
        try:
            cleaned = await self.store.clean(self.clock.now(), self.held)
            await self.store.purge(self.clock.now())
        except StorageError as error:
            log.warning("old sessions could not be put away", extra={"code": error.code})
            return
        if cleaned:
            log.info("sessions that were left behind are put away", extra={"count": len(cleaned)})
        if self.session is not None and any(each.session_id == self.session.session_id for each in cleaned):
            self.session = None


def _lasting(left: timedelta) -> str:
    seconds = max(0, round(left.total_seconds()))
    return f"{seconds} s" if seconds < 120 else f"{round(seconds / 60)} min"


def connection_id_of(settings: Settings) -> str:
    """How the connection of the settings is kept: paper and live apart, for each may have its worker."""
    return OF_SETTINGS if settings.environment is Environment.PAPER else f"{OF_SETTINGS}.{settings.environment.value}"


@asynccontextmanager
async def open_session_book(
    settings: Settings, database: Database, alerting: Alerting, clock: Clock, *, row: ConnectionRow | None = None
) -> AsyncIterator[SessionBook]:
    """The book of a connection, that of the settings by default, with what an earlier process left. StorageError.

    database: with the part `connections`.
    """
    row = row or row_of(settings, clock.now())
    folder, lease_name = lease_folder(settings), lease_name_of(row)
    book = SessionBook(
        store=SqlConnections(database),
        row=row,
        name=connection_of(settings) if not row.user_id else f"{connection_of(settings)} {row.connection_id}",
        alert_before=settings.session.alert_before,
        lease=Lease(folder, lease_name),
        lease_name=lease_name,
        held=lambda name: Lease(folder, name).held(),
        clock=clock,
        random=edges().random,
        tell_all=lambda happenings: alerting.dispatcher.tell(*happenings),
    )
    await book.open()
    try:
        yield book
    finally:
        with anyio.CancelScope(shield=True):
            await book.close()


@asynccontextmanager
async def open_connection_rows(settings: Settings) -> AsyncIterator[SqlConnections]:
    """The connections in the database of the settings, to look at and to change. StorageError."""
    database = await anyio.to_thread.run_sync(lambda: open_records(settings.database_url, parts=(PART,)))
    try:
        yield SqlConnections(database)
    finally:
        await database.close()


def row_of(settings: Settings, now: datetime) -> ConnectionRow:
    """The connection of the settings, before anything is known of it."""
    gateway = not settings.mock and settings.method is AuthMethod.GATEWAY
    return ConnectionRow(
        user_id="",
        connection_id=connection_id_of(settings),
        method="mock" if settings.mock else settings.method.value,
        environment=settings.environment.value,
        address=settings.gateway_address.base if gateway else "",
        is_default=settings.environment is Environment.PAPER,
        created_at=now,
        state=ConnectionState.CONFIGURED,
        since=now,
    )
