"""The database of DATABASE_URL: everything that lasts besides the order journal. Each part has steps of its own.

SQLite by default, PostgreSQL where it is set. One process opens it once: SQLite has one writer.
"""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path

from sqlalchemy import Engine

from ibkit.errors import discreet
from ibkit.model import Secret
from ibkit.store.database import Database, give_back, shared_engine, sqlite_file, to_engine
from ibkit.store.failures import failures_of
from ibkit.store.migrating import follow, migrate
from ibkit.store.migrations import RECORDS
from ibkit.store.table_lines import refuse_others

__all__ = ["open_records", "upgrade_records", "upgrade_records_file"]

_NAME = "database"


@discreet
def open_records(url: Secret[str], *, parts: Collection[str] = tuple(RECORDS), name: str = _NAME) -> Database:
    """The database with the tables of `parts`, which are made where there are none. Blocks. StorageError."""
    engine = shared_engine(url.reveal())
    try:
        with failures_of(name), engine.begin() as connection:
            for part in parts:
                follow(connection, part, RECORDS[part])
    except BaseException:
        give_back(engine)
        raise
    return Database(engine, name=name)


@discreet
def upgrade_records(url: str, *, alone: bool = False) -> dict[str, tuple[int, int]]:
    """Bring every part to its newest version: (before, after) of each. What `ibkit db upgrade` does.

    alone: InFlight while another ibkit is connected to the server. StorageError.
    """
    return _upgraded(to_engine(url), alone=alone)


def upgrade_records_file(path: Path) -> None:
    """The same of a SQLite file that nobody has open. StorageError."""
    _upgraded(sqlite_file(path))


def _upgraded(engine: Engine, *, alone: bool = False) -> dict[str, tuple[int, int]]:
    try:
        with failures_of(_NAME), engine.begin() as connection:
            if alone and engine.dialect.name != "sqlite":
                refuse_others(connection)
            return {part: migrate(connection, part, steps) for part, steps in RECORDS.items()}
    finally:
        engine.dispose()
