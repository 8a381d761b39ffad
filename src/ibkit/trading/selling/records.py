"""Writing down a sale and raising its alerts, so that a failing store never stands between a sale and its stop."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from decimal import Decimal

from ibkit.clock import Clock
from ibkit.errors import Effect, IbkitError, StorageError
from ibkit.model import AccountId, Contract, Environment, Fill, Key, OrderTicket, Ref, average_price, net
from ibkit.trading.alert import Alert, AlertKind, Severity
from ibkit.trading.intent import Intent
from ibkit.trading.ports import Alerts, Broker
from ibkit.trading.ref import same_ref
from ibkit.trading.selling import book
from ibkit.trading.selling.exits import ExitPlan
from ibkit.trading.selling.ports import Trades
from ibkit.trading.selling.protection import Protected
from ibkit.trading.selling.result import completed_trade
from ibkit.trading.selling.sale import trade_id_of
from ibkit.trading.selling.trade import Trade
from ibkit.trading.timeline import Observer, Step, StepKind

__all__ = ["SaleRecords"]


@dataclass(slots=True, kw_only=True)
class SaleRecords:
    """waiting: recorded trades whose executions have not been read."""

    broker: Broker
    trades: Trades
    alerts: Alerts
    clock: Clock
    account_id: AccountId
    environment: Environment
    observe: Observer
    waiting: list[str] = field(default_factory=list)

    async def before(
        self, ticket: OrderTicket, *, key: Key, ref: Ref, snapshot: Mapping[str, str], plan: ExitPlan
    ) -> Trade:
        """The record of the sale, on disk before its order leaves; StorageError: nothing may be sold (OPT-07)."""
        known = await self.trades.get(trade_id_of(ref))
        if known is not None:
            return known
        at = self.clock.now()
        trade = book.new_trade(
            ticket, key=key, ref=ref, environment=self.environment, snapshot=snapshot, plan=plan, at=at
        )
        await self.trades.put(trade)
        self._tell(StepKind.RECORD, f"trade {trade.trade_id} recorded as pending", trade=trade.trade_id)
        return trade

    async def sold_nothing(self, ref: Ref, error: IbkitError) -> None:
        """Closes the pending record, unless an order may be alive behind it."""
        if error.effect is Effect.UNKNOWN:
            return
        try:
            trade = await self.trades.get(trade_id_of(ref))
            if trade is not None and trade.entry_price is None:
                await self.trades.put(book.failed(trade, at=self.clock.now()))
        except StorageError as problem:
            self._tell(StepKind.RECORD, f"the record could not be updated: {problem.message}")

    async def after(self, entry: Intent, protected: Protected, *, with_executions: bool) -> tuple[str, ...]:
        """Completes the record. The order stands whatever happens here: a failure is a warning, no error.

        with_executions: read them now, for this trade and those that wait; else this one waits for `catch_up`.
        """
        try:
            trade = await self.trades.get(trade_id_of(entry.ref))
            if trade is None:
                raise StorageError(f"Database problem: the record of {entry.label} has gone")
            trade = completed_trade(trade, entry, protected, at=self.clock.now())
            await self.trades.put(trade)
            if trade.trade_id not in self.waiting:
                self.waiting.append(trade.trade_id)
            if with_executions:
                await self._write_executions()
        except StorageError as error:
            message = f"{entry.label} stands, but its record could not be written: {error.message}"
            self._tell(StepKind.RECORD, message)
            await self.alert(AlertKind.RECORD_FAILED, Severity.WARNING, entry.ref, message)
            return (message,)
        self._tell(StepKind.RECORD, f"trade {trade.trade_id} recorded", trade=trade.trade_id)
        return ()

    async def catch_up(self) -> None:
        """The executions of the trades that wait for them: one read for all, because IBKR allows one in 5 s."""
        try:
            await self._write_executions()
        except StorageError as error:
            self._tell(StepKind.RECORD, f"executions not recorded: {error.message}")

    async def _write_executions(self) -> None:
        if not self.waiting:
            return
        fills = await self._executions()
        while fills and self.waiting:
            trade = await self.trades.get(self.waiting[0])
            if trade is not None:
                await self.trades.put(book.with_fills(trade, fills, at=self.clock.now()))
            self.waiting.pop(0)

    async def average_of(self, entry: Intent) -> Decimal | None:
        """The average price of what `entry` sold, from its executions; None where IBKR does not show them."""
        fills = tuple(fill for fill in await self._executions() if same_ref(entry.ref, fill.ref))
        return _average(entry.ticket.contract, fills)

    async def _executions(self) -> tuple[Fill, ...]:
        """The executions of the account; a session's first read is empty, so it is made twice."""
        for _ in range(2):
            try:
                read = await self.broker.read_fills(self.account_id)
            except IbkitError as error:
                self._tell(StepKind.RECORD, f"executions not read: {error.message}")
                return ()
            if not read.first:
                return read.fills
        return ()

    async def unprotected(self, ref: Ref, message: str) -> None:
        """The critical alert of a sold option without a working stop; one for each trade."""
        await self.alert(AlertKind.UNPROTECTED, Severity.CRITICAL, trade_id_of(ref), message)

    async def all_clear(self, ref: Ref) -> None:
        """A repeated key that found its stop working closes the alert of the run before."""
        note = "stop working, or position closed"
        try:
            await self.alerts.close(AlertKind.UNPROTECTED, trade_id_of(ref), at=self.clock.now(), note=note)
        except StorageError as error:
            self._tell(StepKind.RECORD, f"an old alert could not be closed: {error.message}")

    async def alert(self, kind: AlertKind, severity: Severity, subject: str, message: str) -> None:
        alert = Alert(
            kind=kind,
            severity=severity,
            subject=subject,
            message=message,
            at=self.clock.now(),
            details={"account": self.account_id},
        )
        try:
            await self.alerts.put(alert)
        except StorageError as error:
            self._tell(StepKind.CRITICAL, f"{message} (the alert could not be stored: {error.message})")

    def _tell(self, kind: StepKind, text: str, **details: str) -> None:
        self.observe(Step(kind=kind, at=self.clock.now(), text=text, details=details))


def _average(contract: Contract, fills: tuple[Fill, ...]) -> Decimal | None:
    """The average of one order's executions, of a combination net.

    Assumed: a combination's executions are told by leg, as its positions are (docs/facts/orders.md §11 shows none); one
    told as a whole is taken as it is.
    """
    by_conid = {
        conid: average_price(tuple((fill.price, fill.quantity) for fill in fills if fill.conid == conid))
        for conid in {fill.conid for fill in fills}
    }
    known = {conid: price for conid, price in by_conid.items() if price is not None}
    if contract.legs and all(leg.contract.conid in known for leg in contract.legs):
        return net(contract.legs, known)
    return known.get(contract.conid)
