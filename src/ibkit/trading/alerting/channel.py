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
    owner = ADMINISTRATORS if incident.audience is Audience.ADMINISTRATORS else incident.user
    fitting = [
        each
        for each in channels
        if each.enabled
        and incident.severity in each.severities
        and (each.level == level or each.kind is ChannelKind.LOG)
    ]
    mine = [each for each in fitting if each.user == owner and each.kind is not ChannelKind.LOG]
    if not mine:
        mine = [each for each in fitting if each.user == ADMINISTRATORS and each.kind is not ChannelKind.LOG]
    return (*(each for each in fitting if each.kind is ChannelKind.LOG), *mine)


def last_level(channels: Sequence[Channel]) -> int:
    return max((each.level for each in channels if each.enabled), default=0)
