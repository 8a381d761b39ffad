"""A statement of an account as we keep it: what it says of a period, and what the account was at its end."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from decimal import Decimal

from ibkit.portfolio.ledger import Opening
from ibkit.portfolio.transactions import Listed, Origin, Paid, PaymentKind, Transaction, Transferred, cash_of

__all__ = ["CashTold", "PositionTold", "StatementTold", "covered", "flow_span", "flows_of", "gaps", "opening_of"]


@dataclass(frozen=True, slots=True, kw_only=True)
class CashTold:
    """starting: before the first day, None where it is not told. ending: after the last one."""

    currency: str
    starting: Decimal | None
    ending: Decimal


@dataclass(frozen=True, slots=True, kw_only=True)
class PositionTold:
    """At the end of the period. price: of one unit; cost, value: of all of it. kind: of a stock (COMMON, ETF)."""

    listed: Listed
    quantity: Decimal
    cost: Decimal | None = None
    price: Decimal | None = None
    value: Decimal | None = None
    name: str = ""
    kind: str = ""
    exchange: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class StatementTold:
    """One account, one period, both days inclusive.

    base:     its own currency, "" where the statement does not say.
    sections: those that are there, with rows or without. missing: what the query leaves out, in words.
    unbooked: rows that no ledger can be made of yet, in words.
    rates:    in the base currency on the first day that has one, by currency; closing_rates: on the last one.
    worth:    of all of it at the end, in the base currency; None where it is not told.
    """

    account_id: str
    origin: Origin
    digest: str
    number: int
    first: date
    last: date
    made_at: datetime | None = None
    base: str = ""
    transactions: tuple[Transaction, ...] = ()
    cash: tuple[CashTold, ...] = ()
    positions: tuple[PositionTold, ...] = ()
    sections: frozenset[str] = frozenset()
    missing: tuple[str, ...] = ()
    unbooked: tuple[str, ...] = ()
    rates: Mapping[str, Decimal] = field(default_factory=dict)
    closing_rates: Mapping[str, Decimal] = field(default_factory=dict)
    worth: Decimal | None = None

    @property
    def tells_holdings(self) -> bool:
        return self.origin is Origin.ACTIVITY and {"OpenPositions", "CashReport"} <= self.sections


def opening_of(statements: Sequence[StatementTold], transactions: Iterable[Transaction] = ()) -> Opening:
    """Cash before the first of them; nothing where none tells it.

    transactions: what those of days before the statement moved is not in the opening, so that they count once.
    """
    told = [each for each in statements if each.cash]
    if not told:
        return Opening()
    first = min(told, key=lambda each: (each.first, each.last))
    cash = {row.currency: row.starting for row in first.cash if row.starting is not None}
    for each in transactions:
        if each.account_id == first.account_id and each.booked_on < first.first:
            for currency, amount in cash_of(each).items():
                cash[currency] = cash.get(currency, Decimal(0)) - amount
    return Opening(cash=cash, rates=first.rates)


def flows_of(told: StatementTold) -> Mapping[date, Decimal] | None:
    """What came from outside (positive) or went there, by day, in the base currency; None where that is not told.

    So it is without the sections of payments and transfers, without a rate, and where holdings were transferred: what
    they were worth on that day no row says.
    """
    if told.origin is not Origin.ACTIVITY or not told.base or not {"CashTransactions", "Transfers"} <= told.sections:
        return None
    sums: dict[date, Decimal] = {}
    for each in told.transactions:
        if isinstance(each, Paid) and each.kind in (PaymentKind.DEPOSIT, PaymentKind.WITHDRAWAL):
            amount, currency = each.amount, each.currency
        elif isinstance(each, Transferred):
            if each.quantity:
                return None
            amount, currency = each.cash, each.currency
        else:
            continue
        rate = Decimal(1) if currency == told.base else each.fx_rate
        if rate is None:
            return None
        sums[each.booked_on] = sums.get(each.booked_on, Decimal(0)) + amount * rate
    return sums


def covered(statements: Sequence[StatementTold]) -> list[tuple[date, date]]:
    """Periods of which activity is told, joined where they touch; a weekend between two is no gap."""
    periods: list[tuple[date, date]] = []
    for each in sorted((s for s in statements if s.origin is Origin.ACTIVITY), key=lambda s: (s.first, s.last)):
        if periods and each.first <= _next_weekday(periods[-1][1]):
            periods[-1] = periods[-1][0], max(periods[-1][1], each.last)
        else:
            periods.append((each.first, each.last))
    return periods


def gaps(statements: Sequence[StatementTold]) -> list[tuple[date, date]]:
    """Days between the periods that no statement tells of."""
    periods = covered(statements)
    day = timedelta(days=1)
    return [(before[1] + day, after[0] - day) for before, after in itertools.pairwise(periods)]


def flow_span(told: StatementTold) -> tuple[date, date]:
    """The days of which its flows are all there are: with the weekend behind them, of which nothing is booked.

    What happens on a day without trading is booked on the next one. Source: docs/facts/accounts-and-portfolio.md §6.6.
    """
    return told.first, _next_weekday(told.last) - timedelta(days=1)


def _next_weekday(day: date) -> date:
    following = day + timedelta(days=1)
    while following.weekday() > 4:
        following += timedelta(days=1)
    return following
