"""The database of DATABASE_URL: everything that lasts besides the order journal. Each part has steps of its own.

SQLite by default, PostgreSQL where it is set. One process opens it once: SQLite has one writer.
"""

from __future__ import annotations

from collections.abc import Collection

from ibkit.errors import StorageError, discreet
from ibkit.model import Secret
from ibkit.store.database import Database, to_engine
from ibkit.store.failures import failures_of
from ibkit.store.migrating import migrate, version_of
from ibkit.store.migrations import RECORDS

__all__ = ["open_records", "upgrade_records"]

_NAME = "database"


@discreet
def open_records(url: Secret[str], *, parts: Collection[str] = tuple(RECORDS), name: str = _NAME) -> Database:
    """The database with the tables of `parts`, which are made where there are none. Blocks. StorageError."""
    engine = to_engine(url.reveal())
    try:
        with failures_of(name), engine.begin() as connection:
            for part in parts:
                present, newest = version_of(connection, part), RECORDS[part][-1].version
                # A local file follows the program; a server that others may share is upgraded on purpose.
                if present not in (0, newest) and present < newest and engine.dialect.name != "sqlite":
                    raise StorageError(
                        f"Database problem: its {part} have version {present}, this ibkit needs {newest}",
                        remedy="Run `ibkit db upgrade`.",
                    )
                migrate(connection, part, RECORDS[part])
    except StorageError:
        engine.dispose()
        raise
    return Database(engine, name=name)


@discreet
def upgrade_records(url: str) -> dict[str, tuple[int, int]]:
    """Bring every part to its newest version: (before, after) of each. What `ibkit db upgrade` does."""
    engine = to_engine(url)
    try:
        with failures_of(_NAME), engine.begin() as connection:
            return {part: migrate(connection, part, steps) for part, steps in RECORDS.items()}
    finally:
        engine.dispose()
