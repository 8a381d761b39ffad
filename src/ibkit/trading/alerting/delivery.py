"""One message on its way to one channel, and when it is tried again."""

from __future__ import annotations

import enum
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

__all__ = ["RETRIES", "Delivery", "DeliveryState", "Reason", "next_try"]

RETRIES: Final = 3
"""After the first try. Source: requirement MON-07."""
_FIRST_WAIT_S: Final = 5.0
_GROWTH: Final = 5.0


class Reason(enum.Enum):
    FIRST = "first"
    COUNT = "count"
    ESCALATION = "escalation"
    TEST = "test"


class DeliveryState(enum.Enum):
    PENDING = "pending"
    DELIVERED = "delivered"
    FAILED = "failed"


@dataclass(frozen=True, slots=True, kw_only=True)
class Delivery:
    """document: what is told, as text for people and machines. attempts: tries so far. error: why the last failed.

    delivery_id: equal for the same message in every try, so that a receiver can tell a repetition.
    """

    delivery_id: str
    incident_id: str
    channel: str
    user: str
    reason: Reason
    document: Mapping[str, object]
    created_at: datetime
    state: DeliveryState = DeliveryState.PENDING
    attempts: int = 0
    next_at: datetime
    error: str = ""
    finished_at: datetime | None = None


def next_try(attempts: int, now: datetime, *, chance: float) -> datetime | None:
    """When a message that failed `attempts` times is tried again: after 5, 25 and 125 s with jitter; None: never."""
    if attempts > RETRIES:
        return None
    return now + timedelta(seconds=_FIRST_WAIT_S * _GROWTH ** (attempts - 1) * (0.75 + 0.5 * chance))
