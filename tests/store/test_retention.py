"""What the tables themselves allow of a purge, whoever writes the SQL."""

from __future__ import annotations

import dataclasses
import sqlite3
from datetime import timedelta
from decimal import Decimal

import pytest

from fakes import START, USER
from ibkit.clock import ManualClock
from ibkit.errors import KeyReused
from ibkit.model import Environment, OrderId, OrderStatus
from ibkit.store import open_journal, retention
from ibkit.store.columns import instant_text
from ibkit.trading.events import (
    Acknowledged,
    Doubted,
    Expired,
    GaveUp,
    Operation,
    Progressed,
    RefusedByBroker,
    Resolved,
    UnknownReason,
)
from journal_words import KEY, claim, later, other_key, planned, send

pytestmark = [pytest.mark.anyio, pytest.mark.requirement("GWY-03")]

CLOCK = ManualClock(START)
SENT = Doubted(at=START, reason="lost")


@pytest.fixture
async def path(tmp_path):
    """A journal with an order that ended, one at work, and one unknown, in this order of their keys."""
    place = tmp_path / "journal.sqlite"
    async with open_journal(place, clock=CLOCK) as journal:
        ended, _ = await journal.plan(planned(other_key(1)))
        ended = await journal.append(
            ended, *claim(), *send(), RefusedByBroker(at=START, code="E-ORD-REJECTED", reason="no")
        )
        working, _ = await journal.plan(planned(other_key(2)))
        await journal.append(working, *claim(), *send(1))
        unknown, _ = await journal.plan(planned(other_key(3)))
        gave_up = GaveUp(at=START, unknown=UnknownReason.UNPROVEN, reason="lost")
        await journal.append(unknown, *claim(), *send(2), SENT, gave_up)
    return place


@pytest.fixture
def by_hand(path):
    connection = sqlite3.connect(path, isolation_level=None)
    connection.execute("PRAGMA foreign_keys = ON")
    yield connection
    connection.close()


def bury(connection, number, purged_at, kept_until="9999"):
    connection.execute(
        "INSERT INTO tombstones VALUES ('local', 'paper', ?, 'print', ?, ?)",
        (other_key(number), instant_text(purged_at), kept_until),
    )


async def test_no_tombstone_without_30_days_an_end_and_a_purge(by_hand):
    by_hand.execute("BEGIN")
    with pytest.raises(sqlite3.IntegrityError, match="ended 30 days ago"):
        bury(by_hand, 1, later(31))  # no purge is under way
    by_hand.execute("UPDATE purges SET at = ?", (instant_text(later(31)),))
    for number, at in ((1, later(29.9)), (1, later(32)), (2, later(31)), (3, later(31)), (9, later(31))):
        with pytest.raises(sqlite3.IntegrityError, match="ended 30 days ago"):
            bury(by_hand, number, at)
    bury(by_hand, 1, later(30))
    with pytest.raises(sqlite3.IntegrityError, match="UNIQUE"):
        bury(by_hand, 1, later(30))
    by_hand.execute("ROLLBACK")


@pytest.mark.parametrize("table", ["intent_events", "sends", "intents"])
async def test_only_what_has_its_tombstone_can_be_deleted(by_hand, table):
    (name,) = by_hand.execute("SELECT intent_id FROM intents WHERE key = ?", (other_key(1),)).fetchone()
    by_hand.execute("UPDATE purges SET at = ?", (instant_text(later(31)),))
    with pytest.raises(sqlite3.IntegrityError, match="append-only"):
        by_hand.execute(f"DELETE FROM {table} WHERE intent_id = ?", (name,))
    by_hand.execute("BEGIN")
    bury(by_hand, 1, later(31))
    if table == "intents":
        by_hand.execute("DELETE FROM intent_events WHERE intent_id = ?", (name,))
    assert by_hand.execute(f"DELETE FROM {table} WHERE intent_id = ?", (name,)).rowcount > 0
    with pytest.raises(sqlite3.IntegrityError, match="append-only"):
        by_hand.execute(f"DELETE FROM {table}")
    by_hand.execute("ROLLBACK")


async def test_tombstones_are_neither_changed_nor_dropped_before_their_time(path):
    async with open_journal(path, clock=CLOCK) as journal:
        assert await journal.purge(later(31)) == 1
    connection = sqlite3.connect(path)
    try:
        for statement in (
            "UPDATE tombstones SET fingerprint = ''",
            "DELETE FROM tombstones",
            "UPDATE purges SET at = '2020'",
        ):
            with pytest.raises(sqlite3.IntegrityError):
                connection.execute(statement)
        connection.execute("UPDATE purges SET at = ?", (instant_text(later(430.9)),))
        with pytest.raises(sqlite3.IntegrityError, match="tombstones are kept"):
            connection.execute("DELETE FROM tombstones")
        connection.execute("UPDATE purges SET at = ?", (instant_text(later(431)),))
        assert connection.execute("DELETE FROM tombstones").rowcount == 1
    finally:
        connection.rollback()
        connection.close()


async def test_a_tombstone_that_would_go_at_once_stays(by_hand):
    """Its two days are looked at, not only the one."""
    by_hand.execute("UPDATE purges SET at = ?", (instant_text(later(1000)),))
    bury(by_hand, 1, later(999), instant_text(later(1000)))
    with pytest.raises(sqlite3.IntegrityError, match="tombstones are kept"):
        by_hand.execute("DELETE FROM tombstones")


async def test_of_a_purged_order_only_key_and_fingerprint_are_left(path):
    async with open_journal(path, clock=CLOCK) as journal:
        (intent,) = [found for found in await journal.recent() if found.key == other_key(1)]
        assert await journal.purge(later(31)) == 1
        with pytest.raises(KeyReused, match="purged on 2026-12-21") as caught:
            await journal.by_key(tenant="local", environment=Environment.PAPER, key=intent.key)
        assert caught.value.code == "E-IDEM-CONFLICT"
        assert caught.value.details == {"purged_at": instant_text(later(31))}
        assert await journal.by_key(tenant="other", environment=Environment.PAPER, key=intent.key) is None
        assert len(await journal.recent()) == 2
    connection = sqlite3.connect(path)
    try:
        for table in ("intents", "intent_events", "sends"):
            found = connection.execute(f"SELECT * FROM {table} WHERE intent_id = ?", (intent.intent_id,)).fetchall()
            assert found == []
        assert connection.execute("SELECT * FROM tombstones").fetchall() == [
            (
                "local",
                "paper",
                intent.key,
                intent.planned.fingerprint,
                instant_text(later(31)),
                instant_text(later(431)),
            )
        ]
        assert connection.execute("SELECT count(*) FROM sends").fetchone() == (2,)
    finally:
        connection.close()


async def test_a_purge_works_in_parts_and_goes_on_after_a_clock_that_went_back(tmp_path, monkeypatch):
    monkeypatch.setattr(retention, "AT_ONCE", 3)
    async with open_journal(tmp_path / "journal.sqlite", clock=CLOCK) as journal:
        for number in range(10):
            intent, _ = await journal.plan(planned(other_key(number), at=later(number)))
            await journal.append(intent, Expired(at=later(number), reason="too old"))
        assert await journal.purge(later(32)) == 3
        assert [intent.key for intent in await journal.recent()] == [other_key(n) for n in range(9, 2, -1)]
        assert await journal.purge(later(31)) == 0
        assert await journal.purge(later(39)) == 7
        assert await journal.purge(later(431)) == 0
        assert await journal.purge(later(433)) == 3
        assert await journal.purge(later(500)) == 7


async def test_an_unknown_goes_30_days_after_a_person_resolved_it(path):
    async with open_journal(path, clock=CLOCK) as journal:
        (unknown,) = [found for found in await journal.recent() if found.key == other_key(3)]
        await journal.append(unknown, Resolved(at=later(100), by="operator", note="was never there"))
        assert await journal.purge(later(100)) == 1  # the one that had ended
        assert await journal.purge(later(100) + timedelta(days=30)) == 1
        assert [found.key for found in await journal.unfinished(USER)] == [other_key(2)]


async def test_the_same_key_of_another_tenant_is_free(path):
    async with open_journal(path, clock=CLOCK) as journal:
        await journal.purge(later(31))
        with pytest.raises(KeyReused):
            await journal.plan(planned(other_key(1)))
        assert (await journal.plan(planned(KEY)))[1]


@pytest.mark.requirement("TRD-14")
@pytest.mark.parametrize("link", ["reduces", "leg_of"])
async def test_an_order_and_what_undoes_it_are_kept_as_long_as_any_of_them(tmp_path, link):
    """Of a short sold 31 days ago, one of three bought back since, the stop cancelled just now: to close it, the
    journal must know what was sold, and what was bought back.
    """
    async with open_journal(tmp_path / "journal.sqlite", clock=CLOCK) as journal:

        async def ended(number, at, **links):
            intent, _ = await journal.plan(dataclasses.replace(planned(other_key(number)), at=at, **links))
            return await journal.append(intent, Expired(at=at, reason="over"))

        sold = await ended(1, START)
        bought = await ended(2, START, **{link: sold.intent_id})
        stop, _ = await journal.plan(dataclasses.replace(planned(other_key(3)), **{link: sold.intent_id}))

        assert await journal.purge(later(31)) == 0
        await journal.append(stop, Expired(at=later(31), reason="over"))
        assert await journal.purge(later(32)) == 0
        assert await journal.get(bought.intent_id)
        assert await journal.purge(later(61)) == 3


@pytest.mark.requirement("GWY-07")
async def test_the_change_of_an_order_is_kept_as_long_as_the_order_works(tmp_path):
    """A resting order lives for months; what it was changed to last is what IBKR holds."""
    async with open_journal(tmp_path / "journal.sqlite", clock=CLOCK) as journal:

        async def acked(number, operation):
            intent, _ = await journal.plan(planned(other_key(number), operation=operation))
            there = Acknowledged(at=START, order_id=OrderId("17"), status=OrderStatus.SUBMITTED, evidence="answer")
            return await journal.append(intent, *claim(), *send(number), there)

        order = await acked(0, Operation.PLACE)
        changes = [await acked(number, Operation.MODIFY) for number in (1, 2)]
        newest_first = tuple(reversed(changes))
        assert await journal.changes_of((order,)) == newest_first
        assert await journal.changes_of(()) == ()

        assert await journal.purge(later(31)) == 0
        assert await journal.changes_of((order,)) == newest_first
        await journal.append(
            order,
            Progressed(
                at=later(31), status=OrderStatus.CANCELLED, filled=Decimal(0), average_price=None, refused=False
            ),
        )
        assert await journal.purge(later(32)) == 2
