"""When an account is synced by the clock: in stretches of SYNC_INTERVAL_MINUTES, each account at a moment of its own.

    every 15 minutes      one account at :03:12, :18:12, :33:12 …, the next at :11:40, :26:40 …

So a thousand accounts do not ask in the same second, and two processes agree on what is due without a word.
Source: requirement SYN-12.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable
from datetime import datetime, timedelta

from ibkit.clock import slot_of
from ibkit.portfolio.book import Link, SyncStatus

__all__ = ["Closed", "due_since", "next_sync"]

Closed = Callable[[datetime], datetime | None]
"""Until when the broker is closed at a time; None where it is open."""


def due_since(link: Link, now: datetime, every: timedelta) -> datetime:
    """The beginning of the account's present stretch: it is due where no good sync is younger."""
    spread = zlib.crc32(f"{link.connection_id}/{link.account_id}".encode()) % round(every.total_seconds())
    return slot_of(now, every, timedelta(seconds=spread))


def next_sync(link: Link, now: datetime, every: timedelta, closed: Closed) -> datetime | None:
    """When it is synced next: now where it is due; None where it is synced by hand alone.

    One that failed is not tried again before its next stretch. closed: no sync begins within.
    """
    if not link.sync_enabled:
        return None
    since = due_since(link, now, every)
    due = link.status is not SyncStatus.ERROR and (link.last_sync is None or link.last_sync < since)
    at = now if due else since + every
    return closed(at) or at
