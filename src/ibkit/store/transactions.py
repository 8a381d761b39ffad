"""Transactions on a connection that stays open.

A small transaction costs SQLAlchemy's pool and its begin and commit three times what it costs SQLite; an order makes
twenty. The driver's own are used instead. What SQLAlchemy executes inside of one joins it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from typing import Any

from sqlalchemy import Connection, Engine
from sqlalchemy.pool import QueuePool

from ibkit.store.failures import DATABASE_ERRORS

__all__ = ["READ", "WRITE", "Begin", "Held", "driver_of", "is_held"]

READ = "BEGIN"
WRITE = "BEGIN IMMEDIATE"
"""The write lock at once: a read that becomes a write later could find its snapshot outdated."""

Begin = Callable[[], AbstractContextManager[Connection]]
"""Begins a transaction: commits at the end of its block, rolls back where that raises."""


def driver_of(connection: Connection) -> Any:
    """The SQLite connection under SQLAlchemy's, in the same transaction.

    Statements of the order path go there as they are: SQLAlchemy's part of one costs more than SQLite's.
    """
    return connection.connection.driver_connection


def is_held(engine: Engine) -> bool:
    """Whether connections of it may be kept: those of a SQLite file. One to a server may have gone away meanwhile."""
    return engine.dialect.name == "sqlite" and isinstance(engine.pool, QueuePool)


class Held:
    """One connection of a SQLite file, opened when it is first needed. For one thread at a time."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._connection: Connection | None = None

    def reading(self) -> AbstractContextManager[Connection]:
        """One snapshot of what is committed."""
        return self._transaction(READ)

    def writing(self) -> AbstractContextManager[Connection]:
        return self._transaction(WRITE)

    @contextmanager
    def _transaction(self, begin: str) -> Iterator[Connection]:
        connection = self._connection
        if connection is None:
            connection = self._connection = self._engine.connect()
        driver = driver_of(connection)
        try:
            driver.execute(begin)
            yield connection
            if connection.in_transaction():  # SQLAlchemy has executed something: it has to know of the end
                connection.commit()
            else:
                driver.commit()
        except BaseException:
            self._roll_back(connection, driver)
            raise

    def _roll_back(self, connection: Connection, driver: Any) -> None:
        try:
            connection.rollback()  # nothing where SQLAlchemy has executed nothing
            driver.rollback()
        except DATABASE_ERRORS:  # the next transaction gets a new connection
            self._connection = None
            with suppress(*DATABASE_ERRORS):
                connection.invalidate()
                connection.close()

    def close(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.close()
