"""When the exchanges are open, and when options expire. The world's own days: no clock is read here.

Regular hours are those of the New York Stock Exchange, for stocks, the index and all options alike.
"""

from __future__ import annotations

import warnings
from bisect import bisect_left, bisect_right
from collections.abc import Mapping
from datetime import UTC, date, datetime, timedelta
from functools import cache
from zoneinfo import ZoneInfo

from ibkit.sim.market.expiries import Expiry, expiries_of, is_expiry

__all__ = ["FIRST_DAY", "LAST_DAY", "NEW_YORK", "Calendar", "new_york_date"]

NEW_YORK = ZoneInfo("America/New_York")
FIRST_DAY = date(2018, 1, 1)
LAST_DAY = date(2035, 12, 31)
"""The years a world can live in, its farthest expiries included. Fixed: no answer depends on the host's date."""


def new_york_date(at: datetime) -> date:
    return at.astimezone(NEW_YORK).date()


@cache
def _sessions() -> Mapping[date, tuple[datetime, datetime]]:
    """Opening and close of each trading day. The library takes over a second to load, so once a process."""
    with warnings.catch_warnings():
        # The library still uses what newer pandas deprecates; nothing a user of ours could mend.
        warnings.simplefilter("ignore")
        import exchange_calendars

        found = exchange_calendars.get_calendar("XNYS", start=FIRST_DAY.isoformat(), end=LAST_DAY.isoformat())
        schedule = found.schedule
    return {
        day.date(): (opening.to_pydatetime().astimezone(UTC), close.to_pydatetime().astimezone(UTC))
        for day, opening, close in zip(schedule.index, schedule["open"], schedule["close"], strict=True)
    }


class Calendar:
    """All instants are aware; answers are in UTC."""

    def __init__(self) -> None:
        self._sessions = _sessions()
        self._days = tuple(self._sessions)

    @property
    def days(self) -> tuple[date, ...]:
        """All trading days, ascending."""
        return self._days

    def session(self, day: date) -> tuple[datetime, datetime] | None:
        """Opening and close of a day's regular hours (13:00 New York on half days); None when there is no trading."""
        return self._sessions.get(day)

    def is_trading_day(self, day: date) -> bool:
        return day in self._sessions

    def is_open(self, at: datetime) -> bool:
        session = self.session(new_york_date(at))
        return session is not None and session[0] <= at < session[1]

    def next_open(self, at: datetime) -> datetime:
        """The first opening after `at`. Raises ValueError beyond the calendar's end."""
        day = new_york_date(at)
        session = self.session(day)
        if session is not None and at < session[0]:
            return session[0]
        return self._sessions[self.next_day(day)][0]

    def next_day(self, day: date) -> date:
        """The first trading day after `day`. Raises ValueError beyond the calendar's end."""
        index = bisect_right(self._days, day)
        if index >= len(self._days):
            raise ValueError(f"the simulator's calendar ends on {LAST_DAY}")
        return self._days[index]

    def previous_day(self, day: date) -> date:
        """The last trading day before `day`. Raises ValueError before the calendar's start."""
        index = bisect_left(self._days, day)
        if index == 0:
            raise ValueError(f"the simulator's calendar starts on {FIRST_DAY}")
        return self._days[index - 1]

    def current_day(self, at: datetime) -> date:
        """The trading day whose prices hold at `at`: today's once it has opened, else the one before."""
        day = new_york_date(at)
        session = self.session(day)
        return day if session is not None and at >= session[0] else self.previous_day(day)

    def index(self, day: date) -> int:
        """How many trading days lie before `day`; the day itself need not be one."""
        return bisect_left(self._days, day)

    def days_between(self, start: date, end: date) -> tuple[date, ...]:
        """Trading days from `start` to `end`, both included."""
        return self._days[bisect_left(self._days, start) : bisect_right(self._days, end)]

    def sessions_between(self, start: datetime, end: datetime) -> list[tuple[datetime, datetime]]:
        """Regular hours that overlap (start, end]."""
        days = self.days_between(new_york_date(start) - timedelta(days=1), new_york_date(end) + timedelta(days=1))
        sessions = (self._sessions[day] for day in days)
        return [(opening, close) for opening, close in sessions if close > start and opening <= end]

    def expiries(self, symbol: str, today: date) -> list[Expiry]:
        """What is listed on `symbol` on `today`, nearest first; today's own are among them. Unknown symbol: empty."""
        return expiries_of(self, symbol, today)

    def is_expiry(self, trading_class: str, day: date) -> bool:
        """Whether options of a class ever have `day` as their last trading day, listed yet or not."""
        return is_expiry(self, trading_class, day)
