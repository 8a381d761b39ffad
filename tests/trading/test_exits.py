"""What a plan of exits comes to in prices and orders."""

from __future__ import annotations

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fakes import GRID, option, stock_ticket
from ibkit.model import OrderType, Side, TimeInForce, Trail, TrailKind
from ibkit.trading.selling.exits import ExitPlan, ExitPrices, exit_prices, exit_tickets

D = Decimal


@pytest.mark.requirement("TRD-15")
@pytest.mark.parametrize(
    ("plan", "entry", "stop", "trail", "profit"),
    [
        (ExitPlan(stop_multiple=D(5)), "0.62", "3.10", None, None),
        (ExitPlan(stop_multiple=D(5), take_profit=D("0.5")), "0.62", "3.10", None, "0.31"),
        (ExitPlan(stop_multiple=D(3), take_profit=D("0.25")), "0.62", "1.86", None, "0.15"),
        (ExitPlan(trail=Trail(D("0.503"))), "0.62", "1.13", Trail(D("0.51")), None),
        (ExitPlan(trail=Trail(D(50), TrailKind.PERCENT)), "0.62", "0.93", Trail(D(50), TrailKind.PERCENT), None),
        (ExitPlan(trail=Trail(D(50), TrailKind.PERCENT)), "2.61", "3.95", Trail(D(50), TrailKind.PERCENT), None),
    ],
)
def test_a_plan_becomes_prices_on_the_grid(plan, entry, stop, trail, profit):
    found = exit_prices(plan, D(entry), GRID)

    assert found == ExitPrices(stop=D(stop), trail=trail, profit=None if profit is None else D(profit))


def test_an_entry_of_one_step_leaves_no_room_for_a_profit():
    found = exit_prices(ExitPlan(stop_multiple=D(5), take_profit=D("0.5")), D("0.01"), GRID)

    assert found.profit is None


def test_a_plan_without_a_stop_has_no_prices():
    assert exit_prices(ExitPlan(take_profit=D("0.5")), D("0.62"), GRID) is None


@pytest.mark.requirement("TRD-14")
@given(entry=st.decimals("0.01", "4.99", places=2), multiple=st.decimals("1.01", "20", places=2))
def test_the_stop_of_a_spread_lies_between_its_entry_and_its_width(entry, multiple):
    """At the width and beyond it could never trigger; at the entry or below it would trigger at once."""
    found = exit_prices(ExitPlan(stop_multiple=multiple), entry, GRID, most=D(5))

    assert entry < found.stop <= max(D("4.95"), entry + GRID.at(entry) + D("0.05"))
    assert GRID.fits(found.stop)


@pytest.mark.requirement("TRD-14")
def test_exits_are_bought_for_the_whole_and_outlive_the_day():
    entry = stock_ticket("3", contract=option(), side=Side.SELL)
    prices = ExitPrices(stop=D("1.13"), trail=Trail(D("0.51")), profit=D("0.31"))

    stop, profit = exit_tickets(entry, quantity=D(2), prices=prices)

    assert (stop.order_type, stop.stop_price, stop.trail) == (OrderType.TRAIL, D("1.13"), Trail(D("0.51")))
    assert (profit.order_type, profit.limit_price) == (OrderType.LIMIT, D("0.31"))
    for each in (stop, profit):
        assert (each.side, each.quantity, each.tif) == (Side.BUY, D(2), TimeInForce.GTC)
        assert each.contract == entry.contract
