"""What a person must see, kept open until somebody closes it."""

from __future__ import annotations

import enum
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime

__all__ = ["Alert", "AlertKind", "Severity"]


class Severity(enum.Enum):
    INFO = "info"
    WARNING = "warning"
    CRITICAL = "critical"


class AlertKind(enum.Enum):
    UNKNOWN_ORDER = "unknown_order"
    PARKED_ORDER = "parked_order"
    LATE_ORDER = "late_order"
    """An order showed up after it had been denied."""
    DOUBLE_ORDER = "double_order"
    """Two orders of the broker carry one ref."""
    FOREIGN_ANSWER = "foreign_answer"
    """An acknowledgement that belongs to another order."""
    UNPROTECTED = "unprotected"
    """A sold option stands without a working stop."""
    TIME_EXIT = "time_exit"
    """A position that was to be bought back at a given moment stands."""
    BROKEN_GROUP = "broken_group"
    """An order of a bracket or OCA group was refused, or is not to be seen, while others stand."""
    BOTH_FILLED = "both_filled"
    """Two orders of which one should have cancelled the other were filled."""
    EXTERNAL_ORDER = "external_order"
    """An order that carries a mark of ours, but that the journal does not know."""
    CANCEL_ALL = "cancel_all"
    """Orders still stand after everything was to be cancelled."""
    RECORD_FAILED = "record_failed"
    """The trade record could not be written although the order stands."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Alert:
    """subject: the thing it is about (a ref, a trade id); one open alert for each kind and subject."""

    kind: AlertKind
    severity: Severity
    subject: str
    message: str
    at: datetime
    details: Mapping[str, str] = field(default_factory=dict)
    alert_id: str = ""
    """Given by the store."""
    closed_at: datetime | None = None
    closed_note: str = ""
