"""Group commit: whatever waits to be written goes to disk in one transaction, and each unit keeps its own outcome.

A disk that syncs in 5 ms commits 200 times a second, however many callers there are; what it commits at a time is free.
Each unit stands in a savepoint, so that one that fails takes nobody with it; a COMMIT that fails, fails them all.
"""

from __future__ import annotations

import asyncio
import queue
import threading
from collections.abc import Callable, Sequence
from typing import Any, Generic, TypeVar

from sqlalchemy import Connection

from ibkit.errors import StorageError
from ibkit.store.failures import DATABASE_ERRORS, storage_error
from ibkit.store.transactions import Begin

__all__ = ["Committer", "Unit", "WriterThread"]

_MOST_UNITS = 256
"""In one transaction: more would make the first wait long for the last."""

T = TypeVar("T")


class Unit(Generic[T]):
    """What one caller wants written, and what became of it. `work` may run again, where nothing of it was kept."""

    __slots__ = ("_error", "_result", "waiting", "work")

    def __init__(self, work: Callable[[Connection], T]) -> None:
        self.work = work
        self.waiting: asyncio.Future[None] | None = None
        self._result: T | None = None
        self._error: BaseException | None = None

    def succeed(self, result: T) -> None:
        self._result, self._error = result, None

    def fail(self, error: BaseException) -> None:
        self._error = error

    def outcome(self) -> T:
        if self._error is not None:
            raise self._error
        return self._result  # type: ignore[return-value]  # set by succeed(), and T may be None


class _Ended(Exception):
    """The transaction ended under its units: nothing of them was kept."""

    def __init__(self, culprit: Unit[Any]) -> None:
        super().__init__()
        self.culprit = culprit


class Committer:
    """Commits units, in one thread at a time. After a failed disk write nothing more: fsync is never retried."""

    def __init__(self, begin: Begin, *, name: str) -> None:
        self._begin = begin
        self._name = name
        self._halted: StorageError | None = None

    def commit(self, units: Sequence[Unit[Any]]) -> None:
        """On return each unit has its outcome, and those that succeeded are on disk."""
        if len(units) > 1 and self._halted is None:
            units = self._together(units)
        for unit in units:
            self._alone(unit)

    def _together(self, units: Sequence[Unit[Any]]) -> Sequence[Unit[Any]]:
        """Those that have to be done anew, by themselves, because another's failure ended the transaction."""
        try:
            with self._begin() as connection:
                for unit in units:
                    self._in_savepoint(connection, unit)
        except _Ended as ended:
            return [unit for unit in units if unit is not ended.culprit]
        except BaseException as error:  # noqa: BLE001  # it is raised where the units came from: they wait for it
            failed = self._mapped(error)
            for unit in units:
                unit.fail(failed)
        return ()

    def _in_savepoint(self, connection: Connection, unit: Unit[Any]) -> None:
        connection.exec_driver_sql("SAVEPOINT unit")
        try:
            unit.succeed(unit.work(connection))
        except BaseException as error:  # it is raised where the unit came from
            unit.fail(self._mapped(error))
            if self._halted is not None:
                raise _Ended(unit) from error
            try:
                connection.exec_driver_sql("ROLLBACK TO SAVEPOINT unit")
            except DATABASE_ERRORS:
                # SQLite answers some failures (a full disk) by rolling back everything; PostgreSQL may be gone.
                raise _Ended(unit) from error
        connection.exec_driver_sql("RELEASE SAVEPOINT unit")

    def _alone(self, unit: Unit[Any]) -> None:
        if self._halted is not None:
            stopped = StorageError(f"{self._halted.message} (writing has stopped)", remedy=self._halted.remedy)
            stopped.__cause__ = self._halted
            unit.fail(stopped)
            return
        try:
            with self._begin() as connection:
                result = unit.work(connection)
        except BaseException as error:  # noqa: BLE001  # it is raised where the unit came from
            unit.fail(self._mapped(error))
        else:
            unit.succeed(result)

    def _mapped(self, error: BaseException) -> BaseException:
        if not isinstance(error, DATABASE_ERRORS):
            return error
        mapped = storage_error(error, self._name)
        mapped.__cause__ = error
        if mapped.details.get("failed") == "io":
            self._halted = mapped
        return mapped


class WriterThread:
    """The one thread that writes, from its first unit until `close`. As many units wait as there are callers."""

    def __init__(self, committer: Committer, *, name: str) -> None:
        self._committer = committer
        self._name = name
        self._units: queue.SimpleQueue[Unit[Any] | None] = queue.SimpleQueue()
        self._thread: threading.Thread | None = None

    async def run(self, unit: Unit[Any]) -> None:
        """Returns when `unit` has its outcome. Not to be cancelled: it is written all the same."""
        unit.waiting = asyncio.get_running_loop().create_future()
        self.post(unit)
        await unit.waiting

    def post(self, unit: Unit[Any]) -> None:
        """Have `unit` written; whoever does not wait for it learns nothing of it."""
        if self._thread is None:
            # A daemon: a process that ends without closing does not wait; what is not committed has not happened.
            self._thread = threading.Thread(target=self._work, name=self._name, daemon=True)
            self._thread.start()
        self._units.put(unit)

    def close(self) -> None:
        """Returns when everything that was asked for is written. Blocks."""
        if self._thread is not None:
            self._units.put(None)
            self._thread.join()
            self._thread = None

    def _work(self) -> None:
        more = True
        while more:
            first = self._units.get()
            found = [first]
            while first is not None and len(found) < _MOST_UNITS:
                try:
                    found.append(self._units.get_nowait())
                except queue.Empty:
                    break
            units = [unit for unit in found if unit is not None]
            more = len(units) == len(found)
            if units:
                self._committer.commit(units)
                _tell(units)


def _tell(units: Sequence[Unit[Any]]) -> None:
    """Wakes whoever waits: each event loop once for all of its units."""
    by_loop: dict[asyncio.AbstractEventLoop, list[asyncio.Future[None]]] = {}
    for unit in units:
        if unit.waiting is not None:
            by_loop.setdefault(unit.waiting.get_loop(), []).append(unit.waiting)
    for loop, waiting in by_loop.items():
        try:
            loop.call_soon_threadsafe(_wake, waiting)
        except RuntimeError:
            continue  # the loop was closed without closing us: nobody waits any more


def _wake(waiting: Sequence[asyncio.Future[None]]) -> None:
    for future in waiting:
        if not future.done():
            future.set_result(None)
