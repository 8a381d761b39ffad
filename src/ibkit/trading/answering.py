"""What IBKR's open question is answered: by our rules first, by a person where they alone would say no.

    not wanted any more, declined before, too many, too long → no
    every message allowed (questions.py)                     → yes, if the controls agree (conversation.py)
    a message that nobody allowed                            → a person is asked, if there is one and time left
    a message that would change the order                    → no, and nobody is asked

Source: requirement TRD-10, control RC-28; docs/facts/orders.md §3.1-3.2.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import timedelta

from ibkit.clock import Clock
from ibkit.model import Question
from ibkit.trading.deciding import Decisions
from ibkit.trading.events import UnknownReason
from ibkit.trading.intent import Intent
from ibkit.trading.ports import Journal
from ibkit.trading.questions import Asker, QuestionPolicy, Verdict
from ibkit.trading.risk import Facts

__all__ = ["MOST_REPLIES", "QUESTIONS_S", "Answering", "asked_for_s"]

MOST_REPLIES = 5
QUESTIONS_S = 30.0
_MOST_HEARD = 10_000
_ASKING_SPARES_S = 5.0
"""A person's time to answer ends this long before IBKR's patience does."""
_PARKED_WATCH = timedelta(days=3)
"""A parked DAY order ends with its trading day; a long weekend is the longest one."""


def asked_for_s(intent: Intent, clock: Clock) -> float:
    """How long its first question has been open."""
    return 0.0 if intent.asked_at is None else (clock.now() - intent.asked_at).total_seconds()


@dataclass(frozen=True, slots=True)
class Answering:
    """asker: a person to ask, if any. heard: the ids of IBKR's questions, the newest of them."""

    policy: QuestionPolicy
    decisions: Decisions
    journal: Journal
    clock: Clock
    asker: Asker
    heard: dict[str, None] = field(default_factory=dict)

    def is_new(self, question: Question) -> bool:
        """Whether it was not asked before, of whichever order; from now on it was.

        One that comes a second time is the answer to an earlier call (fault F14): a yes would be to another order.
        """
        if question.question_id in self.heard:
            return False
        self.heard[question.question_id] = None
        if len(self.heard) > _MOST_HEARD:
            del self.heard[next(iter(self.heard))]
        return True

    async def verdict(self, intent: Intent, facts: Facts | None) -> Verdict:
        """Yes or no to the open question. facts: None where nobody wants the order any more."""
        question = intent.question
        assert question is not None, "a questioned intent has its question"
        ids = question.message_ids
        if facts is None:
            return Verdict(False, ids, "the order is not wanted any more")
        if intent.declined:
            return Verdict(False, ids, intent.reason)
        if intent.replies >= MOST_REPLIES:
            return Verdict(False, ids, f"more than {MOST_REPLIES} questions")
        asked_for = asked_for_s(intent, self.clock)
        if asked_for > QUESTIONS_S:
            return Verdict(False, ids, f"asked for longer than {QUESTIONS_S:.0f} s")
        verdict = self.policy.decide(
            question,
            ticket=intent.ticket,
            limits=(await self.decisions.state(intent, facts)).limits,
            confirm=frozenset(intent.planned.confirm),
            own_quotes=facts.quote is not None and facts.quote.usable and facts.quote.availability.value == "R",
            parked_elsewhere=await self._parked_elsewhere(intent),
        )
        if not verdict.confirmed and verdict.askable:
            within_s = QUESTIONS_S - asked_for - _ASKING_SPARES_S
            return await self._ask_a_person(intent, question, verdict, within_s)
        return verdict

    async def _ask_a_person(self, intent: Intent, question: Question, verdict: Verdict, within_s: float) -> Verdict:
        """The person's word, if there is somebody to ask and time left; otherwise the policy's no stands."""
        if within_s <= 0:
            return verdict
        said = await self.asker(intent, question, within_s)
        if said is None:
            return verdict
        if said.yes:
            return Verdict(True, (), f"{', '.join(question.message_ids)} allowed by {said.who}")
        return Verdict(False, verdict.refused, f"declined by {said.who}")

    async def _parked_elsewhere(self, intent: Intent) -> bool:
        since = self.clock.now() - _PARKED_WATCH
        denied = await self.journal.denied(intent.planned.username, since=since)
        return any(other.unknown is UnknownReason.PARKED and other.ref != intent.ref for other in denied)
