"""Control RC-30: a strategy that gives no sign of life for a minute has its working orders cancelled.

It is opt-in: a strategy is watched from its first sign of life until it says that it has ended. The limit `heartbeat_s`
sets another time than a minute. What protects or closes
something that was filled stays; what would open something new goes. IBKR offers no such switch of its own.
Source: reliability rules §7 (RC-30).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from ibkit.clock import Clock
from ibkit.errors import IbkitError
from ibkit.model import AccountId
from ibkit.trading.events import Operation
from ibkit.trading.gateway import OrderGateway
from ibkit.trading.intent import Intent, IntentState
from ibkit.trading.risk import Heartbeat, RiskBook, Scope, overdue
from ibkit.trading.timeline import Observer, Step, StepKind, unobserved

__all__ = ["SILENT_FOR_S", "DeadMan", "Heartbeats"]

SILENT_FOR_S = 60.0
"""Where the limit `heartbeat_s` does not say otherwise."""


class Heartbeats(Protocol):
    """Where strategies leave their signs of life. Errors: StorageError."""

    async def beat(self, strategy: str, at: datetime) -> None: ...

    async def retire(self, strategy: str) -> None:
        """It has ended in good order and is not watched any more."""
        ...

    async def all(self) -> Mapping[str, datetime]:
        """The last sign of life of each strategy."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class DeadMan:
    gateway: OrderGateway
    heartbeats: Heartbeats
    risk: RiskBook
    clock: Clock
    account_id: AccountId
    observe: Observer = unobserved

    async def run(self) -> tuple[str, ...]:
        """Cancel the orders of silent strategies: what was cancelled, or could not be, in words. StorageError."""
        signs = await self.heartbeats.all()
        if not signs:
            return ()
        beats = [Heartbeat(strategy=name, account_id=self.account_id, at=at) for name, at in signs.items()]
        now = self.clock.now()
        silent = {beat.strategy: beat for beat in overdue(beats, now=now, after_s=await self._after_s())}
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

    async def _after_s(self) -> float:
        scope = Scope(environment=self.gateway.environment, account_id=self.account_id, tenant=self.gateway.tenant)
        return (await self.risk.state(scope, self.clock.now())).limits.heartbeat_s or SILENT_FOR_S

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
