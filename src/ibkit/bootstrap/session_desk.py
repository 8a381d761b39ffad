"""The session of a login for commands, of the settings or of a user's connection: asked now, its history, put away,
logged out, wanted again.

A running service or worker hears of it through the database, within two seconds. Source: requirements SES-06, SES-10,
SES-11, SES-13, SES-14.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta

import anyio

from ibkit.bootstrap.clients import client_of, clock_of
from ibkit.bootstrap.session_book import LONGEST, open_connection_rows, row_of
from ibkit.bootstrap.session_leases import lease_folder
from ibkit.clock import Clock
from ibkit.errors import IbkitError, OutcomeUnknown
from ibkit.model import AuthMethod
from ibkit.settings import Settings
from ibkit.store.connection_rows import ConnectionRow
from ibkit.store.connections import SqlConnections
from ibkit.store.lease import Lease
from ibkit.trading.connection import Availability, HistoryEvent, SessionRecord, availability
from ibkit.wire.endpoint import Needs
from ibkit.wire.session import BrokerageStatus
from ibkit.wire.session_clocks import SessionClocks, session_clocks

__all__ = ["SessionDesk", "SessionNow", "SessionPast", "open_session_desk"]

LEAVE_WITHIN_S = 20.0


@dataclass(frozen=True, slots=True, kw_only=True)
class SessionNow:
    """status: IBKR's own word. session: the row that a service or worker keeps of it, None where none does."""

    status: BrokerageStatus
    username: str
    clocks: SessionClocks
    row: ConnectionRow
    session: SessionRecord | None


@dataclass(frozen=True, slots=True, kw_only=True)
class SessionPast:
    since: datetime
    until: datetime
    sessions: tuple[SessionRecord, ...]
    events: tuple[HistoryEvent, ...]
    availability: Availability


@dataclass(frozen=True, slots=True, kw_only=True)
class SessionDesk:
    settings: Settings
    rows: SqlConnections
    clock: Clock
    row: ConnectionRow

    async def now(self) -> SessionNow:
        """Asked now, with one tickle; no brokerage session is opened or taken for it. AuthError, Unreachable."""
        async with client_of(self.settings, upto=None, keep_alive=False) as ib:
            await ib.connect(upto=Needs.OUTER_SESSION)
            status = await ib.tickle()
            session = await self.rows.open_session(self.row.user_id, self.row.connection_id)
            now, grant = self.clock.now(), ib.keeper.grant
            began = grant.obtained_at if grant is not None and ib.method is not AuthMethod.GATEWAY else now
            clocks = session_clocks(
                now,
                last_activity_at=now,
                expires_at=session.expires_at if session is not None else began + LONGEST,
                region=self.settings.general.region,
                sso_expires=ib.keeper.sso_expires,
            )
            return SessionNow(status=status, username=ib.keeper.username, clocks=clocks, row=self.row, session=session)

    async def past(self, days: float) -> SessionPast:
        """The last days, as they were kept."""
        until = self.clock.now()
        since = until - timedelta(days=days)
        name = (self.row.user_id, self.row.connection_id)
        events = await self.rows.history(*name, since=since)
        before = await self.rows.state_at(*name, since)
        return SessionPast(
            since=since,
            until=until,
            sessions=await self.rows.sessions(*name, since=since),
            events=events,
            availability=availability(events, since, until, before=before),
        )

    async def clean(self) -> tuple[SessionRecord, ...]:
        """Put away sessions that were left behind, of all connections of this database: those it put away."""
        folder = lease_folder(self.settings)
        return await self.rows.clean(self.clock.now(), lambda name: Lease(folder, name).held())

    async def log_out(self) -> IbkitError | None:
        """Nothing is sent any more by whoever keeps the session; then IBKR is told: what kept it from that."""
        await self.rows.want(self.row.user_id, self.row.connection_id, False, now=self.clock.now())
        failure: IbkitError | None = None
        ib = client_of(self.settings, upto=None, keep_alive=False)
        async with ib:
            with anyio.move_on_after(LEAVE_WITHIN_S) as limit:
                try:
                    await ib.connect(upto=Needs.OUTER_SESSION)
                    await ib.logout()
                except IbkitError as error:
                    failure = error
            with anyio.CancelScope(shield=True):
                await ib.keeper.forget()
        if limit.cancelled_caught:
            failure = OutcomeUnknown(code="E-TIMEOUT", details={"n": f"{LEAVE_WITHIN_S:g}"})
        return failure

    async def want(self) -> None:
        """Whoever keeps the session connects it, and ends a pause after failed sign-ins."""
        await self.rows.want(self.row.user_id, self.row.connection_id, True, now=self.clock.now())


@asynccontextmanager
async def open_session_desk(settings: Settings) -> AsyncIterator[SessionDesk]:
    """StorageError, ConfigError."""
    clock = clock_of(settings)
    async with open_connection_rows(settings) as rows:
        row = await rows.get(*settings.of_user) if settings.of_user is not None else None
        row = row or await rows.ensure(row_of(settings, clock.now()))
        yield SessionDesk(settings=settings, rows=rows, clock=clock, row=row)
