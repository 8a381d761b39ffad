"""Orders from acceptance to their end, over a moving market."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from desks import Desk
from ibkit.model import to_cents
from ibkit.sim.exchange.tickets import read_ticket

pytestmark = pytest.mark.requirement("TST-01", "TRD-12")
EVENING = datetime(2026, 11, 19, 23, 40, tzinfo=UTC)
OPEN = datetime(2026, 11, 20, 14, 30, tzinfo=UTC)
CLOSE = datetime(2026, 11, 20, 21, 0, tzinfo=UTC)


def test_a_market_order_fills_at_the_touch_at_once() -> None:
    desk = Desk()
    put = desk.option()
    quote = desk.quote(put)
    sold = desk.place(put, "SELL", 2)
    assert (sold.state, sold.filled, sold.executions[0].price) == ("filled", 2, quote.bid)
    bought = desk.place(put, "BUY", 2)
    assert bought.executions[0].price == desk.quote(put).ask
    assert desk.book.quantity(put.conid) == 0


def test_a_fill_larger_than_the_displayed_size_comes_as_several_executions_with_one_commission() -> None:
    desk = Desk(size_limit="5000", value_limit="100000000")
    put = desk.option()
    desk.hold(put, "1.00", "1.05", bid_size=40, ask_size=25)
    order = desk.place(put, "BUY", 60)
    assert [e.quantity for e in order.executions] == [25, 25, 10]
    assert order.commission == Decimal("39.00")
    assert len({e.id for e in order.executions}) == 3


def test_a_limit_waits_until_the_market_comes_to_it() -> None:
    desk = Desk()
    put = desk.option()
    desk.hold(put, "1.00", "1.05")
    order = desk.place(put, "SELL", 1, "LMT", price=1.03)
    desk.pass_time(30)
    assert desk.live()[order.id]["status"] == "Submitted"
    desk.hold(put, "1.10", "1.15")
    desk.pass_time(2)
    assert (order.state, order.executions[0].price) == ("filled", Decimal("1.03"))


def test_a_buy_stop_elects_on_two_bids_and_fills_at_the_ask() -> None:
    desk = Desk()
    put = desk.option()
    desk.hold(put, "1.00", "1.05")
    stop = desk.place(put, "BUY", 1, "STP", price=2.00, tif="GTC")
    assert desk.live()[stop.id]["status"] == "PreSubmitted"
    desk.hold(put, "2.00", "2.30")
    desk.pass_time(5)
    assert stop.elected_at is None, "the same bid again, no larger, is no second look"
    desk.hold(put, "2.05", "2.40")
    desk.pass_time(5)
    assert stop.state == "filled"
    assert stop.executions[0].price == Decimal("2.40")


def test_a_stop_follows_its_underlying_by_itself() -> None:
    desk = Desk()
    call = desk.option("C", 3)
    stop = desk.place(call, "BUY", 1, "STP", price=6.00, tif="GTC")
    desk.world.market.set_price("SPY", Decimal("650.00"), desk.now)
    desk.pass_time(30)
    assert stop.state == "filled"


def test_an_order_entered_in_the_evening_fills_at_the_next_open() -> None:
    desk = Desk(start=EVENING)
    order = desk.place(desk.stock(), "BUY", 1)
    assert desk.live()[order.id]["status"] == "PreSubmitted"
    desk.pass_time(3600)
    assert order.state == "live"
    desk.pass_time((OPEN - desk.now).total_seconds() + 5)
    assert order.state == "filled"
    assert OPEN <= order.executions[0].at <= OPEN + timedelta(seconds=5)


def test_a_day_order_dies_at_the_close_and_a_gtc_order_lives_on() -> None:
    desk = Desk()
    stock = desk.stock()
    day = desk.place(stock, "BUY", 1, "LMT", price=620.00)
    gtc = desk.place(stock, "BUY", 1, "LMT", price=620.00, tif="GTC")
    desk.pass_time((CLOSE - desk.now).total_seconds())
    assert (day.state, day.ended_at, gtc.state) == ("cancelled", CLOSE, "live")
    assert desk.live()[day.id]["status"] == "Cancelled"
    desk.pass_time(86400)
    assert day.id not in desk.live()
    assert gtc.id in desk.live()


def test_a_stop_cannot_elect_while_the_market_is_closed() -> None:
    desk = Desk(start=EVENING)
    call = desk.option("C", 3, days=7)
    stop = desk.place(call, "BUY", 1, "STP", price=50.00, tif="GTC")
    desk.world.market.set_price("SPY", Decimal("700.00"), desk.now)
    desk.pass_time(3600)
    assert stop.state == "live"
    desk.pass_time((OPEN - desk.now).total_seconds() + 60)
    assert stop.state == "filled"


def test_an_ioc_order_fills_what_it_can_and_is_gone() -> None:
    desk = Desk()
    put = desk.option()
    desk.hold(put, "1.00", "1.05")
    assert desk.place(put, "BUY", 1, "LMT", price=1.02, tif="IOC").state == "cancelled"
    assert desk.place(put, "BUY", 1, "LMT", price=1.05, tif="IOC").state == "filled"


def test_a_stop_for_the_opening_cannot_trade_there() -> None:
    desk = Desk(start=EVENING)
    order = desk.place(desk.stock(), "BUY", 1, "STP", price=700.0, tif="OPG")
    desk.pass_time((OPEN - desk.now).total_seconds() + 10)
    assert (order.state, order.filled) == ("cancelled", 0)


def test_an_opening_order_has_one_chance_at_the_next_open() -> None:
    desk = Desk(start=EVENING)
    stock = desk.stock()
    fills, misses = (desk.place(stock, "BUY", 1, "LMT", price=p, tif="OPG") for p in (645.00, 612.00))
    desk.pass_time((OPEN - desk.now).total_seconds() + 10)
    assert (fills.state, misses.state) == ("filled", "cancelled")


def test_a_cancel_takes_effect_a_moment_later_and_a_fill_can_win() -> None:
    desk = Desk(cancel_delay_s="3")
    put = desk.option()
    desk.hold(put, "1.00", "1.05")
    order = desk.place(put, "SELL", 1, "LMT", price=1.10)
    assert desk.call("DELETE", f"/iserver/account/{desk.account}/order/{order.id}")[0] == 200
    assert order.state == "pending_cancel"
    desk.hold(put, "1.10", "1.15")
    desk.pass_time(5)
    assert order.state == "filled"
    other = desk.place(put, "SELL", 1, "LMT", price=1.30)
    desk.call("DELETE", f"/iserver/account/{desk.account}/order/{other.id}")
    desk.pass_time(5)
    assert other.state == "cancelled"


def bracket(desk: Desk, contract, *, limit: float, ref: str = "parent-1") -> tuple:
    status, rows = desk.send(
        desk.ticket(contract, "SELL", 2, "LMT", price=limit, cOID=ref),
        desk.ticket(contract, "BUY", 2, "STP", price=3.00, tif="GTC", parentId=ref),
        desk.ticket(contract, "BUY", 2, "LMT", price=0.50, tif="GTC", parentId=ref),
    )
    assert status == 200
    parent = next(row for row in rows if row.get("local_order_id") == ref)
    children = [row for row in rows if row.get("parent_order_id") == parent["order_id"]]
    return desk.order(parent["order_id"]), *(desk.order(row["order_id"]) for row in children), rows


def test_bracket_children_sleep_until_the_parent_fills() -> None:
    desk = Desk()
    put = desk.option()
    desk.hold(put, "1.00", "1.05")
    parent, stop, target, rows = bracket(desk, put, limit=1.20)
    assert [row["order_status"] for row in rows] == ["PendingSubmit", "PendingSubmit", "Submitted"]
    live = desk.live()
    assert live[stop.id]["status"] == live[target.id]["status"] == "PreSubmitted"
    assert live[stop.id]["parentId"] == parent.id
    assert live[stop.id]["ocaGroupId"] == str(parent.id)
    desk.hold(put, "1.20", "1.25")
    desk.pass_time(2)
    assert parent.state == "filled"
    assert desk.live()[target.id]["status"] == "Submitted"
    desk.hold(put, "0.45", "0.50")
    desk.pass_time(2)
    assert (target.state, stop.state) == ("filled", "cancelled"), "siblings reduce each other"
    assert desk.book.quantity(put.conid) == 0


def test_cancelling_a_parent_takes_its_sleeping_children_along() -> None:
    desk = Desk()
    put = desk.option()
    desk.hold(put, "1.00", "1.05")
    parent, stop, target, _ = bracket(desk, put, limit=1.20)
    desk.call("DELETE", f"/iserver/account/{desk.account}/order/{parent.id}")
    desk.pass_time(1)
    assert {parent.state, stop.state, target.state} == {"cancelled"}


def test_cancelling_one_child_cancels_its_sibling() -> None:
    desk = Desk()
    put = desk.option()
    desk.hold(put, "1.00", "1.05")
    parent, stop, target, _ = bracket(desk, put, limit=1.20)
    desk.call("DELETE", f"/iserver/account/{desk.account}/order/{stop.id}")
    desk.pass_time(1)
    assert (parent.state, stop.state, target.state) == ("live", "cancelled", "cancelled")


def test_a_child_follows_the_filled_part_of_its_parent() -> None:
    desk = Desk("partial-fill")
    put = desk.option()
    desk.hold(put, "1.00", "1.05")
    status, rows = desk.send(
        desk.ticket(put, "SELL", 3, "LMT", price=1.00, cOID="p"),
        desk.ticket(put, "BUY", 3, "STP", price=3.00, tif="GTC", parentId="p"),
    )
    assert status == 200
    parent, stop = desk.order(rows[1]["order_id"]), desk.order(rows[0]["order_id"])
    assert parent.filled == 2
    assert desk.exchange.active_quantity(stop) == 2
    desk.call("DELETE", f"/iserver/account/{desk.account}/order/{parent.id}")
    desk.pass_time(1)
    assert (parent.state, stop.state, stop.total) == ("cancelled", "live", 2)


def test_an_oca_group_reduces_on_fill() -> None:
    desk = Desk()
    put = desk.option()
    desk.hold(put, "1.00", "1.05")
    _, rows = desk.send(
        desk.ticket(put, "SELL", 2, "LMT", price=1.20, isSingleGroup=True),
        desk.ticket(put, "SELL", 2, "LMT", price=1.30, isSingleGroup=True),
    )
    first, second = (desk.order(row["order_id"]) for row in rows)
    assert desk.live()[first.id]["ocaGroupId"] == f"oco-{first.id}"
    desk.exchange.fill(first.id, Decimal("1.20"), Decimal(1), desk.now)
    assert (first.filled, second.total) == (1, 1)
    desk.exchange.fill(first.id, Decimal("1.20"), Decimal(1), desk.now)
    assert (first.state, second.state) == ("filled", "cancelled")


def test_an_in_the_money_short_put_is_assigned_at_the_close() -> None:
    desk = Desk(value_limit="100000000")
    put, stock = desk.option(offset=-3), desk.stock()
    sold = desk.place(put, "SELL", 1)
    desk.world.market.set_price("SPY", put.strike - 10, desk.now)
    desk.pass_time((CLOSE - desk.now).total_seconds() + 1)
    assert desk.book.quantity(put.conid) == 0
    assert desk.book.quantity(stock.conid) == 100
    assert desk.book.holdings[stock.conid].cost == put.strike * 100
    premium = sold.executions[0].net_amount - sold.commission
    assert desk.book.cash == desk.book.started_with + premium - put.strike * 100
    assert desk.book.balanced


def test_an_out_of_the_money_option_expires_worthless() -> None:
    desk = Desk()
    put = desk.option(offset=-20)
    desk.place(put, "SELL", 1)
    desk.pass_time((CLOSE - desk.now).total_seconds() + 1)
    assert desk.book.quantity(put.conid) == 0
    assert desk.book.quantity(desk.stock().conid) == 0
    assert sum(desk.book.holdings[put.conid].realized.values()) == desk.book.cash - desk.book.started_with


def test_an_index_option_is_paid_in_cash() -> None:
    desk = Desk(value_limit="100000000")
    call = desk.option("C", -50, symbol="SPX")
    assert call.trading_class == "SPXW"
    bought = desk.place(call, "BUY", 1)
    desk.pass_time((CLOSE - desk.now).total_seconds() + 1)
    worth = desk.world.market.settlement(call.conid)
    assert worth > 0
    assert desk.book.quantity(call.conid) == 0
    paid = desk.book.cash - desk.book.started_with + bought.executions[0].net_amount + bought.commission
    assert paid == worth * 100


def test_a_gtc_stop_on_an_expired_option_ends_with_it() -> None:
    desk = Desk()
    put = desk.option(offset=-30)
    stop = desk.place(put, "BUY", 1, "STP", price=90.00, tif="GTC")
    desk.pass_time((CLOSE - desk.now).total_seconds() + 1)
    assert stop.state == "cancelled"
    status, body = desk.send(desk.ticket(put, "SELL", 1))
    assert (status, body) == (200, {"error": "The security is not available or allowed for this account."})


def test_no_fill_leaves_orders_working() -> None:
    desk = Desk("no-fill")
    order = desk.place(desk.option(), "SELL", 1)
    desk.pass_time(600)
    assert order.state == "live"
    assert desk.live()[order.id]["status"] == "Submitted"


def test_partial_fill_gives_two_of_three() -> None:
    desk = Desk("partial-fill")
    order = desk.place(desk.option(), "SELL", 3)
    desk.pass_time(600)
    assert (order.filled, order.remaining, order.state) == (2, 1, "live")


def test_an_order_typed_elsewhere_is_seen_without_a_ref() -> None:
    desk = Desk()
    ticket = read_ticket(desk.ticket(desk.stock(), "BUY", 1, "LMT", price=620.00), desk.world.instruments)
    order = desk.exchange.enter_external(desk.account, ticket, desk.now)
    row = desk.live()[order.id]
    assert "order_ref" not in row
    assert desk.exchange.ledger_rows()[-1]["origin"] == "tws"


def test_the_ledger_names_the_request_behind_each_order() -> None:
    desk = Desk()
    desk.place(desk.option(), "SELL", 1, cOID="mine-1")
    row = desk.simulator.control("GET", "ledger")
    rows = row if isinstance(row, list) else next(iter(row.values()))
    (mine,) = [r for r in rows if r["ref"] == "mine-1"]
    request = next(r for r in desk.simulator.requests if "/orders" in r.path)
    assert mine["request_id"] == request.id
    assert [event["event"] for event in mine["events"]] == ["accepted", "filled"]


def test_equal_seeds_and_requests_give_equal_ledgers() -> None:
    def story() -> object:
        desk = Desk(quiet=False, seed=11)
        put = desk.option()
        desk.send(desk.ticket(put, "SELL", 1, cOID="a"))
        desk.confirm_all(desk.send(desk.ticket(put, "BUY", 1, "STP", price=9.0, cOID="b"))[1])
        desk.pass_time(7200)
        return desk.exchange.as_dict(), desk.world.books.as_dict(desk.now)

    assert story() == story()


def test_a_day_passes_quickly_over_a_working_stop() -> None:
    desk = Desk()
    stop = desk.place(desk.option(days=7, offset=-20), "BUY", 1, "STP", price=90.00, tif="GTC")
    desk.pass_time(23 * 3600)
    assert stop.state == "live"


def test_the_control_face_types_orders_and_fills_them() -> None:
    desk = Desk()
    ticket = desk.ticket(desk.stock(), "BUY", 3, "LMT", price=600.0)
    row = desk.simulator.control("POST", "order", {"account": desk.account, "ticket": ticket})
    order = desk.order(row["order_id"])
    desk.simulator.control("POST", "fill", {"order_id": order.id, "price": "599.5", "quantity": 1})
    desk.simulator.control("POST", "fill", {"order_id": order.id, "price": "599"})
    assert [(e.quantity, e.price) for e in order.executions] == [(1, Decimal("599.5")), (2, Decimal(599))]
    for wrong in ({"order_id": order.id, "price": "1"}, {"order_id": 5, "price": "1"}, {"price": "1"}):
        with pytest.raises(ValueError, match="fill"):
            desk.simulator.control("POST", "fill", wrong)
    with pytest.raises(ValueError, match="no account"):
        desk.simulator.control("POST", "order", {"account": "U9", "ticket": ticket})


KINDS = ["MKT", "LMT", "STP", "TRAIL", "TRAILLMT", "MIT", "LIT", "MOC", "REL", "MIDPRICE", "combo", "OCA"]
KINDS += ["cancel", "wait", "night"]
moves = st.lists(
    st.tuples(
        st.sampled_from(
            [
                "MKT",
                "LMT",
                "STP",
                "TRAIL",
                "TRAILLMT",
                "MIT",
                "LIT",
                "MOC",
                "REL",
                "MIDPRICE",
                "combo",
                "OCA",
                "cancel",
                "wait",
                "night",
            ]
        ),
        st.sampled_from(["BUY", "SELL"]),
        st.integers(1, 40),
        st.integers(-6, 6),
        st.booleans(),
    ),
    min_size=3,
    max_size=16,
)


@given(moves)
@settings(max_examples=80, deadline=None)
def test_whatever_is_traded_cash_positions_and_summary_follow_from_the_executions(rows: list) -> None:
    desk = Desk(margin_refusal="later", value_limit="1e12")
    desk.brokerage.suppressed.add("o403")
    put, stock = desk.option(offset=-30, days=40), desk.stock("AAPL")
    other = desk.option(offset=-35, days=40)
    spread = {"conid": None, "conidex": f"28812380;;;{put.conid}/1,{other.conid}/-2"}
    for kind, side, quantity, distance, option in rows:
        contract = put if option else stock
        if kind == "cancel":
            desk.exchange.desk.cancel_all(desk.account, desk.now)
        elif kind in ("wait", "night"):
            desk.pass_time(900 if kind == "wait" else 20 * 3600)
        else:
            middle = (desk.quote(contract).bid or Decimal("0.05")) + Decimal(distance) / 100
            price = float(max(middle, Decimal("0.01")))
            terms = {"price": price, "auxPrice": price, "trailingAmt": 0.05, "trailingType": "amt"}
            terms |= {"auxPrice": 0.01} if kind == "REL" else {}
            if kind == "combo":
                desk.send(desk.ticket(put, side, quantity, "LMT", price=distance / 20, **spread))
            elif kind == "OCA":
                pair = [desk.ticket(contract, side, quantity, k, isSingleGroup=True, **terms) for k in ("LMT", "STP")]
                desk.send(*pair)
            else:
                desk.send(desk.ticket(contract, side, quantity, kind, **terms))
    fills = [e for order in desk.exchange.orders.values() for e in order.executions]
    executions = [part for fill in fills for part in fill.legs or (fill,)]
    assert sum((f.commission for f in fills), Decimal(0)) == sum((e.commission for e in executions), Decimal(0))
    signs = [1 if e.side == "BUY" else -1 for e in executions]
    flows = sum((-s * e.net_amount - e.commission for s, e in zip(signs, executions, strict=True)), Decimal(0))
    seen = desk.world.books.portfolio(desk.account, desk.now)
    assert desk.book.cash == desk.book.started_with + flows
    assert desk.book.balanced
    for contract in (put, other, stock):
        held = sum((s * e.quantity for s, e in zip(signs, executions, strict=True) if e.instrument == contract), 0)
        assert desk.book.quantity(contract.conid) == held
    assert seen.values.net_liquidation == to_cents(desk.book.cash) + sum(p.market_value for p in seen.positions)
    for order in desk.exchange.orders.values():
        assert order.filled <= order.total or order.state == "cancelled"
        assert (order.state == "filled") == (order.remaining == 0 and order.accepted_at is not None)


def test_a_morning_settled_index_option_is_paid_at_the_next_open() -> None:
    desk = Desk(start=datetime(2026, 11, 19, 15, 30, tzinfo=UTC), value_limit="1e12")
    expiry = next(e for e in desk.world.calendar.expiries("SPX", desk.now.date()) if e.trading_class == "SPX")
    assert expiry.day == desk.now.date()
    strikes = desk.world.instruments.strikes("SPX", expiry.day)
    put = desk.world.instruments.option("SPX", expiry.day, strikes[-20], "P", "SPX")
    assert put is not None
    desk.place(put, "BUY", 1)
    desk.pass_time((OPEN - desk.now).total_seconds() - 60)
    assert desk.book.quantity(put.conid) == 1, "its last trading day is over, its settlement is not"
    paid_before = desk.book.cash
    desk.pass_time(120)
    assert desk.book.quantity(put.conid) == 0
    assert desk.book.cash - paid_before == desk.world.market.settlement(put.conid) * 100
    assert desk.book.balanced
