"""The judge of the stream: what the listeners heard against the broker's ledger. It imports nothing from ibkit.

W1  each order is told as new once, ends once, and is told last as it is
W2  each execution is told as new once
W3  a silent line is given up within 30 s
W4  an order's filled quantity never goes back, and nothing follows its end but the same
W5  quotes are of contracts somebody listens to, and never go back in time
W6  the line is live again when all is calm, and never asks faster than it may
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

__all__ = ["NOTICED_WITHIN_S", "Heard", "judge_stream"]

NOTICED_WITHIN_S = 30.0
_STEP_S = 1.0
"""Time passes in steps: what happens within one is seen at its end."""


@dataclass(slots=True)
class Heard:
    """(moment, event) of each listener, and the silences of the line."""

    clock: Any
    orders: list[tuple[float, Any]] = field(default_factory=list)
    fills: list[tuple[float, Any]] = field(default_factory=list)
    quotes: list[tuple[float, Any]] = field(default_factory=list)
    line: list[tuple[float, Any]] = field(default_factory=list)
    live: bool = False
    stalled_at: float | None = None
    noticed: list[float] = field(default_factory=list)
    """Seconds from each silence to the moment at which the line was given up."""

    def stalled(self, at: float) -> None:
        if self.stalled_at is None:
            self.stalled_at = at

    def look(self, *, live: bool) -> None:
        """Whether the stream still takes a silent line for live."""
        if self.stalled_at is None:
            return
        if not live:
            self.noticed.append(self.clock.monotonic() - self.stalled_at)
            self.stalled_at = None


def judge_stream(
    ledger: Sequence[Mapping[str, Any]], heard: Heard, *, subscribed: Collection[int], entered: int
) -> list[str]:
    """The rules that were broken, each with its story. entered: orders that exist, told or not."""
    found = [*_orders(ledger, heard), *_fills(ledger, heard), *_quotes(heard, subscribed), *_line(heard)]
    if len(ledger) != entered:
        found.append(f"W1: {len(ledger)} of {entered} orders are in the ledger")
    return list(dict.fromkeys(found))


def _orders(ledger: Sequence[Mapping[str, Any]], heard: Heard) -> Iterable[str]:
    new = Counter(str(update.order.order_id) for _, update in heard.orders if update.before is None)
    ended = Counter(str(update.order.order_id) for _, update in heard.orders if update.ended)
    last = {str(update.order.order_id): update.order for _, update in heard.orders}
    for row in ledger:
        order, over = str(row["order_id"]), row["state"] in ("filled", "cancelled")
        if new[order] != 1:
            yield f"W1: order {order} was told as new {new[order]} times"
        if ended[order] != over:
            yield f"W1: order {order} is {row['state']}, its end was told {ended[order]} times"
        if order in last and last[order].filled != row["filled"]:
            yield f"W1: order {order} was told last with {last[order].filled} filled, it is {row['filled']}"
    for order in set(new) - {str(row["order_id"]) for row in ledger}:
        yield f"W1: order {order} exists nowhere"
    yield from _order_of_updates(heard)


def _order_of_updates(heard: Heard) -> Iterable[str]:
    filled: dict[str, Any] = {}
    over: set[str] = set()
    for _, update in heard.orders:
        order = str(update.order.order_id)
        if update.order.filled < filled.get(order, 0):
            yield f"W4: order {order} was told with {update.order.filled} filled after {filled[order]}"
        filled[order] = update.order.filled
        if order in over and not update.order.status.terminal:
            yield f"W4: order {order} was told as {update.order.status.value} after its end"
        if update.order.status.terminal:
            over.add(order)


def _fills(ledger: Sequence[Mapping[str, Any]], heard: Heard) -> Iterable[str]:
    told = Counter(update.fill.execution_id for _, update in heard.fills if update.is_new)
    true = {execution["execution_id"] for row in ledger for execution in row["executions"]}
    for execution in sorted(true | set(told)):
        if told[execution] != (execution in true):
            yield f"W2: execution {execution} was told {told[execution]} times"


def _quotes(heard: Heard, subscribed: Collection[int]) -> Iterable[str]:
    newest: dict[int, Any] = {}
    for _, quote in heard.quotes:
        if int(quote.conid) not in subscribed:
            yield f"W5: a quote of {quote.conid}, to which nobody listens"
        if quote.at is not None and quote.at < newest.get(quote.conid, quote.at):
            yield f"W5: a quote of {quote.conid} goes back to {quote.at}"
        newest[quote.conid] = quote.at or newest.get(quote.conid)


def _line(heard: Heard) -> Iterable[str]:
    for seconds in heard.noticed:
        if seconds > NOTICED_WITHIN_S + _STEP_S:
            yield f"W3: a silent line was taken for live for {seconds:.1f} s"
    if heard.stalled_at is not None and heard.clock.monotonic() - heard.stalled_at > NOTICED_WITHIN_S + _STEP_S:
        yield "W3: a silent line was never noticed"
    if not heard.live:
        yield "W6: the line is not live again"
    for _, event in heard.line:
        if getattr(event, "text", "") == "Too many requests":
            yield "W6: the stream asked faster than it may"
