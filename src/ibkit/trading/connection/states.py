"""How a connection stands, and what moves it. Source: requirement SES-12.

    not_configured ─ credentials given ─→ configured ─ trying ─→ connecting
    connecting, connected, degraded, needs_login, competing, error, paused
        ─ a look worked ─→ connected        ─ it worked, but data is missing ─→ degraded
        ─ a look failed ─→ error, or where its reason says so needs_login, competing, paused
        ─ trying (a person asked for it) ─→ connecting
        ─ left (no process keeps it any more) ─→ configured
    everything that is configured ─ logged out ─→ disconnected ─ trying ─→ connecting
    everything ─ credentials gone ─→ not_configured

What is not listed in `MOVES` moves nothing: a late answer does not bring back a connection that was logged out.
IBKR's own states of a session, by which a client knows what to do next, are `ibkit.wire.session_states`.
"""

from __future__ import annotations

import enum
from collections.abc import Mapping
from datetime import datetime
from typing import Final

from ibkit.errors import ConfigError, CredentialsRejected, IbkitError, RateLimited, SessionExpired, SessionTaken

__all__ = [
    "LABELS",
    "MOVES",
    "ConnectionEvent",
    "ConnectionState",
    "event_of",
    "heals",
    "move",
    "pause_of",
    "retry_after",
]


class ConnectionState(enum.StrEnum):
    NOT_CONFIGURED = "not_configured"
    CONFIGURED = "configured"
    CONNECTING = "connecting"
    CONNECTED = "connected"
    DEGRADED = "degraded"
    """Connected, but data is missing."""
    NEEDS_LOGIN = "needs_login"
    COMPETING = "competing"
    ERROR = "error"
    PAUSED = "paused"
    """By us (failed sign-ins, too many calls) or by IBKR (maintenance): it ends by itself."""
    DISCONNECTED = "disconnected"
    """Somebody logged it out, and nobody has connected it since."""

    @property
    def is_up(self) -> bool:
        return self in (ConnectionState.CONNECTED, ConnectionState.DEGRADED)

    @property
    def is_wanted(self) -> bool:
        """Somebody wants it connected: time in such a state counts for availability."""
        return self not in (ConnectionState.NOT_CONFIGURED, ConnectionState.CONFIGURED, ConnectionState.DISCONNECTED)


_S = ConnectionState

LABELS: Final[Mapping[ConnectionState, str]] = {
    _S.NOT_CONFIGURED: "Not Configured",
    _S.CONFIGURED: "Configured but Not Connected",
    _S.CONNECTING: "Connecting",
    _S.CONNECTED: "Connected",
    _S.DEGRADED: "Connected (limited)",
    _S.NEEDS_LOGIN: "Login required",
    _S.COMPETING: "In use elsewhere",
    _S.ERROR: "Error",
    _S.PAUSED: "Paused",
    _S.DISCONNECTED: "Disconnected",
}


class ConnectionEvent(enum.StrEnum):
    CREDENTIALS_GIVEN = "credentials given"
    CREDENTIALS_GONE = "credentials gone"
    TRYING = "trying"
    WORKED = "worked"
    WORKED_PARTLY = "worked partly"
    FAILED = "failed"
    LOGIN_NEEDED = "login needed"
    TAKEN = "taken by another login"
    HELD_UP = "held up"
    LEFT = "left"
    """The process that kept it has ended."""
    LOGGED_OUT = "logged out"


_E = ConnectionEvent

_LOOKED_AT = (_S.CONNECTING, _S.CONNECTED, _S.DEGRADED, _S.NEEDS_LOGIN, _S.COMPETING, _S.ERROR, _S.PAUSED)
"""States of a connection that is looked at: each look moves them by what it finds."""
_FOUND = {
    _E.WORKED: _S.CONNECTED,
    _E.WORKED_PARTLY: _S.DEGRADED,
    _E.FAILED: _S.ERROR,
    _E.LOGIN_NEEDED: _S.NEEDS_LOGIN,
    _E.TAKEN: _S.COMPETING,
    _E.HELD_UP: _S.PAUSED,
}

MOVES: Final[Mapping[tuple[ConnectionState, ConnectionEvent], ConnectionState]] = {
    (_S.NOT_CONFIGURED, _E.CREDENTIALS_GIVEN): _S.CONFIGURED,
    **{(state, event): found for state in _LOOKED_AT for event, found in _FOUND.items()},
    **{(state, _E.LEFT): _S.CONFIGURED for state in _LOOKED_AT},
    **{(state, _E.TRYING): _S.CONNECTING for state in _S if state is not _S.NOT_CONFIGURED},
    **{(state, _E.LOGGED_OUT): _S.DISCONNECTED for state in _S if state is not _S.NOT_CONFIGURED},
    **{(state, _E.CREDENTIALS_GONE): _S.NOT_CONFIGURED for state in _S},
}
"""All the moves there are."""


def move(state: ConnectionState, event: ConnectionEvent) -> ConnectionState:
    """The state after `event`; the same one where the two are not listed."""
    return MOVES.get((state, event), state)


_BY_CODE: Final[Mapping[str, ConnectionEvent]] = {
    "E-GW-NOAUTH": _E.LOGIN_NEEDED,
    "E-SES-EXPIRED": _E.LOGIN_NEEDED,
    "E-SES-USER": _E.LOGIN_NEEDED,
    "E-SES-COMPETING": _E.TAKEN,
    "E-AUTH-BACKOFF": _E.HELD_UP,
    "E-CIRCUIT": _E.HELD_UP,
    "E-MAINT": _E.HELD_UP,
    "E-PENALTY": _E.HELD_UP,
    "E-RATE": _E.HELD_UP,
}


def event_of(error: IbkitError) -> ConnectionEvent:
    """What a look that failed by `error` does to the connection. None of them leaves it connected."""
    by_code = _BY_CODE.get(error.code)
    if by_code is not None:
        return by_code
    match error:
        case SessionTaken():
            return _E.TAKEN
        case SessionExpired() if error.code == SessionExpired.default_code:
            return _E.LOGIN_NEEDED
        case RateLimited():
            return _E.HELD_UP
        case _:
            return _E.FAILED


def heals(error: IbkitError) -> bool:
    """Whether trying again may help: not where a person has to log in, to decide, or to correct something. SES-07."""
    if isinstance(error, ConfigError | CredentialsRejected):
        return False
    return event_of(error) is _E.FAILED


FIRST_RETRY_S: Final = 2.0
LONGEST_RETRY_S: Final = 30.0
"""SES-07 allows 60; a look is due every 30 s anyway (MON-04)."""
PASSIVE_S: Final = 25.0
"""With what a look takes itself, a completed login is noticed within the 35 s of SES-07."""


def pause_of(error: IbkitError) -> datetime | None:
    """Until when this failure says that calls pause: penalty box, circuit, maintenance, failed sign-ins. Else None."""
    if event_of(error) is not ConnectionEvent.HELD_UP:
        return None
    if isinstance(error, RateLimited) and error.retry_at is not None:
        return error.retry_at
    until = error.details.get("until")
    return datetime.fromisoformat(until) if isinstance(until, str) else None


def retry_after(error: IbkitError, attempt: int, chance: float) -> float:
    """Seconds until the next look after the `attempt`th failure (1, 2, …) in a row: 2, 4, 8, 16, 30, with jitter.

    Where a person must act first, 25 s: so that a login that somebody completed is noticed. chance: 0 up to 1.
    """
    if not heals(error):
        return PASSIVE_S
    wait = min(FIRST_RETRY_S * 2.0 ** min(attempt - 1, 10), LONGEST_RETRY_S)
    return wait * (0.75 + 0.25 * chance)
