"""Whether an answer is still needed is found by the answer, however much is kept of others."""

from __future__ import annotations

import json

import pytest

from ibkit.store.database import sqlite_file
from ibkit.store.migrating import for_engine, migrate
from ibkit.store.migrations import RECORDS
from ibkit.store.payloads import digests_of, drop_unused, points_to, put_uses

pytestmark = pytest.mark.requirement("SYN-06")
STEPS = RECORDS["portfolio"]
RUN = "INSERT INTO portfolio_sync_runs VALUES (?, 'p', ?, 'U1', '2026-11-20 00:00:00', '', 0, 0, 0, 0, ?)"
ONE, TWO, BOTH = "1" * 64, "2" * 64, "b" * 64


@pytest.fixture
def engine(tmp_path):
    engine = sqlite_file(tmp_path / "file.sqlite")
    yield engine
    engine.dispose()


def kept(connection, *digests):
    for digest in digests:
        connection.exec_driver_sql(
            "INSERT INTO raw_payloads VALUES (?, 'positions', '2026-11-20 00:00:00', 1, x'00')", (digest,)
        )


def there(connection):
    return {digest for (digest,) in connection.exec_driver_sql("SELECT digest FROM raw_payloads")}


def test_what_earlier_syncs_were_read_from_is_found_after_the_upgrade(engine):
    with engine.begin() as connection:
        migrate(connection, "portfolio", STEPS[:3])
        for run, key, digests in (("r1", "k1", (ONE, BOTH)), ("r2", "k2", (TWO, BOTH, BOTH)), ("r3", "k2", ())):
            raw = json.dumps([["positions", part, digest] for part, digest in enumerate(digests)])
            connection.exec_driver_sql(RUN, (run, key, raw))
        migrate(connection, "portfolio", STEPS)
        connection = for_engine(connection)
        assert digests_of(connection, ["k1"]) == {ONE, BOTH}
        assert digests_of(connection, ["k2"]) == {TWO, BOTH}
        assert points_to(connection, ["k1"], BOTH)
        assert not points_to(connection, ["k1"], TWO)


def test_what_nobody_is_read_from_goes_and_nothing_else(engine):
    with engine.begin() as connection:
        migrate(connection, "portfolio", STEPS)
        connection = for_engine(connection)
        kept(connection, ONE, TWO, BOTH)
        put_uses(connection, "k1", "r1", [BOTH, BOTH])
        drop_unused(connection, {ONE, BOTH})
        assert there(connection) == {TWO, BOTH}


def test_no_table_is_read_through_for_it(engine):
    """It was asked of every sync of everybody, at each purge of one account."""
    with engine.begin() as connection:
        migrate(connection, "portfolio", STEPS)
        said = []
        connection = for_engine(connection)
        kept(connection, ONE)
        engine_said = connection.connection.driver_connection
        engine_said.set_trace_callback(said.append)
        drop_unused(connection, {ONE})
        points_to(connection, ["k1", "k2"], ONE)
        digests_of(connection, ["k1", "k2"])
        engine_said.set_trace_callback(None)
        asked = [each for each in said if each.startswith(("SELECT", "DELETE"))]
        assert len(asked) >= 3 * 4
        for each in asked:
            plan = [row[3] for row in connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {each}")]
            assert not [step for step in plan if step.startswith("SCAN")], (each, plan)
