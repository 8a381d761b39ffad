"""What a message says: one JSON document for machines, a subject and a text for people."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from ibkit.trading.alerting.delivery import Reason
from ibkit.trading.alerting.events import ABOUT
from ibkit.trading.alerting.incident import Incident
from ibkit.trading.alerting.translation import runbook_of

__all__ = ["document_of", "subject_of", "text_of"]

FORMAT: Final = 1
_MOST_CHARS: Final = 1_000


def document_of(incident: Incident, reason: Reason, *, delivery_id: str) -> dict[str, Any]:
    """Instants in ISO 8601 UTC. id is that of the message, alert_id that of the alert, which may have several."""
    about = ABOUT[incident.event]
    return {
        "format": FORMAT,
        "id": delivery_id,
        "alert_id": incident.incident_id,
        "event": incident.event.value,
        "severity": incident.severity.value,
        "reason": reason.value,
        "title": about.title,
        "subject": incident.subject,
        "message": incident.message[:_MOST_CHARS],
        "remedy": incident.remedy[:_MOST_CHARS],
        "count": incident.count,
        "first_at": incident.first_at.isoformat(),
        "last_at": incident.last_at.isoformat(),
        "trace_ids": list(incident.trace_ids),
        "runbook": f"docs/runbooks/{runbook_of(incident)}.md",
        "details": dict(incident.details),
    }


def subject_of(document: Mapping[str, Any]) -> str:
    """`[critical] Position without a working stop (50 times)`."""
    times = f" ({document['count']} times)" if document["count"] > 1 else ""
    still = "Nobody acknowledged: " if document["reason"] == Reason.ESCALATION.value else ""
    return f"[{document['severity']}] {still}{document['title']}{times}"


def text_of(document: Mapping[str, Any]) -> str:
    lines = [document["message"]]
    if document["count"] > 1:
        lines.append(f"{document['count']} times from {document['first_at']} to {document['last_at']}")
    lines.append(f"What to do: {document['remedy']}")
    if document["trace_ids"]:
        lines.append(f"Trace ids: {', '.join(document['trace_ids'])}")
    lines.append(f"Event {document['event']}, alert {document['alert_id']}, {document['runbook']}")
    return "\n".join(lines)
