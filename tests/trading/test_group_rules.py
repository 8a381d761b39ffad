"""Which order of the broker is which of a group, by refs, by terms, and by what the answer refused."""

from __future__ import annotations

import dataclasses
from decimal import Decimal

import pytest

from doubts import REF, acknowledged, planned, row
from fakes import option, stock_ticket
from ibkit.errors import ConfigError
from ibkit.model import (
    Accepted,
    AcceptedRow,
    GroupKind,
    OrderId,
    OrderStatus,
    OrderType,
    Ref,
    Side,
    TimeInForce,
    Trail,
)
from ibkit.trading.events import LegAck
from ibkit.trading.groups import acknowledged_legs, check_group, fits, late_leg, legs_from, rows_of
from ibkit.trading.ref import leg_ref

pytestmark = pytest.mark.requirement("TRD-12")

ENTRY = stock_ticket(order_type=OrderType.LIMIT, limit_price=Decimal("629.00"))
PROFIT = stock_ticket(side=Side.SELL, order_type=OrderType.LIMIT, limit_price=Decimal("640.00"), tif=TimeInForce.GTC)
STOP = stock_ticket(side=Side.SELL, order_type=OrderType.STOP, stop_price=Decimal("620.00"), tif=TimeInForce.GTC)
STOP_LIMIT = dataclasses.replace(STOP, order_type=OrderType.STOP_LIMIT, limit_price=Decimal("619.00"))

IF_TOUCHED = stock_ticket(side=Side.SELL, order_type=OrderType.MARKET_IF_TOUCHED, stop_price=Decimal(640))

BRACKET = acknowledged(planned(ENTRY, others=(PROFIT, STOP), group=GroupKind.BRACKET))
OCA = acknowledged(planned(PROFIT, others=(STOP, STOP_LIMIT), group=GroupKind.OCA))
SUBMITTED, WAITS = OrderStatus.SUBMITTED, OrderStatus.PRE_SUBMITTED


def accepted(*others):
    return Accepted(OrderId("1001"), SUBMITTED, REF, others=others)


def child(ticket, order_id, **changes):
    return row(ticket, order_id, **{"ref": None, "parent_id": OrderId("1001"), **changes})


# -- what can be one request --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("others", "group", "field", "reason"),
    [
        ((PROFIT,), None, "group", "several orders leave together only as a bracket or an OCA group"),
        ((), GroupKind.OCA, "others", "a group (oca) has at least two orders"),
        (
            (PROFIT, dataclasses.replace(STOP, account_id="DU7654321")),
            GroupKind.OCA,
            "others[2].account_id",
            "the orders of a group are of one account",
        ),
        (
            (PROFIT, dataclasses.replace(STOP, parent_id="17")),
            GroupKind.OCA,
            "others[2].parent_id",
            "an order of a group hangs on no other order",
        ),
        (
            (dataclasses.replace(PROFIT, side=Side.BUY),),
            GroupKind.BRACKET,
            "others[1].side",
            "bracket_side: a child undoes its parent, so it is on the opposite side",
        ),
        (
            (dataclasses.replace(PROFIT, contract=option()),),
            GroupKind.BRACKET,
            "others[1].contract",
            "bracket_contract: a child is in the contract of its parent",
        ),
        (
            (PROFIT, dataclasses.replace(STOP, quantity=Decimal(9))),
            GroupKind.BRACKET,
            "others[2].quantity",
            "bracket_quantity: 9, but the parent's is 10",
        ),
        (
            (dataclasses.replace(PROFIT, limit_price=Decimal(629)),),
            GroupKind.BRACKET,
            "others[1].limit_price",
            "bracket_profit: 629 gains nothing on 629.00",
        ),
        (
            (dataclasses.replace(STOP, stop_price=Decimal("629.05")),),
            GroupKind.BRACKET,
            "others[1].stop_price",
            "bracket_stop: 629.05 does not limit a loss on 629.00",
        ),
        (
            (dataclasses.replace(STOP_LIMIT, stop_price=Decimal("629.05")),),
            GroupKind.BRACKET,
            "others[1].stop_price",
            "bracket_stop: 629.05 does not limit a loss on 629.00",
        ),
    ],
)
def test_what_cannot_be_one_request_is_refused_with_its_field_and_reason(others, group, field, reason):
    with pytest.raises(ConfigError) as caught:
        check_group(ENTRY, others, group)

    assert caught.value.code == "E-VALIDATION"
    assert caught.value.details == {"field": field}
    assert caught.value.message == f"Invalid request: {field}: {reason}"


def test_the_first_order_of_a_group_hangs_on_no_other_either():
    with pytest.raises(ConfigError, match="hangs on no other"):
        check_group(dataclasses.replace(ENTRY, parent_id="17"), (PROFIT,), GroupKind.OCA)


@pytest.mark.parametrize(
    ("parent", "others", "group"),
    [
        (ENTRY, (), None),
        (ENTRY, (PROFIT, STOP), GroupKind.BRACKET),
        (ENTRY, (STOP_LIMIT,), GroupKind.BRACKET),
        (
            dataclasses.replace(ENTRY, side=Side.SELL),
            (dataclasses.replace(ENTRY, limit_price=Decimal(628)),),
            "bracket",
        ),
        (stock_ticket(), (dataclasses.replace(PROFIT, limit_price=Decimal(1)),), GroupKind.BRACKET),
        (ENTRY, (stock_ticket(side=Side.SELL),), GroupKind.BRACKET),
        (ENTRY, (IF_TOUCHED,), GroupKind.BRACKET),
        (PROFIT, (ENTRY, dataclasses.replace(STOP, quantity=Decimal(3), contract=option())), GroupKind.OCA),
    ],
    ids=["one", "bracket", "stop limit", "sale", "no entry price", "market exit", "if touched", "oca of anything"],
)
def test_what_can_be_one_request_passes(parent, others, group):
    check_group(parent, others, GroupKind(group) if group else None)


def test_a_profit_at_the_entry_of_a_sale_gains_nothing():
    sale = dataclasses.replace(ENTRY, side=Side.SELL)
    with pytest.raises(ConfigError, match="bracket_profit"):
        check_group(sale, (dataclasses.replace(ENTRY, limit_price=Decimal("629.00")),), GroupKind.BRACKET)


# -- what the answer says -----------------------------------------------------------------------------------------


def test_the_answer_to_a_single_order_has_no_legs():
    assert acknowledged_legs(acknowledged(), accepted(AcceptedRow(OrderId("1002"), SUBMITTED, None))) == ()


def test_children_cannot_be_told_apart_by_the_answer():
    answer = accepted(
        AcceptedRow(OrderId("1002"), WAITS, leg_ref(REF, 1)), AcceptedRow(None, OrderStatus.UNKNOWN, None, text="no")
    )

    assert acknowledged_legs(BRACKET, answer) == (
        LegAck(None, OrderId("1002"), WAITS, ""),
        LegAck(None, None, OrderStatus.UNKNOWN, "no"),
    )


def test_an_only_child_is_the_first():
    single = acknowledged(planned(ENTRY, others=(STOP,), group=GroupKind.BRACKET))

    assert acknowledged_legs(single, accepted(AcceptedRow(OrderId("1002"), WAITS, None))) == (
        LegAck(1, OrderId("1002"), WAITS),
    )


@pytest.mark.parametrize("told", [1, 3])
def test_an_answer_with_another_number_of_rows_names_no_only_child(told):
    single = acknowledged(planned(ENTRY, others=(STOP,) * (2 if told == 1 else 1), group=GroupKind.BRACKET))
    answer = accepted(*(AcceptedRow(OrderId(str(1002 + n)), WAITS, None) for n in range(told)))

    assert {leg.number for leg in acknowledged_legs(single, answer)} == {None}


def test_siblings_are_told_apart_by_their_refs():
    answer = accepted(
        AcceptedRow(OrderId("1003"), WAITS, Ref(leg_ref(REF, 2).upper())),
        AcceptedRow(OrderId("1002"), WAITS, leg_ref(REF, 1)),
        AcceptedRow(OrderId("1004"), WAITS, leg_ref(REF, 3)),
    )

    assert [leg.number for leg in acknowledged_legs(OCA, answer)] == [2, 1, None]


# -- which rows of a list are of the group ------------------------------------------------------------------------


def test_children_are_known_by_their_parent():
    rows = (
        child(PROFIT, "1002"),
        child(STOP, "1003", parent_id=OrderId("7")),
        child(STOP, "1004", parent_id=None, ref=leg_ref(REF, 1)),
    )

    assert rows_of(BRACKET, rows) == rows[:1]


def test_a_row_without_a_parent_is_no_child_of_an_order_without_a_number():
    assert rows_of(dataclasses.replace(BRACKET, order_id=None), (child(STOP, "1002", parent_id=None),)) == ()


def test_siblings_are_known_by_their_refs():
    rows = (
        row(STOP, "1002", ref=leg_ref(REF, 1)),
        child(STOP_LIMIT, "1003"),
        row(STOP_LIMIT, "1004"),
        row(STOP_LIMIT, "1005", ref=leg_ref(REF, 0)),
        row(STOP_LIMIT, "1006", ref=leg_ref(REF, 3)),
    )

    assert rows_of(OCA, rows) == rows[:1]


# -- which is which -----------------------------------------------------------------------------------------------


def test_children_take_their_places_by_their_terms_whatever_their_order():
    """Fault F120: the rows of an answer are in no order."""
    legs = legs_from(BRACKET, (child(STOP, "1002", status=WAITS), child(PROFIT, "1003")), ())

    assert legs == (LegAck(1, OrderId("1003"), SUBMITTED), LegAck(2, OrderId("1002"), WAITS))


def test_siblings_take_their_places_by_their_refs_not_their_terms():
    rows = (row(STOP, "1002", ref=leg_ref(REF, 2)), row(STOP, "1003", ref=leg_ref(REF, 1)))

    assert [leg.order_id for leg in legs_from(OCA, rows, ())] == ["1003", "1002"]


def test_two_children_of_the_same_terms_take_one_place_each():
    twins = acknowledged(planned(ENTRY, others=(STOP, STOP), group=GroupKind.BRACKET))

    assert [leg.order_id for leg in legs_from(twins, (child(STOP, "1002"), child(STOP, "1003")), ())] == [
        "1002",
        "1003",
    ]


def test_one_place_is_not_taken_twice():
    twice = (row(STOP, "1002", ref=leg_ref(REF, 1)), row(STOP, "1003", ref=leg_ref(REF, 1)))

    assert legs_from(OCA, twice, ()) == (
        LegAck(1, OrderId("1002"), SUBMITTED),
        LegAck(2, None, OrderStatus.UNKNOWN),
    )


def test_an_order_that_fits_no_child_takes_no_place():
    legs = legs_from(BRACKET, (child(STOP, "1002", side=Side.BUY), child(STOP, "1003")), ())

    assert legs == (LegAck(1, None, OrderStatus.UNKNOWN), LegAck(2, OrderId("1003"), SUBMITTED))


def test_the_child_that_was_refused_is_the_one_that_is_not_there():
    refused = LegAck(None, None, OrderStatus.UNKNOWN, "too far away")
    legs = legs_from(BRACKET, (child(PROFIT, "1002"),), (refused,))

    assert legs == (
        LegAck(1, OrderId("1002"), SUBMITTED),
        LegAck(2, None, OrderStatus.INACTIVE, "too far away"),
    )


def test_a_refusal_without_words_is_a_refusal_all_the_same():
    legs = legs_from(BRACKET, (child(PROFIT, "1002"),), (LegAck(None, None, OrderStatus.UNKNOWN),))

    assert legs[1] == LegAck(2, None, OrderStatus.INACTIVE, "refused")


def test_a_refusal_that_names_its_place_is_of_that_place():
    legs = legs_from(BRACKET, (), (LegAck(2, None, OrderStatus.UNKNOWN, "no stops"),))

    assert legs == (LegAck(1, None, OrderStatus.UNKNOWN), LegAck(2, None, OrderStatus.INACTIVE, "no stops"))


def test_a_refusal_of_a_place_that_is_shown_says_nothing_of_another():
    legs = legs_from(BRACKET, (child(PROFIT, "1002"),), (LegAck(1, None, OrderStatus.UNKNOWN, "no"),))

    assert legs[1] == LegAck(2, None, OrderStatus.UNKNOWN)


def test_more_refusals_than_places_are_not_one_too_many():
    legs = legs_from(BRACKET, (child(PROFIT, "1002"), child(STOP, "1003")), (LegAck(None, None, OrderStatus.UNKNOWN),))

    assert [leg.order_id for leg in legs] == ["1002", "1003"]


@pytest.mark.parametrize(
    ("status", "parked", "reason", "text"),
    [
        (OrderStatus.INACTIVE, False, "margin", "margin"),
        (OrderStatus.INACTIVE, False, None, "refused"),
        (OrderStatus.INACTIVE, True, "margin", ""),
        (WAITS, False, "locating shares", ""),
    ],
)
def test_a_child_that_is_inactive_was_refused_unless_it_waits_behind_a_question(status, parked, reason, text):
    legs = legs_from(BRACKET, (child(PROFIT, "1002", status=status, parked=parked, reason=reason),), ())

    assert legs[0] == LegAck(1, OrderId("1002"), status, text)


def test_an_order_that_fits_nothing_of_the_group_is_left_out():
    """And so is a second one for a place that is taken."""
    legs = legs_from(
        BRACKET,
        (child(PROFIT, "1002"), child(PROFIT, "1004"), child(dataclasses.replace(STOP, side=Side.BUY), "9")),
        (),
    )

    assert [leg.order_id for leg in legs] == ["1002", None]


def test_of_two_orders_with_one_ref_the_first_has_the_place():
    twice = (row(STOP, "1002", ref=leg_ref(REF, 1)), row(STOP, "1003", ref=leg_ref(REF, 1)))

    assert [leg.order_id for leg in legs_from(OCA, twice, ())] == ["1002", None]


# -- what comes up late --------------------------------------------------------------------------------------------


def test_nothing_comes_late_of_a_group_whose_orders_are_not_known_yet():
    assert late_leg(BRACKET, child(PROFIT, "1002")) is None


def test_the_first_of_an_oca_group_may_come_up_after_another_stood_in_for_it():
    """The group was found by its second order; later the list shows the one that bears the group's own ref."""
    stood_in = dataclasses.replace(
        OCA, grouped=True, order_id=OrderId("1002"), legs=(LegAck(1, OrderId("1002"), SUBMITTED),)
    )

    assert late_leg(stood_in, row(PROFIT, "1001", ref=REF)) == LegAck(0, OrderId("1001"), SUBMITTED, "")
    assert late_leg(stood_in, row(PROFIT, "1002", ref=REF)) is None


# -- terms --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("ticket", "shown"),
    [
        (STOP, {"order_type": "STOP"}),
        (STOP, {"order_type": "Stop", "total": Decimal(0)}),
        (STOP, {"stop_price": None}),
        (STOP, {"limit_price": Decimal(5)}),
        (STOP_LIMIT, {"order_type": "Stop Limit"}),
        (STOP_LIMIT, {"order_type": "STP LMT", "limit_price": Decimal(619)}),
        (PROFIT, {"order_type": "limit"}),
        (stock_ticket(), {"order_type": "Market"}),
        (stock_ticket(order_type=OrderType.MIDPRICE), {}),
    ],
)
def test_an_order_fits_its_ticket_as_far_as_both_tell_their_terms(ticket, shown):
    """The list spells types in its own way, and tells no size of what has ended."""
    assert fits(row(ticket, **shown), ticket)


@pytest.mark.parametrize(
    ("word", "kind"), [("Trailing Stop", "TRAIL"), ("TRAILING_STOP_LIMIT", "TRAILLMT"), ("TRAIL LIMIT", "TRAILLMT")]
)
def test_every_spelling_of_a_trailing_order_is_one_kind(word, kind):
    prices = {"limit_price": Decimal(619), "stop_price": Decimal(620)} if kind == "TRAILLMT" else {}
    ticket = stock_ticket(order_type=OrderType(kind), trail=Trail(Decimal(1)), **prices)

    assert fits(row(ticket, order_type=word), ticket)


@pytest.mark.parametrize(
    "shown",
    [
        {"side": Side.BUY},
        {"total": Decimal(9)},
        {"order_type": "STP LMT"},
        {"stop_price": Decimal(619)},
    ],
)
def test_an_order_of_other_terms_does_not_fit(shown):
    assert not fits(row(STOP, **shown), STOP)


def test_a_child_may_be_as_small_as_what_its_parent_filled():
    assert fits(child(STOP, "1002", total=Decimal(4)), STOP)
    assert not fits(child(STOP, "1002", total=Decimal(11)), STOP)
    assert not fits(row(STOP, "1002", total=Decimal(4)), STOP)


def test_children_that_come_up_late_and_smaller_are_known_by_their_prices():
    """The parent was cancelled after 4 of 10; both children had not been seen before."""
    unseen = (LegAck(1, None, OrderStatus.UNKNOWN, "unseen"), LegAck(2, None, OrderStatus.UNKNOWN, "unseen"))
    grouped = dataclasses.replace(BRACKET, grouped=True, legs=unseen)

    found = [
        late_leg(grouped, child(ticket, number, total=Decimal(4))) for ticket, number in ((STOP, "7"), (PROFIT, "8"))
    ]

    assert [(leg.number, leg.order_id) for leg in found] == [(2, "7"), (1, "8")]


def test_a_limit_that_differs_does_not_fit():
    assert not fits(row(STOP_LIMIT, limit_price=Decimal(618)), STOP_LIMIT)
