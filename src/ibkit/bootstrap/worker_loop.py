"""The worker's loop: a whole round every minute, a look at once when the stream tells of an end, and patience.

    due       round: recover, exits, stops, silent strategies
    told      look: exits and stops
    failed    once more after 2, 4, 8 … 60 s; where a person must act, every 30 s

An outage is one line when it begins and one when it ends. Source: requirements SES-07, TRD-20, OPS-10.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING

import anyio
from anyio.abc import TaskStatus

from ibkit.clock import Clock
from ibkit.errors import AuthError, IbkitError, StorageError, Unreachable
from ibkit.model import Down, Live, OrderUpdate
from ibkit.trading.timeline import Observer, Step, StepKind
from ibkit.trading.watching.rounds import RoundReport, Rounds

if TYPE_CHECKING:
    from ibkit.client.stream import Stream

__all__ = ["Outage", "Standing", "WorkerLoop"]

DRAIN_S = 8.0
"""A round that is under way when the worker is to stop has so long to come to its end."""
_FIRST_RETRY_S, _LONGEST_RETRY_S, _PASSIVE_S = 2.0, 60.0, 30.0
_GATHER_S = 0.5
"""Events come in bursts: a look begins this long after the first."""


@dataclass(slots=True)
class Outage:
    """Whether something is down, told once when it begins and once when it ends, and how long to wait."""

    what: str
    clock: Clock
    observe: Observer
    chance: Callable[[], float]
    since: datetime | None = None
    reason: str = ""
    failures: int = 0
    _down: str = ""
    """What it is that is down: `what`, or our own storage."""

    def failed(self, error: IbkitError) -> float:
        """Seconds until the next try."""
        self.failures += 1
        self.begins(f"{error.code}: {error.message}", "storage" if isinstance(error, StorageError) else self.what)
        if isinstance(error, AuthError):
            return _PASSIVE_S
        wait = min(_FIRST_RETRY_S * 2.0 ** min(self.failures - 1, 10), _LONGEST_RETRY_S)
        return wait * (0.75 + 0.25 * self.chance())

    def begins(self, reason: str, what: str = "") -> None:
        if self.since is None:
            self.since, self._down = self.clock.now(), what or self.what
            self._tell(f"{self._down} down: {reason}")
        self.reason = reason

    def ends(self) -> None:
        if self.since is not None:
            self._tell(f"{self._down} up again after {(self.clock.now() - self.since).total_seconds():.0f} s")
        self.since, self.reason, self.failures = None, "", 0

    def _tell(self, text: str) -> None:
        self.observe(Step(kind=StepKind.WATCH, at=self.clock.now(), text=text))


@dataclass(slots=True)
class Standing:
    """What the worker says of itself, round by round. reports: the last of each account."""

    reports: dict[str, RoundReport] = field(default_factory=dict)
    last_round_at: datetime | None = None
    rounds: int = 0
    stream: str = "connecting"
    stream_since: datetime | None = None


@dataclass(slots=True, kw_only=True)
class WorkerLoop:
    """rounds: one for each account. stream: opens the login's stream. published: called when `standing` changed.

    heard: called after each round with what it failed by, or None; it neither waits nor raises.
    """

    rounds: Sequence[Rounds]
    stream: Callable[[], AbstractAsyncContextManager[Stream]]
    clock: Clock
    poll_s: float
    observe: Observer
    chance: Callable[[], float]
    published: Callable[[], None] = lambda: None
    heard: Callable[[IbkitError | None], None] = lambda failure: None
    standing: Standing = field(default_factory=Standing)
    _wake: anyio.Event = field(default_factory=anyio.Event)

    async def run(self, stop: anyio.Event) -> None:
        """Until `stop`, and then for as long as the round under way takes, at most `DRAIN_S`."""
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(self._listen)
            with anyio.CancelScope() as working:
                tasks.start_soon(self._end_within, stop, working)
                await self._work(stop)
            tasks.cancel_scope.cancel()

    async def _end_within(self, stop: anyio.Event, working: anyio.CancelScope) -> None:
        await stop.wait()
        self._wake.set()
        await self.clock.sleep(DRAIN_S)
        working.cancel()

    # -- rounds -------------------------------------------------------------------------------------------------------

    async def once(self) -> tuple[RoundReport, ...]:
        """One whole round of every account."""
        reports = tuple([await each.run() for each in self.rounds])
        self._took_down(reports, whole=True)
        return reports

    async def _work(self, stop: anyio.Event) -> None:
        outage = Outage("IBKR", self.clock, self.observe, self.chance)
        whole_at = self.clock.monotonic()
        while not stop.is_set():
            begun = self.clock.monotonic()
            whole = begun >= whole_at
            reports = await self.once() if whole else await self._look()
            if whole:
                whole_at = begun + self.poll_s
            failure = next((error for report in reports for error in report.failures), None)
            self.heard(failure)
            if failure is None:
                outage.ends()
                wait = self._until_next(reports, whole_at)
            else:
                wait = outage.failed(failure)
                whole_at = self.clock.monotonic() + wait
            self.published()
            if not stop.is_set():
                await self._pause(wait)

    async def _look(self) -> tuple[RoundReport, ...]:
        reports = tuple([await each.look() for each in self.rounds])
        self._took_down(reports, whole=False)
        return reports

    def _took_down(self, reports: tuple[RoundReport, ...], *, whole: bool) -> None:
        for each, report in zip(self.rounds, reports, strict=True):
            self.standing.reports[each.account_id] = report
            for text in report.done:
                self.observe(Step(kind=StepKind.WATCH, at=report.at, text=text))
            for intent in report.recovered:
                text = f"an order of an earlier run is {intent.state.value} now: {intent.label}"
                self.observe(Step(kind=StepKind.RECOVERY, at=report.at, text=text))
        if whole:
            self.standing.rounds += 1
            self.standing.last_round_at = self.clock.now()

    def _until_next(self, reports: tuple[RoundReport, ...], whole_at: float) -> float:
        """To the next whole round, or to the next time exit, which is not kept waiting.

        Without a stream there is a look in between, so that what happens is noticed within `poll_s` all the same.
        """
        wait = whole_at - self.clock.monotonic()
        if self.standing.stream != "live":
            wait = min(wait, self.poll_s / 2)
        now = self.clock.now()
        exits = [(report.next_exit - now).total_seconds() for report in reports if report.next_exit is not None]
        return max(min([wait, *exits]), 0.0)

    async def _pause(self, seconds: float) -> None:
        """Until the time is up, or something was told."""
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(self._time_up, seconds, tasks.cancel_scope)
            await self._wake.wait()
            tasks.cancel_scope.cancel()
        if self._wake.is_set():
            await self.clock.sleep(_GATHER_S)
            self._wake = anyio.Event()

    async def _time_up(self, seconds: float, scope: anyio.CancelScope) -> None:
        await self.clock.sleep(seconds)
        scope.cancel()

    # -- the stream ---------------------------------------------------------------------------------------------------

    async def _listen(self) -> None:
        """Keep a stream up; without one the rounds go on alone."""
        outage = Outage("stream", self.clock, self.observe, self.chance)
        while True:
            failure: IbkitError = Unreachable("it ended")
            try:
                async with self.stream() as stream:
                    await self._follow(stream, outage)
            except IbkitError as error:
                failure = error
            except ExceptionGroup as group:  # what a task of it raised
                ours, others = group.split(IbkitError)
                if others is not None or ours is None:
                    raise
                failure = _first_of(ours)
            wait = outage.failed(failure)
            self._stream_is("down")
            await self.clock.sleep(wait)

    async def _follow(self, stream: Stream, outage: Outage) -> None:
        async with anyio.create_task_group() as tasks:
            await tasks.start(self._line, stream, outage)
            async for update in stream.orders():
                await self._told(update)
            tasks.cancel_scope.cancel()

    async def _line(self, stream: Stream, outage: Outage, *, task_status: TaskStatus[None]) -> None:
        events = stream.lifecycle()
        if stream.live:
            self._stream_is("live")
            outage.ends()
        task_status.started()
        async for event in events:
            match event:
                case Live():
                    outage.ends()
                    self._stream_is("live")
                    self._wake.set()  # whatever happened in the gap is looked at
                case Down():
                    outage.begins(event.reason)
                    self._stream_is("down")
                case _:
                    pass  # the stream mends those itself, or they lead to Down

    async def _told(self, update: OrderUpdate) -> None:
        for each in self.rounds:
            try:
                due = await each.seen(update.order)
            except IbkitError as error:  # the disk; the next round reads the order again
                self.observe(Step(kind=StepKind.CRITICAL, at=self.clock.now(), text=error.message))
                due = True
            if due:
                order = update.order
                text = f"order {order.order_id} ({order.description or order.conid}): {order.raw_status}; looking"
                self.observe(Step(kind=StepKind.WATCH, at=self.clock.now(), text=text))
                self._wake.set()

    def _stream_is(self, word: str) -> None:
        if self.standing.stream != word:
            self.standing.stream, self.standing.stream_since = word, self.clock.now()
            self.published()


def _first_of(group: BaseExceptionGroup[IbkitError]) -> IbkitError:
    first = group.exceptions[0]
    return _first_of(first) if isinstance(first, BaseExceptionGroup) else first
