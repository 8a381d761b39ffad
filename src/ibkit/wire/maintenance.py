"""IBKR's reset windows, by region. Source: docs/facts/auth-and-sessions.md §6; LIM-08."""

from __future__ import annotations

from datetime import datetime, time, timedelta
from typing import Final
from zoneinfo import ZoneInfo

__all__ = ["REGIONS", "maintenance_until"]

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
