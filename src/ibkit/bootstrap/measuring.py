"""The worker's numbers: calls by its client's meter, orders by what it observes, the rest read once a minute.

They go to the database minute by minute, and as text to `worker/<login>.prom` of the state directory, from where a
node exporter or the service hands them on: the worker itself listens nowhere.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Mapping
from datetime import datetime
from pathlib import Path

from ibkit.bootstrap.desks import Books
from ibkit.bootstrap.worker_loop import Standing
from ibkit.client.metering import CallLog, Meter, Meters
from ibkit.clock import Clock
from ibkit.errors import StorageError
from ibkit.model import Username
from ibkit.notify.metrics import Metrics
from ibkit.notify.minutes import Recorder
from ibkit.settings import Settings
from ibkit.store.metric_minutes import SqlMinutes
from ibkit.trading import Observer, Step, StepKind
from ibkit.trading.alert import Severity

__all__ = ["Measuring"]

_OUTCOMES: Mapping[StepKind, str] = {
    StepKind.ACCEPTED: "accepted",
    StepKind.REFUSED: "refused",
    StepKind.UNKNOWN: "unknown",
    StepKind.FILL: "filled",
    StepKind.CANCEL: "cancelled",
}


class Measuring:
    """One process's numbers for one connection."""

    def __init__(self, connection: str) -> None:
        self.metrics = Metrics()
        self._connection = connection
        self._standing: Standing | None = None
        self._username: Username | None = None
        self._since: datetime | None = None

    @property
    def meter(self) -> Meter:
        """Counts the connection's calls, and writes them to the log where that is asked for."""
        counts = self.metrics.meter(self._connection)
        return Meters(counts, CallLog()) if logging.getLogger("ibkit.client").isEnabledFor(logging.INFO) else counts

    def counting(self, observe: Observer) -> Observer:
        """`observe`, which also counts what becomes of orders."""

        def seen(step: Step) -> None:
            outcome = _OUTCOMES.get(step.kind)
            if outcome is not None:
                self.metrics.count("ibkit_orders_total", outcome)
            if step.kind is StepKind.RECOVERY:
                self.metrics.count("ibkit_reconciled_intents_total")
            observe(step)

        return seen

    def watch(self, standing: Standing, username: Username) -> None:
        """From now on the login is open, and rounds are told in `standing`."""
        self._standing, self._username = standing, username

    def recorder(self, settings: Settings, books: Books, clock: Clock) -> Recorder:
        assert books.records is not None, "figures are kept in the database"
        file = settings.state_dir / "worker" / f"{self._connection.replace(' ', '-')}.prom"

        async def measure() -> None:
            await self.measure(books, clock.now())
            write_text(file, self.metrics)

        return Recorder(
            self.metrics, SqlMinutes(books.records), clock, process=f"worker {os.getpid()}", measure=measure
        )

    async def measure(self, books: Books, now: datetime) -> None:
        """Read what is not counted: alerts, open intents, the standing of rounds, session and stream. StorageError."""
        metrics, standing = self.metrics, self._standing
        alerts = await books.alerts.open()
        for severity in Severity:
            metrics.set("ibkit_open_alerts", sum(each.severity is severity for each in alerts), severity.value)
        if standing is None or self._username is None:
            return
        unfinished = await books.journal.unfinished(self._username)
        metrics.set("ibkit_open_intents", len(unfinished))
        ages = [(now - intent.planned.at).total_seconds() for intent in unfinished]
        metrics.set("ibkit_oldest_open_intent_seconds", max(ages, default=0.0))
        reports = standing.reports.values()
        metrics.set("ibkit_connection_up", float(not any(r.failures for r in reports)), self._connection)
        metrics.set("ibkit_unprotected_positions", sum(len(r.unprotected) for r in reports), self._connection)
        metrics.set("ibkit_stream_up", float(standing.stream == "live"), self._connection)
        self._since = self._since or now
        metrics.set("ibkit_session_age_seconds", (now - self._since).total_seconds(), self._connection)
        if standing.last_round_at is not None:
            metrics.set("ibkit_last_round_timestamp_seconds", standing.last_round_at.timestamp(), self._connection)


def write_text(file: Path, metrics: Metrics) -> None:
    """The numbers as text, all at once: who reads it never sees a half. Nothing where prometheus-client is missing."""
    try:
        from ibkit.notify.exposition import exposition

        text = exposition(metrics)
    except ModuleNotFoundError:  # the extra `service` is not installed; the database has the figures all the same
        return
    part = file.with_suffix(".part")
    try:
        part.unlink(missing_ok=True)
        part.touch(mode=0o600)  # as everything in the state directory
        part.write_text(text, encoding="utf-8")
        part.replace(file)
    except OSError as error:
        raise StorageError(f"Database problem: {file}: {error.strerror or error}") from error
