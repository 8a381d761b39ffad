"""Placing, repeating, reading, changing and cancelling orders over HTTP, on the simulated broker."""

from __future__ import annotations

import dataclasses
import json
import socket
from concurrent.futures import ThreadPoolExecutor
from decimal import Decimal
from urllib.parse import urlsplit

import pytest

from ibkit.errors import TradingError
from ibkit.model import (
    AccountId,
    Conid,
    Contract,
    Order,
    OrderId,
    OrderStatus,
    OrderTicket,
    OrderType,
    SecType,
    Side,
    TimeInForce,
    Trail,
)
from ibkit.service.order_wish import ticket_at_broker
from people import person
from service_desks import ORDER, Served, new_key, until

FIELDS = {
    "id",
    "broker",
    "account_id",
    "broker_order_id",
    "symbol",
    "side",
    "order_type",
    "quantity",
    "filled_quantity",
    "filled_avg_price",
    "price",
    "stop_price",
    "time_in_force",
    "status",
    "idempotency_key",
    "error",
    "metadata",
    "submitted_at",
    "created_at",
    "updated_at",
}


def resting(service: Served, **changes: object) -> dict:
    """A limit order far from the market."""
    answer = service.order(order_type="limit", limit_price=265, **changes)
    assert answer.status == 201, answer.raw
    return answer.data


@pytest.mark.requirement("GWY-01")
def test_a_market_order_is_answered_with_every_field_and_a_number_of_the_broker(mock_service: Served) -> None:
    key = new_key()
    answer = mock_service.order(key=key, qty=3)
    assert answer.status == 201, answer.raw
    assert set(answer.json) == {"data", "cached"}
    assert set(answer.data) == FIELDS
    assert answer.json["cached"] is False
    assert answer.data["broker_order_id"]
    assert answer.data["status"] in ("submitted", "filled")
    assert (answer.data["idempotency_key"], answer.data["quantity"]) == (key, 3)
    assert answer.headers["location"] == f"/broker-order/{answer.data['id']}"


@pytest.mark.requirement("GWY-01")
def test_the_same_route_is_there_under_api(mock_service: Served) -> None:
    answer = mock_service.ask("POST", "/api/broker-order", {**ORDER, "qty": 2}, key=new_key())
    assert answer.status == 201, answer.raw


@pytest.mark.requirement("GWY-01", "GWY-03")
def test_a_dry_run_sends_nothing_and_leaves_the_key_free(mock_service: Served) -> None:
    key, sent = new_key(), len(mock_service.sent())
    tried = mock_service.order(key=key, dry_run=True, order_type="limit", limit_price=264)
    assert tried.status == 200, tried.raw
    assert (tried.data["id"], tried.data["status"]) == (None, "dry_run")
    assert set(tried.data) == FIELDS
    assert {each["control"] for each in tried.data["metadata"]["preview"]["limits"]} >= {"RC-03"}
    assert len(mock_service.sent()) == sent
    assert mock_service.order(key=key, order_type="limit", limit_price=264).status == 201


@pytest.mark.requirement("GWY-03")
def test_a_repeated_key_gives_the_same_order_and_sends_nothing(mock_service: Served) -> None:
    key = new_key()
    first = mock_service.order(key=key, order_type="limit", limit_price=263)
    sent = len(mock_service.sent())
    again = mock_service.ask(
        "POST",
        "/broker-order",
        key=key,
        raw=b'{ "limit_price":263.00, "time_in_force":"day","order_type":"limit","qty":1.0,'
        b'"symbol":"aapl" ,"action":"buy","broker":"mock"}',
    )
    assert (again.status, again.json["cached"]) == (200, True), again.raw
    assert again.data["id"] == first.data["id"]
    assert len(mock_service.sent()) == sent


@pytest.mark.requirement("GWY-03")
def test_once_it_has_ended_the_answer_is_the_same_byte_for_byte(mock_service: Served) -> None:
    key = new_key()
    order = mock_service.order(key=key, qty=4)
    until(lambda: mock_service.ask("GET", f"/broker-order/{order.data['id']}").data["status"] == "filled")
    answers = {mock_service.order(key=key, qty=4).raw for _ in range(5)}
    assert len(answers) == 1
    assert b'"filled_quantity":4' in answers.pop()


@pytest.mark.requirement("GWY-03", "TRD-22")
def test_twenty_parallel_posts_with_one_key_are_one_order(mock_service: Served) -> None:
    key, sent = new_key(), len(mock_service.sent())
    with ThreadPoolExecutor(20) as pool:
        answers = list(pool.map(lambda _: mock_service.order(key=key, order_type="limit", limit_price=262), range(20)))
    assert {answer.status for answer in answers} <= {200, 201}, [answer.raw for answer in answers]
    assert [answer.status for answer in answers].count(201) == 1
    assert len({answer.data["id"] for answer in answers}) == 1
    assert len(mock_service.sent()) == sent + 1


@pytest.mark.requirement("GWY-03")
@pytest.mark.parametrize(
    ("changes", "fields"),
    [
        ({"qty": 2}, ["qty"]),
        ({"limit_price": 260.99}, ["limit_price"]),
        ({"action": "sell"}, ["action"]),
        ({"symbol": "SPY"}, ["symbol"]),
        ({"time_in_force": "gtc"}, ["time_in_force"]),
        ({"broker": "ibkr"}, ["broker"]),
        ({"take_profit": 300}, ["take_profit"]),
    ],
)
def test_other_terms_under_the_same_key_are_refused_by_name(
    mock_service: Served, changes: dict, fields: list[str]
) -> None:
    key = new_key()
    assert mock_service.order(key=key, order_type="limit", limit_price=261).status == 201
    answer = mock_service.order(key=key, **{"order_type": "limit", "limit_price": 261, **changes})
    assert (answer.status, answer.code) == (422, "E-IDEM-CONFLICT"), answer.raw
    assert set(fields) <= set(answer.json["error"]["details"]["fields"])


@pytest.mark.requirement("GWY-03")
def test_keys_of_different_users_do_not_meet(mock_service: Served) -> None:
    key = new_key()
    ours = mock_service.order(key=key, order_type="limit", limit_price=259)
    theirs = mock_service.order(key=key, order_type="limit", limit_price=258, token="bob")
    assert (ours.status, theirs.status) == (201, 201), theirs.raw
    assert ours.data["id"] != theirs.data["id"]
    assert ours.data["idempotency_key"] == theirs.data["idempotency_key"] == key


@pytest.mark.requirement("GWY-03")
@pytest.mark.parametrize(
    ("given", "code"),
    [
        (None, "E-IDEM-MISSING"),
        ("", "E-IDEM-MISSING"),
        ("a" * 15, "E-VALIDATION"),
        ("a" * 129, "E-VALIDATION"),
        ("a key with blanks", "E-VALIDATION"),
        ("0123456789abcdef@0123456789abcdef", "E-VALIDATION"),
    ],
)
def test_a_key_that_is_not_there_or_not_of_its_form_is_400(mock_service: Served, given: str | None, code: str) -> None:
    answer = mock_service.ask("POST", "/broker-order", ORDER, key=given)
    assert (answer.status, answer.code) == (400, code)


@pytest.mark.requirement("GWY-07")
def test_another_users_order_is_not_found_and_a_cancel_ends_ours(mock_service: Served) -> None:
    order = resting(mock_service)
    for method in ("GET", "DELETE"):
        answer = mock_service.ask(method, f"/broker-order/{order['id']}", token="bob")
        assert (answer.status, answer.code) == (404, "E-NOT-FOUND")
    assert mock_service.ask("GET", f"/broker-order/{order['id']}").data["status"] == "submitted"
    assert mock_service.ask("DELETE", f"/broker-order/{order['id']}").status in (200, 202)
    until(lambda: mock_service.ask("GET", f"/broker-order/{order['id']}").data["status"] == "cancelled")
    assert mock_service.ask("DELETE", f"/broker-order/{order['id']}").data["status"] == "cancelled"


@pytest.mark.requirement("GWY-07")
def test_lists_are_ones_own_newest_first_filtered_and_in_pages(mock_service: Served) -> None:
    mock_service.people.holders["lister"] = person("lister")
    placed = [
        mock_service.order(token="lister", symbol=symbol, order_type="limit", limit_price=price).data["id"]
        for symbol, price in (("AAPL", 264), ("SPY", 615), ("AAPL", 263))
    ]

    def ids(query: str = "") -> list[str]:
        answer = mock_service.ask("GET", f"/broker-order{query}", token="lister")
        assert answer.status == 200, answer.raw
        return [each["id"] for each in answer.data]

    assert ids() == placed[::-1]
    assert ids("?symbol=aapl") == [placed[2], placed[0]]
    assert ids("?status=filled") == []
    assert ids("?since=2100-01-01") == []
    assert ids("?status=open") == placed[::-1]
    assert ids("?status=open&symbol=aapl") == [placed[2], placed[0]]
    first = mock_service.ask("GET", "/broker-order?status=open&limit=1", token="lister").json
    assert ([each["id"] for each in first["data"]], first["next"]) == ([placed[2]], placed[2])
    assert ids(f"?status=open&cursor={placed[1]}") == placed[:1]
    page = mock_service.ask("GET", "/broker-order?limit=2", token="lister").json
    assert [each["id"] for each in page["data"]] == placed[:0:-1]
    assert ids(f"?limit=2&cursor={page['next']}") == placed[:1]
    mock_service.ask("DELETE", f"/broker-order/{placed[0]}", token="lister")
    until(lambda: ids("?status=open") == placed[:0:-1])


@pytest.mark.requirement("GWY-07")
@pytest.mark.parametrize(
    "query", ["limit=-1", "limit=1e9", "limit=0", "cursor=garbage", "since=2026-02-30", "status=gone", "colour=red"]
)
def test_a_filter_that_means_nothing_is_422(mock_service: Served, query: str) -> None:
    answer = mock_service.ask("GET", f"/broker-order?{query}")
    assert (answer.status, answer.fields) == (422, [query.partition("=")[0]])


@pytest.mark.requirement("GWY-06")
def test_a_fill_of_the_simulator_appears_in_the_order(mock_service: Served) -> None:
    order = mock_service.order(qty=5)
    until(lambda: mock_service.ask("GET", f"/broker-order/{order.data['id']}").data["status"] == "filled", 10)
    filled = mock_service.ask("GET", f"/broker-order/{order.data['id']}").data
    assert filled["filled_quantity"] == 5
    assert filled["filled_avg_price"] > 0


def test_an_order_is_changed_once_for_its_key_and_shows_its_new_terms(mock_service: Served) -> None:
    order, key = resting(mock_service, qty=7), new_key()
    path = f"/broker-order/{order['id']}"
    changed = mock_service.ask("PATCH", path, {"limit_price": 264.5, "qty": 6}, key=key)
    assert (changed.status, changed.json["cached"]) == (200, False), changed.raw
    assert (changed.data["price"], changed.data["quantity"]) == (264.5, 6)
    assert mock_service.ask("GET", path).data["price"] == 264.5
    again = mock_service.ask("PATCH", path, {"limit_price": 264.5, "qty": 6}, key=key)
    assert (again.status, again.json["cached"]) == (200, True), again.raw
    other = mock_service.ask("PATCH", path, {"limit_price": 264.6, "qty": 6}, key=key)
    assert (other.status, other.code) == (422, "E-IDEM-CONFLICT")


@pytest.mark.requirement("GWY-07")
def test_a_change_rests_on_what_ibkr_holds_and_not_on_what_we_remember(mock_service: Served) -> None:
    """Somebody moved the limit in IBKR's own order window; whoever changes the size alone leaves it there."""
    order = resting(mock_service, qty=7)
    path, world = f"/broker-order/{order['id']}", mock_service.world
    assert world is not None
    there = world.world.exchange.orders[int(order["broker_order_id"])]
    there.ticket = dataclasses.replace(there.ticket, limit=Decimal(263))
    changed = mock_service.ask("PATCH", path, {"qty": 6}, key=new_key())
    assert (changed.status, changed.data["price"], changed.data["quantity"]) == (200, 263, 6), changed.raw
    assert (there.ticket.limit, there.ticket.quantity) == (263, 6)


def test_a_change_of_an_order_that_has_ended_is_refused(mock_service: Served) -> None:
    order = mock_service.order(qty=6)
    path = f"/broker-order/{order.data['id']}"
    until(lambda: mock_service.ask("GET", path).data["status"] == "filled")
    answer = mock_service.ask("PATCH", path, {"qty": 1}, key=new_key())
    assert (answer.status, answer.code) == (422, "E-ORD-REJECT")


def test_a_bracket_is_one_order_with_its_exits(mock_service: Served) -> None:
    answer = mock_service.order(order_type="limit", limit_price=262, qty=2, take_profit=290, stop_loss=250)
    assert answer.status == 201, answer.raw
    profit, stop = answer.data["metadata"]["legs"]
    assert (profit["price"], stop["stop_price"]) == (290, 250)
    assert (profit["side"], profit["error"], stop["error"]) == ("sell", None, None)


def test_a_preview_tells_margin_commission_and_what_is_left_of_each_limit(mock_service: Served) -> None:
    sent = len(mock_service.sent())
    answer = mock_service.ask("POST", "/broker-order/preview", {**ORDER, "order_type": "limit", "limit_price": 262})
    assert answer.status == 200, answer.raw
    assert answer.json["allowed"] is True
    assert answer.json["commission"] is not None
    assert answer.json["initial_margin_change"] is not None
    assert any(each["headroom"] is not None for each in answer.json["limits"])
    assert len(mock_service.sent()) == sent
    too_many = mock_service.ask("POST", "/broker-order/preview", {**ORDER, "qty": 100_000})
    assert too_many.json["allowed"] is False
    assert "E-RISK" in {each["code"] for each in too_many.json["limits"]}


@pytest.mark.requirement("GWY-03")
def test_a_refusal_by_our_limits_is_kept_with_its_key(mock_service: Served) -> None:
    key = new_key()
    answer = mock_service.order(key=key, qty=100_000)
    assert (answer.status, answer.code) == (422, "E-RISK"), answer.raw
    again = mock_service.order(key=key, qty=100_000)
    assert (again.status, again.json["cached"], again.data["status"]) == (200, True, "rejected")
    assert again.data["error"]["code"] == "E-RISK"
    assert again.data["id"] == answer.json["error"]["details"]["id"]


@pytest.mark.requirement("GWY-09")
def test_a_foreign_account_is_not_found_and_nothing_is_sent(mock_service: Served) -> None:
    sent = len(mock_service.sent())
    for account_id in ("DU9999999", "U1234567"):
        answer = mock_service.order(account_id=account_id)
        assert (answer.status, answer.code) == (404, "E-NOT-FOUND")
    assert len(mock_service.sent()) == sent


@pytest.mark.requirement("GWY-08")
def test_brokers_are_listed_and_one_that_is_not_there_is_refused_by_names(mock_service: Served) -> None:
    listed = {each["name"]: each for each in mock_service.ask("GET", "/api/brokers").data}
    assert (listed["mock"]["configured"], listed["mock"]["missing"]) == (True, [])
    assert (listed["ibkr"]["configured"], listed["ibkr"]["missing"]) == (False, ["BROKER_PROVIDER=ibkr"])
    assert {"stocks", "options", "brackets"} <= set(listed["ibkr"]["capabilities"])
    foo = mock_service.order(broker="foo")
    assert (foo.status, foo.code) == (422, "E-BROKER")
    assert "ibkr, mock" in foo.json["error"]["remedy"][0]
    ibkr = mock_service.order(broker="ibkr")
    assert (ibkr.status, ibkr.code) == (422, "E-BROKER")
    assert "BROKER_PROVIDER=ibkr" in ibkr.json["error"]["message"]


@pytest.mark.requirement("GWY-03", "GWY-06")
def test_a_client_that_leaves_before_the_answer_finds_its_order_by_the_key(mock_service: Served) -> None:
    where, key = urlsplit(mock_service.address), new_key()
    body = json.dumps({**ORDER, "order_type": "limit", "limit_price": 266}).encode()
    head = (
        f"POST /broker-order HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer ada\r\nIdempotency-Key: {key}\r\n"
        f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
    ).encode()
    with socket.create_connection((where.hostname or "", where.port or 0)) as line:
        line.sendall(head + body)
    until(lambda: key in {each["idempotency_key"] for each in mock_service.ask("GET", "/broker-order").data})
    again = mock_service.order(key=key, order_type="limit", limit_price=266)
    assert (again.status, again.json["cached"]) == (200, True), again.raw
    assert again.data["broker_order_id"]


_RESTING = OrderTicket(
    account_id=AccountId("DU1"),
    contract=Contract(conid=Conid(1), symbol="SPY", sec_type=SecType.STOCK, exchange="SMART", currency="USD"),
    side=Side.SELL,
    order_type=OrderType.STOP_LIMIT,
    quantity=Decimal(7),
    limit_price=Decimal(100),
    stop_price=Decimal(101),
)


def _shown(**changes: object) -> Order:
    told = {
        "order_id": OrderId("17"),
        "account_id": AccountId("DU1"),
        "conid": Conid(1),
        "side": Side.SELL,
        "order_type": "STOP_LIMIT",
        "status": OrderStatus.SUBMITTED,
        "raw_status": "Submitted",
        "total": Decimal(5),
        "filled": Decimal(1),
        "remaining": Decimal(4),
        "limit_price": Decimal(95),
        "stop_price": Decimal(96),
        "tif": "GTC",
    }
    return Order(**{**told, **changes})


def test_the_terms_of_an_order_are_those_that_ibkr_shows() -> None:
    found = ticket_at_broker(_RESTING, _shown())
    assert (found.quantity, found.limit_price, found.stop_price, found.tif) == (5, 95, 96, TimeInForce.GTC)
    kept = ticket_at_broker(_RESTING, _shown(limit_price=None, stop_price=None, tif=""))
    assert (kept.limit_price, kept.stop_price, kept.tif) == (100, 101, TimeInForce.DAY)
    free = ticket_at_broker(_RESTING, _shown(limit_price=Decimal(0)))
    assert (free.limit_price, free.stop_price) == (0, 96)
    trailing = OrderTicket(
        account_id=AccountId("DU1"),
        contract=_RESTING.contract,
        side=Side.SELL,
        order_type=OrderType.TRAIL,
        quantity=Decimal(7),
        stop_price=Decimal(90),
        trail=Trail(Decimal(2)),
    )
    moved = ticket_at_broker(trailing, _shown(order_type="TRAIL", stop_price=Decimal(99), limit_price=None))
    assert (moved.stop_price, moved.trail) == (90, Trail(Decimal(2)))


def test_an_order_that_was_made_another_kind_elsewhere_is_not_changed_here() -> None:
    with pytest.raises(TradingError, match="was made a MKT order elsewhere") as raised:
        ticket_at_broker(_RESTING, _shown(order_type="MKT"))
    assert raised.value.code == "E-ORD-REJECT"
