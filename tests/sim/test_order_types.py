"""Orders if touched, on the close, at the open, relative and at the middle. Source: docs/facts/orders.md §1.3, §1.4."""

from __future__ import annotations

from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import pytest

from desks import Desk
from ibkit.sim.exchange.order import SimOrder

pytestmark = pytest.mark.requirement("TST-01", "TRD-12")
EVENING = datetime(2026, 11, 19, 23, 40, tzinfo=UTC)
OPEN = datetime(2026, 11, 20, 14, 30, tzinfo=UTC)
CLOSE = datetime(2026, 11, 20, 21, 0, tzinfo=UTC)


def until(desk: Desk, moment: datetime, more: float = 1) -> None:
    desk.pass_time((moment - desk.now).total_seconds() + more)


def stand(desk: Desk, contract: Any, bid: str, ask: str | None = None) -> None:
    """Hold a quote (without `ask` bid, ask and last are one price) for two seconds."""
    desk.hold(contract, bid, ask or bid)
    desk.pass_time(2)


# --- if touched ------------------------------------------------------------------------------------------------------


def test_a_market_if_touched_buys_when_the_price_comes_down_to_it() -> None:
    desk = Desk()
    stock = desk.stock()
    desk.hold(stock, "630.00", "630.00")
    order = desk.place(stock, "BUY", 1, "MIT", price=628.00)
    row = desk.live()[order.id]
    assert (row["status"], row["origOrderType"], row["stop_price"], row["price"]) == (
        "PreSubmitted",
        "MIT",
        "628.00",
        "",
    )
    stand(desk, stock, "631.00")
    stand(desk, stock, "628.01")
    assert order.state == "live"
    stand(desk, stock, "627.90")
    assert (order.state, order.executions[0].price) == ("filled", Decimal("627.90"))


def test_a_limit_if_touched_obeys_its_limit_afterwards() -> None:
    desk = Desk()
    put = desk.option()
    desk.hold(put, "1.00", "1.05")
    order = desk.place(put, "SELL", 1, "LIT", price=1.60, auxPrice=1.50)
    row = desk.live()[order.id]
    assert (row["price"], row["auxPrice"], row["stop_price"]) == ("1.60", "1.50", "1.50")
    stand(desk, put, "1.49", "1.60")
    assert order.elected_at is None
    stand(desk, put, "1.50", "1.60")
    assert order.elected_at is not None, "one bid at the trigger is enough"
    assert desk.live()[order.id]["status"] == "Submitted"
    stand(desk, put, "1.65", "1.70")
    assert (order.state, order.executions[0].price) == ("filled", Decimal("1.60"))


@pytest.mark.parametrize(("quirk", "state"), [("last", "filled"), ("bid_ask", "live")])
def test_what_touches_a_stock_order_is_a_quirk(quirk: str, state: str) -> None:
    desk = Desk(touch_trigger=quirk)
    stock = desk.stock()
    last = desk.quote(stock).last
    low, wide = last - 2, (str(last - 1), str(last + 1))
    desk.hold(stock, str(low), str(low))
    order = desk.place(stock, "SELL", 1, "MIT", price=float(last) - 0.5)
    stand(desk, stock, *wide)
    assert desk.quote(stock).last > last - Decimal("0.5"), "the last price is above the trigger, the bid below it"
    assert order.state == state


def test_a_touched_order_that_would_trade_at_once_is_asked_about_and_no_stop_question_comes() -> None:
    desk = Desk(quiet=False, no_data_question="no")
    put = desk.option()
    desk.hold(put, "1.00", "1.05")
    (question,) = desk.send(desk.ticket(put, "BUY", 1, "MIT", price=1.10))[1]
    assert question["messageIds"] == ["o403"]
    (row,) = desk.send(desk.ticket(put, "BUY", 1, "MIT", price=0.90))[1]
    assert row["order_status"] == "PreSubmitted"


# --- at the close and at the open -----------------------------------------------------------------------------------


def test_orders_on_the_close_trade_at_the_closing_price_or_not_at_all() -> None:
    desk = Desk()
    stock = desk.stock()
    market = desk.place(stock, "BUY", 3, "MOC")
    far, near = (desk.place(stock, "BUY", 1, "LOC", price=p) for p in (610.00, 650.00))
    assert {desk.live()[o.id]["status"] for o in (market, far, near)} == {"Submitted"}
    until(desk, CLOSE, -1)
    assert [o.state for o in (market, far, near)] == ["live"] * 3
    until(desk, CLOSE)
    closing = desk.world.market.quote(stock.conid, CLOSE).last
    assert [(o.state, o.ended_at) for o in (market, far, near)] == [
        ("filled", CLOSE),
        ("cancelled", CLOSE),
        ("filled", CLOSE),
    ]
    assert {o.executions[0].price for o in (market, near)} == {closing}
    assert desk.book.quantity(stock.conid) == 4


def test_an_order_on_the_close_entered_in_the_evening_waits_for_the_next_one() -> None:
    desk = Desk(start=EVENING)
    order = desk.place(desk.stock(), "SELL", 1, "MOC")
    assert desk.live()[order.id]["status"] == "PreSubmitted"
    until(desk, OPEN, 60)
    assert desk.live()[order.id]["status"] == "Submitted"
    until(desk, CLOSE)
    assert (order.state, order.executions[0].at) == ("filled", CLOSE)


def test_a_halted_stock_has_no_closing_price() -> None:
    desk = Desk()
    order = desk.place(desk.stock(), "BUY", 1, "MOC")
    desk.world.market.halt("SPY", desk.now)
    until(desk, CLOSE)
    assert order.state == "cancelled"


# --- pegged ----------------------------------------------------------------------------------------------------------


def test_a_relative_order_rests_on_its_own_side_and_trades_when_the_other_comes_to_it() -> None:
    desk = Desk()
    put = desk.option()
    desk.hold(put, "1.00", "1.20")
    order = desk.place(put, "BUY", 1, "REL", price=1.15, auxPrice=0.02)
    row = desk.live()[order.id]
    assert (row["status"], row["price"], row["auxPrice"], row["origOrderType"]) == ("Submitted", "1.15", "0.02", "REL")
    stand(desk, put, "1.10", "1.20")
    assert order.state == "live"
    stand(desk, put, "1.05", "1.11")
    assert (order.state, order.executions[0].price) == ("filled", Decimal("1.12")), "where it rested at a bid of 1.10"


def test_a_relative_order_goes_no_farther_than_its_limit() -> None:
    desk = Desk()
    put = desk.option()
    desk.hold(put, "1.00", "1.20")
    order = desk.place(put, "SELL", 1, "REL", price=1.15, auxPrice=0.01)
    stand(desk, put, "1.05", "1.10")
    stand(desk, put, "1.14", "1.16")
    assert order.state == "live", "it may not sell below 1.15"
    stand(desk, put, "1.15", "1.16")
    assert (order.state, order.executions[0].price) == ("filled", Decimal("1.15"))


def test_a_midprice_order_gets_the_middle_within_its_cap() -> None:
    desk = Desk()
    stock = desk.stock()
    desk.hold(stock, "630.00", "630.05")
    assert desk.place(stock, "BUY", 1, "MIDPRICE").executions[0].price == Decimal("630.025")
    capped = desk.place(stock, "BUY", 1, "MIDPRICE", price=629.00)
    assert desk.live()[capped.id]["status"] == "Submitted"
    stand(desk, stock, "628.98", "629.04")
    assert capped.state == "live"
    stand(desk, stock, "628.95", "629.01")
    assert (capped.state, capped.executions[0].price) == ("filled", Decimal("628.98"))
    assert desk.book.balanced


# --- what they need and what they show ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("kind", "prices"),
    [
        ("MIT", {}),
        ("LIT", {"price": 1.0}),
        ("LIT", {"auxPrice": 1.0}),
        ("LOC", {}),
        ("REL", {"price": 1.0}),
        ("REL", {"auxPrice": 1.0}),
        ("REL", {"price": 1.0, "auxPrice": -1.0}),
        ("MIDPRICE", {"price": -1.0}),
        ("MIT", {"price": 0}),
    ],
)
def test_a_price_that_is_missing_or_no_price_is_a_500_with_an_empty_body(kind: str, prices: dict[str, Any]) -> None:
    desk = Desk()
    assert desk.send(desk.ticket(desk.stock(), "BUY", 1, kind, **prices)) == (500, None)
    assert desk.exchange.orders == {}


KINDS: dict[str, dict[str, Any]] = {
    "MKT": {},
    "LMT": {"price": 600.0},
    "STP": {"price": 660.0},
    "STOP_LIMIT": {"price": 661.0, "auxPrice": 660.0},
    "TRAIL": {"trailingAmt": 20, "trailingType": "amt"},
    "TRAILLMT": {"price": 661.0, "auxPrice": 660.0, "trailingAmt": 3, "trailingType": "%"},
    "MIT": {"price": 600.0},
    "LIT": {"price": 601.0, "auxPrice": 600.0},
    "MOC": {},
    "LOC": {"price": 600.0},
    "REL": {"price": 600.0, "auxPrice": 0.01},
    "MIDPRICE": {"price": 600.0},
}


def placed(desk: Desk, kind: str) -> SimOrder:
    return desk.place(desk.stock(), "BUY", 1, kind, cOID=kind, **KINDS[kind])


@pytest.mark.parametrize("kind", sorted(KINDS))
def test_every_order_type_can_be_entered_when_the_market_is_shut_and_cancelled(kind: str) -> None:
    desk = Desk(start=EVENING)
    order = placed(desk, kind)
    row = desk.live()[order.id]
    assert (row["status"], row["order_ref"], row["sizeAndFills"]) == ("PreSubmitted", kind, "0/1")
    status = desk.get(f"/iserver/account/order/status/{order.id}")
    assert status["order_type"] == row["origOrderType"]
    desk.call("DELETE", f"/iserver/account/{desk.account}/order/{order.id}")
    desk.pass_time(1)
    assert order.state == "cancelled"


@pytest.mark.parametrize("kind", sorted(KINDS))
def test_every_order_type_previews_and_books_nothing(kind: str) -> None:
    desk = Desk()
    body = {"orders": [desk.ticket(desk.stock(), "BUY", 10, kind, **KINDS[kind])]}
    row = desk.call("POST", f"/iserver/account/{desk.account}/orders/whatif", body)[1]
    assert row["amount"]["amount"].endswith(" USD (10 Shares)")
    assert (row["position"]["change"], row["error"]) == ("10", None)
    assert desk.exchange.orders == {}


@pytest.mark.parametrize("kind", sorted(KINDS))
def test_every_day_order_is_over_after_the_close(kind: str) -> None:
    desk = Desk()
    order = placed(desk, kind)
    until(desk, CLOSE)
    assert order.state in ("filled", "cancelled")
    assert order.ended_at <= CLOSE


@pytest.mark.parametrize("kind", sorted(KINDS))
def test_with_outside_hours_an_order_is_taken_and_works_from_the_open(kind: str) -> None:
    desk = Desk(start=EVENING)
    order = desk.place(desk.stock(), "BUY", 1, kind, outsideRTH=True, **KINDS[kind])
    desk.pass_time(3600)
    row = desk.live()[order.id]
    assert (row["status"], row["outsideRTH"], order.state) == ("PreSubmitted", True, "live")
    until(desk, OPEN, 60)
    if kind == "MKT":
        assert order.state == "filled"


def test_only_a_plain_stop_may_not_be_for_outside_hours_while_the_market_is_open() -> None:
    desk = Desk()
    stock = desk.stock()
    refused = (500, {"error": "invalid order attribute : Outside RTH"})
    assert desk.send(desk.ticket(stock, "BUY", 1, "STP", price=660.0, outsideRTH=True)) == refused
    limit = desk.place(stock, "BUY", 1, "STOP_LIMIT", price=661.0, auxPrice=660.0, outsideRTH=True)
    assert limit.state == "live"
    stop = desk.place(stock, "BUY", 1, "STP", price=660.0)
    path = f"/iserver/account/{desk.account}/order/{stop.id}"
    assert desk.call("POST", path, desk.ticket(stock, "BUY", 1, "STP", price=661.0, outsideRTH=True)) == refused


@pytest.mark.parametrize("kind", ["LMT", "STP", "TRAIL", "LIT", "REL"])
def test_minus_one_cancels_every_type(kind: str) -> None:
    desk = Desk(cancel_delay_s="0")
    order = placed(desk, kind)
    assert order.state == "live"
    assert desk.call("DELETE", f"/iserver/account/{desk.account}/order/-1")[0] == 200
    assert order.state == "cancelled"


def test_an_amount_of_money_shows_in_the_list_and_the_status() -> None:
    desk = Desk()
    desk.brokerage.suppressed.update({"o10164", "o10223"})
    ticket = desk.ticket(desk.stock(), "BUY", None, "LMT", price=600.0, cashQty=2000)
    order = desk.order(desk.send(ticket)[1][0]["order_id"])
    row = desk.live()[order.id]
    assert (row["totalSize"], row["totalCashSize"], order.total) == (3.0, 2000.0, 3)
    assert desk.get(f"/iserver/account/order/status/{order.id}")["total_cash_size"] == "2000.0"


def test_an_amount_buys_whole_shares_at_the_price_an_order_would_meet() -> None:
    desk = Desk()
    desk.brokerage.suppressed.update({"o10164", "o10223"})
    for kind, prices in (("STP", {"price": 660.0}), ("MIT", {"price": 600.0})):
        ticket = desk.ticket(desk.stock(), "BUY", None, kind, cashQty=1250, **prices)
        order = desk.order(desk.send(ticket)[1][0]["order_id"])
        assert order.total == (1 if kind == "STP" else 2)
