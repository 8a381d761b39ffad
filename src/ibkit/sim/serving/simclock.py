"""Three readings of time for a simulator: the world's, the wall's, and seconds for pacing."""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Protocol

from ibkit.clock import ManualClock

__all__ = ["SharedClock", "SimClock", "WorldClock"]


class SimClock(Protocol):
    """now: the world's time. wall: the host's. monotonic: seconds that no `advance` of a real clock moves."""

    @property
    def mode(self) -> str: ...

    @property
    def speed(self) -> float: ...

    def now(self) -> datetime: ...

    def wall(self) -> datetime: ...

    def monotonic(self) -> float: ...

    def advance(self, seconds: float) -> None: ...

    def restart(self, start: datetime) -> None: ...


class WorldClock:
    """World time that runs `speed` times as fast as the host's from `start`, or stands still and is moved by hand."""

    def __init__(
        self,
        start: datetime,
        *,
        speed: float = 1.0,
        manual: bool = False,
        monotonic: Callable[[], float] = time.monotonic,
        wall: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self.mode = "manual" if manual else "real"
        self.speed = 0.0 if manual else speed
        self._monotonic = monotonic
        self._wall = wall
        self.restart(start)

    def restart(self, start: datetime) -> None:
        self._start = start.astimezone(UTC)
        self._zero = self._monotonic()

    def now(self) -> datetime:
        return self._start + timedelta(seconds=(self._monotonic() - self._zero) * self.speed)

    def wall(self) -> datetime:
        # With a manual clock everything must follow from the requests alone, so the wall is not looked at.
        return self.now() if self.mode == "manual" else self._wall()

    def monotonic(self) -> float:
        return self._monotonic()

    def advance(self, seconds: float) -> None:
        self._start += timedelta(seconds=seconds)


class SharedClock:
    """A test's ManualClock as the simulator's: client and world live in one time."""

    mode = "manual"
    speed = 0.0

    def __init__(self, clock: ManualClock) -> None:
        self._clock = clock

    def now(self) -> datetime:
        return self._clock.now()

    def wall(self) -> datetime:
        return self._clock.now()

    def monotonic(self) -> float:
        return self._clock.monotonic()

    def advance(self, seconds: float) -> None:
        self._clock.advance(seconds)

    def restart(self, start: datetime) -> None:
        self._clock.set(start)
