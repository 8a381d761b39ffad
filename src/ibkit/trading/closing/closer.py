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
from ibkit.errors import IbkitError, NotFound, TradingError
from ibkit.model import AccountId, Conid, Key, OrderId, OrderTicket, Position, Side
from ibkit.trading.closing.closing_order import CloseResult, ClosingOrder, why_not_closed
from ibkit.trading.closing.records import CloseRecords
from ibkit.trading.closing.taking_off import TradeExits
from ibkit.trading.closing.trade_closing import TradeCloser
from ibkit.trading.events import Operation
from ibkit.trading.gateway import OrderGateway
from ibkit.trading.intent import IntentState
from ibkit.trading.ports import Alerts, Broker
from ibkit.trading.ref import child_key
from ibkit.trading.selling import book
from ibkit.trading.selling.by_hand import HeldPositions
from ibkit.trading.selling.coverage import SETTLE
from ibkit.trading.selling.exit_orders import ExitOrders
from ibkit.trading.selling.ports import Trades
from ibkit.trading.selling.trade import Trade, TradeStatus
from ibkit.trading.shelter import sheltered
from ibkit.trading.timeline import Observer, unobserved

__all__ = ["CloseResult", "PositionCloser"]

_CLOSE_S = 300.0
"""Bound of the whole: cancel, close and, if need be, the exits again, each with its own shorter bounds."""
_RECENT = 200


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
        self._held_positions = HeldPositions(broker, clock)
        self._order = ClosingOrder(
            broker=broker,
            gateway=gateway,
            clock=clock,
            account_id=account_id,
            fill_timeout_s=fill_timeout_s,
            observe=observe,
        )
        self._clock = clock
        self._exits = TradeExits(ExitOrders(broker=broker, gateway=gateway, clock=clock, observe=observe))
        self._trade = TradeCloser(
            order=self._order,
            exits=self._exits,
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
        self,
        trade: Trade,
        *,
        key: Key,
        limit_price: Decimal | None = None,
        confirm: tuple[str, ...] = (),
        at_most: Decimal | None = None,
    ) -> CloseResult:
        """Close what the account still holds of `trade`; otherwise as `close_position`.

        at_most: where more is known than positions show yet, what of it can be left.
        """

        async def work() -> CloseResult:
            return await self._trade.close(trade, key, limit_price, confirm, at_most=at_most)

        return await self._whole(work, key)

    async def close_held(self, position: Position, *, key: Key, confirm: tuple[str, ...] = ()) -> CloseResult:
        """Close a position as it is, at market; the caller knows that no trade of ours is in it, and that it stands."""

        async def work() -> CloseResult:
            known = await self._gateway.find(key)
            if known is not None:
                return await self._send(known.ticket, key, confirm)
            side = Side.SELL if position.quantity > 0 else Side.BUY
            ticket = await self._order.ticket(position.contract, side, abs(position.quantity), None)
            return await self._send(ticket, key, confirm)

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
            raise NotFound(
                f"No position in contract {conid}",
                code="E-NOT-FOUND",
                remedy="`ibkit positions list` shows what the account holds.",
            )
        results: list[CloseResult] = []
        gone: list[Trade] = []
        for trade in ours:
            own = key if len(ours) == 1 else child_key(key, trade.trade_id[:8])
            closed = sum((each.quantity for each in results if not each.by_exit), Decimal(0))
            at_most = None if trade.legs else -held.quantity - closed
            try:
                done = await self._trade.close(trade, own, limit_price, confirm, at_most=at_most)
            except NotFound:
                gone.append(trade)  # nothing of it is held any more: what is held is somebody else's doing
                continue
            if not done.success:
                return done
            results.append(done)
        rest = abs(held.quantity) - sum((each.quantity for each in results), Decimal(0))
        if results and (rest <= 0 or held.quantity > 0 or any(trade.legs for trade in ours)):
            return _together(results)
        side = Side.SELL if held.quantity > 0 else Side.BUY
        if not results:
            await self._refuse_just_closed(held, side)
        ticket = await self._order.ticket(held.contract, side, rest, limit_price)
        last = await self._send(ticket, child_key(key, "rest") if results else key, confirm)
        return await self._without_orphans(_together([*results, last]), gone) if last.success else last

    async def _without_orphans(self, done: CloseResult, gone: list[Trade]) -> CloseResult:
        """`done`, after the exits of trades of which nothing is left were taken off: they would open a position."""
        try:
            for trade in gone:
                await self._exits.take_off(trade, await self._trade.entry_of(trade), begun=False)
        except IbkitError as error:
            message = f"{done.message}; but {error.message}: cancel it, or it may open a position"
            return dataclasses.replace(done, success=False, message=message, code=error.code, remedy=error.remedy)
        return done

    async def _refuse_just_closed(self, held: Position, side: Side) -> None:
        """No second close while IBKR may still show a position that an order of ours has just closed.

        Source: docs/facts/accounts-and-portfolio.md §4 (positions may lag behind a fill; nobody says how long).
        """
        since = self._clock.now() - SETTLE
        for intent in await self._gateway.journal.recent(limit=_RECENT):
            opens = intent.operation is not Operation.PLACE or intent.planned.purpose == "entry"
            if opens or not intent.filled or intent.updated_at < since:
                continue
            ticket = intent.ticket
            parts = [(leg.contract.conid, leg.ratio) for leg in ticket.contract.legs] or [(ticket.contract.conid, 1)]
            sign = 1 if ticket.side is side else -1
            if ticket.account_id == self._account_id and any(
                conid == held.contract.conid and ratio * sign > 0 for conid, ratio in parts
            ):
                raise TradingError(
                    f"Nothing was sent: order {intent.order_id} ({intent.label}) filled less than a minute ago, and "
                    "IBKR's positions may not show it yet",
                    code="E-IDEM-BUSY",
                    remedy="Look with `ibkit positions list` in a minute; close what is left then.",
                )

    async def trades_in(self, conid: Conid) -> tuple[Trade, ...]:
        """The open trades of ours that have this contract, as what they sold or as a leg; oldest first."""
        return tuple(
            trade
            for trade in await self.open_trades()
            if trade.conid == conid or any(leg.conid == conid for leg in trade.legs)
        )

    async def open_trades(self) -> tuple[Trade, ...]:
        """The open trades of ours that sold something, oldest first.

        A sale that broke off before its record was complete is among them, as the journal knows it.
        """
        opened = await self._trades.trades(account_id=self._account_id, status=TradeStatus.OPEN)
        known = [await self._completed(trade) for trade in reversed(opened)]
        return tuple(trade for trade in known if trade is not None)

    async def _completed(self, trade: Trade) -> Trade | None:
        if trade.entry_price is not None:
            return trade
        entry = await self._trade.entry_of(trade)
        if entry is not None and entry.state is IntentState.ACKED:
            entry = await self._gateway.refreshed(entry)
        if entry is None or not entry.filled:
            return None
        return book.sold(trade, entry, at=self._clock.now(), stop=None, stop_loss=None)

    async def orders_of(self, trade: Trade) -> frozenset[OrderId]:
        """The numbers of all orders that may end `trade`: what its record and the journal know."""
        undoing = await self._exits.undoing(await self._trade.entry_of(trade))
        numbers = [link.order_id for link in trade.links] + [each.order_id for each in undoing]
        return frozenset(number for number in numbers if number is not None)

    async def take_off_orphans(self, trade: Trade) -> tuple[OrderId, ...]:
        """Cancel the exits of a trade of which the account surely holds nothing any more: they would open a position.

        Raises what kept one from being cancelled. A trade so young that positions need not show it is left alone.
        """
        entry = await self._trade.entry_of(trade)
        if entry is None:
            return ()
        held = await self._held_positions.of(entry, expected=trade.quantity)
        if held is None or held.whole:
            return ()
        off = await self._exits.take_off(trade, entry, begun=True)
        standing = [each.order_id for exits in off.exits for each in exits.members if not each.final]
        await self._exits.take_off(trade, entry, begun=False)
        return tuple(number for number in standing if number is not None)

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
