"""Which expiries are listed on a day: dailies, weeklies, month ends, monthlies, quarterlies, LEAPS.

Source: docs/facts/contracts-and-market-data.md §1.3-1.4, §9.2 (listing rules). How many of each kind are listed ahead
is our reading of §9.2 [sim].
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, timedelta
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ibkit.sim.market.calendar import Calendar

__all__ = ["CLASSES", "Expiry", "expiries_of", "is_expiry", "is_monthly", "third_friday"]

DAILY = frozenset({"SPY", "QQQ", "SPXW"})
"""Trading classes that expire on every trading day."""
CLASSES = {
    "SPY": ("SPY",),
    "QQQ": ("QQQ",),
    "AAPL": ("AAPL",),
    "MSFT": ("MSFT",),
    "TSLA": ("TSLA",),
    "SPX": ("SPX", "SPXW"),
}
"""Trading classes of each underlying."""
_DAILY_AHEAD = timedelta(days=14)
_WEEKLY_AHEAD = timedelta(weeks=8)
_MONTH_ENDS_AHEAD = timedelta(days=190)
_MONTHLIES_AHEAD = timedelta(days=200)
_QUARTERLIES_AHEAD = timedelta(days=400)
_LEAPS_AHEAD = timedelta(days=800)


@dataclass(frozen=True, slots=True, order=True)
class Expiry:
    """day: last trading day. settles_on: the day after for AM settlement, else the same."""

    day: date
    trading_class: str
    settles_on: date

    @property
    def am_settled(self) -> bool:
        return self.settles_on != self.day


def third_friday(year: int, month: int) -> date:
    first = date(year, month, 1)
    return first + timedelta(days=(4 - first.weekday()) % 7 + 14)


def _on_or_before(calendar: Calendar, day: date) -> date:
    return day if calendar.is_trading_day(day) else calendar.previous_day(day)


def _monthly(calendar: Calendar, year: int, month: int) -> date:
    """Third Friday, or the trading day before when that is a holiday."""
    return _on_or_before(calendar, third_friday(year, month))


def _month_end(calendar: Calendar, year: int, month: int) -> date:
    following = date(year + month // 12, month % 12 + 1, 1)
    return calendar.previous_day(following)


def _weekly(calendar: Calendar, day: date) -> date:
    """The last trading day of a day's week, Friday as a rule."""
    return _on_or_before(calendar, day + timedelta(days=4 - day.weekday()))


def is_monthly(calendar: Calendar, day: date) -> bool:
    """Whether `day` is the regular monthly expiry, or the last trading day of an AM-settled one."""
    monthly = _monthly(calendar, day.year, day.month)
    return day in (monthly, calendar.previous_day(monthly))


def is_expiry(calendar: Calendar, trading_class: str, day: date) -> bool:
    """Whether options of a class ever have `day` as their last trading day."""
    if not calendar.is_trading_day(day):
        return False
    if trading_class in DAILY:
        return True
    if trading_class == "SPX":
        return day == calendar.previous_day(_monthly(calendar, day.year, day.month))
    return day in (_weekly(calendar, day), _monthly(calendar, day.year, day.month))


def expiries_of(calendar: Calendar, symbol: str, today: date) -> list[Expiry]:
    """All that is listed on an underlying on `today`, ascending."""
    found: set[Expiry] = set()
    for trading_class in CLASSES.get(symbol, ()):
        if trading_class == "SPX":
            found |= _am_settled(calendar, trading_class, today)
        else:
            found |= {Expiry(day, trading_class, day) for day in _pm_settled(calendar, trading_class, today)}
    return sorted(found)


def _pm_settled(calendar: Calendar, trading_class: str, today: date) -> set[date]:
    days: set[date] = set()
    if trading_class in DAILY:
        days.update(calendar.days_between(today, today + _DAILY_AHEAD))
        days.update(day for day in _month_ends(calendar, today) if day - today <= _MONTH_ENDS_AHEAD)
    for week in range(_WEEKLY_AHEAD // timedelta(weeks=1)):
        days.add(_weekly(calendar, today + timedelta(weeks=week)))
    days.update(_monthlies(calendar, today))
    return {day for day in days if day >= today}


def _am_settled(calendar: Calendar, trading_class: str, today: date) -> set[Expiry]:
    settling = ((calendar.previous_day(day), day) for day in _monthlies(calendar, today))
    return {Expiry(day, trading_class, settles_on) for day, settles_on in settling if day >= today}


def _months(today: date) -> list[tuple[int, int]]:
    first = today.year * 12 + today.month - 1
    return [(month // 12, month % 12 + 1) for month in range(first, first + _LEAPS_AHEAD.days // 30 + 1)]


def _month_ends(calendar: Calendar, today: date) -> list[date]:
    return [_month_end(calendar, year, month) for year, month in _months(today)[:8]]


def _monthlies(calendar: Calendar, today: date) -> list[date]:
    """The next ones, then the quarterlies, then January, June and December."""
    found = []
    for year, month in _months(today):
        day = _monthly(calendar, year, month)
        ahead = day - today
        near = ahead <= _MONTHLIES_AHEAD
        quarterly = month % 3 == 0 and ahead <= _QUARTERLIES_AHEAD
        leaps = month in (1, 6, 12) and ahead <= _LEAPS_AHEAD
        if near or quarterly or leaps:
            found.append(day)
    return found
