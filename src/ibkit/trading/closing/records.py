"""Writing down that a trade was closed, or that its exits came back; the close itself stands whatever happens here."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from decimal import Decimal

from ibkit.clock import Clock
from ibkit.errors import IbkitError, StorageError
from ibkit.model import AccountId
from ibkit.trading.alert import Alert, AlertKind, Severity
from ibkit.trading.intent import Intent
from ibkit.trading.ports import Alerts, Broker
from ibkit.trading.selling import book
from ibkit.trading.selling.ports import Trades
from ibkit.trading.selling.standing import Exits, role_of
from ibkit.trading.selling.trade import ExitReason, OrderRole, Trade
from ibkit.trading.timeline import Observer, Step, StepKind

__all__ = ["CloseRecords"]


@dataclass(frozen=True, slots=True, kw_only=True)
class CloseRecords:
    broker: Broker
    trades: Trades
    alerts: Alerts
    clock: Clock
    account_id: AccountId
    observe: Observer

    async def closed(
        self, trade: Trade, exit_: Intent, reason: ExitReason, role: OrderRole, *, price: Decimal | None = None
    ) -> Trade | None:
        """The record after its end, with the executions; None where it could not be written."""
        linked = book.with_links(trade, book.link_of(exit_, role))
        done = book.closed(linked, at=self.clock.now(), price=price or exit_.average_price, reason=reason)
        try:
            await self.trades.put(done)
            return await self._with_executions(done)
        except StorageError as error:
            self._tell(StepKind.RECORD, f"closed, but the record could not be written: {error.message}")
            return None

    async def _with_executions(self, trade: Trade) -> Trade:
        for _ in range(2):  # a session's first read is empty
            try:
                read = await self.broker.read_fills(self.account_id)
            except IbkitError as error:
                self._tell(StepKind.RECORD, f"executions not read: {error.message}")
                return trade
            if not read.first:
                trade = book.with_fills(trade, read.fills, at=self.clock.now())
                await self.trades.put(trade)
                return trade
        return trade

    async def exits(self, trade: Trade, exits: Exits, tries: Iterable[Intent]) -> None:
        """The record with the exits that protect it now."""
        linked = book.with_links(trade, *(book.link_of(each, role_of(each)) for each in tries))
        try:
            await self.trades.put(book.with_exits(linked, exits.stop, exits.profit, at=self.clock.now()))
        except StorageError as error:
            self._tell(StepKind.RECORD, f"the new stop could not be recorded: {error.message}")

    async def unprotected(self, trade: Trade, message: str) -> None:
        self._tell(StepKind.CRITICAL, message)
        alert = Alert(
            kind=AlertKind.UNPROTECTED,
            severity=Severity.CRITICAL,
            subject=trade.trade_id,
            message=message,
            at=self.clock.now(),
            details={"account": self.account_id},
        )
        try:
            await self.alerts.put(alert)
        except StorageError as error:
            self._tell(StepKind.CRITICAL, f"the alert could not be stored: {error.message}")

    def _tell(self, kind: StepKind, text: str) -> None:
        self.observe(Step(kind=kind, at=self.clock.now(), text=text))
