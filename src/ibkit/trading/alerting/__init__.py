"""What people are told: the events, how often, by which way, and until when. Pure rules; `notify` delivers."""

from __future__ import annotations

from ibkit.trading.alerting.channel import Channel, ChannelKind, route
from ibkit.trading.alerting.delivery import Delivery, DeliveryState, Reason, next_try
from ibkit.trading.alerting.events import ABOUT, About, Audience, EventKind
from ibkit.trading.alerting.incident import Happening, Incident, noted, pending, sees_no_more
from ibkit.trading.alerting.ports import Channels, Incidents
from ibkit.trading.alerting.signs import Signs
from ibkit.trading.alerting.thresholds import Downtime, Failures, Repeats, Usage, Window
from ibkit.trading.alerting.translation import happening_of

__all__ = [
    "ABOUT",
    "About",
    "Audience",
    "Channel",
    "ChannelKind",
    "Channels",
    "Delivery",
    "DeliveryState",
    "Downtime",
    "EventKind",
    "Failures",
    "Happening",
    "Incident",
    "Incidents",
    "Reason",
    "Repeats",
    "Signs",
    "Usage",
    "Window",
    "happening_of",
    "next_try",
    "noted",
    "pending",
    "route",
    "sees_no_more",
]
