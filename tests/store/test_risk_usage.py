"""What the usage reader keeps between two decisions, and what it does about a journal that was damaged."""

from __future__ import annotations

import pytest

from doubts import planned, sent
from fakes import ACCOUNT, START, USER
from ibkit.clock import ManualClock
from ibkit.errors import StorageError
from ibkit.model import Environment, Key, OrderId, OrderStatus, Ref
from ibkit.store import open_journal, risk_usage
from ibkit.trading.events import Acknowledged, Claimed, IntentId
from ibkit.trading.risk import Scope

pytestmark = [pytest.mark.anyio, pytest.mark.requirement("TRD-18")]
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
