"""Closing a position: its stop is cancelled first, and placed again if the close fails.

The order matters: a stop that fills beside the close would turn the position round. Source: requirement TRD-19.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from decimal import Decimal

from ibkit.clock import Clock
from ibkit.errors import IbkitError, NotFound, OutcomeUnknown, StorageError
from ibkit.model import (
    AccountId,
    Conid,
    Contract,
    Key,
    OrderId,
    OrderTicket,
    OrderType,
    Rounding,
    Side,
    round_price,
)
from ibkit.trading import book
from ibkit.trading.alert import Alert, AlertKind, Severity
from ibkit.trading.events import IntentId
from ibkit.trading.gateway import OrderGateway
from ibkit.trading.intent import Intent, IntentState
from ibkit.trading.outcome import Outcome
from ibkit.trading.ports import Alerts, Broker, Trades
from ibkit.trading.ref import child_key
from ibkit.trading.shelter import sheltered
from ibkit.trading.timeline import Observer, Step, StepKind, unobserved
from ibkit.trading.tracking import is_working_or_final
from ibkit.trading.trade import ExitReason, OrderRole, Trade, TradeStatus

__all__ = ["CloseResult", "PositionCloser"]

_CLOSE_S = 300.0
"""Bound of the whole: cancel, close and, if need be, the stop again, each with its own shorter bounds."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CloseResult:
    """success: the position is closed. stop_restored: the close failed and its stop works again."""

    success: bool
    message: str
    code: str = ""
    remedy: str = ""
    exit_price: Decimal | None = None
    order_id: OrderId | None = None
    quantity: Decimal = Decimal(0)
    realized_pnl: Decimal | None = None
    trade_id: str | None = None
    stop_restored: bool = False
    unsure: bool = False


class PositionCloser:
    """Closes positions of one account, whole, at market or at a limit."""

    def __init__(
        self,
        broker: Broker,
        gateway: OrderGateway,
        *,
        trades: Trades,
        alerts: Alerts,
        clock: Clock,
        account_id: AccountId,
        fill_timeout_s: float = 20.0,
        observe: Observer = unobserved,
    ) -> None:
        self._broker = broker
        self._gateway = gateway
        self._trades = trades
        self._alerts = alerts
        self._clock = clock
        self._account_id = account_id
        self._fill_timeout_s = fill_timeout_s
        self._observe = observe

    async def close_position(
        self, conid: Conid, *, key: Key, limit_price: Decimal | None = None, confirm: tuple[str, ...] = ()
    ) -> CloseResult:
        """Close what the account holds of `conid`. Failures of the broker or the stores are a CloseResult.

        Runs to its end (within 5 minutes) even when the caller is cancelled: a position must not lose its stop to
        a Ctrl-C.
        """
        try:
            return await sheltered(lambda: self._close(conid, key, limit_price, confirm), within_s=_CLOSE_S)
        except IbkitError as error:
            unsure = error.code == "E-ORD-UNKNOWN"
            return CloseResult(
                success=False, message=error.message, code=error.code, remedy=error.remedy, unsure=unsure
            )
        except TimeoutError:
            return CloseResult(
                success=False,
                message="CRITICAL: the close was not settled in time; repeat with the same key",
                code="E-ORD-UNKNOWN",
                remedy=f"Repeat with key {key}: nothing is sent twice.",
                unsure=True,
            )

    async def _close(
        self, conid: Conid, key: Key, limit_price: Decimal | None, confirm: tuple[str, ...]
    ) -> CloseResult:
        trade = await self._trade_of(conid)
        known = await self._gateway.find(key)
        if known is None:
            contract, held = await self._holding(conid)
            ticket = await self._ticket(contract, held, limit_price)
        else:
            ticket = known.ticket  # begun before: what is held now may already be the result of it
        stops = await self._cancel_stops(trade, key, known)
        filled_stop = next((stop for stop in stops if stop.state is IntentState.FILLED), None)
        if filled_stop is not None and trade is not None:
            return await self._stopped_out(trade, filled_stop)
        entry = await self._entry_of(trade)
        try:
            outcome = await self._gateway.submit(
                ticket, key=key, confirm=confirm, purpose="close", reduces=None if entry is None else entry.intent_id
            )
            intent = outcome.intent
            if intent.state is IntentState.ACKED:
                intent = await self._gateway.wait_for_fill(intent, within_s=self._fill_timeout_s)
            if intent.state is IntentState.ACKED:
                intent = await self._cancel_rest(intent)
        except IbkitError as error:
            return await self._not_closed(trade, entry, stops, key, error)
        if intent.state is IntentState.FILLED:
            return await self._closed(trade, intent)
        return await self._not_closed(trade, entry, stops, key, _why(outcome, intent), closing=intent)

    async def _trade_of(self, conid: Conid) -> Trade | None:
        """Our open record of it, if it is one of ours."""
        opened = await self._trades.trades(account_id=self._account_id, status=TradeStatus.OPEN)
        return next((trade for trade in opened if trade.conid == conid and trade.entry_price is not None), None)

    async def _holding(self, conid: Conid) -> tuple[Contract, Decimal]:
        positions = await self._broker.positions(self._account_id)
        held = next((p for p in positions if p.contract.conid == conid and p.quantity), None)
        if held is None:
            raise NotFound(f"No position in contract {conid}", code="E-NOT-FOUND")
        return held.contract, held.quantity

    async def _ticket(self, contract: Contract, held: Decimal, limit_price: Decimal | None) -> OrderTicket:
        side = Side.SELL if held > 0 else Side.BUY
        if limit_price is not None:
            grid = await self._broker.increments(contract, side=side)
            limit_price = round_price(limit_price, grid, Rounding.DOWN)
        return OrderTicket(
            account_id=self._account_id,
            contract=contract,
            side=side,
            order_type=OrderType.MARKET if limit_price is None else OrderType.LIMIT,
            quantity=abs(held),
            limit_price=limit_price,
        )

    async def _cancel_stops(self, trade: Trade | None, key: Key, known: Intent | None) -> tuple[Intent, ...]:
        """The stops of the trade, none of which works any more; an error where one cannot be proven dead."""
        stops = []
        for link in trade.links if trade is not None else ():
            stop = await self._gateway.find(link.key) if link.role is OrderRole.STOP else None
            if stop is None or not stop.order_id:
                continue
            number = stop.order_id
            stop = await self._gateway.tracker.refresh(stop)
            if stop.state is IntentState.ACKED and known is None:
                self._tell(StepKind.CANCEL, f"cancelling the stop, order {stop.order_id}")
                cancel_key = child_key(key, f"cancel-{link.ref[-8:]}")
                outcome = await self._gateway.cancel(self._account_id, number, key=cancel_key)
                stop = await self._gateway.wait_for_fill(stop, within_s=5.0)
                if not stop.final:
                    raise outcome.error or IbkitError(
                        f"The stop, order {stop.order_id}, could not be cancelled: nothing was closed",
                        code="E-ORD-TIMEOUT",
                        remedy="Look at the order with `ibkit orders show`, then try again with a new key.",
                    )
            stops.append(stop)
        return tuple(stops)

    async def _entry_of(self, trade: Trade | None) -> Intent | None:
        for link in trade.links if trade is not None else ():
            if link.role is OrderRole.ENTRY:
                return await self._gateway.find(link.key)
        return None

    async def _cancel_rest(self, intent: Intent) -> Intent:
        self._tell(StepKind.CANCEL, "the close did not fill in time: cancelling it")
        try:
            return await self._gateway.cancel_rest(intent)
        except IbkitError as error:
            self._tell(StepKind.CANCEL, f"the cancel failed: {error.message}")
        return await self._gateway.tracker.refresh(intent)

    async def _closed(self, trade: Trade | None, intent: Intent) -> CloseResult:
        price = intent.average_price
        message = f"Closed {intent.filled:f} {intent.ticket.contract.label} at {price}"
        self._tell(StepKind.FILL, message, order=intent.order_id or "")
        done = None
        if trade is not None:
            done = await self._write(trade, intent, ExitReason.MANUAL, OrderRole.CLOSE)
        return CloseResult(
            success=True,
            message=message,
            exit_price=price,
            order_id=intent.order_id,
            quantity=intent.filled,
            realized_pnl=None if done is None else done.realized_pnl,
            trade_id=None if trade is None else trade.trade_id,
        )

    async def _stopped_out(self, trade: Trade, stop: Intent) -> CloseResult:
        done = await self._write(trade, stop, ExitReason.STOPPED_OUT, OrderRole.STOP)
        return CloseResult(
            success=True,
            message=f"{trade.label} was closed by its stop at {stop.average_price} before it could be closed",
            exit_price=stop.average_price,
            order_id=stop.order_id,
            quantity=stop.filled,
            realized_pnl=None if done is None else done.realized_pnl,
            trade_id=trade.trade_id,
        )

    async def _write(self, trade: Trade, exit_: Intent, reason: ExitReason, role: OrderRole) -> Trade | None:
        now = self._clock.now()
        done = book.closed(
            book.with_links(trade, book.link_of(exit_, role)), at=now, price=exit_.average_price, reason=reason
        )
        try:
            await self._trades.put(done)
            done = await self._with_executions(done)
        except StorageError as error:
            self._tell(StepKind.RECORD, f"closed, but the record could not be written: {error.message}")
            return None
        return done

    async def _with_executions(self, trade: Trade) -> Trade:
        for _ in range(2):  # a session's first read is empty
            try:
                read = await self._broker.read_fills(self._account_id)
            except IbkitError as error:
                self._tell(StepKind.RECORD, f"executions not read: {error.message}")
                return trade
            if not read.first:
                trade = book.with_fills(trade, read.fills, at=self._clock.now())
                await self._trades.put(trade)
                return trade
        return trade

    # -- when it did not work -------------------------------------------------------------------------------------

    async def _not_closed(
        self,
        trade: Trade | None,
        entry: Intent | None,
        stops: tuple[Intent, ...],
        key: Key,
        error: IbkitError,
        *,
        closing: Intent | None = None,
    ) -> CloseResult:
        """Protects again what is still open. Not beside an order that may be alive: both could fill."""
        alive = closing is not None and not closing.final
        unsure = alive or error.code == "E-ORD-UNKNOWN"
        removed = next((stop for stop in reversed(stops) if stop.state is IntentState.CANCELLED), None)
        base = CloseResult(
            success=False,
            message=f"Not closed: {error.message}",
            code=error.code,
            remedy=error.remedy,
            order_id=None if closing is None else closing.order_id,
            quantity=Decimal(0) if closing is None else closing.filled,
            trade_id=None if trade is None else trade.trade_id,
            unsure=unsure,
        )
        if trade is None or entry is None or removed is None:
            return base
        left = trade.quantity - base.quantity
        restored = None if unsure else await self._restore(entry.intent_id, removed, left, key)
        if restored is not None:
            linked = book.with_links(trade, book.link_of(restored, OrderRole.STOP))
            await self._store_stop(linked, restored)
            return dataclasses.replace(base, message=f"{base.message}; its stop works again", stop_restored=True)
        message = f"CRITICAL: {trade.label} is not closed and has no working stop: {error.message}"
        await self._alert(trade, message)
        return dataclasses.replace(
            base, message=message, code="E-ORD-UNKNOWN" if unsure else "E-STOP-FAILED", unsure=True
        )

    async def _restore(self, entry: IntentId, removed: Intent, quantity: Decimal, key: Key) -> Intent | None:
        """The stop again, as a new intent with the same terms; None where it does not work."""
        ticket = removed.ticket
        again = OrderTicket(
            account_id=ticket.account_id,
            contract=ticket.contract,
            side=ticket.side,
            order_type=ticket.order_type,
            quantity=quantity,
            stop_price=ticket.stop_price,
            tif=ticket.tif,
        )
        self._tell(StepKind.STOP, f"placing the stop again: {again.label}")
        try:
            outcome = await self._gateway.submit(again, key=child_key(key, "restore"), purpose="stop", reduces=entry)
            intent = outcome.intent
            if intent.state is IntentState.ACKED:
                intent = await self._gateway.confirm_working(intent, within_s=10.0)
        except IbkitError as error:
            self._tell(StepKind.CRITICAL, f"the stop could not be placed again: {error.message}")
            return None
        works = intent.state in (IntentState.ACKED, IntentState.FILLED) and is_working_or_final(intent)
        return intent if works else None

    async def _store_stop(self, trade: Trade, stop: Intent) -> None:
        try:
            await self._trades.put(book.with_stop(trade, stop, at=self._clock.now()))
        except StorageError as error:
            self._tell(StepKind.RECORD, f"the new stop could not be recorded: {error.message}")

    async def _alert(self, trade: Trade, message: str) -> None:
        self._tell(StepKind.CRITICAL, message)
        alert = Alert(
            kind=AlertKind.UNPROTECTED,
            severity=Severity.CRITICAL,
            subject=trade.trade_id,
            message=message,
            at=self._clock.now(),
            details={"account": self._account_id},
        )
        try:
            await self._alerts.put(alert)
        except StorageError as error:
            self._tell(StepKind.CRITICAL, f"the alert could not be stored: {error.message}")

    def _tell(self, kind: StepKind, text: str, **details: str) -> None:
        self._observe(Step(kind=kind, at=self._clock.now(), text=text, details=details))


def _why(outcome: Outcome, intent: Intent) -> IbkitError:
    """Why a close that was sent did not close."""
    if intent.final and intent.state is not IntentState.UNKNOWN_NEEDS_HUMAN:
        error = Outcome(intent).error
        if error is not None:
            return error
        return IbkitError(
            f"Order not filled in time, {intent.filled:f} filled, the rest cancelled", code="E-ORD-TIMEOUT"
        )
    return outcome.error or OutcomeUnknown(
        f"order {intent.order_id} did not fill in time and its cancel is not confirmed", code="E-ORD-UNKNOWN"
    )
