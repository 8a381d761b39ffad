"""The order that closes something: made, sent, waited for; and what came of a close."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal

from ibkit.clock import Clock
from ibkit.errors import IbkitError, OutcomeUnknown
from ibkit.model import AccountId, Contract, Key, OrderId, OrderTicket, OrderType, Rounding, Side, round_price
from ibkit.trading.gateway import OrderGateway
from ibkit.trading.grids import grid_of
from ibkit.trading.intent import Intent, IntentState
from ibkit.trading.outcome import Outcome
from ibkit.trading.ports import Broker
from ibkit.trading.selling.trade import Trade
from ibkit.trading.timeline import Observer, Step, StepKind

__all__ = ["CloseResult", "ClosingOrder", "why_not_closed"]


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


@dataclass(frozen=True, slots=True, kw_only=True)
class ClosingOrder:
    broker: Broker
    gateway: OrderGateway
    clock: Clock
    account_id: AccountId
    fill_timeout_s: float
    observe: Observer

    async def ticket(
        self, contract: Contract, side: Side, quantity: Decimal, limit_price: Decimal | None
    ) -> OrderTicket:
        """limit_price: None for a market order; rounded down to the grid."""
        if limit_price is not None:
            grid = await grid_of(self.broker, contract, side=side)
            limit_price = round_price(limit_price, grid, Rounding.DOWN)
        return OrderTicket(
            account_id=self.account_id,
            contract=contract,
            side=side,
            order_type=OrderType.MARKET if limit_price is None else OrderType.LIMIT,
            quantity=quantity,
            limit_price=limit_price,
        )

    async def carry_out(
        self, ticket: OrderTicket, key: Key, confirm: tuple[str, ...], entry: Intent | None
    ) -> tuple[Outcome, Intent]:
        """The order, filled, or over because its time was up. entry: whose fill it undoes, where that is known."""
        outcome = await self.gateway.submit(
            ticket, key=key, confirm=confirm, purpose="close", reduces=None if entry is None else entry.intent_id
        )
        intent = outcome.intent
        if intent.state is IntentState.ACKED:
            intent = await self.gateway.wait_for_fill(intent, within_s=self.fill_timeout_s)
        if intent.state is IntentState.ACKED:
            intent = await self._cancel_rest(intent)
        return outcome, intent

    async def _cancel_rest(self, intent: Intent) -> Intent:
        self._tell(StepKind.CANCEL, "the close did not fill in time: cancelling it")
        try:
            return await self.gateway.cancel_rest(intent)
        except IbkitError as error:
            self._tell(StepKind.CANCEL, f"the cancel failed: {error.message}")
        return await self.gateway.refreshed(intent)

    def closed(self, intent: Intent, trade: Trade | None, done: Trade | None = None) -> CloseResult:
        """trade: whose position it was. done: its record afterwards, where it could be written."""
        price = intent.average_price
        label = intent.ticket.contract.label if trade is None else trade.label
        message = f"Closed {intent.filled.normalize():f} {label} at {price}"
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

    def _tell(self, kind: StepKind, text: str, **details: str) -> None:
        self.observe(Step(kind=kind, at=self.clock.now(), text=text, details=details))


def why_not_closed(outcome: Outcome, intent: Intent) -> IbkitError:
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
