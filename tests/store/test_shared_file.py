"""One database file, opened several times in a process while others come and go."""

from __future__ import annotations

import stat
import sys
from pathlib import Path

import anyio
import pytest
from sqlalchemy import text

from ibkit.errors import StorageError
from ibkit.store.database import Database, sqlite_file

pytestmark = pytest.mark.anyio

VISIT = "import sqlite3, sys; c = sqlite3.connect(sys.argv[1]); c.execute('SELECT * FROM words').fetchall(); c.close()"


async def test_a_second_opening_takes_no_lock_from_the_first(tmp_path: Path) -> None:
    """Closing a handle of its own would (POSIX): the process that ends next would delete the log under our hands."""
    path = tmp_path / "words.sqlite"
    first = Database(sqlite_file(path), name="words")
    await first.write(lambda c: c.execute(text("CREATE TABLE words (word TEXT)")))
    second = Database(sqlite_file(path), name="words")

    await anyio.run_process([sys.executable, "-c", VISIT, str(path)])

    assert path.with_name("words.sqlite-shm").exists()
    for database in (first, second):
        await database.write(lambda c: c.execute(text("INSERT INTO words VALUES ('kept')")))
    assert await second.read(lambda c: c.execute(text("SELECT count(*) FROM words")).scalar_one()) == 2
    await first.close()
    await second.close()


async def test_a_file_that_others_may_read_is_made_private_and_one_that_cannot_be_written_is_told(
    tmp_path: Path,
) -> None:
    path = tmp_path / "words.sqlite"
    path.touch(mode=0o644)
    path.chmod(0o644)
    database = Database(sqlite_file(path), name="words")
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    await database.close()
    with pytest.raises(StorageError, match="Database problem"):
        sqlite_file(tmp_path / "words.sqlite" / "inside")
