"""The journal's file as it is opened: made or upgraded, looked over for damage, compared with the mark beside it."""

from __future__ import annotations

from pathlib import Path

from sqlalchemy import Engine

from ibkit.errors import StorageError
from ibkit.store.database import sqlite_file
from ibkit.store.failures import failures_of
from ibkit.store.mark import Mark, MarkFile
from ibkit.store.migrating import follow, migrate
from ibkit.store.migrations import JOURNAL
from ibkit.store.transactions import driver_of

__all__ = ["name_of", "open_file", "upgrade_file"]

COMPONENT = "journal"


def name_of(path: Path) -> str:
    return f"order journal {path}"


def open_file(path: Path, mark_file: MarkFile) -> tuple[Engine, Mark, bool]:
    """The engine, where the journal stands, and whether it is a restored copy."""
    engine = sqlite_file(path)
    try:
        with failures_of(name_of(path)):
            told = mark_file.read()  # before the database: another process may move on in between
            mark, restored = _stand(engine, path)
            if not restored and not mark.fits(told):
                # Once more: the mark may have been missing only because another process was making both.
                told = mark_file.read()
                mark, restored = _stand(engine, path)
            if not restored and not mark.fits(told):
                restored = True
                with engine.begin() as connection:
                    connection.exec_driver_sql("UPDATE lineage SET restored = 1")
        if told is None and not restored:
            mark_file.rise(mark, sync=True)
    except StorageError:
        engine.dispose()
        raise
    return engine, mark, restored


def upgrade_file(path: Path) -> tuple[int, int]:
    """Bring the journal `path`, which nobody has open, to the newest version: (before, after). StorageError."""
    engine = sqlite_file(path)
    try:
        with failures_of(name_of(path)), engine.begin() as connection:
            return migrate(connection, COMPONENT, JOURNAL)
    finally:
        engine.dispose()


def _stand(engine: Engine, path: Path) -> tuple[Mark, bool]:
    with engine.begin() as connection:
        driver = driver_of(connection)
        (damage,) = driver.execute("PRAGMA quick_check(1)").fetchone()
        if damage != "ok":
            raise StorageError(
                f"Database problem: {name_of(path)}: damaged ({damage})",
                remedy="Do not delete it: move it aside, check `ibkit orders list` at IBKR, then start anew.",
            )
        follow(connection, COMPONENT, JOURNAL)
        stand = "SELECT journal_id, changes, restored FROM lineage WHERE id = 1"
        journal_id, changes, restored = driver.execute(stand).fetchone()
        return Mark(journal_id, changes), bool(restored)
