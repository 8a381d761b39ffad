"""Looking after sold options at the start of a run: a short option of ours without a working stop raises an alert.

It sends nothing: whoever is told may repeat the sale's key, which goes on where it was. Source: requirement TRD-14,
last sentence; TRD-20 in so far as a start can do it.
"""

from __future__ import annotations

from dataclasses import dataclass

from ibkit.clock import Clock
from ibkit.errors import IbkitError
from ibkit.model import AccountId, Key, Position
from ibkit.trading import book
from ibkit.trading.alert import Alert, AlertKind, Severity
from ibkit.trading.gateway import OrderGateway
from ibkit.trading.intent import Intent, IntentState
from ibkit.trading.ports import Alerts, Broker, Trades
from ibkit.trading.standing import exit_reason_of, role_of
from ibkit.trading.timeline import Observer, Step, StepKind, unobserved
from ibkit.trading.tracking import is_working_or_final
from ibkit.trading.trade import OrderRole, Trade, TradeStatus

__all__ = ["ProtectionGuard"]


@dataclass(frozen=True, slots=True, kw_only=True)
class ProtectionGuard:
    broker: Broker
    gateway: OrderGateway
    trades: Trades
    alerts: Alerts
    clock: Clock
    account_id: AccountId
    observe: Observer = unobserved

    async def check(self) -> tuple[Alert, ...]:
        """The open alerts on sold options without a working stop, after each open trade was looked at.

        Records of sales that sold nothing, or whose stop has filled, are closed on the way.
        """
        found = []
        opened = await self.trades.trades(account_id=self.account_id, status=TradeStatus.OPEN)
        positions = await self.broker.positions(self.account_id) if opened else ()
        for trade in opened:
            message = await self._look_at(trade, positions)
            if message:
                found.append(await self._raise(trade, message))
            else:
                note = "a stop works, or nothing is left to protect"
                await self.alerts.close(AlertKind.UNPROTECTED, trade.trade_id, at=self.clock.now(), note=note)
        return tuple(found)

    async def _look_at(self, trade: Trade, positions: tuple[Position, ...]) -> str:
        """What is wrong with `trade`; empty where it is protected, over, or sold nothing."""
        entry = await self._intent(next((link.key for link in trade.links if link.role is OrderRole.ENTRY), None))
        unsettled = entry is not None and entry.state is IntentState.UNKNOWN_NEEDS_HUMAN and not entry.resolved
        if entry is None or (entry.final and not entry.filled and not unsettled):
            if trade.entry_price is None:
                await self.trades.put(book.failed(trade, at=self.clock.now()))
            return ""
        if not entry.filled:
            return f"the entry order {entry.order_id or entry.ref} is {entry.state.value} and may fill without a stop"
        exits = [await self.gateway.refreshed(each) for each in await self._exits(trade, entry)]
        for done in exits:
            if done.state is IntentState.FILLED:
                await self._write_exit(trade, entry, done)
                return ""
        alive = [each for each in exits if each.state is IntentState.ACKED]
        if any(is_working_or_final(each) and role_of(each) is not OrderRole.PROFIT for each in alive):
            return ""
        short = sum(p.quantity for p in positions if p.contract.conid == trade.conid)
        if short >= 0:
            return ""  # expired, assigned or closed by hand: nothing is left to protect
        return f"{entry.filled:f} sold, the account is short {-short:f}, and no stop of ours is working"

    async def _exits(self, trade: Trade, entry: Intent) -> tuple[Intent, ...]:
        """All orders that may have ended or may protect the trade, whether recorded in it or not."""
        undoing = {each.intent_id: each for each in await self.gateway.journal.reducing(entry.intent_id)}
        for link in trade.links:
            found = await self.gateway.find(link.key) if link.role is not OrderRole.ENTRY else None
            if found is not None:
                undoing.setdefault(found.intent_id, found)
        return tuple(undoing.values())

    async def _intent(self, key: Key | None) -> Intent | None:
        known = None if key is None else await self.gateway.find(key)
        return None if known is None else await self.gateway.tracker.refresh(known)

    async def _write_exit(self, trade: Trade, entry: Intent, done: Intent) -> None:
        role = role_of(done)
        stopped = role is OrderRole.STOP
        now = self.clock.now()
        linked = book.with_links(trade, book.link_of(entry, OrderRole.ENTRY), book.link_of(done, role))
        recorded = book.sold(
            linked,
            entry,
            at=now,
            stop=done if stopped else None,
            stop_loss=done.ticket.stop_price if stopped else trade.stop_loss_price,
            profit=done if role is OrderRole.PROFIT else None,
        )
        reason = exit_reason_of(done)
        ended = book.closed(recorded, at=now, price=done.average_price, reason=reason)
        try:
            read = await self.broker.read_fills(self.account_id, days=7)
            ended = book.with_fills(ended, read.fills, at=now)
        except IbkitError as error:
            # The exit is known without its executions; the next look may add them.
            self._tell(StepKind.RECORD, f"{trade.label}: executions not read ({error.code}: {error.message})")
        await self.trades.put(ended)
        self._tell(StepKind.RECORD, f"{trade.label} is over: {reason.value} at {done.average_price}")

    async def _raise(self, trade: Trade, problem: str) -> Alert:
        message = f"CRITICAL: {trade.label} has no working stop: {problem}"
        self._tell(StepKind.CRITICAL, message)
        alert = Alert(
            kind=AlertKind.UNPROTECTED,
            severity=Severity.CRITICAL,
            subject=trade.trade_id,
            message=message,
            at=self.clock.now(),
            details={"account": self.account_id, "trade": trade.trade_id},
        )
        return await self.alerts.put(alert)

    def _tell(self, kind: StepKind, text: str) -> None:
        self.observe(Step(kind=kind, at=self.clock.now(), text=text))
