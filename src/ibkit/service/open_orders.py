"""A user's orders that have not ended, or of which nobody knows how they ended: all of them, however old.

first            all that the user asked for is read, once
from there on    only what moved since; and all of it again every ten minutes
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Final

import anyio

from ibkit.service.brokers import Login, OrderBook
from ibkit.service.order_answer import OPEN_STATUSES, status_of
from ibkit.trading.events import IntentId, Operation
from ibkit.trading.intent import Intent
from ibkit.trading.ref import keys_of_user

__all__ = ["OpenOrders", "age_of", "is_open"]

WHOLE_ONCE_IN_S: Final = 600.0
MARGIN: Final = timedelta(minutes=2)
"""Another process's clock may be behind that of the newest row."""
_AT_ONCE: Final = 200
_MOST_KEPT: Final = 1_000


def is_open(intent: Intent) -> bool:
    """One whose outcome somebody has settled by hand (`resolved`) has ended."""
    return status_of(intent) in OPEN_STATUSES and not intent.resolved


def age_of(intent: Intent) -> tuple[datetime, IntentId]:
    """By which a list is sorted."""
    return intent.planned.at, intent.intent_id


@dataclass(slots=True)
class _Kept:
    """Of one user at one login. whole_at: of the monotonic clock; newest: of what was read so far."""

    journal: OrderBook
    lock: anyio.Lock = field(default_factory=anyio.Lock)
    orders: dict[IntentId, Intent] = field(default_factory=dict)
    newest: datetime | None = None
    whole_at: float | None = None


class OpenOrders:
    """monotonic: of this process."""

    def __init__(self, monotonic: Callable[[], float]) -> None:
        self._monotonic = monotonic
        self._kept: dict[tuple[str, str, str], _Kept] = {}

    async def of(self, login: Login, user_id: str, *, where: str, or_nobodys: bool) -> list[Intent]:
        """Newest first. where: names the login among those of the user."""
        key = (user_id, where, login.environment.value)
        kept = self._kept.get(key)
        if kept is None or kept.journal is not login.journal:
            while len(self._kept) >= _MOST_KEPT:
                del self._kept[next(iter(self._kept))]
            kept = self._kept[key] = _Kept(login.journal)
        async with kept.lock:
            await self._read(kept, login, user_id, or_nobodys=or_nobodys)
            return sorted(kept.orders.values(), key=age_of, reverse=True)

    async def _read(self, kept: _Kept, login: Login, user_id: str, *, or_nobodys: bool) -> None:
        now = self._monotonic()
        whole = kept.whole_at is None or kept.newest is None or now - kept.whole_at >= WHOLE_ONCE_IN_S
        since = None if whole or kept.newest is None else kept.newest - MARGIN
        found = {} if whole else dict(kept.orders)
        newest, before = kept.newest, None
        while True:
            some = await login.journal.of_keys(
                keys_of_user(user_id),
                environment=login.environment,
                operation=Operation.PLACE,
                before=before,
                changed_since=since,
                or_nobodys=or_nobodys,
                limit=_AT_ONCE,
            )
            for each in some:
                newest = each.updated_at if newest is None else max(newest, each.updated_at)
                if is_open(each):
                    found[each.intent_id] = each
                else:
                    found.pop(each.intent_id, None)
            if len(some) < _AT_ONCE:
                break
            before = some[-1].intent_id
        kept.orders, kept.newest = found, newest
        if whole:
            kept.whole_at = now
