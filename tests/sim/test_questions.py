"""Questions before acceptance, and the orders parked behind them. Source: docs/facts/orders.md §3, §4."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest

from desks import Desk

pytestmark = pytest.mark.requirement("TST-01", "TRD-10")
SURE = "\nAre you sure you want to submit this order?"


def asked(desk: Desk, *tickets: dict[str, Any]) -> list[dict[str, Any]]:
    status, body = desk.send(*tickets)
    assert status == 200
    assert isinstance(body, list), body
    assert "message" in body[0], body
    return body


def stop_ticket(desk: Desk, ref: str | None = "s-1", **more: Any) -> dict[str, Any]:
    ref_part = {} if ref is None else {"cOID": ref}
    return desk.ticket(desk.option(), "BUY", 1, "STP", **{"price": 90.00, "tif": "GTC", **ref_part, **more})


def with_line(desk: Desk) -> Desk:
    desk.brokerage.market_lines.update({desk.option().conid: object(), desk.stock().conid: object()})
    return desk


def test_a_stop_asks_o10331_in_ibkrs_words() -> None:
    desk = with_line(Desk(quiet=False))
    (question,) = asked(desk, stop_ticket(desk))
    assert question["messageIds"] == ["o10331"]
    assert question["message"] == [
        "You are about to submit a stop order. Please be aware of the various stop order types available and the risks "
        "associated with each one." + SURE
    ]
    assert question["isSuppressed"] is False
    assert question["messageOptions"] == ["Yes", "No"]


def test_each_warning_has_its_own_words() -> None:
    desk = with_line(Desk(quiet=False, question_style="together"))
    stock = desk.stock("AAPL")
    price = (desk.quote(stock).ask * 2).quantize(Decimal("0.01"))
    desk.world.quirks = desk.world.quirks.with_values({"price_refusal_pct": "1000"})
    (question,) = asked(desk, desk.ticket(stock, "BUY", 650, "LMT", price=float(price)))
    texts = dict(zip(question["messageIds"], question["message"], strict=True))
    assert list(texts) == ["o163", "o354", "o383", "o451"]
    assert texts["o163"].startswith('The following order "BUY 650 AAPL NASDAQ.NMS @ ')
    assert texts["o163"].endswith('" price exceeds \nthe Percentage constraint of 3%.' + SURE)
    assert texts["o383"] == 'The following order "BUY 650 AAPL NASDAQ.NMS" size exceeds the Size Limit of 500.' + SURE
    value = f"{650 * price:,.2f}"
    assert texts["o451"] == (
        f'The following order "BUY 650 AAPL NASDAQ.NMS" value estimate of {value} USD exceeds \n'
        "the Total Value Limit of 100,000 USD." + SURE
    )


def test_warnings_come_one_after_the_other_each_with_a_new_id() -> None:
    desk = Desk(quiet=False)
    first = asked(desk, stop_ticket(desk))
    assert first[0]["messageIds"] == ["o354"]
    status, second = desk.reply(first)
    assert status == 200
    assert second[0]["messageIds"] == ["o10331"]
    assert second[0]["id"] != first[0]["id"]
    status, rows = desk.reply(second)
    assert status == 200
    assert rows[0]["order_status"] == "PreSubmitted"
    assert rows[0]["local_order_id"] == "s-1"


def test_a_stop_through_the_market_asks_o403() -> None:
    desk = with_line(Desk(quiet=False))
    desk.hold(desk.option(), "1.00", "1.05")
    first = asked(desk, stop_ticket(desk, price=0.90))
    assert first[0]["messageIds"] == ["o403"]


def test_market_orders_on_options_ask_only_by_quirk() -> None:
    desk = with_line(Desk(quiet=False, market_question="yes"))
    assert asked(desk, desk.ticket(desk.option(), "SELL", 1))[0]["messageIds"] == ["o10151"]


@pytest.mark.requirement("TRD-22")
def test_an_order_behind_a_question_is_parked_and_owns_its_ref() -> None:
    desk = with_line(Desk(quiet=False))
    question = asked(desk, stop_ticket(desk))
    (row,) = desk.live().values()
    assert (row["status"], row["order_ccp_status"], row["order_ref"]) == ("Inactive", "Pending Submit", "s-1")
    order_id = row["orderId"]
    assert desk.call("GET", f"/iserver/account/order/status/{order_id}") == (
        404,
        {"error": "Order not found", "statusCode": 404},
    )
    assert desk.call("DELETE", f"/iserver/account/{desk.account}/order/{order_id}") == (
        400,
        {"error": "Order is inactive", "statusCode": 400},
    )
    taken = {"error": "Order couldn't be submitted: Local order ID=s-1 is already registered."}
    assert desk.send(stop_ticket(desk)) == (200, taken)
    assert question[0]["id"]


def test_a_declined_order_is_gone_and_its_ref_stays_taken() -> None:
    desk = with_line(Desk(quiet=False))
    question = asked(desk, stop_ticket(desk))
    assert desk.reply(question, False) == (200, {"error": "Order not confirmed "})
    assert desk.live() == {}
    assert "already registered" in desk.send(stop_ticket(desk))[1]["error"]


def test_a_reply_works_once() -> None:
    desk = with_line(Desk(quiet=False))
    question = asked(desk, stop_ticket(desk))
    assert desk.reply(question)[0] == 200
    id_ = question[0]["id"]
    assert desk.reply(question) == (400, {"error": f"reply id not found: '{id_}'"})


def test_a_reply_comes_too_late_after_ten_minutes() -> None:
    desk = with_line(Desk(quiet=False))
    question = asked(desk, stop_ticket(desk))
    desk.pass_time(601)
    assert desk.reply(question)[0] == 400
    (row,) = desk.live().values()
    assert row["order_ccp_status"] == "Pending Submit", "the order stays parked"


def test_another_submission_voids_the_older_question() -> None:
    desk = with_line(Desk(quiet=False))
    old = asked(desk, stop_ticket(desk, "s-1"))
    new = asked(desk, stop_ticket(desk, "s-2"))
    assert desk.reply(old) == (503, {"error": "Service Unavailable", "statusCode": 503})
    assert desk.reply(new)[0] == 200
    states = {row["order_ref"]: row["status"] for row in desk.live().values()}
    assert states == {"s-1": "Inactive", "s-2": "PreSubmitted"}


def test_by_quirk_confirming_one_order_releases_the_other() -> None:
    desk = with_line(Desk(quiet=False, release_both="yes"))
    asked(desk, stop_ticket(desk, "s-1"))
    new = asked(desk, stop_ticket(desk, "s-2"))
    assert desk.reply(new)[0] == 200
    states = {row["order_ref"]: row["status"] for row in desk.live().values()}
    assert states == {"s-1": "PreSubmitted", "s-2": "PreSubmitted"}


def test_by_quirk_a_read_voids_an_open_question() -> None:
    desk = with_line(Desk(quiet=False, reads_void_questions="yes"))
    question = asked(desk, stop_ticket(desk))
    desk.live()
    assert desk.reply(question)[0] == 503


def test_a_parked_order_vanishes_with_the_trading_day() -> None:
    desk = with_line(Desk(quiet=False))
    asked(desk, stop_ticket(desk, tif="DAY"))
    desk.pass_time(7 * 3600)
    assert desk.live() == {}


@pytest.mark.parametrize("confirmed", ["true", 1, None])
def test_only_a_boolean_is_a_reply(confirmed: object) -> None:
    desk = with_line(Desk(quiet=False))
    question = asked(desk, stop_ticket(desk))
    assert desk.reply(question, confirmed) == (500, None)


def test_suppression_lasts_for_the_brokerage_session() -> None:
    desk = with_line(Desk(quiet=False))
    suppress = "/iserver/questions/suppress"
    assert desk.call("POST", suppress, {"messageIds": ["o10331", "zz"]}) == (200, {"status": "submitted"})
    assert "order_id" in desk.send(stop_ticket(desk, "s-1"))[1][0]
    assert desk.call("POST", f"{suppress}/reset", {}) == (200, {"status": "submitted"})
    asked(desk, stop_ticket(desk, "s-2"))
    desk.call("POST", suppress, {"messageIds": ["o10331"]})
    desk.call("POST", "/iserver/auth/ssodh/init", {"publish": True, "compete": True})
    desk.pass_time(5)
    session = desk.world.logins.gateway
    assert session is not None
    assert session.brokerage is not None
    if session.brokerage is not desk.brokerage:
        assert session.brokerage.suppressed == set()


@pytest.mark.parametrize("ids", [[], None, "o163", [1], ["o1"] * 52])
def test_a_bad_list_to_suppress_is_a_500(ids: object) -> None:
    desk = Desk()
    assert desk.call("POST", "/iserver/questions/suppress", {"messageIds": ids})[0] == 500


def test_a_bracket_gets_one_question_for_all() -> None:
    desk = with_line(Desk(quiet=False))
    put = desk.option()
    question = asked(
        desk,
        desk.ticket(put, "SELL", 1, "MKT", cOID="p"),
        desk.ticket(put, "BUY", 1, "STP", price=9.00, tif="GTC", parentId="p"),
    )
    assert len(question) == 1
    rows = desk.confirm_all(question)
    assert [("parent_order_id" in row) for row in rows] == [True, False]
    assert rows[0]["parent_order_id"] == rows[1]["order_id"]


def test_scenario_order_question_asks_a_known_one_of_every_order() -> None:
    desk = with_line(Desk("order-question", quiet=False))
    question = asked(desk, desk.ticket(desk.option(), "SELL", 1))
    assert question[0]["messageIds"] == ["o10331"]
    assert desk.reply(question)[1][0]["order_status"] == "Filled"


def test_scenario_order_question_unknown_asks_one_that_is_in_no_list() -> None:
    desk = with_line(Desk("order-question-unknown", quiet=False))
    question = asked(desk, desk.ticket(desk.option(), "SELL", 1))
    assert question[0]["message"] == ["Would you like to cancel all open orders and then place new closing order?"]
    assert desk.reply(question, False) == (200, {"error": "Order not confirmed "})


def test_by_quirk_an_acceptance_after_a_reply_is_a_bare_object() -> None:
    desk = with_line(Desk(quiet=False, reply_bare_object="yes"))
    assert desk.reply(asked(desk, stop_ticket(desk)))[1]["order_status"] == "PreSubmitted"
