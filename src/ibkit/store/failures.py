"""What the database's own errors mean to us: one StorageError, with what to do about it."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager

from sqlalchemy.exc import DBAPIError, NoSuchModuleError, SQLAlchemyError

from ibkit.errors import StorageError

__all__ = ["DATABASE_ERRORS", "failures_of", "storage_error"]

DATABASE_ERRORS = (SQLAlchemyError, sqlite3.Error)
"""The second comes from statements that go to the driver as they are."""

# SQLite's primary result codes. Source: https://www.sqlite.org/rescode.html
_BUSY, _LOCKED, _READONLY, _IOERR, _CORRUPT, _FULL, _CANTOPEN, _NOTADB = 5, 6, 8, 10, 11, 13, 14, 26

_PG_DISK_FULL = "53100"
"""Source: https://www.postgresql.org/docs/current/errcodes-appendix.html"""

_WAIT = "Wait for the other ibkit process, or end it, then repeat with the same key."
_KEEP = "Do not delete it: move it aside, check `ibkit orders list` at IBKR, then start anew."
_SQLITE = {
    _BUSY: ("locked by another program", _WAIT),
    _LOCKED: ("locked by another program", _WAIT),
    _READONLY: ("not writable", "Give this user write permission on the file and its folder."),
    _IOERR: ("the disk failed", "Check the disk; orders stay off until ibkit is started again."),
    _CORRUPT: ("damaged", _KEEP),
    _NOTADB: ("not a database", _KEEP),
    _FULL: ("the disk is full", "Free space on the disk, then repeat with the same key."),
    _CANTOPEN: ("cannot be opened", "Check that its folder exists and is writable by this user."),
}


def storage_error(error: SQLAlchemyError | sqlite3.Error, name: str) -> StorageError:
    """`error` in our words; `name` says which database. `details["failed"]` is the kind, for those who must stop;
    `details["full"]` stands where the disk has no room.
    """
    original: BaseException | None = error if isinstance(error, sqlite3.Error) else None
    if isinstance(error, DBAPIError):
        original = error.orig
    code = getattr(original, "sqlite_errorcode", None)
    known = _SQLITE.get(code & 0xFF) if isinstance(code, int) else None
    if known is not None:
        what, remedy = known
        failed = "io" if isinstance(code, int) and code & 0xFF in (_IOERR, _CORRUPT, _NOTADB) else "state"
        details: dict[str, object] = {"failed": failed}
        if known is _SQLITE[_FULL]:
            details["full"] = True
        return StorageError(f"Database problem: {name}: {what}", remedy=remedy, details=details)
    if getattr(original, "sqlstate", None) == _PG_DISK_FULL:
        what, remedy = _SQLITE[_FULL]
        return StorageError(f"Database problem: {name}: {what}", remedy=remedy, details={"full": True})
    if isinstance(error, NoSuchModuleError):
        return StorageError(
            f"Database problem: {name}: {error}", remedy="Use sqlite:/// or postgresql:// as DATABASE_URL."
        )
    # The first line names the cause; what follows may show the statement and, with it, a password in an address.
    reason = str(original if original is not None else type(error).__name__).splitlines()[:1]
    return StorageError(f"Database problem: {name}: {reason[0] if reason else type(error).__name__}")


@contextmanager
def failures_of(name: str) -> Iterator[None]:
    try:
        yield
    except DATABASE_ERRORS as error:
        raise storage_error(error, name) from error
