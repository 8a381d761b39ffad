"""Lots of one listing: opened, closed by a rule, scaled by a split. Nothing is lost: what closing leaves is exact.

Quantities and costs are signed, and the commission is inside of the cost: a short lot has a negative quantity, and what
it brought as negative cost.
"""

from __future__ import annotations

import enum
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import date, datetime
from decimal import Decimal

from ibkit.model import portion

__all__ = ["Closed", "Closing", "Lot", "LotOrder", "Picks", "closed_by", "scaled"]

_ZERO = Decimal(0)

Picks = Mapping[str, Sequence[tuple[str, Decimal]]]
"""By the closing trade's id: ids of the trades that opened the lots to close, and how much (positive) of each."""


class LotOrder(enum.Enum):
    """Which lots a trade closes. SPECIFIC: those that are picked, then first in, first out."""

    FIFO = "fifo"
    LIFO = "lifo"
    SPECIFIC = "specific"


@dataclass(frozen=True, slots=True, kw_only=True)
class Lot:
    """key: of the transaction that opened it."""

    quantity: Decimal
    cost: Decimal
    opened_at: datetime
    opened_on: date
    key: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Closed:
    """The part of a lot that one transaction closed. proceeds: what closing brought, after its commission."""

    conid: int
    symbol: str
    currency: str
    quantity: Decimal
    cost: Decimal
    proceeds: Decimal
    opened_on: date
    opened_by: str
    closed_at: datetime
    booked_on: date
    closed_by: str

    @property
    def realized(self) -> Decimal:
        return self.proceeds - self.cost


@dataclass(slots=True)
class Closing:
    """What a trade closed of the lots, and what is left of it to open, with what that costs."""

    left: Decimal
    cost_left: Decimal
    parts: list[tuple[Lot, Decimal, Decimal, Decimal]] = field(default_factory=list)
    """The lot as it was, and of its closed part: quantity, cost, proceeds."""


def closed_by(
    lots: list[Lot],
    *,
    quantity: Decimal,
    paid: Decimal,
    order: LotOrder,
    picks: Sequence[tuple[str, Decimal]] = (),
) -> Closing:
    """Close what `quantity` closes, changing `lots`.

    paid: for all of it with commission and the like, negative where it brought more than that; shared by size. Never
    from a price: what is paid for one unit at a price differs by the listing (a bond's is in per cent of its face).
    """
    closing = Closing(left=quantity, cost_left=paid)
    for key, size in picks if order is LotOrder.SPECIFIC else ():
        picked = next((lot for lot in lots if lot.key == key), None)
        if picked is not None and picked.quantity * closing.left < 0:
            _close(lots, picked, closing, at_most=size)
    while closing.left and lots:
        lot = lots[-1] if order is LotOrder.LIFO else lots[0]
        if lot.quantity * closing.left >= 0:
            break
        _close(lots, lot, closing)
    return closing


def _close(lots: list[Lot], lot: Lot, closing: Closing, *, at_most: Decimal | None = None) -> None:
    size = min(abs(closing.left), abs(lot.quantity))
    if at_most is not None:
        size = min(size, at_most)
    if size <= 0:
        return
    part = size if lot.quantity > 0 else -size
    share = portion(closing.cost_left, size, abs(closing.left))
    cost = lot.cost if part == lot.quantity else portion(lot.cost, size, abs(lot.quantity))
    closing.parts.append((lot, part, cost, -share))
    closing.cost_left -= share
    closing.left += part
    place = lots.index(lot)
    if part == lot.quantity:
        lots.pop(place)
    else:
        lots[place] = replace(lot, quantity=lot.quantity - part, cost=lot.cost - cost)


def scaled(lots: Sequence[Lot], whole: Decimal) -> list[Lot]:
    """The same lots at the same cost, of `whole` units together; the last one takes what rounding leaves."""
    before = sum((lot.quantity for lot in lots), _ZERO)
    left = whole
    after: list[Lot] = []
    for index, lot in enumerate(lots):
        quantity = left if index == len(lots) - 1 else portion(lot.quantity, whole, before)
        left -= quantity
        after.append(replace(lot, quantity=quantity))
    return after
