"""A test message to each channel, at once and without a record: whether it arrives is the question."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from ibkit.errors import NotFound
from ibkit.notify.dispatcher import Dispatcher
from ibkit.trading.alerting import Channel, Delivery, DeliveryState, EventKind, Happening, Reason, noted
from ibkit.trading.alerting.document import document_of

__all__ = ["Result", "try_channels"]


@dataclass(frozen=True, slots=True)
class Result:
    channel: str
    ok: bool
    said: str


async def try_channels(
    dispatcher: Dispatcher, channels: Sequence[Channel], *, now: datetime, run: str, only: str | None
) -> tuple[Result, ...]:
    """run: tells this test apart from others, in the messages' ids. NotFound where `only` is no channel."""
    chosen = [each for each in channels if only is None or each.name == only]
    if not chosen:
        raise NotFound(
            f"Alert channel {only} not found",
            code="E-NOT-FOUND",
            remedy="`ibkit alerts channels` lists those that there are.",
        )
    return tuple([await _test(dispatcher, each, now, run) for each in chosen])


async def _test(dispatcher: Dispatcher, channel: Channel, now: datetime, run: str) -> Result:
    happening = Happening(
        event=EventKind.CHANNEL_TEST,
        subject=channel.name,
        message=f"This is a test of the alert channel {channel.name}.",
        at=now,
    )
    message_id = f"test-{run}-{channel.name}"
    incident = noted(None, happening, incident_id=f"test-{run}")
    delivery = Delivery(
        delivery_id=message_id,
        incident_id=incident.incident_id,
        channel=channel.name,
        user=channel.user,
        reason=Reason.TEST,
        document=document_of(incident, Reason.TEST, delivery_id=message_id),
        created_at=now,
        next_at=now,
    )
    after = await dispatcher.tried(delivery)
    return Result(channel.name, after.state is DeliveryState.DELIVERED, after.error)
