"""What is kept of a connection: how it stands, and a row for each session. Source: requirements SES-02, SES-12."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from ibkit.errors import IbkitError
from ibkit.trading.connection.states import ConnectionState

__all__ = [
    "CLEANED",
    "CLOSED",
    "EXPIRED",
    "LEFT_ALONE",
    "RENEWED",
    "SessionRecord",
    "Standing",
    "due_warnings",
    "warning_name",
]

CLOSED, EXPIRED, RENEWED, CLEANED = "closed", "expired", "renewed", "cleaned"
"""How a session row ends: logged out; its login was over; another login followed; left behind, and put away."""
LEFT_ALONE: Final = timedelta(minutes=15)
"""A session that is in error, wants a login, or whose process died, for longer than this is put away. SES-11."""


@dataclass(slots=True)
class Standing:
    """How a connection stands. error: of the last look, None where it worked. attempts: failed looks in a row.

    missing: why no market data come, of a last look that worked.
    """

    state: ConnectionState = ConnectionState.CONFIGURED
    since: datetime | None = None
    checked_at: datetime | None = None
    succeeded_at: datetime | None = None
    error: IbkitError | None = None
    attempts: int = 0
    missing: IbkitError | None = None

    @property
    def trouble(self) -> IbkitError | None:
        """What keeps it from being wholly there."""
        return self.error or self.missing


@dataclass(frozen=True, slots=True, kw_only=True)
class SessionRecord:
    """One login of one connection, for tracking only: no password, cookie or token is in it.

    session_id: ours, random. login: a hash of what tells this login from the next, "" while that is unknown.
    expires_at: 24 h after it began. status: the connection's state while it lasts, then how it ended.
    holder:     the lease of the process that keeps it. warned: which alerts were told of it.
    """

    session_id: str
    user_id: str
    connection_id: str
    login: str
    method: str
    environment: str
    created_at: datetime
    expires_at: datetime
    last_activity_at: datetime
    last_keep_alive_at: datetime | None = None
    status: str
    last_error: str = ""
    ended_at: datetime | None = None
    holder: str = ""
    warned: tuple[str, ...] = ()


def due_warnings(session: SessionRecord, before_m: Sequence[float], now: datetime) -> tuple[float, ...]:
    """Which warnings, in minutes before the session's age limit, are due and were not told; the nearest limit last."""
    left = (session.expires_at - now).total_seconds() / 60
    if left <= 0:
        return ()
    return tuple(
        minutes
        for minutes in sorted(before_m, reverse=True)
        if left <= minutes and warning_name(minutes) not in session.warned
    )


def warning_name(minutes: float) -> str:
    return f"expiring {minutes:g}"
