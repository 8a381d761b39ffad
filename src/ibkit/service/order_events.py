"""What happens to a user's orders, as it comes into the journal: server-sent events.

The journal is asked, not the process: so it does not matter which process the broker told. Source: requirement GWY-06.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from datetime import datetime, timedelta

from ibkit.clock import Clock
from ibkit.errors import IbkitError, RateLimited
from ibkit.service.brokers import Brokers, broker_of
from ibkit.service.order_answer import order_data
from ibkit.service.problems import encode
from ibkit.trading.events import IntentId, Operation
from ibkit.trading.ref import keys_of_user
from ibkit.users.principal import Principal

__all__ = ["MOST_LISTENERS", "OrderEvents"]

LOOK_EVERY_S = 0.5
HEARTBEAT_S = 15.0
MOST_LISTENERS = 10
_MOST_AT_ONCE = 200
_OVERLAP = timedelta(seconds=2)
"""A change is stamped before it is stored; one that was stored late must not fall behind the look that passed it."""


class OrderEvents:
    """stopping: whether the process is about to end, and every stream with it."""

    def __init__(self, brokers: Brokers, clock: Clock, stopping: Callable[[], bool]) -> None:
        self._brokers = brokers
        self._clock = clock
        self._stopping = stopping
        self._listening: dict[str, int] = {}

    async def stream(self, who: Principal, since: datetime | None) -> AsyncIterator[bytes]:
        """Each change as `event: order`; what changed since `since` first. RateLimited for one listener too many."""
        count = self._listening.get(who.user_id, 0)
        if count >= MOST_LISTENERS:
            raise RateLimited(
                f"Rate limit reached: {MOST_LISTENERS} streams for each user",
                remedy="Close one first.",
                details={"retry_after": 5},
            )
        self._listening[who.user_id] = count + 1
        return self._told(who, since)

    async def _told(self, who: Principal, since: datetime | None) -> AsyncIterator[bytes]:
        seen: dict[IntentId, int] = {}
        looked: dict[str, datetime] = {}
        quiet = 0.0
        try:
            yield b"retry: 2000\n\n"
            while not self._stopping():
                try:
                    told = [event async for event in self._news(who, since, seen, looked)]
                except IbkitError as error:
                    yield f'event: error\ndata: {{"code": "{error.code}"}}\n\n'.encode()
                    told = []
                for event in told:
                    yield event
                quiet = 0.0 if told else quiet + LOOK_EVERY_S
                if quiet >= HEARTBEAT_S:
                    quiet = 0.0
                    yield b": still here\n\n"
                await self._clock.sleep(LOOK_EVERY_S)
        finally:
            self._listening[who.user_id] -= 1
            if not self._listening[who.user_id]:
                del self._listening[who.user_id]

    async def _news(
        self, who: Principal, since: datetime | None, seen: dict[IntentId, int], looked: dict[str, datetime]
    ) -> AsyncIterator[bytes]:
        for name, login in tuple(self._brokers.opened.items()):
            now = login.clock.now()
            changed_since = looked.get(name) or since or now
            changed = await login.journal.of_keys(
                keys_of_user(who.user_id),
                environment=login.environment,
                operation=Operation.PLACE,
                changed_since=changed_since,
                limit=_MOST_AT_ONCE,
            )
            looked[name] = now - _OVERLAP
            for intent in sorted(changed, key=lambda each: each.updated_at):
                if seen.get(intent.intent_id) == intent.version:
                    continue
                seen[intent.intent_id] = intent.version
                if who.accounts is not None and intent.planned.account_id not in who.accounts:
                    continue
                data = encode(order_data(intent, broker=broker_of(name))).decode()
                yield f"id: {intent.updated_at.isoformat()}\nevent: order\ndata: {data}\n\n".encode()
