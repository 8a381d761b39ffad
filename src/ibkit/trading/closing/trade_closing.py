"""Closing one trade of ours: its exits off, the close, its record; or its exits back where the close fails."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from decimal import Decimal

from ibkit.errors import IbkitError, NotFound
from ibkit.model import Key, Side, average_price
from ibkit.trading.closing.closing_order import CloseResult, ClosingOrder, why_not_closed
from ibkit.trading.closing.records import CloseRecords
from ibkit.trading.closing.taking_off import TakenOff, TradeExits
from ibkit.trading.intent import Intent, IntentState
from ibkit.trading.selling.by_hand import held_of
from ibkit.trading.selling.standing import Standing
from ibkit.trading.selling.trade import ExitReason, OrderRole, Trade

__all__ = ["TradeCloser"]


@dataclass(frozen=True, slots=True, kw_only=True)
class TradeCloser:
    order: ClosingOrder
    exits: TradeExits
    records: CloseRecords

    async def close(
        self,
        trade: Trade,
        key: Key,
        limit_price: Decimal | None,
        confirm: tuple[str, ...],
        *,
        at_most: Decimal | None = None,
    ) -> CloseResult:
        """at_most: where more is known than positions show yet, what of it can be left."""
        known = await self.order.gateway.find(key)
        held = Decimal(0)
        if known is None:
            held = held_of(trade.contract, await self.order.broker.positions(self.order.account_id)).whole
            held = held if at_most is None else max(min(held, at_most), Decimal(0))
        entry = await self.entry_of(trade)
        off = await self.exits.take_off(trade, entry, begun=known is not None or held <= 0)
        closes = await self._earlier_closes(entry, key)
        bought = off.filled + sum((each.filled for each in closes), Decimal(0))
        remaining = (trade.quantity if entry is None else entry.filled) - bought
        if known is None and remaining <= 0 and off.ended_by is not None:
            return await self._ended_by_exit(trade, off, closes)
        if known is None and (held <= 0 or remaining <= 0):
            raise NotFound(f"The account holds nothing of {trade.label}", code="E-NOT-FOUND")
        # Of a close begun before, what is held now may already be the result of it.
        quantity = known.ticket.quantity if known is not None else min(remaining, held)
        try:
            if known is not None:
                ticket = known.ticket
            else:
                contract = trade.contract if entry is None else entry.ticket.contract
                ticket = await self.order.ticket(contract, Side.BUY, quantity, limit_price)
            outcome, intent = await self.order.carry_out(ticket, key, confirm, entry)
        except IbkitError as error:
            return await self._not_closed(trade, entry, off, key, error, quantity=quantity)
        if intent.state is IntentState.FILLED:
            price = _average(off, (*closes, intent))
            done = await self.records.closed(trade, intent, ExitReason.MANUAL, OrderRole.CLOSE, price=price)
            return self.order.closed(intent, trade, done)
        why = why_not_closed(outcome, intent)
        return await self._not_closed(trade, entry, off, key, why, quantity=quantity, closing=intent)

    async def _earlier_closes(self, entry: Intent | None, key: Key) -> tuple[Intent, ...]:
        """Closes that filled, at least in part, before the one of `key`."""
        undoing = await self.exits.undoing(entry)
        return tuple(each for each in undoing if each.planned.purpose == "close" and each.filled and each.key != key)

    async def entry_of(self, trade: Trade) -> Intent | None:
        for link in trade.links:
            if link.role is OrderRole.ENTRY:
                return await self.order.gateway.find(link.key)
        return None

    async def _ended_by_exit(self, trade: Trade, off: TakenOff, closes: tuple[Intent, ...]) -> CloseResult:
        exits = off.ended_by
        assert exits is not None, "it was ended by its exits"
        by_stop = exits.stop.state is IntentState.FILLED
        last = exits.stop if by_stop or exits.profit is None else exits.profit
        reason = ExitReason.STOPPED_OUT if by_stop else ExitReason.TAKE_PROFIT
        role = OrderRole.STOP if by_stop else OrderRole.PROFIT
        price = _average(off, closes)
        done = await self.records.closed(trade, last, reason, role, price=price)
        word = "stop" if by_stop else "take profit"
        return CloseResult(
            success=True,
            message=f"{trade.label} was closed by its {word} at {price} before it could be closed",
            exit_price=price,
            order_id=last.order_id,
            quantity=off.filled,
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
        quantity: Decimal,
        closing: Intent | None = None,
    ) -> CloseResult:
        """Protects again what is still open. Not beside an order that may be alive: both could fill.

        quantity: what was to be closed.
        """
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
        left = quantity - base.quantity
        if off.protecting >= left:  # of a close that an earlier run began: put back by it, or by the watchdog
            return dataclasses.replace(base, message=f"{base.message}; its stop works", stop_restored=True)
        if entry is None or off.removed is None:
            return base
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


def _average(off: TakenOff, closes: tuple[Intent, ...]) -> Decimal | None:
    """Of all that bought it back; None where nobody told the price of a part."""
    parts = [*off.parts, *((each.average_price, each.filled) for each in closes if each.average_price is not None)]
    told = sum((quantity for _, quantity in parts), Decimal(0))
    whole = off.filled + sum((each.filled for each in closes), Decimal(0))
    return average_price(tuple(parts)) if told == whole else None
