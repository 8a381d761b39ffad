"""What `ibkit alerts` and the service do with alerts: list them, what nobody was told of too; keep and try channels."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from ibkit.bootstrap.alerting import Alerting
from ibkit.bootstrap.desks import journal_path
from ibkit.bootstrap.edge import edges
from ibkit.clock import Clock
from ibkit.errors import ConfigError
from ibkit.model import Secret
from ibkit.notify.trial import Result, try_channels
from ibkit.settings import Settings
from ibkit.store import open_journal
from ibkit.trading.alert import Alert, Severity
from ibkit.trading.alerting import Channel, ChannelKind, Delivery, Incident
from ibkit.trading.alerting.incident import noted
from ibkit.trading.alerting.translation import happening_of

__all__ = [
    "MOST_CHANNELS",
    "UNTOLD",
    "KeptChannel",
    "channels_with_last",
    "journal_alerts",
    "keep_channel",
    "state_of",
    "try_some",
    "untold",
]

MOST_CHANNELS: Final = 20
"""Of one user, or of the installation: everything has a bound."""

UNTOLD: Final = "not told yet"
_MOST_DELIVERIES = 1_000


@dataclass(frozen=True, slots=True, kw_only=True)
class KeptChannel:
    """made: the signing secret that was made for it, shown this once; None where one was given or none is used."""

    channel: Channel
    made: Secret[str] | None


async def keep_channel(
    alerting: Alerting,
    name: str,
    address: Secret[str],
    *,
    user: str,
    secret: Secret[str] | None = None,
    severities: frozenset[Severity] = frozenset(Severity),
    level: int = 0,
) -> KeptChannel:
    """Store a channel of `user` ("": the installation), or change it. A webhook is signed, with a secret of its own,
    which a change leaves as it is, and whether it is on.

    DeliveryFailed where the address cannot be used, with the reason and without the address; ConfigError
    (E-VALIDATION) for the name of a channel of the settings, or for one too many; StorageError.
    """
    webhook = address.reveal().lower().startswith(("https://", "http://"))
    shown = (
        f"{alerting.guard.check(address.reveal()).host}, signed"
        if webhook
        else alerting.services.check(address, trusted=False)
    )
    theirs = [each for each in await alerting.channels.all() if each.user == user and not each.by_operator]
    known = next((each for each in theirs if each.name == name), None)
    if known is None and len(theirs) >= MOST_CHANNELS:
        raise ConfigError(
            f"Invalid request: name: there are {MOST_CHANNELS} channels already",
            code="E-VALIDATION",
            remedy="Remove one first.",
            details={"errors": [{"field": "name", "message": f"there are {MOST_CHANNELS} channels already"}]},
        )
    made = None
    if webhook and secret is None and known is not None and known.kind is ChannelKind.WEBHOOK:
        secret = (await alerting.channels.address(known))[1]  # a change of the rest leaves the receiver as it is
    if webhook and secret is None:
        secret = made = Secret(f"whsec_{base64.b64encode(edges().random(32)).decode()}")
    channel = Channel(
        name=name,
        kind=ChannelKind.WEBHOOK if webhook else ChannelKind.SERVICE,
        user=user,
        severities=severities,
        level=level,
        shown=shown,
        enabled=known is None or known.enabled,
        created_at=alerting.clock.now() if known is None else known.created_at,
    )
    await alerting.channels.put(channel, address, secret if webhook else None)
    return KeptChannel(channel=channel, made=made)


def state_of(incident: Incident) -> str:
    """closed, acknowledged by whom, open, or not told yet."""
    if incident.closed_at is not None:
        return "closed"
    if incident.acknowledged_at is not None:
        return f"acknowledged by {incident.acknowledged_by}"
    return UNTOLD if incident.told_at is None else "open"


async def journal_alerts(settings: Settings, clock: Clock) -> tuple[Alert, ...]:
    """What the order journal of the settings has open; nothing where there is no journal."""
    path = journal_path(settings)
    if settings.mock or not path.exists():
        return ()
    async with open_journal(path, clock=clock) as journal:
        return await journal.alerts.open()


async def untold(alerting: Alerting, standing: Sequence[Alert]) -> list[Incident]:
    """Of the journal's open alerts, newest first, those that nobody took up: it must not look as if all were well."""
    counted = await alerting.incidents.known_sources(tuple(alert.alert_id for alert in standing))
    fresh = [alert for alert in standing if alert.alert_id not in counted]
    return [noted(None, happening_of(alert), incident_id=alert.alert_id) for alert in reversed(fresh)]


async def channels_with_last(alerting: Alerting) -> list[tuple[Channel, Delivery | None]]:
    """Every channel with what became of its last message that was tried."""
    latest: dict[tuple[str, str], Delivery] = {}
    for each in await alerting.incidents.deliveries(limit=_MOST_DELIVERIES):
        if each.attempts:
            latest.setdefault((each.user, each.channel), each)
    return [(channel, latest.get((channel.user, channel.name))) for channel in await alerting.channels.all()]


async def try_some(alerting: Alerting, channels: Sequence[Channel], *, only: str | None) -> tuple[Result, ...]:
    """A test message to each at once, or to that of the name alone. NotFound."""
    run = edges().random(8).hex()
    return await try_channels(alerting.dispatcher, channels, now=alerting.clock.now(), run=run, only=only)
