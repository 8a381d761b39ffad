"""Orders on the wire: placing, questions, preview, modify, cancel, the live list, status.

Source: docs/facts/orders.md.
"""

from __future__ import annotations

import re
from decimal import Decimal
from typing import Any
from urllib.parse import unquote, urlsplit

import msgspec

from ibkit.model import (
    AccountId,
    CancelAck,
    Conid,
    Order,
    OrderId,
    OrderStatus,
    OrderType,
    Ref,
    Side,
)
from ibkit.wire.endpoint import Endpoint, Lane, Limit, Needs, Resend
from ibkit.wire.numbers import figure, whole
from ibkit.wire.previews import WhatIf
from ibkit.wire.tickets import OrderBody, PlaceOrders

__all__ = [
    "CHANGES_ORDERS",
    "LIVE_ORDERS_ROWS",
    "AnswerRow",
    "CancelAnswer",
    "LiveOrder",
    "LiveOrders",
    "OrderStatusRow",
    "PlaceAnswer",
    "ReplyRequest",
    "cancel_from_wire",
    "changes_orders",
    "conid_from_wire",
    "order_from_status",
    "order_from_wire",
    "order_id_from_wire",
    "order_type_from_wire",
    "side_from_wire",
    "status_from_wire",
]

_FACTS = "docs/facts/orders.md"
LIVE_ORDERS_ROWS = 1000
"""A list of this length may have been cut. Source: §9."""


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
    conidex: str | None = None
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
    conidex: str | None = None
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
    oca_group_id: Any = None
    order_description: str | None = None
    order_description_with_contract: str | None = None
    order_cancellation_by_system_reason: str | None = None


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
_STATUSES = {status.value.lower(): status for status in OrderStatus}


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
    order_id, conid = order_id_from_wire(row.orderId), conid_from_wire(row.conid, row.conidex)
    if order_id is None or conid is None:
        raise ValueError("an order row without number or contract")
    status = status_from_wire(row.status)
    total, filled, remaining = _sizes(figure(row.totalSize), figure(row.filledQuantity), figure(row.remainingQuantity))
    kind = order_type_from_wire(row.origOrderType or row.orderType)
    limit, stop = _prices(kind, price=row.price, aux=row.auxPrice, stop=row.stop_price)
    return Order(
        order_id=order_id,
        account_id=AccountId(row.account or row.acct or ""),
        conid=Conid(conid),
        side=side_from_wire(row.side),
        order_type=kind,
        status=status,
        raw_status=row.status or "",
        total=total,
        filled=filled,
        remaining=remaining,
        average_price=figure(row.avgPrice) or None,
        limit_price=limit,
        stop_price=stop,
        # CLOSE is how the list says DAY. Source: §9.
        tif="DAY" if row.timeInForce == "CLOSE" else row.timeInForce or "",
        ref=Ref(row.order_ref) if row.order_ref else None,
        parent_id=order_id_from_wire(row.parentId),
        group=_text(row.ocaGroupId),
        conidex=_legs(row.conidex),
        description=row.orderDesc or "",
        reason=row.order_cancellation_by_system_reason or None,
        parked=status is OrderStatus.INACTIVE and _pending(row.order_ccp_status),
    )


_TYPES_BY_WORD = {kind.value.replace("_", ""): kind.value for kind in OrderType} | {
    "MARKET": "MKT",
    "LIMIT": "LMT",
    "STOP": "STP",
    "STPLMT": "STOP_LIMIT",
    "TRAILINGSTOP": "TRAIL",
    "TRAILINGSTOPLIMIT": "TRAILLMT",
    "MARKETIFTOUCHED": "MIT",
    "LIMITIFTOUCHED": "LIT",
    "MARKETONCLOSE": "MOC",
    "LIMITONCLOSE": "LOC",
    "RELATIVE": "REL",
}
"""Ticket, display and contract-rule words. Source: §1.3 last line, §9 `orderType`."""


def order_type_from_wire(word: str | None) -> str:
    """`Trailing Stop`, `TRAILING_STOP` and `TRAIL` are one; a word that nobody knows stays as it is.

    >>> order_type_from_wire("Stop Limit")
    'STOP_LIMIT'
    >>> order_type_from_wire("Pegged to Market")
    'PEGGED_TO_MARKET'
    """
    shown = (word or "").upper()
    return _TYPES_BY_WORD.get(re.sub(r"[^A-Z]", "", shown), shown.replace(" ", "_"))


_TRIGGER_IS_PRICE = frozenset({OrderType.STOP.value, OrderType.TRAIL.value, OrderType.MARKET_IF_TOUCHED.value})


def _prices(kind: str, *, price: Any, aux: Any, stop: Any) -> tuple[Decimal | None, Decimal | None]:
    """Limit and trigger of an order as shown.

    Recorded is `stop_price` with an empty `price` for a stop (§9). Assumed: where a row has only `price`, it means what
    it means in a ticket, and `auxPrice` of a relative order is its offset, no trigger.
    """
    limit, trigger = figure(price) or None, figure(stop) or None
    if trigger is None and kind != OrderType.RELATIVE.value:
        trigger = figure(aux) or None
    if kind in _TRIGGER_IS_PRICE:
        return None, trigger or limit
    return limit, trigger


def conid_from_wire(conid: Any, conidex: str | None) -> int | None:
    """Of a combination the number for spreads, which also begins its conidex. Source: §1.6."""
    found = whole(conid)
    return found if found is not None else whole(re.split("[@;]", conidex or "", maxsplit=1)[0])


def _legs(conidex: str | None) -> str:
    """The conidex of a combination; of others it says no more than the conid."""
    return conidex if conidex and ";" in conidex else ""


def _text(value: Any) -> str:
    return "" if value is None else str(value)


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
    order_id, conid = order_id_from_wire(row.order_id), conid_from_wire(row.conid, row.conidex)
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
    kind = order_type_from_wire(row.order_type)
    limit, stop = _prices(kind, price=row.limit_price, aux=None, stop=row.stop_price)
    return Order(
        order_id=order_id,
        account_id=AccountId(row.account or row.order_clearing_account or ""),
        conid=Conid(conid),
        side=side_from_wire(row.side),
        order_type=kind,
        status=status,
        raw_status=row.order_status or "",
        total=total,
        filled=filled,
        remaining=remaining,
        average_price=figure(row.average_price) or figure(row.avg_fill_price) or None,
        limit_price=limit,
        stop_price=stop,
        tif=(row.tif or "").replace("CLOSE", "DAY"),
        ref=Ref(row.order_ref) if row.order_ref else None,
        parent_id=order_id_from_wire(row.parent_order_id),
        group=_text(row.oca_group_id),
        conidex=_legs(row.conidex),
        description=row.order_description_with_contract or row.order_description or "",
        reason=row.order_cancellation_by_system_reason
        or (row.order_status_description if status in (OrderStatus.INACTIVE, OrderStatus.CANCELLED) else None)
        or None,
        parked=status is OrderStatus.INACTIVE and _pending(row.order_ccp_status),
    )


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

CHANGES_ORDERS = frozenset({PLACE_ORDERS, REPLY, MODIFY_ORDER, CANCEL_ORDER, ANSWER_PROMPT})
"""Endpoints that only the order gateway reaches."""

_CHANGING = re.compile(
    r"/iserver/+(?:account/.*\borders?(?:/|$)|reply(?:/|$)|notification(?:/|$)|questions/+suppress/*$)", re.IGNORECASE
)
_HARMLESS = re.compile(r"/orders/+whatif/*$", re.IGNORECASE)


def changes_orders(method: str, url: str) -> bool:
    """Whether a call can place, change, confirm or cancel an order, or let one go unasked, whoever made its address.

    >>> changes_orders("POST", "https://api.ibkr.com/v1/api/iserver/account/DU1/orders")
    True
    >>> changes_orders("POST", "https://api.ibkr.com/v1/api/iserver/account/DU1/orders/whatif")
    False
    >>> changes_orders("GET", "https://api.ibkr.com/v1/api/iserver/account/orders?force=true")
    False
    """
    if method == "GET":
        return False
    path = unquote(urlsplit(url).path)
    return _CHANGING.search(path) is not None and _HARMLESS.search(path) is None
