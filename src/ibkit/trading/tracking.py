"""Following an acknowledged order to its end, by its number."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from ibkit.clock import Clock
from ibkit.errors import IbkitError
from ibkit.model import Order, OrderStatus
from ibkit.trading.intent import Intent, IntentState
from ibkit.trading.ports import Broker, Journal
from ibkit.trading.reconcile import progressed

__all__ = ["POLL_S", "Tracker"]

POLL_S = 0.5
"""Order status by number has no limit of its own, only the global one. Source: docs/facts/orders.md §0.2, §10."""


def _never() -> bool:
    return False


@dataclass(frozen=True, slots=True)
class Tracker:
    broker: Broker
    journal: Journal
    clock: Clock

    async def refresh(self, intent: Intent) -> Intent:
        """`intent` (acknowledged) after one look at its order; unchanged where the broker does not answer."""
        if intent.state is not IntentState.ACKED or not intent.order_id:
            return intent
        try:
            order = await self.broker.order(intent.order_id)
        except IbkitError:
            return intent
        if order is None or not _changed(intent, order):
            return intent
        # Inactive after an acknowledgement is a late refusal, unless the order waits behind a question.
        refused = order.status is OrderStatus.INACTIVE and not order.parked
        return await self.journal.append(intent, progressed(order, at=self.clock.now(), refused=refused))

    async def wait_for_fill(self, intent: Intent, *, within_s: float, hurried: Callable[[], bool] = _never) -> Intent:
        """`intent` once it is final, or as it is after `within_s`, or as soon as `hurried` says so."""
        return await self._until(intent, lambda now: now.final, within_s=within_s, hurried=hurried)

    async def confirm_working(self, intent: Intent, *, within_s: float) -> Intent:
        """`intent` once the broker works it (PreSubmitted counts: a stop rests there) or it is final."""
        return await self._until(intent, is_working_or_final, within_s=within_s, hurried=_never)

    async def _until(
        self, intent: Intent, reached: Callable[[Intent], bool], *, within_s: float, hurried: Callable[[], bool]
    ) -> Intent:
        deadline = self.clock.monotonic() + within_s
        while True:
            intent = await self.refresh(intent)
            if reached(intent) or intent.state is not IntentState.ACKED or hurried():
                return intent
            left = deadline - self.clock.monotonic()
            if left <= 0:
                return intent
            await self.clock.sleep(min(POLL_S, left))


def is_working_or_final(intent: Intent) -> bool:
    return intent.final or intent.order_status in (OrderStatus.PRE_SUBMITTED, OrderStatus.SUBMITTED)


def _changed(intent: Intent, order: Order) -> bool:
    """Something new was said, and nothing that we know was unsaid (a late, older answer)."""
    if order.filled < intent.filled:
        return False
    return order.status is not intent.order_status or order.filled != intent.filled
