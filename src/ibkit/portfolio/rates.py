"""Rates of exchange of one day, as IBKR told them with the cash of an account, and money brought to another currency.

A rate that nobody told is None: it is never taken for 1, and what needs it is not known either. Source:
docs/facts/accounts-and-portfolio.md §2.4 (`exchangerate`, units of the base currency per unit); requirement FUT-05.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import date
from decimal import Decimal
from typing import Final

from ibkit.errors import Effect, UnexpectedAnswer
from ibkit.model import CashBalance
from ibkit.model.prices import portion

__all__ = ["LARGEST_RATE", "SMALLEST_RATE", "RateTables", "Rates", "rates_of"]

SMALLEST_RATE: Final = Decimal("0.000001")
LARGEST_RATE: Final = Decimal(1_000_000)
"""Beyond them a rate is absurd: no two currencies that IBKR keeps are so far apart."""
_ONE: Final = Decimal(1)


def rates_of(cash: Iterable[CashBalance]) -> Mapping[str, Decimal]:
    """Units of the account's base currency per unit, by currency; one that was not told is left out.

    A rate of 0 says nothing and is left out, too. UnexpectedAnswer (E-SYNC-FAILED) for a negative or absurd one: who
    tells such a rate may be wrong about all else.
    """
    found = {}
    for balance in cash:
        rate = balance.exchange_rate
        if rate is None or rate == 0:
            continue
        if not rate.is_finite() or not SMALLEST_RATE <= rate <= LARGEST_RATE:
            raise UnexpectedAnswer(
                f"Sync failed: the rate of exchange of {balance.currency} is told as {rate}",
                code="E-SYNC-FAILED",
                remedy="Holdings were left unchanged. Sync it again later.",
                effect=Effect.NONE,
                details={"currency": balance.currency, "rate": str(rate)},
            )
        found[balance.currency] = rate
    return found


@dataclass(frozen=True, slots=True, kw_only=True)
class Rates:
    """Those of one account on one day. of: units of `base` per unit, by currency."""

    day: date
    base: str
    of: Mapping[str, Decimal] = field(default_factory=dict)

    def in_base(self, currency: str) -> Decimal | None:
        """Units of `base` for one of `currency`.

        >>> rates = Rates(day=date(2026, 11, 20), base="USD")
        >>> rates.in_base("USD"), rates.in_base("EUR")
        (Decimal('1'), None)
        """
        return _ONE if currency == self.base else self.of.get(currency)


@dataclass(frozen=True, slots=True, kw_only=True)
class RateTables:
    """Several accounts' rates: one's own are asked first, then the others' in their order."""

    tables: tuple[Rates, ...] = ()

    def after(self, own: Rates | None) -> RateTables:
        return self if own is None else RateTables(tables=(own, *(each for each in self.tables if each is not own)))

    def table_for(self, currency: str, into: str) -> Rates | None:
        """The first that knows both."""
        for table in self.tables:
            if table.in_base(currency) is not None and table.in_base(into) is not None:
                return table
        return None

    def rate(self, currency: str, into: str) -> Decimal | None:
        """Units of `into` for one of `currency`, to eight places; None where nobody told it."""
        return self.convert(_ONE, currency, into)

    def convert(self, amount: Decimal, currency: str, into: str) -> Decimal | None:
        """`amount` of `currency` in `into`, to eight places; None where no table knows both."""
        if currency == into and currency:
            return amount
        table = self.table_for(currency, into)
        if table is None:
            return None
        part, whole = table.in_base(currency), table.in_base(into)
        assert part is not None, "the table knows both"
        assert whole is not None, "the table knows both"
        return portion(amount, part, whole)
