"""What happened to a connection, and how much of the time it was there. Source: requirement SES-14."""

from __future__ import annotations

import enum
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from ibkit.trading.connection.states import ConnectionState

__all__ = ["Availability", "EventName", "HistoryEvent", "availability"]


class EventName(enum.StrEnum):
    STATE = "state"
    """It stands otherwise than before."""
    LOGIN = "login"
    RECONNECT = "reconnect"
    """One try to get it back, with its outcome."""
    KEEP_ALIVE_FAILED = "keep_alive_failed"
    EXPIRED = "expired"
    RENEWED = "renewed"
    TAKEN_OVER = "taken_over"
    LOGOUT = "logout"
    CLEANED = "cleaned"


@dataclass(frozen=True, slots=True, kw_only=True)
class HistoryEvent:
    """event_id: grows with time, 0 before it is stored. was, state: before and after. code: of an error, or "".

    number: of a try, from 1 in each outage. lasted_s: of a state that ended, how long it was; else None.
    """

    event_id: int = 0
    user_id: str
    connection_id: str
    session_id: str = ""
    at: datetime
    name: EventName
    was: ConnectionState
    state: ConnectionState
    code: str = ""
    message: str = ""
    number: int = 0
    lasted_s: float | None = None


@dataclass(frozen=True, slots=True)
class Availability:
    """up_s of wanted_s: time connected, of the time in which somebody wanted it so. percent: None where nobody did."""

    up_s: float
    wanted_s: float

    @property
    def percent(self) -> float | None:
        return 100 * self.up_s / self.wanted_s if self.wanted_s > 0 else None


def availability(
    events: Sequence[HistoryEvent], since: datetime, until: datetime, *, before: ConnectionState | None = None
) -> Availability:
    """From the changes of state of one connection, oldest first.

    before: the state at `since`, where an earlier change tells it; time of which nothing is known does not count.
    """
    up = wanted = 0.0
    state, begun = before, since
    changes = [each for each in events if each.name is EventName.STATE and since <= each.at <= until]
    for at, following in [*((each.at, each.state) for each in changes), (until, None)]:
        lasted = max(0.0, (at - begun).total_seconds())
        if state is not None and state.is_wanted:
            wanted += lasted
            up += lasted if state.is_up else 0.0
        state, begun = following, at
    return Availability(up, wanted)
