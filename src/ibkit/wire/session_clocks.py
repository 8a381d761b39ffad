"""The three limits of a session, and which comes first. Source: docs/facts/auth-and-sessions.md §4.3, §6; D-4."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from ibkit.wire.maintenance import next_reset

__all__ = ["IDLE_S", "LONGEST_S", "SessionClocks", "session_clocks"]

IDLE_S: Final = 360.0
"""Without any request IBKR ends a brokerage session after 5 to 6 minutes. §4.3."""
LONGEST_S: Final = 86_400.0
"""No session is older. §4.3."""


@dataclass(frozen=True, slots=True)
class SessionClocks:
    """Seconds left, never below 0. ends_first: idle, age or reset.

    sso_renews_in: what the last tickle told and how much of it is left; it renews itself and ends nothing (§3.7). None
    where it was not told (OAuth 1.0a).
    """

    idle_seconds_left: int
    age_seconds_left: int
    next_reset: datetime
    ends_first: str
    sso_renews_in: int | None = None


def session_clocks(
    now: datetime,
    *,
    last_activity_at: datetime,
    expires_at: datetime,
    region: str,
    sso_expires: tuple[datetime, int] | None = None,
) -> SessionClocks:
    """sso_expires: when a tickle told it, and its milliseconds."""
    idle_at = last_activity_at + timedelta(seconds=IDLE_S)
    reset_at = next_reset(now, region)
    ends = {"idle": idle_at, "age": expires_at, "reset": reset_at}
    renews = None
    if sso_expires is not None:
        told_at, milliseconds = sso_expires
        renews = max(0, round(milliseconds / 1000 - (now - told_at).total_seconds()))
    return SessionClocks(
        idle_seconds_left=_left(idle_at, now),
        age_seconds_left=_left(expires_at, now),
        next_reset=reset_at,
        ends_first=min(ends, key=lambda name: ends[name]),
        sso_renews_in=renews,
    )


def _left(end: datetime, now: datetime) -> int:
    return max(0, int((end - now).total_seconds()))
