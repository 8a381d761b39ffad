"""When IBKR is away: some minutes each night by region, and Saturday evening for everybody.

Source: docs/facts/auth-and-sessions.md §6.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta
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
    local = now.astimezone(_NEW_YORK)
    first, last = _WEEKLY_HOURS
    if quirks.saturday_maintenance and local.weekday() == _SATURDAY and first <= local.hour < last:
        return True
    begins = _nightly(quirks, region, now)
    return begins <= now < begins + timedelta(minutes=quirks.nightly_minutes)


def _nightly(quirks: Quirks, region: str, now: datetime) -> datetime:
    """Start of the newest nightly window at or before `now`."""
    zone = ZoneInfo(REGION_ZONES[region])
    begins = datetime.combine(now.astimezone(zone).date(), quirks.nightly_reset, zone)
    return begins if begins <= now else begins - timedelta(days=1)


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
    local = now.astimezone(_NEW_YORK)
    saturday = local - timedelta(days=(local.weekday() - _SATURDAY) % 7)
    begins = saturday.replace(hour=_WEEKLY_HOURS[0], minute=0, second=0, microsecond=0)
    return begins if begins <= local else begins - timedelta(days=7)
