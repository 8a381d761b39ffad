"""Cancelling everything: each working order by a cancel of its own, until the broker shows none any more.

    list → a cancel for each working order, without waiting for its end → list again …
    three complete reads without a working order: done        30 s: an alert, and what is left

What others of this process read meanwhile counts as a read: IBKR gives the list once in five seconds only.

Not by IBKR's cancel of all (DELETE …/-1): its answer names no order, and a cancel that is lost would be lost for all.
Source: reliability §7 (kill switch); docs/facts/orders.md §7, §9.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Protocol

from ibkit.clock import Clock
from ibkit.errors import IbkitError
from ibkit.model import AccountId, Key, Order, OrderId, OrderStatus
from ibkit.trading.alert import Alert, AlertKind, Severity
from ibkit.trading.cancels import Cancels
from ibkit.trading.outcome import Outcome
from ibkit.trading.ports import Broker, Journal, OrdersRead
from ibkit.trading.timeline import Observer, Step, StepKind

__all__ = ["CancelAllResult", "CancelEverything"]

WITHIN_S = 30.0
FURTHER_S = 60.0
"""More for each further account of the login: its reads and those of whoever watches it wait in one queue, and the
first of each after another account was selected proves nothing."""
_READS = 3
_PAUSE_S = 1.0
_ROUND_S = 10.0
"""An order that still works so long after its cancel is cancelled anew, by an intent of its own."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CancelAllResult:
    """cancelled: orders that a cancel was sent for and that no longer work. left: those that still do.

    errors: what single cancels were answered, by order. complete: three complete reads showed nothing working.
    """

    account_id: AccountId
    cancelled: tuple[OrderId, ...]
    left: tuple[Order, ...]
    errors: tuple[tuple[OrderId, str], ...]
    complete: bool


class Canceller(Protocol):
    """What it needs of the gateway."""

    async def ask_to_cancel(self, account_id: AccountId, order_id: OrderId, *, key: Key, user: str = "") -> Outcome: ...

    async def raise_alert(self, alert: Alert) -> None: ...


@dataclass(slots=True)
class CancelEverything:
    """user: who asks, of a service; "" is nobody's."""

    broker: Broker
    journal: Journal
    clock: Clock
    observe: Observer
    door: Canceller
    cancels: Cancels
    user: str = ""

    async def run(self, account_id: AccountId, key: Key, *, sharing: int = 1) -> CancelAllResult:
        """sharing: of so many accounts of the login the orders are cancelled at once; they share the list."""
        begun, within_s = self.clock.monotonic(), WITHIN_S + FURTHER_S * (sharing - 1)
        asked: dict[OrderId, float] = {}
        errors: dict[OrderId, str] = {}
        empty, left, counted = 0, tuple[Order, ...](), list[OrdersRead]()
        while self.clock.monotonic() - begun < within_s:
            own = await self._read(account_id)
            # Whoever watches reads the same list, and takes every other turn: what is read there counts as well.
            others = self.broker.orders_read_since(account_id, begun)
            reads = others if own is None or _among(own, others) else (*others, own)
            news = [read for read in reads if not _among(read, counted)]
            counted += news
            for read in news:
                left = tuple(row for row in read.orders if _works(row))
                empty = empty + 1 if not left and read.complete and not read.first else 0
            if empty >= _READS:
                break
            for row in left if news else ():
                if self.clock.monotonic() - asked.get(row.order_id, -_ROUND_S) >= _ROUND_S:
                    asked[row.order_id] = self.clock.monotonic()
                    await self._cancel(account_id, row, key, errors)
            await self.clock.sleep(_PAUSE_S)
        complete = empty >= _READS
        if not complete:
            await self.door.raise_alert(self._alert(account_id, key, left, within_s))
        numbers = {row.order_id for row in left}
        return CancelAllResult(
            account_id=account_id,
            cancelled=tuple(order_id for order_id in asked if order_id not in numbers),
            left=left,
            errors=tuple(errors.items()),
            complete=complete,
        )

    async def _read(self, account_id: AccountId) -> OrdersRead | None:
        try:
            return await self.broker.read_orders(account_id)
        except IbkitError as error:
            self._tell(StepKind.RECONCILING, f"the orders list could not be read: {error.message}; trying on")
            return None

    async def _cancel(self, account_id: AccountId, row: Order, key: Key, errors: dict[OrderId, str]) -> None:
        self._tell(StepKind.CANCEL, f"cancelling order {row.order_id}: {row.description}", order=row.order_id)
        try:
            own = await self.cancels.next(key, str(row.order_id))
            outcome = await self.door.ask_to_cancel(account_id, row.order_id, key=own, user=self.user)
        except IbkitError as error:
            errors[row.order_id] = error.message
            return
        if outcome.error is not None:
            errors[row.order_id] = outcome.error.message
        else:
            errors.pop(row.order_id, None)

    def _alert(self, account_id: AccountId, key: Key, left: tuple[Order, ...], within_s: float) -> Alert:
        what = ", ".join(f"{row.order_id} ({row.raw_status})" for row in left) or "IBKR showed no complete list"
        return Alert(
            kind=AlertKind.CANCEL_ALL,
            severity=Severity.CRITICAL,
            subject=account_id,
            message=f"CRITICAL: {account_id}: not proven within {within_s:.0f} s that all orders are cancelled: {what}",
            at=self.clock.now(),
            details={"account": account_id, "key": key},
        )

    def _tell(self, kind: StepKind, text: str, **details: str) -> None:
        self.observe(Step(kind=kind, at=self.clock.now(), text=text, details=details))


def _among(read: OrdersRead, reads: Iterable[OrdersRead]) -> bool:
    """This very one: two that show the same are two."""
    return any(each is read for each in reads)


def _works(row: Order) -> bool:
    """Also one whose cancel is under way: a fill may still win; and one of whose state IBKR says nothing known (F33).

    Not one that is Inactive: it was refused, or waits behind a question, and IBKR cancels neither.
    """
    return not row.status.terminal and row.status is not OrderStatus.INACTIVE
