"""Events as JSON text: how the journal writes them down. Decimals are text, so nothing is rounded."""

from __future__ import annotations

from functools import cache
from typing import Any

import msgspec

from ibkit.errors import StorageError
from ibkit.trading.events import EVENTS, Event

__all__ = ["decode_event", "encode_event"]

_ENCODER = msgspec.json.Encoder()


def encode_event(event: Event) -> tuple[str, str]:
    """(kind, body)."""
    return type(event).__name__, _ENCODER.encode(event).decode()


def decode_event(kind: str, body: str) -> Event:
    """StorageError for what this version cannot read: an intent half understood must not be acted on."""
    try:
        event: Event = _decoder(kind).decode(body)
    except (KeyError, msgspec.MsgspecError) as error:
        raise StorageError(
            f"Database problem: the journal holds an event {kind} that this ibkit cannot read",
            remedy="Update ibkit: the journal was written by another version.",
        ) from error
    return event


@cache
def _decoder(kind: str) -> msgspec.json.Decoder[Any]:
    return msgspec.json.Decoder(EVENTS[kind])
