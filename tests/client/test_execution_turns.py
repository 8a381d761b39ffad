"""Which accounts' executions are asked for: never more than the slot of a login has room for, and each has its turn."""

from __future__ import annotations

from datetime import UTC, datetime
from decimal import Decimal

import pytest

from ibkit.client.execution_turns import BETWEEN_S, MOST_BYTES, Answer, ExecutionTurns
from ibkit.model import AccountId, Conid, Fill, Side
from ibkit.portfolio.picture import Execution, RawPayload

pytestmark = pytest.mark.requirement("FUT-08")
ONE, TWO = AccountId("U1"), AccountId("U2")
DAY_S = 86_400.0


def answer(*, count: int = 1, size: int = 2) -> Answer:
    fill = Fill(
        execution_id="a.01",
        order_id=None,
        account_id=ONE,
        conid=Conid(1),
        side=Side.BUY,
        quantity=Decimal(1),
        price=Decimal(1),
        fee=Decimal(1),
        at=datetime(2026, 11, 20, tzinfo=UTC),
    )
    return (Execution(fill=fill, row=0),) * count, RawPayload(what="trades", body=b"x" * size)


def test_an_account_is_asked_about_when_something_moved_and_once_a_day() -> None:
    turns = ExecutionTurns()
    assert turns.take(ONE, "before", 0)
    turns.told(ONE, "before", 0, answer(), complete=True)
    assert not turns.take(ONE, "before", 100)
    assert turns.take(ONE, "after", 200)
    turns.told(ONE, "after", 200, answer(), complete=True)
    assert not turns.take(ONE, "after", 200 + DAY_S - 1)
    assert turns.take(ONE, "after", 200 + DAY_S)


def test_what_is_empty_the_first_time_or_lacks_a_commission_is_asked_again() -> None:
    turns = ExecutionTurns()
    for now, told, complete in ((0, answer(count=0), True), (20, answer(count=0), True)):
        assert turns.take(ONE, "x", now)
        turns.told(ONE, "x", now, told, complete=complete)
    assert not turns.take(ONE, "x", 40), "empty twice is empty"
    assert turns.take(ONE, "y", 40)
    turns.told(ONE, "y", 40, answer(), complete=False)
    assert turns.take(ONE, "y", 60)


def test_a_login_of_a_thousand_accounts_takes_a_third_of_the_slots_and_asks_about_each() -> None:
    """All of them change all the time; each is synced once in 15 minutes, always in the same order."""
    turns, asked, last = ExecutionTurns(), dict[AccountId, int](), -BETWEEN_S
    accounts = [AccountId(f"U{number}") for number in range(1_000)]
    for round_ in range(60):
        for number, account in enumerate(accounts):
            now = round_ * 900 + number * 0.9
            if turns.take(account, round_, now):
                assert now - last >= BETWEEN_S
                last = now
                asked[account] = asked.get(account, 0) + 1
                turns.told(account, round_, now, answer(), complete=True)
    assert len(asked) == 1_000
    assert (min(asked.values()), max(asked.values())) == (3, 4)


def test_what_was_told_last_is_kept_while_there_is_room() -> None:
    turns = ExecutionTurns()
    assert turns.kept(ONE) is None
    turns.told(ONE, "x", 0, answer(size=MOST_BYTES // 2), complete=True)
    turns.told(ONE, "x", 1, answer(size=MOST_BYTES // 2), complete=True)
    turns.told(TWO, "x", 2, answer(size=MOST_BYTES // 2), complete=True)
    assert turns.kept(ONE) is not None
    turns.told(AccountId("U3"), "x", 3, answer(size=1), complete=True)
    assert (turns.kept(ONE), turns.kept(TWO) is not None) == (None, True)
