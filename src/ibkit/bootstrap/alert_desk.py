"""What `ibkit alerts` and the service do with alerts: list them, what nobody was told of too, and try the channels."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from ibkit.bootstrap.alerting import Alerting
from ibkit.bootstrap.desks import journal_path
from ibkit.bootstrap.edge import edges
from ibkit.clock import Clock
from ibkit.notify.trial import Result, try_channels
from ibkit.settings import Settings
from ibkit.store import open_journal
from ibkit.trading.alert import Alert
from ibkit.trading.alerting import Channel, Delivery, Incident
from ibkit.trading.alerting.incident import noted
from ibkit.trading.alerting.translation import happening_of

__all__ = ["UNTOLD", "channels_with_last", "journal_alerts", "state_of", "try_some", "untold"]

UNTOLD: Final = "not told yet"
_MOST_DELIVERIES = 1_000


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
