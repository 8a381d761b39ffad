"""What the rows of the journal hold, and what it says where a key or a record is not what the caller took it for."""

from __future__ import annotations

import sqlite3

import pytest

from fakes import ACCOUNT, START, USER
from ibkit.clock import ManualClock
from ibkit.errors import InFlight, KeyReused
from ibkit.model import Environment, OrderId, OrderStatus
from ibkit.store import open_journal
from ibkit.store.columns import instant_text
from ibkit.trading.events import Acknowledged, Claimed, Expired
from journal_words import KEY, claim, later, other_key, planned, send

pytestmark = [pytest.mark.anyio, pytest.mark.requirement("GWY-03", "GWY-06")]


@pytest.fixture
def path(tmp_path):
    return tmp_path / "journal.sqlite"


async def test_a_key_whose_record_is_purged_is_refused_with_the_day_and_a_way_on(path):
    async with open_journal(path, clock=ManualClock(START)) as journal:
        intent, _ = await journal.plan(planned())
        await journal.append(intent, Expired(at=START, reason="too old"))
        await journal.purge(later(30))
        with pytest.raises(KeyReused) as caught:
            await journal.plan(planned(at=later(31)))
        with pytest.raises(KeyReused) as asked:
            await journal.by_key(tenant="local", environment=Environment.PAPER, key=KEY)

    for error in (caught.value, asked.value):
        assert error.message == f"The key {KEY} belongs to an order whose record was purged on 2026-12-20"
        assert error.remedy == "Use a new key for a new order."
        assert error.details == {"purged_at": instant_text(later(30))}


async def test_whoever_comes_second_is_told_which_order_moved(path):
    async with open_journal(path, clock=ManualClock(START)) as journal:
        intent, _ = await journal.plan(planned())
        await journal.append(intent, Claimed(at=START, owner="first"))
        with pytest.raises(InFlight) as caught:
            await journal.append(intent, Claimed(at=START, owner="second"))

    assert caught.value.message == f"Order {intent.intent_id} was moved by another process"
    assert caught.value.details == {"intent": intent.intent_id}


async def test_a_row_tells_where_its_intent_stands_without_its_events(path):
    """Every question is put to these columns: a wrong one hides an order from whoever looks for it."""
    columns = (
        "key, tenant, environment, username, account_id, operation, reduces, order_id, state, version, final, denies"
    )
    async with open_journal(path, clock=ManualClock(START)) as journal:
        intent, _ = await journal.plan(planned(reduces="ib-parent"))
        async with journal.conversation(USER, wait_s=0) as lane:
            told = Acknowledged(at=START, order_id=OrderId("7"), status=OrderStatus.SUBMITTED, evidence="answer")
            intent = await journal.append(intent, *claim(lane.epoch), *send(), told)
        old, _ = await journal.plan(planned(other_key(1)))
        await journal.append(old, Expired(at=later(1), reason="too old"))
    connection = sqlite3.connect(path)
    rows = connection.execute(f"SELECT {columns} FROM intents ORDER BY rowid").fetchall()
    moments = connection.execute("SELECT planned_at, updated_at FROM intents ORDER BY rowid").fetchall()
    numbers = connection.execute(
        "SELECT number, kind FROM intent_events WHERE intent_id = ?", (old.intent_id,)
    ).fetchall()
    connection.close()

    whose = ("local", "paper", USER, ACCOUNT, "place")
    assert rows == [
        (KEY, *whose, "ib-parent", "7", "acked", intent.version, 0, 0),
        (other_key(1), *whose, None, None, "expired_local", 2, 1, 0),
    ]
    assert moments == [(instant_text(START), instant_text(START)), (instant_text(START), instant_text(later(1)))]
    assert numbers == [(1, "Planned"), (2, "Expired")]
