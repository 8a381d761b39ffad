"""What the routes of alerts take and give. Words are those of `ibkit alerts`; an address of a channel is never told."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from ibkit.bootstrap.alert_desk import UNTOLD
from ibkit.notify.trial import Result
from ibkit.trading.alerting import ABOUT, Channel, Delivery, Incident
from ibkit.trading.alerting.translation import runbook_of

__all__ = [
    "AcknowledgeForm",
    "AlertAnswer",
    "AlertChannelAnswer",
    "AlertChannelForm",
    "AlertChannelInfo",
    "AlertChannelKept",
    "AlertChannelList",
    "AlertChannelSwitch",
    "AlertDelivery",
    "AlertInfo",
    "AlertList",
    "AlertTestForm",
    "AlertTestResult",
    "AlertTests",
    "LastMessage",
    "alert_info",
    "channel_info",
    "results_of",
]

_Severity = Literal["info", "warning", "critical"]
_DeliveryState = Literal["pending", "delivered", "failed"]


class AlertDelivery(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One message to one channel. reason: first, count, escalation or test. said: why the last try failed."""

    channel: str
    reason: str
    state: _DeliveryState
    attempts: int
    said: str | None
    at: datetime


class AlertInfo(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """code: the kind of event. count: so many equal events, since the first of them. runbook: the page that helps.

    state "not told yet": the order journal has it open, and no worker has told anybody.
    """

    id: str
    severity: _Severity
    code: str
    title: str
    text: str
    remedy: str
    runbook: str
    count: int
    since: datetime
    last_at: datetime
    state: Literal["open", "acknowledged", "closed", "not told yet"]
    acknowledged_by: str | None
    acknowledged_at: datetime | None
    closed_at: datetime | None
    closed_note: str | None
    trace_ids: list[str]
    deliveries: list[AlertDelivery]


class AlertList(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    data: list[AlertInfo]


class AlertAnswer(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    data: AlertInfo


class AcknowledgeForm(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """note: who looks after it, and how; kept with the alert."""

    note: Annotated[str, Meta(max_length=500)] = ""


class LastMessage(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    state: _DeliveryState
    said: str | None
    at: datetime | None


class AlertChannelInfo(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """where: its address, masked. level: 0 hears at once, 1 and more when nobody acknowledged.

    of_installation: it is not yours alone. from_settings: changed with the settings only.
    """

    name: str
    kind: Literal["log", "webhook", "service"]
    where: str
    severities: list[_Severity]
    level: int
    enabled: bool
    of_installation: bool
    from_settings: bool
    last: LastMessage | None


class AlertChannelList(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    data: list[AlertChannelInfo]


class AlertChannelForm(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A channel to store, or to change by its name. address and secret are write-only.

    address: `https://…` for a webhook, which is signed; else a service's (`slack://…`, `mailto://…`, `tgram://…`).
    secret: signs a webhook; one is made without. severities: which it hears of. level: 0 hears at once, 1 and more when
    nobody acknowledged. of_installation: it hears of what concerns all, and is its administrators'; by default where
    there is one login, and there it has to be.
    """

    name: Annotated[str, Meta(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$", description="Of the channel.")]
    address: Annotated[str, Meta(min_length=1, max_length=2000)]
    secret: Annotated[str, Meta(min_length=16, max_length=200)] | None = None
    severities: Annotated[list[_Severity], Meta(min_length=1, max_length=3)] = msgspec.field(
        default_factory=lambda: ["info", "warning", "critical"]
    )
    level: Annotated[int, Meta(ge=0, le=5)] = 0
    of_installation: bool | None = None

    def __repr__(self) -> str:
        return f"AlertChannelForm({self.name})"


class AlertChannelSwitch(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """of_installation: of two by that name that one, or one's own; by default whichever there is, one's own first."""

    enabled: bool
    of_installation: bool | None = None


class AlertChannelKept(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """secret: that was made to sign it, shown this once."""

    data: AlertChannelInfo
    secret: str | None


class AlertChannelAnswer(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    data: AlertChannelInfo


class AlertTestForm(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """channel: only this one; all that you see by default."""

    channel: Annotated[str, Meta(min_length=1, max_length=64)] | None = None


class AlertTestResult(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    channel: str
    delivered: bool
    said: str | None


class AlertTests(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    data: list[AlertTestResult]


def alert_info(incident: Incident, deliveries: Iterable[Delivery]) -> AlertInfo:
    return AlertInfo(
        id=incident.incident_id,
        severity=incident.severity.value,
        code=incident.event.value,
        title=ABOUT[incident.event].title,
        text=incident.message,
        remedy=incident.remedy,
        runbook=runbook_of(incident),
        count=incident.count,
        since=incident.first_at,
        last_at=incident.last_at,
        state=_state(incident),
        acknowledged_by=incident.acknowledged_by or None,
        acknowledged_at=incident.acknowledged_at,
        closed_at=incident.closed_at,
        closed_note=incident.closed_note or None,
        trace_ids=list(incident.trace_ids),
        deliveries=[
            AlertDelivery(
                channel=each.channel,
                reason=each.reason.value,
                state=each.state.value,
                attempts=each.attempts,
                said=each.error or None,
                at=each.finished_at or each.created_at,
            )
            for each in deliveries
        ],
    )


def _state(incident: Incident) -> Literal["open", "acknowledged", "closed", "not told yet"]:
    if incident.closed_at is not None:
        return "closed"
    if incident.acknowledged_at is not None:
        return "acknowledged"
    return UNTOLD if incident.told_at is None else "open"


def channel_info(channel: Channel, last: Delivery | None) -> AlertChannelInfo:
    return AlertChannelInfo(
        name=channel.name,
        kind=channel.kind.value,
        where=channel.shown,
        severities=sorted(each.value for each in channel.severities),
        level=channel.level,
        enabled=channel.enabled,
        of_installation=not channel.user,
        from_settings=channel.by_operator,
        last=None
        if last is None
        else LastMessage(state=last.state.value, said=last.error or None, at=last.finished_at),
    )


def results_of(results: Iterable[Result]) -> AlertTests:
    return AlertTests(
        data=[AlertTestResult(channel=each.channel, delivered=each.ok, said=each.said or None) for each in results]
    )
