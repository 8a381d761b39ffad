"""RC-03 to RC-06: accounts, symbols, kinds of contract, order types."""

from __future__ import annotations

import dataclasses
from decimal import Decimal

import pytest

from fakes import SPY, option, stock_ticket
from ibkit.model import AccountId, Conid, OrderType, Right, SecType, Side, TimeInForce, Trail
from ibkit.trading.risk import LIVE_LIMITS, PAPER_LIMITS, Mode, State, check
from risk_cases import (
    LIVE,
    bracket,
    case,
    holding,
    limit_order,
    oca,
    read,
    spread,
    spread_order,
    state_of,
    stop_order,
)

pytestmark = pytest.mark.requirement("TRD-18")
QQQ = dataclasses.replace(SPY, symbol="QQQ", conid=Conid(320227571))


@pytest.mark.parametrize(
    ("allowed", "state"),
    [
        (None, State.OK),
        (frozenset(), State.REFUSES),
        (frozenset({"U1234567"}), State.OK),
        (frozenset({"U1234567", "U9"}), State.OK),
        (frozenset({"U123456"}), State.REFUSES),
        (frozenset({"U12345678"}), State.REFUSES),
    ],
)
def test_only_listed_accounts_trade(allowed, state):
    given = case(limits=dataclasses.replace(LIVE, allowed_accounts=allowed))
    reading = read("RC-03", given)

    assert (reading.name, reading.state) == ("account_not_allowed", state)
    if reading.objection is not None:
        assert reading.objection.text == "Account U1234567 is not among the accounts that may trade"


def test_by_default_any_paper_account_trades_and_no_live_one():
    assert state_of("RC-03", case(account=AccountId("DU1"))) is State.OK
    assert state_of("RC-03", case(limits=LIVE_LIMITS)) is State.REFUSES
    assert read("RC-03", case()).limit == "any"
    assert read("RC-03", case(limits=LIVE_LIMITS)).limit == "none"


@pytest.mark.parametrize(
    ("allowed", "state"),
    [
        (None, State.OK),
        (frozenset(), State.REFUSES),
        (frozenset({"SPY"}), State.OK),
        (frozenset({"756733"}), State.OK),
        (frozenset({"75673"}), State.REFUSES),
        (frozenset({"QQQ"}), State.REFUSES),
    ],
)
def test_only_listed_symbols_or_conids_are_traded(allowed, state):
    reading = read("RC-04", case(limits=dataclasses.replace(PAPER_LIMITS, allowed_symbols=allowed)))

    assert (reading.name, reading.state) == ("symbol_not_allowed", state)


def test_each_order_of_a_group_and_each_leg_must_be_listed():
    limits = dataclasses.replace(PAPER_LIMITS, allowed_symbols=frozenset({"SPY"}))
    legs = spread(("629", 1, Right.PUT), ("624", -1, Right.PUT))
    other = dataclasses.replace(
        legs, legs=(legs.legs[0], dataclasses.replace(legs.legs[1], contract=dataclasses.replace(QQQ)))
    )

    assert state_of("RC-04", oca(limit_order("1"), limit_order("1", contract=QQQ), limits=limits)) is State.REFUSES
    assert state_of("RC-04", case(spread_order(legs, "1"), limits=limits)) is State.OK
    assert state_of("RC-04", case(spread_order(other, "1"), limits=limits)) is State.REFUSES
    assert read("RC-04", oca(limit_order("1"), limit_order("1", contract=QQQ))).value == "SPY, QQQ"


def test_what_is_no_longer_listed_can_still_be_closed():
    limits = dataclasses.replace(PAPER_LIMITS, allowed_symbols=frozenset({"QQQ"}), sec_types=frozenset())

    assert check(case(stock_ticket("5", side=Side.SELL), positions=holding("5"), limits=limits)).objection is None
    assert check(case(stock_ticket("6", side=Side.SELL), positions=holding("5"), limits=limits)).objection is not None


@pytest.mark.parametrize("kind", list(SecType))
@pytest.mark.parametrize("limits", [PAPER_LIMITS, LIVE], ids=["paper", "live"])
def test_kinds_of_contract(kind, limits):
    contract = dataclasses.replace(SPY, sec_type=kind)
    paper = {SecType.STOCK, SecType.OPTION, SecType.FUTURE, SecType.CASH}
    live = {SecType.STOCK, SecType.OPTION}
    reading = read("RC-05", case(stock_ticket("1", contract=contract), limits=limits))

    assert reading.name == "sectype_not_allowed"
    assert (reading.state is State.OK) is (kind in (paper if limits is PAPER_LIMITS else live))


def test_a_combination_is_as_allowed_as_its_legs():
    legs = spread(("629", 1, Right.PUT), ("624", -1, Right.PUT))
    no_options = dataclasses.replace(PAPER_LIMITS, sec_types=frozenset({SecType.STOCK}))

    assert state_of("RC-05", case(spread_order(legs, "1"))) is State.OK
    assert state_of("RC-05", case(spread_order(legs, "1"), limits=no_options)) is State.REFUSES
    bare = dataclasses.replace(legs, legs=())
    everything = dataclasses.replace(PAPER_LIMITS, sec_types=frozenset(SecType))
    assert state_of("RC-05", case(spread_order(bare, "1"), limits=everything)) is State.REFUSES


def order(kind: OrderType, tif: TimeInForce = TimeInForce.DAY):
    values = {"limit_price": Decimal(100), "stop_price": Decimal(101), "trail": Trail(Decimal(1)), "offset": Decimal(1)}
    needed = {
        OrderType.LIMIT: ("limit_price",),
        OrderType.STOP: ("stop_price",),
        OrderType.STOP_LIMIT: ("limit_price", "stop_price"),
        OrderType.TRAIL: ("trail",),
        OrderType.TRAIL_LIMIT: ("limit_price", "stop_price", "trail"),
        OrderType.MARKET_IF_TOUCHED: ("stop_price",),
        OrderType.LIMIT_IF_TOUCHED: ("limit_price", "stop_price"),
        OrderType.LIMIT_ON_CLOSE: ("limit_price",),
        OrderType.RELATIVE: ("limit_price", "offset"),
    }
    return stock_ticket("1", order_type=kind, tif=tif, **{name: values[name] for name in needed.get(kind, ())})


@pytest.mark.parametrize("kind", list(OrderType))
def test_order_types(kind):
    live = {OrderType.MARKET, OrderType.LIMIT, OrderType.STOP, OrderType.STOP_LIMIT}

    assert state_of("RC-06", case(order(kind))) is State.OK
    reading = read("RC-06", case(order(kind), limits=LIVE))
    assert (reading.name, reading.state is State.OK) == ("order_type_not_allowed", kind in live)
    if reading.objection is not None:
        assert reading.objection.text.startswith(f"Orders of type {kind.value} are not allowed")


@pytest.mark.parametrize("tif", list(TimeInForce))
@pytest.mark.parametrize("kind", [OrderType.LIMIT, OrderType.STOP, OrderType.STOP_LIMIT])
def test_on_live_only_stops_stay_overnight(kind, tif):
    allowed = tif is TimeInForce.DAY or (tif is TimeInForce.GTC and kind is not OrderType.LIMIT)

    assert state_of("RC-06", case(order(kind, tif))) is State.OK
    reading = read("RC-06", case(order(kind, tif), limits=LIVE))
    assert (reading.state is State.OK) is allowed
    if reading.objection is not None:
        assert f"{kind.value} {tif.value}" in reading.objection.text


@pytest.mark.parametrize("mode", list(Mode))
def test_on_live_a_market_order_needs_the_guard_before_it(mode):
    live, paper = (dataclasses.replace(limits, market_orders=mode) for limits in (LIVE, PAPER_LIMITS))

    assert (state_of("RC-06", case(limits=live)) is State.OK) is (mode is Mode.REFUSE)
    assert state_of("RC-06", case(limits=paper)) is State.OK
    assert state_of("RC-06", case(limit_order("100"), limits=live)) is State.OK


def test_each_order_of_a_group_is_looked_at():
    given = bracket(limit_order("100"), stop_order("95", side=Side.SELL), order(OrderType.TRAIL), limits=LIVE)

    assert "TRAIL" in read("RC-06", given).objection.text
    assert read("RC-06", bracket(limit_order("100"), stop_order("95", side=Side.SELL))).value == "LMT DAY, STP DAY"


def test_a_sold_option_of_a_stock_that_is_listed_may_be_traded():
    assert state_of("RC-04", case(stock_ticket("1", contract=option(), side=Side.SELL), limits=LIVE)) is State.OK
