"""Orders as a table."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from ibkit.cli import output
from ibkit.model import Conid, Order

__all__ = ["orders_table"]


def orders_table(orders: Iterable[Order], names: Mapping[Conid, str] | None = None) -> str:
    """names: what to call contracts; without, the broker's own description of the order stands there."""
    known = names or {}
    rows = [
        (
            order.order_id,
            order.side,
            order.total.normalize(),
            order.filled.normalize(),
            known.get(order.conid) or order.description or order.conid,
            order.order_type,
            order.stop_price or order.limit_price,
            order.tif,
            order.raw_status + (" (parked)" if order.parked else ""),
        )
        for order in orders
    ]
    head = ("Order", "Side", "Quantity", "Filled", "Contract", "Type", "Price", "TIF", "Status")
    return output.table(head, rows, right={2, 3, 6})
