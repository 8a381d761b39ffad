"""Cash, cost and profit agree with the fills, whatever the fills are."""

from __future__ import annotations

from datetime import date
from decimal import Decimal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from desks import Desk
from ibkit.sim.exchange.books import AccountBook, PositionView, commission
from ibkit.sim.exchange.margin import Held, margin_of

pytestmark = pytest.mark.requirement("TST-01", "TRD-03", "TRD-04")
DAY = date(2026, 11, 20)


@pytest.fixture(scope="module")
def desk() -> Desk:
    return Desk()


def account(cash: str = "100000") -> AccountBook:
    money = Decimal(cash)
    return AccountBook(id="DU1", currency="USD", started_with=money, cash=money, day_start=money)


fills = st.lists(
    st.tuples(
        st.sampled_from(["BUY", "SELL"]),
        st.integers(1, 60),
        st.decimals("0.01", "900", places=2),
        st.booleans(),
    ),
    max_size=30,
)


@given(fills)
@settings(max_examples=150, deadline=None)
def test_cash_is_what_was_realized_less_what_is_held_at_cost_to_the_last_digit(
    desk: Desk, rows: list[tuple[str, int, Decimal, bool]]
) -> None:
    book = account()
    put, stock = desk.option(), desk.stock()
    flow, held = Decimal(0), {put.conid: 0, stock.conid: 0}
    for side, quantity, price, option in rows:
        instrument = put if option else stock
        fee = commission(instrument, Decimal(quantity))
        book.trade(instrument, side, Decimal(quantity), price, fee, DAY)  # type: ignore[arg-type]
        sign = 1 if side == "BUY" else -1
        flow -= sign * quantity * price * instrument.multiplier + fee
        held[instrument.conid] += sign * quantity
        assert book.balanced
    assert book.cash == Decimal(100000) + flow
    for conid, quantity in held.items():
        assert book.quantity(conid) == quantity
        if quantity == 0 and conid in book.holdings:
            assert book.holdings[conid].cost == 0


def test_commission_is_inside_the_average_cost(desk: Desk) -> None:
    """The facts page's own example: one put sold at 2.50 for 0.70 costs 249.30 a contract."""
    book, put = account(), desk.option()
    book.trade(put, "SELL", Decimal(1), Decimal("2.50"), Decimal("0.70"), DAY)
    view = PositionView(
        instrument=put,
        quantity=Decimal(-1),
        cost=book.holdings[put.conid].cost,
        mark=Decimal("2.31"),
        realized=Decimal(0),
    )
    assert view.average_cost == Decimal("249.30")
    assert view.average_price == Decimal("2.493")
    assert view.market_value == Decimal("-231.00")
    assert view.unrealized == Decimal("18.30")


def test_buying_back_realizes_the_difference_less_both_commissions(desk: Desk) -> None:
    book, put = account(), desk.option()
    book.trade(put, "SELL", Decimal(2), Decimal("2.50"), Decimal("1.30"), DAY)
    realized = book.trade(put, "BUY", Decimal(1), Decimal("1.00"), Decimal("1.00"), DAY)
    assert realized == Decimal("250") - Decimal("0.65") - Decimal("101")
    assert book.holdings[put.conid].cost == Decimal("-249.35")


def test_a_fill_through_zero_closes_one_position_and_opens_the_other(desk: Desk) -> None:
    book, stock = account(), desk.stock()
    book.trade(stock, "BUY", Decimal(10), Decimal(100), Decimal(1), DAY)
    realized = book.trade(stock, "SELL", Decimal(15), Decimal(110), Decimal("1.50"), DAY)
    assert realized == Decimal(1100) - Decimal("1.00") - Decimal(1001)
    assert book.quantity(stock.conid) == -5
    assert book.holdings[stock.conid].cost == Decimal("-549.50")
    assert book.balanced


def test_commissions_are_per_unit_with_a_minimum(desk: Desk) -> None:
    stock, put = desk.stock(), desk.option()
    assert commission(stock, Decimal(100)) == Decimal("1.00")
    assert commission(stock, Decimal(1000)) == Decimal("5.000")
    assert commission(put, Decimal(1)) == Decimal("1.00")
    assert commission(put, Decimal(3)) == Decimal("1.95")


def test_a_combo_pays_for_every_contract_and_the_minimum_once(desk: Desk) -> None:
    short, long = desk.option(offset=-3), desk.option(offset=-8)
    combo = desk.world.instruments.combo(f"28812380;;;{short.conid}/-1,{long.conid}/2")
    assert combo is not None
    assert commission(combo, Decimal(1)) == Decimal("1.95")
    assert commission(combo, Decimal(10)) == Decimal("19.50")


def test_a_naked_put_needs_a_fifth_of_the_underlying_less_what_it_is_out_of_the_money(desk: Desk) -> None:
    put = desk.option()
    assert put.strike is not None
    spot = put.strike + 10
    held = Held(put, Decimal(-2), Decimal("1.50"), spot)
    assert margin_of([held]) == 2 * 100 * (Decimal("1.50") + Decimal("0.20") * spot - 10)
    far = Held(put, Decimal(-1), Decimal("0.05"), put.strike * 2)
    assert margin_of([far]) == 100 * (Decimal("0.05") + Decimal("0.10") * put.strike)


def test_a_spread_needs_its_width_less_the_credit(desk: Desk) -> None:
    short, long = desk.option(offset=-3), desk.option(offset=-8)
    spot = short.strike + 3  # type: ignore[operator]
    held = [Held(short, Decimal(-1), Decimal("2.00"), spot), Held(long, Decimal(1), Decimal("0.80"), spot)]
    assert margin_of(held) == 100 * (5 - Decimal("1.20"))


def test_an_uncovered_call_is_not_covered_by_a_put(desk: Desk) -> None:
    call, put = desk.option("C", 5), desk.option("P", -5)
    spot = Decimal(630)
    both = margin_of([Held(call, Decimal(-1), Decimal(1), spot), Held(put, Decimal(1), Decimal(1), spot)])
    assert both == margin_of([Held(call, Decimal(-1), Decimal(1), spot)]) + 100


def test_summary_ledger_and_positions_say_the_same(desk: Desk) -> None:
    put, stock = desk.option(), desk.stock()
    desk.place(put, "SELL", 3)
    desk.place(stock, "BUY", 7)
    seen = desk.world.books.portfolio(desk.account, desk.now)
    fills = [e for order in desk.exchange.orders.values() for e in order.executions]
    cash = desk.book.started_with
    for e in fills:
        cash -= (1 if e.order.ticket.side == "BUY" else -1) * e.net_amount + e.commission
    assert seen.values.cash == desk.book.cash == cash
    assert seen.values.net_liquidation == cash + sum(p.market_value for p in seen.positions)
    assert seen.values.unrealized == sum(p.unrealized for p in seen.positions)
    assert seen.values.day_pnl == seen.values.net_liquidation - desk.book.started_with
