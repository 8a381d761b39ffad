"""Topics `sor` and `str`: what happened to orders, read off the exchange's own notes.

Source: docs/facts/websocket.md §5.4, §5.5.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from itertools import islice
from typing import Any

from ibkit.model import average_price
from ibkit.sim.exchange.fills import shown
from ibkit.sim.exchange.order import Execution, SimOrder
from ibkit.sim.exchange.order_rows import filter_word, live_row, status_of, trade_row
from ibkit.sim.market.names import plain, price_text, short_contract
from ibkit.sim.streams.view import View
from ibkit.sim.world import World

__all__ = ["OrderFeed", "OrdersTopic", "TradesTopic"]

_ENDED = frozenset({"filled", "cancelled", "rejected", "declined"})
_PENDING = {"status": "PendingSubmit", "order_ccp_status": "Pending Submit", "fgColor": "#3399CC"}
_PRE_SUBMITTED = {"status": "PreSubmitted", "order_ccp_status": "Submitted", "bgColor": "#FFFFFF", "fgColor": "#0000CC"}
_SUBMITTED = {"status": "Submitted", "order_ccp_status": "Submitted", "bgColor": "#000000", "fgColor": "#00F000"}
_CANCELLED = {"status": "Cancelled", "order_ccp_status": "Cancelled", "bgColor": "#FFFFFF", "fgColor": "#000000"}
_MOST_DAYS = 7


class OrderFeed:
    """Notes about orders that one reader has not read, oldest first."""

    def __init__(self, world: World) -> None:
        self._open: dict[int, tuple[SimOrder, int]] = {}
        self._orders = 0
        self.skip(world)

    def skip(self, world: World) -> None:
        """Take everything up to now as read."""
        for _ in self.read(world):
            pass

    def read(self, world: World) -> Iterator[tuple[SimOrder, int]]:
        """Each unread note, as its order and its place in the order's list."""
        orders = world.exchange.orders
        for order in islice(orders.values(), self._orders, None):
            self._open[order.id] = (order, 0)
        self._orders = len(orders)
        found: list[tuple[datetime, int, int]] = []
        for order, read in list(self._open.values()):
            found += [(order.events[i]["at"], order.id, i) for i in range(read, len(order.events))]
            if order.state in _ENDED:
                del self._open[order.id]
            else:
                self._open[order.id] = (order, len(order.events))
        for _, order_id, index in sorted(found):
            yield orders[order_id], index


@dataclass(frozen=True, slots=True)
class _Then:
    """An order as it was right after one of its notes: what was filled, and at which mean price."""

    order: SimOrder
    filled: Decimal
    average: str | None

    @classmethod
    def of(cls, order: SimOrder, index: int) -> _Then:
        parts = tuple((e["price"], e["quantity"]) for e in order.events[: index + 1] if e["event"] == "filled")
        mean = average_price(parts)
        text = None if mean is None else price_text(mean.quantize(Decimal("0.00000001")).normalize())
        return cls(order, sum((quantity for _, quantity in parts), Decimal(0)), text)

    @property
    def sizes(self) -> dict[str, Any]:
        """`40/60` is filled and remaining; alone the total when all is done (§5.4)."""
        left = max(self.order.total - self.filled, Decimal(0))
        shown = f"{plain(self.filled)}/{plain(left)}" if left else plain(self.order.total)
        sizes = {
            "sizeAndFills": shown,
            "remainingQuantity": float(left),
            "filledQuantity": float(self.filled),
        }
        return sizes if self.average is None else {**sizes, "avgPrice": self.average}


class OrdersTopic:
    """`sor`."""

    def __init__(self) -> None:
        self._feed: OrderFeed | None = None
        self._first: list[dict[str, Any]] = []

    def ask(self, view: View, args: Mapping[str, Any]) -> None:
        if self._feed is None:
            self._feed = OrderFeed(view.world)
        if args.get("realtimeUpdatesOnly") is True:
            return
        words = {str(word).lower() for word in args.get("filters") or ()}
        world, now = view.world, view.world.now
        orders = [order for account in view.accounts for order in world.exchange.of_today(account, now)]
        if words:
            orders = [o for o in orders if _word(world, o, now) in words]
        self._first = [_full_row(world, order, len(order.events) - 1, now) for order in orders]

    def frames(self, view: View) -> Iterable[dict[str, Any]]:
        assert self._feed is not None, "asked for before it is read"
        if view.brokerage is not None and view.brokerage.sor_silenced:
            self._first = []
            self._feed.skip(view.world)
            return
        if self._first:
            yield {"topic": "sor", "args": self._first}
            self._first = []
        for order, index in self._feed.read(view.world):
            if order.account in view.accounts:
                for row in _rows_of_note(view.world, order, index):
                    yield {"topic": "sor", "args": [row]}

    def end(self, view: View) -> None:
        """Nothing is held."""


def _word(world: World, order: SimOrder, now: datetime) -> str:
    return filter_word(status_of(world, order, now)).replace("_", "")


def _full_row(world: World, order: SimOrder, index: int, now: datetime) -> dict[str, Any]:
    row = live_row(world, order, now)
    for name in ("exchange", "outsideRTH", "avgPrice"):
        row.pop(name, None)
    return row | _Then.of(order, index).sizes


def _rows_of_note(world: World, order: SimOrder, index: int) -> Iterator[dict[str, Any]]:
    """The rows that one note becomes, in the recorded order (§5.4)."""
    note = order.events[index]
    key = {"acct": order.account, "orderId": order.id}

    def full(**changes: Any) -> dict[str, Any]:
        return _full_row(world, order, index, note["at"]) | changes

    match note["event"]:
        case "parked" | "saved":
            yield full(status="Inactive", order_ccp_status="Pending Submit", bgColor="#FFFFFF", fgColor="#0000CC")
        case "accepted":
            if not any(event["event"] == "parked" for event in order.events[:index]):
                yield full(status="Inactive", order_ccp_status="Pending Submit", bgColor="#FFFFFF", fgColor="#0000CC")
            conid = {"conid": order.conid, "conidex": order.ticket.instrument.conidex}
            yield conid | {"orderId": order.id, "isEventTrading": "0"}
            yield key | _PENDING
            yield key | _PRE_SUBMITTED
            if _works_at_once(world, order, index, note["at"]):
                yield key | _SUBMITTED
        case "elected":
            yield key | _SUBMITTED
        case "filled":
            then = _Then.of(order, index)
            yield key | then.sizes
            if then.filled >= order.total:
                yield full(status="Filled", order_ccp_status="Filled", bgColor="#FFFFFF", fgColor="#000000")
        case "modified":
            yield full()
        case "cancel requested":
            yield full(status="PendingCancel", order_ccp_status="Submitted")
        case "cancelled":
            yield key | _CANCELLED
        case "rejected":
            yield full(status="Inactive", order_ccp_status="Inactive")
        case _:
            # An order that was declined or forgotten behind its question vanishes from the list without a word [sim].
            assert note["event"] in ("declined", "forgotten"), note["event"]


def _works_at_once(world: World, order: SimOrder, index: int, at: datetime) -> bool:
    """Whether acceptance ended in Submitted. Stops, dormant children and orders out of hours stay PreSubmitted."""
    if order.ticket.kind.waits is not None or order.ticket.tif == "OPG" or not world.calendar.is_open(at):
        return False
    parent = order.parent
    return parent is None or any(e["event"] == "filled" and e["at"] <= at for e in parent.events)


class TradesTopic:
    """`str`: each execution twice, the second time with commission and order id."""

    def __init__(self) -> None:
        self._feed: OrderFeed | None = None
        self._waiting: list[tuple[datetime, Execution]] = []
        self._first: list[list[dict[str, Any]]] = []

    def ask(self, view: View, args: Mapping[str, Any]) -> None:
        if self._feed is None:
            self._feed = OrderFeed(view.world)
        self._first = [[]]
        if args.get("realtimeUpdatesOnly") is True:
            return
        days = args.get("days")
        wanted = max(1, min(_MOST_DAYS, days if isinstance(days, int) else 1))
        world, now = view.world, view.world.now
        found = [e for account in view.accounts for e in world.exchange.executions(account, now, days=wanted)]
        if found:
            self._first.append([self._row(world, execution) for execution in sorted(found, key=lambda e: e.at)])

    def frames(self, view: View) -> Iterable[dict[str, Any]]:
        assert self._feed is not None, "asked for before it is read"
        for rows in self._first:
            yield {"topic": "str", "args": rows}
        self._first = []
        for order, index in self._feed.read(view.world):
            note = order.events[index]
            if note["event"] == "filled" and order.account in view.accounts:
                execution = next(e for e in order.executions if e.id == note["execution_id"])
                for part in shown(view.world, execution):
                    yield {"topic": "str", "args": [self._row(view.world, part)]}
        ripe = [execution for at, execution in self._waiting if at <= view.world.now]
        self._waiting = [(at, execution) for at, execution in self._waiting if at > view.world.now]
        for execution in ripe:
            yield {"topic": "str", "args": [_complete_row(view.world, execution)]}

    def end(self, view: View) -> None:
        """Nothing is held."""

    def _row(self, world: World, execution: Execution) -> dict[str, Any]:
        """The row as it is known now: without the commission while that is being computed."""
        known_at = execution.at + timedelta(seconds=world.quirks.commission_after_s)
        row = _complete_row(world, execution)
        if known_at <= world.now:
            return row
        if all(execution is not waiting for _, waiting in self._waiting):
            self._waiting.append((known_at, execution))
        return {name: value for name, value in row.items() if name not in ("commission", "order_id")}


_NOT_STREAMED = ("submitter", "account_allocation_name", "clearing_id", "clearing_name")


def _complete_row(world: World, execution: Execution) -> dict[str, Any]:
    instrument = execution.instrument
    row = {name: value for name, value in trade_row(world, execution).items() if name not in _NOT_STREAMED}
    bought = "Bot" if execution.side == "BUY" else "Sld"
    row["order_description"] = (
        f"{bought} {plain(execution.quantity)} @ {price_text(execution.price)} on {execution.exchange}"
    )
    row["contract_description_1"] = instrument.symbol
    if instrument.sec_type != "STK":
        row["contract_description_2"] = short_contract(instrument)
    row["open_close"] = "???"
    return row
