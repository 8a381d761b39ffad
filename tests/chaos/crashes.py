"""Where the process may die: before and after each journal write and each step of an order call (K1-K14)."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any

from ibkit.errors import StorageError
from ibkit.model import Username
from ibkit.store.journal import SqliteJournal
from ibkit.trading.alert import Alert
from ibkit.trading.events import (
    Acknowledged,
    Claimed,
    Decided,
    Event,
    Planned,
    Questioned,
    Replying,
    Sending,
    Stage,
)
from ibkit.trading.intent import Intent
from ibkit.trading.ports import Leg

from .fates import Fates

__all__ = ["POINTS", "Crash", "MortalJournal", "Mortality", "is_crash"]

POINTS = {
    "K1": "insert the intent",
    "K2": "risk decision",
    "K3": "claim",
    "K4": "commit SENDING",
    "K5": "first byte of an order call",
    "K6": "last byte of an order call",
    "K7": "headers of its answer",
    "K8": "body of its answer",
    "K9": "commit QUESTIONED",
    "K10": "commit REPLYING",
    "K11": "bytes of a reply",
    "K12": "commit what the answer proved",
    "K13": "answer to the caller",
    "K14": "commit what a search found",
}
_BY_EVENT: dict[type[Any], str] = {Sending: "K4", Questioned: "K9", Replying: "K10", Claimed: "K3"}
_FOUND = frozenset({"Looked", "GaveUp", "ProvenAbsent", "Rearmed", "Adopted", "Progressed", "Resolved", "Expired"})


class Crash(BaseException):
    """The process dies here: whatever is not on disk is gone."""


def is_crash(error: BaseException) -> bool:
    """A crash, alone or as the only thing in a group; a cancellation beside it is its echo."""
    if isinstance(error, BaseExceptionGroup):
        return all(is_crash(inner) for inner in error.exceptions)
    return isinstance(error, Crash)


class Mortality:
    """Decides at each point whether the process dies there, or its caller goes away.

    rate: chance per point. aim: one point at which it dies the first time it passes, for directed runs.
    """

    def __init__(self, fates: Fates, *, rate: float, leave_rate: float, most: int, aim: str = "") -> None:
        self._fates = fates
        self.rate = rate
        self.leave_rate = leave_rate
        self._most = most
        self.aim = aim
        self.crashes = 0
        self.passed: Counter[str] = Counter()
        self.died: Counter[str] = Counter()
        self.left: Counter[str] = Counter()
        self._dice: random.Random = fates.dice("aim")
        self.press: Callable[[str, str], None] = lambda _name, _when: None
        """Somebody at the kill switch, whose moment may have come."""
        self.leave: Callable[[], None] | None = None
        """Cancels the caller that is under way, if there is one."""

    def point(self, name: str, when: str) -> None:
        """Pass a point. Raises Crash where the process dies."""
        label = f"{name} {when}"
        self.passed[label] += 1
        self.press(name, when)
        if label == self.aim:
            self.aim = ""
            self._die(label)
        dice = self._fates.roll("crash", self.rate if self.crashes < self._most else 0.0)
        if dice is not None:
            self._dice = dice
            self._fates.tell(f"crash at {label}")
            self._die(label)
        if self.leave is not None and self._fates.roll("leave", self.leave_rate) is not None:
            self._fates.tell(f"caller leaves at {label}")
            self.left[label] += 1
            self.leave()

    def delay(self) -> float:
        """Seconds that the last bytes of a process that has just died still need to the broker."""
        return self._dice.choice([0.0, 0.3, 2.0])

    def _die(self, label: str) -> None:
        self.crashes += 1
        self.died[label] += 1
        raise Crash(label)


async def _never_stopped(_where: str) -> None:
    """A process that nobody stops."""


class MortalJournal:
    """The real journal, with points around each write and a disk that may fail. Fits `trading.ports.Journal`.

    alive:      raises Crash once the process is dead, so that nothing of it goes on.
    disk_fault: draws a name of DISK_FAULTS or "" for what is about to be done.
    committed:  told of each commit, in the same breath: intent and rows.
    stopped:    perhaps the process is stopped here, and goes on later.
    step:       the newest row that this process has written.
    """

    def __init__(
        self,
        journal: SqliteJournal,
        mortality: Mortality,
        *,
        alive: Callable[[], None],
        disk_fault: Callable[[str], str],
        wrote: Callable[[str], None],
        committed: Callable[[str, tuple[str, ...]], None] = lambda _intent, _rows: None,
        stopped: Callable[[str], Awaitable[None]] = _never_stopped,
    ) -> None:
        self._journal = journal
        self._mortality = mortality
        self._alive = alive
        self._disk_fault = disk_fault
        self._wrote = wrote
        self._committed = committed
        self._stopped = stopped
        self.halted = False
        self.step = "start"

    def conversation(self, username: Username, *, wait_s: float) -> AbstractAsyncContextManager[None]:
        self._alive()
        if self._disk_fault("lock") == "no descriptors":
            return _no_descriptors()
        return self._journal.conversation(username, wait_s=wait_s)

    def __getattr__(self, name: str) -> Any:
        self._alive()
        return getattr(self._journal, name)

    async def plan(self, planned: Planned) -> tuple[Intent, bool]:
        work = lambda: self._journal.plan(planned)  # noqa: E731
        return await self._write(("K1",), f"plan {planned.intent_id}", work, planned.intent_id, ("Planned",))

    async def append(
        self, intent: Intent, *events: Event, alert: Alert | None = None, legs: tuple[Leg, ...] = ()
    ) -> Intent:
        rows = tuple(type(event).__name__ for event in events)
        return await self._write(
            _points_of(events),
            f"append {intent.intent_id} v{intent.version} {' '.join(rows)}",
            lambda: self._journal.append(intent, *events, alert=alert, legs=legs),
            intent.intent_id,
            rows,
        )

    async def _write(
        self,
        points: tuple[str, ...],
        what: str,
        work: Callable[[], Awaitable[Any]],
        intent_id: str,
        rows: tuple[str, ...],
    ) -> Any:
        self._alive()
        await self._stopped(f"before {rows[-1]}")
        self._alive()
        for point in points:
            self._mortality.point(point, "before")
        row = rows[-1]
        fault = "halted" if self.halted else self._disk_fault(row)
        if fault in ("full", "busy", "halted", "fsync lost"):
            self.halted = self.halted or fault == "fsync lost"
            self._wrote(f"{what}: {fault}")
            raise StorageError(f"Database problem: chaos: {fault}")
        written = await work()
        self.step = row
        self._committed(intent_id, rows)
        self._wrote(what)
        if fault == "fsync kept":
            self.halted = True
            raise StorageError("Database problem: chaos: a commit of unknown outcome")
        for point in points:
            self._alive()
            self._mortality.point(point, "after")
        await self._stopped(f"after {row}")
        self._alive()
        return written


@asynccontextmanager
async def _no_descriptors() -> AsyncIterator[None]:
    """As `store.locks` tells it when the lock file cannot be opened."""
    raise StorageError("Database problem: chaos: Too many open files")
    yield


def _points_of(events: tuple[Event, ...]) -> tuple[str, ...]:
    """A decision at intake and the claim are one write, which both of their points surround."""
    last = events[-1]
    first = events[0]
    decided = isinstance(first, Decided) and (first.stage is Stage.INTAKE or not first.passed)
    if isinstance(last, Claimed):
        return ("K2", "K3") if decided else ("K3",)
    if type(last) in _BY_EVENT:
        return (_BY_EVENT[type(last)],)
    if decided:
        return ("K2",)
    if isinstance(last, Acknowledged) and last.evidence == "answer":
        return ("K12",)
    searched = any(type(event).__name__ in _FOUND for event in events) or isinstance(last, Acknowledged)
    return ("K14",) if searched else ("K12",)
