"""Money of a day in another currency, by the rate of that day.

What a row tells of its own rate goes first; else the rates that were kept of that day, or of the newest day before it,
as far as a week back. A day without any has none: the newest rate is never taken for it.
Source: requirement FUT-05; docs/facts/accounts-and-portfolio.md §6.4 (`fxRateToBase`, ConversionRates), §2.4.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import date, timedelta
from decimal import Decimal
from typing import Final

from ibkit.portfolio.ledger import Ledger
from ibkit.portfolio.lots import Closed
from ibkit.portfolio.rates import Rates, RateTables
from ibkit.portfolio.statements import StatementTold

__all__ = ["LONGEST_CARRY", "DatedAmount", "DatedRates", "rates_told", "realized_amounts"]

LONGEST_CARRY: Final = 7
"""Days for which what was told of one day stands for a later one of which nothing was."""
_CARRY: Final = timedelta(days=LONGEST_CARRY)


@dataclass(frozen=True, slots=True, kw_only=True)
class DatedAmount:
    """base, fx_rate: what its own row tells, units of `base` for one of `currency`; None where it tells none."""

    day: date
    currency: str
    amount: Decimal
    base: str = ""
    fx_rate: Decimal | None = None


@dataclass(frozen=True, slots=True)
class DatedRates:
    """tables: by day, in order. Several of one day are of several accounts."""

    tables: tuple[Rates, ...] = ()

    @classmethod
    def of(cls, tables: Iterable[Rates]) -> DatedRates:
        return cls(tuple(sorted(tables, key=_day)))

    def convert(self, this: DatedAmount, into: str) -> Decimal | None:
        """To eight places; None where nobody told a rate of that day."""
        if this.currency == into and into:
            return this.amount
        tables = self._of(this.day)
        if this.fx_rate and this.base:
            in_base = this.amount * this.fx_rate
            found = in_base if this.base == into else tables.convert(in_base, this.base, into)
            if found is not None:
                return found
        return tables.convert(this.amount, this.currency, into)

    def _of(self, day: date) -> RateTables:
        """The newest first."""
        first = bisect_left(self.tables, day - _CARRY, key=_day)
        last = bisect_right(self.tables, day, key=_day)
        return RateTables(tables=self.tables[first:last][::-1])


def _day(rates: Rates) -> date:
    return rates.day


def rates_told(statements: Iterable[StatementTold]) -> list[Rates]:
    """Of the first and the last day of each."""
    found = []
    for each in statements:
        if each.base:
            found += [
                Rates(day=day, base=each.base, of=told)
                for day, told in ((each.first, each.rates), (each.last, each.closing_rates))
                if told
            ]
    return found


def realized_amounts(
    ledger: Ledger, first: date | None = None, last: date | None = None
) -> list[tuple[Closed, DatedAmount]]:
    """What was realized on these days, both inclusive, with the rate that each closing row told."""
    rates = {each.key: each.fx_rate for each in ledger.transactions}
    return [
        (
            each,
            DatedAmount(
                day=each.booked_on,
                currency=each.currency,
                amount=each.realized,
                base=ledger.rules.base,
                fx_rate=rates.get(each.closed_by),
            ),
        )
        for each in ledger.closed
        if (first is None or first <= each.booked_on) and (last is None or each.booked_on <= last)
    ]
