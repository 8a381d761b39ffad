"""Rolling a trade: closed, then sold anew further out or at another strike, with the same plan of exits.

| the close is | the sale is | so the next step is                                                       |
|--------------|-------------|---------------------------------------------------------------------------|
| not begun    | not begun   | look: the new sale must be possible, else nothing is touched; then close  |
| begun        | not begun   | close goes on: filled → sell; anything else → told, its stop is put back  |
| filled       | not begun   | sell                                                                      |
| filled       | begun       | the sale goes on where it was                                             |

Both steps have keys made of the roll's key, so a crash anywhere leaves one of these rows, and the same command goes on.
A step whose order is proven never to have reached IBKR counts as not begun: it is taken again, with a key of its own.
Between the steps the account holds nothing of it: the exits come off only for the close, and come back where it fails.

Close and sale are two orders on purpose. As one combination they would fill at one net price, which tells neither the
result of the old trade nor the entry that the new stop is computed from; and until it fills the old position would have
no stop. Source: requirement TRD-19; issue item "roll and close commands".
"""

from __future__ import annotations

import dataclasses
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal

from ibkit.errors import NotFound
from ibkit.model import Key
from ibkit.trading.closing.closer import CloseResult, PositionCloser
from ibkit.trading.gateway import OrderGateway
from ibkit.trading.intent import Intent, IntentState
from ibkit.trading.outcome import remedy_of
from ibkit.trading.ref import child_key
from ibkit.trading.selling.exits import ExitPlan, OnMissing
from ibkit.trading.selling.sale import NEW_YORK
from ibkit.trading.selling.seller import OptionSeller
from ibkit.trading.selling.trade import Trade, TradeResult, TradeStatus

__all__ = ["PositionRoller", "Progress", "RollResult", "RollTo", "plan_for", "step_key"]


@dataclass(frozen=True, slots=True, kw_only=True)
class RollTo:
    """What is sold instead. width: None for the option alone."""

    strike: Decimal
    expiry: date
    width: Decimal | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class RollResult:
    """success: closed and sold, with exits that work. flat: closed, but nothing new is open. unsure: exit code 7.

    net: per unit, what the new sale brought less what the old one cost; above zero a credit.
    """

    success: bool
    message: str
    code: str = ""
    remedy: str = ""
    close: CloseResult | None = None
    sale: TradeResult | None = None
    net: Decimal | None = None
    net_amount: Decimal | None = None
    flat: bool = False
    unsure: bool = False


CLOSE, SELL = "roll-close", "roll-sell"
_MOST_TRIES = 9
"""Of one step, over all runs of a roll: the next begins where the one before is proven never to have been placed."""


def step_key(key: Key, step: str, attempt: int = 1) -> Key:
    return child_key(key, step if attempt == 1 else f"{step}-{attempt}")


def plan_for(trade: Trade, expiry: date) -> ExitPlan:
    """The plan of `trade` for what follows it: its time exit keeps its hour and its distance from the expiry.

    A trade from before plans were kept has the multiple that its stop stood at.
    """
    plan = trade.exit_plan
    if plan is None:
        if not trade.entry_price or trade.stop_loss_price is None or trade.stop_loss_price <= trade.entry_price:
            raise NotFound(
                f"{trade.label} has no plan of exits to go on with",
                code="E-NOT-FOUND",
                remedy="Close it with `ibkit positions close` and sell anew with `ibkit sell-option`.",
            )
        return ExitPlan(stop_multiple=trade.stop_loss_price / trade.entry_price)
    return dataclasses.replace(plan, exit_at=_moved(plan.exit_at, trade.expiration, expiry))


def _moved(at: datetime | None, old: date, new: date) -> datetime | None:
    if at is None:
        return None
    local = at.astimezone(NEW_YORK)
    return datetime.combine(local.date() + (new - old), local.time(), NEW_YORK)


@dataclass(frozen=True, slots=True, kw_only=True)
class Progress:
    closing: Intent | None
    selling: Intent | None

    @property
    def begun(self) -> bool:
        return self.closing is not None or self.selling is not None


@dataclass(frozen=True, slots=True, kw_only=True)
class _State:
    trade: Trade
    to: RollTo
    close_key: Key
    closing: Intent | None
    sell_key: Key
    selling: Intent | None

    @property
    def closed(self) -> bool:
        return self.closing is not None and self.closing.state is IntentState.FILLED


@dataclass(frozen=True, slots=True, kw_only=True)
class PositionRoller:
    """options: more arguments of the sale (confirm, allow_delayed, force, on_stop_failure)."""

    gateway: OrderGateway
    closer: PositionCloser
    seller: OptionSeller

    async def roll(self, trade: Trade, to: RollTo, *, key: Key, **options: object) -> RollResult:
        """Close `trade` and sell `to` with its plan. Failures of the broker and the market are a RollResult."""
        state = await self._state(trade, to, key)
        for due, step in self._steps():
            if due(state):
                stop = await step(state, options)
                if stop is not None:
                    return stop
                state = await self._state(trade, to, key)
        raise AssertionError("the last step of a roll ends it")

    def _steps(self) -> tuple[tuple[Callable[[_State], bool], _Step], ...]:
        return (
            (lambda state: state.closing is None and state.selling is None, self._look),
            (lambda state: not state.closed, self._close),
            (lambda state: True, self._sell),
        )

    async def _state(self, trade: Trade, to: RollTo, key: Key) -> _State:
        close_key, closing = await self._latest(key, CLOSE)
        sell_key, selling = await self._latest(key, SELL)
        return _State(trade=trade, to=to, close_key=close_key, closing=closing, sell_key=sell_key, selling=selling)

    async def _latest(self, key: Key, step: str) -> tuple[Key, Intent | None]:
        """The key that a step goes on with, and what is known of it."""
        for attempt in range(1, _MOST_TRIES + 1):
            own = step_key(key, step, attempt)
            known = await self.gateway.find(own)
            if known is None or known.state not in _NEVER_PLACED:
                break
        return own, known

    async def progress(self, key: Key) -> Progress:
        """What an earlier run of this key has begun."""
        _, closing = await self._latest(key, CLOSE)
        _, selling = await self._latest(key, SELL)
        return Progress(closing=closing, selling=selling)

    async def preview(self, trade: Trade, to: RollTo, *, quantity: Decimal, **options: object) -> TradeResult:
        """The new sale as it would be; nothing is sent."""
        return await self._sale(trade, to, quantity, dry_run=True, **options)

    # -- the steps: None to go on, a result to end ----------------------------------------------------------------

    async def _look(self, state: _State, options: dict[str, object]) -> RollResult | None:
        if state.trade.status is not TradeStatus.OPEN or state.trade.entry_price is None:
            reason = f" ({state.trade.exit_reason.value.replace('_', ' ')})" if state.trade.exit_reason else ""
            return RollResult(
                success=False,
                message=f"{state.trade.label} is over{reason}: there is nothing to roll",
                code="E-NOT-FOUND",
                remedy="`ibkit trades list --status open` shows what is open.",
            )
        looked = await self.preview(state.trade, state.to, quantity=state.trade.quantity, **options)
        if looked.success:
            return _refused_by_limits(looked)
        message = f"Not rolled, nothing was touched: {looked.message}"
        return RollResult(success=False, message=message, code=looked.code, remedy=looked.remedy, sale=looked)

    async def _close(self, state: _State, options: dict[str, object]) -> RollResult | None:
        confirm = options.get("confirm", ())
        assert isinstance(confirm, tuple), "question ids are a tuple"
        done = await self.closer.close_trade(state.trade, key=state.close_key, confirm=confirm)
        if done.success and not done.by_exit:
            return None
        if done.success:
            message = f"Not rolled: {done.message}; nothing new was sold"
            return RollResult(success=False, message=message, code="E-NOT-FOUND", close=done, flat=True)
        return RollResult(
            success=False,
            message=f"Not rolled: {done.message}",
            code=done.code,
            remedy=done.remedy,
            close=done,
            unsure=done.unsure,
        )

    async def _sell(self, state: _State, options: dict[str, object]) -> RollResult:
        closing = state.closing
        assert closing is not None, "sold only after the close was filled"
        sale = await self._sale(state.trade, state.to, closing.filled, key=state.sell_key, **options)
        close = CloseResult(
            success=True,
            message=f"Closed {closing.filled.normalize():f} {state.trade.label} at {closing.average_price}",
            exit_price=closing.average_price,
            order_id=closing.order_id,
            quantity=closing.filled,
            trade_id=state.trade.trade_id,
        )
        net, amount = _net(state.trade, closing, sale)
        told = "" if net is None else f"; net {'credit' if net >= 0 else 'debit'} {abs(net)} each"
        return RollResult(
            success=sale.success,
            message=f"{close.message}; {sale.message}{told}" if sale.sold else f"{close.message}, but {sale.message}",
            code=sale.code,
            remedy=sale.remedy,
            close=close,
            sale=sale,
            net=net,
            net_amount=amount,
            flat=not sale.sold and not sale.unsure,
            unsure=sale.unsure,
        )

    async def _sale(self, trade: Trade, to: RollTo, quantity: Decimal, **options: object) -> TradeResult:
        plan = plan_for(trade, to.expiry)
        terms: dict[str, object] = {"trail": plan.trail, "take_profit": plan.take_profit, "exit_at": plan.exit_at}
        terms["on_stop_failure"] = "alert" if plan.on_missing is OnMissing.ALERT else "close"
        return await self.seller.sell_option_with_stop(
            trade.symbol,
            to.strike,
            trade.right.value,
            plan.stop_multiple if plan.stop_multiple is not None else Decimal(3),
            int(quantity),
            to.expiry,
            width=to.width,
            **{**terms, **options},  # type: ignore[arg-type]  # the plan's own types, and what was said besides
        )


_NEVER_PLACED = frozenset({IntentState.NOT_PLACED, IntentState.EXPIRED_LOCAL})
"""Ends that prove that the broker has no such order, and that are nobody's refusal."""

_Step = Callable[[_State, dict[str, object]], Awaitable[RollResult | None]]


_EASED = frozenset({"RC-13", "RC-14", "RC-15", "RC-23"})
"""What these measure is less once the old trade is closed, so they are asked only by the sale itself."""


def _refused_by_limits(looked: TradeResult) -> RollResult | None:
    """None where no limit, nor a kill switch, would refuse the new sale after the close."""
    limits = () if looked.preview is None else looked.preview.limits
    for reading in limits:
        if reading.objection and reading.control not in _EASED:
            message = f"Not rolled, nothing was touched: {reading.objection}"
            remedy = remedy_of(reading.control)
            return RollResult(success=False, message=message, code="E-RISK", remedy=remedy, sale=looked)
    return None


def _net(trade: Trade, closing: Intent, sale: TradeResult) -> tuple[Decimal | None, Decimal | None]:
    """Per unit, and in total."""
    if closing.average_price is None or sale.entry_price is None or not sale.sold:
        return None, None
    amount = (sale.entry_price * sale.filled_quantity - closing.average_price * closing.filled) * trade.multiplier
    return sale.entry_price - closing.average_price, amount
