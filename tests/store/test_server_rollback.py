"""An upgrade of a server's database and the way back: as `ibkit db upgrade` and `ibkit rollback` go it."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import text

from ibkit.bootstrap.upgrading import backup_before_upgrade, present_versions, roll_back, upgrade
from ibkit.errors import InFlight
from ibkit.settings import load
from ibkit.store import table_lines
from ibkit.store.database import to_engine
from ibkit.store.migrating import Migration, for_engine
from ibkit.store.migrations import METRICS, RECORDS

NOW = datetime(2026, 11, 27, 15, 0, tzinfo=UTC)
pytestmark = pytest.mark.requirement("OPS-07")


def _count(url: str) -> int:
    engine = to_engine(url)
    with engine.connect() as connection:
        found = connection.execute(text("SELECT count(*) FROM trading.metric_minutes")).scalar_one()
    engine.dispose()
    return int(found)


def _put(url: str, minute: int) -> None:
    engine = to_engine(url)
    with engine.begin() as connection:
        connection.execute(
            text(
                "INSERT INTO trading.metric_minutes (minute, process, connection, endpoint, calls, attempts, retries,"
                " waits, errors, seconds, buckets, bytes_sent, bytes_received, waited_s) VALUES"
                f" ({minute}, 'p', 'c', 'e', 1, 1, 0, 0, '{{}}', 0.5, '[]', 1, 1, 0)"
            )
        )
    engine.dispose()


def _later(connection: Any) -> None:
    for_engine(connection).execute(text("ALTER TABLE trading.metric_minutes ADD COLUMN later INTEGER"))


def test_a_server_s_database_goes_back_with_its_rows_and_versions(
    tmp_path: Path, postgres_database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    flags = {"DATABASE_URL": postgres_database, "IBKIT_STATE_DIR": str(tmp_path / "state")}
    settings = load(environ={"HOME": str(tmp_path)}, directory=tmp_path, flags=flags, require_method=False)
    assert upgrade(settings, now=NOW, random=bytes).backup is None, "an empty one is only made"
    before = present_versions(settings)
    _put(postgres_database, 1)
    monkeypatch.setitem(RECORDS, "metrics", (*METRICS, Migration(METRICS[-1].version + 1, "later", _later)))

    def in_use(connection: Any) -> None:
        raise InFlight("The database is in use by ibkit (1 connection(s))")

    with monkeypatch.context() as patch:
        patch.setattr("ibkit.store.records.refuse_others", in_use)
        with pytest.raises(InFlight):
            upgrade(settings, now=NOW, random=bytes)
    assert present_versions(settings) == before
    done = upgrade(settings, now=NOW + timedelta(minutes=1), random=bytes)
    assert done.parts["metrics"] == (before["metrics"], before["metrics"] + 1)
    _put(postgres_database, 2)

    path, manifest = backup_before_upgrade(settings)
    assert path == done.backup
    assert manifest.engine == "postgresql"
    restored = roll_back(settings, path, now=NOW + timedelta(minutes=2))

    assert present_versions(settings) == before
    assert _count(postgres_database) == 1
    assert restored.schema is not None, "what was there is kept"
    engine = to_engine(postgres_database)
    with engine.connect() as connection:
        assert table_lines.versions(connection, RECORDS) == before
        kept = connection.execute(text(f"SELECT count(*) FROM {restored.schema}.metric_minutes")).scalar_one()
    engine.dispose()
    assert kept == 2
