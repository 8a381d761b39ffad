"""What happens to the connections of whoever listens, as it is stored. Source: requirement SES-12.

The database is asked, not the process: so it does not matter which process keeps the connection.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

from ibkit.clock import Clock
from ibkit.errors import IbkitError
from ibkit.service.connection_documents import happened
from ibkit.service.events import Event, Source
from ibkit.service.own_connections import OwnConnections
from ibkit.service.refusals import invalid
from ibkit.users.principal import Principal

__all__ = ["ConnectionEvents", "after_of"]

LOOK_EVERY_S = 0.5
_MOST_AT_ONCE = 200
_OVERLAP = 100
"""Numbers are given before they are committed: the last ones are looked at again, for one that came late."""
_LARGEST = 2**31 - 1


def after_of(query: Iterable[tuple[str, str]], last_event_id: list[str]) -> int | None:
    """The number after which a stream goes on: Last-Event-ID, else `after`; None for what comes from now on."""
    problems = []
    given: list[str] = list(last_event_id[:1])
    for name, value in query:
        if name != "after":
            problems.append((name[:40], "there is no such filter; there is after"))
        elif not last_event_id:
            given.append(value)
    if len(given) > 1:
        problems.append(("after", "it stands twice"))
    if given and not (given[0].isascii() and given[0].isdigit() and int(given[0][:11]) <= _LARGEST):
        problems.append(("after", f"it is the id of an event, a whole number from 0 to {_LARGEST}"))
    if problems:
        raise invalid(*problems)
    return int(given[0]) if given else None


class ConnectionEvents:
    """stopping: whether the process is about to end, and every stream with it."""

    def __init__(self, own: OwnConnections, clock: Clock, stopping: Callable[[], bool]) -> None:
        self._own = own
        self._clock = clock
        self._stopping = stopping

    async def stream(self, who: Principal, after: int | None) -> Source:
        """Each as `connection`; those after the number `after` first."""
        first = await self._own.record.last_event_id() if after is None else after
        return self._told(who, first)

    async def _told(self, who: Principal, first: int) -> Source:
        last, seen = first, set[int]()
        users = (who.user_id,) if self._own.of_users else ("",)
        while not self._stopping():
            try:
                found = await self._own.record.events_after(
                    max(first, last - _OVERLAP), user_ids=users, limit=_MOST_AT_ONCE + _OVERLAP
                )
            except IbkitError as error:
                yield Event("error", {"code": error.code})
                await self._clock.sleep(LOOK_EVERY_S)
                continue
            new = [each for each in found if each.event_id not in seen]
            for each in new:
                last = max(last, each.event_id)
                yield Event("connection", happened(each), str(each.event_id))
            seen = {each.event_id for each in found}
            if not new:
                yield None
            await self._clock.sleep(LOOK_EVERY_S)
