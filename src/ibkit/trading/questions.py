"""IBKR's order questions: which of them we answer with yes, decided by message id, never by text.

Source of ids and texts: docs/facts/orders.md §3.3. Source of the policy: requirement TRD-10, control RC-28.
"""

from __future__ import annotations

import html
import re
from collections.abc import Awaitable, Callable, Collection, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

from ibkit.model import Environment, OrderTicket, Question
from ibkit.trading.risk import Limits, covers

if TYPE_CHECKING:
    from ibkit.trading.intent import Intent

__all__ = [
    "DEFAULT_AUTO_CONFIRM",
    "QUESTIONS",
    "Asker",
    "KnownQuestion",
    "QuestionPolicy",
    "Said",
    "Verdict",
    "plain_text",
    "standing_answer",
    "unasked",
]

DEFAULT_AUTO_CONFIRM = frozenset({"o163", "o382", "o383", "o403", "o451", "o10151", "o10152", "o10153", "o10331"})
"""Default of the setting ORDER_AUTO_CONFIRM."""


@dataclass(frozen=True, slots=True)
class KnownQuestion:
    """meaning: in our words. tied_to: the control that must cover the risk before we may say yes.

    never: a yes would change the order or its account, so not even a person may allow it through us.
    """

    message_id: str
    meaning: str
    tied_to: str = ""
    never: bool = False


_ROWS = (
    KnownQuestion("o163", "the price is farther than 3 % from the market", tied_to="RC-10"),
    KnownQuestion("o354", "there is no market data for this contract"),
    KnownQuestion("o382", "the price exceeds the tick size limit", tied_to="RC-12"),
    KnownQuestion("o383", "the size exceeds the size limit of 500", tied_to="RC-07"),
    KnownQuestion("o403", "the order will most likely trigger and fill at once"),
    KnownQuestion("o451", "the value exceeds the total value limit of 100,000 USD", tied_to="RC-08"),
    KnownQuestion("o2136", "mixed allocation across advisor accounts"),
    KnownQuestion("o2137", "opposite sides across advisor accounts"),
    KnownQuestion("o2165", "no fractions outside regular hours for this instrument"),
    KnownQuestion("o10082", "the bond was called"),
    KnownQuestion("o10138", "the size change exceeds the size modification limit", tied_to="RC-07"),
    KnownQuestion("o10151", "risk of market orders"),
    KnownQuestion("o10152", "risk of stop orders once active"),
    KnownQuestion("o10153", "IBKR may set a mandatory cap price"),
    KnownQuestion("o10164", "cash quantities are best effort"),
    KnownQuestion("o10223", "cash quantity orders are not guaranteed"),
    KnownQuestion("o10288", "risk of market orders in crypto currencies"),
    KnownQuestion("o10331", "kinds of stop orders and their risks"),
    KnownQuestion("o10332", "notice on crypto currencies"),
    KnownQuestion("o10333", "exercise of an at-the-money option"),
    KnownQuestion("o10334", "the order goes to the omnibus instead of the selected account", never=True),
    KnownQuestion("o10335", "rapid entry (internal)"),
    KnownQuestion("o10336", "illiquid security"),
    KnownQuestion("p6", "the order is distributed over several accounts", never=True),
    KnownQuestion("p12", "offer to convert the order to a price management algorithm", never=True),
)

QUESTIONS: Mapping[str, KnownQuestion] = {row.message_id: row for row in _ROWS}


def standing_answer(known: KnownQuestion, allowed: Collection[str]) -> str:
    """What it is answered, in words. allowed: ORDER_AUTO_CONFIRM."""
    if known.never:
        return "always no"
    if known.message_id not in allowed:
        return "asks you, or no"
    return f"yes, while {known.tied_to} covers it" if known.tied_to else "yes"


def plain_text(text: str) -> str:
    """A broker's text without its markup. Some of IBKR's questions are HTML (o10153, o10223).

    >>> plain_text("<h4>Confirm Mandatory Cap Price</h4>To avoid\\n trading")
    'Confirm Mandatory Cap Price To avoid trading'
    """
    return " ".join(html.unescape(re.sub(r"<[^>]*>", " ", text)).split())


@dataclass(frozen=True, slots=True)
class Verdict:
    """confirmed: say yes. refused: the ids that forbid it. why: in one sentence.

    askable: the policy says no only because nobody allowed it; a person who reads the question may.
    tied:    of a yes by the policy alone, the controls that must cover it (RC-28).
    """

    confirmed: bool
    refused: tuple[str, ...]
    why: str
    askable: bool = False
    tied: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Said:
    """A person's answer. who: for the record."""

    yes: bool
    who: str


Asker: TypeAlias = "Callable[[Intent, Question, float], Awaitable[Said | None]]"
"""Shows a question to a person and waits at most so many seconds; None: nobody there, or no answer in time.

It must end in time: the order waits at IBKR meanwhile, and no other order of the user name can be sent.
"""


async def unasked(_intent: Intent, _question: Question, _within_s: float) -> Said | None:
    """The asker where there is nobody to ask."""
    return None


@dataclass(frozen=True, slots=True)
class QuestionPolicy:
    """auto_confirm: the ids of the setting ORDER_AUTO_CONFIRM; they hold only within control RC-28."""

    auto_confirm: frozenset[str] = DEFAULT_AUTO_CONFIRM

    def decide(
        self,
        question: Question,
        *,
        ticket: OrderTicket,
        limits: Limits,
        confirm: frozenset[str] = frozenset(),
        own_quotes: bool = False,
        parked_elsewhere: bool = False,
    ) -> Verdict:
        """Yes only where every message of the question is allowed; one reply answers them all.

        confirm:          ids that a person allowed for this order.
        own_quotes:       we hold a real-time quote of the contract.
        parked_elsewhere: another order of this user name waits at IBKR; a yes could release it.
        """
        if parked_elsewhere:
            return Verdict(False, question.message_ids, "another order is parked at IBKR and a yes could release it")
        if not question.message_ids:
            return Verdict(False, (), "the question carries no message id")
        reasons = {
            message_id: reason
            for message_id in question.message_ids
            if (reason := self._objection(message_id, ticket, limits, confirm, own_quotes))
        }
        if reasons:
            why = "; ".join(f"{message_id}: {reason}" for message_id, reason in reasons.items())
            askable = not any(QUESTIONS[each].never for each in question.message_ids if each in QUESTIONS)
            return Verdict(False, tuple(reasons), why, askable=askable)
        alone = [QUESTIONS[each] for each in question.message_ids if each in QUESTIONS and each not in confirm]
        tied = tuple(dict.fromkeys(known.tied_to for known in alone if known.tied_to))
        return Verdict(True, (), f"{', '.join(question.message_ids)} allowed", tied=tied)

    def _objection(
        self, message_id: str, ticket: OrderTicket, limits: Limits, confirm: frozenset[str], own_quotes: bool
    ) -> str:
        """Why `message_id` may not be confirmed; empty where it may."""
        known = QUESTIONS.get(message_id)
        if known is not None and known.never:
            return "never confirmed, it would change the order or its account"
        if message_id in confirm:
            return ""
        if known is None:
            return "unknown question"
        if message_id not in self.auto_confirm:
            return "not in ORDER_AUTO_CONFIRM"
        if message_id == "o354" and not own_quotes:
            return "confirmed only with own real-time quotes"
        if message_id == "o403" and limits.environment is Environment.LIVE:
            return "not confirmed automatically on live accounts"
        if known.tied_to and not covers(known.tied_to, ticket, limits):
            return f"control {known.tied_to} does not cover it"
        return ""
