"""Whether a contract can be bought now: what time exits and buy-backs at market ask first."""

from __future__ import annotations

from datetime import datetime, time
from typing import Protocol
from zoneinfo import ZoneInfo

from ibkit.model import Contract

__all__ = ["MarketHours", "WeekdayHours"]

NEW_YORK = ZoneInfo("America/New_York")
_OPEN, _CLOSE = time(9, 30), time(16, 0)


class MarketHours(Protocol):
    """The broker's own schedule, or something coarser."""

    async def is_open(self, contract: Contract, at: datetime) -> bool:
        """Whether `contract` trades in regular hours at `at`; False where that cannot be said."""
        ...


class WeekdayHours:
    """Monday to Friday, 9:30 to 16:00 in New York, without holidays: for where no broker tells its schedule."""

    async def is_open(self, contract: Contract, at: datetime) -> bool:
        local = at.astimezone(NEW_YORK)
        return local.weekday() < 5 and _OPEN <= local.time() < _CLOSE
