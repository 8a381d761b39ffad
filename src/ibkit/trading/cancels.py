"""Which cancel of an order comes next: the one that is under way, or a new one where all before it came to nothing.

Repeating a cancel is safe, and an acknowledgement of one promises nothing. Source: docs/facts/orders.md §7.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from ibkit.clock import Clock
from ibkit.model import Key
from ibkit.trading.intent import Intent, IntentState
from ibkit.trading.ref import child_key
from ibkit.trading.tracking import Tracker

__all__ = ["Cancels"]

ANEW_S = 10.0
"""So long after IBKR took a cancel its order must have ended, or be about to."""


@dataclass(frozen=True, slots=True)
class Cancels:
    """find: the intent that a key names, None where there is none."""

    find: Callable[[Key], Awaitable[Intent | None]]
    tracker: Tracker
    clock: Clock

    async def next(self, parent: Key, name: str, *, most: int | None = None) -> Key:
        """The key of it, `name-1` and so on under `parent`. most: how many may end before the last one is told again.

        One that never left does not count: in a penalty box of ten minutes a dozen of them grow too old.
        """
        number = ended = 0
        while True:
            number += 1
            key = child_key(parent, f"{name}-{number}")
            known = await self.find(key)
            if known is None or not await self._came_to_nothing(known):
                return key
            ended += not known.grew_too_old
            if ended == most:
                return key

    async def _came_to_nothing(self, cancel: Intent) -> bool:
        """Whether it is over, or its order works on although IBKR took it: either way another may be sent."""
        if cancel.state is not IntentState.ACKED or cancel.sent_at is None:
            return cancel.final
        if abs((self.clock.now() - cancel.sent_at).total_seconds()) < ANEW_S:
            return False
        cancel = await self.tracker.refresh(cancel)
        return cancel.final or (cancel.order_status is not None and cancel.order_status.working)
