"""Tickets in IBKR's words, and what comes back. Source: docs/facts/orders.md §1, §5, §9-11."""

from __future__ import annotations

from decimal import Decimal

import msgspec
import pytest

from ibkit.model import (
    AccountId,
    Conid,
    Contract,
    GroupKind,
    OrderId,
    OrderTicket,
    OrderType,
    Ref,
    SecType,
    Side,
    TimeInForce,
    Trail,
    TrailKind,
    combo_of,
)
from ibkit.wire import Response, decode, encode, preview_from_wire
from ibkit.wire.executions import TRADES, fill_from_wire
from ibkit.wire.orders import (
    CANCEL_ORDER,
    CHANGES_ORDERS,
    LIVE_ORDERS,
    MODIFY_ORDER,
    ORDER_STATUS,
    PLACE_ORDERS,
    PREVIEW_ORDERS,
    REPLY,
    changes_orders,
    order_from_status,
    order_from_wire,
    order_type_from_wire,
)
from ibkit.wire.tickets import order_body_list, ticket_to_wire

OPTION = Contract(conid=Conid(700000101), symbol="SPY", sec_type=SecType.OPTION)


def wire(order_type: OrderType, **more: object) -> dict[str, object]:
    ticket = OrderTicket(
        account_id=AccountId("DU1"),
        contract=OPTION,
        side=Side.BUY,
        order_type=order_type,
        quantity=Decimal("3.0"),
        tif=TimeInForce.GTC,
        **more,
    )
    return msgspec.json.decode(encode(ticket_to_wire(ticket, ref=Ref("r-1"))))


@pytest.mark.requirement("TRD-09")
@pytest.mark.parametrize(
    ("order_type", "prices", "expected"),
    [
        (OrderType.MARKET, {}, {"orderType": "MKT"}),
        (OrderType.LIMIT, {"limit_price": Decimal("2.50")}, {"orderType": "LMT", "price": 2.5}),
        (OrderType.STOP, {"stop_price": Decimal("7.50")}, {"orderType": "STP", "price": 7.5}),
        (
            OrderType.STOP_LIMIT,
            {"stop_price": Decimal("7.50"), "limit_price": Decimal("8.25")},
            {"orderType": "STOP_LIMIT", "auxPrice": 7.5, "price": 8.25},
        ),
        (
            OrderType.TRAIL,
            {"trail": Trail(Decimal("0.50")), "stop_price": Decimal("9.00")},
            {"orderType": "TRAIL", "price": 9, "trailingType": "amt", "trailingAmt": 0.5},
        ),
        (
            OrderType.TRAIL,
            {"trail": Trail(Decimal(5), TrailKind.PERCENT)},
            {"orderType": "TRAIL", "trailingType": "%", "trailingAmt": 5},
        ),
        (
            OrderType.TRAIL_LIMIT,
            {
                "trail": Trail(Decimal(5), TrailKind.PERCENT),
                "limit_price": Decimal("8.00"),
                "stop_price": Decimal("7.50"),
            },
            {"orderType": "TRAILLMT", "price": 8, "auxPrice": 7.5, "trailingType": "%", "trailingAmt": 5},
        ),
        (OrderType.MIDPRICE, {"limit_price": Decimal("2.50")}, {"orderType": "MIDPRICE", "price": 2.5}),
        (OrderType.MIDPRICE, {}, {"orderType": "MIDPRICE"}),
        (OrderType.MARKET_IF_TOUCHED, {"stop_price": Decimal("1.10")}, {"orderType": "MIT", "price": 1.1}),
        (
            OrderType.LIMIT_IF_TOUCHED,
            {"limit_price": Decimal("1.05"), "stop_price": Decimal("1.10")},
            {"orderType": "LIT", "price": 1.05, "auxPrice": 1.1},
        ),
        (OrderType.MARKET_ON_CLOSE, {}, {"orderType": "MOC"}),
        (OrderType.LIMIT_ON_CLOSE, {"limit_price": Decimal("2.50")}, {"orderType": "LOC", "price": 2.5}),
        (
            OrderType.RELATIVE,
            {"limit_price": Decimal("2.50"), "offset": Decimal("0.02")},
            {"orderType": "REL", "price": 2.5, "auxPrice": 0.02},
        ),
    ],
    ids=lambda value: getattr(value, "value", ""),
)
def test_each_order_type_has_its_price_where_ibkr_wants_it(order_type, prices, expected) -> None:
    sent = wire(order_type, **prices)
    asked = ("orderType", "price", "auxPrice", "trailingType", "trailingAmt")
    assert {key: sent[key] for key in asked if key in sent} == expected
    assert (sent["acctId"], sent["conid"], sent["secType"], sent["cOID"]) == ("DU1", 700000101, "700000101:OPT", "r-1")
    assert (sent["side"], sent["quantity"], sent["tif"], sent["outsideRTH"]) == ("BUY", 3, "GTC", False)


@pytest.mark.requirement("TRD-09")
def test_prices_leave_with_their_digits() -> None:
    ticket = OrderTicket(
        account_id=AccountId("DU1"),
        contract=OPTION,
        side=Side.BUY,
        order_type=OrderType.LIMIT,
        quantity=Decimal("1E+2"),
        limit_price=Decimal("0.10"),
    )
    assert b'"price":0.10,' in encode(ticket_to_wire(ticket, ref=None))
    assert b'"quantity":100,' in encode(ticket_to_wire(ticket, ref=None))


@pytest.mark.requirement("TRD-11")
def test_an_order_behind_a_question_reads_as_parked() -> None:
    body = b"""{"orders":[{"acct":"DU1","conid":756733,"orderId":17437897932,"side":"SELL","status":"Inactive",
      "order_ccp_status":"Pending Submit","totalSize":3.0,"price":"","origOrderType":"MARKET","order_ref":"r-1"}],
      "snapshot":true}"""
    told = decode(LIVE_ORDERS, Response(200, {}, body))
    order = order_from_wire(told.orders[0])
    assert order.parked
    assert (order.order_id, order.ref, order.remaining, order.limit_price) == ("17437897932", "r-1", 3, None)


@pytest.mark.requirement("TRD-12")
def test_a_working_stop_shows_its_trigger() -> None:
    body = b"""{"orders":[{"account":"DU1","conid":1,"orderId":2088581832,"side":"BUY","status":"PreSubmitted",
      "orderType":"Stop","origOrderType":"STOP","stop_price":"7.50","price":"","totalSize":1.0,"filledQuantity":0.0,
      "remainingQuantity":1.0,"timeInForce":"GTC","parentId":2088581831}],"snapshot":true}"""
    order = order_from_wire(decode(LIVE_ORDERS, Response(200, {}, body)).orders[0])
    assert (order.order_type, order.stop_price, order.tif, order.parent_id) == (
        "STP",
        Decimal("7.50"),
        "GTC",
        "2088581831",
    )
    assert order.status.working


@pytest.mark.requirement("TRD-22")
def test_an_execution_keeps_price_fee_and_time() -> None:
    body = b"""[{"execution_id":"0000e0d5.6a4b1c2d.01.01","side":"S","size":1.0,"price":"2.50","order_ref":"shrt-77",
      "commission":"0.70","conid":700000101,"order_id":2088581831,"trade_time":"20260706-13:36:02"}]"""
    fill = fill_from_wire(decode(TRADES, Response(200, {}, body))[0], AccountId("DU1"))
    assert (fill.side, fill.quantity, fill.price, fill.fee) == (Side.SELL, 1, Decimal("2.50"), Decimal("0.70"))
    assert fill.at.isoformat() == "2026-07-06T13:36:02+00:00"


@pytest.mark.requirement("TRD-16")
def test_a_preview_reads_text_with_thousands_marks() -> None:
    body = b"""{"amount":{"amount":"1,234 USD (5 Contracts)","commission":"3.51 USD","total":"1,237.51 USD"},
      "equity":{"current":"102,410","change":"-4","after":"102,406"},
      "initial":{"current":"8,637","change":"2,164","after":"10,801"},
      "maintenance":{"current":"","change":"","after":"10,801"},"warn":"21/You are trying","error":null}"""
    preview = preview_from_wire(decode(PREVIEW_ORDERS, Response(200, {}, body)))
    assert (preview.amount, preview.commission) == (Decimal(1234), Decimal("3.51"))
    assert (preview.initial_margin_change, preview.maintenance_margin_change) == (Decimal(2164), None)
    assert preview.warnings == ("21/You are trying",)


def option(number: int) -> Contract:
    return Contract(Conid(number), "SPY", SecType.OPTION, multiplier=Decimal(100))


def ticket(side: Side, order_type: OrderType = OrderType.LIMIT, **more: object) -> OrderTicket:
    more = {"limit_price": Decimal("2.50")} | more if order_type is OrderType.LIMIT else more
    return OrderTicket(
        account_id=AccountId("DU1"),
        contract=more.pop("contract", OPTION),
        side=side,
        order_type=order_type,
        quantity=Decimal(1),
        **more,
    )


def bodies(*tickets: OrderTicket, group: GroupKind | None = None, siblings: tuple[str, ...] = ()) -> list[dict]:
    first, *others = tickets
    refs = tuple(Ref(sibling) for sibling in siblings)
    return [
        msgspec.json.decode(encode(body))
        for body in order_body_list(first, others, group, ref=Ref("shrt-77"), sibling_refs=refs)
    ]


@pytest.mark.requirement("TRD-09")
def test_a_combination_leaves_as_its_legs_alone() -> None:
    """A conid beside the conidex would win: the order would be for something else."""
    spread = combo_of(((option(700000101), -1), (option(700000102), 1)))
    sent = msgspec.json.decode(
        encode(ticket_to_wire(ticket(Side.BUY, contract=spread, limit_price=Decimal("-0.85")), ref=Ref("r-1")))
    )
    assert sent["conidex"] == "28812380;;;700000101/-1,700000102/1"
    assert (sent["secType"], sent["price"]) == ("BAG", -0.85)
    assert "conid" not in sent


@pytest.mark.requirement("TRD-09", "TRD-10")
def test_a_brackets_children_name_their_parent_and_have_no_ref() -> None:
    stop = ticket(Side.BUY, OrderType.STOP, stop_price=Decimal("7.50"), tif=TimeInForce.GTC)
    profit = ticket(Side.BUY, limit_price=Decimal("0.50"))
    parent, *children = bodies(ticket(Side.SELL), profit, stop, group=GroupKind.BRACKET)
    assert parent["cOID"] == "shrt-77"
    assert "parentId" not in parent
    for child in children:
        assert child["parentId"] == "shrt-77"
        assert "cOID" not in child
        assert "isSingleGroup" not in child
    assert [child["orderType"] for child in children] == ["LMT", "STP"]


@pytest.mark.requirement("TRD-09", "TRD-10")
def test_each_order_of_an_oca_group_says_so_and_has_a_ref_of_its_own() -> None:
    sent = bodies(
        ticket(Side.BUY),
        ticket(Side.BUY, OrderType.STOP, stop_price=Decimal("7.50")),
        group=GroupKind.OCA,
        siblings=("shrt-77-1",),
    )
    assert [body["cOID"] for body in sent] == ["shrt-77", "shrt-77-1"]
    assert all(body["isSingleGroup"] is True for body in sent)
    assert not any("parentId" in body for body in sent)


@pytest.mark.requirement("TRD-09")
def test_a_child_that_comes_later_names_its_parents_number() -> None:
    stop = ticket(Side.BUY, OrderType.STOP, stop_price=Decimal("7.50"), parent_id=OrderId("2088581831"))
    (sent,) = bodies(stop)
    assert (sent["parentId"], sent["cOID"]) == ("2088581831", "shrt-77")


@pytest.mark.requirement("TRD-09", "TRD-17")
@pytest.mark.parametrize(
    ("others", "group"),
    [
        ((ticket(Side.BUY),), None),
        ((), GroupKind.BRACKET),
        ((ticket(Side.SELL),), GroupKind.BRACKET),
        ((ticket(Side.BUY, parent_id=OrderId("5")),), GroupKind.BRACKET),
        ((ticket(Side.BUY),), GroupKind.OCA),
    ],
    ids=["unrelated", "alone", "same side", "grandchild", "no ref of its own"],
)
def test_orders_that_are_no_group_do_not_leave_together(others, group) -> None:
    with pytest.raises(ValueError, match=r"group|bracket"):
        bodies(ticket(Side.SELL), *others, group=group)


@pytest.mark.requirement("TRD-12")
@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (("Trailing Stop", "TRAILING_STOP", "trailing_stop", "TRAIL"), "TRAIL"),
        (("Trailing Stop Limit", "TRAILLMT", "trailing_stop_limit"), "TRAILLMT"),
        (("Stop Limit", "STOP_LIMIT", "stop_limit"), "STOP_LIMIT"),
        (("Limit", "LIMIT", "LMT"), "LMT"),
        (("Market", "MKT"), "MKT"),
        (("marketonclose", "MOC"), "MOC"),
        (("limitonclose", "LOC"), "LOC"),
        (("relative", "REL"), "REL"),
        (("midprice", "MIDPRICE"), "MIDPRICE"),
        (("mit", "MIT"), "MIT"),
        (("lit", "LIT"), "LIT"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_an_order_type_is_read_in_every_spelling(words, expected) -> None:
    assert {order_type_from_wire(word) for word in words} == {expected}


@pytest.mark.requirement("TRD-12")
def test_a_trailing_child_of_a_combination_reads_with_its_group_and_legs() -> None:
    body = b"""{"orders":[{"account":"DU1","conidex":"28812380;;;700000101/-1,700000102/1","orderId":2088581832,
      "side":"BUY","status":"PreSubmitted","orderType":"Trailing Stop","origOrderType":"TRAIL","stop_price":"7.50",
      "price":"","totalSize":1.0,"parentId":2088581831,"ocaGroupId":"2088581831"}],"snapshot":true}"""
    listed = order_from_wire(decode(LIVE_ORDERS, Response(200, {}, body)).orders[0])
    body = b"""{"order_id":2088581832,"conidex":"28812380;;;700000101/-1,700000102/1","conid":28812380,"side":"B",
      "account":"DU1","order_type":"TRAILING_STOP","order_status":"PreSubmitted","size":"1.0","total_size":"1.0",
      "cum_fill":"0.0","limit_price":"","stop_price":"7.50","parent_order_id":2088581831,
      "oca_group_id":"2088581831","oca_group_type":"ReduceOnFillNonBlock"}"""
    asked = order_from_status(decode(ORDER_STATUS, Response(200, {}, body)))
    for order in (listed, asked):
        assert (order.conid, order.conidex) == (28812380, "28812380;;;700000101/-1,700000102/1")
        assert (order.group, order.parent_id) == ("2088581831", "2088581831")
        assert (order.order_type, order.limit_price, order.stop_price) == ("TRAIL", None, Decimal("7.50"))


@pytest.mark.requirement("TRD-12")
def test_a_single_contract_has_no_legs_and_a_negative_limit_stays_negative() -> None:
    body = b"""{"orders":[{"account":"DU1","conid":756733,"conidex":"756733","orderId":1,"side":"BUY",
      "status":"Submitted","origOrderType":"LIMIT","price":"-0.85","totalSize":1.0}],"snapshot":true}"""
    order = order_from_wire(decode(LIVE_ORDERS, Response(200, {}, body)).orders[0])
    assert (order.conidex, order.limit_price, order.group) == ("", Decimal("-0.85"), "")


@pytest.mark.requirement("TRD-17")
@pytest.mark.parametrize("endpoint", sorted(CHANGES_ORDERS, key=lambda each: each.path), ids=lambda each: each.path)
def test_every_call_that_changes_an_order_is_known_by_its_address(endpoint) -> None:
    path = endpoint.base.value + endpoint.path.format(account_id="DU1", order_id="1", question_id="q")
    assert changes_orders(endpoint.method, f"https://api.ibkr.com{path}")
    assert changes_orders(endpoint.method, f"https://api.ibkr.com{path}/?x=1")
    assert changes_orders(
        endpoint.method, f"https://api.ibkr.com{path.replace('rd', '%72d').replace('eply', '%65ply')}"
    )
    assert endpoint in {PLACE_ORDERS, REPLY, MODIFY_ORDER, CANCEL_ORDER} or "notification" in endpoint.path


@pytest.mark.requirement("TRD-17")
@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/v1/api/iserver/account/orders"),
        ("POST", "/v1/api/iserver/account/DU1/orders/whatif"),
        ("POST", "/v1/api/iserver/account"),
        ("POST", "/v1/api/iserver/secdef/search"),
        ("POST", "/v1/api/iserver/questions/suppress/reset"),
        ("DELETE", "/v1/api/iserver/watchlist"),
    ],
)
def test_other_calls_are_let_through(method, path) -> None:
    assert not changes_orders(method, f"https://api.ibkr.com{path}")
