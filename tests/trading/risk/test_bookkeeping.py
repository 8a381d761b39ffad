"""How a book of risk is kept: what a refused confirmation says, and which orders of an intent count."""

from __future__ import annotations

from datetime import timedelta
from decimal import Decimal

import pytest

from fakes import ACCOUNT, START
from ibkit.errors import NotFound, TradingError
from ibkit.model import Environment, GroupKind, Side
from ibkit.trading.intent import IntentState
from ibkit.trading.risk import Layer, LimitChange
from ibkit.trading.risk.bookkeeping import PENDING_FOR, confirmable, open_orders
from journal_words import other_key, planned
from risk_cases import limit_order, stop_order

pytestmark = pytest.mark.requirement("TRD-18")


def raise_(number=4, **more):
    fields = {"environment": Environment.LIVE, "layer": Layer.ACCOUNT, "whose": ACCOUNT, "name": "max_shares"}
    fields |= {"new": "900", "by": "ada", "note": "", "at": START, "number": number, "needs_second": True}
    return LimitChange(**{**fields, **more})


# -- who must agree --------------------------------------------------------------------------------------------------


def test_a_change_that_there_is_not_is_told_with_where_they_are_listed():
    with pytest.raises(NotFound) as caught:
        confirmable([raise_()], 5, by="bob", at=START)

    assert caught.value.message == "There is no change 5 of a limit"
    assert caught.value.remedy == "`ibkit risk history` lists them."


@pytest.mark.parametrize(
    ("changes", "by", "after", "why"),
    [
        ([raise_()], "Ada", timedelta(), "Change 4 was asked for by ada: another person must confirm it"),
        ([raise_()], "bob", PENDING_FOR + timedelta(seconds=1), "Change 4 waited for more than 24 hours"),
        ([raise_(needs_second=False)], "bob", timedelta(), "Change 4 is in force already"),
        ([raise_(), raise_(5, needs_second=False)], "bob", timedelta(), "Change 4 was overtaken by a later one"),
    ],
)
def test_a_confirmation_that_is_refused_says_why_and_where_to_look(changes, by, after, why):
    with pytest.raises(TradingError) as caught:
        confirmable(changes, 4, by=by, at=START + after)

    assert (caught.value.code, caught.value.message) == ("E-RISK", why)
    assert caught.value.remedy == "`ibkit risk history` shows what waits, and for whom."


# -- what counts as open ---------------------------------------------------------------------------------------------

PARENT = limit_order("100", "10")
TARGET, STOP, EXTRA = (
    limit_order("110", "10", side=Side.SELL),
    stop_order("90", "10", side=Side.SELL),
    stop_order("90", "11", side=Side.SELL),
)


def opened(wish, state=IntentState.ACKED, *, order_id="", sent="10", value="1000", parent=None):
    return open_orders(wish, state, order_id=order_id, sent=Decimal(sent), value_usd=Decimal(value), parent=parent)


def test_an_order_that_left_twice_counts_what_left():
    """More than its quantity is a loop, which RC-19 stops."""
    (order,) = opened(planned(ticket=PARENT), sent="20")

    assert (order.ticket.quantity, order.sent) == (10, 20)


@pytest.mark.parametrize("state", [IntentState.SENDING, IntentState.UNKNOWN_NEEDS_HUMAN])
def test_orders_of_a_group_that_have_no_numbers_yet_count_with_their_parents_name(state):
    wish = planned(ticket=PARENT, group=GroupKind.BRACKET, others=(TARGET, EXTRA))
    first, *others = opened(wish, state)

    assert (first.intent_id, first.reduces, first.ended) == (wish.intent_id, False, False)
    assert [order.intent_id for order in others] == [f"{wish.intent_id}-1", f"{wish.intent_id}-2"]
    assert [(order.ticket, order.sent) for order in others] == [(TARGET, 10), (EXTRA, 11)]
    assert [(order.group, order.value_usd) for order in others] == [(wish.intent_id, 0)] * 2
    assert [order.reduces for order in others] == [True, False]  # eleven sold after ten bought open one


@pytest.mark.parametrize(
    ("child", "reduces"),
    [(TARGET, True), (STOP, True), (EXTRA, False), (limit_order("100", "10"), False)],
)
def test_a_brackets_child_with_its_own_number_reduces_what_its_parent_opened(child, reduces):
    parent = planned(ticket=PARENT, group=GroupKind.BRACKET, others=(child,))
    leg = planned(other_key(1), ticket=child, leg_of=parent.intent_id)

    (order,) = opened(leg, order_id="91", sent="0", parent=parent)
    assert (order.reduces, order.sent) == (reduces, child.quantity)
    (alone,) = opened(leg, order_id="91")
    assert not alone.reduces


def test_a_sibling_of_an_order_that_excludes_it_reduces_nothing():
    parent = planned(ticket=PARENT, group=GroupKind.OCA, others=(TARGET,))
    leg = planned(other_key(1), ticket=TARGET, leg_of=parent.intent_id)

    (order,) = opened(leg, order_id="91", parent=parent)
    assert (order.reduces, order.group) == (False, parent.intent_id)
