"""Which processes with an engine of jobs live: a lock for each, which ends with it. ADR 0020."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

from sqlalchemy import Connection, Engine, text
from sqlalchemy.exc import SQLAlchemyError

from ibkit.errors import InFlight, StorageError
from ibkit.settings import Settings
from ibkit.store.database import to_engine
from ibkit.store.locks import held

__all__ = ["Locks", "job_failure", "jobs_folder", "locks_of"]


def jobs_folder(settings: Settings) -> Path:
    return settings.state_dir / "jobs"


def job_failure(error: Exception) -> StorageError:
    return StorageError(
        f"Database problem: jobs: {type(error).__name__}",
        remedy="Check the database of DATABASE_URL, and that the folder `jobs` of the state directory is writable.",
    )


class Locks:
    """A lock for each process, which the operating system drops with it: by files beside the database."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._stack = contextlib.ExitStack()
        self._own = ""

    def keep(self, executor_id: str) -> None:
        self._stack.enter_context(self._held(executor_id))
        self._own = executor_id

    def check(self) -> None:
        """That our own is still held."""

    @contextlib.contextmanager
    def of_dead(self, executor_id: str) -> Iterator[bool]:
        """Whether it was free: then it is held meanwhile."""
        try:
            lock = self._held(executor_id)
            lock.__enter__()
        except InFlight:
            yield False
            return
        try:
            yield True
            self._place(executor_id).unlink(missing_ok=True)  # its id is never used again
        finally:
            lock.__exit__(None, None, None)

    def close(self) -> None:
        if self._own:
            self._place(self._own).unlink(missing_ok=True)
        self._stack.close()

    def _place(self, executor_id: str) -> Path:
        return self._folder / f"{executor_id}.lock"

    def _held(self, executor_id: str) -> contextlib.AbstractContextManager[None]:
        return held(self._place(executor_id), what=f"process {executor_id}", remedy="")


class _ServerLocks(Locks):
    """By PostgreSQL, over machines: of a session, which ends with its process."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._connection: Connection | None = None
        self._own = ""

    def keep(self, executor_id: str) -> None:
        self._own = executor_id
        try:
            self._connection = self._engine.connect().execution_options(isolation_level="AUTOCOMMIT")
            if not self._locked(self._connection, executor_id):
                raise InFlight(f"process {executor_id} is there already")
        except SQLAlchemyError as error:
            raise job_failure(error) from None

    def check(self) -> None:
        """A session that was lost is opened anew; who took us for dead meanwhile meets the fences of the claims."""
        assert self._connection is not None
        try:
            self._connection.execute(text("SELECT 1"))
        except SQLAlchemyError:
            with contextlib.suppress(SQLAlchemyError):
                self._connection.close()
            self.keep(self._own)

    @contextlib.contextmanager
    def of_dead(self, executor_id: str) -> Iterator[bool]:
        try:
            with self._engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
                free = self._locked(connection, executor_id)
                try:
                    yield free
                finally:
                    if free:
                        query = text("SELECT pg_advisory_unlock(hashtextextended(:name, 0))")
                        connection.execute(query, {"name": f"ibkit jobs {executor_id}"})
        except SQLAlchemyError as error:
            raise job_failure(error) from None

    def close(self) -> None:
        if self._connection is not None:
            with contextlib.suppress(SQLAlchemyError):
                self._connection.close()
        self._engine.dispose()

    def _locked(self, connection: Connection, executor_id: str) -> bool:
        query = text("SELECT pg_try_advisory_lock(hashtextextended(:name, 0))")
        return bool(connection.execute(query, {"name": f"ibkit jobs {executor_id}"}).scalar())


def locks_of(settings: Settings) -> Locks:
    url = settings.database_url.reveal()
    if url.startswith("sqlite"):
        return Locks(jobs_folder(settings))
    return _ServerLocks(to_engine(url))
