"""What was told of orders and fills, so that each thing is told once, wherever it is heard: stream, replay or read.

Rules: an ended order stays ended, filled quantity never falls, an execution is known by its id.
No clock, no I/O.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import replace
from decimal import Decimal
from typing import Any, Final

from ibkit.model import Fill, FillUpdate, Order, OrderId, OrderUpdate, Source
from ibkit.wire.orders import order_from_wire, order_id_from_wire
from ibkit.wire.stream import live_order, merge_fields

__all__ = ["OrderView"]

MOST_ORDERS: Final = 20_000
MOST_FILLS: Final = 100_000


class OrderView:
    """What one client knows of its orders and executions of today."""

    def __init__(self) -> None:
        self._orders: OrderedDict[OrderId, Order] = OrderedDict()
        self._rows: OrderedDict[OrderId, dict[str, Any]] = OrderedDict()
        self._fills: OrderedDict[str, Fill] = OrderedDict()
        self._filled: dict[OrderId, Decimal] = {}
        self._unexplained = False
        self._doubtful: set[OrderId] = set()
        self._unheard_orders: set[OrderId] = set()
        self._unheard_fills: set[str] = set()

    @property
    def unheard(self) -> tuple[str, ...]:
        """Topics that did not tell what a read on a standing line found, and have not told it since."""
        told = (("sor", self._unheard_orders), ("str", self._unheard_fills))
        return tuple(topic for topic, missed in told if missed)

    def forgive(self) -> None:
        """What was not heard is dealt with; only what a later read finds counts again."""
        self._unheard_orders.clear()
        self._unheard_fills.clear()

    @property
    def doubts(self) -> bool:
        """Something was heard that the other topic has yet to explain, or that only a read can."""
        return self._unexplained or bool(self._doubtful)

    @property
    def lacking(self) -> bool:
        """The doubts stand: something is missing. To be asked a while after `doubts` arose."""
        self._doubtful = {order_id for order_id in self._doubtful if self._differs(order_id)}
        return self.doubts

    def doubt(self) -> None:
        """Something could not be read."""
        self._unexplained = True

    def settle(self) -> None:
        """A complete read was taken in."""
        self._unexplained = False
        self._doubtful.clear()

    def _differs(self, order_id: OrderId) -> bool:
        known = self._orders.get(order_id)
        return known is None or known.filled != self._filled.get(order_id, Decimal(0))

    @property
    def orders(self) -> tuple[Order, ...]:
        return tuple(self._orders.values())

    @property
    def fills(self) -> tuple[Fill, ...]:
        return tuple(self._fills.values())

    def hear_row(self, row: Mapping[str, Any]) -> OrderUpdate | None:
        """A `sor` row, full or a delta. A delta of an order whose full row was never heard tells nothing yet."""
        order_id = order_id_from_wire(row.get("orderId"))
        if order_id is None:
            self._unexplained = True
            return None
        self._unheard_orders.discard(order_id)
        merged = merge_fields(self._rows.get(order_id, {}), row)
        if row.get("status") is not None and row.get("order_ccp_status") is None:
            # A state told alone voids the older second word: an order once parked behind its question, then live and
            # then refused, is not parked again.
            merged["order_ccp_status"] = ""
        try:
            order = order_from_wire(live_order(merged))
        except ValueError:
            self._unexplained = True
            self._keep_row(order_id, merged)
            return None
        self._keep_row(order_id, merged)
        return self._fold(order, Source.STREAM)

    def read_order(self, order: Order, *, standing: bool = False) -> OrderUpdate | None:
        """A row of a complete read of the live list. standing: the line was up, so its topic should have told it."""
        update = self._fold(order, Source.READ)
        if update is not None and standing:
            self._unheard_orders.add(order.order_id)
        return update

    def see_fill(self, fill: Fill, source: Source, *, standing: bool = False) -> FillUpdate | None:
        """None for one that was told before, with nothing new. standing: as for `read_order`."""
        if source is Source.STREAM:
            self._unheard_fills.discard(fill.execution_id)
        elif standing and fill.execution_id not in self._fills:
            self._unheard_fills.add(fill.execution_id)
        known = self._fills.get(fill.execution_id)
        if known is None:
            self._fills[fill.execution_id] = fill
            if len(self._fills) > MOST_FILLS:
                self._fills.popitem(last=False)
            self._count(fill)
            return FillUpdate(fill, None, source)
        merged = replace(
            known,
            fee=known.fee if fill.fee is None else fill.fee,
            order_id=known.order_id or fill.order_id,
            ref=known.ref or fill.ref,
        )
        if merged == known:
            return None
        self._fills[fill.execution_id] = merged
        if known.order_id is None:
            self._count(merged)
        return FillUpdate(merged, known, source)

    def _count(self, fill: Fill) -> None:
        """An order that filled less than its executions is behind."""
        if fill.order_id is None:
            return
        total = self._filled[fill.order_id] = self._filled.get(fill.order_id, Decimal(0)) + fill.quantity
        known = self._orders.get(fill.order_id)
        if known is not None and known.filled < total:
            self._doubtful.add(fill.order_id)

    def _fold(self, order: Order, source: Source) -> OrderUpdate | None:
        known = self._orders.get(order.order_id)
        if known is not None:
            order = _with_kin(order, known)
        if known is not None and (_is_older(order, known) or _facts(order) == _facts(known)):
            return None
        if known is not None and source is Source.STREAM and order.filled > known.filled:
            self._doubtful.add(order.order_id)  # its execution comes by another topic
        self._orders[order.order_id] = order
        if len(self._orders) > MOST_ORDERS:
            gone, _ = self._orders.popitem(last=False)
            self._rows.pop(gone, None)
            self._filled.pop(gone, None)
        if source is Source.READ:
            # Deltas to come are measured against this.
            self._keep_row(order.order_id, merge_fields(self._rows.get(order.order_id, {}), _row_of(order)))
        return OrderUpdate(order, known, source)

    def _keep_row(self, order_id: OrderId, row: dict[str, Any]) -> None:
        self._rows[order_id] = row
        if len(self._rows) > MOST_ORDERS:
            self._rows.popitem(last=False)


def _with_kin(order: Order, known: Order) -> Order:
    """Whose child it is, its group, ref and legs never change, and the stream's rows leave some of them out (§5.4)."""
    return replace(
        order,
        parent_id=order.parent_id or known.parent_id,
        group=order.group or known.group,
        ref=order.ref or known.ref,
        conidex=order.conidex or known.conidex,
    )


def _is_older(order: Order, known: Order) -> bool:
    if known.status.terminal and (not order.status.terminal or order.filled == known.filled):
        return True
    return order.filled < known.filled


def _row_of(order: Order) -> dict[str, Any]:
    """An order that was read, as the full row that the stream would have sent."""
    return {
        "orderId": order.order_id,
        "account": order.account_id,
        "conid": order.conid,
        "side": order.side.value,
        "origOrderType": order.order_type,
        "status": order.raw_status,
        "order_ccp_status": "Pending Submit" if order.parked else "",
        "totalSize": order.total,
        "filledQuantity": order.filled,
        "remainingQuantity": order.remaining,
        "avgPrice": order.average_price,
        "price": order.limit_price,
        "stop_price": order.stop_price,
        "timeInForce": order.tif,
        "order_ref": order.ref,
        "parentId": order.parent_id,
        "ocaGroupId": order.group or None,
        "conidex": order.conidex or None,
        "orderDesc": order.description,
    }


def _facts(order: Order) -> tuple[object, ...]:
    """What makes an update. Wording, colours and the like differ between stream and read without any news."""
    return (
        order.status,
        order.total,
        order.filled,
        order.limit_price,
        order.stop_price,
        order.parked,
        order.parent_id,
        order.group,
        order.ref,
    )
