"""An account's history folded up to a day: lots first in, first out, cash by currency, what each trade closed.

The books hold positions at average cost, as the API shows them; statements tell `fifoPnlRealized`, so they count lots.
A whole position has the same quantity in both; its cost differs once a part was closed. That a statement's cost basis
is that of its lots is assumed from its names. Source: docs/facts/accounts-and-portfolio.md §6.4.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from datetime import datetime
from decimal import Decimal

from ibkit.model import portion
from ibkit.sim.exchange.history import HistoryEntry, Split, Traded, TransferredIn
from ibkit.sim.market.instruments import Instrument

__all__ = ["ClosedLot", "Folded", "Lot", "TradeResult", "fold"]

_ZERO = Decimal(0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Lot:
    """quantity and cost are signed; the commission is inside the cost. entry: number of what opened it."""

    instrument: Instrument
    quantity: Decimal
    cost: Decimal
    opened_at: datetime
    entry: int
    order_id: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ClosedLot:
    """The part of a lot that a trade closed."""

    lot: Lot
    quantity: Decimal
    cost: Decimal
    realized: Decimal


@dataclass(frozen=True, slots=True, kw_only=True)
class TradeResult:
    """What a trade did. opened: how much of it opened a position, signed."""

    realized: Decimal
    opened: Decimal
    closed: tuple[ClosedLot, ...]


@dataclass(slots=True)
class Folded:
    """lots: by conid, oldest first. results: by the entry's number."""

    cash: dict[str, Decimal]
    lots: dict[int, list[Lot]] = field(default_factory=dict)
    results: dict[int, TradeResult] = field(default_factory=dict)

    def quantity(self, conid: int) -> Decimal:
        return sum((lot.quantity for lot in self.lots.get(conid, ())), _ZERO)

    @property
    def held(self) -> list[list[Lot]]:
        """The lots of each position, by conid."""
        return [lots for _, lots in sorted(self.lots.items()) if lots]

    def add(self, entry: HistoryEntry) -> None:
        for currency, amount in entry.cash.items():
            self.cash[currency] = self.cash.get(currency, _ZERO) + amount
        match entry:
            case Traded():
                self.results[entry.number] = self._trade(
                    entry.instrument, entry.signed, entry.price, entry.fee, entry.at, entry.number, entry.order_id
                )
            case TransferredIn():
                self._trade(entry.instrument, entry.quantity, entry.price, _ZERO, entry.at, entry.number, None)
            case Split():
                self._split(entry)
            case _:
                pass

    def _trade(
        self,
        instrument: Instrument,
        signed: Decimal,
        price: Decimal,
        fee: Decimal,
        at: datetime,
        number: int,
        order_id: int | None,
    ) -> TradeResult:
        lots = self.lots.setdefault(instrument.conid, [])
        value = price * instrument.multiplier
        left, fee_left = signed, fee
        closed: list[ClosedLot] = []
        while left and lots and lots[0].quantity * left < 0:
            lot = lots[0]
            size = min(abs(left), abs(lot.quantity))
            part = size if lot.quantity > 0 else -size
            share = fee_left if size == abs(left) else portion(fee_left, size, abs(left))
            basis = lot.cost if part == lot.quantity else portion(lot.cost, size, abs(lot.quantity))
            closed.append(ClosedLot(lot=lot, quantity=part, cost=basis, realized=part * value - share - basis))
            fee_left -= share
            left += part
            if part == lot.quantity:
                lots.pop(0)
            else:
                lots[0] = replace(lot, quantity=lot.quantity - part, cost=lot.cost - basis)
        if left:
            cost = left * value + fee_left
            lots.append(
                Lot(instrument=instrument, quantity=left, cost=cost, opened_at=at, entry=number, order_id=order_id)
            )
        realized = sum((each.realized for each in closed), _ZERO)
        return TradeResult(realized=realized, opened=left, closed=tuple(closed))

    def _split(self, entry: Split) -> None:
        lots = self.lots.get(entry.instrument.conid, [])
        whole = self.quantity(entry.instrument.conid) + entry.change
        for index, lot in enumerate(lots):
            # The last one takes what rounding leaves, so that the lots are the position.
            last = index == len(lots) - 1
            quantity = whole if last else portion(lot.quantity, Decimal(entry.new), Decimal(entry.old))
            whole -= quantity
            lots[index] = replace(lot, quantity=quantity)


def fold(entries: Iterable[HistoryEntry], currency: str, started_with: Decimal) -> Folded:
    """Everything up to the last of the entries."""
    folded = Folded(cash={currency: started_with})
    for entry in entries:
        folded.add(entry)
    return folded
