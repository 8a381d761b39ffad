"""Other processes of the same user: one that works beside, one that takes the lane of a stopped process over.

A stopped process (SIGSTOP, a suspended machine) keeps its file lock; somebody who finds it dead takes the lock's file
away, and from there on only the lane's epoch stands between its waking and a second order (F91, F105).
"""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING

import anyio

from ibkit.errors import IbkitError

from .crashes import is_crash
from .process import Process
from .workload import Wish

if TYPE_CHECKING:
    from .schedule import Schedule

__all__ = ["Rivals"]


class Rivals:
    """stop_rate: chance at each journal row that the process is stopped there; most: how often in a schedule."""

    def __init__(self, schedule: Schedule, *, stop_rate: float, most: int = 2) -> None:
        self._schedule = schedule
        self._dice = schedule.fates.dice("rivals")
        self.stop_rate = stop_rate
        self._left = most
        self._stopping = False

    async def stop(self, process: Process, where: str) -> None:
        """Perhaps `process` is stopped here, another takes its lane over, and later it goes on."""
        schedule = self._schedule
        if not self.stop_rate or self._stopping or self._left == 0 or process is not schedule.process:
            return
        dice = schedule.fates.roll("stop", self.stop_rate)
        if dice is None:
            return
        self._left -= 1
        self._stopping = True
        schedule.seen["stopped"] += 1
        schedule.fates.tell(f"stopped {where}; another process takes over")
        leave, schedule.mortality.leave = schedule.mortality.leave, None
        shutil.rmtree(schedule.path.with_name(f"{schedule.path.name}.locks"), ignore_errors=True)
        try:
            with anyio.CancelScope(shield=True):
                await self._take_over(dice.choice(["recover", "ask", "both"]))
                schedule.clock.advance(dice.choice([0.0, 0.5, 31.0, 100.0]))
        finally:
            self._stopping = False
            schedule.mortality.leave = leave
        schedule.note("the stopped process goes on")

    async def _take_over(self, what: str) -> None:
        schedule = self._schedule
        other = Process(schedule)
        try:
            await other.start()
            if what != "ask":
                await schedule.callers.recover(other)
            if what != "recover":
                await schedule.callers.ask(self._dice.choice(schedule.wishes), other)
            schedule.seen["lane taken over"] += 1
        except IbkitError as error:
            schedule.note(f"the other process: {error.code}")
        except BaseException as error:
            if not is_crash(error):
                raise
            schedule.note("the other process died")
        finally:
            await other.stop()

    async def beside(self, mine: Wish, theirs: Wish) -> None:
        """Two processes at work at the same time, each on a wish; either may die."""
        schedule = self._schedule
        other = Process(schedule)
        try:
            await other.start()
        except IbkitError as error:
            schedule.note(f"the other process does not start: {error.code}")
            await other.stop()
            return
        schedule.seen["beside"] += 1
        assert schedule.process is not None
        first = schedule.process
        async with anyio.create_task_group() as both:
            both.start_soon(self._alone, first, mine)
            both.start_soon(self._alone, other, theirs)
        await other.stop()
        if first.dead:
            schedule.process = None

    async def _alone(self, process: Process, wish: Wish) -> None:
        try:
            await self._schedule.callers.ask(wish, process)
        except BaseException as error:
            if not is_crash(error):
                raise
            self._schedule.note("one of two processes died")
            with anyio.CancelScope(shield=True):
                await process.stop()
