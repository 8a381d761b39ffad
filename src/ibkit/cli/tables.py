"""Orders and positions as tables."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from ibkit.cli import output
from ibkit.model import Conid, Order, OrderId, Position

__all__ = ["orders_table", "positions_table"]


def orders_table(
    orders: Iterable[Order],
    names: Mapping[Conid, str] | None = None,
    by_order: Mapping[OrderId, str] | None = None,
) -> str:
    """names: what to call contracts; without, the broker's own description of the order stands there.

    by_order: the same for single orders: all combinations of a currency share one number.
    """
    known, ours = names or {}, by_order or {}
    rows = [
        (
            order.order_id,
            order.side,
            order.total.normalize(),
            order.filled.normalize(),
            ours.get(order.order_id) or known.get(order.conid) or order.description or order.conid,
            order.order_type,
            order.stop_price or order.limit_price,
            order.tif,
            order.raw_status + (" (parked)" if order.parked else ""),
        )
        for order in orders
    ]
    head = ("Order", "Side", "Quantity", "Filled", "Contract", "Type", "Price", "TIF", "Status")
    return output.table(head, rows, right={2, 3, 6})


def positions_table(positions: Iterable[Position]) -> str:
    rows = [
        (
            p.contract.label or p.contract.description,
            p.quantity.normalize(),
            p.average_price,
            p.market_price,
            p.market_value,
            p.unrealized_pnl,
            p.contract.currency,
        )
        for p in positions
    ]
    head = ("Position", "Quantity", "Average", "Price", "Value", "Unrealised", "")
    return output.table(head, rows, right={1, 2, 3, 4, 5})
