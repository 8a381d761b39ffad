"""A clock of many sleepers that goes from one to the next as soon as all of them have come to rest.

Hours of a service pass in seconds, and a slow machine makes none of them longer: whatever is done between two moments,
a write to the disk too, takes no time there.
"""

from __future__ import annotations

import heapq
import itertools
import math
from collections.abc import Callable
from datetime import datetime

import anyio
import anyio.to_thread

from ibkit.clock import ManualClock

__all__ = ["StepClock"]

_QUIET = 3
_GLANCE_S = 0.002


class StepClock(ManualClock):
    """moved: called after each step, for a world that follows."""

    def __init__(self, start: datetime) -> None:
        super().__init__(start)
        self.moved: Callable[[], None] = lambda: None
        self._waiting: list[tuple[float, int, anyio.Event]] = []
        self._number = itertools.count()
        self._stirrings = 0

    async def sleep(self, seconds: float) -> None:
        self._stirrings += 1
        if seconds <= 0:
            await anyio.lowlevel.checkpoint()
            return
        woken = anyio.Event()
        heapq.heappush(self._waiting, (self.monotonic() + seconds, next(self._number), woken))
        await woken.wait()
        self._stirrings += 1

    async def pass_time(self, seconds: float) -> None:
        """Let so many seconds pass, each sleeper woken at its moment."""
        until = self.monotonic() + seconds
        while True:
            await self._rest()
            due = self._waiting[0][0] if self._waiting else math.inf
            self.advance(max(0.0, min(due, until) - self.monotonic()))
            self.moved()
            while self._waiting and self._waiting[0][0] <= self.monotonic():
                heapq.heappop(self._waiting)[2].set()
            if due > until:
                await self._rest()
                return

    async def _rest(self) -> None:
        """Until nobody does anything any more: no sleeper was woken or lay down, and no thread is at work."""
        quiet = 0
        while quiet < _QUIET:
            before = self._stirrings
            await anyio.sleep(_GLANCE_S)
            busy = anyio.to_thread.current_default_thread_limiter().borrowed_tokens > 0
            quiet = 0 if busy or before != self._stirrings else quiet + 1
