"""Trailing stops: how the stop follows the market, and when it elects. Source: docs/facts/orders.md §1.2-1.3, §1.8."""

from __future__ import annotations

from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from desks import Desk
from ibkit.sim.exchange.order import SimOrder
from ibkit.sim.exchange.tickets import Trail
from ibkit.sim.exchange.trailing import follow, stops_over

pytestmark = pytest.mark.requirement("TST-01", "TRD-12")
EVENING = datetime(2026, 11, 19, 23, 40, tzinfo=UTC)
OPEN = datetime(2026, 11, 20, 14, 30, tzinfo=UTC)


def trailing(amount: float, form: str = "amt", **more: Any) -> dict[str, Any]:
    return {"trailingAmt": amount, "trailingType": form, **more}


def held(desk: Desk, *quotes: tuple[str, str], contract: Any = None, seconds: float = 2) -> None:
    """Let the market stand at each of these quotes for a while."""
    for bid, ask in quotes:
        desk.hold(contract or desk.option(), bid, ask)
        desk.pass_time(seconds)


@given(
    st.lists(st.integers(1, 5000), min_size=1, max_size=40),
    st.booleans(),
    st.booleans(),
    st.integers(1, 90),
    st.one_of(st.none(), st.integers(1, 6000)),
)
def test_a_stop_follows_in_favour_only_and_one_by_one_or_all_at_once(
    cents: list[int], buys: bool, per_cent: bool, amount: int, first: int | None
) -> None:
    trail = Trail(Decimal(amount) if per_cent else Decimal(amount) / 100, per_cent)
    stop = None if first is None else Decimal(first).scaleb(-2)
    over = stops_over(stop, trail, np.array(cents), np.ones(len(cents), dtype=bool), buys=buys)
    walked = []
    for price in cents:
        before, stop = stop, follow(stop, trail, Decimal(price).scaleb(-2), buys=buys)
        assert before is None or (stop <= before if buys else stop >= before)
        walked.append(int(stop * 100))
    assert list(over) == walked


def test_a_selling_trail_rises_with_the_price_and_sells_when_it_falls_back() -> None:
    desk = Desk()
    stock = desk.stock()
    desk.place(stock, "BUY", 10)
    desk.hold(stock, "630.00", "630.00")
    order = desk.place(stock, "SELL", 10, "TRAIL", tif="GTC", **trailing(2.00))
    row = desk.live()[order.id]
    assert (row["status"], row["orderType"], row["stop_price"], row["price"]) == (
        "PreSubmitted",
        "Trailing Stop",
        "628.00",
        "",
    )
    held(desk, ("633.00", "633.00"), ("631.50", "631.50"), contract=stock)
    assert (order.state, desk.live()[order.id]["stop_price"]) == ("live", "631.00")
    held(desk, ("630.99", "630.99"), contract=stock)
    assert (order.state, order.executions[0].price) == ("filled", Decimal("630.99"))
    assert order.stop == Decimal("631.00")


def test_a_buying_trail_on_an_option_follows_the_bid_down_and_elects_on_two_bids() -> None:
    desk = Desk()
    put = desk.option()
    desk.hold(put, "2.00", "2.10")
    desk.place(put, "SELL", 1)
    order = desk.place(put, "BUY", 1, "TRAIL", tif="GTC", **trailing(0.50))
    assert order.stop == Decimal("2.50")
    held(desk, ("1.50", "1.60"), ("1.90", "2.00"))
    assert order.stop == Decimal("2.00")
    held(desk, ("2.00", "2.20"))
    assert order.elected_at is None, "one bid at the stop is not two"
    held(desk, ("2.05", "2.30"))
    assert (order.state, order.executions[0].price) == ("filled", Decimal("2.30"))


def test_per_cent_of_the_price() -> None:
    desk = Desk()
    put = desk.option()
    desk.hold(put, "2.00", "2.10")
    order = desk.place(put, "BUY", 1, "TRAIL", tif="GTC", **trailing(50, "%"))
    assert order.stop == Decimal("3.00")
    held(desk, ("1.01", "1.10"))
    assert order.stop == Decimal("1.52"), "1.515, rounded away from the market"
    assert desk.live()[order.id]["orderDesc"].startswith("Buy 1 Trailing Stop 50.00% 1.52")


def test_the_first_stop_may_be_given_and_holds_until_the_market_leaves_it_behind() -> None:
    desk = Desk()
    put = desk.option()
    desk.hold(put, "2.00", "2.10")
    order = desk.place(put, "BUY", 1, "TRAIL", tif="GTC", price=2.20, **trailing(0.50))
    assert order.stop == Decimal("2.20")
    held(desk, ("1.80", "1.90"))
    assert order.stop == Decimal("2.20")
    held(desk, ("1.60", "1.70"))
    assert order.stop == Decimal("2.10")


@pytest.mark.parametrize(("quirk", "limit"), [("follows", "1.90"), ("fixed", "2.60")])
def test_a_trailing_stop_limit_moves_its_limit_as_the_quirk_says(quirk: str, limit: str) -> None:
    desk = Desk(trail_limit=quirk)
    put = desk.option()
    desk.hold(put, "2.00", "2.10")
    order = desk.place(put, "BUY", 1, "TRAILLMT", tif="GTC", price=2.60, auxPrice=2.50, **trailing(0.50))
    assert order.ticket.limit == Decimal("2.60")
    held(desk, ("1.30", "1.40"))
    row = desk.live()[order.id]
    assert (row["stop_price"], row["auxPrice"], row["price"]) == ("1.80", "1.80", limit)
    assert (row["status"], row["orderType"], row["origOrderType"]) == (
        "PreSubmitted",
        "Trailing Stop Limit",
        "TRAILLMT",
    )
    held(desk, ("1.80", "2.40"), ("1.85", "2.45"))
    assert order.elected_at is not None
    if quirk == "follows":
        assert order.state == "live", "its limit is below the ask"
        assert desk.live()[order.id]["status"] == "Submitted"
        held(desk, ("1.70", "1.85"))
        assert order.executions[0].price == Decimal("1.90")
    else:
        assert order.executions[0].price == Decimal("2.45")


def test_by_quirk_a_trail_follows_the_middle_of_the_quote() -> None:
    desk = Desk(trail_follows="midpoint")
    put = desk.option()
    desk.hold(put, "2.00", "2.20")
    order = desk.place(put, "BUY", 1, "TRAIL", tif="GTC", **trailing(0.50))
    assert order.stop == Decimal("2.60")
    held(desk, ("1.50", "1.60"))
    assert order.stop == Decimal("2.05")


def test_a_trail_asks_about_stops_and_knows_when_it_would_trigger_at_once() -> None:
    desk = Desk(quiet=False, no_data_question="no")
    put = desk.option()
    desk.hold(put, "2.00", "2.10")
    ids = []
    answer = desk.send(desk.ticket(put, "BUY", 1, "TRAIL", price=1.90, **trailing(0.50)))[1]
    while "message" in answer[0]:
        ids += answer[0]["messageIds"]
        answer = desk.reply(answer)[1]
    assert ids == ["o403", "o10331"]
    (question,) = desk.send(desk.ticket(put, "BUY", 1, "TRAIL", **trailing(0.50)))[1]
    assert question["messageIds"] == ["o10331"]


def test_a_preview_warns_of_stops_and_takes_the_stop_for_its_price() -> None:
    desk = Desk(quiet=False, no_data_question="no")
    put = desk.option()
    desk.hold(put, "2.00", "2.10")
    body = {"orders": [desk.ticket(put, "BUY", 2, "TRAIL", **trailing(0.50))]}
    row = desk.call("POST", f"/iserver/account/{desk.account}/orders/whatif", body)[1]
    assert row["warn"].startswith("You are about to submit a stop order.")
    assert row["amount"]["amount"] == "500 USD (2 Contracts)", "two at the stop of 2.50"
    assert (row["position"]["after"], row["error"]) == ("2", None)


@pytest.mark.parametrize(
    "changes",
    [
        {"trailingAmt": None},
        {"trailingType": None},
        {"trailingType": "usd"},
        {"trailingAmt": 0},
        {"trailingAmt": -1},
        {"trailingAmt": 100, "trailingType": "%"},
        {"orderType": "TRAILLMT"},
        {"orderType": "TRAILLMT", "price": 2.0},
        {"orderType": "TRAILLMT", "auxPrice": 2.0},
    ],
    ids=str,
)
def test_both_members_of_a_trail_are_needed(changes: dict[str, Any]) -> None:
    desk = Desk()
    ticket = desk.ticket(desk.option(), "BUY", 1, "TRAIL", **trailing(0.50)) | changes
    assert desk.send(ticket) == (500, None)
    assert desk.exchange.orders == {}


def test_an_amount_below_a_cent_does_not_conform() -> None:
    desk = Desk()
    text = "The price does not conform to the minimum price variation for this contract."
    assert desk.send(desk.ticket(desk.option(), "BUY", 1, "TRAIL", **trailing(0.505)))[1] == {"error": text}


def test_a_trailing_child_begins_to_follow_when_its_parent_fills() -> None:
    desk = Desk()
    put = desk.option()
    desk.hold(put, "1.00", "1.05")
    _, rows = desk.send(
        desk.ticket(put, "SELL", 1, "LMT", price=2.00, cOID="p"),
        desk.ticket(put, "BUY", 1, "TRAIL", tif="GTC", parentId="p", **trailing(0.50)),
    )
    stop, parent = (desk.order(row["order_id"]) for row in rows)
    held(desk, ("0.80", "0.85"), ("1.90", "1.95"))
    assert stop.stop is None, "it sleeps"
    assert desk.live()[stop.id]["stop_price"] == ""
    held(desk, ("2.00", "2.05"))
    assert (parent.state, stop.stop) == ("filled", Decimal("2.50"))
    held(desk, ("1.50", "1.55"))
    assert stop.stop == Decimal("2.00")


def test_a_trail_entered_in_the_evening_waits_for_the_open() -> None:
    desk = Desk(start=EVENING)
    stock = desk.stock()
    order = desk.place(stock, "SELL", 1, "TRAIL", tif="GTC", **trailing(5.00))
    assert (order.stop, desk.live()[order.id]["status"]) == (None, "PreSubmitted")
    desk.pass_time((OPEN - desk.now).total_seconds() + 5)
    assert order.state == "live"
    low, high = (desk.quote(stock).last - d for d in (6, 4))
    assert low <= order.stop <= high


def modify(desk: Desk, order: SimOrder, **changes: object) -> Any:
    ticket = {**desk.ticket(desk.option(), "BUY", 1, "TRAIL", tif="GTC", **trailing(0.50)), **changes}
    return desk.call("POST", f"/iserver/account/{desk.account}/order/{order.id}", ticket)


def test_changing_the_size_leaves_the_stop_where_it_has_come_to_and_changing_the_trail_does_not() -> None:
    desk = Desk()
    put = desk.option()
    desk.hold(put, "2.00", "2.10")
    order = desk.place(put, "BUY", 1, "TRAIL", tif="GTC", **trailing(0.50))
    held(desk, ("1.50", "1.60"), ("1.70", "1.80"))
    status, rows = modify(desk, order, quantity=2)
    assert (status, rows[0]["order_id"], order.total, order.stop) == (200, str(order.id), 2, Decimal("2.00"))
    modify(desk, order, trailingAmt=0.80)
    assert order.stop == Decimal("2.50"), "anew from the bid of 1.70"
    modify(desk, order, trailingAmt=0.80, price=1.90)
    assert order.stop == Decimal("1.90")


def test_the_ledger_and_the_status_show_where_the_stop_stands() -> None:
    desk = Desk()
    put = desk.option()
    desk.hold(put, "2.00", "2.10")
    order = desk.place(put, "BUY", 1, "TRAIL", tif="GTC", **trailing(0.50))
    held(desk, ("1.50", "1.60"))
    row = desk.exchange.ledger_rows()[-1]
    assert (row["trailing"], row["trailing_type"], row["stop"], row["stop_now"]) == (
        Decimal("0.5"),
        "amt",
        None,
        Decimal("2.00"),
    )
    status = desk.get(f"/iserver/account/order/status/{order.id}")
    assert (status["order_type"], status["stop_price"], status["limit_price"]) == ("TRAIL", "2.00", "")


def test_many_small_steps_of_the_clock_and_one_large_one_tell_the_same_story() -> None:
    def story(steps: int) -> object:
        desk = Desk(seed=5)
        order = desk.place(desk.stock("TSLA"), "SELL", 1, "TRAIL", tif="GTC", **trailing(0.4, "%"))
        for _ in range(steps):
            desk.pass_time(3600 / steps)
        return order.state, order.stop, order.elected_at, [(e.at, e.price) for e in order.executions]

    told = story(1)
    assert told == story(7200 // 40)
    assert told[0] == "filled", "with this seed the hour is rough enough"
