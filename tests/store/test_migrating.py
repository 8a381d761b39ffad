"""Numbered steps: each component of a database knows its own version."""

from __future__ import annotations

import pytest

from ibkit.errors import StorageError
from ibkit.store.database import sqlite_file
from ibkit.store.migrating import Migration, migrate, version_of

pytestmark = pytest.mark.requirement("OPT-07")


@pytest.fixture
def engine(tmp_path):
    engine = sqlite_file(tmp_path / "file.sqlite")
    yield engine
    engine.dispose()


def steps(*versions, done):
    return tuple(
        Migration(number, f"step {number}", lambda _connection, number=number: done.append(number))
        for number in versions
    )


def test_two_components_of_one_database_take_their_own_steps(engine):
    first, second = [], []
    with engine.begin() as connection:
        assert migrate(connection, "journal", steps(1, 2, done=first)) == (0, 2)
        assert version_of(connection, "trades") == 0
        assert migrate(connection, "trades", steps(1, done=second)) == (0, 1)
        assert (version_of(connection, "journal"), version_of(connection, "trades")) == (2, 1)

    assert (first, second) == ([1, 2], [1])


def test_what_was_done_is_done_once_and_written_down(engine):
    done = []
    with engine.begin() as connection:
        migrate(connection, "journal", steps(1, done=done))
    with engine.begin() as connection:
        assert migrate(connection, "journal", steps(1, 2, 3, done=done)) == (1, 3)
        assert migrate(connection, "journal", steps(1, 2, 3, done=done)) == (3, 3)
        rows = connection.exec_driver_sql("SELECT component, version, summary, applied_at FROM schema_versions").all()

    assert done == [1, 2, 3]
    assert [tuple(row[:3]) for row in rows] == [("journal", number, f"step {number}") for number in (1, 2, 3)]
    assert all(row[3][:2] == "20" for row in rows)


def test_a_database_of_a_newer_one_is_left_alone(engine):
    with engine.begin() as connection:
        migrate(connection, "trades", steps(1, 2, done=[]))
        with pytest.raises(StorageError) as caught:
            migrate(connection, "trades", steps(1, done=[]))

    assert caught.value.message == "Database problem: its trades have version 2, this ibkit knows 1"
    assert caught.value.remedy == "Update ibkit: the database was written by a newer one."
