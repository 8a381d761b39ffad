"""Tickets in IBKR's words, and what comes back. Source: docs/facts/orders.md §1, §5, §9-11."""

from __future__ import annotations

from decimal import Decimal

import msgspec
import pytest

from ibkit.model import AccountId, Conid, Contract, OrderTicket, OrderType, Ref, SecType, Side, TimeInForce
from ibkit.wire import Response, decode, encode, preview_from_wire
from ibkit.wire.orders import (
    LIVE_ORDERS,
    PREVIEW_ORDERS,
    TRADES,
    fill_from_wire,
    order_from_wire,
    ticket_to_wire,
)

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
    ],
    ids=lambda value: getattr(value, "value", ""),
)
def test_each_order_type_has_its_price_where_ibkr_wants_it(order_type, prices, expected) -> None:
    sent = wire(order_type, **prices)
    assert {key: sent[key] for key in ("orderType", "price", "auxPrice") if key in sent} == expected
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
