"""A connection as its owner sees it: its states, its sessions one after the other, and what is told of them. No I/O."""

from __future__ import annotations

from ibkit.trading.connection.history import Availability, EventName, HistoryEvent, availability
from ibkit.trading.connection.record import (
    CLEANED,
    CLOSED,
    EXPIRED,
    LEFT_ALONE,
    RENEWED,
    SessionRecord,
    Standing,
    due_warnings,
    warning_name,
)
from ibkit.trading.connection.states import (
    LABELS,
    MOVES,
    ConnectionEvent,
    ConnectionState,
    event_of,
    heals,
    move,
    pause_of,
    retry_after,
)

__all__ = [
    "CLEANED",
    "CLOSED",
    "EXPIRED",
    "LABELS",
    "LEFT_ALONE",
    "MOVES",
    "RENEWED",
    "Availability",
    "ConnectionEvent",
    "ConnectionState",
    "EventName",
    "HistoryEvent",
    "SessionRecord",
    "Standing",
    "availability",
    "due_warnings",
    "event_of",
    "heals",
    "move",
    "pause_of",
    "retry_after",
    "warning_name",
]
