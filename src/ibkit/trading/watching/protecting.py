"""Whether each position is protected, told from what the watch knows: for whoever looks, nothing follows from it.

    protected    an order that bounds its loss works for all of it
    unprotected  a sold option that should have such an order, and has none, or one for a part of it
    not needed   nothing is demanded: what was bought, a stock, a spread or a sale whose plan has no stop
    unknown      it cannot be said now: a sale under way, an order in an unknown state, no complete list of orders

A sold option without a record of ours counts as unprotected, also where the watch is not told to look after it.
"""

from __future__ import annotations

import enum
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import assert_never

from ibkit.model import Conid, Contract, Order, OrderId, OrderStatus, OrderType, Position, SecType, Side
from ibkit.trading.selling.coverage import (
    Broken,
    Covered,
    Doubtful,
    Gone,
    Missing,
    Over,
    Selling,
    SoldNothing,
    TooMuch,
    Verdict,
    Watched,
    protective,
)

__all__ = ["Guard", "GuardState", "guards", "unknown_guards"]

_STOPS = frozenset(
    kind.value for kind in (OrderType.STOP, OrderType.STOP_LIMIT, OrderType.TRAIL, OrderType.TRAIL_LIMIT)
)
_RESTING = (OrderStatus.PRE_SUBMITTED, OrderStatus.SUBMITTED)


class GuardState(enum.Enum):
    UNPROTECTED = "unprotected"
    UNKNOWN = "unknown"
    PROTECTED = "protected"
    NOT_NEEDED = "not needed"


@dataclass(frozen=True, slots=True, kw_only=True)
class Guard:
    """stop_price, order_id: of the order that protects, as far as they are known."""

    state: GuardState
    stop_price: Decimal | None = None
    order_id: OrderId | None = None


def guards(positions: Sequence[Position], verdicts: Sequence[Verdict], rows: Sequence[Order]) -> Mapping[Conid, Guard]:
    """By conid. verdicts: of `judge`; rows: a complete list of the account's orders."""
    told: dict[Conid, list[_Part]] = {}
    for verdict in verdicts:
        part = _of_verdict(verdict, rows)
        if part is not None:
            for conid in _conids(verdict.watched.contract):
                told.setdefault(conid, []).append(part)
    ours = {each.intent.order_id for verdict in verdicts for each in verdict.watched.exits}
    others = [row for row in rows if row.order_id not in ours]
    return {each.contract.conid: _of_position(each, told.get(each.contract.conid, []), others) for each in positions}


def unknown_guards(positions: Sequence[Position]) -> Mapping[Conid, Guard]:
    """Where the orders could not be read."""
    return {
        each.contract.conid: Guard(state=GuardState.UNKNOWN if _is_sold_option(each) else GuardState.NOT_NEEDED)
        for each in positions
    }


@dataclass(frozen=True, slots=True)
class _Part:
    """What is said of so much of a position."""

    guard: Guard
    quantity: Decimal


def _of_position(position: Position, told: list[_Part], others: Sequence[Order]) -> Guard:
    """The worst of its parts. others: orders that are of no trade of ours."""
    parts = [part.guard for part in told] if position.quantity < 0 else []
    left = abs(position.quantity) - sum((part.quantity for part in told), Decimal(0))
    if not parts or left > 0:
        parts.append(_of_strangers(position, left if parts else abs(position.quantity), others))
    return min(parts, key=lambda guard: list(GuardState).index(guard.state))


def _of_strangers(position: Position, quantity: Decimal, others: Sequence[Order]) -> Guard:
    """Of what no record of ours knows."""
    stops = [row for row in others if row.conid == position.contract.conid and not row.conidex and _ends(row, position)]
    if stops and sum((max(row.total - row.filled, Decimal(0)) for row in stops), Decimal(0)) >= quantity:
        return Guard(state=GuardState.PROTECTED, stop_price=stops[0].stop_price, order_id=stops[0].order_id)
    return Guard(state=GuardState.UNPROTECTED if _is_sold_option(position) else GuardState.NOT_NEEDED)


def _of_verdict(verdict: Verdict, rows: Sequence[Order]) -> _Part | None:
    """None where nothing of it stands."""
    watched = verdict.watched
    match verdict:
        case SoldNothing() | Over() | Gone():
            return None
        case Selling() | Doubtful():
            return _Part(Guard(state=GuardState.UNKNOWN), watched.remaining) if watched.entry is not None else None
        case Missing():
            return _Part(Guard(state=GuardState.UNPROTECTED), verdict.stands)
        case Broken():
            return _Part(Guard(state=GuardState.UNPROTECTED), verdict.stands + verdict.naked)
        case Covered() | TooMuch():
            return _Part(_of_covered(watched, rows), verdict.stands)
    assert_never(verdict)


def _of_covered(watched: Watched, rows: Sequence[Order]) -> Guard:
    if watched.stops:
        order_id = watched.stops[0].intent.order_id
        price = watched.stops[0].intent.ticket.stop_price
        shown = next((row.stop_price for row in rows if row.order_id == order_id), None)
        # As the broker shows it: somebody may have changed it by hand.
        return Guard(state=GuardState.PROTECTED, stop_price=price if shown is None else shown, order_id=order_id)
    name = watched.contract.conidex
    for row in rows:
        if (row.conidex or str(row.conid)) == name and protective(row):
            return Guard(state=GuardState.PROTECTED, stop_price=row.stop_price, order_id=row.order_id)
    return Guard(state=GuardState.PROTECTED if watched.covered else GuardState.NOT_NEEDED)


def _conids(contract: Contract) -> tuple[Conid, ...]:
    return tuple(leg.contract.conid for leg in contract.legs) or (contract.conid,)


def _is_sold_option(position: Position) -> bool:
    return position.contract.sec_type is SecType.OPTION and position.quantity < 0


def _ends(row: Order, position: Position) -> bool:
    if position.quantity < 0:
        return protective(row)
    return row.side is Side.SELL and row.order_type in _STOPS and row.status in _RESTING
