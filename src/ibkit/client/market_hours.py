"""Whether a contract trades now, by IBKR's own schedule of it. Fits `trading.market_hours.MarketHours`.

Source: docs/facts/contracts-and-market-data.md §1.10 (epoch seconds, about six trading days, holidays left out).
"""

from __future__ import annotations

import logging
from datetime import datetime, timedelta
from typing import Final

from ibkit.client.client import Client
from ibkit.errors import IbkitError
from ibkit.model import Conid, Contract
from ibkit.wire.contracts import TradingSchedule

__all__ = ["ScheduleHours"]

log = logging.getLogger(__name__)

_GOOD_FOR: Final = timedelta(hours=6)
_MOST: Final = 200


class ScheduleHours:
    """The schedule of a contract is asked for once in six hours. Of a combination that of its first leg counts."""

    def __init__(self, ib: Client) -> None:
        self._ib = ib
        self._known: dict[Conid, tuple[datetime, TradingSchedule]] = {}

    async def is_open(self, contract: Contract, at: datetime) -> bool:
        conid = contract.legs[0].contract.conid if contract.legs else contract.conid
        try:
            schedule = await self._schedule(conid, at)
        except IbkitError as error:
            log.warning("trading hours not known", extra={"conid": conid, "code": error.code})
            return False
        moment = at.timestamp()
        return any(
            span.opening is not None and span.closing is not None and span.opening <= moment < span.closing
            for day in schedule.schedules.values()
            for span in day.liquid_hours
        )

    async def _schedule(self, conid: Conid, at: datetime) -> TradingSchedule:
        known = self._known.get(conid)
        if known is not None and at - known[0] < _GOOD_FOR:
            return known[1]
        schedule = await self._ib.trading_schedule(conid)
        if len(self._known) >= _MOST:
            self._known.pop(next(iter(self._known)))
        self._known[conid] = (at, schedule)
        return schedule
