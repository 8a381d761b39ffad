"""One alert that people hear of: equal events are one, told once in half an hour, with their count.

    happens      none open      → open, told at once (reason first)
                 open           → counted; told with the count half an hour after the last time (reason count)
    open         critical, not acknowledged for 15 min → told to the next level of channels (reason escalation)
                 not acknowledged at the last level    → told there again once an hour
    acknowledged told no more, unless it grows worse
    closed       by a person, by the event that ends it, or by quiet: info after half an hour, what was acknowledged
                 after a day

Source: requirement MON-07. Escalation is ours: a message that nobody reads must reach somebody else.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Final

from ibkit.trading.alert import Severity
from ibkit.trading.alerting.delivery import Reason
from ibkit.trading.alerting.events import ABOUT, Audience, EventKind

__all__ = ["TELL_AGAIN", "Happening", "Incident", "Told", "noted", "pending", "sees_no_more", "weight"]

TELL_AGAIN: Final = timedelta(minutes=30)
ESCALATE_AFTER: Final = timedelta(minutes=15)
REPEAT_LAST: Final = timedelta(hours=1)
QUIET_FOR: Final = timedelta(days=1)
_TRACES: Final = 5
"""How many trace ids are kept, the latest."""
_WEIGHTS = {Severity.INFO: 0, Severity.WARNING: 1, Severity.CRITICAL: 2}


def weight(severity: Severity) -> int:
    return _WEIGHTS[severity]


@dataclass(frozen=True, slots=True, kw_only=True)
class Happening:
    """One event of one thing, as its finder tells it.

    subject:  what it is about: an intent, a trade, a connection, an address; equal event and subject are one alert.
    user:     whose it is; "" is the owner of an installation with one user.
    severity: where it is not that of the event's kind. source: id of the journal's alert that it was made from.
    message:  without secrets, balances or account numbers: it leaves the house.
    only_ends: it is nothing by itself: counted and told only where it ends an open alert.
    """

    event: EventKind
    subject: str
    message: str
    at: datetime
    user: str = ""
    severity: Severity | None = None
    trace_id: str = ""
    source: str = ""
    remedy: str = ""
    details: Mapping[str, str] = field(default_factory=dict)
    only_ends: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Incident:
    """count: events so far. told_count: how many of them were told, told_at: when last. level: of the channels told.

    escalated_at: when somebody was last told because nobody had acknowledged it.
    """

    incident_id: str
    event: EventKind
    subject: str
    user: str
    severity: Severity
    message: str
    remedy: str
    first_at: datetime
    last_at: datetime
    count: int = 1
    told_count: int = 0
    told_at: datetime | None = None
    level: int = 0
    escalated_at: datetime | None = None
    trace_ids: tuple[str, ...] = ()
    source: str = ""
    details: Mapping[str, str] = field(default_factory=dict)
    acknowledged_at: datetime | None = None
    acknowledged_by: str = ""
    closed_at: datetime | None = None
    closed_note: str = ""

    @property
    def audience(self) -> Audience:
        return ABOUT[self.event].audience


@dataclass(frozen=True, slots=True)
class Told:
    """incident: after it was told. reason, level: what is told, and to the channels of which level."""

    incident: Incident
    reason: Reason
    level: int


def noted(standing: Incident | None, happening: Happening, *, incident_id: str) -> Incident:
    """The open alert after one more event; `incident_id` names it where none is open."""
    about = ABOUT[happening.event]
    severity = happening.severity or about.severity
    traces = (happening.trace_id,) if happening.trace_id else ()
    if standing is None:
        return Incident(
            incident_id=incident_id,
            event=happening.event,
            subject=happening.subject,
            user=happening.user,
            severity=severity,
            message=happening.message,
            remedy=happening.remedy or about.remedy,
            first_at=happening.at,
            last_at=happening.at,
            trace_ids=traces,
            source=happening.source,
            details=dict(happening.details),
        )
    worse = weight(severity) > weight(standing.severity)
    return dataclasses.replace(
        standing,
        severity=severity if worse else standing.severity,
        message=happening.message,
        last_at=max(standing.last_at, happening.at),
        count=standing.count + 1,
        trace_ids=(*standing.trace_ids, *traces)[-_TRACES:],
        source=happening.source or standing.source,
        details=dict(happening.details),
        acknowledged_at=None if worse else standing.acknowledged_at,
        acknowledged_by="" if worse else standing.acknowledged_by,
        told_at=None if worse else standing.told_at,
    )


def pending(incident: Incident, now: datetime, *, last_level: int) -> Told | None:
    """What is to be told of it now; None where nothing is. last_level: the highest of the channels that there are."""
    if incident.closed_at is not None or incident.acknowledged_at is not None:
        return None
    if incident.told_at is None:
        # Worse than before counts as new: nobody has heard of it in this weight.
        told = dataclasses.replace(incident, told_at=now, told_count=incident.count)
        return Told(told, Reason.FIRST, incident.level)
    if incident.count > incident.told_count and now - incident.told_at >= TELL_AGAIN:
        told = dataclasses.replace(incident, told_at=now, told_count=incident.count)
        return Told(told, Reason.COUNT, incident.level)
    if incident.severity is not Severity.CRITICAL:
        return None
    waited = now - (incident.escalated_at or incident.first_at)
    if incident.level < last_level and waited >= ESCALATE_AFTER:
        level = incident.level + 1
        return Told(dataclasses.replace(incident, level=level, escalated_at=now), Reason.ESCALATION, level)
    if incident.level >= last_level and waited >= REPEAT_LAST:
        return Told(dataclasses.replace(incident, escalated_at=now), Reason.ESCALATION, incident.level)
    return None


def sees_no_more(incident: Incident, now: datetime) -> str | None:
    """Why an open alert is over by itself; None where it is not."""
    quiet = now - incident.last_at
    if incident.count > incident.told_count and incident.acknowledged_at is None:
        return None
    if incident.severity is Severity.INFO and quiet >= TELL_AGAIN:
        return "it was a notice"
    if incident.acknowledged_at is not None and not incident.source and quiet >= QUIET_FOR:
        return "acknowledged, and quiet for a day"
    return None
