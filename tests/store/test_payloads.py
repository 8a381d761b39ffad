"""Whether an answer is still needed is found by the answer, however much is kept of others."""

from __future__ import annotations

import json
from dataclasses import replace
from decimal import Decimal

import pytest

from ibkit.model import AccountId, Conid, Fill, Side
from ibkit.portfolio.fills import trade_of_fill
from ibkit.portfolio.transactions import Listed, Origin
from ibkit.store.database import sqlite_file
from ibkit.store.ledger_rows import pack_transaction
from ibkit.store.migrating import for_engine, migrate
from ibkit.store.migrations import RECORDS
from ibkit.store.payloads import digests_of, drop_unused, points_to, put_uses
from portfolio_room import NOW

pytestmark = pytest.mark.requirement("SYN-06")
STEPS = RECORDS["portfolio"]
RUN = "INSERT INTO portfolio_sync_runs VALUES (?, 'p', ?, 'U1', '2026-11-20 00:00:00', '', 0, 0, 0, 0, ?)"
FILL = Fill(
    execution_id="a.01",
    order_id=None,
    account_id=AccountId("U1"),
    conid=Conid(1),
    side=Side.BUY,
    quantity=Decimal(1),
    price=Decimal(5000),
    fee=None,
    at=NOW,
)
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


def test_live_executions_that_were_booked_by_price_and_size_are_taken_back_by_the_upgrade(engine):
    """One future took 250,000 out of the cash, and no statement ever corrected it."""
    with engine.begin() as connection:
        migrate(connection, "portfolio", STEPS[:3])
        connection.exec_driver_sql("INSERT INTO portfolio_ledgers VALUES ('k', 7, 'fifo', 1, '{}')")
        for key, origin, name in (("a", 1, "FUT"), ("b", 1, "STK"), ("c", 3, "BOND"), ("d", 1, "BOND")):
            made = trade_of_fill(FILL, Listed(conid=1, asset_class=name, currency="USD"), day=NOW.date())
            kind, body = pack_transaction(replace(made, ids=(key,), origin=Origin(origin)))
            values = ("k", "U1", key, str(NOW), "2026-11-20", origin, kind, 1, "", body)
            connection.exec_driver_sql(f"INSERT INTO portfolio_transactions VALUES ({','.join('?' * 10)})", values)
        migrate(connection, "portfolio", STEPS)
        left = connection.exec_driver_sql("SELECT key FROM portfolio_transactions ORDER BY key").scalars().all()
        assert left == ["b", "c"]
        assert connection.exec_driver_sql("SELECT revision FROM portfolio_ledgers").scalar() == 8
