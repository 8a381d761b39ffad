"""RC-09 to RC-12: fresh quotes, the collar, market orders, the grid."""

from __future__ import annotations

import dataclasses
from datetime import timedelta
from decimal import Decimal

import pytest

from fakes import GRID, SPY, option, quote, stock_ticket
from ibkit.model import OrderType, Right, SecType, Side, Trail
from ibkit.trading.events import Stage
from ibkit.trading.risk import PAPER_LIMITS, Mode, State, check
from risk_cases import (
    LIVE,
    NOW,
    bracket,
    case,
    limit_order,
    markets,
    oca,
    read,
    sale,
    spread,
    spread_order,
    state_of,
    stop_order,
)

pytestmark = pytest.mark.requirement("TRD-18")
VERTICAL = spread(("629", 1, Right.PUT), ("624", -1, Right.PUT))
LEGS = markets(VERTICAL, ("1.98", "2.02"), ("0.98", "1.02"))
ROUND = quote(SPY.conid, "100.00", "100.00")


def ago(seconds: float):
    return NOW - timedelta(seconds=seconds)


@pytest.mark.parametrize(
    ("age_s", "stage", "state"),
    [
        (4.999, Stage.SEND, State.OK),
        (5, Stage.SEND, State.OK),
        (5.001, Stage.SEND, State.NOT_KNOWN),
        (5.001, Stage.INTAKE, State.NOT_KNOWN),
        (40, Stage.CONFIRM, State.OK),
        (40.001, Stage.CONFIRM, State.NOT_KNOWN),
    ],
)
@pytest.mark.parametrize("ticket", [stock_ticket("1"), limit_order("100")], ids=["market", "limit"])
def test_a_quote_is_five_seconds_old_at_most(age_s, stage, state, ticket):
    reading = read("RC-09", case(ticket, quote_at=ago(age_s), stage=stage))

    assert (reading.name, reading.state) == ("quote_stale", state)


def test_no_quote_is_no_value():
    for missing in ({"quote": None}, {"quote_at": None}):
        reading = read("RC-09", case(**missing))
        assert (reading.state, reading.value) == (State.NOT_KNOWN, "no quote")
    assert read("RC-09", case(quote_at=ago(7))).objection.text == (
        "The order cannot be valued: 7.0 s old, a quote of at most 5 s is needed"
    )


def test_a_stop_has_a_price_of_its_own_and_what_needs_no_value_needs_no_quote():
    unvalued = dataclasses.replace(PAPER_LIMITS, max_order_value=None)
    no_collar = dataclasses.replace(PAPER_LIMITS, collar_pct=None)

    assert state_of("RC-09", case(stop_order("105"), quote=None)) is State.OK
    assert state_of("RC-09", case(stock_ticket("1"), quote=None, limits=unvalued)) is State.OK
    assert state_of("RC-09", case(limit_order("105"), quote=None, limits=unvalued)) is State.NOT_KNOWN
    assert state_of("RC-09", case(limit_order("105"), quote=None, limits=no_collar)) is State.OK
    trailing = stock_ticket("1", order_type=OrderType.TRAIL, trail=Trail(Decimal(1)))
    assert state_of("RC-09", case(trailing, quote=None)) is State.NOT_KNOWN
    assert read("RC-09", case(stop_order("105"))).value == "not needed"
    assert read("RC-09", case()).value == "fresh"


def test_each_leg_needs_its_quote():
    old = {conid: dataclasses.replace(market, quote_at=ago(6)) for conid, market in LEGS.items()}
    second = VERTICAL.legs[1].contract.conid

    assert state_of("RC-09", case(spread_order(VERTICAL, "1"), markets=LEGS)) is State.OK
    assert state_of("RC-09", case(spread_order(VERTICAL, "1"), markets={**LEGS, second: old[second]})) is (
        State.NOT_KNOWN
    )
    assert state_of("RC-09", case(spread_order(VERTICAL, "1"))) is State.NOT_KNOWN


# -- RC-10 -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("side", "limit", "limits", "state"),
    [
        (Side.BUY, "109.99", PAPER_LIMITS, State.OK),
        (Side.BUY, "110.00", PAPER_LIMITS, State.OK),
        (Side.BUY, "110.01", PAPER_LIMITS, State.REFUSES),
        (Side.SELL, "90.01", PAPER_LIMITS, State.OK),
        (Side.SELL, "90.00", PAPER_LIMITS, State.OK),
        (Side.SELL, "89.99", PAPER_LIMITS, State.REFUSES),
        (Side.BUY, "103.00", LIVE, State.OK),
        (Side.BUY, "103.01", LIVE, State.REFUSES),
        (Side.SELL, "97.00", LIVE, State.OK),
        (Side.SELL, "96.99", LIVE, State.REFUSES),
        (Side.BUY, "50.00", LIVE, State.OK),  # waits below the market: it can only fill better
        (Side.SELL, "200.00", LIVE, State.OK),
    ],
)
def test_the_collar_holds_on_the_side_that_hurts(side, limit, limits, state):
    reading = read("RC-10", case(limit_order(limit, side=side), limits=limits, quote=ROUND))

    assert (reading.name, reading.state) == ("price_collar", state)


@pytest.mark.parametrize(
    ("bid", "ask", "limit", "state"),
    [
        ("0.50", "0.50", "0.60", State.OK),  # 10 % would be 0.05: ten cents are always free
        ("0.50", "0.50", "0.61", State.REFUSES),
        ("2.00", "2.00", "2.20", State.OK),
        ("2.00", "2.00", "2.21", State.REFUSES),
    ],
)
@pytest.mark.parametrize("limits", [PAPER_LIMITS, LIVE], ids=["paper", "live"])
def test_cheap_options_have_ten_cents(bid, ask, limit, state, limits):
    given = case(limit_order(limit, contract=option()), limits=limits, quote=quote(1, bid, ask))

    assert state_of("RC-10", given) is state


def test_the_collar_needs_a_market_and_can_be_off():
    off = dataclasses.replace(PAPER_LIMITS, collar_pct=None)
    one_sided = dataclasses.replace(quote(1, None, "100"), last=Decimal(100))

    assert state_of("RC-10", case(limit_order("100"), quote=None)) is State.NOT_KNOWN
    assert state_of("RC-10", case(limit_order("100"), quote=quote(1, None, None))) is State.NOT_KNOWN
    assert state_of("RC-10", case(limit_order("110"), quote=one_sided)) is State.OK  # the last price has to do
    assert state_of("RC-10", case(limit_order("111"), quote=one_sided)) is State.REFUSES
    assert state_of("RC-10", case(limit_order("500"), limits=off)) is State.OFF
    assert state_of("RC-10", case(stock_ticket("1"))) is State.OFF


def test_the_collar_is_around_the_middle():
    assert state_of("RC-10", case(limit_order("110"), quote=quote(1, "98", "102"))) is State.OK
    reading = read("RC-10", case(limit_order("110.01"), quote=quote(1, "98", "102")))
    assert reading.objection.text == "Limit price 110.01 is more than 10.00 beyond the market at 100"
    assert reading.headroom == Decimal("-0.01")
    assert read("RC-10", case(limit_order("104"), quote=ROUND)).headroom == 6


@pytest.mark.parametrize(
    ("price", "side", "state"),
    [
        ("1.10", Side.BUY, State.OK),
        ("1.11", Side.BUY, State.REFUSES),
        ("0.90", Side.SELL, State.OK),
        ("0.89", Side.SELL, State.REFUSES),
        ("-1.00", Side.BUY, State.OK),
    ],
)
def test_the_net_price_of_a_combination_is_held_against_its_legs(price, side, state):
    assert state_of("RC-10", case(spread_order(VERTICAL, price, side=side), markets=LEGS)) is state


@pytest.mark.parametrize(("price", "state"), [("-0.90", State.OK), ("-0.89", State.REFUSES)])
def test_a_credit_is_a_negative_price(price, state):
    credit = spread(("629", -1, Right.PUT), ("624", 1, Right.PUT))
    known = markets(credit, ("1.98", "2.02"), ("0.98", "1.02"))

    assert state_of("RC-10", case(spread_order(credit, price), markets=known)) is state


def test_a_leg_without_two_sides_has_no_net_price():
    known = dict(LEGS)
    first = VERTICAL.legs[0].contract.conid
    known[first] = dataclasses.replace(known[first], quote=quote(first, None, "2.02"))

    assert state_of("RC-10", case(spread_order(VERTICAL, "1"), markets=known)) is State.NOT_KNOWN


def test_of_a_group_the_order_nearest_to_its_collar_is_shown():
    given = oca(limit_order("100"), limit_order("108"), limit_order("50"), quote=ROUND)

    assert read("RC-10", given).headroom == 2
    assert read("RC-10", oca(limit_order("108"), limit_order("105"), quote=ROUND)).headroom == 2
    assert state_of("RC-10", oca(limit_order("100"), limit_order("111"), quote=ROUND)) is State.REFUSES
    assert state_of("RC-10", oca(stock_ticket("1"), limit_order("111"), quote=ROUND)) is State.REFUSES
    child = bracket(limit_order("100"), limit_order("10", side=Side.SELL), quote=ROUND)
    assert state_of("RC-10", child) is State.OK  # what takes the parent back is no opener


# -- RC-11 -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("age_s", "bid", "ask", "safe"),
    [
        (0, "100.00", "101.00", True),  # 0.995 %
        (0, "99.50", "100.50", True),  # 1 % exactly
        (0, "99.50", "100.51", False),
        (1.999, "100.00", "100.01", True),
        (2, "100.00", "100.01", True),
        (2.001, "100.00", "100.01", False),
        (0, None, "100.01", False),
        (0, "101.00", "100.00", False),
        (0, "0", "100.00", False),
    ],
)
@pytest.mark.parametrize("mode", list(Mode))
@pytest.mark.parametrize("kind", [OrderType.MARKET, OrderType.MARKET_ON_CLOSE])
def test_a_market_order_wants_a_narrow_market(age_s, bid, ask, safe, mode, kind):
    limits = dataclasses.replace(PAPER_LIMITS, market_orders=mode)
    given = case(stock_ticket("1", order_type=kind), limits=limits, quote=quote(1, bid, ask), quote_at=ago(age_s))
    unsafe = {Mode.OFF: State.OFF, Mode.WARN: State.WARNS, Mode.REFUSE: State.REFUSES}[mode]

    expected = State.OFF if mode is Mode.OFF else State.OK if safe else unsafe
    assert (read("RC-11", given).name, state_of("RC-11", given)) == ("market_order_unsafe", expected)


def test_paper_warns_and_live_refuses():
    wide = {"quote": quote(1, "95", "100"), "quote_at": NOW}

    assert check(case(stock_ticket("1"), **wide)).warnings == (
        "RC-11: a market order is not safe: the spread is 5.13 % of the price",
    )
    assert check(case(stock_ticket("1"), limits=LIVE, **wide)).objection.control == "RC-11"
    assert state_of("RC-11", case(limit_order("100"), limits=LIVE, **wide)) is State.OFF
    assert read("RC-11", case(limits=LIVE, quote=None)).value == "no quote of the last 2 s"
    assert read("RC-11", case(limits=LIVE, quote=quote(1, None, "3"))).value == "the market has no two sides"


def test_every_leg_must_be_narrow():
    limits = dataclasses.replace(PAPER_LIMITS, market_orders=Mode.REFUSE)
    narrow = markets(VERTICAL, ("1.99", "2.00"), ("1.00", "1.01"))
    wide = markets(VERTICAL, ("1.99", "2.00"), ("0.98", "1.02"))

    assert state_of("RC-11", case(spread_order(VERTICAL, None), limits=limits, markets=narrow)) is State.OK
    assert state_of("RC-11", case(spread_order(VERTICAL, None), limits=limits, markets=wide)) is State.REFUSES


# -- RC-12 -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("price", "state"),
    [
        ("0.01", State.OK),
        ("0", State.REFUSES),
        ("-0.01", State.REFUSES),
        ("2.99", State.OK),
        ("2.995", State.REFUSES),
        ("3.00", State.OK),
        ("3.01", State.REFUSES),
        ("3.05", State.OK),
        ("1000000", State.OK),
        ("1000000.05", State.REFUSES),
    ],
)
@pytest.mark.parametrize("order", [limit_order, stop_order])
def test_prices_lie_on_the_grid(price, state, order):
    reading = read("RC-12", case(order(price)))

    assert (reading.name, reading.state) == ("tick_size", state)


def test_a_grid_that_is_not_known_refuses():
    assert state_of("RC-12", case(limit_order("100"), increments=None)) is State.NOT_KNOWN
    assert state_of("RC-12", case(stock_ticket("1"), increments=None)) is State.OK  # it has no price


def test_the_refusal_says_the_grid():
    text = read("RC-12", case(limit_order("3.12"))).objection.text

    assert text == "Price 3.12 is not on the contract's grid of 0.05: 3.10 and 3.15 are"
    assert read("RC-12", case(limit_order("-5"))).objection.text == "Price -5 is not positive"
    assert "makes no sense" in read("RC-12", case(limit_order("2000000"))).objection.text


def test_both_prices_of_a_stop_limit_are_looked_at():
    for limit, stop in (("3.12", "3.10"), ("3.10", "3.12")):
        ticket = stock_ticket(
            "1", order_type=OrderType.STOP_LIMIT, limit_price=Decimal(limit), stop_price=Decimal(stop)
        )
        assert state_of("RC-12", case(ticket)) is State.REFUSES


@pytest.mark.parametrize(("quantity", "state"), [("1", State.OK), ("1.5", State.REFUSES), ("2.0", State.OK)])
@pytest.mark.parametrize("contract", [option(), VERTICAL, dataclasses.replace(SPY, sec_type=SecType.FUTURE)])
def test_derivatives_are_whole(quantity, state, contract):
    assert state_of("RC-12", case(stock_ticket(quantity, contract=contract))) is state


def test_shares_may_be_parts():
    assert state_of("RC-12", case(stock_ticket("1.5"))) is State.OK
    assert read("RC-12", case(sale("1.5"))).objection.text == "Quantity 1.5 is not a whole number of contracts"


def test_a_combination_may_cost_less_than_nothing():
    assert state_of("RC-12", case(spread_order(VERTICAL, "-1.05"), increments=GRID)) is State.OK
    assert state_of("RC-12", case(spread_order(VERTICAL, "-1.055"), increments=GRID)) is State.REFUSES
    assert state_of("RC-12", case(spread_order(VERTICAL, "-2000000"), increments=GRID)) is State.REFUSES


def test_the_grid_can_be_switched_off():
    off = dataclasses.replace(PAPER_LIMITS, ticks=False)

    assert state_of("RC-12", case(limit_order("3.123"), limits=off)) is State.OFF


def test_the_children_of_a_bracket_lie_on_the_grid_as_well():
    given = bracket(limit_order("100"), stop_order("95.03", side=Side.SELL))

    assert state_of("RC-12", given) is State.REFUSES
