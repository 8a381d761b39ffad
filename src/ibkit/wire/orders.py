"""Orders on the wire: placing, questions, preview, modify, cancel, the live list, status, trades.

Source: docs/facts/orders.md.
"""

from __future__ import annotations

from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import msgspec

from ibkit.model import (
    AccountId,
    CancelAck,
    Conid,
    Fill,
    Order,
    OrderId,
    OrderStatus,
    OrderTicket,
    OrderType,
    Ref,
    SecType,
    Side,
)
from ibkit.wire.endpoint import Endpoint, Lane, Limit, Needs, Resend
from ibkit.wire.numbers import figure, whole
from ibkit.wire.previews import WhatIf

__all__ = [
    "LIVE_ORDERS_ROWS",
    "AnswerRow",
    "CancelAnswer",
    "LiveOrder",
    "LiveOrders",
    "OrderBody",
    "OrderStatusRow",
    "PlaceAnswer",
    "PlaceOrders",
    "ReplyRequest",
    "TradeRow",
    "cancel_from_wire",
    "fill_from_wire",
    "order_from_status",
    "order_from_wire",
    "order_id_from_wire",
    "side_from_wire",
    "status_from_wire",
    "ticket_to_wire",
]

_FACTS = "docs/facts/orders.md"
LIVE_ORDERS_ROWS = 1000
"""A list of this length may have been cut. Source: §9."""


class OrderBody(msgspec.Struct, omit_defaults=True):
    """One ticket. Source: §1.2."""

    acctId: str
    conid: int
    secType: str | None = None
    cOID: str | None = None
    parentId: str | None = None
    orderType: str | None = None
    price: Decimal | None = None
    auxPrice: Decimal | None = None
    side: str | None = None
    quantity: Decimal | None = None
    tif: str | None = None
    outsideRTH: bool | None = None


class PlaceOrders(msgspec.Struct):
    orders: list[OrderBody]


class ReplyRequest(msgspec.Struct):
    confirmed: bool


class AnswerRow(msgspec.Struct):
    """Every shape that a placement, reply or modify can answer with. Source: §2."""

    id: str | None = None
    message: list[str] | str | None = None
    messageIds: list[str] | None = None
    messageOptions: list[str] | None = None
    isSuppressed: bool | None = None
    order_id: Any = None
    order_status: str | None = None
    local_order_id: str | None = None
    parent_order_id: Any = None
    encrypt_message: Any = None
    warning_message: Any = None
    text: str | None = None
    error: Any = None
    statusCode: Any = None
    account: str | None = None
    acct: str | None = None
    conid: Any = None
    orderId: Any = None
    reqId: Any = None
    options: list[str] | None = None
    prompt: bool | None = None
    messageId: str | None = None


PlaceAnswer = list[AnswerRow] | AnswerRow


class CancelAnswer(msgspec.Struct):
    msg: str | None = None
    order_id: Any = None
    conid: Any = None
    account: str | None = None


class LiveOrder(msgspec.Struct):
    """A row of the live list; any member may be missing. Source: §9."""

    orderId: Any = None
    acct: str | None = None
    account: str | None = None
    conid: Any = None
    status: str | None = None
    order_ccp_status: str | None = None
    side: str | None = None
    orderType: str | None = None
    origOrderType: str | None = None
    totalSize: Any = None
    filledQuantity: Any = None
    remainingQuantity: Any = None
    sizeAndFills: str | None = None
    avgPrice: Any = None
    price: Any = None
    auxPrice: Any = None
    stop_price: Any = None
    timeInForce: str | None = None
    order_ref: str | None = None
    parentId: Any = None
    ocaGroupId: Any = None
    orderDesc: str | None = None
    description1: str | None = None
    description2: str | None = None
    ticker: str | None = None
    secType: str | None = None
    order_cancellation_by_system_reason: str | None = None
    lastExecutionTime_r: Any = None


class LiveOrders(msgspec.Struct):
    orders: list[LiveOrder] = []
    snapshot: bool | None = None


class OrderStatusRow(msgspec.Struct):
    """`size` is what remains. Fills come under either of two namings. Source: §10."""

    order_id: Any = None
    conid: Any = None
    symbol: str | None = None
    side: str | None = None
    account: str | None = None
    order_clearing_account: str | None = None
    order_type: str | None = None
    order_status: str | None = None
    order_ccp_status: str | None = None
    order_status_description: str | None = None
    size: Any = None
    total_size: Any = None
    cum_fill: Any = None
    filled_quantity: Any = None
    remaining_quantity: Any = None
    average_price: Any = None
    avg_fill_price: Any = None
    limit_price: Any = None
    price: Any = None
    stop_price: Any = None
    tif: str | None = None
    order_ref: str | None = None
    parent_order_id: Any = None
    order_description: str | None = None
    order_description_with_contract: str | None = None
    order_cancellation_by_system_reason: str | None = None


class TradeRow(msgspec.Struct):
    """One execution. Source: §11."""

    execution_id: str | None = None
    order_id: Any = None
    account: str | None = None
    accountCode: str | None = None
    conid: Any = None
    conidEx: str | None = None
    symbol: str | None = None
    side: str | None = None
    size: Any = None
    price: Any = None
    commission: Any = None
    net_amount: Any = None
    trade_time: str | None = None
    trade_time_r: Any = None
    order_ref: str | None = None
    sec_type: str | None = None
    order_description: str | None = None


PLACE_ORDERS = Endpoint(
    "POST",
    "/iserver/account/{account_id}/orders",
    takes=PlaceOrders,
    gives=PlaceAnswer,
    needs=Needs.PRIMED_ACCOUNTS,
    resend=Resend.NEVER,  # a lost answer may be a live order: find it by ref instead
    lane=Lane.ORDERS,
    source=f"{_FACTS} §1",
)
PREVIEW_ORDERS = Endpoint(
    "POST",
    "/iserver/account/{account_id}/orders/whatif",
    takes=PlaceOrders,
    gives=WhatIf,
    needs=Needs.PRIMED_ACCOUNTS,
    lane=Lane.ORDERS,
    source=f"{_FACTS} §5",
)
REPLY = Endpoint(
    "POST",
    "/iserver/reply/{question_id}",
    takes=ReplyRequest,
    gives=PlaceAnswer,
    needs=Needs.PRIMED_ACCOUNTS,
    resend=Resend.NEVER,  # a second reply meets 400 "reply id not found" and hides what the first did
    lane=Lane.ORDERS,
    source=f"{_FACTS} §3.1",
)
MODIFY_ORDER = Endpoint(
    "POST",
    "/iserver/account/{account_id}/order/{order_id}",
    takes=OrderBody,
    gives=PlaceAnswer,
    needs=Needs.PRIMED_ACCOUNTS,
    resend=Resend.NEVER,
    lane=Lane.ORDERS,
    source=f"{_FACTS} §6",
)
CANCEL_ORDER = Endpoint(
    "DELETE",
    "/iserver/account/{account_id}/order/{order_id}",
    gives=CancelAnswer,
    needs=Needs.PRIMED_ACCOUNTS,
    resend=Resend.NEVER,  # repeating is safe, but trading decides it and journals it first
    lane=Lane.ORDERS,
    source=f"{_FACTS} §7",
)
LIVE_ORDERS = Endpoint(
    "GET",
    "/iserver/account/orders",
    gives=LiveOrders,
    needs=Needs.PRIMED_ACCOUNTS,
    lane=Lane.ORDERS,
    limit=Limit(1, 5.0),
    source=f"{_FACTS} §9",
)
ORDER_STATUS = Endpoint(
    "GET",
    "/iserver/account/order/status/{order_id}",
    gives=OrderStatusRow,
    needs=Needs.PRIMED_ACCOUNTS,
    lane=Lane.ORDERS,
    source=f"{_FACTS} §10",
)
TRADES = Endpoint(
    "GET",
    "/iserver/account/trades",
    gives=list[TradeRow],
    needs=Needs.PRIMED_ACCOUNTS,
    lane=Lane.ORDERS,
    limit=Limit(1, 5.0),
    source=f"{_FACTS} §11",
)


_STATUSES = {status.value.lower(): status for status in OrderStatus}


def ticket_to_wire(ticket: OrderTicket, *, ref: Ref | None) -> OrderBody:
    """The ticket in IBKR's words: a stop's trigger is `price`, a stop limit's is `auxPrice`. Source: §1.2, §1.3."""
    price, aux = {
        OrderType.MARKET: (None, None),
        OrderType.LIMIT: (ticket.limit_price, None),
        OrderType.STOP: (ticket.stop_price, None),
        OrderType.STOP_LIMIT: (ticket.limit_price, ticket.stop_price),
    }[ticket.order_type]
    contract = ticket.contract
    return OrderBody(
        acctId=ticket.account_id,
        conid=contract.conid,
        secType=None if contract.sec_type is SecType.OTHER else f"{contract.conid}:{contract.sec_type.value}",
        cOID=ref,
        parentId=ticket.parent_id,
        orderType=ticket.order_type.value,
        price=price,
        auxPrice=aux,
        side=ticket.side.value,
        quantity=_plain(ticket.quantity),
        tif=ticket.tif.value,
        outsideRTH=ticket.outside_rth,
    )


def _plain(quantity: Decimal) -> Decimal:
    """3, never 3.0 or 3E+2: the digits go out as they are."""
    whole_part = quantity.to_integral_value()
    return whole_part.quantize(Decimal(1)) if quantity == whole_part else quantity.normalize()


def order_id_from_wire(value: Any) -> OrderId | None:
    text = str(value) if value is not None else ""
    return OrderId(text) if text.isdigit() else None


def status_from_wire(word: str | None) -> OrderStatus:
    return _STATUSES.get((word or "").replace("_", "").lower(), OrderStatus.UNKNOWN)


def side_from_wire(word: str | None) -> Side:
    """`BUY`, `B`, `BOT` and `SELL`, `S`, `SLD`. Raises ValueError for others."""
    first = (word or "")[:1].upper()
    if first not in ("B", "S"):
        raise ValueError(f"no side: {word!r}")
    return Side.BUY if first == "B" else Side.SELL


def order_from_wire(row: LiveOrder) -> Order:
    """A row of the live list. Raises ValueError where it has no number, contract or side."""
    order_id, conid = order_id_from_wire(row.orderId), whole(row.conid)
    if order_id is None or conid is None:
        raise ValueError("an order row without number or contract")
    status = status_from_wire(row.status)
    total, filled, remaining = _sizes(figure(row.totalSize), figure(row.filledQuantity), figure(row.remainingQuantity))
    price, stop = figure(row.price), figure(row.stop_price) or figure(row.auxPrice)
    kind = (row.origOrderType or row.orderType or "").upper().replace(" ", "_")
    return Order(
        order_id=order_id,
        account_id=AccountId(row.account or row.acct or ""),
        conid=Conid(conid),
        side=side_from_wire(row.side),
        order_type=_ORDER_TYPES.get(kind, kind),
        status=status,
        raw_status=row.status or "",
        total=total,
        filled=filled,
        remaining=remaining,
        average_price=figure(row.avgPrice) or None,
        limit_price=price or None,
        stop_price=stop or None,
        # CLOSE is how the list says DAY. Source: §9.
        tif="DAY" if row.timeInForce == "CLOSE" else row.timeInForce or "",
        ref=Ref(row.order_ref) if row.order_ref else None,
        parent_id=order_id_from_wire(row.parentId),
        description=row.orderDesc or "",
        reason=row.order_cancellation_by_system_reason or None,
        parked=status is OrderStatus.INACTIVE and _pending(row.order_ccp_status),
    )


_ORDER_TYPES = {
    "LIMIT": "LMT",
    "MARKET": "MKT",
    "STOP": "STP",
    "STOP_LIMIT": "STOP_LIMIT",
    "STOPLIMIT": "STOP_LIMIT",
    "STPLMT": "STOP_LIMIT",
}


def _pending(ccp_status: str | None) -> bool:
    return (ccp_status or "").replace(" ", "").lower() == "pendingsubmit"


def _sizes(
    total: Decimal | None, filled: Decimal | None, remaining: Decimal | None
) -> tuple[Decimal, Decimal, Decimal]:
    zero = Decimal(0)
    if total is None:
        total = (filled or zero) + (remaining or zero)
    if filled is None:
        filled = total - remaining if remaining is not None else zero
    if remaining is None:
        remaining = total - filled
    return total, filled, remaining


def order_from_status(row: OrderStatusRow) -> Order:
    """The order of a status answer, fills read from either naming. Raises ValueError as `order_from_wire`."""
    order_id, conid = order_id_from_wire(row.order_id), whole(row.conid)
    if order_id is None or conid is None:
        raise ValueError("an order status without number or contract")
    status = status_from_wire(row.order_status)
    total, filled, remaining = _sizes(
        figure(row.total_size),
        figure(row.cum_fill) if figure(row.cum_fill) is not None else figure(row.filled_quantity),
        # `size` is what remains, but for one sample of a filled order; `remaining_quantity` is plain where it is there.
        figure(row.size) if row.remaining_quantity is None else figure(row.remaining_quantity),
    )
    if status is OrderStatus.FILLED and filled == 0:
        # The second sample of §10 gives `size` as the total of a filled order.
        filled, remaining = total, Decimal(0)
    kind = (row.order_type or "").upper().replace(" ", "_")
    return Order(
        order_id=order_id,
        account_id=AccountId(row.account or row.order_clearing_account or ""),
        conid=Conid(conid),
        side=side_from_wire(row.side),
        order_type=_ORDER_TYPES.get(kind, kind),
        status=status,
        raw_status=row.order_status or "",
        total=total,
        filled=filled,
        remaining=remaining,
        average_price=figure(row.average_price) or figure(row.avg_fill_price) or None,
        limit_price=figure(row.limit_price) or None,
        stop_price=figure(row.stop_price) or None,
        tif=(row.tif or "").replace("CLOSE", "DAY"),
        ref=Ref(row.order_ref) if row.order_ref else None,
        parent_id=order_id_from_wire(row.parent_order_id),
        description=row.order_description_with_contract or row.order_description or "",
        reason=row.order_cancellation_by_system_reason
        or (row.order_status_description if status in (OrderStatus.INACTIVE, OrderStatus.CANCELLED) else None)
        or None,
        parked=status is OrderStatus.INACTIVE and _pending(row.order_ccp_status),
    )


def fill_from_wire(row: TradeRow, account_id: AccountId) -> Fill:
    """One execution. Raises ValueError where it lacks its id, contract, size, price or time."""
    conid = whole(row.conid) or whole((row.conidEx or "").split("@")[0])
    size, price = figure(row.size), figure(row.price)
    if not row.execution_id or conid is None or size is None or price is None:
        raise ValueError("an execution without id, contract, size or price")
    fee = figure(row.commission)
    return Fill(
        execution_id=row.execution_id,
        order_id=order_id_from_wire(row.order_id),
        account_id=AccountId(row.account or row.accountCode or account_id),
        conid=Conid(conid),
        side=side_from_wire(row.side),
        quantity=abs(size),
        price=price,
        fee=None if fee is None else abs(fee),
        at=_trade_time(row),
        ref=Ref(row.order_ref) if row.order_ref else None,
    )


def _trade_time(row: TradeRow) -> datetime:
    """UTC: milliseconds where given, else `20260706-13:36:02`. Source: §11."""
    milliseconds = whole(row.trade_time_r)
    if milliseconds is not None:
        return datetime.fromtimestamp(milliseconds / 1000, UTC)
    if row.trade_time:
        return datetime.strptime(row.trade_time, "%Y%m%d-%H:%M:%S").replace(tzinfo=UTC)
    raise ValueError("an execution without time")


def cancel_from_wire(row: CancelAnswer, order_id: OrderId) -> CancelAck:
    return CancelAck(order_id=order_id_from_wire(row.order_id) or order_id, message=row.msg or "")


ANSWER_PROMPT = Endpoint(
    "POST",
    "/iserver/notification",
    needs=Needs.PRIMED_ACCOUNTS,
    resend=Resend.NEVER,  # "Yes" may send an order again
    lane=Lane.ORDERS,
    source=f"{_FACTS} §3.4",
)
