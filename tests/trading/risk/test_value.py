"""What an order is worth or may lose at worst."""

from __future__ import annotations

import dataclasses
from datetime import date
from decimal import Decimal

import pytest

from fakes import SPY, option, quote, stock_ticket
from ibkit.model import ComboLeg, Conid, OrderType, Right, SecType, Side, Trail, TrailKind
from ibkit.trading.risk import Market, case_value
from ibkit.trading.risk.value import net_middle, reference_price, ticket_value, uncovered
from risk_cases import bracket, case, holding, limit_order, markets, oca, sale, spread, spread_order, stop_order

pytestmark = pytest.mark.requirement("TRD-18")
PUT, CALL = Right.PUT, Right.CALL
QUOTE = quote(SPY.conid, "99", "101")  # its last price is its bid
PRICES = {
    OrderType.MARKET: {},
    OrderType.LIMIT: {"limit_price": "100"},
    OrderType.STOP: {"stop_price": "100"},
    OrderType.STOP_LIMIT: {"limit_price": "100", "stop_price": "98"},
    OrderType.TRAIL: {"trail": Trail(Decimal(4))},
    OrderType.TRAIL_LIMIT: {"limit_price": "100", "stop_price": "98", "trail": Trail(Decimal(4))},
    OrderType.MIDPRICE: {},
    OrderType.MARKET_IF_TOUCHED: {"stop_price": "100"},
    OrderType.LIMIT_IF_TOUCHED: {"limit_price": "100", "stop_price": "98"},
    OrderType.MARKET_ON_CLOSE: {},
    OrderType.LIMIT_ON_CLOSE: {"limit_price": "100"},
    OrderType.RELATIVE: {"limit_price": "100", "offset": "1"},
}


def order(kind: OrderType, side: Side, **changes: object):
    fields = {
        name: Decimal(value) if isinstance(value, str) else value for name, value in {**PRICES[kind], **changes}.items()
    }
    return stock_ticket("2", order_type=kind, side=side, **fields)


@pytest.mark.parametrize(
    ("kind", "bought", "sold"),
    [
        (OrderType.MARKET, "101", "99"),
        (OrderType.LIMIT, "100", "100"),
        (OrderType.STOP, "101", "100"),
        (OrderType.STOP_LIMIT, "100", "100"),
        (OrderType.TRAIL, "105", "99"),
        (OrderType.TRAIL_LIMIT, "100", "100"),
        (OrderType.MIDPRICE, "101", "99"),
        (OrderType.MARKET_IF_TOUCHED, "101", "100"),
        (OrderType.LIMIT_IF_TOUCHED, "100", "100"),
        (OrderType.MARKET_ON_CLOSE, "101", "99"),
        (OrderType.LIMIT_ON_CLOSE, "100", "100"),
        (OrderType.RELATIVE, "100", "100"),
    ],
)
def test_each_order_type_is_valued_at_its_worst_price(kind, bought, sold):
    assert reference_price(order(kind, Side.BUY), QUOTE) == Decimal(bought)
    assert reference_price(order(kind, Side.SELL), QUOTE) == Decimal(sold)
    assert case_value(case(order(kind, Side.BUY), quote=QUOTE)) == 2 * Decimal(bought)


def test_every_order_type_has_its_row():
    assert set(PRICES) == set(OrderType)


def test_a_sale_below_the_market_is_worth_the_market():
    assert reference_price(order(OrderType.LIMIT, Side.SELL, limit_price="90"), QUOTE) == 99
    assert reference_price(order(OrderType.STOP, Side.SELL, stop_price="90"), QUOTE) == 99
    assert reference_price(order(OrderType.STOP, Side.BUY, stop_price="110"), QUOTE) == 110
    assert reference_price(order(OrderType.MIDPRICE, Side.BUY, limit_price="95"), QUOTE) == 95


def test_a_trailing_stop_begins_where_it_says_or_at_the_market():
    percent = Trail(Decimal(5), TrailKind.PERCENT)

    assert reference_price(order(OrderType.TRAIL, Side.BUY, trail=percent), QUOTE) == Decimal("106.05")
    assert reference_price(order(OrderType.TRAIL, Side.BUY, stop_price="103"), QUOTE) == 103
    assert reference_price(order(OrderType.TRAIL, Side.BUY), None) is None
    assert reference_price(order(OrderType.TRAIL, Side.SELL), None) is None


def test_without_a_side_of_the_quote_its_last_price_has_to_do():
    last = dataclasses.replace(quote(1, None, None), last=Decimal(98))

    assert reference_price(order(OrderType.MARKET, Side.BUY), last) == 98
    assert reference_price(order(OrderType.MARKET, Side.SELL), last) == 98
    assert reference_price(order(OrderType.MARKET, Side.SELL), None) is None
    assert reference_price(order(OrderType.STOP, Side.SELL), None) == 100
    assert reference_price(order(OrderType.MARKET, Side.BUY), quote(1, None, None)) is None


# -- single options --------------------------------------------------------------------------------------------------

OPTION = {"quote": quote(1, "0.62", "0.63")}


def test_a_bought_option_is_worth_what_it_costs():
    assert case_value(case(sale("3", side=Side.BUY), **OPTION)) == Decimal("189.00")


def test_a_short_option_with_a_planned_stop_may_lose_what_the_stop_lets_it():
    assert case_value(case(sale("3"), planned_stop=Decimal("3.10"), **OPTION)) == Decimal("744.00")
    assert case_value(case(sale("3"), planned_stop=Decimal("0.50"), **OPTION)) == 0


@pytest.mark.parametrize(
    ("right", "strike", "spot", "per_unit"),
    [
        (PUT, "629", "630", "125.62"),  # 0.62 + 126 - 1 out of the money
        (PUT, "629", "620", "124.62"),  # in the money: nothing is taken off
        (PUT, "500", "630", "50.62"),  # far out: ten per cent of the strike
        (CALL, "640", "630", "116.62"),
        (CALL, "620", "630", "126.62"),
        (CALL, "800", "630", "80.62"),
    ],
)
def test_a_naked_option_is_valued_by_its_margin(right, strike, spot, per_unit):
    ticket = sale("3", contract=option(strike, right))
    given = case(ticket, underlying_price=Decimal(spot), **OPTION)

    assert case_value(given) == 300 * Decimal(per_unit)


def test_a_naked_option_without_its_underlying_or_strike_has_no_value():
    bare = dataclasses.replace(option(), strike=None)

    assert case_value(case(sale("3"), **OPTION)) is None
    assert case_value(case(sale("3", contract=bare), underlying_price=Decimal(630), **OPTION)) is None


# -- combinations ----------------------------------------------------------------------------------------------------

TWO = (("1.98", "2.02"), ("0.98", "1.02"))


def value(contract, price, *quotes, side=Side.BUY, quantity="1", spot="630"):
    given = case(spread_order(contract, price, quantity, side), markets=markets(contract, *quotes, spot=spot))
    return case_value(given)


def test_a_vertical_may_lose_its_width_less_its_credit():
    short_put = spread(("629", -1, PUT), ("624", 1, PUT))
    long_put = spread(("629", 1, PUT), ("624", -1, PUT))
    short_call = spread(("629", -1, CALL), ("634", 1, CALL))

    assert value(short_put, "-1.00", *TWO) == 400
    assert value(short_put, "-1.00", *TWO, quantity="3") == 1200
    assert value(long_put, "1.00", *TWO) == 100
    assert value(long_put, "1.00", *TWO, side=Side.SELL) == 400
    assert value(short_call, "-1.50", *TWO) == 350


def test_a_spread_at_the_market_is_valued_by_what_its_legs_ask_and_bid():
    short_put = spread(("629", -1, PUT), ("624", 1, PUT))

    assert value(short_put, None, *TWO) == 500 - (198 - 102)
    assert value(short_put, None, (None, "2.02"), TWO[1]) is None


def test_an_iron_condor_loses_on_one_side_only():
    condor = spread(("620", 1, PUT), ("625", -1, PUT), ("635", -1, CALL), ("640", 1, CALL))

    assert value(condor, "-2.00", ("1", "1"), ("2", "2"), ("2", "2"), ("1", "1")) == 300


def test_a_butterfly_loses_what_it_cost():
    butterfly = spread(("620", 1, CALL), ("630", -2, CALL), ("640", 1, CALL))

    assert value(butterfly, "1.50", ("11", "11"), ("5", "5"), ("1", "1")) == 150


def test_a_sure_gain_loses_nothing():
    assert value(spread(("629", 1, PUT), ("624", -1, PUT)), "-0.10", *TWO) == 0


def test_what_no_leg_covers_is_valued_by_margin():
    ratio = spread(("629", 1, PUT), ("624", -2, PUT))
    straddle = spread(("630", -1, PUT), ("630", -1, CALL))

    # At 624 the long leg is worth 5: nothing lost; one short put is naked: 1.02 + 126 - 6.
    assert value(ratio, "0.00", *TWO) == 100 * Decimal("121.02")
    assert value(straddle, "-4.00", ("2", "2"), ("2", "2")) == 100 * (128 + 128)
    assert value(straddle, "-4.00", ("2", "2"), ("2", "2"), spot=None) is None
    assert value(ratio, "0.00", TWO[0], (None, None)) is None


def test_a_naked_leg_without_an_offer_is_valued_at_its_last_price():
    straddle = spread(("630", -1, PUT), ("630", -1, CALL))

    assert value(straddle, "-4.00", ("2", None), ("2", "2")) == 100 * (128 + 128)


def test_the_dearest_of_several_naked_legs_counts():
    strangle = spread(("629", -1, PUT), ("600", -1, PUT))

    # Margins: 2.02 + 126 - 1 and 1.02 + 126 - 30, two naked; at 600 the higher strike loses 29 more than the credit.
    assert value(strangle, "-3.00", *TWO) == 100 * (26 + 2 * Decimal("127.02"))


def test_a_long_leg_covers_only_what_it_outlives():
    near, far = date(2026, 11, 20), date(2026, 12, 18)
    calendar = spread(("629", -1, PUT), ("629", 1, PUT), expiries=(near, far))
    reverse = spread(("629", -1, PUT), ("629", 1, PUT), expiries=(far, near))

    assert value(calendar, "1.00", *TWO) == 100
    assert uncovered(spread_order(calendar, "1.00", "2")) == 0
    assert uncovered(spread_order(reverse, "1.00", "2")) == 2
    assert value(reverse, "-1.00", *TWO) == 100 * Decimal("127.02")
    undated = dataclasses.replace(
        reverse, legs=tuple(ComboLeg(dataclasses.replace(leg.contract, expiry=None), leg.ratio) for leg in reverse.legs)
    )
    assert uncovered(spread_order(undated, "1.00", "2")) == 2


def test_a_naked_call_counts_beside_a_put_that_is_not_naked():
    risk_reversal = spread(("629", 1, PUT), ("640", -1, CALL))

    # The price of 1, and the margin of the call: 1.10 + 126 - 10 out of the money.
    assert value(risk_reversal, "1.00", ("2", "2.1"), ("1", "1.1")) == 100 * (1 + Decimal("117.10"))


def test_a_short_call_that_ends_later_uncovers_no_put():
    near, far = date(2026, 11, 20), date(2026, 12, 18)
    legs = spread(("629", -1, PUT), ("624", 1, PUT), ("640", -1, CALL), expiries=(near, near, far))

    assert uncovered(spread_order(legs, "-1.00", "2")) == 2  # the call alone


def test_what_cannot_be_priced_leg_by_leg_has_no_value():
    short_put = spread(("629", -1, PUT), ("624", 1, PUT))
    bare = dataclasses.replace(
        short_put,
        legs=tuple(ComboLeg(dataclasses.replace(leg.contract, strike=None), leg.ratio) for leg in short_put.legs),
    )
    ratio = spread(("629", 1, PUT), ("624", -2, PUT))
    first = ratio.legs[0].contract.conid

    assert case_value(case(spread_order(short_put, None))) is None  # no leg has a quote
    assert case_value(case(spread_order(ratio, "0.00"), markets={first: markets(ratio, *TWO)[first]})) is None
    # Without strikes nothing offsets: both legs count in full, at what they trade for.
    assert value(bare, "-1.00", *TWO) == 100 * (Decimal("1.98") + Decimal("1.02"))


def test_puts_do_not_cover_calls():
    risk_reversal = spread(("620", -1, PUT), ("640", 1, CALL))

    assert uncovered(spread_order(risk_reversal, "0", "4")) == 4
    assert uncovered(spread_order(risk_reversal, "0", "4", Side.SELL)) == 4
    assert uncovered(sale("3")) == 3
    assert uncovered(sale("3", side=Side.BUY)) == 0
    assert uncovered(stock_ticket("3", side=Side.SELL)) == 0
    assert uncovered(sale("3", contract=dataclasses.replace(option(), sec_type=SecType.FUTURE_OPTION))) == 3


def test_legs_that_are_no_options_count_in_full():
    qqq = dataclasses.replace(SPY, conid=Conid(320227571), symbol="QQQ")
    pair = dataclasses.replace(spread(), sec_type=SecType.COMBO, legs=(ComboLeg(SPY, 1), ComboLeg(qqq, -2)))

    assert value(pair, "0", ("100", "101"), ("50", "51")) == 101 + 2 * 50
    assert value(pair, "0", ("100", "101"), (None, None)) is None
    assert value(pair, "0", ("100", None), ("50", "51")) == 100 + 100
    given = case(spread_order(pair, "0"))
    assert case_value(given) is None


def test_the_middle_of_a_combination():
    legs = spread(("629", 1, PUT), ("624", -2, PUT))
    known = case(spread_order(legs, "1"), markets=markets(legs, *TWO))
    partly = case(spread_order(legs, "1"), markets={legs.legs[0].contract.conid: Market(quote=quote(1, "1", "2"))})

    assert net_middle(known, legs) == 0
    assert net_middle(partly, legs) is None
    crossed = case(spread_order(legs, "1"), markets=markets(legs, TWO[0], ("1.02", "0.98")))
    assert net_middle(crossed, legs) is None


# -- groups and currencies -------------------------------------------------------------------------------------------


def test_a_bracket_is_worth_its_parent_and_an_oca_group_its_largest():
    parent = limit_order("100", "10")
    children = (limit_order("120", "10", side=Side.SELL), stop_order("90", "10", side=Side.SELL))

    assert case_value(bracket(parent, *children)) == 1000
    assert case_value(oca(limit_order("100", "10"), limit_order("90", "20"))) == 1800
    assert case_value(case(parent)) == 1000


def test_a_child_that_is_larger_than_its_parent_opens():
    larger = bracket(limit_order("100", "10"), limit_order("120", "11", side=Side.SELL))
    same_side = bracket(limit_order("100", "10"), limit_order("100", "5"))
    elsewhere = bracket(limit_order("100", "10"), limit_order("120", "1", side=Side.SELL, contract=option()))

    assert case_value(larger) == 1000 + 11 * 120
    assert case_value(same_side) == 1500
    assert len(elsewhere.openers) == 2


def test_what_closes_is_worth_nothing_here():
    given = case(stock_ticket("10", side=Side.SELL), positions=holding("10"), quote=None)

    assert case_value(given) == 0


def test_a_member_without_a_price_makes_the_group_unknown():
    assert case_value(oca(limit_order("100"), stock_ticket("1", contract=option()))) is None


@pytest.mark.parametrize(
    ("currency", "rates", "expected"),
    [("EUR", {"USD": Decimal(1), "EUR": Decimal("1.10")}, Decimal(110)), ("EUR", {"USD": Decimal(1)}, None)],
)
def test_other_currencies_count_by_their_rate(currency, rates, expected):
    contract = dataclasses.replace(SPY, currency=currency)

    assert case_value(case(limit_order("100", contract=contract), rates=rates)) == expected


def test_a_future_counts_with_its_multiplier():
    future = dataclasses.replace(SPY, sec_type=SecType.FUTURE, multiplier=Decimal(50))

    assert case_value(case(limit_order("100", "2", contract=future))) == 10_000
    assert ticket_value(case(limit_order("100", "2", contract=future)), limit_order("100", contract=future)) == 5_000


# -- legs of other kinds, and legs that nobody bids for -------------------------------------------------------------


def test_legs_that_are_no_options_count_in_full_each_with_its_multiplier():
    future = dataclasses.replace(SPY, conid=Conid(7), symbol="ES", sec_type=SecType.FUTURE, multiplier=Decimal(50))
    pair = dataclasses.replace(
        SPY, conid=Conid(28812380), sec_type=SecType.COMBO, legs=(ComboLeg(future, -2), ComboLeg(SPY, 1))
    )
    seen = {
        future.conid: Market(quote=quote(future.conid, "10", "11")),
        SPY.conid: Market(quote=quote(SPY.conid, "100", "101")),
    }

    assert case_value(case(stock_ticket("3", contract=pair), markets=seen)) == (2 * 10 * 50 + 101) * 3


def test_a_leg_that_is_bought_needs_only_somebody_who_sells_it():
    """Nobody bids for an option that is all but worthless."""
    legs = spread(("629", -1, PUT), ("624", 1, PUT))
    sold, bought = (leg.contract.conid for leg in legs.legs)
    seen = {sold: Market(quote=quote(sold, "1.00", "1.10")), bought: Market(quote=quote(bought, None, "0.05"))}

    assert case_value(case(spread_order(legs, None), markets=seen)) == (5 - 1 + Decimal("0.05")) * 100
    seen[sold] = Market(quote=quote(sold, None, "1.10"))
    assert case_value(case(spread_order(legs, None), markets=seen)) is None


def test_a_long_put_counts_whatever_becomes_of_a_short_call():
    """Only a short leg of its own right, which outlives it, leaves a long leg worthless."""

    def value(call_ends):
        legs = spread(("629", 1, PUT), ("640", -1, CALL), expiries=(date(2026, 11, 20), call_ends))
        return case_value(case(spread_order(legs, "1"), markets=markets(legs, ("2", "2.1"), ("1", "1.1"))))

    assert value(date(2026, 11, 27)) == value(date(2026, 11, 20)) is not None
