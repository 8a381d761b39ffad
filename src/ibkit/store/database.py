"""One database: its engine, its one writer, and its readers.

SQLAlchemy is used synchronously, in threads: one that writes, with group commit (`group_commit.py`), and a few that
read what is committed without waiting for it. An async shim would cost three to fifteen times the CPU
(docs/adr/0004-migrations.md).
"""

from __future__ import annotations

import errno
import os
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import urlsplit

import anyio
import anyio.lowlevel
import anyio.to_thread
from sqlalchemy import Connection, Engine, create_engine, event
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.pool import QueuePool, StaticPool

from ibkit.errors import ConfigError, StorageError, discreet
from ibkit.store.failures import failures_of
from ibkit.store.group_commit import Committer, Unit, WriterThread
from ibkit.store.transactions import READ, WRITE, Held, driver_of, is_held

__all__ = ["SCHEMA", "Database", "give_back", "shared_engine", "sqlite_file", "sqlite_path", "to_engine"]

SCHEMA = "trading"
"""Where our tables live on PostgreSQL; SQLite has no schemas."""
_BUSY_TIMEOUT_MS = 5_000
_READERS = 3
"""Reads at a time in threads, each on a connection of its own beside the writer's and that of the quick ones."""
_SERVER_CONNECTIONS = (4, 12)
"""Connections to one server that a process keeps, and has at most, however many users' logins are open in it."""
_POOL_WAIT_S = 10.0
"""Who gets none of them for so long has a StorageError: an order must not wait half a minute behind reports."""
_STATEMENTS = 256
"""How many prepared statements each SQLite connection keeps."""
_PRIVATE = 0o600
_READING = "ibkit_reading"
"""Execution option of a transaction that only reads and so must not take the write lock."""

T = TypeVar("T")


@discreet
def to_engine(url: str) -> Engine:
    """The engine of a DATABASE_URL: `sqlite:////abs/path` or `postgresql://…`. StorageError, ConfigError."""
    parsed = _parsed(url)
    if parsed.get_backend_name() == "sqlite":
        return _sqlite_engine(parsed)
    if parsed.get_backend_name() != "postgresql":
        raise ConfigError(
            f"Setting invalid: DATABASE_URL: {parsed.get_backend_name()} is not supported",
            remedy="Use sqlite:///… or postgresql://….",
        )
    kept, most = _SERVER_CONNECTIONS
    try:
        return create_engine(
            parsed.set(drivername="postgresql+psycopg"),
            pool_size=kept,
            max_overflow=most - kept,
            pool_timeout=_POOL_WAIT_S,
            pool_pre_ping=True,
            connect_args={"connect_timeout": 5, "application_name": "ibkit"},
        )
    except ModuleNotFoundError as error:
        raise StorageError(
            "Database problem: PostgreSQL needs the driver psycopg",
            remedy="Install it with `pip install 'ibkit[postgres]'`.",
        ) from error


class _Shared:
    """The engine of each server that is in use in this process, with how many users it has."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._of: dict[URL, tuple[Engine, int]] = {}

    def take(self, url: str) -> Engine:
        at = _parsed(url)
        with self._lock:
            engine, users = self._of.get(at) or (to_engine(url), 0)
            self._of[at] = (engine, users + 1)
        return engine

    def give_back(self, engine: Engine) -> None:
        with self._lock:
            for at, (kept, users) in self._of.items():
                if kept is engine:
                    if users > 1:
                        self._of[at] = (kept, users - 1)
                        return
                    del self._of[at]
                    break
        engine.dispose()


_SHARED = _Shared()


@discreet
def shared_engine(url: str) -> Engine:
    """As `to_engine`, for `Database`: those of one server share its connections, the last one closed ends them.

    A server has a hundred by default, and each user's login opens its records by itself. A SQLite file's are cheap, and
    each writer's own.
    """
    return to_engine(url) if _parsed(url).get_backend_name() == "sqlite" else _SHARED.take(url)


def give_back(engine: Engine) -> None:
    """What came from `shared_engine` is used no more by whoever calls; any other engine is closed."""
    _SHARED.give_back(engine)


@discreet
def sqlite_path(url: str) -> Path | None:
    """The file of a DATABASE_URL; None for a server, or a database in memory. ConfigError."""
    parsed = _parsed(url)
    is_file = parsed.get_backend_name() == "sqlite" and parsed.database not in (None, "", ":memory:")
    return Path(str(parsed.database)) if is_file else None


def sqlite_file(path: Path) -> Engine:
    """The engine of the SQLite file at `path`, which is made, readable by its owner alone, if it is not there."""
    return _sqlite_engine(URL.create("sqlite", database=str(path)))


def _parsed(url: str) -> URL:
    try:
        urlsplit(url)  # stricter than make_url about a host in brackets
        return make_url(url)
    except (SQLAlchemyError, ValueError):  # ValueError: a port or host that is none
        raise ConfigError(
            "Setting invalid: DATABASE_URL: not an address of a database",
            remedy="Use sqlite:///file or postgresql://user:password@host/name.",
        ) from None


def _sqlite_engine(url: URL) -> Engine:
    arguments = {"check_same_thread": False, "isolation_level": None, "cached_statements": _STATEMENTS}
    if url.database and url.database != ":memory:":
        _make_private(Path(url.database))
        pool = {"poolclass": QueuePool, "pool_size": 2 + _READERS, "max_overflow": 0, "pool_use_lifo": True}
    else:
        pool = {"poolclass": StaticPool}  # a database in memory is its connection
    engine = create_engine(url, connect_args=arguments, **pool)

    @event.listens_for(engine, "connect")
    def _set_up(connection: Any, _record: object) -> None:
        try:
            for setting in _settings():
                connection.execute(setting).close()
        except BaseException:
            connection.close()  # else it lives on, with its locks, for as long as anybody keeps the traceback
            raise

    @event.listens_for(engine, "begin")
    def _begin(connection: Connection) -> None:
        driver = driver_of(connection)
        if driver.in_transaction:  # of a connection that is held (transactions.py)
            return
        reading = connection.get_execution_options().get(_READING, False)
        driver.execute(READ if reading else WRITE)

    return engine


def _settings() -> tuple[str, ...]:
    return (
        f"PRAGMA busy_timeout = {_BUSY_TIMEOUT_MS}",
        "PRAGMA journal_mode = WAL",
        # FULL, not NORMAL: with NORMAL a power cut may take the last commits away, after the order has left.
        "PRAGMA synchronous = FULL",
        # macOS alone: there an ordinary fsync leaves the data in the drive's cache. Elsewhere it does nothing.
        "PRAGMA fullfsync = ON",
        "PRAGMA foreign_keys = ON",
    )


def _make_private(path: Path) -> None:
    try:
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        new = _created(path)
        if not new and path.stat().st_mode & 0o077:
            path.chmod(_PRIVATE)
        if not os.access(path, os.R_OK | os.W_OK):
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))
        if new:
            # What is on disk must also be found there after a power cut: the file's name, and that of its folder.
            _sync_folder(path.parent)
            _sync_folder(path.parent.parent)
    except OSError as error:
        raise StorageError(
            f"Database problem: {path}: {error.strerror or error}",
            remedy="Check that the folder exists, is writable by this user and has space left.",
        ) from error


def _created(path: Path) -> bool:
    """Whether it was not there yet.

    A file that is there is never opened besides SQLite: closing it would take away the locks that this process holds on
    it (POSIX), and another process that ends would take itself for the last one and delete the log under our hands.
    """
    try:
        os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_RDWR, _PRIVATE))
    except FileExistsError:
        return False
    return True


def _sync_folder(folder: Path) -> None:
    if not hasattr(os, "O_DIRECTORY"):  # Windows has no such handle, and writes names through by itself
        return
    try:
        handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    except PermissionError:
        return  # not ours to look into (a folder above the state directory): its name is older than we are
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


class Database:
    """An engine with its writer and its readers.

    run_inline: everything in the caller's own task instead of in threads, for runs that have to repeat step by step.
    """

    def __init__(self, engine: Engine, *, name: str, run_inline: bool = False) -> None:
        self._engine = engine
        self._name = name
        self._inline = run_inline
        self._one_connection = isinstance(engine.pool, StaticPool)
        self._for_writes = Held(engine) if is_held(engine) else None
        self._for_reads = self._for_writes if run_inline or self._for_writes is None else Held(engine)
        begin = engine.begin if self._for_writes is None else self._for_writes.writing
        self._committer = Committer(begin, name=name)
        self._writer = WriterThread(self._committer, name=f"writer of {name}")
        self._readers = anyio.CapacityLimiter(_READERS)
        self._loop_thread = 0
        self._closed = False

    async def write(self, work: Callable[[Connection], T]) -> T:
        """The result of `work`, in a transaction that is on disk when this returns.

        `work` may share the transaction with others, and may run a second time where nothing of the first was kept.
        """
        unit = Unit(work)
        if self._inline:
            await anyio.lowlevel.checkpoint()
            self._committer.commit([unit])
        else:
            await anyio.lowlevel.checkpoint_if_cancelled()
            with anyio.CancelScope(shield=True):  # it is being written: its caller has to learn what became of it
                await self._writer.run(unit)
        return unit.outcome()

    def post(self, work: Callable[[Connection], object]) -> None:
        """Have `work` done soon, after what was asked for before; nobody waits for it, or learns that it failed."""
        unit = Unit(work)
        if self._inline:
            self._committer.commit([unit])
        else:
            self._writer.post(unit)

    async def read(self, work: Callable[[Connection], T], *, quick: bool = False) -> T:
        """The result of `work` on what is committed, in one snapshot.

        quick: few rows by an index; of a file they are read at once, for a change of threads takes ten times as long.
        """
        if self._inline:
            await anyio.lowlevel.checkpoint()
            return self._reading(work) if self._for_reads is None else self._reading_at_once(self._for_reads, work)
        if self._one_connection:
            return await self.write(work)
        if quick and self._for_reads is not None and self._is_here():
            await anyio.lowlevel.checkpoint_if_cancelled()
            return self._reading_at_once(self._for_reads, work)
        return await anyio.to_thread.run_sync(self._reading, work, limiter=self._readers)

    async def close(self) -> None:
        if self._inline:
            self._dispose()
            return
        with anyio.CancelScope(shield=True):
            await anyio.to_thread.run_sync(self._writer.close)
            await anyio.to_thread.run_sync(self._dispose)

    def _dispose(self) -> None:
        if self._closed:
            return
        self._closed = True
        for held in (self._for_writes, self._for_reads):
            if held is not None:
                held.close()
        give_back(self._engine)

    def _is_here(self) -> bool:
        """Whether this is the thread whose loop reads quickly; another loop's thread does not share its connection."""
        here = threading.get_ident()
        if not self._loop_thread:
            self._loop_thread = here
        return here == self._loop_thread

    def _reading_at_once(self, held: Held, work: Callable[[Connection], T]) -> T:
        with failures_of(self._name), held.reading() as connection:
            return work(connection)

    def _reading(self, work: Callable[[Connection], T]) -> T:
        with (
            failures_of(self._name),
            self._engine.connect().execution_options(**{_READING: True}) as connection,
            connection.begin(),  # at once: statements that go to the driver as they are would not begin it
        ):
            return work(connection)
