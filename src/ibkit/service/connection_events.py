"""What happens to the connections of whoever listens, as it is stored: server-sent events. Source: requirement SES-12.

The database is asked, not the process: so it does not matter which process keeps the connection.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable

from ibkit.clock import Clock
from ibkit.errors import IbkitError, RateLimited
from ibkit.service.connection_documents import happened
from ibkit.service.own_connections import OwnConnections
from ibkit.service.problems import encode
from ibkit.users.principal import Principal

__all__ = ["MOST_LISTENERS", "ConnectionEvents"]

LOOK_EVERY_S = 0.5
HEARTBEAT_S = 15.0
MOST_LISTENERS = 10
_MOST_AT_ONCE = 200
_OVERLAP = 100
"""Numbers are given before they are committed: the last ones are looked at again, for one that came late."""


class ConnectionEvents:
    """stopping: whether the process is about to end, and every stream with it."""

    def __init__(self, own: OwnConnections, clock: Clock, stopping: Callable[[], bool]) -> None:
        self._own = own
        self._clock = clock
        self._stopping = stopping
        self._listening: dict[str, int] = {}

    async def stream(self, who: Principal, after: int | None) -> AsyncIterator[bytes]:
        """Each as `event: connection`; those after the number `after` first. RateLimited for one listener too many."""
        count = self._listening.get(who.user_id, 0)
        if count >= MOST_LISTENERS:
            raise RateLimited(
                f"Rate limit reached: {MOST_LISTENERS} streams for each user",
                remedy="Close one first.",
                details={"retry_after": 5},
            )
        last = await self._own.rows.last_event_id() if after is None else after
        self._listening[who.user_id] = count + 1
        return self._told(who, last)

    async def _told(self, who: Principal, first: int) -> AsyncIterator[bytes]:
        last, seen, quiet = first, set[int](), 0.0
        users = (who.user_id,) if self._own.of_users else ("",)
        try:
            yield b"retry: 2000\n\n"
            while not self._stopping():
                told: list[bytes] = []
                try:
                    found = await self._own.rows.events_after(
                        max(first, last - _OVERLAP), user_ids=users, limit=_MOST_AT_ONCE + _OVERLAP
                    )
                except IbkitError as error:
                    found = ()
                    told.append(f'event: error\ndata: {{"code": "{error.code}"}}\n\n'.encode())
                for each in found:
                    if each.event_id not in seen:
                        data = encode(happened(each)).decode()
                        told.append(f"id: {each.event_id}\nevent: connection\ndata: {data}\n\n".encode())
                    last = max(last, each.event_id)
                seen = {each.event_id for each in found}
                for text in told:
                    yield text
                quiet = 0.0 if told else quiet + LOOK_EVERY_S
                if quiet >= HEARTBEAT_S:
                    quiet = 0.0
                    yield b": still here\n\n"
                await self._clock.sleep(LOOK_EVERY_S)
        finally:
            self._listening[who.user_id] -= 1
            if not self._listening[who.user_id]:
                del self._listening[who.user_id]
