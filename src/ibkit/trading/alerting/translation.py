"""The journal's alerts as events that people are told of: one table."""

from __future__ import annotations

from collections.abc import Mapping

from ibkit.trading.alert import Alert, AlertKind
from ibkit.trading.alerting.events import ABOUT, EventKind
from ibkit.trading.alerting.incident import Happening, Incident

__all__ = ["EVENT_OF", "happening_of", "runbook_of"]

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

_RUNBOOKS: Mapping[str, str] = {
    AlertKind.BROKEN_GROUP.value: "position-unprotected",
    AlertKind.BOTH_FILLED.value: "position-unprotected",
    AlertKind.EXTERNAL_ORDER.value: "reconciliation-difference",
    AlertKind.CANCEL_ALL.value: "kill-switch",
    AlertKind.RECORD_FAILED.value: "reconciliation-difference",
}
"""Pages of kinds whose event is about more than they are; docs/runbooks/README.md has the same (a test compares)."""
_REMEDIES: Mapping[AlertKind, str] = {
    AlertKind.EXTERNAL_ORDER: "Find out whose order it is: another installation, or an older copy of this journal?",
    AlertKind.BROKEN_GROUP: "See that the position has its stop: `ibkit worker --once`, `ibkit orders list --working`.",
    AlertKind.BOTH_FILLED: "Look at `ibkit positions list`: two exits of one position were filled.",
    AlertKind.CANCEL_ALL: "Orders still stand: cancel them at IBKR, then look at `ibkit kill --status`.",
    AlertKind.RECORD_FAILED: "The order stands; mend the database, then `ibkit trades import-journal`.",
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
        remedy=_REMEDIES.get(alert.kind, ""),
        details={name: value for name, value in alert.details.items() if name != "account"},
    )


def runbook_of(incident: Incident) -> str:
    """The page that helps, without its ending: of the journal's kind, which begins the subject, else the event's."""
    kind = incident.subject.partition(" ")[0] if incident.source else ""
    return _RUNBOOKS.get(kind, ABOUT[incident.event].runbook)
