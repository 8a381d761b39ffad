"""Orders under way in this process: each has a task of its own, which outlives the request that asked for it."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

import anyio
from anyio.abc import TaskGroup

from ibkit.errors import IbkitError
from ibkit.trading.events import IntentId
from ibkit.trading.intent import Intent

__all__ = ["Carrying", "Run"]

log = logging.getLogger(__name__)


@dataclass(slots=True)
class Run:
    """intent, error: what came of it, once it is `done`; one of the two."""

    done: anyio.Event = field(default_factory=anyio.Event)
    intent: Intent | None = None
    error: IbkitError | None = None

    async def wait(self, within_s: float) -> bool:
        """Whether it came to its end within that time."""
        with anyio.move_on_after(within_s):
            await self.done.wait()
        return self.done.is_set()

    def result(self) -> Intent:
        """What it came to, or its error."""
        if self.error is not None:
            raise self.error
        assert self.intent is not None, "asked for before the end"
        return self.intent


class Carrying:
    """tasks: those of the service, which end with it."""

    def __init__(self, tasks: TaskGroup) -> None:
        self._tasks = tasks
        self._runs: dict[IntentId, Run] = {}

    def __len__(self) -> int:
        return len(self._runs)

    def begin(self, intent_id: IntentId, work: Callable[[], Awaitable[Intent]]) -> Run:
        """The run of that intent: the one that is under way, or a new one of `work`."""
        run = self._runs.get(intent_id)
        if run is None:
            run = self._runs[intent_id] = Run()
            self._tasks.start_soon(self._carry, intent_id, run, work)
        return run

    async def drain(self, within_s: float) -> int:
        """Wait for what is under way, at most so long: how many are left. The journal has those."""
        with anyio.move_on_after(within_s):
            while self._runs:
                await next(iter(self._runs.values())).done.wait()
        return len(self._runs)

    async def _carry(self, intent_id: IntentId, run: Run, work: Callable[[], Awaitable[Intent]]) -> None:
        try:
            run.intent = await work()
        except IbkitError as error:
            run.error = error
        except Exception:  # a fault of ours must not end the orders of others
            log.exception("an order could not be carried on", extra={"intent": intent_id})
            run.error = IbkitError(code="E-INTERNAL", details={"id": intent_id})
        finally:
            del self._runs[intent_id]
            run.done.set()
