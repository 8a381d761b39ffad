"""Durable jobs: queued by name, carried out by one of the processes that know the name, and again where it dies.

    engine = JobEngine(settings, machine_clock())
    engine.register("syncs", work)                      # work(argument); at most `at_once` of them here
    engine.every("snapshots", timedelta(days=1), work)  # work(the beginning of the day), in one process of all
    async with engine.running():
        await engine.put("syncs", argument, key="account-7/12:15", partition=user_id)

The library is DBOS, and nothing else imports it (docs/adr/0020). It keeps threads and a database of its own: the file
`jobs/jobs.sqlite` of the state directory, or the schema `ibkit_jobs` of the PostgreSQL that DATABASE_URL names; never
the journal. The work itself runs on the loop that started the engine. What is kept of a job is its name, its argument
and its end, so an argument holds ids and nothing private. Never for ticks, heartbeats or orders.

    put        equal keys are one job, whichever processes put them; for a day after its end
    stopped    a job under way is cancelled, and carried out again by whoever takes it over
    killed     the process's lock is free then; another one, or its next start, takes its jobs over within seconds

Source: architecture §3 (Durable jobs); requirement SYN-12.
"""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
import logging
import os
import socket
import sqlite3
import threading
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from concurrent.futures import Future
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from importlib.util import find_spec
from typing import Any, Final, TypeVar

import anyio
import anyio.to_thread

from ibkit.bootstrap.alerting import beside
from ibkit.bootstrap.edge import edges
from ibkit.bootstrap.job_locks import Locks, job_failure, jobs_folder, locks_of
from ibkit.clock import Clock, SystemClock, slot_of
from ibkit.errors import ConfigError, IbkitError, InFlight, StorageError
from ibkit.settings import Settings
from ibkit.store.database import sqlite_path, to_engine

__all__ = ["JobEngine", "missing"]

log = logging.getLogger(__name__)

T = TypeVar("T")
Work = Callable[[str], Awaitable[None]]

_VERSION: Final = "1"
"""Of what a job is made of. A process takes up jobs of its own version alone: change it only when an argument changes
its meaning, and let the queues run empty first. By default it would be a hash of the code, and each release would leave
the jobs of the one before for ever."""
_SCHEMA: Final = "ibkit_jobs"
_POLL_S: Final = 0.25
_LOOK_EVERY_S: Final = 2.0
"""For jobs of processes that have died, and for what is due by the clock."""
_CLEAN_EVERY_S: Final = 3600.0
_KEPT_FOR: Final = timedelta(days=1)
_CLEAN_AT_ONCE: Final = 1_000
_MOST_THREADS: Final = 32


class _Left(BaseException):
    """The job is left as it is, for whoever takes it over. No Exception: the library would write it down as its end."""


@dataclass(frozen=True, slots=True)
class _Job:
    work: Work
    at_once: int


@dataclass(frozen=True, slots=True)
class _Periodic:
    every: timedelta
    offset: timedelta


def missing() -> str:
    """How to install the library; "" where it is there."""
    return "" if find_spec("dbos") else "pip install 'ibkit[jobs]'"


class JobEngine:
    """clock: of what is due by `every`. One engine at a time is running in a process."""

    _running: JobEngine | None = None
    _guard = threading.Lock()

    def __init__(self, settings: Settings, clock: Clock) -> None:
        self._settings = settings
        self._clock = clock
        self._machine = SystemClock()
        self._jobs: dict[str, _Job] = {}
        self._periodic: dict[str, _Periodic] = {}
        self._tasks: set[asyncio.Task[str]] = set()
        self._ending = False
        self._loop: asyncio.AbstractEventLoop | None = None
        self._context = contextvars.copy_context()
        self._locks: Locks | None = None
        self.executor_id = ""
        """Of this run, never of another: two with one id would carry each job out twice."""

    def register(self, name: str, work: Work, *, at_once: int = 4) -> None:
        """Before it runs. work: may be called again with the same argument, after a process died in it.

        at_once: so many in this process. Of one partition one at a time, over all processes.
        """
        assert self._loop is None, "jobs are registered before the engine runs"
        assert name not in self._jobs, f"two jobs are called {name}"
        self._jobs[name] = _Job(work, at_once)

    def every(
        self,
        name: str,
        every: timedelta,
        work: Callable[[datetime], Awaitable[None]],
        *,
        offset: timedelta | None = None,
    ) -> None:
        """Carry `work` out once in each stretch of `every`, in one of the processes that register it.

        work: is given the beginning of the stretch. offset: from midnight UTC. A stretch in which no process runs is
        left out.
        """

        async def carried_out(argument: str) -> None:
            await work(datetime.fromisoformat(argument))

        self.register(name, carried_out, at_once=1)
        self._periodic[name] = _Periodic(every, offset or timedelta(0))

    @property
    def has_periodic(self) -> bool:
        return bool(self._periodic)

    # -- running ------------------------------------------------------------------------------------------------------

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """From here to the end of the block jobs are taken up, and those of dead processes taken over.

        ConfigError (E-CONFIG) where the library is missing, InFlight where another engine runs in this process,
        StorageError. What is under way at the end is cancelled, and left to be carried out again.
        """
        if missing():
            raise ConfigError(
                "Setting invalid: SYNC_INTERVAL_MINUTES: jobs by the clock need a library that is not installed",
                remedy=f"Install it ({missing()}), or switch them off: SYNC_INTERVAL_MINUTES=0.",
            )
        with JobEngine._guard:
            if JobEngine._running is not None:
                raise InFlight("an engine of jobs runs in this process already")
            JobEngine._running = self
        try:
            async with AsyncExitStack() as stack:
                self.executor_id = f"{socket.gethostname()}-{os.getpid()}-{edges().random(6).hex()}"
                self._loop, self._context, self._ending = asyncio.get_running_loop(), contextvars.copy_context(), False
                self._locks = locks = locks_of(self._settings)
                stack.push_async_callback(_in_a_thread, locks.close)
                await _in_a_thread(lambda: locks.keep(self.executor_id))
                stack.push_async_callback(self._end)
                await _in_a_thread(self._launch)
                async with beside(self._keep):
                    yield
        finally:
            self._loop = None
            with JobEngine._guard:
                JobEngine._running = None

    def _launch(self) -> None:
        """Blocks, in a thread without a loop: the library then leaves ours alone."""
        from dbos import DBOS, DBOSConfig, DBOSPortableJSONSerializer

        _refuse_pickles()
        logger = logging.getLogger("dbos")
        if not any(isinstance(each, logging.NullHandler) for each in logger.handlers):
            logger.handlers[:] = [logging.NullHandler()]  # else it writes to the console itself
        logger.propagate = True
        _workflow()
        config: DBOSConfig = {
            "name": "ibkit",
            "system_database_url": _address_of(self._settings),
            "dbos_system_schema": _SCHEMA,
            "application_version": _VERSION,
            "executor_id": self.executor_id,
            "log_level": "WARNING",
            "enable_otlp": False,
            "serializer": DBOSPortableJSONSerializer(),
            "use_listen_notify": False,
            "sys_db_pool_size": 5,
            "max_executor_threads": _MOST_THREADS,
        }
        with _failures():
            DBOS(config=config)
            DBOS.listen_queues(list(self._jobs))
            DBOS.launch()
            for name, job in self._jobs.items():
                DBOS.register_queue(
                    name,
                    worker_concurrency=job.at_once,
                    partition_concurrency=1,
                    polling_interval_sec=_POLL_S,
                    on_conflict="always_update",
                )

    async def _end(self) -> None:
        self._ending = True
        with anyio.CancelScope(shield=True):
            for task in self._tasks:
                task.cancel()
            if self._tasks:
                await asyncio.wait(self._tasks)
            await _in_a_thread(_destroy)

    async def _keep(self) -> None:
        """What the library leaves to us: jobs of the dead, what is due by the clock, and what ended long ago."""
        cleaned_at = self._machine.monotonic()
        while True:
            try:
                await self.take_over()
                await self._put_what_is_due()
                if self._machine.monotonic() - cleaned_at > _CLEAN_EVERY_S:
                    cleaned_at = self._machine.monotonic()
                    await _in_a_thread(_clean)
            except StorageError as error:
                log.warning("jobs could not be looked after", extra={"code": error.code})
            await self._machine.sleep(_LOOK_EVERY_S)

    async def _put_what_is_due(self) -> None:
        now = self._clock.now()
        for name, each in self._periodic.items():
            slot = slot_of(now, each.every, each.offset).isoformat()
            await self.put(name, slot, key=slot, partition=name)

    async def take_over(self) -> int:
        """Put back in their queues the jobs of processes whose lock is free: how many. StorageError."""
        return await _in_a_thread(self._take_over)

    def _take_over(self) -> int:
        from dbos import DBOS

        locks = self._locks
        assert locks is not None, "the engine runs"
        locks.check()
        found = 0
        with _failures():
            pending = DBOS.list_workflows(
                status="PENDING", app_version=_VERSION, queue_name=list(self._jobs), load_input=False, load_output=False
            )
            for dead in {each.executor_id for each in pending} - {self.executor_id, None}:
                with locks.of_dead(str(dead)) as free:
                    if not free:
                        continue
                    # Asked again under the lock: another survivor may have taken them over meanwhile.
                    left = DBOS.list_workflows(
                        status="PENDING",
                        executor_id=str(dead),
                        queue_name=list(self._jobs),
                        load_input=False,
                        load_output=False,
                    )
                    for each in left:
                        DBOS.resume_workflows([each.workflow_id], queue_name=each.queue_name)
                    found += len(left)
        if found:
            log.warning("jobs of a process that ended are carried out again", extra={"count": found})
        return found

    # -- jobs ---------------------------------------------------------------------------------------------------------

    async def put(self, name: str, argument: str, *, key: str, partition: str) -> None:
        """Into the queue of that name. key: equal ones are one job. partition: whose it is. StorageError."""
        assert self._loop is not None, "the engine runs"
        await _in_a_thread(lambda: _put(name, argument, f"{name}/{key}", partition))

    def carry_out(self, name: str, argument: str) -> str:
        """In a thread of the library: the job's code, "" where it worked. The work itself runs on our loop."""
        loop, done = self._loop, Future[str]()
        if loop is None or self._ending:
            raise _Left

        def ended(task: asyncio.Task[str]) -> None:
            self._tasks.discard(task)
            if task.cancelled():
                done.set_exception(_Left())
            else:
                done.set_result(task.result())

        def begin() -> None:
            if self._ending:
                done.set_exception(_Left())
                return
            task = asyncio.get_running_loop().create_task(self._carried_out(name, argument))
            self._tasks.add(task)
            task.add_done_callback(ended)

        loop.call_soon_threadsafe(begin, context=self._context)
        return done.result()

    async def _carried_out(self, name: str, argument: str) -> str:
        try:
            await self._jobs[name].work(argument)
        except IbkitError as error:
            log.info("a job failed", extra={"job": name, "code": error.code})
            return error.code
        except Exception:
            log.exception("a job failed", extra={"job": name})
            return "E-INTERNAL"
        return ""


def _refuse_pickles() -> None:
    """A row says itself how it is to be read: whoever can write the database could have us run what they like."""
    from dbos._serialization import DefaultSerializer

    def refuse(_: object, _text: str) -> Any:
        raise StorageError("A job in the database is a pickle, which is not read", code="E-DB")

    DefaultSerializer.deserialize = refuse  # type: ignore[assignment]


_registered: Any = None


def _workflow() -> Any:
    """The one function that the library knows; registered once, it outlives an engine."""
    global _registered
    if _registered is None:
        from dbos import DBOS

        @DBOS.workflow(name="ibkit_job")
        def ibkit_job(name: str, argument: str) -> str:
            engine = JobEngine._running
            if engine is None:
                raise _Left
            return engine.carry_out(name, argument)

        _registered = ibkit_job
    return _registered


def _put(name: str, argument: str, job_id: str, partition: str) -> None:
    from dbos import DBOS, SetEnqueueOptions, SetWorkflowID

    with _failures(), SetWorkflowID(job_id), SetEnqueueOptions(queue_partition_key=partition or "-"):
        DBOS.enqueue_workflow(name, _workflow(), name, argument)


def _clean() -> None:
    from dbos import DBOS

    before, more = (datetime.now(UTC) - _KEPT_FOR).isoformat(), True
    with _failures():
        while more:
            ended = DBOS.list_workflows(
                status=["SUCCESS", "ERROR", "CANCELLED"],
                completed_before=before,
                limit=_CLEAN_AT_ONCE,
                load_input=False,
                load_output=False,
            )
            if ended:
                DBOS.delete_workflows([each.workflow_id for each in ended])
            more = len(ended) == _CLEAN_AT_ONCE


def _destroy() -> None:
    from dbos import DBOS

    DBOS.destroy()


@contextlib.contextmanager
def _failures() -> Iterator[None]:
    """What the library fails by is StorageError; without its own text, which may hold the database's address."""
    try:
        yield
    except IbkitError:
        raise
    except Exception as error:  # noqa: BLE001  - the library's own kinds of errors change from release to release
        raise job_failure(error) from None


async def _in_a_thread(work: Callable[[], T]) -> T:
    """To its end, whoever is cancelled meanwhile: half of it would be worse."""
    return await anyio.to_thread.run_sync(work)


# -- where jobs are kept -----------------------------------------------------------------------------------------------


def _address_of(settings: Settings) -> str:
    """StorageError."""
    url = settings.database_url.reveal()
    if sqlite_path(url) is None and not url.startswith("sqlite"):
        return to_engine(url).url.render_as_string(hide_password=False)
    file = jobs_folder(settings) / "jobs.sqlite"
    try:
        file.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        file.touch(mode=0o600)
        connection = sqlite3.connect(file, timeout=30)
        try:
            # The library leaves the file at its rollback journal, where a job takes 10 to 90 ms instead of 2.
            connection.execute("PRAGMA journal_mode=WAL")
        finally:
            connection.close()
    except (OSError, sqlite3.Error) as error:
        raise job_failure(error) from None
    return f"sqlite:///{file}"
