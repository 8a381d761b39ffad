"""When IBKR is away: some minutes each night by region, and Saturday evening for everybody.

Source: docs/facts/auth-and-sessions.md §6.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, date, datetime, time, timedelta
from functools import lru_cache
from typing import TYPE_CHECKING
from zoneinfo import ZoneInfo

from ibkit.sim.logins.logins import User
from ibkit.sim.logins.sessions import REGION_ZONES
from ibkit.sim.quirks import Quirks

if TYPE_CHECKING:
    from ibkit.sim.world import World

__all__ = ["in_maintenance", "resets_between"]

_NEW_YORK = ZoneInfo("America/New_York")
_SATURDAY = 5
_WEEKLY_HOURS = (21, 23)


def in_maintenance(quirks: Quirks, region: str, now: datetime) -> bool:
    """Whether a caller of `region` finds IBKR away at `now`."""
    if not quirks.maintenance:
        return False
    first, last = _WEEKLY_HOURS
    if quirks.saturday_maintenance and now < _weekly(now) + timedelta(hours=last - first):
        return True
    begins = _nightly(quirks, region, now)
    return begins <= now < begins + timedelta(minutes=quirks.nightly_minutes)


def _nightly(quirks: Quirks, region: str, now: datetime) -> datetime:
    """Start of the newest nightly window at or before `now`."""
    return next(at for at in _nights(quirks.nightly_reset, region, now.astimezone(UTC).date()) if at <= now)


@lru_cache(maxsize=1024)
def _nights(reset: time, region: str, day: date) -> tuple[datetime, ...]:
    """Starts of the windows about a UTC day, the newest first. Kept: every request of a day asks for them."""
    zone = ZoneInfo(REGION_ZONES[region])
    return tuple(datetime.combine(day + timedelta(days=n), reset, zone).astimezone(UTC) for n in (1, 0, -1, -2))


def resets_between(world: World, earlier: datetime, now: datetime) -> Iterator[tuple[User, datetime]]:
    """For each user the start of the newest window that began in (earlier, now]."""
    quirks = world.quirks
    if not quirks.maintenance:
        return
    for user in world.users:
        starts = [_nightly(quirks, user.region, now)]
        if quirks.saturday_maintenance:
            starts.append(_weekly(now))
        newest = max(starts)
        if earlier < newest:
            yield user, newest


def _weekly(now: datetime) -> datetime:
    """Start of the newest Saturday window at or before `now`."""
    return next(at for at in _saturdays(now.astimezone(UTC).date()) if at <= now)


@lru_cache(maxsize=1024)
def _saturdays(day: date) -> tuple[datetime, ...]:
    saturday = day + timedelta(days=(_SATURDAY - day.weekday()) % 7)
    return tuple(
        datetime.combine(saturday - timedelta(weeks=n), time(_WEEKLY_HOURS[0]), _NEW_YORK).astimezone(UTC)
        for n in range(3)
    )
