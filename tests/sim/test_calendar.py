"""Trading days, hours and expiries of the simulated world."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta

import pytest

from ibkit.sim.market.calendar import NEW_YORK, Calendar
from ibkit.sim.market.expiries import third_friday

pytestmark = pytest.mark.requirement("TST-01")

FRIDAY = date(2026, 11, 20)


@pytest.fixture(scope="module")
def calendar() -> Calendar:
    return Calendar()


def new_york(day: date, hour: int, minute: int = 0) -> datetime:
    return datetime(day.year, day.month, day.day, hour, minute, tzinfo=NEW_YORK)


def test_a_usual_day_runs_from_half_past_nine_to_four(calendar):
    assert calendar.session(FRIDAY) == (new_york(FRIDAY, 9, 30), new_york(FRIDAY, 16))
    assert calendar.is_open(new_york(FRIDAY, 9, 30))
    assert not calendar.is_open(new_york(FRIDAY, 16))
    assert not calendar.is_open(new_york(FRIDAY, 9, 29))


def test_there_is_no_trading_on_weekends_and_holidays(calendar):
    assert calendar.session(date(2026, 11, 21)) is None
    assert calendar.session(date(2026, 11, 26)) is None
    assert not calendar.is_open(new_york(date(2026, 11, 26), 12))


def test_the_day_after_thanksgiving_ends_at_one(calendar):
    day = date(2026, 11, 27)
    assert calendar.session(day)[1] == new_york(day, 13)


def test_summer_time_moves_the_hours_in_utc(calendar):
    assert calendar.session(date(2026, 7, 6))[0] == datetime(2026, 7, 6, 13, 30, tzinfo=UTC)
    assert calendar.session(FRIDAY)[0] == datetime(2026, 11, 20, 14, 30, tzinfo=UTC)


def test_next_open_is_after_the_moment_asked(calendar):
    monday = new_york(date(2026, 11, 23), 9, 30)
    assert calendar.next_open(new_york(FRIDAY, 9)) == new_york(FRIDAY, 9, 30)
    assert calendar.next_open(new_york(FRIDAY, 9, 30)) == monday
    assert calendar.next_open(new_york(date(2026, 11, 22), 3)) == monday


def test_the_current_day_is_the_last_one_that_opened(calendar):
    assert calendar.current_day(new_york(FRIDAY, 9)) == date(2026, 11, 19)
    assert calendar.current_day(new_york(FRIDAY, 9, 30)) == FRIDAY
    assert calendar.current_day(new_york(date(2026, 11, 22), 12)) == FRIDAY


def test_the_calendar_says_where_it_ends(calendar):
    with pytest.raises(ValueError, match="ends on"):
        calendar.next_day(date(2036, 1, 1))
    with pytest.raises(ValueError, match="starts on"):
        calendar.previous_day(date(2017, 1, 1))


def days(calendar: Calendar, symbol: str, today: date, trading_class: str | None = None) -> list[date]:
    return [e.day for e in calendar.expiries(symbol, today) if trading_class in (None, e.trading_class)]


@pytest.mark.requirement("TRD-06")
@pytest.mark.parametrize("symbol", ["SPY", "QQQ"])
def test_the_large_etfs_expire_every_trading_day_of_two_weeks(calendar, symbol):
    ahead = calendar.days_between(FRIDAY, FRIDAY + timedelta(days=14))
    assert set(ahead) <= set(days(calendar, symbol, FRIDAY))


@pytest.mark.requirement("TRD-06")
def test_today_is_an_expiry_for_the_dailies(calendar):
    tuesday = date(2026, 11, 24)
    assert tuesday in days(calendar, "SPY", tuesday)
    assert tuesday in days(calendar, "SPX", tuesday, "SPXW")
    assert tuesday not in days(calendar, "AAPL", tuesday)


def test_stocks_expire_on_fridays_or_the_day_before_a_holiday(calendar):
    found = days(calendar, "AAPL", date(2026, 12, 14))
    assert date(2026, 12, 18) in found
    # Christmas is a Friday in 2026, and so is New Year.
    assert date(2026, 12, 24) in found
    assert date(2026, 12, 31) in found
    assert all(day.weekday() in (3, 4) for day in found)


def test_expiries_reach_to_leaps_two_years_off(calendar):
    found = days(calendar, "SPY", FRIDAY)
    assert third_friday(2028, 1) in found
    assert third_friday(2028, 12) in found
    assert date(2027, 3, 31) in found  # a quarter's end
    assert found == sorted(found)
    assert found[-1] - FRIDAY < timedelta(days=801)


def test_morning_settled_monthlies_trade_until_the_day_before(calendar):
    monday = date(2026, 11, 16)
    monthly = next(e for e in calendar.expiries("SPX", monday) if e.trading_class == "SPX")
    assert (monthly.day, monthly.settles_on) == (date(2026, 11, 19), FRIDAY)
    assert monthly.am_settled
    same_day = [e for e in calendar.expiries("SPX", monday) if e.day == monthly.day]
    assert [e.trading_class for e in same_day] == ["SPX", "SPXW"]


def test_every_listed_expiry_counts_as_one_for_ever(calendar):
    for symbol in ("SPY", "AAPL", "SPX"):
        for today in (date(2026, 1, 2), FRIDAY, date(2027, 6, 1)):
            for expiry in calendar.expiries(symbol, today):
                assert calendar.is_expiry(expiry.trading_class, expiry.day), expiry


def test_an_unknown_symbol_has_no_expiries(calendar):
    assert calendar.expiries("NOPE", FRIDAY) == []
