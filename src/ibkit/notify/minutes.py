"""Figures minute by minute: what was counted since the last minute goes to the store; 30 days of it stay."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping
from datetime import datetime, timedelta
from typing import Any, Final, Protocol, cast

from ibkit.clock import Clock
from ibkit.errors import IbkitError
from ibkit.notify.figures import Figures
from ibkit.notify.metrics import Metrics

__all__ = ["KEPT", "FigureStore", "Recorder", "figures_of", "total"]

log = logging.getLogger(__name__)

KEPT: Final = timedelta(days=30)
"""Source: requirement MON-05."""
_MINUTE_S: Final = 60.0
_PURGE_EVERY: Final = 60
"""Minutes between purges."""


class FigureStore(Protocol):
    async def add(
        self, minute: datetime, process: str, figures: Mapping[tuple[str, str], dict[str, object]]
    ) -> None: ...

    async def purge(self, before: datetime) -> int: ...


class Recorder:
    """process: tells the rows of several processes apart. measure: called before, to read what is not counted."""

    def __init__(
        self,
        metrics: Metrics,
        store: FigureStore,
        clock: Clock,
        *,
        process: str,
        measure: Callable[[], Awaitable[None]],
    ) -> None:
        self._metrics = metrics
        self._store = store
        self._clock = clock
        self._process = process
        self._measure = measure
        self._before: dict[tuple[str, str], Figures] = {}
        self._minutes = 0

    async def run(self) -> None:
        """Until it is cancelled, whole minute by whole minute."""
        failing = False
        while True:
            now = self._clock.now()
            await self._clock.sleep(_MINUTE_S - now.timestamp() % _MINUTE_S)
            try:
                await self.once()
                failing = False
            except Exception as error:  # noqa: BLE001  - figures must not end what runs beside them
                if not failing:
                    code = error.code if isinstance(error, IbkitError) else "E-INTERNAL"
                    log.warning("figures cannot be kept", extra={"code": code, "why": str(error)})
                failing = True

    async def once(self) -> int:
        """Store what was counted since the last time: how many rows. StorageError; then it is part of the next."""
        await self._measure()
        now = self._clock.now()
        seen = {key: figures.copy() for key, figures in self._metrics.calls.items()}
        for each in self._metrics.calls.values():
            each.at_once = 0  # the most of a minute; those that are still under way are counted with the next request
        none = Figures()
        new = {key: each.since(self._before.get(key, none)) for key, each in seen.items()}
        rows = {key: _row(each) for key, each in new.items() if not each.empty}
        if rows:
            # The minute that has just ended: at 10:05:00 what was counted since 10:04:00.
            minute = (now - timedelta(seconds=1)).replace(second=0, microsecond=0)
            try:
                await self._store.add(minute, self._process, rows)
            except BaseException:
                for key, each in seen.items():
                    kept = self._metrics.of(*key)
                    kept.at_once = max(kept.at_once, each.at_once)
                raise
        self._before = seen
        if self._minutes % _PURGE_EVERY == 0:
            await self._store.purge(now - KEPT)
        self._minutes += 1
        return len(rows)


def _row(figures: Figures) -> dict[str, object]:
    return {
        "calls": figures.calls,
        "errors": dict(figures.errors),
        "attempts": figures.attempts,
        "retries": figures.retries,
        "seconds": figures.seconds,
        "buckets": list(figures.buckets),
        "bytes_sent": figures.bytes_sent,
        "bytes_received": figures.bytes_received,
        "waits": figures.waits,
        "waited_s": figures.waited_s,
        "at_once": figures.at_once,
    }


def figures_of(row: Mapping[str, object]) -> Figures:
    """Figures from a stored row."""
    values = cast("dict[str, Any]", dict(row))
    names = ("calls", "attempts", "retries", "seconds", "bytes_sent", "bytes_received", "waits", "waited_s", "at_once")
    return Figures(
        errors=Counter(values["errors"]), buckets=list(values["buckets"]), **{name: values[name] for name in names}
    )


def total(rows: list[tuple[tuple[str, str], Mapping[str, object]]]) -> dict[tuple[str, str], Figures]:
    """Rows of the store, of any minutes and processes, added up by connection and endpoint."""
    found: dict[tuple[str, str], Figures] = {}
    for key, row in rows:
        found.setdefault(key, Figures()).add(figures_of(row))
    return found
