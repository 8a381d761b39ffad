"""A disk that fails when it is told to: a layer between SQLAlchemy and sqlite3."""

from __future__ import annotations

import sqlite3
import sqlite3.dbapi2
from collections.abc import Callable

BUSY, IOERR_WRITE, IOERR_FSYNC, FULL = 5, 10 | (3 << 8), 10 | (4 << 8), 13
NAMES = {BUSY: "database is locked", FULL: "database or disk is full"}


class Disk:
    """Every statement that reaches SQLite passes here, a COMMIT too. fault: the code to fail it with, or None."""

    def __init__(self, monkeypatch) -> None:
        self.statements: list[str] = []
        self.fault: Callable[[str], int | None] = lambda statement: None
        connect = sqlite3.dbapi2.connect
        connection_kind = _connections_of(self)
        monkeypatch.setattr(
            sqlite3.dbapi2, "connect", lambda *args, **more: connect(*args, factory=connection_kind, **more)
        )

    def fail_at(self, number: int, code: int) -> None:
        """The statement of this number from here on (0 is the next), once."""
        last = len(self.statements) + number
        self.fault = lambda statement: code if len(self.statements) - 1 == last else None

    def heal(self) -> None:
        self.fault = lambda statement: None

    def pass_through(self, connection: sqlite3.Connection, statement: str) -> None:
        self.statements.append(statement)
        code = self.fault(statement)
        if code is None:
            return
        if code in (FULL, IOERR_WRITE) and connection.in_transaction:  # SQLite itself gives the whole of it up
            sqlite3.Connection.rollback(connection)
        error = sqlite3.OperationalError(NAMES.get(code, "disk I/O error"))
        error.sqlite_errorcode = code
        raise error


def _connections_of(disk: Disk) -> type[sqlite3.Connection]:
    class Cursor(sqlite3.Cursor):
        def execute(self, statement, *args):
            disk.pass_through(self.connection, statement)
            return super().execute(statement, *args)

        def executemany(self, statement, *args):
            disk.pass_through(self.connection, statement)
            return super().executemany(statement, *args)

    class Connection(sqlite3.Connection):
        def cursor(self, factory=Cursor):
            return super().cursor(factory)

        def execute(self, statement, *args):
            return self.cursor().execute(statement, *args)

        def commit(self):
            disk.pass_through(self, "COMMIT")
            super().commit()

    return Connection
