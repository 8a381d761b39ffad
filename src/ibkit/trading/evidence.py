"""What one look at the broker's lists proves about an order whose answer was lost.

| a look shows                                             | which proves             |
|----------------------------------------------------------|--------------------------|
| a row or an execution with our ref                       | Exists                   |
| our ref on a row that waits behind a question            | Parked                   |
| nothing, in a complete read that is not the session's    | Absent, counted apart    |
| first, after the settle window, in the session and on    | for list and executions  |
| the trading day of the send                              |                          |
| anything else (early, first, cut, failed, look-alikes)   | Unclear: nothing at all  |

Source: reliability rules §4.4; docs/facts/orders.md §9, §11, §14.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

from ibkit.model import Conid, Contract, Fill, GroupKind, Order, OrderId, OrderStatus, OrderTicket, Ref, Side
from ibkit.trading.intent import Intent
from ibkit.trading.ports import FillsRead, OrdersRead, SessionMark
from ibkit.trading.ref import cut_ref, leg_ref, same_ref

__all__ = ["Absent", "Exists", "Finding", "Parked", "Unclear", "assess"]


@dataclass(frozen=True, slots=True)
class Exists:
    """order_ids: normally one; two are a breach of "at most once". foreign: the terms are not ours."""

    order_ids: tuple[OrderId, ...]
    status: OrderStatus
    evidence: str
    foreign: bool = False


@dataclass(frozen=True, slots=True)
class Parked:
    order_id: OrderId


@dataclass(frozen=True, slots=True)
class Absent:
    """in_list, in_fills: that read counts as absence. moved: the session or trading day of the send is over."""

    in_list: bool
    in_fills: bool
    moved: bool


@dataclass(frozen=True, slots=True)
class Unclear:
    why: str


Finding: TypeAlias = Exists | Parked | Absent | Unclear


def assess(intent: Intent, *, orders: OrdersRead | None, fills: FillsRead | None, settled: bool) -> Finding:
    """What the two reads (None: failed) prove about `intent`; settled: both began after the settle window.

    Of an OCA group any of its orders proves that the request arrived; its first is preferred as the one to name.
    """
    ticket, ref = intent.ticket, intent.ref
    rows = [] if orders is None else [row for row in orders.orders if row.account_id == ticket.account_id]
    ours = [row for row in rows if same_ref(ref, row.ref)] or _siblings(rows, intent)
    cut = [row for row in rows if cut_ref(ref, row.ref) and _same_terms(row.conid, row.side, row.total, ticket)]
    if not ours and len(cut) == 1:
        ours = cut
    live = [row for row in ours if not row.parked]
    if live:
        ids = tuple(dict.fromkeys(row.order_id for row in live))
        foreign = not _is_sibling(live[0], intent) and any(not _ours(row.conid, row.side, ticket) for row in live)
        return Exists(ids, live[0].status, "orders list", foreign)
    executed = _executions(fills, ref, ticket)
    numbers = tuple(dict.fromkeys(fill.order_id for fill in executed if fill.order_id is not None))
    if numbers:
        foreign = any(not _ours(fill.conid, fill.side, ticket) for fill in executed)
        return Exists(numbers, OrderStatus.UNKNOWN, "trades", foreign)
    if ours:
        return Parked(ours[0].order_id)
    if cut or executed:
        return Unclear("a row looks like ours, but not surely")
    if _look_alike(rows, ticket):
        return Unclear("an order without a ref has the same terms")
    mark = SessionMark(intent.session, intent.trading_day) if intent.trading_day else None
    in_list = settled and orders is not None and orders.complete and not orders.first
    in_fills = settled and fills is not None and not fills.first
    moved = any(read is not None and read.mark != mark for read in (orders, fills))
    return Absent(in_list, in_fills, moved)


def _sibling_refs(intent: Intent) -> tuple[Ref, ...]:
    if intent.planned.group is not GroupKind.OCA:
        return ()
    return tuple(leg_ref(intent.ref, number) for number in range(1, len(intent.planned.others) + 1))


def _siblings(rows: list[Order], intent: Intent) -> list[Order]:
    """The first of the other orders of an OCA group that is there, alone: two of them are no breach."""
    found = [row for row in rows if _is_sibling(row, intent)]
    return found[:1]


def _is_sibling(row: Order, intent: Intent) -> bool:
    return any(same_ref(ref, row.ref) for ref in _sibling_refs(intent))


def _ours(conid: Conid, side: Side, ticket: OrderTicket) -> bool:
    """Whether an order or execution of these terms can be the ticket's.

    Of a combination IBKR may name the spread or a leg, and executions of legs go either way; the sources do not say
    (assumed; docs/facts/orders.md §1.6), so only the parts are compared.
    """
    if ticket.contract.legs:
        return conid in _parts(ticket.contract)
    return conid == ticket.contract.conid and side is ticket.side


def _parts(contract: Contract) -> frozenset[Conid]:
    return frozenset({contract.conid, *(leg.contract.conid for leg in contract.legs)})


def _executions(fills: FillsRead | None, ref: Ref, ticket: OrderTicket) -> list[Fill]:
    if fills is None:
        return []
    return [fill for fill in fills.fills if fill.account_id == ticket.account_id and same_ref(ref, fill.ref)]


def _same_terms(conid: Conid, side: Side, total: object, ticket: OrderTicket) -> bool:
    return _ours(conid, side, ticket) and total == ticket.quantity


def _look_alike(rows: list[Order], ticket: OrderTicket) -> bool:
    """A row that lost its ref could be ours: it forbids to call ours absent."""
    return any(row.ref is None and _same_terms(row.conid, row.side, row.total, ticket) for row in rows)
