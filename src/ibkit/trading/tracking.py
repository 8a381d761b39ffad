"""Following an acknowledged order to its end, by its number.

Looking is no sending: what is seen counts although it could not be written down, and another process that follows
the same order (its start, a second sale) is no reason to stop. A sale that gave up here would leave a naked short.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass

from ibkit.clock import Clock
from ibkit.errors import IbkitError, InFlight, StorageError
from ibkit.model import GroupKind, Order, OrderStatus
from ibkit.trading.alert import Alert
from ibkit.trading.groups import both_filled_alert
from ibkit.trading.intent import Intent, IntentState, fold
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
        """`intent` (acknowledged) after one look at its order; unchanged where the broker does not answer.

        Raises nothing: a progress that the journal cannot take is told all the same, and looked up again next time.
        """
        if intent.state is not IntentState.ACKED or not intent.order_id:
            return intent
        try:
            order = await self.broker.order(intent.order_id)
        except IbkitError:
            return intent
        return intent if order is None else await self.seen(intent, order)

    async def seen(self, intent: Intent, order: Order) -> Intent:
        """`intent` (acknowledged) after the broker showed its order so; raises nothing, as `refresh`."""
        if order.status is OrderStatus.FILLED and not order.filled and intent.planned.ticket:
            order = dataclasses.replace(order, filled=intent.size)  # said without figures
        if intent.state is not IntentState.ACKED:
            return intent
        # Inactive after an acknowledgement is a late refusal, unless the order waits behind a question. It is news even
        # where a list showed it so before: the list does not say which of the two it is.
        refused = order.status is OrderStatus.INACTIVE and not order.parked
        if not refused and not _changed(intent, order):
            return intent
        event = progressed(order, at=self.clock.now(), refused=refused)
        try:
            return await self.journal.append(intent, event, alert=await self._of_its_group(fold(intent, event)))
        except InFlight:
            return await self._moved_by_another(intent)
        except StorageError:
            return dataclasses.replace(fold(intent, event), version=intent.version)

    async def _of_its_group(self, after: Intent) -> Alert | None:
        """Told with the fill itself: once both are written down as ended, nobody looks after their group any more."""
        parent_id = after.planned.leg_of or (after.intent_id if after.planned.group is GroupKind.OCA else None)
        if after.state is not IntentState.FILLED or parent_id is None:
            return None
        parent = await self.journal.get(parent_id)
        assert parent is not None, "a leg has the intent that it left with"
        members = (*await self.journal.legs(parent_id), *((parent,) if parent.planned.group is GroupKind.OCA else ()))
        # Of an OCA group that was found by another of its orders, two intents are one order.
        others = [each for each in members if each.order_id != after.order_id]
        filled = [each for each in others if each.state is IntentState.FILLED]
        return both_filled_alert(parent, (*filled, after), at=self.clock.now()) if filled else None

    async def _moved_by_another(self, intent: Intent) -> Intent:
        """What another task or process has written meanwhile; it looked at the same order."""
        try:
            return await self.journal.get(intent.intent_id) or intent
        except StorageError:
            return intent

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
    if order.status is not intent.order_status or order.filled != intent.filled or order.status.terminal:
        return True  # terminal also where it was found so: what is acknowledged only has not ended
    return intent.planned.ticket is not None and order.total not in (0, intent.size)
