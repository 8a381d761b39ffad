"""Waiting for the pacer: orders first, then the session, then data; in each lane first come first served."""

from __future__ import annotations

import heapq
from datetime import datetime, timedelta
from itertools import count
from typing import Final

import anyio

from ibkit.client.shared_pace import SharedPace
from ibkit.client.shared_slots import SharedSlots
from ibkit.clock import Clock
from ibkit.errors import RateLimited
from ibkit.wire.endpoint import Concurrent, Endpoint, Lane, Limit
from ibkit.wire.pacing import Pacer

__all__ = ["Lanes", "lanes_of"]

LONGEST_WAIT_S: Final = 10.0
"""A call that would wait longer fails with E-RATE. LIM-01."""
LONGEST_ORDER_WAIT_S: Final = 30.0
"""Looking for an order waits longer: its list may be asked once in five seconds only."""
_CONCURRENCY_POLL_S: Final = 0.05
ONCE_A_MINUTE_S: Final = 60.0


class _Waiter:
    __slots__ = ("event", "rank")

    def __init__(self, rank: tuple[int, int]) -> None:
        self.rank = rank
        self.event = anyio.Event()

    def __lt__(self, other: _Waiter) -> bool:
        return self.rank < other.rank


class Lanes:
    """The queue before one login's pacer.

    shared, pace: slots, and calls of any kind, that other processes of this login take, too.
    """

    def __init__(
        self, pacer: Pacer, clock: Clock, shared: SharedSlots | None = None, pace: SharedPace | None = None
    ) -> None:
        self._pacer = pacer
        self._shared = shared
        self._pace = pace
        self._clock = clock
        self._queue: list[_Waiter] = []
        self._numbers = count()

    @property
    def boxed(self) -> bool:
        return self._boxed_for(self._clock.monotonic()) > 0

    @property
    def boxed_until(self) -> datetime | None:
        """When IBKR's penalty box ends; None outside it."""
        boxed = self._boxed_for(self._clock.monotonic())
        return self._clock.now() + timedelta(seconds=boxed) if boxed else None

    def free_at(self, endpoint: Endpoint) -> datetime:
        """When this endpoint may be called again, as a wall clock's instant."""
        now = self._clock.monotonic()
        wait = max(self._boxed_for(now), self._pacer.paused_for(endpoint, now))
        return self._clock.now() + timedelta(seconds=wait)

    def quick(self, endpoint: Endpoint) -> bool:
        """Whether the call may go at once, without any of `enter`'s waiting; then it is counted."""
        return not self._queue and self._pacer.unheld(endpoint) and not self._take(endpoint, self._clock.monotonic())

    async def enter(self, endpoint: Endpoint) -> None:
        """Returns when the call may go. RateLimited: E-PENALTY in the box, E-RATE where it would wait too long."""
        pacer, now = self._pacer, self._clock.monotonic()
        self._refuse_in_the_box(now)
        longest = LONGEST_ORDER_WAIT_S if endpoint.lane is Lane.ORDERS else LONGEST_WAIT_S
        if pacer.next_slot_in(endpoint, now) > longest:
            raise self._too_long(endpoint, longest)
        wait = pacer.reserve(endpoint, now)
        if self._shared is not None:
            wait = self._shared.reserve(endpoint, wait, longest_s=longest)
        slot = now + wait
        if wait:
            await self._clock.sleep(wait)
        while not pacer.begin(endpoint):
            await self._clock.sleep(_CONCURRENCY_POLL_S)
        if not self._queue and not self._take(endpoint, self._clock.monotonic()):
            return
        try:
            await self._queue_up(endpoint, longest)
        except BaseException:
            pacer.end(endpoint)
            raise
        pacer.went(endpoint, slot, self._clock.monotonic())

    def leave(self, endpoint: Endpoint) -> None:
        if isinstance(endpoint.limit, Concurrent):
            self._pacer.end(endpoint)

    def slow_down(self, endpoint: Endpoint, retry_after: str | None) -> None:
        """Take note of a 429. One of an endpoint that may be asked once a minute says only that another run asked."""
        if isinstance(endpoint.limit, Limit) and endpoint.limit.per_s >= ONCE_A_MINUTE_S:
            return
        seconds = float(retry_after) if retry_after and retry_after.isdigit() else None
        pacer, now = self._pacer, self._clock.monotonic()
        pacer.refused(endpoint, now, retry_after_s=seconds)
        if self._pace is not None:
            self._pace.refused(now, slow_s=pacer.slow_for(now), box_s=pacer.boxed_for(now))

    def close(self) -> None:
        """Nothing more is sent: the other processes need not leave anything for this one."""
        if self._pace is not None:
            self._pace.close(self._clock.monotonic())

    def _take(self, endpoint: Endpoint, now: float) -> float:
        """0.0, and the call is counted; or the seconds until the login may send again."""
        wait = self._pacer.free_in(now)
        if not wait and self._pace is not None:
            wait = self._pace.take(endpoint.lane, now)
        if not wait:
            self._pacer.count(now)
        return wait

    def _boxed_for(self, now: float) -> float:
        boxed = self._pacer.boxed_for(now)
        return boxed if self._pace is None else max(boxed, self._pace.boxed_for(now))

    def _refuse_in_the_box(self, now: float) -> None:
        boxed = self._boxed_for(now)
        if boxed:
            until = self._clock.now() + timedelta(seconds=boxed)
            raise RateLimited(
                f"IBKR blocks this address until about {until:%H:%M:%S} UTC",
                code="E-PENALTY",
                retry_at=until,
                details={"unsent": True},
            )

    async def _queue_up(self, endpoint: Endpoint, longest: float) -> None:
        queue, clock = self._queue, self._clock
        give_up_at = clock.monotonic() + longest
        waiter = _Waiter((endpoint.lane.value, next(self._numbers)))
        heapq.heappush(queue, waiter)
        try:
            while True:
                if queue[0] is not waiter:
                    # The first in the queue wakes the next when it goes.
                    await waiter.event.wait()
                    waiter.event = anyio.Event()
                    continue
                wait = self._take(endpoint, clock.monotonic())
                if not wait:
                    return
                self._refuse_in_the_box(clock.monotonic())
                if clock.monotonic() + wait > give_up_at:
                    raise self._too_long(endpoint, longest)
                await clock.sleep(wait)
        finally:
            queue.remove(waiter)
            heapq.heapify(queue)
            if queue:
                queue[0].event.set()

    def _too_long(self, endpoint: Endpoint, longest: float) -> RateLimited:
        return RateLimited(
            f"{endpoint.method} {endpoint.path} would wait more than {longest:.0f} s for IBKR's rate limit",
            retry_at=self.free_at(endpoint),
            details={"unsent": True},
        )


def lanes_of(calls_per_s: int, clock: Clock, shared: SharedSlots | None) -> Lanes:
    """The queue of a login that may call so often; 0 for no limit."""
    pace = shared.pace(calls_per_s) if shared is not None and calls_per_s else None
    return Lanes(Pacer(calls_per_s=calls_per_s), clock, shared, pace)
