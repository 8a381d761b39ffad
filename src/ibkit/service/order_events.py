"""What happens to a user's orders, as it comes into the journal.

The journal is asked, not the process: so it does not matter which process the broker told, and a listener that was
away or slow goes on where it was. An order is told as it is, whenever it has another version than the last look saw;
after a resumption some are told again. Source: requirement GWY-06.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Mapping
from datetime import datetime, timedelta

from ibkit.clock import Clock
from ibkit.errors import IbkitError
from ibkit.service.brokers import Brokers, Login, broker_of
from ibkit.service.events import HEARTBEAT_S, Event, Source
from ibkit.service.order_answer import order_data
from ibkit.service.refusals import invalid
from ibkit.trading.events import IntentId, Operation
from ibkit.trading.intent import Intent, IntentState
from ibkit.trading.ref import keys_of_user
from ibkit.users.principal import Principal

__all__ = ["OrderEvents", "Since", "read_position"]

LOOK_EVERY_S = 0.5
_MOST_AT_ONCE = 200
_MOST_RETOLD = 5_000
_OVERLAP = timedelta(seconds=2)
"""A change is stamped before it is stored; one that was stored late must not fall behind the look that passed it."""

Since = datetime | Mapping[str, datetime] | None
"""One moment for all brokers, or one for each by its name, whose hours may differ; None: from now on."""


def read_position(text: str, moment: Callable[[str], datetime | None]) -> Since:
    """Of an event's id, `ibkr=2026-11-20T15:30:00+00:00;mock=…`, or of a moment. ValueError."""
    if "=" not in text:
        found = moment(text)
        if found is None:
            raise ValueError("no moment")
        return found
    position: dict[str, datetime] = {}
    for part in text.split(";"):
        name, _, at = part.partition("=")
        there = moment(at)
        if there is None:
            raise ValueError("no moment")
        position[name] = there
    return position


def _show_position(position: Mapping[str, datetime]) -> str:
    return ";".join(f"{name}={at.isoformat()}" for name, at in sorted(position.items()))


class OrderEvents:
    """stopping: whether the process is about to end, and every stream with it."""

    def __init__(self, brokers: Brokers, clock: Clock, stopping: Callable[[], bool]) -> None:
        self._brokers = brokers
        self._clock = clock
        self._stopping = stopping

    async def stream(self, who: Principal, since: Since) -> Source:
        """Each change as an event `order`; what changed since `since` first.

        ConfigError (E-VALIDATION) where that is more than 5,000 orders.
        """
        seen: dict[IntentId, int] = {}
        position: dict[str, datetime] = {}
        first = [event async for event in self._news(who, since, seen, position)]
        return self._told(who, since, seen, position, first)

    async def _told(
        self, who: Principal, since: Since, seen: dict[IntentId, int], position: dict[str, datetime], first: list[Event]
    ) -> AsyncIterator[Event | None]:
        for event in first:
            yield event
        quiet = 0.0
        while not self._stopping():
            await self._clock.sleep(LOOK_EVERY_S)
            try:
                told = [event async for event in self._news(who, since, seen, position)]
            except IbkitError as error:
                told = [Event("error", {"code": error.code, "message": error.message, "remedy": [error.remedy]})]
            for event in told:
                yield event
            quiet = 0.0 if told else quiet + LOOK_EVERY_S
            if quiet >= HEARTBEAT_S:
                quiet = 0.0
                yield None

    async def _news(
        self, who: Principal, since: Since, seen: dict[IntentId, int], position: dict[str, datetime]
    ) -> AsyncIterator[Event]:
        for name, login in tuple(self._brokers.opened.items()):
            begin = since.get(name) if isinstance(since, Mapping) else since
            before = name not in position and begin is None  # what was there already is nobody's news
            if name not in position:
                position[name] = begin or login.clock.now()
            news = await self._seen_now(login, who, position[name] - _OVERLAP, seen)
            if not news:
                continue
            changes = await login.journal.changes_of([intent for _, intent in news])
            for at, intent in news:
                position[name] = max(position[name], at)
                if before or (who.accounts is not None and intent.planned.account_id not in who.accounts):
                    continue
                data = order_data(intent, broker=broker_of(name), changes=changes)
                yield Event("order", data, _show_position(position))

    async def _seen_now(
        self, login: Login, who: Principal, since: datetime, seen: dict[IntentId, int]
    ) -> list[tuple[datetime, Intent]]:
        """Orders that have moved, or were changed with success, with the moment; the oldest first."""
        news: dict[IntentId, tuple[datetime, Intent]] = {}
        for operation in (Operation.PLACE, Operation.MODIFY):
            for moved in await self._changed(login, who, operation, since):
                if seen.get(moved.intent_id) == moved.version:
                    continue
                seen[moved.intent_id] = moved.version
                order: Intent | None = moved
                if operation is Operation.MODIFY:
                    order = await _changed_by(login, moved)
                if order is not None and order.key.startswith(keys_of_user(who.user_id)):
                    news[order.intent_id] = (moved.updated_at, order)
        return sorted(news.values(), key=lambda each: each[0])

    async def _changed(self, login: Login, who: Principal, operation: Operation, since: datetime) -> list[Intent]:
        """All of the user's that moved since then."""
        found: list[Intent] = []
        before: IntentId | None = None
        while True:
            some = await login.journal.of_keys(
                keys_of_user(who.user_id),
                environment=login.environment,
                operation=operation,
                before=before,
                changed_since=since,
                limit=_MOST_AT_ONCE,
            )
            found += some
            if len(some) < _MOST_AT_ONCE:
                return found
            if len(found) >= _MOST_RETOLD:
                raise invalid(("since", f"more than {_MOST_RETOLD} orders changed since then: list them, then listen"))
            before = some[-1].intent_id


async def _changed_by(login: Login, change: Intent) -> Intent | None:
    """The order that `change` has changed; None where it did not."""
    if change.state is not IntentState.ACKED or change.planned.target is None:
        return None
    return await login.journal.by_order(change.planned.account_id, change.planned.target)
