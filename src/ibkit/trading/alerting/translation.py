"""The journal's alerts as events that people are told of: one table."""

from __future__ import annotations

from collections.abc import Mapping

from ibkit.trading.alert import Alert, AlertKind
from ibkit.trading.alerting.events import EventKind
from ibkit.trading.alerting.incident import Happening

__all__ = ["EVENT_OF", "happening_of"]

EVENT_OF: Mapping[AlertKind, EventKind] = {
    AlertKind.UNKNOWN_ORDER: EventKind.ORDER_UNKNOWN,
    AlertKind.PARKED_ORDER: EventKind.ORDER_UNKNOWN,
    AlertKind.LATE_ORDER: EventKind.ORDER_UNKNOWN,
    AlertKind.DOUBLE_ORDER: EventKind.ORDER_UNKNOWN,
    AlertKind.FOREIGN_ANSWER: EventKind.ORDER_UNKNOWN,
    AlertKind.UNPROTECTED: EventKind.POSITION_UNPROTECTED,
    AlertKind.TIME_EXIT: EventKind.POSITION_UNPROTECTED,
    AlertKind.BROKEN_GROUP: EventKind.ORDER_REJECTED,
    AlertKind.BOTH_FILLED: EventKind.ORDER_REJECTED,
    AlertKind.EXTERNAL_ORDER: EventKind.SECURITY_FINDING,
    AlertKind.CANCEL_ALL: EventKind.ORDER_UNKNOWN,
    AlertKind.RECORD_FAILED: EventKind.STORAGE_PROBLEM,
}


def happening_of(alert: Alert, *, user: str = "") -> Happening:
    """What is told of an open alert of the journal; its subject keeps apart what one thing may be told twice for."""
    return Happening(
        event=EVENT_OF[alert.kind],
        subject=f"{alert.kind.value} {alert.subject}",
        message=alert.message,
        at=alert.at,
        user=user,
        severity=alert.severity,
        source=alert.alert_id,
        details={name: value for name, value in alert.details.items() if name != "account"},
    )
