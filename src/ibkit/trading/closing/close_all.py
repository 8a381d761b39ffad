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
from decimal import Decimal

from ibkit.clock import Clock
from ibkit.errors import IbkitError, OutcomeUnknown
from ibkit.model import AccountId, Conid, Key, Order, Position, SecType
from ibkit.trading.closing.closer import CloseResult, PositionCloser
from ibkit.trading.gateway import OrderGateway
from ibkit.trading.ports import Broker
from ibkit.trading.ref import child_key
from ibkit.trading.selling.trade import Trade

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
    clock: Clock
    account_id: AccountId

    async def run(self, *, key: Key, confirm: tuple[str, ...] = ()) -> CloseAllResult:
        """Raises what kept the account from being read before anything was sent; the rest is in the result."""
        result = CloseAllResult()
        working = await self._working()
        held = _quantities(await self.broker.positions(self.account_id))
        await self._cancel_orders(result, working, key)
        failed = await self._close_trades(result, held, key, confirm)
        try:
            await self._close_rest(result, held, key, confirm, failed)
        except IbkitError as error:
            result.standing.append(("the rest of the account", f"not looked at: {error.message}"))
        return result

    async def _cancel_orders(self, result: CloseAllResult, working: tuple[Order, ...], key: Key) -> None:
        needed = {n for trade in await self.closer.open_trades() for n in await self.closer.orders_of(trade)}
        for order in working:
            if order.order_id in needed:
                continue
            name = f"{order.side.value} {order.total.normalize():f} {order.description or order.conidex or order.conid}"
            shown = f"order {order.order_id} ({name})"
            try:
                outcome = await self.gateway.cancel(
                    self.account_id, order.order_id, key=child_key(key, f"cancel-{order.order_id}")
                )
                error = outcome.error
                now = await self.broker.order(order.order_id)
            except IbkitError as failure:
                error, now = failure, order
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
            "IBKR gave no complete list of the account's orders", remedy="Try again in a minute, with a new key."
        )

    async def _close_trades(
        self, result: CloseAllResult, held: dict[Conid, Decimal], key: Key, confirm: tuple[str, ...]
    ) -> set[str]:
        """The underlyings of which one could not be closed. held: becomes what is left by what was closed."""
        failed = set()
        for trade in await self.closer.open_trades():
            own = child_key(key, trade.trade_id[:8])
            at_most = None if trade.legs else -held.get(trade.conid, _NOTHING)
            done = await self.closer.close_trade(trade, key=own, confirm=confirm, at_most=at_most)
            if not done.success and done.code == "E-NOT-FOUND":
                await self._take_off_orphans(result, trade)  # expired, or closed by hand: nothing of it is held
                continue
            result.closed.append((trade.label, done))
            if not done.success:
                failed.add(trade.symbol)
            elif not done.by_exit:
                for conid, ratio in [(leg.conid, leg.ratio) for leg in trade.legs] or [(trade.conid, 1)]:
                    held[conid] = held.get(conid, _NOTHING) + ratio * done.quantity
        return failed

    async def _take_off_orphans(self, result: CloseAllResult, trade: Trade) -> None:
        try:
            orphans = await self.closer.take_off_orphans(trade)
        except IbkitError as error:
            result.standing.append((f"an exit of {trade.label}, of which nothing is held", error.message))
            return
        result.cancelled += [f"order {number} (exit of {trade.label}, of which nothing is held)" for number in orphans]

    async def _close_rest(
        self,
        result: CloseAllResult,
        held: dict[Conid, Decimal],
        key: Key,
        confirm: tuple[str, ...],
        failed: set[str],
    ) -> None:
        ours = await self._held_by_trades(failed)
        blocked = {str(order.conid): order.order_id for order in await self._working()}
        options, late = await self._options(held)
        result.kept += [
            (_name(position), "it was closed a moment ago, and IBKR shows it still: look again in a minute")
            for position in late
        ]
        for position in sorted(options, key=lambda p: (p.quantity > 0, p.contract.label)):
            contract = position.contract
            if contract.conid in ours:
                continue
            if position.quantity > 0 and contract.symbol in failed:
                why = f"a sold option of {contract.symbol} is still open, which it may protect"
                result.kept.append((_name(position), why))
                continue
            if str(contract.conid) in blocked:
                result.kept.append((_name(position), f"order {blocked[str(contract.conid)]} on it still stands"))
                failed.add(contract.symbol)
                continue
            own = child_key(key, f"conid-{contract.conid}")
            done = await self.closer.close_held(position, key=own, confirm=confirm)
            result.closed.append((_name(position), done))
            if not done.success and position.quantity < 0:
                failed.add(contract.symbol)

    async def _options(self, held: dict[Conid, Decimal]) -> tuple[list[Position], list[Position]]:
        """The options that are held, and those that still seem to be, though they have just been closed.

        Positions may lag behind a fill. Source: docs/facts/accounts-and-portfolio.md §4.
        """
        until = self.clock.monotonic() + _SHOWN_WITHIN_S
        while True:
            positions = await self.broker.positions(self.account_id)
            options = [p for p in positions if p.contract.sec_type is SecType.OPTION and p.quantity]
            late = [p for p in options if abs(p.quantity) > abs(held.get(p.contract.conid, _NOTHING))]
            if not late or self.clock.monotonic() >= until:
                return [p for p in options if p not in late], late
            await self.clock.sleep(1.0)

    async def _held_by_trades(self, failed: set[str]) -> set[int]:
        """The contracts of trades that are still open: their exits stand, so nothing else is sent for them."""
        return {
            conid
            for trade in await self.closer.open_trades()
            if trade.symbol in failed
            for conid in (trade.conid, *(leg.conid for leg in trade.legs))
        }


_NOTHING = Decimal(0)
_SHOWN_WITHIN_S = 10.0
"""Assumed: so long a position may be shown after the fill that closed it; beyond that a person looks."""


def _quantities(positions: tuple[Position, ...]) -> dict[Conid, Decimal]:
    found: dict[Conid, Decimal] = {}
    for position in positions:
        found[position.contract.conid] = found.get(position.contract.conid, _NOTHING) + position.quantity
    return found


def _name(position: Position) -> str:
    return f"{position.quantity.normalize():f} {position.contract.label}"
