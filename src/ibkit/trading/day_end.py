"""A DAY order that ended while no process watched it.

After its day IBKR answers no status of it any more (503, docs/facts/orders.md §10), so that it would stay acknowledged
for ever: counted as an open short, and as a stop that may still fill.
"""

from __future__ import annotations

from datetime import date, datetime
from decimal import Decimal

from ibkit.model import OrderStatus, TimeInForce, average_price
from ibkit.trading.events import Operation, Progressed
from ibkit.trading.intent import Intent, IntentState
from ibkit.trading.ports import FillsRead, OrdersRead
from ibkit.trading.ref import same_ref

__all__ = ["FILLS_DAYS", "ended_with_its_day", "outlived_its_day"]

FILLS_DAYS = 7
"""How far back IBKR tells executions. Source: docs/facts/orders.md §11."""


def outlived_its_day(intent: Intent, today: date) -> bool:
    """Whether this acknowledged DAY order was sent on an earlier trading day than `today`."""
    return (
        intent.state is IntentState.ACKED
        and intent.operation is Operation.PLACE
        and intent.ticket.tif is TimeInForce.DAY
        and intent.trading_day is not None
        and intent.trading_day < today
    )


def ended_with_its_day(intent: Intent, orders: OrdersRead, fills: FillsRead, *, now: datetime) -> Progressed | None:
    """Its end, where a complete list of a later day does not show it: a DAY order that works is in the list.

    None where the reads prove nothing. What was filled of it is told by the executions of the last seven days.
    """
    if not (outlived_its_day(intent, orders.mark.trading_day) and orders.complete and not orders.first):
        return None
    if fills.first or any(row.order_id == intent.order_id or same_ref(intent.ref, row.ref) for row in orders.orders):
        return None
    ours = tuple(
        (fill.price, fill.quantity)
        for fill in fills.fills
        if fill.order_id == intent.order_id or same_ref(intent.ref, fill.ref)
    )
    filled = max(intent.filled, sum((quantity for _, quantity in ours), Decimal(0)))
    return Progressed(
        at=now,
        status=OrderStatus.FILLED if filled >= intent.ticket.quantity else OrderStatus.CANCELLED,
        filled=filled,
        average_price=average_price(ours) or intent.average_price,
        refused=False,
        reason="ended with its trading day",
    )
