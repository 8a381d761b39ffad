"""IBKR's reset windows, by region. Source: docs/facts/auth-and-sessions.md §6; LIM-08."""

from __future__ import annotations

from datetime import date, datetime, time, timedelta
from typing import Final
from zoneinfo import ZoneInfo

__all__ = ["REGIONS", "maintenance_until", "nearest_window", "next_reset"]

REGIONS: Final = {"us": "America/New_York", "eu": "Europe/Zurich", "asia": "Asia/Hong_Kong"}
_NIGHTLY: Final = (time(1, 0), time(1, 15))
_SATURDAY: Final = (time(21, 0), time(23, 0))
"""The weekly maintenance is said to be on Saturday evening, without hours: these are assumed (§6, [sim])."""


def maintenance_until(now: datetime, region: str = "us") -> datetime | None:
    """When the window that `now` lies in ends; None outside of one."""
    local = now.astimezone(ZoneInfo(REGIONS[region]))
    for start, end in ([_SATURDAY] if local.weekday() == 5 else []) + [_NIGHTLY]:
        if start <= local.time() < end:
            return (
                local.replace(hour=0, minute=0, second=0, microsecond=0) + timedelta(hours=end.hour, minutes=end.minute)
            ).astimezone(now.tzinfo)
    return None


def nearest_window(now: datetime, region: str = "us") -> tuple[datetime, datetime]:
    """Beginning and end of the window that `now` lies in, or of the one nearest to it, before or ahead."""
    zone = ZoneInfo(REGIONS[region])
    today = now.astimezone(zone).date()
    days = [today + timedelta(days=offset) for offset in (-1, 0, 1)]
    windows = [
        (_at(day, start, zone), _at(day, end, zone))
        for day in days
        for start, end in ([_SATURDAY] if day.weekday() == 5 else []) + [_NIGHTLY]
    ]
    start, end = min(windows, key=lambda window: max(window[0] - now, now - window[1], timedelta(0)))
    return start.astimezone(now.tzinfo), end.astimezone(now.tzinfo)


def next_reset(now: datetime, region: str = "us") -> datetime:
    """When the next nightly reset begins; the present one's beginning is past."""
    zone = ZoneInfo(REGIONS[region])
    today = now.astimezone(zone).date()
    resets = (_at(today + timedelta(days=offset), _NIGHTLY[0], zone) for offset in (0, 1, 2))
    return next(reset for reset in resets if reset > now).astimezone(now.tzinfo)


def _at(day: date, moment: time, zone: ZoneInfo) -> datetime:
    return datetime.combine(day, moment, zone)
