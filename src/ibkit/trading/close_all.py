"""Closing every option of an account: its other orders are cancelled, then trade by trade, then what else is held.

    orders that no open trade needs      cancelled, one by one
    trades of ours                       closed with their exits off (closing.py)
    other sold options, then bought      closed as they are

The exits of a trade stay until its own turn, so that a crash on the way leaves nothing naked. Bought options come last,
and stay where a sold one of the same underlying could not be closed: they may be what protects it.
Source: requirement TRD-19.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from ibkit.errors import IbkitError, OutcomeUnknown
from ibkit.model import AccountId, Key, Order, OrderId, Position, SecType
from ibkit.trading.closing import CloseResult, PositionCloser
from ibkit.trading.gateway import OrderGateway
from ibkit.trading.ports import Broker, Trades
from ibkit.trading.ref import child_key
from ibkit.trading.trade import TradeStatus

__all__ = ["CloseAll", "CloseAllResult"]


@dataclass(slots=True)
class CloseAllResult:
    """cancelled, standing: orders that were cancelled, or could not be and why. closed: what, and how it went.

    kept: what was left alone on purpose, and why.
    """

    cancelled: list[str] = field(default_factory=list)
    standing: list[tuple[str, str]] = field(default_factory=list)
    closed: list[tuple[str, CloseResult]] = field(default_factory=list)
    kept: list[tuple[str, str]] = field(default_factory=list)

    @property
    def success(self) -> bool:
        return not self.standing and not self.kept and all(result.success for _, result in self.closed)

    @property
    def unsure(self) -> bool:
        return any(result.unsure for _, result in self.closed)


@dataclass(frozen=True, slots=True, kw_only=True)
class CloseAll:
    broker: Broker
    gateway: OrderGateway
    closer: PositionCloser
    trades: Trades
    account_id: AccountId

    async def run(self, *, key: Key, confirm: tuple[str, ...] = ()) -> CloseAllResult:
        """Raises what kept the account from being read; what happens to one order or position is in the result."""
        result = CloseAllResult()
        await self._cancel_orders(result, key)
        failed = await self._close_trades(result, key, confirm)
        await self._close_rest(result, key, confirm, failed)
        return result

    async def _cancel_orders(self, result: CloseAllResult, key: Key) -> None:
        needed = await self._exit_orders()
        for order in await self._working():
            if order.order_id in needed:
                continue
            name = f"{order.side.value} {order.total.normalize():f} {order.description or order.conidex or order.conid}"
            shown = f"order {order.order_id} ({name})"
            try:
                outcome = await self.gateway.cancel(
                    self.account_id, order.order_id, key=child_key(key, f"cancel-{order.order_id}")
                )
                error = outcome.error
            except IbkitError as failure:
                error = failure
            now = await self.broker.order(order.order_id)
            if now is None or now.status.terminal:
                result.cancelled.append(shown)
            else:
                why = f"it is {now.raw_status}" if error is None else error.message
                result.standing.append((shown, why))

    async def _working(self) -> tuple[Order, ...]:
        """Every order that may still fill. The first list of a session is empty and proves nothing."""
        for _ in range(3):
            read = await self.broker.read_orders(self.account_id)
            if read.complete and not read.first:
                return tuple(order for order in read.orders if not order.status.terminal)
        raise OutcomeUnknown(
            "IBKR gave no complete list of the account's orders: nothing was cancelled or closed",
            remedy="Try again in a minute.",
        )

    async def _exit_orders(self) -> set[OrderId]:
        opened = await self.trades.trades(account_id=self.account_id, status=TradeStatus.OPEN)
        return {link.order_id for trade in opened for link in trade.links if link.order_id is not None}

    async def _close_trades(self, result: CloseAllResult, key: Key, confirm: tuple[str, ...]) -> set[str]:
        """The underlyings of which one could not be closed."""
        failed = set()
        opened = await self.trades.trades(account_id=self.account_id, status=TradeStatus.OPEN)
        for trade in reversed(opened):
            if trade.entry_price is None:
                continue
            done = await self.closer.close_trade(trade, key=child_key(key, trade.trade_id[:8]), confirm=confirm)
            if not done.success and done.code == "E-NOT-FOUND":
                continue  # expired, or closed by hand: nothing of it is held
            result.closed.append((trade.label, done))
            if not done.success:
                failed.add(trade.symbol)
        return failed

    async def _close_rest(self, result: CloseAllResult, key: Key, confirm: tuple[str, ...], failed: set[str]) -> None:
        ours = await self._held_by_trades(failed)
        blocked = {str(order.conid): order.order_id for order in await self._working()}
        options = [p for p in await self.broker.positions(self.account_id) if p.contract.sec_type is SecType.OPTION]
        for position in sorted((p for p in options if p.quantity), key=lambda p: (p.quantity > 0, p.contract.label)):
            contract = position.contract
            if contract.conid in ours:
                continue
            name = f"{position.quantity.normalize():f} {contract.label}"
            if position.quantity > 0 and contract.symbol in failed:
                result.kept.append((name, f"a sold option of {contract.symbol} is still open, which it may protect"))
                continue
            if str(contract.conid) in blocked:
                result.kept.append((name, f"order {blocked[str(contract.conid)]} on it still stands"))
                failed.add(contract.symbol)
                continue
            done = await self._close_one(position, key, confirm)
            result.closed.append((name, done))
            if not done.success and position.quantity < 0:
                failed.add(contract.symbol)

    async def _held_by_trades(self, failed: set[str]) -> set[int]:
        """The contracts of trades that are still open: their exits stand, so nothing else is sent for them."""
        opened = await self.trades.trades(account_id=self.account_id, status=TradeStatus.OPEN)
        return {
            conid
            for trade in opened
            if trade.symbol in failed and trade.entry_price is not None
            for conid in (trade.conid, *(leg.conid for leg in trade.legs))
        }

    async def _close_one(self, position: Position, key: Key, confirm: tuple[str, ...]) -> CloseResult:
        own = child_key(key, f"conid-{position.contract.conid}")
        return await self.closer.close_position(position.contract.conid, key=own, confirm=confirm)
