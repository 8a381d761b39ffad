"""An order that ended while no process watched it.

After its day IBKR answers no status of it any more (503, docs/facts/orders.md §10), so that it would stay acknowledged
for ever: counted as an open short, and as a stop that may still fill, beside which nothing may close.

    its executions make up the whole of it      FILLED, whatever its time in force
    DAY, or not ours, and not in a complete     FILLED or CANCELLED, by its executions: what works is in the list
    list of a later day
    good till cancelled, not all executed       nothing: that it is not shown proves too little for what hangs on it
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date, datetime
from decimal import Decimal

from ibkit.model import Contract, Fill, OrderStatus, TimeInForce, average_price
from ibkit.trading.events import Operation, Progressed
from ibkit.trading.intent import Intent, IntentState
from ibkit.trading.ports import FillsRead, OrdersRead
from ibkit.trading.ref import same_ref
from ibkit.trading.risk.environment import NEW_YORK

__all__ = ["FILLS_DAYS", "ended_unwatched", "of_an_earlier_day"]

FILLS_DAYS = 7
"""How far back IBKR tells executions. Source: docs/facts/orders.md §11."""
_FOLLOWED = (Operation.PLACE, Operation.EXTERNAL)


def of_an_earlier_day(intent: Intent, today: date) -> bool:
    """Whether this acknowledged order is at IBKR since an earlier trading day than `today`.

    What was not sent by itself (an order of a group, one of somebody else) is there at least since it was written down.
    """
    since = intent.trading_day or intent.planned.at.astimezone(NEW_YORK).date()
    return intent.state is IntentState.ACKED and intent.operation in _FOLLOWED and since < today


def ended_unwatched(intent: Intent, orders: OrdersRead, fills: FillsRead, *, now: datetime) -> Progressed | None:
    """Its end, where two reads of a later day prove it; None where they prove nothing."""
    if not (of_an_earlier_day(intent, orders.mark.trading_day) and orders.complete and not orders.first):
        return None
    if fills.first or any(row.order_id == intent.order_id or same_ref(intent.ref, row.ref) for row in orders.orders):
        return None
    ours = [fill for fill in fills.fills if fill.order_id == intent.order_id or same_ref(intent.ref, fill.ref)]
    ticket = intent.planned.ticket
    executed, price = _executed(ours, None if ticket is None else ticket.contract)
    filled = max(intent.filled, executed)
    whole = ticket is not None and filled >= intent.size
    if not whole and ticket is not None and ticket.tif is not TimeInForce.DAY:
        return None
    return Progressed(
        at=now,
        status=OrderStatus.FILLED if whole else OrderStatus.CANCELLED,
        filled=filled,
        average_price=intent.average_price if price is None else price,
        refused=False,
        reason="ended with its trading day" if ticket is None or ticket.tif is TimeInForce.DAY else "",
    )


def _executed(fills: Sequence[Fill], contract: Contract | None) -> tuple[Decimal, Decimal | None]:
    """How much of an order its executions make up, and at what price. Of a combination IBKR may tell the whole, or the
    legs, each with a quantity of its own (assumed, as in `evidence`): only what all legs have is filled, at a price
    that is not told.
    """
    whole = fills if contract is None else [fill for fill in fills if fill.conid == contract.conid]
    if whole or contract is None or not contract.legs:
        pairs = tuple((fill.price, fill.quantity) for fill in whole)
        return sum((quantity for _, quantity in pairs), Decimal(0)), average_price(pairs)
    sums = (
        sum((fill.quantity for fill in fills if fill.conid == leg.contract.conid), Decimal(0)) / abs(leg.ratio)
        for leg in contract.legs
    )
    return min(sums), None
