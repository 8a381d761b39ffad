"""Alerts and their messages in SQL: counting an event and putting its message on its way are one transaction.

So a crash between them loses neither, and two processes that find the same tell it once. A message that a process took
to deliver and never settled is due again after two minutes: it may arrive twice, with the same id, but not never.
"""

from __future__ import annotations

import dataclasses
import uuid
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Final

from sqlalchemy import Connection, delete, func, insert, or_, select, text, update

from ibkit.errors import NotFound
from ibkit.store.alert_rows import (
    ACKNOWLEDGEMENTS,
    DELIVERIES,
    INCIDENTS,
    delivery_of,
    delivery_row,
    incident_of,
    incident_row,
)
from ibkit.store.database import Database
from ibkit.store.migrating import for_engine
from ibkit.trading.alerting import ABOUT, Channel, Delivery, DeliveryState, Happening, Incident
from ibkit.trading.alerting.channel import last_level, route
from ibkit.trading.alerting.document import document_of
from ibkit.trading.alerting.incident import Told, noted, pending, sees_no_more

__all__ = ["SqlIncidents"]

_CLAIM: Final = timedelta(minutes=2)
KEPT: Final = timedelta(days=400)
"""As long as the audit log: what was told and what became of it is part of the record."""
_MOST_OPEN: Final = 2_000
_MOST_ERROR_CHARS: Final = 400


class SqlIncidents:
    """Fits `trading.alerting.Incidents`. StorageError where the database fails."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def note(self, happening: Happening, *, channels: Sequence[Channel]) -> Incident | None:
        def work(connection: Connection) -> Incident | None:
            connection = for_engine(connection)
            _one_at_a_time(connection)
            return _note(connection, happening, channels)

        return await self._database.write(work)

    async def sweep(self, now: datetime, *, channels: Sequence[Channel]) -> int:
        def work(connection: Connection) -> int:
            connection = for_engine(connection)
            _one_at_a_time(connection)
            sent = 0
            for incident in _standing(connection):
                over = sees_no_more(incident, now)
                if over is not None:
                    _close(connection, incident, now, over)
                    continue
                told = pending(incident, now, last_level=last_level(incident, channels))
                if told is not None:
                    sent += _tell(connection, told, now, channels)
            return sent

        return await self._database.write(work)

    async def reconcile(self, sources: Sequence[str], *, at: datetime) -> int:
        def work(connection: Connection) -> int:
            connection = for_engine(connection)
            _one_at_a_time(connection)
            gone = [each for each in _standing(connection) if each.source and each.source not in sources]
            for incident in gone:
                _close(connection, incident, at, "it was settled")
            return len(gone)

        return await self._database.write(work)

    async def known_sources(self, sources: Sequence[str]) -> Mapping[str, bool]:
        is_open = INCIDENTS.c.closed_at.is_(None) & (INCIDENTS.c.source != "")
        statement = (
            select(INCIDENTS.c.source, INCIDENTS.c.closed_at)
            .where(or_(is_open, INCIDENTS.c.source.in_(sources)))
            .order_by(INCIDENTS.c.closed_at.is_(None))  # the open one has the last word
        )
        rows = await self._database.read(lambda c: for_engine(c).execute(statement).all())
        return {source: closed_at is None for source, closed_at in rows}

    async def claim(self, now: datetime, *, most: int) -> tuple[Delivery, ...]:
        def work(connection: Connection) -> tuple[Delivery, ...]:
            connection = for_engine(connection)
            due = (
                select(DELIVERIES.c.delivery_id)
                .where(
                    DELIVERIES.c.state == DeliveryState.PENDING.value,
                    DELIVERIES.c.next_at <= now,
                    or_(DELIVERIES.c.claimed_until.is_(None), DELIVERIES.c.claimed_until <= now),
                )
                .order_by(DELIVERIES.c.next_at)
                .limit(most)
                .with_for_update(skip_locked=True)
            )
            ids = list(connection.execute(due).scalars())
            if not ids:
                return ()
            mine = DELIVERIES.c.delivery_id.in_(ids)
            connection.execute(update(DELIVERIES).where(mine).values(claimed_until=now + _CLAIM))
            rows = connection.execute(select(DELIVERIES).where(mine).order_by(DELIVERIES.c.next_at)).mappings()
            return tuple(delivery_of(row) for row in rows)

        return await self._database.write(work)

    async def settle(self, delivery: Delivery) -> None:
        values = {**delivery_row(delivery), "error": delivery.error[:_MOST_ERROR_CHARS], "claimed_until": None}
        statement = update(DELIVERIES).where(DELIVERIES.c.delivery_id == delivery.delivery_id).values(values)
        await self._database.write(lambda connection: for_engine(connection).execute(statement))

    async def due_in(self, now: datetime) -> float | None:
        """Seconds until the next message that waits is due; None where none waits."""
        statement = select(func.min(DELIVERIES.c.next_at)).where(DELIVERIES.c.state == DeliveryState.PENDING.value)
        next_at = await self._database.read(lambda connection: for_engine(connection).execute(statement).scalar())
        return None if next_at is None else max((next_at - now).total_seconds(), 0.0)

    # -- people -------------------------------------------------------------------------------------------------------

    async def incidents(self, *, closed: bool = False, user: str | None = None, limit: int = 200) -> list[Incident]:
        """Newest first. closed: those that are over, too. user: only that user's; None for everybody's."""
        statement = select(INCIDENTS).order_by(INCIDENTS.c.last_at.desc(), INCIDENTS.c.incident_id).limit(limit)
        if not closed:
            statement = statement.where(INCIDENTS.c.closed_at.is_(None))
        if user is not None:
            statement = statement.where(INCIDENTS.c.user_id == user)
        return await self._database.read(
            lambda connection: [incident_of(row) for row in for_engine(connection).execute(statement).mappings()]
        )

    async def get(self, name: str) -> Incident:
        """By its id, or the beginning of it (at least 4 characters). NotFound."""
        statement = select(INCIDENTS).where(INCIDENTS.c.incident_id.startswith(name, autoescape=True)).limit(2)
        rows = await self._database.read(lambda c: list(for_engine(c).execute(statement).mappings()))
        if len(name) < 4 or len(rows) != 1:
            raise NotFound(
                f"Alert {name} not found" if not rows else f"Alert {name} is not clear: several begin so",
                code="E-NOT-FOUND",
                remedy="`ibkit alerts list` shows the open ones with their ids.",
            )
        return incident_of(rows[0])

    async def acknowledge(self, name: str, *, by: str, at: datetime, note: str = "") -> Incident:
        """Somebody is on it: it is told no more unless it grows worse."""
        incident = await self.get(name)
        after = dataclasses.replace(incident, acknowledged_at=at, acknowledged_by=by)
        return await self._kept(after, "acknowledged", by, at, note)

    async def close(self, name: str, *, by: str, at: datetime, note: str = "") -> Incident:
        """It is over. The journal's own alert stays open there until it is settled; new words of it are told anew."""
        incident = await self.get(name)
        after = dataclasses.replace(incident, closed_at=at, closed_note=note or f"closed by {by}")
        return await self._kept(after, "closed", by, at, note)

    async def _kept(self, incident: Incident, action: str, by: str, at: datetime, note: str) -> Incident:
        def work(connection: Connection) -> Incident:
            connection = for_engine(connection)
            changed = {
                "acknowledged_at": incident.acknowledged_at,
                "acknowledged_by": incident.acknowledged_by,
                "closed_at": incident.closed_at,
                "closed_note": incident.closed_note,
            }
            mine = INCIDENTS.c.incident_id == incident.incident_id
            connection.execute(update(INCIDENTS).where(mine).values(changed))
            row = {"incident_id": incident.incident_id, "at": at, "by": by, "action": action, "note": note}
            connection.execute(insert(ACKNOWLEDGEMENTS).values(row))
            if action == "closed":
                _drop_waiting(connection, incident.incident_id, at, "the alert was closed")
            return incident

        return await self._database.write(work)

    async def deliveries(self, *, incident_id: str | None = None, limit: int = 200) -> list[Delivery]:
        """Newest first: what became of each message."""
        statement = select(DELIVERIES).order_by(DELIVERIES.c.created_at.desc(), DELIVERIES.c.delivery_id).limit(limit)
        if incident_id is not None:
            statement = statement.where(DELIVERIES.c.incident_id == incident_id)
        return await self._database.read(
            lambda connection: [delivery_of(row) for row in for_engine(connection).execute(statement).mappings()]
        )

    async def purge(self, now: datetime) -> int:
        """Forget alerts that were over 400 days ago, with their messages; acknowledgements stay."""

        def work(connection: Connection) -> int:
            connection = for_engine(connection)
            old = select(INCIDENTS.c.incident_id).where(INCIDENTS.c.closed_at < now - KEPT)
            connection.execute(delete(DELIVERIES).where(DELIVERIES.c.incident_id.in_(old)))
            return connection.execute(delete(INCIDENTS).where(INCIDENTS.c.closed_at < now - KEPT)).rowcount

        return await self._database.write(work)


def _one_at_a_time(connection: Connection) -> None:
    """Processes count one after the other: on SQLite by its one writer, on PostgreSQL by a lock of this work."""
    if connection.dialect.name == "postgresql":
        connection.execute(text("SELECT pg_advisory_xact_lock(hashtext('ibkit alerts'))"))


def _note(connection: Connection, happening: Happening, channels: Sequence[Channel]) -> Incident | None:
    if not _end_others(connection, happening) and happening.only_ends:
        return None
    mine = (
        (INCIDENTS.c.event == happening.event.value)
        & (INCIDENTS.c.subject == happening.subject)
        & (INCIDENTS.c.user_id == happening.user)
        & INCIDENTS.c.closed_at.is_(None)
    )
    row = connection.execute(select(INCIDENTS).where(mine)).mappings().one_or_none()
    standing = None if row is None else incident_of(row)
    incident = noted(standing, happening, incident_id=str(uuid.uuid4()))
    if standing is None:
        connection.execute(insert(INCIDENTS).values(incident_row(incident)))
    else:
        _keep(connection, incident)
    told = pending(incident, happening.at, last_level=last_level(incident, channels))
    if told is None:
        return incident
    _tell(connection, told, happening.at, channels)
    return told.incident


def _end_others(connection: Connection, happening: Happening) -> int:
    """How many open alerts it has ended."""
    count = 0
    for kind in ABOUT[happening.event].ends:
        ended = (
            (INCIDENTS.c.event == kind.value)
            & (INCIDENTS.c.subject == happening.subject)
            & (INCIDENTS.c.user_id == happening.user)
            & INCIDENTS.c.closed_at.is_(None)
        )
        note = f"ended by {happening.event.value}"
        values = {"closed_at": happening.at, "closed_note": note}
        count += connection.execute(update(INCIDENTS).where(ended).values(values)).rowcount
    return count


def _tell(connection: Connection, told: Told, now: datetime, channels: Sequence[Channel]) -> int:
    """Messages to the channels that hear of it. Each has an id made of what it says, so that none is made twice."""
    incident = told.incident
    _keep(connection, incident)
    ways = route(incident, told.level, channels)
    for channel in ways:
        name = f"{incident.incident_id} {channel.user} {channel.name} {told.reason.value} {now.isoformat()}"
        delivery_id = str(uuid.uuid5(uuid.NAMESPACE_OID, name))
        delivery = Delivery(
            delivery_id=delivery_id,
            incident_id=incident.incident_id,
            channel=channel.name,
            user=channel.user,
            reason=told.reason,
            document=document_of(incident, told.reason, delivery_id=delivery_id),
            created_at=now,
            next_at=now,
        )
        connection.execute(insert(DELIVERIES).values(delivery_row(delivery)))
    return len(ways)


def _keep(connection: Connection, incident: Incident) -> None:
    values = incident_row(incident)
    del values["incident_id"]
    connection.execute(update(INCIDENTS).where(INCIDENTS.c.incident_id == incident.incident_id).values(values))


def _standing(connection: Connection) -> list[Incident]:
    statement = select(INCIDENTS).where(INCIDENTS.c.closed_at.is_(None)).order_by(INCIDENTS.c.first_at)
    return [incident_of(row) for row in connection.execute(statement.limit(_MOST_OPEN)).mappings()]


def _close(connection: Connection, incident: Incident, at: datetime, note: str) -> None:
    _keep(connection, dataclasses.replace(incident, closed_at=at, closed_note=note))


def _drop_waiting(connection: Connection, incident_id: str, at: datetime, why: str) -> None:
    waiting = (DELIVERIES.c.incident_id == incident_id) & (DELIVERIES.c.state == DeliveryState.PENDING.value)
    values = {"state": DeliveryState.FAILED.value, "error": why, "finished_at": at}
    connection.execute(update(DELIVERIES).where(waiting).values(values))
