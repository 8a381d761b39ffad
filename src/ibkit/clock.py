"""Time as an argument. Code that needs the hour or a pause takes a `Clock`; only this file asks the machine."""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Protocol

import anyio
import anyio.lowlevel

__all__ = ["Clock", "ManualClock", "OffsetClock", "SystemClock", "slot_of"]


def slot_of(now: datetime, every: timedelta, offset: timedelta = timedelta(0)) -> datetime:
    """The beginning of the stretch of `every` that `now` lies in, counted from 1970 in UTC, `offset` later."""
    began = datetime(1970, 1, 1, tzinfo=UTC) + offset
    return began + (now.astimezone(UTC) - began) // every * every


class Clock(Protocol):
    """now: the wall clock (aware, UTC). monotonic: seconds for deadlines, never backwards."""

    def now(self) -> datetime: ...

    def monotonic(self) -> float: ...

    async def sleep(self, seconds: float) -> None: ...


class SystemClock:
    """The machine's clock."""

    def now(self) -> datetime:
        return datetime.now(UTC)

    def monotonic(self) -> float:
        return _since_boot()

    async def sleep(self, seconds: float) -> None:
        await anyio.sleep(seconds)


def _steady() -> Callable[[], float]:
    # time.monotonic() stands still while a laptop sleeps on Linux: a deadline would outlive the night.
    boot_time = getattr(time, "CLOCK_BOOTTIME", None)
    return time.monotonic if boot_time is None else partial(time.clock_gettime, boot_time)


_since_boot = _steady()


class OffsetClock(SystemClock):
    """The machine's clock, moved by `offset`: how a client follows a simulator that lives in another hour."""

    def __init__(self, offset: timedelta) -> None:
        self._offset = offset

    def now(self) -> datetime:
        return super().now() + self._offset


class ManualClock:
    """A clock that moves only when told: by `advance`, or because somebody sleeps on it.

    A sleeper advances the clock itself and yields once, so a test of a minute's waiting takes no time.
    """

    def __init__(self, start: datetime) -> None:
        if start.tzinfo is None:
            raise ValueError("start must be timezone-aware")
        self._now = start.astimezone(UTC)
        self._monotonic = 0.0

    def now(self) -> datetime:
        return self._now

    def monotonic(self) -> float:
        return self._monotonic

    def advance(self, seconds: float) -> None:
        if seconds < 0:
            raise ValueError("a ManualClock does not go backwards; use set()")
        self._now += timedelta(seconds=seconds)
        self._monotonic += seconds

    def set(self, now: datetime) -> None:
        """Move the wall clock alone, as a clock change would; deadlines do not notice."""
        self._now = now.astimezone(UTC)

    async def sleep(self, seconds: float) -> None:
        self.advance(max(0.0, seconds))
        await anyio.lowlevel.checkpoint()
