"""What happened in an account, kept for ever: each change of a position or of cash, oldest first, never changed.

The books are the sum of it; statements of the Flex Web Service are made from it.
Source: docs/facts/accounts-and-portfolio.md §6.4 (what a statement tells of each).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Literal, TypeAlias

from ibkit.sim.exchange.tickets import Side
from ibkit.sim.market.instruments import Instrument

__all__ = [
    "CashKind",
    "CashMoved",
    "Converted",
    "Ending",
    "HistoryEntry",
    "Split",
    "Traded",
    "TransferredIn",
    "entry_row",
]

Ending = Literal["Exercise", "Assignment", "Expiration", "Cash Settlement"]
"""How an option left the books, in the words of OptionEAE."""
CashKind = Literal[
    "Deposits/Withdrawals",
    "Dividends",
    "Payment In Lieu Of Dividends",
    "Withholding Tax",
    "Broker Interest Paid",
    "Broker Interest Received",
    "Other Fees",
]
"""The words of CashTransactions. Source: §6.4 (the first as recorded)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Entry:
    """number: counts through all accounts, from 1."""

    number: int
    account: str
    at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Traded(_Entry):
    """A fill, or what became of an option. quantity: positive; fee: what it cost, positive.

    ending:  set on the option's side of an exercise, assignment or expiry.
    related: number of the option's entry, on the stock's side of it.
    """

    instrument: Instrument
    side: Side
    quantity: Decimal
    price: Decimal
    fee: Decimal = Decimal(0)
    ending: Ending | None = None
    related: int | None = None
    execution_id: str | None = None
    order_id: int | None = None
    ref: str | None = None
    order_type: str | None = None
    ordered_at: datetime | None = None
    exchange: str | None = None

    @property
    def signed(self) -> Decimal:
        return self.quantity if self.side == "BUY" else -self.quantity

    @property
    def proceeds(self) -> Decimal:
        """Cash without the fee: negative for a purchase."""
        return -self.signed * self.price * self.instrument.multiplier

    @property
    def cash(self) -> Mapping[str, Decimal]:
        return {self.instrument.currency: self.proceeds - self.fee}


@dataclass(frozen=True, slots=True, kw_only=True)
class CashMoved(_Entry):
    """Cash that came (positive) or went without a trade. instrument: what it was paid for."""

    kind: CashKind
    currency: str
    amount: Decimal
    description: str
    instrument: Instrument | None = None
    action_id: int | None = None

    @property
    def cash(self) -> Mapping[str, Decimal]:
        return {self.currency: self.amount}


@dataclass(frozen=True, slots=True, kw_only=True)
class Converted(_Entry):
    """Currency bought (positive) or sold for the account's own. rate: of the base for one unit; fee: in the base."""

    currency: str
    base: str
    quantity: Decimal
    rate: Decimal
    fee: Decimal

    @property
    def cash(self) -> Mapping[str, Decimal]:
        return {self.currency: self.quantity, self.base: -self.quantity * self.rate - self.fee}


@dataclass(frozen=True, slots=True, kw_only=True)
class Split(_Entry):
    """`new` shares for `old`. change: what the account got or gave, signed."""

    instrument: Instrument
    new: int
    old: int
    change: Decimal
    action_id: int

    @property
    def cash(self) -> Mapping[str, Decimal]:
        return {}


@dataclass(frozen=True, slots=True, kw_only=True)
class TransferredIn(_Entry):
    """A holding that came in (or, negative, went out) at a price, without cash."""

    instrument: Instrument
    quantity: Decimal
    price: Decimal

    @property
    def cash(self) -> Mapping[str, Decimal]:
        return {}


HistoryEntry: TypeAlias = Traded | CashMoved | Converted | Split | TransferredIn


def entry_row(entry: HistoryEntry) -> dict[str, object]:
    """An entry for GET /__sim/history."""
    row: dict[str, object] = {
        "number": entry.number,
        "account": entry.account,
        "at": entry.at,
        "entry": type(entry).__name__,
        "cash": dict(entry.cash),
    }
    match entry:
        case Traded():
            row |= {
                "conid": entry.instrument.conid,
                "side": entry.side,
                "quantity": entry.quantity,
                "price": entry.price,
                "fee": entry.fee,
                "ending": entry.ending,
                "related": entry.related,
                "execution_id": entry.execution_id,
            }
        case CashMoved():
            row |= {
                "kind": entry.kind,
                "currency": entry.currency,
                "amount": entry.amount,
                "conid": entry.instrument.conid if entry.instrument else None,
                "action_id": entry.action_id,
            }
        case Converted():
            row |= {"currency": entry.currency, "quantity": entry.quantity, "rate": entry.rate, "fee": entry.fee}
        case Split():
            row |= {
                "conid": entry.instrument.conid,
                "new": entry.new,
                "old": entry.old,
                "change": entry.change,
                "action_id": entry.action_id,
            }
        case TransferredIn():
            row |= {"conid": entry.instrument.conid, "quantity": entry.quantity, "price": entry.price}
    return row
