"""The legs of one sale, one after the other, and what came of them (OPT-02, OPT-06)."""

from __future__ import annotations

import dataclasses
import signal
import threading
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import anyio

from ibkit.error_catalogue import CATALOGUE
from ibkit.errors import IbkitError
from ibkit.model import Conid, Key, Order, OrderId, OrderStatus, Position, Right
from ibkit.trading import TradeResult
from ibkit.trading.ref import own_key
from ibkit.trading.selling.structure import long_strike

if TYPE_CHECKING:
    from ibkit.bootstrap.desks import Desk
    from ibkit.trading import OptionSeller

__all__ = ["Leg", "Sale", "interruptible", "look_back", "sell_legs"]

_SHOWN_ORDERS = 10
_SIGNALS = (signal.SIGINT, signal.SIGTERM)


@dataclass(frozen=True, slots=True)
class Leg:
    """One side of a sale. width: of a vertical, whose protection is bought so far beyond `strike`."""

    right: Right
    strike: Decimal
    width: Decimal | None = None

    @property
    def word(self) -> str:
        return "put" if self.right is Right.PUT else "call"

    @property
    def strikes(self) -> str:
        """`629`, of a vertical `629/624`."""
        if self.width is None:
            return f"{self.strike.normalize():f}"
        return f"{self.strike.normalize():f}/{long_strike(self.strike, self.right, self.width).normalize():f}"


@dataclass(slots=True)
class Sale:
    """What was done. not_started: legs that were left out after a critical failure or an interruption."""

    results: list[tuple[Leg, TradeResult]] = field(default_factory=list)
    not_started: list[Leg] = field(default_factory=list)
    interrupted: bool = False
    working: tuple[Order, ...] = ()
    positions: tuple[Position, ...] = ()
    notes: list[str] = field(default_factory=list)

    @property
    def names(self) -> dict[Conid, str]:
        """What to call the contracts that were dealt in."""
        held = {position.contract.conid: position.contract.label for position in self.positions}
        ours = {
            result.contract_id: f"{result.symbol} {result.expiry:%Y%m%d} {result.strike.normalize():f} {result.right}"
            for _, result in self.results
            if result.contract_id is not None and result.expiry is not None
        }
        return {**held, **ours}

    @property
    def names_by_order(self) -> dict[OrderId, str]:
        """What to call the exits of spreads, whose contract has no number of its own."""
        return {
            order_id: f"{result.symbol} {result.expiry:%Y%m%d} {leg.strikes} {result.right}"
            for leg, result in self.results
            for order_id in (result.stop_order_id, result.take_profit_order_id)
            if leg.width is not None and order_id is not None and result.expiry is not None
        }

    @property
    def good(self) -> int:
        return sum(result.success for _, result in self.results)

    @property
    def critical(self) -> bool:
        return any(result.critical for _, result in self.results)

    @property
    def complete(self) -> bool:
        return not self.not_started and self.good == len(self.results) > 0

    @property
    def first_failure(self) -> TradeResult | None:
        return next((result for _, result in self.results if not result.success), None)

    @property
    def outcome(self) -> str:
        if self.critical:
            return "critical"
        if self.complete:
            return "completed"
        return "partly" if self.good else "failed"

    @property
    def exit_code(self) -> int:
        """0 all sold and protected, 6 some, 7 unprotected or unknown; nothing sold: the code of the reason."""
        match self.outcome:
            case "critical":
                return 7
            case "completed":
                return 0
            case "partly":
                return 6
        failure = self.first_failure
        return CATALOGUE[failure.code].exit if failure is not None and failure.code in CATALOGUE else 5


async def sell_legs(seller: OptionSeller, legs: Sequence[Leg], keys: Sequence[str], **terms: Any) -> Sale:
    """First the put, then the call; after a critical failure, or Ctrl-C, the rest is not started."""
    sale = Sale()
    for number, (leg, key) in enumerate(zip(legs, keys, strict=True), start=1):
        if sale.critical or sale.interrupted:
            sale.not_started.append(leg)
            continue

        async def work(leg: Leg = leg, key: str = key, more_follow: bool = number < len(legs)) -> TradeResult:
            return await seller.sell_option_with_stop(
                terms["symbol"],
                leg.strike,
                leg.right.value,
                terms["stop_multiple"],
                terms["quantity"],
                terms["expiry"],
                width=leg.width,
                key=key,
                more_follow=more_follow,
                **terms["options"],
            )

        result, interrupted = await interruptible(work)
        sale.interrupted = sale.interrupted or interrupted
        # A cancelled sale still ran to its end: the seller protects what it sold and keeps the result.
        result = result or seller.last_result
        if result is None:
            sale.not_started.append(leg)
        else:
            sale.results.append((leg, result))
    if not sale.interrupted:
        await seller.finish()
    return sale


async def interruptible(work: Callable[[], Awaitable[TradeResult]]) -> tuple[TradeResult | None, bool]:
    """The result of `work`, and whether Ctrl-C (or a termination) came meanwhile: it then only ends the waiting."""
    if threading.current_thread() is not threading.main_thread():
        return await work(), False
    # The loop forgets who handled the signals before, and leaves the system's defaults behind.
    before = {number: signal.getsignal(number) for number in _SIGNALS}
    try:
        return await _while_listening(work)
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


async def _while_listening(work: Callable[[], Awaitable[TradeResult]]) -> tuple[TradeResult | None, bool]:
    results: list[TradeResult] = []
    came = False
    async with anyio.create_task_group() as tasks:
        selling = anyio.CancelScope()

        async def listen(*, task_status: anyio.abc.TaskStatus[None] = anyio.TASK_STATUS_IGNORED) -> None:
            nonlocal came
            with anyio.open_signal_receiver(*_SIGNALS) as signals:
                task_status.started()
                async for _ in signals:
                    came = True
                    selling.cancel()

        await tasks.start(listen)
        with selling:
            results.append(await work())
        tasks.cancel_scope.cancel()
    return (results[0] if results else None), came


async def look_back(desk: Desk, sale: Sale, symbol: str) -> None:
    """What the broker shows afterwards: the working orders, as proof of the stops, and the positions in the symbol."""
    try:
        read = await desk.broker.read_orders(desk.account_id)
        if read.first or not read.complete:
            # The first read of a session proves nothing. Source: docs/facts/orders.md §9.
            read = await desk.broker.read_orders(desk.account_id)
        sale.working = tuple(order for order in read.orders if order.status.working)
        if read.complete:
            await _check_stops(desk, sale)
    except IbkitError as error:
        sale.notes.append(f"working orders could not be read: {error.message}")
    try:
        held = await desk.broker.positions(desk.account_id)
        sale.positions = tuple(position for position in held if position.contract.symbol == symbol)
    except IbkitError as error:
        sale.notes.append(f"positions could not be read: {error.message}")


def shown(orders: Sequence[Order]) -> Sequence[Order]:
    return orders[:_SHOWN_ORDERS]


async def _check_stops(desk: Desk, sale: Sale) -> None:
    """A stop that is not among the working orders is looked at: without one, the sale was no success after all."""
    working = {order.order_id for order in sale.working}
    for index, (leg, result) in enumerate(sale.results):
        number = result.stop_order_id
        if not result.success or result.closed or number is None or number in working:
            continue
        order = await desk.broker.order(number)
        if order is not None and order.status.working:
            continue
        status = "not known any more" if order is None else order.status.value
        if order is not None and order.status is OrderStatus.FILLED:
            message = f"{result.message}; but the stop has filled meanwhile: the position is closed"
            sale.results[index] = (leg, dataclasses.replace(result, closed=True, message=message))
            continue
        key = own_key(Key(str(result.key).rpartition(":")[0]))
        error = IbkitError(
            f"CRITICAL: {result.message}; but now stop order {number} is {status}: the position has no working stop",
            code="E-STOP-FAILED",
            remedy=f"Repeat with --key {key}: it places a new stop and sells nothing.",
        )
        unsure = dataclasses.replace(
            result, success=False, message=error.message, code=error.code, remedy=error.remedy, unsure=True
        )
        sale.results[index] = (leg, unsure)
    if sale.critical:
        await desk.guard().check()  # which raises the alert that stays
