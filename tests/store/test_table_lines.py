"""A server's database as JSON lines and back, on the real PostgreSQL."""

from __future__ import annotations

import io
import json
from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from sqlalchemy import text

from ibkit.bootstrap.backups import check_backup, make_backup, restore_backup
from ibkit.errors import ConfigError, InFlight, StorageError
from ibkit.settings import load
from ibkit.store import table_lines, upgrade_database
from ibkit.store.database import to_engine
from ibkit.store.journal_look import versions_there
from ibkit.store.migrating import Migration
from ibkit.store.migrations import RECORDS

NOW = datetime(2026, 11, 27, 12, tzinfo=UTC)
pytestmark = pytest.mark.requirement("OPS-03")


def _make(connection: Any) -> None:
    for statement in (
        (
            "CREATE TABLE trading.things (id BIGSERIAL PRIMARY KEY, name TEXT, price NUMERIC, at TIMESTAMPTZ, day DATE,"
            " raw BYTEA, told JSONB, ok BOOLEAN, ratio DOUBLE PRECISION, named UUID)"
        ),
        "CREATE TABLE trading.parts (thing BIGINT NOT NULL REFERENCES trading.things (id), n INT PRIMARY KEY)",
        (
            "CREATE FUNCTION trading.no() RETURNS trigger LANGUAGE plpgsql AS"
            " $$ BEGIN RAISE EXCEPTION 'append-only'; END $$"
        ),
        "CREATE TRIGGER parts_stay BEFORE UPDATE OR DELETE ON trading.parts FOR EACH ROW EXECUTE FUNCTION trading.no()",
        (
            "CREATE TRIGGER parts_late BEFORE INSERT ON trading.parts FOR EACH ROW WHEN (NEW.n > 5)"
            " EXECUTE FUNCTION trading.no()"
        ),
    ):
        connection.execute(text(statement))


def _add(connection: Any) -> None:
    connection.execute(text("ALTER TABLE trading.things ADD COLUMN later TEXT NOT NULL DEFAULT 'new'"))


ONE = {"things": (Migration(1, "things", _make),)}
TWO = {"things": (*ONE["things"], Migration(2, "a column", _add))}
ROW = {
    "name": 'ä "quoted" \n line',
    "price": Decimal("0.10"),
    "at": datetime(2026, 11, 27, 9, 30, 0, 1, tzinfo=UTC),
    "day": date(2026, 11, 27),
    "raw": b"\x00\xff",
    "told": '{"a": [1, null]}',
    "ok": False,
    "ratio": 0.1,
    "named": UUID(int=7),
}


@pytest.fixture
def engine(postgres_database: str) -> Any:
    engine = to_engine(postgres_database)
    with engine.begin() as connection:
        table_lines.migrate(connection, "things", ONE["things"])
        names = ", ".join(ROW)
        values = ", ".join(f"CAST(:{n} AS JSONB)" if n == "told" else f":{n}" for n in ROW)
        connection.execute(text(f"INSERT INTO trading.things ({names}) VALUES ({values})"), ROW)
        connection.execute(text("INSERT INTO trading.things (name) VALUES (NULL)"))
        connection.execute(text("INSERT INTO trading.parts SELECT 1, n FROM generate_series(1, 5) n"))
        connection.execute(text("ALTER TABLE trading.parts DISABLE TRIGGER parts_late"))
        connection.execute(text("INSERT INTO trading.parts SELECT 2, n FROM generate_series(6, 1200) n"))
        connection.execute(text("ALTER TABLE trading.parts ENABLE TRIGGER parts_late"))
    yield engine
    engine.dispose()


def _everything(engine: Any, schema: str = "trading") -> list[Any]:
    with engine.connect() as connection:
        return [
            connection.execute(text(f"SELECT * FROM {schema}.things ORDER BY id")).fetchall(),
            connection.execute(text(f"SELECT * FROM {schema}.parts ORDER BY n")).fetchall(),
        ]


def _dumped(engine: Any) -> tuple[dict[str, int], bytes]:
    out = io.BytesIO()
    versions, rows = table_lines.dump(engine, out, ONE)
    assert rows == 1202
    return versions, out.getvalue()


def test_every_kind_of_value_comes_back_and_what_was_there_is_kept(engine: Any) -> None:
    before = _everything(engine)
    versions, lines = _dumped(engine)
    assert versions == {"things": 1}
    with engine.begin() as connection:
        connection.execute(text("INSERT INTO trading.things (name) VALUES ('after the backup')"))
    with engine.begin() as connection:
        assert table_lines.load(connection, lines.splitlines(), ONE, versions, aside="kept") == 1202
    assert _everything(engine) == before
    assert len(_everything(engine, "kept")[0]) == 3


def test_numbers_go_on_and_rows_are_guarded_as_before(engine: Any) -> None:
    versions, lines = _dumped(engine)
    with engine.begin() as connection:
        table_lines.load(connection, lines.splitlines(), ONE, versions, aside="kept")
    with engine.begin() as connection:
        assert connection.execute(text("INSERT INTO trading.things (name) VALUES ('x') RETURNING id")).scalar() == 3
    for statement in ("UPDATE trading.parts SET n = 0 WHERE n = 1", "INSERT INTO trading.parts VALUES (1, 9999)"):
        with pytest.raises(Exception, match="append-only"), engine.begin() as connection:
            connection.execute(text(statement))


def test_newer_steps_are_done_after_the_rows_are_in(engine: Any) -> None:
    versions, lines = _dumped(engine)
    with engine.begin() as connection:
        table_lines.load(connection, lines.splitlines(), TWO, versions, aside="kept")
    assert {row.later for row in _everything(engine)[0]} == {"new"}


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda lines: [*lines, b'{"table": "users", "columns": ["id"]}'], "does not know"),
        (lambda lines: [lines[1], *lines], "does not fit"),
        (lambda lines: [*lines, b"{"], "not JSON"),
        (lambda lines: [*lines, b'[1, {"z": 1}]'], "of no kind"),
        (lambda lines: [*lines, b'[1, {"d": "x"}]'], "cannot be read"),
        (lambda lines: [*lines, b"[1]"], "does not fit"),
    ],
)
def test_damaged_lines_change_nothing(engine: Any, change: Any, said: str) -> None:
    before = _everything(engine)
    versions, lines = _dumped(engine)
    with pytest.raises(StorageError, match=said), engine.begin() as connection:
        table_lines.load(connection, change(lines.splitlines()), ONE, versions, aside="kept")
    assert _everything(engine) == before


def test_nothing_is_replaced_while_another_ibkit_is_connected(engine: Any, postgres_database: str) -> None:
    versions, lines = _dumped(engine)
    other = to_engine(postgres_database)
    with other.connect() as connected:
        connected.execute(text("SELECT 1"))
        with pytest.raises(InFlight, match="in use"), engine.begin() as connection:
            table_lines.load(connection, lines.splitlines(), ONE, versions, aside="kept")
    other.dispose()


_USER = """
INSERT INTO trading.users (user_id, name, role, created_at, enabled, generation, password_hash, totp_secret, totp_step,
    recovery, link_hash, link_expires_at)
VALUES ('u', 'anna', 'owner', now(), true, 3, '', '', 0, '[]', 'h', now())
"""
_SESSION = """
INSERT INTO trading.browser_sessions (id_hash, user_id, generation, created_at, seen_at, signed_in_at, address, agent)
VALUES ('i', 'u', 3, now(), now(), now(), '', '')
"""


def test_a_whole_backup_of_a_server_comes_back(postgres_database: str, tmp_path: Path) -> None:
    url = postgres_database
    settings = load(environ={"HOME": str(tmp_path), "DATABASE_URL": url}, directory=tmp_path, require_method=False)
    upgrade_database(url)
    engine = to_engine(url)
    with engine.begin() as connection:
        connection.execute(text(_USER))
        connection.execute(text(_SESSION))
    engine.dispose()
    file = tmp_path / "b"
    manifest = make_backup(settings, file, now=NOW, random=lambda n: bytes(n))
    assert manifest.engine == "postgresql"
    assert manifest.versions == {part: steps[-1].version for part, steps in RECORDS.items()}
    assert check_backup(file, scratch=tmp_path).files["records.jsonl"].bytes > 0
    done = restore_backup(settings, file, now=NOW)
    assert done.schema == "trading_before_20261127t120000"
    with to_engine(url).connect() as connection:
        there = set(connection.execute(text("SELECT schema_name FROM information_schema.schemata")).scalars())
        assert {"trading", done.schema} <= there
        assert table_lines.versions(connection, RECORDS) == manifest.versions
        (user,) = connection.execute(text("SELECT generation, link_hash, link_expires_at FROM trading.users"))
        assert user[0] > 1000, "a token of before is over"
        assert user[1:] == ("", None)
        assert connection.execute(text("SELECT count(*) FROM trading.browser_sessions")).scalar_one() == 0
    assert done.users == 1
    assert json.dumps(url) not in file.read_bytes().decode("latin-1")

    elsewhere = load(environ={"HOME": str(tmp_path)}, directory=tmp_path, require_method=False)
    with pytest.raises(ConfigError, match="postgresql"):
        restore_backup(elsewhere, file, now=NOW)


@pytest.mark.requirement("SET-05")
def test_a_server_is_asked_for_its_versions_and_not_changed(postgres_database: str) -> None:
    assert versions_there(postgres_database) == {}
    upgrade_database(postgres_database)
    assert versions_there(postgres_database) == {part: steps[-1].version for part, steps in RECORDS.items()}
    with pytest.raises(StorageError, match="database") as failed:
        versions_there("postgresql://me:hush-hush@127.0.0.1:1/x")
    assert "hush-hush" not in failed.value.message
