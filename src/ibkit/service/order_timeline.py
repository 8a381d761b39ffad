"""What happened to an order, from the journal to reconciliation; words are those of `ibkit intents show`."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime

import msgspec

from ibkit.service.order_answer import Status, status_of
from ibkit.trading.event_lines import INWARD, line_of
from ibkit.trading.events import Event
from ibkit.trading.intent import Intent

__all__ = ["OrderTimeline", "TimelineEvent", "timeline_of"]


class TimelineEvent(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """word: the journal's name of the event. text: what it means. detail: its facts, "" where it has none to tell."""

    at: datetime
    word: str
    text: str
    detail: str


class OrderTimeline(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Oldest first. order: its terms in a few words."""

    id: str
    order: str
    status: Status
    data: list[TimelineEvent]


def timeline_of(intent: Intent, events: Iterable[Event]) -> OrderTimeline:
    lines = [line_of(event, without=INWARD) for event in events]
    return OrderTimeline(
        id=intent.intent_id,
        order=intent.label,
        status=status_of(intent),
        data=[TimelineEvent(at=each.at, word=each.word, text=each.meaning, detail=each.detail) for each in lines],
    )
