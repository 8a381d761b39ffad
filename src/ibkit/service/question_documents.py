"""What the routes of IBKR's questions take and give; words are those of `ibkit orders questions`."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from datetime import datetime

import msgspec

from ibkit.service.brokers import broker_of
from ibkit.service.waiting_questions import Waiting
from ibkit.trading.questions import QUESTIONS, plain_text, standing_answer

__all__ = [
    "AnswerForm",
    "KnownQuestionInfo",
    "QuestionAnswered",
    "QuestionInfo",
    "QuestionList",
    "QuestionMessage",
    "question_list",
]


class QuestionMessage(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """text: IBKR's own words, without markup. meaning: ours; null for one that is in no list."""

    id: str
    text: str
    meaning: str | None


class QuestionInfo(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """order: its terms in a few words, order_id: what it is called at /broker-order. One answer is for all messages.

    until: it is declined then, by the clock of the login.
    """

    id: str
    order_id: str
    order: str
    broker: str
    account_id: str
    environment: str
    messages: list[QuestionMessage]
    asked_at: datetime
    until: datetime


class KnownQuestionInfo(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """answer: what it is answered by rule. tied_to: the control that must cover it before the answer is yes."""

    id: str
    meaning: str
    tied_to: str | None
    answer: str


class QuestionList(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """data: those that wait for a person. known: all that are known, and what each is answered."""

    data: list[QuestionInfo]
    known: list[KnownQuestionInfo]


class AnswerForm(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """answer: true lets IBKR take the order; false declines it."""

    answer: bool


class QuestionAnswered(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """order_id: where to see what becomes of it."""

    id: str
    order_id: str
    answer: bool


def question_list(waiting: Iterable[Waiting], allowed: Collection[str]) -> QuestionList:
    return QuestionList(
        data=[_info(each) for each in waiting],
        known=[
            KnownQuestionInfo(
                id=each.message_id,
                meaning=each.meaning,
                tied_to=each.tied_to or None,
                answer=standing_answer(each, allowed),
            )
            for each in QUESTIONS.values()
        ],
    )


def _info(waiting: Waiting) -> QuestionInfo:
    question, planned = waiting.question, waiting.intent.planned
    return QuestionInfo(
        id=waiting.question_id,
        order_id=waiting.intent.intent_id,
        order=waiting.intent.label,
        broker=broker_of(waiting.login),
        account_id=planned.account_id,
        environment=planned.environment.value,
        messages=[
            QuestionMessage(id=message_id, text=plain_text(text), meaning=_meaning(message_id))
            for message_id, text in zip(question.message_ids, question.messages, strict=False)
        ],
        asked_at=waiting.asked_at,
        until=waiting.until,
    )


def _meaning(message_id: str) -> str | None:
    known = QUESTIONS.get(message_id)
    return None if known is None else known.meaning
