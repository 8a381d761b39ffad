"""Order calls through the gateway face, in IBKR's shapes and words. Source: docs/facts/orders.md."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from desks import Desk
from shapes import assert_same_shape

pytestmark = pytest.mark.requirement("TST-01", "TRD-10", "TRD-11", "TRD-12", "TRD-15", "TRD-22")


def test_a_plain_order_is_accepted_in_an_array() -> None:
    desk = Desk()
    status, rows = desk.send(desk.ticket(desk.option(), "SELL", 1, cOID="one"))
    assert status == 200
    (row,) = rows
    order_id = row.pop("order_id")
    assert order_id.isdigit()
    assert row == {"order_status": "Filled", "encrypt_message": "1", "local_order_id": "one"}


def test_a_ref_can_be_used_once_a_day() -> None:
    desk = Desk()
    desk.place(desk.option(), "SELL", 1, cOID="one")
    text = "Order couldn't be submitted: Local order ID=one is already registered."
    assert desk.send(desk.ticket(desk.option(), "SELL", 1, cOID="one")) == (200, {"error": text})
    assert len(desk.exchange.orders) == 1
    desk.pass_time(24 * 3600 + 60)
    assert "order_id" in desk.send(desk.ticket(desk.stock(), "BUY", 1, "LMT", price=600.0, cOID="one"))[1][0]


def test_by_quirk_a_duplicate_is_a_400() -> None:
    desk = Desk(coid_duplicate_status="400")
    desk.place(desk.option(), "SELL", 1, cOID="one")
    status, body = desk.send(desk.ticket(desk.option(), "SELL", 1, cOID="one"))
    assert (status, body["statusCode"]) == (400, 400)


def test_a_refusal_leaves_the_ref_free_unless_the_quirk_says_so() -> None:
    for consumes, again in (("no", "order_id"), ("yes", "error")):
        desk = Desk(coid_refusal_consumes=consumes)
        desk.send(desk.ticket(desk.stock(), "BUY", 1, "LMT", price=620.001, cOID="one"))
        body = desk.send(desk.ticket(desk.stock(), "BUY", 1, "LMT", price=620.00, cOID="one"))[1]
        assert again in (body[0] if isinstance(body, list) else body)


@pytest.mark.parametrize(
    "changes",
    [
        {"orderType": "LIMIT"},
        {"orderType": None},
        {"conid": 999999999},
        {"conid": None},
        {"tif": "FOREVER"},
        {"side": "SHORT"},
        {"quantity": "many"},
        {"quantity": 0},
        {"quantity": -1},
        {"orderType": "LMT"},
        {"orderType": "STP"},
        {"orderType": "LMT", "price": "x"},
        {"cOID": "x" * 65},
        {"outsideRTH": "no"},
        {"cashQty": 100},
    ],
    ids=str,
)
def test_what_is_in_no_list_is_a_500_with_an_empty_body(changes: dict[str, Any]) -> None:
    desk = Desk()
    ticket = {**desk.ticket(desk.stock(), "BUY", 1), **changes}
    assert desk.send(ticket) == (500, None)
    assert desk.exchange.orders == {}


@pytest.mark.parametrize(("kind", "more"), [("MOC", {}), ("LOC", {"price": 1.0}), ("MIDPRICE", {})])
def test_an_order_type_that_the_product_does_not_take_is_named(kind: str, more: dict[str, Any]) -> None:
    desk = Desk()
    answer = desk.send(desk.ticket(desk.option(), "BUY", 1, kind, **more))
    assert answer == (500, {"error": f"invalid order attribute : {kind}"})


def test_a_body_without_orders_is_a_400() -> None:
    desk = Desk()
    for body in ({}, {"orders": []}, []):
        assert desk.call("POST", f"/iserver/account/{desk.account}/orders", body)[0] == 400


def test_somebody_elses_account_is_refused_by_name() -> None:
    desk = Desk()
    status, body = desk.send(desk.ticket(desk.stock(), "BUY", 1), account="U9")
    assert (status, body) == (400, {"error": "Bad Request: accountId is not valid: U9", "statusCode": 400})


def test_a_price_off_the_grid_is_refused() -> None:
    desk = Desk()
    text = "The price does not conform to the minimum price variation for this contract."
    assert desk.send(desk.ticket(desk.stock(), "BUY", 1, "LMT", price=620.005)) == (200, {"error": text})


def test_half_an_option_is_refused_and_half_a_share_is_not() -> None:
    desk = Desk()
    text = "This order doesn't support fractional quantity trading"
    assert desk.send(desk.ticket(desk.option(), "BUY", 0.5)) == (200, {"error": text})
    assert desk.place(desk.stock(), "BUY", 0.5).filled * 2 == 1


def test_an_amount_of_money_buys_whole_shares() -> None:
    desk = Desk()
    desk.brokerage.suppressed.update({"o10164", "o10223"})
    ticket = desk.ticket(desk.stock(), "BUY", None, cashQty=2000)
    assert desk.order(desk.send(ticket)[1][0]["order_id"]).filled == 3
    assert "error" in desk.send(desk.ticket(desk.stock(), "BUY", None, cashQty=100))[1]


def test_a_limit_far_through_the_market_is_refused() -> None:
    desk = Desk()
    text = desk.send(desk.ticket(desk.stock(), "BUY", 1, "LMT", price=2000.00))[1]["error"]
    assert text.startswith("We cannot accept an order at the limit price you selected.")


def test_margin_is_refused_in_ibkrs_words() -> None:
    desk = Desk()
    desk.brokerage.suppressed.update({"o383", "o451"})
    status, body = desk.send(desk.ticket(desk.option(), "SELL", 400))
    assert status == 200
    assert "Your Available Funds are in sufficient to cover the change" in body["error"]
    assert desk.exchange.orders == {}


def test_by_quirk_margin_is_refused_a_moment_after_acceptance() -> None:
    desk = Desk(margin_refusal="later")
    desk.brokerage.suppressed.update({"o383", "o451"})
    desk.hold(desk.option(), "1.00", "1.05")
    order = desk.place(desk.option(), "SELL", 400, "LMT", price=1.50)
    desk.pass_time(1)
    row = desk.live()[order.id]
    assert row["status"] == "Inactive"
    assert row["order_ccp_status"] != "Pending Submit"
    status = desk.get(f"/iserver/account/order/status/{order.id}")
    assert "in sufficient" in status["order_status_description"]
    assert status["order_status_description"] == status["order_cancellation_by_system_reason"]


def test_closing_a_position_is_never_refused_for_margin() -> None:
    desk = Desk()
    put = desk.option()
    desk.place(put, "SELL", 1)
    desk.book.cash -= 990_000
    assert "order_id" in desk.send(desk.ticket(put, "BUY", 1))[1][0]


def test_an_unknown_parent_fails_in_its_row() -> None:
    desk = Desk()
    status, rows = desk.send(desk.ticket(desk.option(), "BUY", 1, "STP", price=9.0, parentId="who"))
    assert status == 200
    assert rows == [
        {
            "order_id": "-1",
            "order_status": "Failed",
            "error": None,
            "warning_message": "-1",
            "text": "Order couldn't be submitted: Parent order ID=who isn't recognized.",
        }
    ]


@pytest.mark.parametrize(("quirk", "state"), [("inactive_parent", "rejected"), ("live_parent", "live")])
def test_a_refused_child_leaves_its_parent_as_the_quirk_says(quirk: str, state: str) -> None:
    desk = Desk(bracket_refusal=quirk)
    put = desk.option()
    desk.hold(put, "1.00", "1.05")
    _, rows = desk.send(
        desk.ticket(put, "SELL", 1, "LMT", price=1.20, cOID="p"),
        desk.ticket(put, "BUY", 1, "STP", price=3.005, tif="GTC", parentId="p"),
    )
    assert [row["order_id"] == "-1" for row in rows] == [True, False]
    assert desk.order(rows[1]["order_id"]).state == state


def test_a_child_can_be_hung_on_a_parent_by_its_number() -> None:
    desk = Desk()
    put = desk.option()
    parent = desk.place(put, "SELL", 1, cOID="p")
    stop = desk.place(put, "BUY", 1, "STP", price=9.0, tif="GTC", parentId=str(parent.id), cOID="p:stop")
    assert stop.parent is parent
    assert desk.live()[stop.id]["order_ref"] == "p:stop"
    status = desk.get(f"/iserver/account/order/status/{parent.id}")
    assert status["children_order_ids"] == str(stop.id)


@pytest.mark.parametrize(
    ("scenario", "words"),
    [("order-reject-200", "Only closing orders"), ("order-no-permission", "No trading permissions")],
)
def test_scenarios_refuse_with_http_200(scenario: str, words: str) -> None:
    desk = Desk(scenario)
    status, body = desk.send(desk.ticket(desk.option(), "SELL", 1))
    assert status == 200
    assert words in body["error"]
    assert desk.exchange.orders == {}


def test_scenario_stop_reject_refuses_stops_alone() -> None:
    desk = Desk("stop-reject")
    put = desk.option()
    desk.place(put, "SELL", 1)
    assert "stop orders are refused" in desk.send(desk.ticket(put, "BUY", 1, "STP", price=9.0))[1]["error"]


# --- modify and cancel ---------------------------------------------------------------------------------------------


def resting(desk: Desk) -> Any:
    return desk.place(desk.stock(), "BUY", 10, "LMT", price=610.00, cOID="r", tif="GTC")


def modify(desk: Desk, order_id: object, **changes: object) -> tuple[int, Any]:
    ticket = {**desk.ticket(desk.stock(), "BUY", 10, "LMT", price=610.00, tif="GTC"), **changes}
    return desk.call("POST", f"/iserver/account/{desk.account}/order/{order_id}", ticket)


def test_modify_sets_all_terms_and_keeps_id_and_ref() -> None:
    desk = Desk()
    order = resting(desk)
    status, rows = modify(desk, order.id, price=611.00, quantity=12)
    assert (status, rows[0]["order_id"]) == (200, str(order.id))
    row = desk.live()[order.id]
    assert (row["price"], row["totalSize"], row["order_ref"], row["timeInForce"]) == ("611.00", 12.0, "r", "GTC")
    modify(desk, order.id, tif="DAY")
    assert desk.live()[order.id]["timeInForce"] == "CLOSE"


def test_modify_can_make_an_order_marketable() -> None:
    desk = Desk()
    order = resting(desk)
    modify(desk, order.id, price=650.00)
    assert order.state == "filled"


def test_modify_asks_about_a_much_larger_size_and_waits_for_the_answer() -> None:
    desk = Desk(modify_size_limit="5")
    order = resting(desk)
    status, question = modify(desk, order.id, quantity=20)
    assert (status, question[0]["messageIds"]) == (200, ["o10138"])
    assert order.total == 10
    assert desk.reply(question, False)[1] == {"error": "Order not confirmed "}
    assert (order.state, order.total) == ("live", 10)
    desk.confirm_all(modify(desk, order.id, quantity=20)[1])
    assert order.total == 20


def test_what_cannot_be_modified_is_refused() -> None:
    desk = Desk()
    missing = (400, {"error": "OrderID 123456 doesn't exist", "statusCode": 400})
    assert modify(desk, 123456) == missing
    filled = desk.place(desk.stock(), "BUY", 1)
    assert modify(desk, filled.id) == (200, {"error": "Cannot modify a filled order."})
    order = resting(desk)
    assert "error" in modify(desk, order.id, side="SELL")[1]
    assert "error" in modify(desk, order.id, conid=desk.stock("AAPL").conid)[1]
    assert "error" in modify(desk, order.id, price=610.001)[1]


def test_cancel_acknowledges_and_the_status_follows() -> None:
    desk = Desk()
    order = resting(desk)
    path = f"/iserver/account/{desk.account}/order"
    acknowledged = {
        "msg": "Request was submitted",
        "order_id": order.id,
        "conid": order.conid,
        "account": desk.account,
    }
    assert desk.call("DELETE", f"{path}/{order.id}") == (200, acknowledged)
    assert order.state == "pending_cancel"
    assert desk.get(f"/iserver/account/order/status/{order.id}")["order_status"] == "Cancelled"
    assert desk.call("DELETE", f"{path}/{order.id}")[0] == 400
    assert desk.call("DELETE", f"{path}/77") == (400, {"error": "OrderID 77 doesn't exist", "statusCode": 400})


def test_minus_one_cancels_everything_of_the_account() -> None:
    desk = Desk(cancel_delay_s="0")
    one = resting(desk)
    other = desk.place(desk.option(), "BUY", 1, "STP", price=90.0)
    status, body = desk.call("DELETE", f"/iserver/account/{desk.account}/order/-1")
    assert (status, body) == (200, {"msg": "Request was submitted", "order_id": -1, "conid": -1, "account": None})
    assert {one.state, other.state} == {"cancelled"}


# --- reading -------------------------------------------------------------------------------------------------------


def test_the_first_read_of_the_orders_is_no_evidence() -> None:
    desk = Desk()
    resting(desk)
    assert desk.get("/iserver/account/orders", wait=6) == {"orders": [], "snapshot": False}
    answer = desk.get("/iserver/account/orders", wait=6)
    assert (len(answer["orders"]), answer["snapshot"]) == (1, True)
    assert desk.get("/iserver/account/orders?force=true", wait=6) == {"orders": [], "snapshot": False}
    assert desk.get("/iserver/account/orders", wait=6)["snapshot"] is True


def test_filters_choose_by_status() -> None:
    desk = Desk()
    order = resting(desk)
    desk.place(desk.option(), "SELL", 1)
    desk.live()
    rows = desk.get("/iserver/account/orders?filters=Submitted", wait=6)["orders"]
    assert [row["orderId"] for row in rows] == [order.id]
    rows = desk.get("/iserver/account/orders?filters=filled,submitted,sort_by_time", wait=6)["orders"]
    assert [row["status"] for row in rows] == ["Submitted", "Filled"]


def test_orders_are_those_of_the_account_asked_for() -> None:
    desk = Desk("multi-account")
    other = desk.world.users_at_start[0].spare_accounts[0].id
    order = resting(desk)
    desk.live()
    assert desk.get(f"/iserver/account/orders?accountId={other}", wait=6) == {"orders": [], "snapshot": True}
    rows = desk.get(f"/iserver/account/orders?accountId={desk.account}", wait=6)["orders"]
    assert [row["orderId"] for row in rows] == [order.id]
    assert desk.call("GET", "/iserver/account/orders?accountId=U9", wait=6)[0] == 400


def test_days_of_trades_stick() -> None:
    desk = Desk()
    desk.place(desk.option(), "SELL", 1)
    assert desk.get("/iserver/account/trades?days=7", wait=6) == []
    assert len(desk.get("/iserver/account/trades/", wait=6)) == 1
    desk.pass_time(24 * 3600)
    assert len(desk.get("/iserver/account/trades", wait=6)) == 1
    assert desk.get("/iserver/account/trades?days=1", wait=6) == []
    assert desk.get("/iserver/account/trades", wait=6) == []


def test_status_of_an_unknown_order_and_of_one_of_yesterday() -> None:
    desk = Desk()
    assert desk.call("GET", "/iserver/account/order/status/5")[0] == 400
    order = desk.place(desk.option(), "SELL", 1)
    desk.pass_time(24 * 3600)
    assert desk.call("GET", f"/iserver/account/order/status/{order.id}")[0] == 503


def test_a_preview_books_nothing_and_says_everything_in_texts() -> None:
    desk = Desk(quiet=False)
    put = desk.option()
    body = {"orders": [desk.ticket(put, "SELL", 2)]}
    status, row = desk.call("POST", f"/iserver/account/{desk.account}/orders/whatif", body)
    assert status == 200
    assert desk.exchange.orders == {}
    assert row["amount"]["amount"].endswith(" USD (2 Contracts)")
    assert row["amount"]["commission"] == "1.30 USD"
    assert row["position"] == {"current": "0", "change": "-2", "after": "-2"}
    assert row["equity"]["current"] == "1,000,000"
    assert int(row["initial"]["after"].replace(",", "")) > 10_000
    assert row["warn"].startswith("21/You are submitting an order without market data.")
    assert row["error"] is None


def recorded(shared: Path, name: str) -> Any:
    return json.loads((shared / "ibkr" / "recorded" / "Orders" / f"{name}.json").read_text())["Response"]["Body"]


def test_answers_have_the_recorded_shapes(shared: Path) -> None:
    desk = Desk(quiet=False)
    stock = desk.stock()
    question = desk.send(desk.ticket(stock, "BUY", 1, cOID="Order123"))[1]
    assert_same_shape(question, recorded(shared, "POST-place-order-confirmation"))
    rows = desk.confirm_all(question)
    assert_same_shape(rows, recorded(shared, "POST-reply-submitted"), more={"local_order_id"})
    assert_same_shape(desk.get("/iserver/account/orders"), recorded(shared, "GET-live-orders-empty"))
    answer = desk.get("/iserver/account/orders", wait=6)
    assert_same_shape(answer, recorded(shared, "GET-live-orders"), more={"order_ref"})
    assert_same_shape(desk.get("/iserver/account/trades", wait=6), recorded(shared, "GET-trades-empty"))
    trades = desk.get("/iserver/account/trades", wait=6)
    # The recorded one was trimmed by hand and has its price as a number.
    assert_same_shape(trades, recorded(shared, "GET-trades"), trimmed=True, free={"price"})
    status = desk.get(f"/iserver/account/order/status/{rows[0]['order_id']}")
    assert_same_shape(status, recorded(shared, "GET-order-status"), trimmed=True)
    body = {"orders": [desk.ticket(stock, "BUY", 1, "LMT", price=600.0)]}
    preview = desk.call("POST", f"/iserver/account/{desk.account}/orders/whatif", body)[1]
    assert_same_shape(preview, recorded(shared, "POST-whatif-order"), more={"warns", "position"})


def test_a_working_stop_has_the_documented_members() -> None:
    """docs/facts/orders.md §9, §10: prices of fills only with fills, and every figure of a status in both namings."""
    desk = Desk()
    put = desk.option()
    desk.hold(put, "2.00", "2.10")
    desk.send(desk.ticket(put, "SELL", 1, "STP", price=0.5, tif="GTC"))
    desk.get("/iserver/account/orders")
    (row,) = desk.get("/iserver/account/orders", wait=6)["orders"]
    assert {"avgPrice", "order_ref", "parentId"}.isdisjoint(row)
    assert (row["exchange"], row["orderType"], row["origOrderType"]) == ("SMART", "Stop", "STOP")
    assert (row["price"], row["stop_price"], row["sizeAndFills"]) == ("", "0.50", "0/1")
    assert (row["bgColor"], row["fgColor"]) == ("#FFFFFF", "#0000CC")
    status = desk.get(f"/iserver/account/order/status/{row['orderId']}")
    assert (status["fg_color"], status["bg_color"]) == ("#FFFFFF", "#0000CC")
    for one, other in [
        ("cum_fill", "filled_quantity"),
        ("size", "remaining_quantity"),
        ("average_price", "fill_price"),
    ]:
        assert status[one] == status[other], (one, other)
    assert (status["stop_price"], status["limit_price"], status["order_ccp_status"]) == ("0.50", "", "0")


def test_by_quirk_a_limit_far_off_is_rejected_with_an_offer() -> None:
    desk = Desk(price_algo_prompt="yes")
    status, prompt = desk.send(desk.ticket(desk.stock(), "BUY", 1, "LMT", price=500.00, cOID="far"))
    assert (status, prompt["messageId"], prompt["options"], prompt["prompt"]) == (200, "p12", ["Yes", "No"], True)
    rejected = desk.order(prompt["orderId"])
    assert rejected.state == "rejected"
    picked = {"orderId": prompt["orderId"], "reqId": prompt["reqId"], "text": "Yes"}
    assert desk.call("POST", "/iserver/notification", picked) == (200, "Request was submitted")
    (again,) = [o for o in desk.exchange.orders.values() if o.state == "live"]
    assert desk.get(f"/iserver/account/order/status/{again.id}")["server_id"] == str(rejected.id)
    assert desk.call("POST", "/iserver/notification", picked)[0] == 400


def test_a_stop_for_outside_hours_is_refused_while_the_market_is_open() -> None:
    desk = Desk()
    status, body = desk.send(desk.ticket(desk.stock(), "BUY", 1, "STP", price=700.0, outsideRTH=True))
    assert (status, body) == (500, {"error": "invalid order attribute : Outside RTH"})
