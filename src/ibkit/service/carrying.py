"""Orders and sales under way in this process: each has a task of its own, which outlives the request for it."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar

import anyio
from anyio.abc import TaskGroup

from ibkit.errors import IbkitError

__all__ = ["Carrying", "Run"]

log = logging.getLogger(__name__)
T = TypeVar("T")


@dataclass(slots=True)
class Run(Generic[T]):
    """value, error: what came of it, once it is `done`; one of the two."""

    done: anyio.Event = field(default_factory=anyio.Event)
    value: T | None = None
    error: IbkitError | None = None

    async def wait(self, within_s: float) -> bool:
        """Whether it came to its end within that time."""
        with anyio.move_on_after(within_s):
            await self.done.wait()
        return self.done.is_set()

    def result(self) -> T:
        """What it came to, or its error."""
        if self.error is not None:
            raise self.error
        assert self.value is not None, "asked for before the end"
        return self.value


class Carrying:
    """tasks: those of the service, which end with it."""

    def __init__(self, tasks: TaskGroup) -> None:
        self._tasks = tasks
        self._runs: dict[str, Run[Any]] = {}

    def __len__(self) -> int:
        return len(self._runs)

    def begin(self, name: str, work: Callable[[], Awaitable[T]]) -> Run[T]:
        """The run of that name, an intent's id or more: the one that is under way, or a new one of `work`."""
        run = self._runs.get(name)
        if run is None:
            run = self._runs[name] = Run()
            self._tasks.start_soon(self._carry, name, run, work)
        return run

    async def drain(self, within_s: float) -> int:
        """Wait for what is under way, at most so long: how many are left. The journal has those."""
        with anyio.move_on_after(within_s):
            while self._runs:
                await next(iter(self._runs.values())).done.wait()
        return len(self._runs)

    async def _carry(self, name: str, run: Run[Any], work: Callable[[], Awaitable[Any]]) -> None:
        try:
            run.value = await work()
        except IbkitError as error:
            run.error = error
        except Exception:  # a fault of ours must not end the orders of others
            log.exception("an order could not be carried on", extra={"intent": name})
            run.error = IbkitError(code="E-INTERNAL", details={"id": name})
        finally:
            del self._runs[name]
            run.done.set()
