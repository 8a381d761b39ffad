"""Our ledger of random simulated lives against the simulator's books and its statements, to the last digit.

More of them: LIVES=1000 in the environment, or `python tests/ledger_lives.py 1000`.
"""

from __future__ import annotations

import os

import pytest

from desks import Desk
from ibkit.client.flex_statements import statements_of
from ibkit.portfolio.ledger import Rules
from ibkit.portfolio.statements import opening_of
from ledger_lives import (
    ACTIVITY,
    AS_TOLD,
    CONFIRMS,
    agrees,
    balanced,
    body_of,
    check,
    event,
    ledger_of,
    live,
    put,
    trade,
)

pytestmark = pytest.mark.requirement("FUT-08")

EACH = 5
LIVES = int(os.environ.get("LIVES", "10"))
"""How many random lives are tried: a few by default, because each takes half a second."""


@pytest.mark.parametrize("start", range(0, LIVES, EACH))
def test_lives_agree_with_the_books_and_the_statements(start: int) -> None:
    for seed in range(start, min(start + EACH, LIVES)):
        check(seed)


def test_lives_are_of_everything() -> None:
    done = {thing for seed in range(12) for thing in live(seed, steps=10).done}
    assert done >= {"trade", "put", "split", "dividend", "convert", "yen", "early", "fee", "interest", "swing"}


def test_a_ledger_without_one_row_does_not_agree() -> None:
    desk = Desk()
    trade(desk, 100, "600.00")
    event(desk, event="dividend", symbol="SPY", per_share="1.76", tax_pct="15")
    body = body_of(desk)
    (told,) = statements_of(body)
    agrees(desk, ledger_of([body], desk.account), told)
    rows = [row for row in body.splitlines(keepends=True) if b'type="Withholding Tax"' not in row]
    with pytest.raises(AssertionError):
        agrees(desk, ledger_of([b"".join(rows)], desk.account), told)


def test_an_assignment_carries_its_premium_into_the_stock() -> None:
    desk = Desk()
    conid = put(desk)
    trade(desk, -1, "3.15", conid)
    event(desk, event="assign", account=desk.account, conid=conid, quantity=1)
    body = body_of(desk)
    strike = desk.world.instruments.get(conid).strike  # type: ignore[union-attr]
    (told,) = statements_of(body)
    as_told, carried = ledger_of([body], desk.account), ledger_of([body], desk.account, Rules())
    ((held,), (moved,)) = as_told.held.values(), carried.held.values()
    assert held.cost == strike * 100
    premium = as_told.realized()["USD"]
    assert premium > 300
    assert moved.cost == held.cost - premium
    assert carried.realized() == {"USD": 0}
    assert balanced(carried, opening_of([told]).cash["USD"])
    assert as_told.rules == AS_TOLD


def test_option_endings_of_a_statement_without_them_among_its_trades() -> None:
    """OptionEAE tells them, too; where both do they count once (which `agrees` of every life shows)."""
    desk = Desk()
    conid = put(desk)
    trade(desk, -1, "3.15", conid)
    event(desk, event="assign", account=desk.account, conid=conid, quantity=1)
    body = body_of(desk)
    rows = [row for row in body.splitlines(keepends=True) if not (row.startswith(b"<Trade ") and b'"BookTrade"' in row)]
    assert len(rows) < len(body.splitlines())
    (told,) = statements_of(body)
    agrees(desk, ledger_of([b"".join(rows)], desk.account), told)


def test_confirmations_alone_count_each_execution_once() -> None:
    desk = Desk()
    trade(desk, 100, "600.00")
    trade(desk, -40, "605.00")
    ledger = ledger_of([body_of(desk, query=CONFIRMS)] * 2, desk.account)
    assert {conid: held.quantity for conid, held in ledger.held.items()} == {756733: 60}
    whole = ledger_of([body_of(desk, query=ACTIVITY)], desk.account)
    assert whole.cash["USD"] - desk.book.started_with == ledger.cash["USD"]
