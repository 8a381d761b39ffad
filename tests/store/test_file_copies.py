"""Files put in the place of others: nobody may have them open, and who comes meanwhile writes nowhere."""

from __future__ import annotations

import sqlite3
import threading
from contextlib import closing
from pathlib import Path

import pytest

from ibkit.errors import InFlight, StorageError
from ibkit.store import file_copies
from ibkit.store.database import sqlite_file
from ibkit.store.failures import failures_of

pytestmark = pytest.mark.requirement("OPS-03")


@pytest.fixture
def database(tmp_path: Path) -> Path:
    path = tmp_path / "a.db"
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("CREATE TABLE t (n INTEGER)")
        connection.execute("INSERT INTO t VALUES (1)")
    return path


def test_a_copy_is_one_file_and_closed_to_others(database: Path, tmp_path: Path) -> None:
    target = tmp_path / "copy.db"
    file_copies.copy(database, target)
    assert target.stat().st_mode & 0o777 == 0o600
    assert file_copies.damage(target) is None
    assert [path.name for path in tmp_path.glob("copy*")] == ["copy.db"]
    with pytest.raises(FileExistsError):
        file_copies.copy(database, target)


def test_one_that_is_open_elsewhere_is_not_free(database: Path, tmp_path: Path) -> None:
    with closing(sqlite3.connect(database)) as other:
        other.execute("SELECT * FROM t").fetchall()
        with pytest.raises(InFlight, match="in use"), file_copies.nobody_else(tmp_path, database):
            raise AssertionError("it was called free")
    with file_copies.nobody_else(tmp_path, database, tmp_path / "none.db"):
        pass


def test_who_opens_it_while_it_is_replaced_does_not_go_on_in_the_old_one(database: Path, tmp_path: Path) -> None:
    """A process that waits for the lock holds the old file, whatever it is then called: it must not write to it."""
    outcome: list[object] = []
    waiting = threading.Event()

    def comes_meanwhile() -> None:
        engine = sqlite_file(database)
        waiting.set()
        try:
            with failures_of("a.db"), engine.begin() as connection:
                connection.exec_driver_sql("INSERT INTO t VALUES (2)")
            outcome.append("written")
        except StorageError as error:
            outcome.append(error)
        finally:
            engine.dispose()

    fresh = tmp_path / "fresh.db"
    file_copies.copy(database, fresh)
    with file_copies.nobody_else(tmp_path, database):
        thread = threading.Thread(target=comes_meanwhile)
        thread.start()
        assert waiting.wait(5)
        thread.join(0.5)  # long enough to be at the lock; it waits there for up to five seconds
        database.rename(tmp_path / "aside.db")
        fresh.rename(database)
    thread.join(10)
    with closing(sqlite3.connect(tmp_path / "aside.db")) as old, closing(sqlite3.connect(database)) as new:
        assert old.execute("SELECT n FROM t").fetchall() == [(1,)]
        in_new = new.execute("SELECT count(*) FROM t WHERE n = 2").fetchone()[0]
    assert (outcome == ["written"]) == bool(in_new), "said to be written only where it is"


def test_damage_and_rows_without_their_owner_are_found(database: Path) -> None:
    with closing(sqlite3.connect(database, isolation_level=None)) as connection:
        connection.execute("CREATE TABLE u (id INTEGER PRIMARY KEY)")
        connection.execute("CREATE TABLE v (u INTEGER REFERENCES u (id))")
        connection.execute("INSERT INTO v VALUES (7)")
    assert "not there" in str(file_copies.damage(database))
    database.write_bytes(b"this is no database at all, whatever its name says")
    assert file_copies.damage(database) is not None
