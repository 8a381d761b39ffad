"""Copies of SQLite files, made while others write, and files put in the place of others that nobody has open."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path

from ibkit.errors import InFlight
from ibkit.store.failures import storage_error
from ibkit.store.locks import take
from ibkit.store.mark import Mark
from ibkit.store.users import end_sign_ins as end_in

__all__ = ["call_restored", "copy", "damage", "end_sign_ins", "nobody_else", "stand_of", "version_in"]

_PRIVATE = 0o600
_BUSY_S = 2.0


def copy(source: Path, target: Path) -> None:
    """One moment of the database `source` as the file `target`; writers are not held up. StorageError."""
    os.close(os.open(target, os.O_CREAT | os.O_EXCL | os.O_WRONLY, _PRIVATE))
    with _told(source), closing(_open(source)) as reading, closing(_open(target)) as writing:
        reading.backup(writing)
        # In WAL mode a copy would be three files as soon as somebody looks into it.
        writing.execute("PRAGMA journal_mode = DELETE")


def damage(path: Path) -> str | None:
    """What is wrong with a database file that nobody uses; None where it is whole."""
    try:
        with closing(_open(path)) as connection:
            (said,) = connection.execute("PRAGMA integrity_check(1)").fetchone()
            if said != "ok":
                return str(said).splitlines()[0]
            stray = connection.execute("PRAGMA foreign_key_check").fetchone()
            return None if stray is None else f"a row of {stray[0]} refers to one that is not there"
    except sqlite3.Error as error:
        return str(error)


def version_in(path: Path) -> dict[str, int]:
    """The version of each part that a database file has (`migrating.py`)."""
    with _told(path), closing(_open(path)) as connection:
        if connection.execute("SELECT 1 FROM sqlite_master WHERE name = 'schema_versions'").fetchone() is None:
            return {}
        rows = connection.execute("SELECT component, max(version) FROM schema_versions GROUP BY component")
        return dict(rows.fetchall())


def stand_of(path: Path) -> Mark | None:
    """Which journal a file is and how far it had come; None for one of a version that did not count."""
    with _told(path), closing(_open(path)) as connection:
        if connection.execute("SELECT 1 FROM sqlite_master WHERE name = 'lineage'").fetchone() is None:
            return None
        return Mark(*connection.execute("SELECT journal_id, changes FROM lineage WHERE id = 1").fetchone())


def call_restored(path: Path) -> None:
    """Whatever the mark beside it says: this journal was put back, and sends nothing before a person has looked."""
    with _told(path), closing(_open(path)) as connection:
        if connection.execute("SELECT 1 FROM sqlite_master WHERE name = 'lineage'").fetchone() is not None:
            connection.execute("UPDATE lineage SET restored = 1 WHERE id = 1")


def end_sign_ins(path: Path, *, jump: int) -> int:
    """`store.users.end_sign_ins` in a file that nobody uses: how many users there are."""
    with _told(path), closing(_open(path)) as connection:
        if connection.execute("SELECT 1 FROM sqlite_master WHERE name = 'users'").fetchone() is None:
            return 0
        return end_in(lambda statement: connection.execute(statement).rowcount, jump=jump)


@contextmanager
def nobody_else(folder: Path, *databases: Path) -> Iterator[None]:
    """While this is open no ibkit works in `folder`, and none has one of the databases open. InFlight, StorageError.

    Each lock of a worker, a conversation or a job is taken, and each database is locked whole.
    """
    with ExitStack() as stack:
        for place in sorted(folder.rglob("*.lock")):
            handle = os.open(place, os.O_RDWR | getattr(os, "O_CLOEXEC", 0))
            stack.callback(os.close, handle)
            if not take(handle):
                raise _in_use(place)
        for path in databases:
            if path.exists():
                stack.enter_context(_alone(path))
        yield


@contextmanager
def _alone(path: Path) -> Iterator[None]:
    connection = _open(path, wait_s=0.2)
    try:
        with _told(path):
            try:
                # Out of WAL only where nobody else has it open; then it is one file, and can be moved.
                (mode,) = connection.execute("PRAGMA journal_mode = DELETE").fetchone()
                connection.execute("PRAGMA locking_mode = EXCLUSIVE")
                connection.execute("BEGIN EXCLUSIVE")
            except sqlite3.OperationalError as error:
                if error.sqlite_errorcode & 0xFF in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED):
                    raise _in_use(path) from None
                raise
        if mode != "delete":
            raise _in_use(path)
        if os.name == "nt":
            connection.close()  # there an open file cannot be moved
        yield
    finally:
        connection.close()


def _open(path: Path, *, wait_s: float = _BUSY_S) -> sqlite3.Connection:
    # mode=rw: a file that is not there is an error, not an empty database.
    return sqlite3.connect(f"{path.resolve().as_uri()}?mode=rw", uri=True, timeout=wait_s, isolation_level=None)


@contextmanager
def _told(path: Path) -> Iterator[None]:
    try:
        yield
    except sqlite3.Error as error:
        raise storage_error(error, str(path)) from error


def _in_use(place: Path) -> InFlight:
    return InFlight(
        f"The state is in use by another ibkit process ({place})",
        remedy="Stop the service and the worker (`ibkit worker stop`), let commands end, then repeat.",
    )
