"""An account over a period: where it began, what happened, where it ended, and what it was worth day by day."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from decimal import Decimal
from typing import TYPE_CHECKING

from ibkit.sim.exchange.books import AccountBook, trade_day
from ibkit.sim.exchange.history import HistoryEntry
from ibkit.sim.flex.lots import Folded, Lot, fold
from ibkit.sim.market.instruments import Instrument

if TYPE_CHECKING:
    from ibkit.sim.world import World

__all__ = ["Period", "Worth", "last_closed_day", "report_day"]

_ZERO = Decimal(0)


def last_closed_day(world: World) -> date:
    """The last trading day that is over."""
    day = trade_day(world.now)
    session = world.calendar.session(day)
    return day if session is not None and session[1] <= world.now else world.calendar.previous_day(day)


def report_day(world: World, at: datetime) -> date:
    """The trading day whose statement tells of a moment: of a weekend it is the next one's. Source: §6.4 (the recorded
    deposit of Sunday, 2026-02-01, has the report date 2026-02-02)."""
    day = trade_day(at)
    return day if world.calendar.is_trading_day(day) else world.calendar.next_day(day)


@dataclass(frozen=True, slots=True, kw_only=True)
class Worth:
    """What an account was worth at the end of a day, in its base currency."""

    day: date
    cash: Decimal
    stock: Decimal
    options: Decimal

    @property
    def total(self) -> Decimal:
        return self.cash + self.stock + self.options


class Period:
    """One account from `first` to `last`, both whole days, up to `until` where the last one is not over."""

    def __init__(self, world: World, account: str, first: date, last: date, until: datetime | None = None) -> None:
        self._world = world
        self.account: AccountBook = world.books[account]
        self.first, self.last = first, last
        known = [e for e in self.account.history if until is None or e.at <= until]
        self._until = until
        self._history = known
        self.before = self._fold(e for e in known if report_day(world, e.at) < first)
        self.entries = [e for e in known if first <= report_day(world, e.at) <= last]
        self.after = self._fold(e for e in known if report_day(world, e.at) <= last)

    def _fold(self, entries: Iterable[HistoryEntry]) -> Folded:
        return fold(entries, self.account.currency, self.account.started_with)

    def told_on(self, entry: HistoryEntry) -> date:
        """The report date of an entry."""
        return report_day(self._world, entry.at)

    @property
    def days(self) -> tuple[date, ...]:
        """Trading days within."""
        return self._world.calendar.days_between(self.first, self.last)

    @property
    def currencies(self) -> list[str]:
        """The account's own first, then each other one that it has or had."""
        others = {*self.before.cash, *self.after.cash} - {self.account.currency}
        return [self.account.currency, *sorted(others)]

    def moment(self, day: date) -> datetime:
        """The end of a day's trading, or of the last trading day before it."""
        session = self._world.calendar.session(day)
        if session is None:
            session = self._world.calendar.session(self._world.calendar.previous_day(day))
        assert session is not None, "a day before is a trading day"
        return session[1] if self._until is None else min(session[1], self._until)

    def rate(self, currency: str, day: date) -> Decimal:
        return self._world.books.rate(currency, self.moment(day), self.account.currency)

    def mark(self, instrument: Instrument, day: date) -> Decimal:
        return self._world.market.quote(instrument.conid, self.moment(day)).mark or _ZERO

    def value(self, lot: Lot, day: date) -> Decimal:
        return lot.quantity * self.mark(lot.instrument, day) * lot.instrument.multiplier

    def worth(self, day: date, folded: Folded | None = None) -> Worth:
        """At the end of a day."""
        if folded is None:
            folded = self._fold(e for e in self._history if self.told_on(e) <= day)
        lots = [lot for held in folded.held for lot in held]
        values = [(lot.instrument.is_option, self.value(lot, day)) for lot in lots]
        return Worth(
            day=day,
            cash=sum((cash * self.rate(currency, day) for currency, cash in folded.cash.items()), _ZERO),
            stock=sum((value for option, value in values if not option), _ZERO),
            options=sum((value for option, value in values if option), _ZERO),
        )

    @property
    def worth_before(self) -> Worth:
        return self.worth(self.first - timedelta(days=1), self.before)
