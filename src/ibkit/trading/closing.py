"""Closing a position: its exits are taken off first, and put back if the close fails.

    a trade of ours     what it sold and still holds, its exits off before; a spread as one order on the combination
    beyond that, or     the position as it is
    without a trade

Closing one leg of a spread closes the spread: the bought leg alone taken away would leave the sold one naked.
Source: requirement TRD-19.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from decimal import Decimal

from ibkit.clock import Clock
from ibkit.errors import IbkitError, NotFound, OutcomeUnknown
from ibkit.model import (
    AccountId,
    Conid,
    Contract,
    Key,
    OrderId,
    OrderTicket,
    OrderType,
    Position,
    Rounding,
    Side,
    round_price,
)
from ibkit.trading.by_hand import held_of
from ibkit.trading.close_records import CloseRecords
from ibkit.trading.exit_orders import ExitOrders
from ibkit.trading.gateway import OrderGateway
from ibkit.trading.grids import grid_of
from ibkit.trading.intent import Intent, IntentState
from ibkit.trading.outcome import Outcome
from ibkit.trading.ports import Alerts, Broker, Trades
from ibkit.trading.ref import child_key
from ibkit.trading.shelter import sheltered
from ibkit.trading.standing import Exits, Standing
from ibkit.trading.taking_off import TakenOff, TradeExits
from ibkit.trading.timeline import Observer, Step, StepKind, unobserved
from ibkit.trading.trade import ExitReason, OrderRole, Trade, TradeStatus

__all__ = ["CloseResult", "PositionCloser"]

_CLOSE_S = 300.0
"""Bound of the whole: cancel, close and, if need be, the exits again, each with its own shorter bounds."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CloseResult:
    """success: the position is closed. stop_restored: the close failed and its stop works again.

    by_exit: its own stop or take profit closed it before it could be closed.
    """

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
    by_exit: bool = False
    unsure: bool = False

    @classmethod
    def of(cls, error: IbkitError) -> CloseResult:
        """A close that came to nothing, or nobody knows to what."""
        unsure = error.code == "E-ORD-UNKNOWN"
        return cls(success=False, message=error.message, code=error.code, remedy=error.remedy, unsure=unsure)


class PositionCloser:
    """Closes positions and trades of one account, whole, at market or at a limit."""

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
        self._clock = clock
        self._account_id = account_id
        self._fill_timeout_s = fill_timeout_s
        self._observe = observe
        self._exits = TradeExits(ExitOrders(broker=broker, gateway=gateway, clock=clock, observe=observe))
        self._records = CloseRecords(
            broker=broker, trades=trades, alerts=alerts, clock=clock, account_id=account_id, observe=observe
        )

    async def close_position(
        self, conid: Conid, *, key: Key, limit_price: Decimal | None = None, confirm: tuple[str, ...] = ()
    ) -> CloseResult:
        """Close what the account holds of `conid`. Failures of the broker or the stores are a CloseResult.

        Runs to its end (within 5 minutes) even when the caller is cancelled: a position must not lose its stop to
        a Ctrl-C.
        """

        async def work() -> CloseResult:
            return await self._close_conid(conid, key, limit_price, confirm)

        return await self._whole(work, key)

    async def close_trade(
        self, trade: Trade, *, key: Key, limit_price: Decimal | None = None, confirm: tuple[str, ...] = ()
    ) -> CloseResult:
        """Close what the account still holds of `trade`; otherwise as `close_position`."""

        async def work() -> CloseResult:
            return await self._close_trade(trade, key, limit_price, confirm)

        return await self._whole(work, key)

    async def _whole(self, work: Callable[[], Awaitable[CloseResult]], key: Key) -> CloseResult:
        try:
            return await sheltered(work, within_s=_CLOSE_S)
        except IbkitError as error:
            return CloseResult.of(error)
        except TimeoutError:
            return CloseResult(
                success=False,
                message="CRITICAL: the close was not settled in time; repeat with the same key",
                code="E-ORD-UNKNOWN",
                remedy=f"Repeat with key {key}: nothing is sent twice.",
                unsure=True,
            )

    # -- a contract, with the trades that are in it ---------------------------------------------------------------

    async def _close_conid(
        self, conid: Conid, key: Key, limit_price: Decimal | None, confirm: tuple[str, ...]
    ) -> CloseResult:
        ours = await self.trades_in(conid)
        known = await self._gateway.find(key)
        if known is not None and len(ours) == 1:
            return await self._close_trade(ours[0], key, limit_price, confirm)  # begun before: it goes on
        if known is not None:
            return await self._send(known.ticket, key, confirm)
        # Read once, before anything is closed: what is held afterwards may be told some seconds late.
        held = await self._held(conid)
        if held is None:
            raise NotFound(f"No position in contract {conid}", code="E-NOT-FOUND")
        results = []
        for trade in ours:
            own = key if len(ours) == 1 else child_key(key, trade.trade_id[:8])
            done = await self._close_trade(trade, own, limit_price, confirm)
            if not done.success:
                return done
            results.append(done)
        rest = abs(held.quantity) - sum((each.quantity for each in results), Decimal(0))
        if results and (rest <= 0 or any(trade.legs for trade in ours)):
            return _together(results)
        side = Side.SELL if held.quantity > 0 else Side.BUY
        ticket = await self._ticket(held.contract, side, rest, limit_price)
        last = await self._send(ticket, child_key(key, "rest") if results else key, confirm)
        return _together([*results, last]) if last.success else last

    async def trades_in(self, conid: Conid) -> tuple[Trade, ...]:
        """The open trades of ours that have this contract, as what they sold or as a leg; oldest first."""
        opened = await self._trades.trades(account_id=self._account_id, status=TradeStatus.OPEN)
        ours = [
            trade
            for trade in opened
            if trade.entry_price is not None and (trade.conid == conid or any(leg.conid == conid for leg in trade.legs))
        ]
        return tuple(reversed(ours))

    async def _held(self, conid: Conid) -> Position | None:
        positions = await self._broker.positions(self._account_id)
        return next((p for p in positions if p.contract.conid == conid and p.quantity), None)

    async def _ticket(
        self, contract: Contract, side: Side, quantity: Decimal, limit_price: Decimal | None
    ) -> OrderTicket:
        if limit_price is not None:
            grid = await grid_of(self._broker, contract, side=side)
            limit_price = round_price(limit_price, grid, Rounding.DOWN)
        return OrderTicket(
            account_id=self._account_id,
            contract=contract,
            side=side,
            order_type=OrderType.MARKET if limit_price is None else OrderType.LIMIT,
            quantity=quantity,
            limit_price=limit_price,
        )

    async def _send(self, ticket: OrderTicket, key: Key, confirm: tuple[str, ...]) -> CloseResult:
        """Close what no trade of ours is in: there is nothing to take off, and nothing to put back."""
        outcome, intent = await self._filled(ticket, key, confirm, None)
        if intent.state is IntentState.FILLED:
            return self._closed(intent, None)
        error = _why(outcome, intent)
        return dataclasses.replace(
            CloseResult.of(error),
            message=f"Not closed: {error.message}",
            order_id=intent.order_id,
            quantity=intent.filled,
            unsure=not intent.final or error.code == "E-ORD-UNKNOWN",
        )

    # -- a trade --------------------------------------------------------------------------------------------------

    async def _close_trade(
        self, trade: Trade, key: Key, limit_price: Decimal | None, confirm: tuple[str, ...]
    ) -> CloseResult:
        known = await self._gateway.find(key)
        held = Decimal(0)
        if known is None:
            held = held_of(trade.contract, await self._broker.positions(self._account_id)).whole
        off = await self._exits.take_off(trade, begun=known is not None or held <= 0)
        if known is None and held <= 0 and off.ended_by is None:
            raise NotFound(f"The account holds nothing of {trade.label}", code="E-NOT-FOUND")
        if off.ended_by is not None:
            return await self._ended_by_exit(trade, off.ended_by)
        entry = await self._entry_of(trade)
        try:
            if known is not None:
                ticket = known.ticket  # begun before: what is held now may already be the result of it
            else:
                quantity = min(trade.quantity - off.filled, held)
                contract = trade.contract if entry is None else entry.ticket.contract
                ticket = await self._ticket(contract, Side.BUY, quantity, limit_price)
            outcome, intent = await self._filled(ticket, key, confirm, entry)
        except IbkitError as error:
            return await self._not_closed(trade, entry, off, key, error)
        if intent.state is IntentState.FILLED:
            done = await self._records.closed(trade, intent, ExitReason.MANUAL, OrderRole.CLOSE)
            return self._closed(intent, trade, done)
        return await self._not_closed(trade, entry, off, key, _why(outcome, intent), closing=intent)

    async def _filled(
        self, ticket: OrderTicket, key: Key, confirm: tuple[str, ...], entry: Intent | None
    ) -> tuple[Outcome, Intent]:
        """The closing order, filled, or over because its time was up."""
        outcome = await self._gateway.submit(
            ticket, key=key, confirm=confirm, purpose="close", reduces=None if entry is None else entry.intent_id
        )
        intent = outcome.intent
        if intent.state is IntentState.ACKED:
            intent = await self._gateway.wait_for_fill(intent, within_s=self._fill_timeout_s)
        if intent.state is IntentState.ACKED:
            intent = await self._cancel_rest(intent)
        return outcome, intent

    async def _entry_of(self, trade: Trade) -> Intent | None:
        for link in trade.links:
            if link.role is OrderRole.ENTRY:
                return await self._gateway.find(link.key)
        return None

    async def _cancel_rest(self, intent: Intent) -> Intent:
        self._tell(StepKind.CANCEL, "the close did not fill in time: cancelling it")
        try:
            return await self._gateway.cancel_rest(intent)
        except IbkitError as error:
            self._tell(StepKind.CANCEL, f"the cancel failed: {error.message}")
        return await self._gateway.refreshed(intent)

    def _closed(self, intent: Intent, trade: Trade | None, done: Trade | None = None) -> CloseResult:
        price = intent.average_price
        message = f"Closed {intent.filled.normalize():f} {intent.ticket.contract.label} at {price}"
        self._tell(StepKind.FILL, message, order=intent.order_id or "")
        return CloseResult(
            success=True,
            message=message,
            exit_price=price,
            order_id=intent.order_id,
            quantity=intent.filled,
            realized_pnl=None if done is None else done.realized_pnl,
            trade_id=None if trade is None else trade.trade_id,
        )

    async def _ended_by_exit(self, trade: Trade, exits: Exits) -> CloseResult:
        by_stop = exits.stop.state is IntentState.FILLED
        last = exits.stop if by_stop or exits.profit is None else exits.profit
        reason = ExitReason.STOPPED_OUT if by_stop else ExitReason.TAKE_PROFIT
        role = OrderRole.STOP if by_stop else OrderRole.PROFIT
        done = await self._records.closed(trade, last, reason, role, price=exits.average)
        word = "stop" if by_stop else "take profit"
        return CloseResult(
            success=True,
            message=f"{trade.label} was closed by its {word} at {exits.average} before it could be closed",
            exit_price=exits.average,
            order_id=last.order_id,
            quantity=exits.filled,
            realized_pnl=None if done is None else done.realized_pnl,
            trade_id=trade.trade_id,
            by_exit=True,
        )

    # -- when it did not work -------------------------------------------------------------------------------------

    async def _not_closed(
        self,
        trade: Trade,
        entry: Intent | None,
        off: TakenOff,
        key: Key,
        error: IbkitError,
        *,
        closing: Intent | None = None,
    ) -> CloseResult:
        """Protects again what is still open. Not beside an order that may be alive: both could fill."""
        alive = closing is not None and not closing.final
        unsure = alive or error.code == "E-ORD-UNKNOWN"
        base = CloseResult(
            success=False,
            message=f"Not closed: {error.message}",
            code=error.code,
            remedy=error.remedy,
            order_id=None if closing is None else closing.order_id,
            quantity=Decimal(0) if closing is None else closing.filled,
            trade_id=trade.trade_id,
            unsure=unsure,
        )
        if entry is None or off.removed is None:
            return base
        left = trade.quantity - base.quantity - off.filled
        placed = None if unsure else await self._exits.put_back(entry, off.removed, quantity=left, key=key)
        if placed is not None and placed.exits is not None:
            await self._records.exits(trade, placed.exits, placed.tries)
            if placed.standing in (Standing.PROTECTED, Standing.STOPPED_OUT, Standing.PROFIT_TAKEN):
                return dataclasses.replace(base, message=f"{base.message}; its stop works again", stop_restored=True)
        message = f"CRITICAL: {trade.label} is not closed and has no working stop: {error.message}"
        await self._records.unprotected(trade, message)
        return dataclasses.replace(
            base, message=message, code="E-ORD-UNKNOWN" if unsure else "E-STOP-FAILED", unsure=True
        )

    def _tell(self, kind: StepKind, text: str, **details: str) -> None:
        self._observe(Step(kind=kind, at=self._clock.now(), text=text, details=details))


def _together(results: list[CloseResult]) -> CloseResult:
    """Several closes in one contract, all of which worked, as one."""
    if len(results) == 1:
        return results[0]
    pnl = [each.realized_pnl for each in results if each.realized_pnl is not None]
    return dataclasses.replace(
        results[-1],
        message="; ".join(each.message for each in results),
        quantity=sum((each.quantity for each in results), Decimal(0)),
        realized_pnl=sum(pnl, Decimal(0)) if pnl else None,
        trade_id=results[0].trade_id,
    )


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
