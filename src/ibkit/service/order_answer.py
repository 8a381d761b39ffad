"""An intent as `data` of GWY-01: what is told of an order, and in which words.

pending → submitted → partially_filled → filled | cancelled | expired | rejected | failed | unknown
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from decimal import Decimal
from typing import Any, Literal

import msgspec

from ibkit.model import OrderTicket, OrderType, SecType
from ibkit.trading.fingerprint import plain
from ibkit.trading.intent import Intent, IntentState
from ibkit.trading.outcome import Outcome
from ibkit.trading.ref import own_key

__all__ = [
    "OPEN_STATUSES",
    "STATUSES",
    "OrderAnswer",
    "OrderData",
    "OrderError",
    "OrderList",
    "Status",
    "order_data",
    "status_of",
]

Status = Literal[
    "pending",
    "submitted",
    "partially_filled",
    "filled",
    "cancelled",
    "expired",
    "rejected",
    "failed",
    "unknown",
    "dry_run",
]
STATUSES: tuple[str, ...] = tuple(word for word in Status.__args__ if word != "dry_run")  # type: ignore[attr-defined]
OPEN_STATUSES: tuple[str, ...] = ("pending", "submitted", "partially_filled", "unknown")
"""What `open` stands for in a question for orders: not ended, or nobody knows how."""
_ENDED_WITH_ITS_DAY = "ended with its trading day"  # trading/day_end.py
_WORDS: dict[IntentState, Status] = {
    IntentState.FILLED: "filled",
    IntentState.CANCELLED: "cancelled",
    IntentState.REJECTED_LATE: "rejected",
    IntentState.REJECTED_LOCAL: "rejected",
    IntentState.REJECTED_POLICY: "rejected",
    IntentState.REJECTED_BROKER: "rejected",
    IntentState.EXPIRED_LOCAL: "failed",
    IntentState.NOT_PLACED: "failed",
    IntentState.UNKNOWN_NEEDS_HUMAN: "unknown",
}
_TYPES = {
    OrderType.MARKET: "market",
    OrderType.LIMIT: "limit",
    OrderType.STOP: "stop",
    OrderType.STOP_LIMIT: "stop_limit",
}


class OrderError(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    code: str
    message: str
    remedy: str


class OrderData(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One order. id: ours, null of a dry run. price: the limit price.

    error: why there is no order, or not all of it.
    """

    id: str | None
    broker: str
    account_id: str
    broker_order_id: str | None
    symbol: str
    side: Literal["buy", "sell"]
    order_type: str
    quantity: Decimal
    filled_quantity: Decimal
    filled_avg_price: Decimal | None
    price: Decimal | None
    stop_price: Decimal | None
    time_in_force: str
    status: Status
    idempotency_key: str
    error: OrderError | None
    metadata: dict[str, Any]
    submitted_at: datetime | None
    created_at: datetime
    updated_at: datetime


class OrderAnswer(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """cached: it was there already when it was asked for, and nothing was sent."""

    data: OrderData
    cached: bool


class OrderList(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """next: what to give as `cursor` for the orders before these; null at the end."""

    data: list[OrderData]
    next: str | None


def status_of(intent: Intent) -> Status:
    if intent.state is IntentState.ACKED:
        return "partially_filled" if intent.filled else "submitted"
    if intent.state is IntentState.CANCELLED and intent.reason == _ENDED_WITH_ITS_DAY:
        return "expired"
    return _WORDS.get(intent.state, "pending")


def order_data(intent: Intent, *, broker: str, changes: Sequence[Intent] = ()) -> OrderData:
    """changes: of orders, that IBKR took, newest first: they say how this order is now."""
    change = next((each for each in changes if _changed(each, intent)), None)
    ticket = intent.ticket if change is None else change.ticket
    error = None if intent.state.in_progress else Outcome(intent).error
    return OrderData(
        id=intent.intent_id,
        broker=broker,
        account_id=intent.planned.account_id,
        broker_order_id=intent.order_id,
        symbol=ticket.contract.symbol,
        side="buy" if ticket.side.value == "BUY" else "sell",
        order_type=_TYPES.get(ticket.order_type, ticket.order_type.value.lower()),
        quantity=_number(intent.total if intent.total is not None else ticket.quantity),
        filled_quantity=_number(intent.filled),
        filled_avg_price=None if intent.average_price is None else _number(intent.average_price),
        price=None if ticket.limit_price is None else _number(ticket.limit_price),
        stop_price=None if ticket.stop_price is None else _number(ticket.stop_price),
        time_in_force=ticket.tif.value.lower(),
        status=status_of(intent),
        idempotency_key=own_key(intent.key),
        error=None if error is None else OrderError(code=error.code, message=error.message, remedy=error.remedy),
        metadata=_metadata(intent, ticket),
        submitted_at=intent.sent_at,
        created_at=intent.planned.at,
        updated_at=intent.updated_at,
    )


def _number(value: Decimal) -> Decimal:
    """In its one spelling: `10`, not `10.0` nor `1E+1`."""
    return Decimal(plain(value))


def _changed(change: Intent, order: Intent) -> bool:
    taken = change.state is IntentState.ACKED
    return taken and order.order_id is not None and change.planned.target == order.order_id


def _metadata(intent: Intent, ticket: OrderTicket) -> dict[str, Any]:
    contract = ticket.contract
    told: dict[str, Any] = {
        "environment": intent.planned.environment.value,
        "client_order_id": intent.ref,
        "conid": contract.conid,
        "broker_status": intent.order_status.value if intent.order_status else None,
    }
    if contract.sec_type is SecType.OPTION and contract.expiry and contract.right:
        told["option"] = {
            "expiry": f"{contract.expiry:%Y%m%d}",
            "strike": contract.strike,
            "right": contract.right.value,
        }
    if intent.planned.group is not None:
        told["group"] = intent.planned.group.value
        told["legs"] = [_leg(intent, number, child) for number, child in enumerate(intent.planned.others, start=1)]
    return told


def _leg(intent: Intent, number: int, child: OrderTicket) -> dict[str, Any]:
    ack = next((each for each in intent.legs if each.number == number), None)
    return {
        "order_type": _TYPES.get(child.order_type, child.order_type.value.lower()),
        "side": child.side.value.lower(),
        "price": child.limit_price,
        "stop_price": child.stop_price,
        "broker_order_id": ack.order_id if ack else None,
        "error": (ack.text or None) if ack else None,
    }
