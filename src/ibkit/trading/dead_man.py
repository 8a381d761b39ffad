"""Control RC-30: a strategy that gives no sign of life for a minute has its working orders cancelled.

It is opt-in: a strategy is watched from its first sign of life until it says that it has ended. What protects or closes
something that was filled stays; what would open something new goes. IBKR offers no such switch of its own.
Source: reliability rules §7 (RC-30).
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Protocol

from ibkit.clock import Clock
from ibkit.errors import IbkitError
from ibkit.model import AccountId
from ibkit.trading.events import Operation
from ibkit.trading.gateway import OrderGateway
from ibkit.trading.intent import Intent, IntentState
from ibkit.trading.timeline import Observer, Step, StepKind, unobserved

__all__ = ["SILENT_FOR", "DeadMan", "Heartbeat", "Heartbeats", "overdue"]

SILENT_FOR = timedelta(seconds=60)


@dataclass(frozen=True, slots=True)
class Heartbeat:
    """The last sign of life of a strategy (`Planned.strategy`)."""

    strategy: str
    at: datetime


class Heartbeats(Protocol):
    """Where strategies leave their signs of life. Errors: StorageError."""

    async def beat(self, strategy: str, at: datetime) -> None: ...

    async def retire(self, strategy: str) -> None:
        """It has ended in good order and is not watched any more."""
        ...

    async def all(self) -> tuple[Heartbeat, ...]: ...


def overdue(beats: Iterable[Heartbeat], now: datetime, *, after: timedelta = SILENT_FOR) -> tuple[Heartbeat, ...]:
    """Who has been silent for longer than `after`."""
    return tuple(beat for beat in beats if now - beat.at > after)


@dataclass(frozen=True, slots=True, kw_only=True)
class DeadMan:
    gateway: OrderGateway
    heartbeats: Heartbeats
    clock: Clock
    account_id: AccountId
    observe: Observer = unobserved

    async def run(self) -> tuple[str, ...]:
        """Cancel the orders of silent strategies: what was cancelled, or could not be, in words. StorageError."""
        silent = {beat.strategy: beat for beat in overdue(await self.heartbeats.all(), self.clock.now())}
        if not silent:
            return ()
        said = []
        for intent in await self.gateway.journal.open_orders(self.account_id):
            beat = silent.get(intent.planned.strategy)
            if beat is None or not await self._opens(intent):
                continue
            since = (self.clock.now() - beat.at).total_seconds()
            text = f"strategy {beat.strategy} is silent for {since:.0f} s: cancelling order {intent.order_id}"
            self._tell(text)
            said.append(await self._cancel(intent, text))
        return tuple(said)

    async def _opens(self, intent: Intent) -> bool:
        """It works and would open something: it neither protects nor closes what was filled."""
        if intent.operation is not Operation.PLACE or intent.state is not IntentState.ACKED:
            return False
        if intent.planned.reduces is None:
            return True
        parent = await self.gateway.journal.get(intent.planned.reduces)
        return parent is None or not parent.filled

    async def _cancel(self, intent: Intent, text: str) -> str:
        try:
            after = await self.gateway.cancel_rest(intent)
        except IbkitError as error:
            self._tell(f"order {intent.order_id} could not be cancelled: {error.message}")
            return f"{text}: {error.message}"
        return text if after.state.final else f"{text}: not confirmed yet"

    def _tell(self, text: str) -> None:
        self.observe(Step(kind=StepKind.CANCEL, at=self.clock.now(), text=text))
