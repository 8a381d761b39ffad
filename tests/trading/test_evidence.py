"""What one look at the broker's lists proves of a lost order: existence by our ref, absence only by whole reads."""

from __future__ import annotations

import dataclasses
from decimal import Decimal

import pytest

from doubts import LATER, LIMIT, MARK, REF, cut, doubted, executed, fill, listed, planned, row
from fakes import SPY, stock_ticket
from ibkit.model import (
    AccountId,
    ComboLeg,
    Conid,
    Contract,
    GroupKind,
    OrderId,
    OrderStatus,
    Ref,
    SecType,
    Side,
)
from ibkit.trading.evidence import Absent, Exists, Parked, Unclear, assess
from ibkit.trading.ports import SessionMark
from ibkit.trading.ref import leg_ref

pytestmark = pytest.mark.requirement("TRD-22")

OTHER_ACCOUNT = AccountId("DU7654321")
OTHER_CONID = Conid(265598)


def look(intent=None, *, orders=None, fills=None, settled=True):
    return assess(intent or doubted(), orders=orders, fills=fills, settled=settled)


# -- it is there --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("ref", [REF, Ref(REF.upper()), Ref(f" {REF} ")])
def test_a_row_with_our_ref_is_our_order_at_any_time(ref):
    """Existence needs no settle window: only absence has to be waited for."""
    found = look(orders=listed(row(ref=ref)), settled=False)

    assert found == Exists((OrderId("1001"),), OrderStatus.SUBMITTED, "orders list")


def test_a_row_counts_in_a_list_that_is_cut_or_the_first_of_its_session():
    assert isinstance(look(orders=listed(row(), complete=False, first=True)), Exists)


def test_a_row_of_another_account_is_not_ours():
    elsewhere = row(account_id=OTHER_ACCOUNT)

    assert isinstance(look(orders=listed(elsewhere), fills=executed()), Absent)


def test_two_orders_with_our_ref_are_both_named_and_one_shown_twice_is_one():
    twice = look(orders=listed(row(), row(order_id="1002", status=OrderStatus.FILLED), row()))

    assert twice == Exists((OrderId("1001"), OrderId("1002")), OrderStatus.SUBMITTED, "orders list")


@pytest.mark.parametrize("terms", [{"conid": OTHER_CONID}, {"side": Side.SELL}])
def test_our_ref_on_other_terms_is_foreign(terms):
    found = look(orders=listed(row(), row(order_id="1002", **terms)))

    assert isinstance(found, Exists)
    assert found.foreign


def test_an_execution_with_our_ref_is_our_order_though_no_list_shows_it():
    found = look(orders=listed(), fills=executed(fill(), fill()), settled=False)

    assert found == Exists((OrderId("1001"),), OrderStatus.UNKNOWN, "trades")


def test_executions_of_two_orders_name_both():
    found = look(fills=executed(fill(), fill("1002")))

    assert isinstance(found, Exists)
    assert found.order_ids == (OrderId("1001"), OrderId("1002"))


@pytest.mark.parametrize("terms", [{"conid": OTHER_CONID}, {"side": Side.SELL}])
def test_executions_of_other_terms_under_our_ref_are_foreign(terms):
    found = look(fills=executed(fill(), fill("1002", **terms)))

    assert isinstance(found, Exists)
    assert found.foreign


@pytest.mark.parametrize("foreign", [{"account_id": OTHER_ACCOUNT}, {"ref": None}, {"ref": Ref("ib-other")}])
def test_executions_of_others_prove_nothing_of_ours(foreign):
    assert look(orders=listed(), fills=executed(fill(**foreign))) == Absent(True, True, False)


def test_an_execution_with_our_ref_and_no_number_only_forbids_to_call_it_absent():
    """Nothing can be acknowledged without a number, and nothing that was executed is absent."""
    found = look(orders=listed(), fills=executed(fill(None)))

    assert found == Unclear("a row looks like ours, but not surely")


def test_a_numbered_execution_names_the_order_beside_one_without_a_number():
    found = look(orders=listed(), fills=executed(fill(None), fill("1002")))

    assert isinstance(found, Exists)
    assert found.order_ids == (OrderId("1002"),)


# -- it waits -----------------------------------------------------------------------------------------------------


def test_our_ref_on_a_row_behind_a_question_is_parked():
    found = look(orders=listed(row(parked=True, status=OrderStatus.INACTIVE)), fills=executed())

    assert found == Parked(OrderId("1001"))


def test_a_live_row_counts_more_than_a_parked_one():
    found = look(orders=listed(row(parked=True), row(order_id="1002")))

    assert isinstance(found, Exists)
    assert found.order_ids == (OrderId("1002"),)


# -- it may be there ----------------------------------------------------------------------------------------------


def test_one_row_with_a_cut_ref_and_our_terms_is_ours():
    """Fault F74: a broker that cuts the end of a ref."""
    assert isinstance(look(orders=listed(row(ref=cut()))), Exists)


def test_two_rows_with_a_cut_ref_could_be_ours_or_a_twins():
    found = look(orders=listed(row(ref=cut()), row(order_id="1002", ref=cut())), fills=executed())

    assert found == Unclear("a row looks like ours, but not surely")


def test_a_cut_ref_does_not_speak_beside_our_whole_one():
    found = look(orders=listed(row(order_id="1002", ref=cut()), row()))

    assert isinstance(found, Exists)
    assert found.order_ids == (OrderId("1001"),)


@pytest.mark.parametrize(
    "terms", [{"total": Decimal(9)}, {"conid": OTHER_CONID}, {"side": Side.SELL}], ids=["size", "contract", "side"]
)
@pytest.mark.parametrize("ref", [cut(), None], ids=["cut", "lost"])
def test_a_row_of_other_terms_does_not_look_like_ours(ref, terms):
    assert look(orders=listed(row(ref=ref, **terms)), fills=executed()) == Absent(True, True, False)


def test_an_order_of_our_terms_without_a_ref_forbids_to_call_ours_absent():
    found = look(orders=listed(row(order_id="7", ref=Ref("cs1-0001")), row(ref=None)), fills=executed())

    assert found == Unclear("an order without a ref has the same terms")


def test_an_order_of_our_terms_with_the_ref_of_somebody_else_is_theirs():
    assert look(orders=listed(row(ref=Ref("cs1-0001"))), fills=executed()) == Absent(True, True, False)


# -- it is not there ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("orders", "fills", "settled", "in_list", "in_fills"),
    [
        (listed(), executed(), True, True, True),
        (listed(), executed(), False, False, False),
        (listed(complete=False), executed(), True, False, True),
        (listed(first=True), executed(), True, False, True),
        (listed(), executed(first=True), True, True, False),
        (None, executed(), True, False, True),
        (listed(), None, True, True, False),
        (None, None, True, False, False),
    ],
    ids=["both", "too early", "cut list", "first list", "first trades", "no list", "no trades", "nothing read"],
)
def test_only_a_whole_read_after_the_settle_window_that_is_not_the_first_counts(
    orders, fills, settled, in_list, in_fills
):
    assert look(orders=orders, fills=fills, settled=settled) == Absent(in_list, in_fills, False)


@pytest.mark.parametrize("moved", [LATER, SessionMark("2", MARK.trading_day)], ids=["day", "session"])
def test_absence_is_shown_only_in_the_session_and_trading_day_of_the_send(moved):
    assert look(orders=listed(mark=moved), fills=executed()) == Absent(True, True, True)
    assert look(orders=listed(), fills=executed(mark=moved)) == Absent(True, True, True)
    assert look(orders=listed(), fills=None) == Absent(True, False, False)


def test_of_an_order_whose_day_of_sending_is_not_known_no_absence_is_shown():
    unsent = dataclasses.replace(doubted(), session="", trading_day=None)

    assert look(unsent, orders=listed(), fills=executed()) == Absent(True, True, True)


# -- groups and combinations --------------------------------------------------------------------------------------

SECOND = stock_ticket(side=Side.SELL)
OCA = planned(others=(SECOND, LIMIT), group=GroupKind.OCA)


def test_any_order_of_an_oca_group_proves_that_the_request_arrived():
    """It is no breach that there are two, and no other terms: each order of the group has its own."""
    siblings = (row(SECOND, "1002", ref=leg_ref(REF, 1)), row(order_id="1003", ref=leg_ref(REF, 2)))

    assert look(doubted(OCA), orders=listed(*siblings)) == Exists(
        (OrderId("1002"),), OrderStatus.SUBMITTED, "orders list"
    )


def test_the_first_of_an_oca_group_is_named_where_it_is_shown():
    found = look(doubted(OCA), orders=listed(row(SECOND, "1002", ref=leg_ref(REF, 1)), row()))

    assert found == Exists((OrderId("1001"),), OrderStatus.SUBMITTED, "orders list")


@pytest.mark.parametrize("number", [0, 3])
def test_a_number_that_the_group_does_not_have_is_no_sibling(number):
    found = look(doubted(OCA), orders=listed(row(SECOND, "1002", ref=leg_ref(REF, number))), fills=executed())

    assert found == Absent(True, True, False)


def test_the_children_of_a_bracket_carry_no_refs_of_ours():
    bracket = planned(others=(SECOND,), group=GroupKind.BRACKET)
    found = look(doubted(bracket), orders=listed(row(SECOND, "1002", ref=leg_ref(REF, 1))), fills=executed())

    assert found == Absent(True, True, False)


SHORT, LONG = (dataclasses.replace(SPY, conid=Conid(conid), sec_type=SecType.OPTION) for conid in (71, 72))
SPREAD = Contract(
    conid=Conid(28812380),
    symbol="SPY",
    sec_type=SecType.COMBO,
    legs=(ComboLeg(SHORT, -1), ComboLeg(LONG, 1)),
)


@pytest.mark.parametrize("conid", [28812380, 71, 72])
@pytest.mark.parametrize("side", Side)
def test_of_a_combination_the_whole_and_its_legs_are_ours_whichever_way_they_go(conid, side):
    ticket = dataclasses.replace(LIMIT, contract=SPREAD)
    found = look(doubted(planned(ticket)), orders=listed(row(ticket, conid=Conid(conid), side=side)))

    assert found == Exists((OrderId("1001"),), OrderStatus.SUBMITTED, "orders list")


def test_another_contract_under_the_ref_of_a_combination_is_foreign():
    ticket = dataclasses.replace(LIMIT, contract=SPREAD)
    found = look(doubted(planned(ticket)), fills=executed(fill(conid=OTHER_CONID)))

    assert isinstance(found, Exists)
    assert found.foreign
