"""RC-07 and RC-23: how large an order is, and how many stand."""

from __future__ import annotations

import dataclasses
from decimal import Decimal

import pytest

from fakes import SPY, option, stock_ticket
from ibkit.model import Right, SecType, Side
from ibkit.trading.events import Operation
from ibkit.trading.risk import LIVE_LIMITS, PAPER_LIMITS, State, Usage
from risk_cases import (
    LIVE,
    bracket,
    case,
    foreign,
    holding,
    limit_order,
    oca,
    ours,
    read,
    sale,
    spread,
    spread_order,
    state_of,
    stop_order,
)

pytestmark = pytest.mark.requirement("TRD-18")
FUTURE = dataclasses.replace(SPY, sec_type=SecType.FUTURE)
CASH = dataclasses.replace(SPY, sec_type=SecType.CASH)


@pytest.mark.parametrize(
    ("quantity", "limits", "state"),
    [
        ("9999", PAPER_LIMITS, State.OK),
        ("10000", PAPER_LIMITS, State.OK),
        ("10000.0001", PAPER_LIMITS, State.REFUSES),
        ("10001", PAPER_LIMITS, State.REFUSES),
        ("499", LIVE, State.OK),
        ("500", LIVE, State.OK),
        ("500.0001", LIVE, State.REFUSES),
        ("501", LIVE, State.REFUSES),
    ],
)
def test_shares_of_an_order(quantity, limits, state):
    reading = read("RC-07", case(stock_ticket(quantity), limits=limits))

    assert (reading.name, reading.state) == ("max_quantity", state)
    assert reading.headroom == Decimal(reading.limit) - Decimal(quantity)


@pytest.mark.parametrize("limits", [PAPER_LIMITS, LIVE], ids=["paper", "live"])
@pytest.mark.parametrize(("quantity", "state"), [("9", State.OK), ("10", State.OK), ("11", State.REFUSES)])
@pytest.mark.parametrize("contract", [option(), FUTURE, spread(("629", 1, Right.PUT), ("624", -1, Right.PUT))])
def test_contracts_of_an_order(quantity, state, contract, limits):
    assert state_of("RC-07", case(stock_ticket(quantity, contract=contract), limits=limits)) is state


def test_the_refusal_names_limit_and_value():
    assert read("RC-07", case(sale("11"))).objection.text == "Order exceeds limit max_quantity: 11 > 10"
    assert LIVE_LIMITS.max_shares == 500


@pytest.mark.parametrize(("quantity", "state"), [("5", State.OK), ("6", State.REFUSES)])
def test_of_a_combination_the_largest_leg_counts(quantity, state):
    ratio = spread(("629", 1, Right.PUT), ("624", -2, Right.PUT))

    assert state_of("RC-07", case(spread_order(ratio, "1", quantity))) is state


def test_currencies_are_not_counted_in_pieces_and_limits_can_be_off():
    off = dataclasses.replace(PAPER_LIMITS, max_shares=None, max_option_contracts=None)

    assert state_of("RC-07", case(stock_ticket("1000000", contract=CASH))) is State.OFF
    assert state_of("RC-07", case(stock_ticket("1000000"), limits=off)) is State.OFF
    assert state_of("RC-07", case(sale("1000"), limits=off)) is State.OFF


def test_every_order_of_a_group_is_measured_and_the_nearest_to_the_limit_shown():
    near = oca(limit_order("1", "10"), limit_order("1", "9000"), limit_order("1", "20"))

    assert read("RC-07", near).headroom == 1000
    assert state_of("RC-07", oca(limit_order("1", "10"), limit_order("1", "10001"))) is State.REFUSES
    assert read("RC-07", oca(stock_ticket("5", contract=CASH), limit_order("1", "9"))).value == "9"


def test_an_exit_is_bounded_too():
    assert state_of("RC-07", case(stock_ticket("10001", side=Side.SELL), positions=holding("20000"))) is State.REFUSES


# -- RC-23 -----------------------------------------------------------------------------------------------------------


def standing(count: int, side: Side = Side.BUY, **more: object) -> Usage:
    return Usage(open=tuple(ours(limit_order("50", side=side), f"ib-{n}", **more) for n in range(count)))


@pytest.mark.parametrize(("count", "state"), [(13, State.OK), (14, State.OK), (15, State.REFUSES), (16, State.REFUSES)])
def test_open_orders_of_a_contract_and_side(count, state):
    reading = read("RC-23", case(usage=standing(count)))

    assert (reading.name, reading.state) == ("too_many_open", state)
    assert reading.headroom == 15 - count - 1


def test_only_the_same_contract_and_side_count():
    other = tuple(ours(sale(), f"ib-{n}") for n in range(20))

    assert read("RC-23", case(usage=standing(20, Side.SELL))).value == "1"
    assert read("RC-23", case(usage=Usage(open=other))).value == "1"


@pytest.mark.parametrize(("foreigners", "state"), [(4, State.OK), (5, State.REFUSES)])
def test_orders_of_somebody_else_count(foreigners, state):
    others = tuple(foreign(order_id=str(n)) for n in range(foreigners))
    elsewhere = (foreign(Side.SELL, order_id="a"), foreign(contract=option(), order_id="b"))

    assert state_of("RC-23", case(usage=standing(10), others=(*others, *elsewhere))) is state


def test_open_orders_that_are_not_known_refuse():
    assert state_of("RC-23", case(others=None)) is State.NOT_KNOWN
    assert state_of("RC-23", case(others=None, limits=dataclasses.replace(PAPER_LIMITS, max_active_orders=None))) is (
        State.OFF
    )


def test_of_two_sides_the_one_with_less_room_is_shown_also_where_there_is_none():
    """The limit is 15: with this request 14 and 15 stand on the two sides, or 15 and 15."""

    def shown(bought, sold):
        both = Usage(open=standing(bought).open + standing(sold, Side.SELL).open)
        given = oca(limit_order("50"), limit_order("49", side=Side.SELL), usage=both)
        return read("RC-23", given).value, read("RC-23", given).headroom

    assert shown(13, 14) == shown(14, 13) == shown(14, 14) == ("15", 0)


def test_a_change_adds_no_order_and_ended_orders_do_not_stand():
    change = {"operation": Operation.MODIFY, "replaces": foreign()}

    assert read("RC-23", case(usage=standing(15), **change)).value == "15"
    assert read("RC-23", case(usage=standing(15, ended=True))).value == "1"
    assert read("RC-23", case(usage=standing(15, changes=True))).value == "1"
    own = Usage(open=(ours(limit_order("50"), "ib-this"), ours(limit_order("50"), "ib-leg", group="ib-this")))
    assert read("RC-23", case(usage=own)).value == "1"


@pytest.mark.parametrize(("count", "state"), [(13, State.OK), (14, State.REFUSES)])
def test_the_orders_of_a_group_all_stand(count, state):
    assert state_of("RC-23", oca(limit_order("50"), limit_order("49"), usage=standing(count))) is state


@pytest.mark.parametrize(("count", "state"), [(15, State.OK), (19, State.OK), (20, State.REFUSES)])
def test_what_closes_may_use_what_ibkr_allows(count, state):
    given = case(stock_ticket("1", side=Side.SELL), usage=standing(count, Side.SELL), positions=holding("1000"))

    assert given.exits
    assert state_of("RC-23", given) is state


def test_children_of_a_bracket_stand_on_their_own_side():
    given = bracket(
        limit_order("100"),
        limit_order("110", side=Side.SELL),
        stop_order("90", side=Side.SELL),
        usage=standing(18, Side.SELL),
    )

    assert state_of("RC-23", given) is State.OK
    assert state_of("RC-23", dataclasses.replace(given, usage=standing(19, Side.SELL))) is State.REFUSES
    assert read("RC-23", given).headroom == 0


def test_combinations_are_told_apart_though_they_share_a_conid():
    one, other = (
        spread(("629", 1, Right.PUT), ("624", -1, Right.PUT)),
        spread(("628", 1, Right.PUT), ("624", -1, Right.PUT)),
    )
    usage = Usage(open=tuple(ours(spread_order(other, "1"), f"ib-{n}") for n in range(15)))

    assert read("RC-23", case(spread_order(one, "1"), usage=usage)).value == "1"
    assert read("RC-23", case(spread_order(other, "1"), usage=usage)).state is State.REFUSES
    assert read("RC-23", case(spread_order(one, "1"), others=(foreign(contract=one),))).value == "2"


def test_a_limit_above_ibkrs_binds_exits_as_well():
    limits = dataclasses.replace(PAPER_LIMITS, max_active_orders=25)
    given = case(
        stock_ticket("1", side=Side.SELL), usage=standing(24, Side.SELL), positions=holding("1000"), limits=limits
    )

    assert state_of("RC-23", given) is State.OK


def test_of_several_contracts_the_one_nearest_to_its_limit_is_shown():
    given = oca(limit_order("50"), sale("1"), usage=standing(9))

    assert read("RC-23", given).headroom == 5
    assert read("RC-23", oca(sale("1"), limit_order("50"), usage=standing(9))).headroom == 5


def test_an_exit_does_not_wait_for_a_list_that_cannot_be_read():
    given = case(stop_order("90", "1", side=Side.SELL), reduces=True, others=None)

    assert state_of("RC-23", given) is State.OK
