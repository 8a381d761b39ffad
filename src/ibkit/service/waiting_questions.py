"""IBKR's questions that wait for a person at a page: shown to whoever may see the order, answered by whoever may order.

    nobody looks   an order's question that no rule allows is declined at once, as without a page
    somebody does  it waits for them, at most as long as IBKR's patience allows (`trading.answering`)

Who looks is known from GET /api/questions: a page asks every few seconds, and counts for half a minute. Meanwhile no
other order of the same IBKR user name is sent. Source: requirement TRD-10.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import partial
from typing import TYPE_CHECKING, Final

import anyio

from ibkit.errors import IbkitError, NotFound
from ibkit.model import Environment, Question
from ibkit.service.people import may_order
from ibkit.trading.intent import Intent
from ibkit.trading.questions import Asker, Said
from ibkit.users import Principal

if TYPE_CHECKING:
    from ibkit.clock import Clock

__all__ = ["LOOKS_S", "Waiting", "WaitingQuestions"]

LOOKS_S: Final = 30.0
_MOST_LOOKING: Final = 10_000


@dataclass(slots=True, kw_only=True)
class Waiting:
    """One question, until it is answered or its time is up. until: by the login's clock."""

    question: Question
    intent: Intent
    login: str
    asked_at: datetime
    until: datetime
    answered: anyio.Event = field(default_factory=anyio.Event)
    said: Said | None = None

    @property
    def question_id(self) -> str:
        return str(self.question.question_id)


class WaitingQuestions:
    """may_see: whether an order is theirs. monotonic, now: of people."""

    def __init__(
        self,
        may_see: Callable[[Principal, Intent], bool],
        *,
        monotonic: Callable[[], float],
        now: Callable[[], datetime],
    ) -> None:
        self._may_see = may_see
        self._monotonic = monotonic
        self._now = now
        self._looking: dict[str, tuple[Principal, float]] = {}
        self._waiting: dict[str, Waiting] = {}

    def asker(self, login: str, clock: Clock) -> Asker:
        """For the gateways of that open login."""
        return partial(self._ask, login, clock)

    def seen_by(self, who: Principal) -> list[Waiting]:
        """Theirs, the oldest first; from now on they count as looking for half a minute."""
        if len(self._looking) >= _MOST_LOOKING:
            self._looking = {name: each for name, each in self._looking.items() if self._looks(each[1])}
        self._looking[who.user_id] = who, self._monotonic()
        return [each for each in self._waiting.values() if self._may_see(who, each.intent)]

    def theirs(self, who: Principal, question_id: str) -> Waiting:
        """NotFound for one that waits no more, as for one that is not theirs."""
        found = self._waiting.get(question_id)
        if found is None or not self._may_see(who, found.intent):
            raise NotFound(
                "This question waits no more, or is none of yours",
                code="E-NOT-FOUND",
                remedy="Look at its order: GET /broker-order/{id} tells what became of it.",
            )
        return found

    def answer(self, waiting: Waiting, *, yes: bool, who: Principal) -> None:
        """The first answer is the one that counts. No wait between looking it up and this."""
        self._waiting.pop(waiting.question_id, None)
        waiting.said = Said(yes, who.name)
        waiting.answered.set()

    async def _ask(self, login: str, clock: Clock, intent: Intent, question: Question, within_s: float) -> Said | None:
        if not self._somebody_looks(intent):
            return None
        now = clock.now()
        waiting = Waiting(
            question=question, intent=intent, login=login, asked_at=now, until=now + timedelta(seconds=within_s)
        )
        self._waiting[waiting.question_id] = waiting
        try:
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(_time_up, clock, within_s, tasks.cancel_scope)
                await waiting.answered.wait()
                tasks.cancel_scope.cancel()
        finally:
            if self._waiting.get(waiting.question_id) is waiting:
                del self._waiting[waiting.question_id]
        return waiting.said

    def _somebody_looks(self, intent: Intent) -> bool:
        there = (who for who, at in self._looking.values() if self._looks(at) and self._may_see(who, intent))
        return any(self._may_answer(who, intent.planned.environment) for who in there)

    def _looks(self, at: float) -> bool:
        return self._monotonic() - at < LOOKS_S

    def _may_answer(self, who: Principal, environment: Environment) -> bool:
        try:
            may_order(who, environment, now=self._now())
        except IbkitError:
            return False
        return True


async def _time_up(clock: Clock, seconds: float, scope: anyio.CancelScope) -> None:
    await clock.sleep(seconds)
    scope.cancel()
