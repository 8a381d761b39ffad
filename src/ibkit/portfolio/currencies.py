"""What exchange rates did to cash in other currencies than the account's own: lots of a currency, first in, first out.

Cash that comes costs what it was worth in the base currency on its day, or what was paid for it; cash that goes
realizes the difference. Where a rate is not known the gain is not known either, never zero.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import UTC, date, datetime
from decimal import Decimal

from ibkit.model import portion
from ibkit.portfolio.transactions import Converted, Transaction, cash_of

__all__ = ["CurrencyBook", "CurrencyGain", "CurrencyLot"]

_ZERO = Decimal(0)


@dataclass(frozen=True, slots=True, kw_only=True)
class CurrencyLot:
    """quantity: signed. cost: in the base currency, None where no rate was known."""

    quantity: Decimal
    cost: Decimal | None
    at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class CurrencyGain:
    """gain: in the base currency."""

    currency: str
    quantity: Decimal
    gain: Decimal | None
    booked_on: date
    key: str


class CurrencyBook:
    def __init__(self, base: str) -> None:
        self._base = base
        self.lots: dict[str, list[CurrencyLot]] = {}
        self.gains: list[CurrencyGain] = []

    def begin(self, currency: str, quantity: Decimal, rate: Decimal | None, at: datetime | None) -> None:
        """What is there before the first transaction."""
        if currency != self._base and quantity:
            cost = None if rate is None else quantity * rate
            begun = CurrencyLot(quantity=quantity, cost=cost, at=at or datetime.min.replace(tzinfo=UTC))
            self.lots.setdefault(currency, []).append(begun)

    def add(self, this: Transaction) -> None:
        for currency, amount in cash_of(this).items():
            if currency != self._base and amount:
                self._move(this, currency, amount, self._worth(this, currency, amount))

    def _worth(self, this: Transaction, currency: str, amount: Decimal) -> Decimal | None:
        """In the base currency: what was paid or got for it, else by the rate of the day."""
        if isinstance(this, Converted):
            if self._base == this.other_currency and currency == this.currency:
                return -this.proceeds
            if self._base == this.currency and currency == this.other_currency:
                return -this.quantity
            if this.fx_rate is not None and currency == this.currency:
                return -this.proceeds * this.fx_rate
            return None if this.fx_rate is None else amount * this.fx_rate
        return None if this.fx_rate is None else amount * this.fx_rate

    def _move(self, this: Transaction, currency: str, amount: Decimal, worth: Decimal | None) -> None:
        lots = self.lots.setdefault(currency, [])
        left, worth_left = amount, worth
        while left and lots and lots[0].quantity * left < 0:
            lot = lots[0]
            size = min(abs(left), abs(lot.quantity))
            part = size if lot.quantity > 0 else -size
            got = None if worth_left is None else -portion(worth_left, size, abs(left))
            cost = None if lot.cost is None else portion(lot.cost, size, abs(lot.quantity))
            gain = None if got is None or cost is None else got - cost
            self.gains.append(
                CurrencyGain(currency=currency, quantity=part, gain=gain, booked_on=this.booked_on, key=this.key)
            )
            worth_left = None if worth_left is None or got is None else worth_left + got
            left += part
            if part == lot.quantity:
                lots.pop(0)
            else:
                rest = None if lot.cost is None or cost is None else lot.cost - cost
                lots[0] = replace(lot, quantity=lot.quantity - part, cost=rest)
        if left:
            lots.append(CurrencyLot(quantity=left, cost=worth_left, at=this.at))
