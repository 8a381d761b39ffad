"""Asking the risk controls about an intent: at intake, before a send or a yes, and once more before the first byte.

    state of the book (limits, halts, sends) → controls → Decided, stored with what follows from it
    ... pacing, sign-in ...  → permit: has the book changed since? then the controls are asked again

Source: reliability decision 7, S9; requirement TRD-18.
"""

from __future__ import annotations

from dataclasses import dataclass

from ibkit.clock import Clock
from ibkit.errors import LimitExceeded
from ibkit.model import SendPermit
from ibkit.trading.events import Decided, Stage
from ibkit.trading.intent import Intent
from ibkit.trading.risk import Facts, Objection, RiskBook, RiskState, case_of, check, scope_of

__all__ = ["Decision", "Decisions"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision:
    """What the controls say of an intent at one moment. event: to be stored with what follows from it."""

    event: Decided
    objection: Objection | None


@dataclass(frozen=True, slots=True)
class Decisions:
    risk: RiskBook
    clock: Clock

    async def decide(self, intent: Intent, facts: Facts, stage: Stage, tied: tuple[str, ...] = ()) -> Decision:
        """What the controls say now, of limits, halts and sends as they are now. A halt they ask for is on disk."""
        state = await self.state(intent, facts)
        now = self.clock.now()
        found = check(case_of(intent.planned, facts, state, stage=stage, now=now, tied=tied))
        if found.halts:
            await self.risk.halt(*found.halts)
        objection = found.objection
        event = Decided(
            at=now,
            stage=stage,
            passed=objection is None,
            version=state.limits.version,
            control=objection.control if objection else "",
            note=objection.text if objection else "",
            generation=state.generation,
            serial=state.serial,
            warnings=found.warnings,
            value=found.value,
        )
        return Decision(event=event, objection=objection)

    async def state(self, intent: Intent, facts: Facts) -> RiskState:
        return await self.risk.state(scope_of(intent.planned), self.clock.now(), read_at=facts.read_at)

    def permit(self, intent: Intent, facts: Facts, stage: Stage, decided: Decided, send_by: float) -> SendPermit:
        """Right before the first byte: was a kill switch pressed, or a limit changed, since it was decided?"""

        async def check_again() -> None:
            if await self.risk.generation() == decided.generation:
                return
            objection = (await self.decide(intent, facts, stage)).objection
            if objection is not None:
                raise LimitExceeded(objection.text, code=objection.code, details={"control": objection.control})

        return SendPermit(send_by, check_again)
