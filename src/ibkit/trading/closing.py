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
from decimal import Decimal

from ibkit.clock import Clock
from ibkit.errors import IbkitError, NotFound
from ibkit.model import AccountId, Conid, Key, OrderTicket, Position, Side
from ibkit.trading.close_records import CloseRecords
from ibkit.trading.closing_order import CloseResult, ClosingOrder, why_not_closed
from ibkit.trading.exit_orders import ExitOrders
from ibkit.trading.gateway import OrderGateway
from ibkit.trading.intent import IntentState
from ibkit.trading.ports import Alerts, Broker, Trades
from ibkit.trading.ref import child_key
from ibkit.trading.shelter import sheltered
from ibkit.trading.taking_off import TradeExits
from ibkit.trading.timeline import Observer, unobserved
from ibkit.trading.trade import Trade, TradeStatus
from ibkit.trading.trade_closing import TradeCloser

__all__ = ["CloseResult", "PositionCloser"]

_CLOSE_S = 300.0
"""Bound of the whole: cancel, close and, if need be, the exits again, each with its own shorter bounds."""


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
        self._account_id = account_id
        self._order = ClosingOrder(
            broker=broker,
            gateway=gateway,
            clock=clock,
            account_id=account_id,
            fill_timeout_s=fill_timeout_s,
            observe=observe,
        )
        self._trade = TradeCloser(
            order=self._order,
            exits=TradeExits(ExitOrders(broker=broker, gateway=gateway, clock=clock, observe=observe)),
            records=CloseRecords(
                broker=broker, trades=trades, alerts=alerts, clock=clock, account_id=account_id, observe=observe
            ),
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
            return await self._trade.close(trade, key, limit_price, confirm)

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
            return await self._trade.close(ours[0], key, limit_price, confirm)  # begun before: it goes on
        if known is not None:
            return await self._send(known.ticket, key, confirm)
        # Read once, before anything is closed: what is held afterwards may be told some seconds late.
        held = await self._held(conid)
        if held is None:
            raise NotFound(f"No position in contract {conid}", code="E-NOT-FOUND")
        results = []
        for trade in ours:
            own = key if len(ours) == 1 else child_key(key, trade.trade_id[:8])
            try:
                done = await self._trade.close(trade, own, limit_price, confirm)
            except NotFound:
                continue  # nothing of it is held any more: what is held is somebody else's doing
            if not done.success:
                return done
            results.append(done)
        rest = abs(held.quantity) - sum((each.quantity for each in results), Decimal(0))
        if results and (rest <= 0 or held.quantity > 0 or any(trade.legs for trade in ours)):
            return _together(results)
        side = Side.SELL if held.quantity > 0 else Side.BUY
        ticket = await self._order.ticket(held.contract, side, rest, limit_price)
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

    async def _send(self, ticket: OrderTicket, key: Key, confirm: tuple[str, ...]) -> CloseResult:
        """Close what no trade of ours is in: there is nothing to take off, and nothing to put back."""
        outcome, intent = await self._order.carry_out(ticket, key, confirm, None)
        if intent.state is IntentState.FILLED:
            return self._order.closed(intent, None)
        error = why_not_closed(outcome, intent)
        return dataclasses.replace(
            CloseResult.of(error),
            message=f"Not closed: {error.message}",
            order_id=intent.order_id,
            quantity=intent.filled,
            unsure=not intent.final or error.code == "E-ORD-UNKNOWN",
        )


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
