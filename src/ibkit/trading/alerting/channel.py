"""A way to people: for whom, for which weight, and at which level of escalation."""

from __future__ import annotations

import enum
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from ibkit.trading.alert import Severity
from ibkit.trading.alerting.events import Audience
from ibkit.trading.alerting.incident import Incident

__all__ = ["ADMINISTRATORS", "Channel", "ChannelKind", "last_level", "route"]

ADMINISTRATORS = ""
"""Whose channels are those of the installation: administrators, and the owner where there is one user."""


class ChannelKind(enum.Enum):
    """log: the process's own log. webhook: our JSON, signed. service: whatever an apprise address names, mail too."""

    LOG = "log"
    WEBHOOK = "webhook"
    SERVICE = "service"


@dataclass(frozen=True, slots=True, kw_only=True)
class Channel:
    """level: 0 hears at once, 1 and more when nobody acknowledged. by_operator: made from the settings, not by a user.

    shown: how its address is shown: the scheme and what is not secret of it.
    """

    name: str
    kind: ChannelKind
    user: str = ADMINISTRATORS
    severities: frozenset[Severity] = frozenset(Severity)
    level: int = 0
    enabled: bool = True
    by_operator: bool = False
    shown: str = ""
    created_at: datetime | None = None


def route(incident: Incident, level: int, channels: Sequence[Channel]) -> tuple[Channel, ...]:
    """Who hears of it: that user's channels of that level and weight, else those of the installation.

    A user who chose no channel must not be the reason why nobody hears: then the installation's are told.
    """
    theirs = [each for each in _who_may_hear(incident, channels) if each.level == level]
    mine = [each for each in theirs if each.user == _owner(incident)]
    logs = [each for each in channels if each.enabled and each.kind is ChannelKind.LOG]
    return (*(each for each in logs if incident.severity in each.severities), *(mine or theirs))


def last_level(incident: Incident, channels: Sequence[Channel]) -> int:
    """The highest level at which somebody hears of it: another user's channels make none of its levels."""
    return max((each.level for each in _who_may_hear(incident, channels)), default=0)


def _owner(incident: Incident) -> str:
    return ADMINISTRATORS if incident.audience is Audience.ADMINISTRATORS else incident.user


def _who_may_hear(incident: Incident, channels: Sequence[Channel]) -> list[Channel]:
    """Its owner's channels and those of the installation, but for logs."""
    return [
        each
        for each in channels
        if each.enabled
        and each.kind is not ChannelKind.LOG
        and each.user in (_owner(incident), ADMINISTRATORS)
        and incident.severity in each.severities
    ]
