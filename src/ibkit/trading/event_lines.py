"""What happened to an intent, from the journal to reconciliation, an event a line: time, word, meaning, details."""

from __future__ import annotations

import dataclasses
import enum
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Any

from ibkit.model import Question
from ibkit.trading import events
from ibkit.trading.events import Event, LegAck
from ibkit.trading.fingerprint import plain

__all__ = ["INWARD", "MEANINGS", "EventLine", "facts_of", "line_of"]

MEANINGS: Mapping[type[Event], str] = {
    events.Planned: "asked for, and stored before anything was sent",
    events.Decided: "the limits were checked",
    events.Claimed: "taken in hand",
    events.TakenOver: "taken over by another process",
    events.Sending: "about to be sent",
    events.NotSent: "proven: nothing left",
    events.Questioned: "IBKR asked before it would take it",
    events.Replying: "IBKR's question was answered",
    events.Acknowledged: "IBKR has it",
    events.Grouped: "IBKR has the orders of its group",
    events.Mended: "a broken group was undone",
    events.Attached: "it was found at IBKR",
    events.RefusedLocally: "refused here, nothing was sent",
    events.RefusedByPolicy: "declined: IBKR asked what is not confirmed",
    events.RefusedByBroker: "refused by IBKR",
    events.Expired: "too old to be sent",
    events.Doubted: "whether IBKR has it is not known",
    events.Looked: "looked for at IBKR",
    events.ProvenAbsent: "proven: IBKR does not have it",
    events.Rearmed: "it may be sent once more",
    events.GaveUp: "a person has to look at IBKR",
    events.Adopted: "it was found at IBKR after all",
    events.Progressed: "IBKR tells how it stands",
    events.Resolved: "settled by a person",
}
"""A test compares these with the events that there are."""
_NO_FACTS = ("at", "ticket", "planned")
INWARD = frozenset(
    {
        *("api_key", "epoch", "fingerprint", "generation", "intent_id", "key", "others", "owner", "ref", "serial"),
        *("session", "tenant", "terms", "user", "username"),
    }
)
"""Facts of our own work, which are told on this machine only."""


@dataclass(frozen=True, slots=True, kw_only=True)
class EventLine:
    """word: the event's own. meaning: in a few words. detail: its facts."""

    at: datetime
    word: str
    meaning: str
    detail: str


def facts_of(event: Event) -> dict[str, Any]:
    return {field.name: getattr(event, field.name) for field in dataclasses.fields(event)}


def line_of(event: Event, *, without: frozenset[str] = frozenset()) -> EventLine:
    """without: names of facts that are left out."""
    facts = {name: value for name, value in facts_of(event).items() if name not in _NO_FACTS and name not in without}
    told = ", ".join(f"{name} {_text(value)}" for name, value in facts.items() if value not in (None, "", ()))
    return EventLine(at=event.at, word=type(event).__name__, meaning=MEANINGS[type(event)], detail=told)


def _text(value: Any) -> str:
    match value:
        case enum.Enum():
            return str(value.value)
        case Decimal():
            return plain(value)
        case datetime():
            return value.isoformat(timespec="seconds")
        case Question():
            return f"{', '.join(value.message_ids)} ({' / '.join(value.messages)})"
        case LegAck():
            words = (f"order {value.order_id or 'none'}", value.status.value, value.text)
            return " ".join(word for word in words if word)
        case tuple():
            return "; ".join(_text(each) for each in value)
        case bool():
            return "yes" if value else "no"
        case _:
            return str(value)
