"""What the risk controls ask of IBKR beside quotes and positions, each answer kept for as long as it may be used.

Profit and loss may be asked once in 5 s, so one answer serves the orders of half a minute. IBKR tells it of the account
that the session has selected, so another one is selected first. Source: docs/facts/accounts-and-portfolio.md §0, §1.2,
§1.6; docs/facts/contracts-and-market-data.md §1.10, §1.16.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import anyio

from ibkit.client.caches import HOUR_S, Shelf
from ibkit.client.client import Client
from ibkit.clock import SystemClock
from ibkit.errors import Refused
from ibkit.model import AccountId, Contract
from ibkit.trading.risk import DailyPnl, SessionHealth, TradingHours
from ibkit.wire.accounts import PNL_PARTITIONED
from ibkit.wire.codec import decode
from ibkit.wire.contracts import EXCHANGE_RATE, Rate, TradingSchedule
from ibkit.wire.contracts import TradingHours as WireHours
from ibkit.wire.login_errors import clock_skew_s
from ibkit.wire.maintenance import nearest_window
from ibkit.wire.numbers import figure
from ibkit.wire.session import AUTH_STATUS, BrokerageStatus

__all__ = ["RiskReads"]

_HALF_MINUTE_S = 30.0
_MINUTE_S = 60.0
_USD = "USD"


class RiskReads:
    """Reads of one open client. selections: how often an account was selected for one of them."""

    def __init__(self, ib: Client) -> None:
        self._ib = ib
        self.selections = 0
        self._one_account = anyio.Lock()
        self._pnl: Shelf[DailyPnl | None] = Shelf(life_s=_HALF_MINUTE_S)
        self._hours: Shelf[TradingHours] = Shelf(life_s=HOUR_S)
        self._rates: Shelf[Decimal] = Shelf(life_s=_MINUTE_S)
        self._health: Shelf[SessionHealth] = Shelf(life_s=_HALF_MINUTE_S, most=1)

    async def daily_pnl(self, account_id: AccountId, *, patient: bool = True, select: bool = False) -> DailyPnl | None:
        """None where IBKR tells of other accounts alone; with `select` the account is selected first.

        The first answer of a session, and after a selection, is empty: it is asked for again, unless `patient` is off.
        """
        async with self._one_account:
            known = self._pnl.get(account_id, self._ib.clock.monotonic())
            if known is not None:
                return known
            opening = await self._ib.brokerage_accounts()
            elsewhere = select and account_id in opening.accounts and opening.selected != account_id
            if elsewhere:
                await self._select(account_id)
            row = await self._pnl_row(account_id, patient=patient)
            if row is None and select and not elsewhere and await self._deselected(account_id):
                await self._select(account_id)
                row = await self._pnl_row(account_id, patient=patient)
            if row is None:
                return None
            now = self._ib.clock.now()
            told = DailyPnl(daily=figure(row.get("dpl")), net_liquidation=figure(row.get("nl")), at=now)
            return self._pnl.put(account_id, told, self._ib.clock.monotonic())

    async def trading_hours(self, contract: Contract) -> TradingHours | None:
        known = self._hours.get(contract.conid, self._ib.clock.monotonic())
        if known is not None:
            return known
        try:
            schedule = await self._ib.trading_schedule(contract.conid)
        except Refused:
            return None
        hours = _hours(schedule)
        return None if hours is None else self._hours.put(contract.conid, hours, self._ib.clock.monotonic())

    async def exchange_rate(self, currency: str) -> Decimal | None:
        if currency == _USD:
            return Decimal(1)
        known = self._rates.get(currency, self._ib.clock.monotonic())
        if known is not None:
            return known
        try:
            told: Rate = await self._ib.request(EXCHANGE_RATE, query={"source": currency, "target": _USD})
        except Refused:
            return None
        rate = told.rate
        return None if rate is None or rate <= 0 else self._rates.put(currency, rate, self._ib.clock.monotonic())

    async def session_health(self) -> SessionHealth:
        known = self._health.get("", self._ib.clock.monotonic())
        if known is not None:
            return known
        response = await self._ib.exchange(AUTH_STATUS)
        now = self._ib.clock.now()
        status: BrokerageStatus = decode(AUTH_STATUS, response)
        self._ib.keeper.opener.last_status = status
        # Against the machine's clock, too: a simulator may live in another hour, and its header in either.
        skews = [clock_skew_s(response, clock.now()) for clock in (self._ib.clock, SystemClock())]
        ahead_s = min((skew for skew in skews if skew is not None), key=abs, default=None)
        start, end = nearest_window(now, self._ib.region)
        health = SessionHealth(
            authenticated=status.ready,
            competing=bool(status.competing),
            at=now,
            skew_s=None if ahead_s is None else -ahead_s,
            reset_from=start,
            reset_until=end,
        )
        return self._health.put("", health, self._ib.clock.monotonic())

    async def _select(self, account_id: AccountId) -> None:
        self.selections += 1  # before the call: a lost answer may have selected it, too
        await self._ib.switch_account(account_id)

    async def _deselected(self, account_id: AccountId) -> bool:
        """Whether another process of this login has selected another account since we looked."""
        opening = await self._ib.brokerage_accounts_now()
        return account_id in opening.accounts and opening.selected != account_id

    async def _pnl_row(self, account_id: AccountId, *, patient: bool) -> Mapping[str, Any] | None:
        rows = await self._pnl_rows()
        if not rows and patient:
            rows = await self._pnl_rows()
        row = next((row for key, row in rows.items() if key.split(".")[0] == account_id), None)
        return row if isinstance(row, Mapping) else None

    async def _pnl_rows(self) -> Mapping[str, Any]:
        told: dict[str, Any] = await self._ib.request(PNL_PARTITIONED)
        rows = told.get("upnl")
        return rows if isinstance(rows, Mapping) else {}


def _hours(schedule: TradingSchedule) -> TradingHours | None:
    """None where no day is told. What lies after the last day's midnight is not known."""
    days = [day for day in schedule.schedules.values() if day.liquid_hours or day.extended_hours]
    regular = sorted(span for day in days for hours in day.liquid_hours for span in _span(hours))
    extended = sorted(span for day in days for hours in day.extended_hours for span in _span(hours))
    everything = sorted({*regular, *extended})
    if not everything:
        return None
    return TradingHours(
        regular=tuple(regular),
        extended=tuple(everything),
        until=max(closes for _, closes in everything) + timedelta(hours=1),
    )


def _span(hours: WireHours) -> list[tuple[datetime, datetime]]:
    if hours.opening is None or hours.closing is None:
        return []
    return [(datetime.fromtimestamp(hours.opening, UTC), datetime.fromtimestamp(hours.closing, UTC))]
