"""What an account was at the end of a day: its holdings, cash, rates and worth, and what came in and went out.

The day is the trading day in New York: of a sync on a Saturday or Sunday it is the Friday before, whose prices it
shows. What happens on a weekend IBKR books on the trading day after: a snapshot of the Friday itself is not replaced by
one of its weekend. Source: requirement FUT-05; docs/facts/accounts-and-portfolio.md (`reportDate`).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from decimal import Decimal
from typing import Final
from zoneinfo import ZoneInfo

from ibkit.portfolio.book import Holding
from ibkit.portfolio.picture import Picture
from ibkit.portfolio.rates import Rates, rates_of

__all__ = ["NEW_YORK", "AccountDay", "Flows", "Worth", "account_day", "replaces", "spans_with", "trading_day"]

NEW_YORK: Final = ZoneInfo("America/New_York")
_FRIDAY: Final = 4
_DAY: Final = timedelta(days=1)


def trading_day(at: datetime) -> date:
    """In New York; a weekend counts to its Friday.

    >>> from datetime import UTC
    >>> friday, sunday = datetime(2026, 11, 21, 3, tzinfo=UTC), datetime(2026, 11, 22, 20, tzinfo=UTC)
    >>> str(trading_day(friday)), str(trading_day(sunday))
    ('2026-11-20', '2026-11-20')
    """
    day = at.astimezone(NEW_YORK).date()
    return day - max(0, day.weekday() - _FRIDAY) * _DAY


def replaces(new: datetime, old: datetime) -> bool:
    """Whether a snapshot of `new` takes the place of one of `old`, both of one trading day: the last one wins.

    >>> from datetime import UTC
    >>> friday, sunday = datetime(2026, 11, 20, 20, tzinfo=UTC), datetime(2026, 11, 22, 20, tzinfo=UTC)
    >>> replaces(sunday, friday), replaces(friday.replace(hour=21), friday)
    (False, True)
    """
    of_weekend = new.astimezone(NEW_YORK).date() != trading_day(new)
    return new >= old and not (of_weekend and old.astimezone(NEW_YORK).date() == trading_day(old))


@dataclass(frozen=True, slots=True, kw_only=True)
class Worth:
    """net_liquidation: in `currency`, None where IBKR did not say. account_id: which account of IBKR's it was."""

    day: date
    account_id: str
    currency: str
    net_liquidation: Decimal | None
    rates: Mapping[str, Decimal] = field(default_factory=dict)

    @property
    def table(self) -> Rates:
        return Rates(day=self.day, base=self.currency, of=self.rates)


@dataclass(frozen=True, slots=True, kw_only=True)
class AccountDay:
    """cash: by currency, those of nothing left out. holdings: what the books held, cash among them."""

    worth: Worth
    taken_at: datetime
    cash: Mapping[str, Decimal] = field(default_factory=dict)
    holdings: tuple[Holding, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Flows:
    """Money and securities that came from outside (positive) or went there, in the account's base currency.

    known:   days, both ends included, of which all flows are in `amounts`; in order and apart from one another.
    amounts: by day. Of a day that is not known nothing is assumed.
    """

    known: tuple[tuple[date, date], ...] = ()
    amounts: Mapping[date, Decimal] = field(default_factory=dict)

    def within(self, after: date, until: date) -> Decimal | None:
        """The sum from the day after `after` to `until`; None where a day of them is not known."""
        if not any(since - _DAY <= after and until <= end for since, end in self.known):
            return None
        return sum((amount for day, amount in self.amounts.items() if after < day <= until), Decimal(0))


def account_day(picture: Picture, holdings: Sequence[Holding]) -> AccountDay:
    """Of a sync. UnexpectedAnswer (E-SYNC-FAILED) for a rate of exchange that is none."""
    return AccountDay(
        worth=Worth(
            day=trading_day(picture.taken_at),
            account_id=str(picture.account_id),
            currency=picture.currency,
            net_liquidation=picture.net_liquidation,
            rates=rates_of(picture.cash),
        ),
        taken_at=picture.taken_at,
        cash={each.currency: each.cash for each in picture.cash if each.cash != 0},
        holdings=tuple(holdings),
    )


def spans_with(spans: Iterable[tuple[date, date]], new: tuple[date, date]) -> tuple[tuple[date, date], ...]:
    """In order, those that touch or overlap made one.

    >>> one, two, three = (date(2026, 11, day) for day in (1, 2, 3))
    >>> spans_with([(one, one)], (two, three)) == ((one, three),)
    True
    """
    joined: list[tuple[date, date]] = []
    for since, until in sorted([*spans, new]):
        if joined and since <= joined[-1][1] + _DAY:
            joined[-1] = joined[-1][0], max(joined[-1][1], until)
        else:
            joined.append((since, until))
    return tuple(joined)
