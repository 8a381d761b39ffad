"""One process's numbers: calls by its client's meter, orders by what it observes, the rest read once a minute.

They go to the database minute by minute. The worker, which listens nowhere, writes them as text to
`worker/<connection>.prom` of the state directory, too, for a node exporter; the service answers GET /metrics.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Mapping
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
    """One process's numbers for one connection.

    worker: this process watches and nothing else, so it writes the file, and without a login it is not connected.
    signed_in_at: when the login that is there was opened; None without one.
    """

    def __init__(self, connection: str, *, worker: bool = False) -> None:
        self.metrics = Metrics()
        self.signed_in_at: Callable[[], datetime | None] = lambda: None
        self._connection = connection
        self._worker = worker
        self._standing: Standing | None = None
        self._username: Username | None = None
        # From the start: of a series that begins at 1, Prometheus' increase() never sees the first event.
        for outcome in _OUTCOMES.values():
            self.metrics.count("ibkit_orders_total", outcome, by=0)
        self.metrics.count("ibkit_reconciled_intents_total", by=0)

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
            if self._worker:  # two writers of one file would take turns, and each turn look like a restart
                write_text(file, self.metrics)

        process = f"{'worker' if self._worker else 'service'} {os.getpid()}"
        return Recorder(self.metrics, SqlMinutes(books.records), clock, process=process, measure=measure)

    async def measure(self, books: Books, now: datetime) -> None:
        """Read what is not counted: alerts, open intents, the standing of rounds, session and stream. StorageError."""
        metrics, standing = self.metrics, self._standing
        alerts = await books.alerts.open()
        for severity in Severity:
            metrics.set("ibkit_open_alerts", sum(each.severity is severity for each in alerts), severity.value)
        if standing is None or self._username is None:
            if self._worker:
                metrics.set("ibkit_connection_up", 0.0, self._connection)  # it still tries to sign in
            return
        # A working order may stand for months, as every stop does: it is known what became of it.
        under_way = [each for each in await books.journal.unfinished(self._username) if each.state.in_progress]
        metrics.set("ibkit_open_intents", len(under_way))
        ages = [(now - intent.planned.at).total_seconds() for intent in under_way]
        metrics.set("ibkit_oldest_open_intent_seconds", max(ages, default=0.0))
        reports = standing.reports.values()
        metrics.set("ibkit_connection_up", float(not any(r.failures for r in reports)), self._connection)
        metrics.set("ibkit_unprotected_positions", sum(len(r.unprotected) for r in reports), self._connection)
        metrics.set("ibkit_stream_up", float(standing.stream == "live"), self._connection)
        opened = self.signed_in_at()
        age = 0.0 if opened is None else (now - opened).total_seconds()
        metrics.set("ibkit_session_age_seconds", age, self._connection)
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
