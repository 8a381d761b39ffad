"""Addresses, files and folders of databases, before anything is stored."""

from __future__ import annotations

import os
import sys
from types import SimpleNamespace

import anyio
import pytest
from sqlalchemy import text

from ibkit.errors import ConfigError, StorageError
from ibkit.model.secret import Secret
from ibkit.store import migrating
from ibkit.store.database import sqlite_file, to_engine
from ibkit.store.migrating import Migration, migrate
from ibkit.store.records import open_records
from service_desks import until

pytestmark = pytest.mark.requirement("OPT-07")


@pytest.mark.parametrize("url", ["no address", "postgresql://[::1", "postgresql://h:port/d"])
def test_what_is_no_address_is_said_without_showing_it(url):
    with pytest.raises(ConfigError, match="not an address of a database") as caught:
        to_engine(url)
    assert url not in caught.value.message


def test_another_kind_of_database_is_refused_by_name():
    with pytest.raises(ConfigError, match="mysql is not supported") as caught:
        to_engine("mysql://u:geheim@h/d")
    assert "geheim" not in caught.value.message + caught.value.remedy


def test_postgresql_without_its_driver_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "psycopg", None)
    with pytest.raises(StorageError, match="needs the driver psycopg") as caught:
        to_engine("postgresql://u:geheim@h/d")
    assert "pip install 'ibkit[postgres]'" in caught.value.remedy


def test_a_file_that_others_could_read_is_closed_to_them(tmp_path):
    path = tmp_path / "journal.sqlite"
    path.write_bytes(b"")
    path.chmod(0o644)
    sqlite_file(path).dispose()
    assert path.stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize("missing", ["O_DIRECTORY", "fchmod"])
def test_where_the_system_lacks_a_call_the_file_is_made_without_it(tmp_path, monkeypatch, missing):
    path = tmp_path / "journal.sqlite"
    path.write_bytes(b"")
    monkeypatch.delattr(os, missing)
    sqlite_file(path).dispose()
    sqlite_file(tmp_path / "deeper" / "journal.sqlite").dispose()
    assert path.exists()
    assert (tmp_path / "deeper" / "journal.sqlite").exists()


def test_a_folder_above_that_is_not_ours_is_left_alone(tmp_path, monkeypatch):
    opened = os.open

    def closed_folders(path, flags, *more):
        if flags & os.O_DIRECTORY == os.O_DIRECTORY:
            raise PermissionError(13, "Permission denied")
        return opened(path, flags, *more)

    monkeypatch.setattr(os, "open", closed_folders)
    sqlite_file(tmp_path / "journal.sqlite").dispose()
    assert (tmp_path / "journal.sqlite").exists()


def test_two_processes_that_start_at_once_on_postgresql_do_the_work_once(monkeypatch):
    """The lock comes before the look at the version: whoever waits for it finds the work done."""
    said = []
    connection = SimpleNamespace(
        dialect=SimpleNamespace(name="postgresql"), execute=lambda statement: said.append(str(statement))
    )
    connection.execution_options = lambda **more: (said.append(f"schema {more}"), connection)[1]
    monkeypatch.setattr(migrating, "version_of", lambda *_: (said.append("version"), 1)[1])

    steps = (Migration(1, "first", lambda _connection: pytest.fail("done already")),)
    assert migrate(connection, "trades", steps) == (1, 1)

    assert [line.split("(")[0].strip() for line in said] == [
        "schema {'schema_translate_map': {'trading': 'trading'}}",
        "SELECT pg_advisory_xact_lock",
        "CREATE SCHEMA IF NOT EXISTS trading",
        "version",
    ]


@pytest.mark.requirement("OPS-08")
def test_the_logins_of_many_users_share_the_connections_to_a_server(postgres_database):
    """PostgreSQL has a hundred by default: ten logins, each reading by three threads at once, take twelve at most."""
    looking = to_engine(postgres_database)

    def ours() -> int:
        counted = text(
            "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()"
        )
        with looking.connect() as connection:
            return int(connection.execute(counted).scalar_one())

    async def scenario() -> None:
        opened = [open_records(Secret(postgres_database), parts=("metrics",)) for _ in range(10)]
        most = 0
        async with anyio.create_task_group() as reads:
            for each in opened * 3:
                reads.start_soon(each.read, lambda connection: connection.execute(text("SELECT pg_sleep(0.05)")))
            for _ in range(10):
                most = max(most, ours())
                await anyio.sleep(0.01)
        assert 1 < most <= 12
        for each in opened:
            await each.close()
            await each.close()  # twice gives nothing back twice
            if each is not opened[-1]:
                assert await opened[-1].read(lambda connection: connection.execute(text("SELECT 1")).scalar_one()) == 1
        until(lambda: ours() == 0)

    try:
        anyio.run(scenario)
    finally:
        looking.dispose()
