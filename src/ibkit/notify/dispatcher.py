"""Delivers what is to be told, at least once, and takes down what became of it.

    tell()     what a finder found: into a bounded queue, at once, without waiting
    look       what was told is counted; open alerts of the journal become alerts that are told; settled ones are closed
    sweep      counts and escalations that time alone makes due
    deliver    each due message on a task of its own, bounded by the channel's time limit

A message is on disk before it leaves, and is due again after a crash. The one that cannot be is that the database is
away: where two looks in a row fail by it, the channels of the settings hear of it at once, without a record.

The task that trades never waits for any of this: `tell` only appends, and what fails here is logged and goes on.
"""

from __future__ import annotations

import dataclasses
import logging
from collections import deque
from collections.abc import Awaitable, Callable
from typing import Any, Final, Protocol, TypeAlias

import anyio

from ibkit.clock import Clock
from ibkit.errors import IbkitError, StorageError
from ibkit.notify.failed import DeliveryFailed
from ibkit.notify.services import Services
from ibkit.notify.webhook import Webhook
from ibkit.trading.alert import Alert, AlertKind
from ibkit.trading.alerting import (
    Channel,
    ChannelKind,
    Channels,
    Delivery,
    DeliveryState,
    EventKind,
    Happening,
    Incidents,
    Reason,
    happening_of,
    next_try,
    noted,
)
from ibkit.trading.alerting.document import document_of, subject_of

__all__ = ["Dispatcher", "JournalAlerts", "Whose", "installations"]

log = logging.getLogger(__name__)

EVERY_S: Final = 2.0
_AFTER_FAILURE_S: Final = 30.0
_CRIES_AT: Final = 2
"""One look that fails may be a database that is locked for a moment."""
_DAY_S: Final = 86_400.0
_AT_A_TIME: Final = 8
_MOST_WAITING: Final = 1_000
"""Happenings between two looks; more of them are more of the same, and the oldest go."""
_LEVELS: Final = {"info": logging.INFO, "warning": logging.WARNING, "critical": logging.CRITICAL}


class JournalAlerts(Protocol):
    """As much of the journal's alerts as is read here."""

    async def open(self, *, kind: AlertKind | None = None) -> tuple[Alert, ...]: ...


Whose: TypeAlias = Callable[[Alert], Awaitable[str]]
"""An alert of the journal → the id of the user whose channels hear of it; "": those of the installation."""


async def installations(_: Alert) -> str:
    return ""


class Dispatcher:
    """incidents, channels: the store. alerts: those of the journal, where there is one. chance: for the jitter."""

    def __init__(
        self,
        *,
        incidents: Incidents,
        channels: Channels,
        alerts: JournalAlerts | None,
        webhook: Webhook,
        services: Services,
        clock: Clock,
        chance: Callable[[], float],
        whose: Whose = installations,
    ) -> None:
        self._incidents = incidents
        self._channels = channels
        self._alerts = alerts
        self._webhook = webhook
        self._services = services
        self._clock = clock
        self._chance = chance
        self._whose = whose
        self._waiting: deque[Happening] = deque(maxlen=_MOST_WAITING)
        self._known: set[tuple[str, str]] = set()
        self._slots: anyio.Semaphore | None = None

    def tell(self, *happenings: Happening) -> None:
        """Take note of what happened; from the task that trades, so it neither waits nor fails."""
        self._waiting.extend(happenings)

    async def run(self) -> None:
        """Until it is cancelled."""
        failures, purged_at = 0, self._clock.monotonic() - _DAY_S
        async with anyio.create_task_group() as tasks:
            while True:
                wait = EVERY_S
                try:
                    await self.look()
                    if self._clock.monotonic() - purged_at >= _DAY_S:
                        await self._incidents.purge(self._clock.now())
                        purged_at = self._clock.monotonic()
                    for delivery in await self._due():
                        tasks.start_soon(self.deliver, delivery)
                    failures = 0
                except Exception as error:  # noqa: BLE001  - whoever runs this beside orders must not fall with it
                    failures += 1
                    if failures == 1:  # one line when it begins
                        code = error.code if isinstance(error, IbkitError) else "E-INTERNAL"
                        log.warning("alerts cannot be told", extra={"code": code, "why": str(error)})
                    if failures == _CRIES_AT and isinstance(error, StorageError):
                        for channel in self._channels.fixed:
                            tasks.start_soon(self._cry, channel, error)
                    wait = _AFTER_FAILURE_S
                await self._clock.sleep(wait)

    async def once(self) -> int:
        """One look, and one try of everything that is due: how many were tried. StorageError."""
        await self.look()
        due = await self._due()
        async with anyio.create_task_group() as tasks:
            for delivery in due:
                tasks.start_soon(self.deliver, delivery)
        return len(due)

    async def look(self) -> None:
        """Count what was told and what the journal has open; put on its way what is due. StorageError."""
        channels = await self._channels.all()
        while self._waiting:
            happening = self._waiting[0]
            await self._incidents.note(happening, channels=channels)
            # Only now: a database that fails keeps it for the next look.
            if self._waiting and self._waiting[0] is happening:
                self._waiting.popleft()
        if self._alerts is not None:
            await self._read_journal(self._alerts, channels)
        await self._incidents.sweep(self._clock.now(), channels=channels)

    async def _read_journal(self, alerts: JournalAlerts, channels: tuple[Channel, ...]) -> None:
        """An alert that stands is one event, not one for each look; one whose words changed is another."""
        standing = await alerts.open()
        sources = tuple(alert.alert_id for alert in standing)
        counted = await self._incidents.known_sources(sources)
        ours = {alert_id for alert_id, _ in self._known}
        for alert in standing:
            said = (alert.alert_id, alert.message)
            earlier = alert.alert_id in counted and alert.alert_id not in ours  # by a run before this one
            if said not in self._known and not earlier:
                await self._incidents.note(happening_of(alert, user=await self._whose(alert)), channels=channels)
            self._known.add(said)
        self._known = {said for said in self._known if said[0] in sources}
        if any(is_open and source not in sources for source, is_open in counted.items()):
            await self._incidents.reconcile(sources, at=self._clock.now())

    async def _due(self) -> tuple[Delivery, ...]:
        if self._slots is None:
            self._slots = anyio.Semaphore(_AT_A_TIME)
        free = self._slots.value
        return await self._incidents.claim(self._clock.now(), most=free) if free else ()

    async def deliver(self, delivery: Delivery) -> None:
        """One try of a message that was claimed, and what became of it. Raises nothing of ours."""
        if self._slots is None:
            self._slots = anyio.Semaphore(_AT_A_TIME)
        async with self._slots:
            after = await self.tried(delivery)
            try:
                await self._incidents.settle(after)
            except IbkitError as error:  # it is due again in two minutes: told twice is better than never
                log.warning("a receipt could not be kept", extra={"code": error.code, "channel": delivery.channel})

    async def tried(self, delivery: Delivery) -> Delivery:
        """`delivery` after one try; nothing is stored."""
        attempts = delivery.attempts + 1
        try:
            said = await self._sent(delivery)
        except DeliveryFailed as error:
            reason, final = error.reason, error.final
        except IbkitError as error:
            reason, final = f"{error.code}: {error.message}", False
        except Exception as error:  # noqa: BLE001  - a fault in one channel must not end the others' messages
            reason, final = f"fault: {type(error).__name__}", False
        else:
            now = self._clock.now()
            return dataclasses.replace(
                delivery, state=DeliveryState.DELIVERED, attempts=attempts, error=said, finished_at=now
            )
        now = self._clock.now()
        again = None if final else next_try(attempts, now, chance=self._chance())
        log.warning(
            "an alert was not delivered",
            extra={"channel": delivery.channel, "why": reason, "attempt": attempts, "again": again is not None},
        )
        if again is not None:
            return dataclasses.replace(delivery, attempts=attempts, error=reason, next_at=again)
        return dataclasses.replace(
            delivery, state=DeliveryState.FAILED, attempts=attempts, error=reason, finished_at=now
        )

    async def _cry(self, channel: Channel, error: StorageError) -> None:
        """What cannot be kept, to one channel of the settings: tried as often as any message, and then given up."""
        now = self._clock.now()
        happening = Happening(
            event=EventKind.STORAGE_PROBLEM,
            subject="alerts",
            message=f"No alert can be kept or told in the usual way: {error.code}: {error.message}",
            at=now,
            remedy=error.remedy,
        )
        run = f"unkept-{now:%Y%m%dT%H%M%S}"
        incident = noted(None, happening, incident_id=run)
        if incident.severity not in channel.severities:
            return
        delivery = Delivery(
            delivery_id=f"{run}-{channel.name}",
            incident_id=run,
            channel=channel.name,
            user=channel.user,
            reason=Reason.FIRST,
            document=document_of(incident, Reason.FIRST, delivery_id=f"{run}-{channel.name}"),
            created_at=now,
            next_at=now,
        )
        while delivery.state is DeliveryState.PENDING:
            await self._clock.sleep(max((delivery.next_at - self._clock.now()).total_seconds(), 0.0))
            delivery = await self.tried(delivery)

    async def _sent(self, delivery: Delivery) -> str:
        channel = await self._channel(delivery)
        document: dict[str, Any] = dict(delivery.document)
        match channel.kind:
            case ChannelKind.LOG:
                _write(document)
                return "written to the log"
            case ChannelKind.WEBHOOK:
                url, secret = await self._channels.address(channel)
                return await self._webhook.deliver(url, secret, document)
            case ChannelKind.SERVICE:
                url, _ = await self._channels.address(channel)
                return await self._services.deliver(url, document, trusted=channel.by_operator)

    async def _channel(self, delivery: Delivery) -> Channel:
        for channel in self._channels.fixed:
            if (channel.user, channel.name) == (delivery.user, delivery.channel):
                return channel
        for channel in await self._channels.all():
            if (channel.user, channel.name) == (delivery.user, delivery.channel):
                if not channel.enabled:
                    raise DeliveryFailed("the channel was switched off", final=True)
                return channel
        raise DeliveryFailed("the channel is not there any more", final=True)


def _write(document: dict[str, Any]) -> None:
    facts = {name: document[name] for name in ("alert_id", "event", "severity", "subject", "count", "reason")}
    text = f"alert: {subject_of(document)}: {document['message']}"
    log.log(_LEVELS[document["severity"]], text, extra={**facts, "trace_ids": document["trace_ids"]})
