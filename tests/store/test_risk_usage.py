"""What the usage reader keeps between two decisions, and what it does about a journal that was damaged."""

from __future__ import annotations

import dataclasses
import sqlite3
from datetime import timedelta
from decimal import Decimal

import pytest

from doubts import planned, sent
from fakes import ACCOUNT, START, USER, stock_ticket
from ibkit.clock import ManualClock
from ibkit.errors import StorageError
from ibkit.model import Environment, GroupKind, Key, OrderId, OrderStatus, OrderType, Ref, Side
from ibkit.store import open_journal, risk_usage
from ibkit.store.columns import instant_text
from ibkit.trading.events import Acknowledged, Attached, Claimed, Grouped, IntentId, Progressed
from ibkit.trading.ports import Leg
from ibkit.trading.risk import Scope
from ibkit.trading.risk.bookkeeping import day_start

pytestmark = [pytest.mark.anyio, pytest.mark.requirement("TRD-18")]
MINUTE = timedelta(minutes=1)
SCOPE = Scope(environment=Environment.PAPER, account_id=ACCOUNT, symbol="SPY")


async def test_plans_beyond_those_that_are_kept_are_read_again(tmp_path, monkeypatch):
    """An account with more open orders than that is judged by all of them."""
    monkeypatch.setattr(risk_usage, "_PLANS_KEPT", 2)
    async with open_journal(tmp_path / "journal.db", clock=ManualClock(START)) as journal:
        async with journal.conversation(USER, wait_s=1.0) as lane:
            epoch = lane.epoch
        for number in range(4):
            name = f"ib-{number}"
            plan = planned(intent_id=IntentId(name), ref=Ref(name), key=Key(f"key-{number:016d}"))
            intent, _ = await journal.plan(plan)
            taken = Acknowledged(
                at=START, order_id=OrderId(str(number)), status=OrderStatus.SUBMITTED, evidence="answer"
            )
            await journal.append(intent, Claimed(at=START, owner="me", epoch=epoch), sent()[1], taken)

        reader = journal.risk._usage
        for _ in range(2):
            state = await journal.risk.state(SCOPE, START)
            assert sorted(order.intent_id for order in state.usage.open) == ["ib-0", "ib-1", "ib-2", "ib-3"]
            assert len(reader._plans) == 2


class Damaged:
    """A driver over a journal that has the rows of intents and not their events."""

    def __init__(self) -> None:
        self._rows: list[tuple[str]] = []

    def execute(self, statement, _parameters):
        self._rows = [("ib-1",)] if statement.startswith("SELECT intent_id FROM intents") else []
        return self

    def fetchall(self):
        return self._rows

    def fetchone(self):
        return None

    def __iter__(self):
        return iter(self._rows)


def test_an_intent_without_its_plan_is_a_damaged_journal_not_an_order_that_does_not_count():
    reader = risk_usage.UsageReader()

    with pytest.raises(StorageError, match="no plan of intent ib-1"):
        reader.read(Damaged(), ACCOUNT, serial=0, at=START, read_at=START)


class Watched:
    """A driver's connection, with what it was asked of the past: the sends, and the plans of intents."""

    def __init__(self, path) -> None:
        self._connection = sqlite3.connect(path)
        self.asked: list[tuple[str, object]] = []

    def execute(self, statement, parameters):
        named = {
            risk_usage._SENT: "the minute after",
            risk_usage._SENT_AFTER: "the day after",
            risk_usage._SENT_FROM: "the day from",
            risk_usage._PLAN: "the plan of",
        }
        if statement in named:
            self.asked.append((named[statement], parameters[0] if statement == risk_usage._PLAN else parameters[1]))
        return self._connection.execute(statement, parameters)

    def close(self) -> None:
        self._connection.close()


async def test_a_decision_reads_of_the_past_only_what_is_new(tmp_path):
    """It has 0.3 ms for all that an account has used up, however much has left that day."""
    path = tmp_path / "journal.db"
    reader, driver = risk_usage.UsageReader(), None
    moments = [START + timedelta(seconds=number) for number in range(4)]
    async with open_journal(path, clock=ManualClock(START)) as journal:
        async with journal.conversation(USER, wait_s=1.0) as lane:
            epoch = lane.epoch
        for serial, at in enumerate(moments, start=1):
            name = f"ib-{serial}"
            plan = planned(intent_id=IntentId(name), ref=Ref(name), key=Key(f"key-{serial:016d}"))
            intent, _ = await journal.plan(plan)
            sending = dataclasses.replace(sent()[1], at=at)
            await journal.append(intent, Claimed(at=START, owner="me", epoch=epoch), sending)
            driver = driver or Watched(path)

            driver.asked.clear()
            usage = reader.read(driver, ACCOUNT, serial=serial, at=at, read_at=at)
            assert (usage.sent_today, len(usage.sent), len(usage.open)) == (serial, serial, serial)
            if serial == 1:
                first = ("the day from", instant_text(day_start(at))), ("the minute after", instant_text(at - MINUTE))
                assert driver.asked == [*first, ("the plan of", name)]
            else:
                before = instant_text(moments[serial - 2])
                assert driver.asked == [("the day after", before), ("the minute after", before), ("the plan of", name)]
            driver.asked.clear()
            assert reader.read(driver, ACCOUNT, serial=serial, at=at, read_at=at) == usage
            assert driver.asked == []
    driver.close()


async def test_a_child_counts_with_its_parents_plan_after_a_restart_too(tmp_path):
    """The parent has long ended: nothing else of it is read any more."""
    others = (stock_ticket("10", side=Side.SELL, order_type=OrderType.STOP, stop_price=Decimal(620)),)
    path = tmp_path / "journal.db"
    wish = planned(stock_ticket("10"), group=GroupKind.BRACKET, others=others)
    child = planned(others[0], intent_id=IntentId("ib-child"), key=Key("key-child-0123456789"), leg_of=wish.intent_id)
    attached = Attached(at=START, order_id=OrderId("902"), status=OrderStatus.PRE_SUBMITTED)
    filled = Progressed(
        at=START, status=OrderStatus.FILLED, filled=Decimal(10), average_price=Decimal(1), refused=False
    )
    async with open_journal(path, clock=ManualClock(START)) as journal:
        async with journal.conversation(USER, wait_s=1.0) as lane:
            epoch = lane.epoch
        intent, _ = await journal.plan(wish)
        taken = Acknowledged(at=START, order_id=OrderId("901"), status=OrderStatus.SUBMITTED, evidence="answer")
        claimed = Claimed(at=START, owner="me", epoch=epoch)
        whole = Grouped(at=START, legs=())
        await journal.append(intent, claimed, sent()[1], taken, whole, filled, legs=(Leg(child, attached),))

    async with open_journal(path, clock=ManualClock(START)) as journal:
        later = START + timedelta(hours=1)
        (order,) = (await journal.risk.state(SCOPE, later)).usage.open
    assert (order.intent_id, order.reduces, order.sent) == ("ib-child", True, 10)
