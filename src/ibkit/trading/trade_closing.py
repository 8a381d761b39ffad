"""Closing one trade of ours: its exits off, the close, its record; or its exits back where the close fails."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from decimal import Decimal

from ibkit.errors import IbkitError, NotFound
from ibkit.model import Key, Side
from ibkit.trading.by_hand import held_of
from ibkit.trading.close_records import CloseRecords
from ibkit.trading.closing_order import CloseResult, ClosingOrder, why_not_closed
from ibkit.trading.intent import Intent, IntentState
from ibkit.trading.standing import Exits, Standing
from ibkit.trading.taking_off import TakenOff, TradeExits
from ibkit.trading.trade import ExitReason, OrderRole, Trade

__all__ = ["TradeCloser"]


@dataclass(frozen=True, slots=True, kw_only=True)
class TradeCloser:
    order: ClosingOrder
    exits: TradeExits
    records: CloseRecords

    async def close(self, trade: Trade, key: Key, limit_price: Decimal | None, confirm: tuple[str, ...]) -> CloseResult:
        known = await self.order.gateway.find(key)
        held = Decimal(0)
        if known is None:
            held = held_of(trade.contract, await self.order.broker.positions(self.order.account_id)).whole
        off = await self.exits.take_off(trade, begun=known is not None or held <= 0)
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
                ticket = await self.order.ticket(contract, Side.BUY, quantity, limit_price)
            outcome, intent = await self.order.carry_out(ticket, key, confirm, entry)
        except IbkitError as error:
            return await self._not_closed(trade, entry, off, key, error)
        if intent.state is IntentState.FILLED:
            done = await self.records.closed(trade, intent, ExitReason.MANUAL, OrderRole.CLOSE)
            return self.order.closed(intent, trade, done)
        return await self._not_closed(trade, entry, off, key, why_not_closed(outcome, intent), closing=intent)

    async def _entry_of(self, trade: Trade) -> Intent | None:
        for link in trade.links:
            if link.role is OrderRole.ENTRY:
                return await self.order.gateway.find(link.key)
        return None

    async def _ended_by_exit(self, trade: Trade, exits: Exits) -> CloseResult:
        by_stop = exits.stop.state is IntentState.FILLED
        last = exits.stop if by_stop or exits.profit is None else exits.profit
        reason = ExitReason.STOPPED_OUT if by_stop else ExitReason.TAKE_PROFIT
        role = OrderRole.STOP if by_stop else OrderRole.PROFIT
        done = await self.records.closed(trade, last, reason, role, price=exits.average)
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
        placed = None if unsure else await self.exits.put_back(entry, off.removed, quantity=left, key=key)
        if placed is not None and placed.exits is not None:
            await self.records.exits(trade, placed.exits, placed.tries)
            if placed.standing in (Standing.PROTECTED, Standing.STOPPED_OUT, Standing.PROFIT_TAKEN):
                return dataclasses.replace(base, message=f"{base.message}; its stop works again", stop_restored=True)
        message = f"CRITICAL: {trade.label} is not closed and has no working stop: {error.message}"
        await self.records.unprotected(trade, message)
        return dataclasses.replace(
            base, message=message, code="E-ORD-UNKNOWN" if unsure else "E-STOP-FAILED", unsure=True
        )
