"""The truth about orders, for judges: what GET /__sim/ledger shows."""

from __future__ import annotations

from typing import Any

from ibkit.sim.exchange.order import Execution, SimOrder
from ibkit.sim.exchange.refusals import terms

__all__ = ["ledger_row"]


def ledger_row(order: SimOrder) -> dict[str, Any]:
    """One order. request_id: the request that brought it; accepted: it went live, now or earlier.

    events: what happened to it, oldest first, each with the request that caused it (0: the market did).
    """
    return {
        "order_id": order.id,
        "account": order.account,
        "username": order.username,
        "ref": order.ref,
        "conid": order.conid,
        "symbol": order.ticket.instrument.symbol,
        **terms(order.ticket),
        **({"conidex": order.ticket.instrument.conidex} if order.ticket.instrument.legs else {}),
        **({"stop_now": order.stop_now, "limit_now": order.limit} if order.ticket.kind.trails else {}),
        "group": order.group,
        "parent_id": order.parent.id if order.parent else None,
        "origin": order.origin,
        "request_id": order.request_id,
        "placed_at": order.placed_at,
        "accepted": order.accepted_at is not None,
        "accepted_at": order.accepted_at,
        "state": order.state,
        "filled": order.filled,
        "reason": order.reason,
        "executions": [_execution_row(execution) for execution in order.executions],
        "events": list(order.events),
    }


def _execution_row(execution: Execution) -> dict[str, Any]:
    row: dict[str, Any] = {
        "execution_id": execution.id,
        "at": execution.at,
        "price": execution.price,
        "quantity": execution.quantity,
        "commission": execution.commission,
    }
    if execution.legs:
        row["legs"] = [
            {"conid": leg.instrument.conid, "side": leg.side, **_execution_row(leg)} for leg in execution.legs
        ]
    return row
