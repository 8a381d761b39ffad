"""Virtual time with appointments: what arrives late at the broker arrives at its own moment, not at the next call."""

from __future__ import annotations

import heapq
import itertools
from collections.abc import Callable
from datetime import datetime

import anyio
import anyio.lowlevel

from ibkit.clock import ManualClock

__all__ = ["ChaosClock", "StandingClock"]


class ChaosClock(ManualClock):
    def __init__(self, start: datetime) -> None:
        super().__init__(start)
        self._queue: list[tuple[float, int, Callable[[], object]]] = []
        self._serial = itertools.count()

    def later(self, delay_s: float, act: Callable[[], object]) -> None:
        """Have `act` done `delay_s` from now, whoever moves the clock there."""
        heapq.heappush(self._queue, (self.monotonic() + delay_s, next(self._serial), act))

    def advance(self, seconds: float) -> None:
        end = self.monotonic() + seconds
        while self._queue and self._queue[0][0] <= end:
            at, _, act = heapq.heappop(self._queue)
            super().advance(max(0.0, at - self.monotonic()))
            act()
        super().advance(max(0.0, end - self.monotonic()))


class StandingClock(ManualClock):
    """A clock that only `advance` moves: whoever sleeps waits until somebody else has let the time pass."""

    def __init__(self, start: datetime) -> None:
        super().__init__(start)
        self._sleepers: list[tuple[float, int, anyio.Event]] = []
        self._serial = itertools.count()

    async def sleep(self, seconds: float) -> None:
        if seconds <= 0:
            await anyio.lowlevel.checkpoint()
            return
        woken = anyio.Event()
        heapq.heappush(self._sleepers, (self.monotonic() + seconds, next(self._serial), woken))
        await woken.wait()

    def advance(self, seconds: float) -> None:
        super().advance(seconds)
        while self._sleepers and self._sleepers[0][0] <= self.monotonic():
            heapq.heappop(self._sleepers)[2].set()
