"""The states of a login and what moves between them. Source: docs/facts/auth-and-sessions.md §4.1, §4.2.

Two nested sessions: the outer one belongs to the way in, the brokerage one to the user name.
"""

from __future__ import annotations

import enum

from ibkit.wire.session import BrokerageStatus

__all__ = ["MOVES", "SessionEvent", "SessionState", "event_of_status", "move"]


class SessionState(enum.Enum):
    LOGGED_OUT = "logged out"
    READ_ONLY = "read only"
    """The outer session alone: portfolio calls work, /iserver does not."""
    STARTING = "starting"
    UNPRIMED = "unprimed"
    """The brokerage session is new: GET /iserver/accounts has not been asked."""
    READY = "ready"
    COMPETED = "competed"
    LINK_DOWN = "link down"
    MAINTENANCE = "maintenance"


class SessionEvent(enum.Enum):
    SIGNED_IN = "signed in"
    INIT_SENT = "ssodh/init"
    ESTABLISHED = "established"
    ACCOUNTS_ASKED = "accounts asked"
    BROKERAGE_LOST = "brokerage session lost"
    TAKEN = "taken by another login"
    LINK_LOST = "link lost"
    UNAVAILABLE = "503 or no readable answer"
    LOGIN_LOST = "401 everywhere"


_S, _E = SessionState, SessionEvent

MOVES: dict[tuple[SessionState, SessionEvent], SessionState] = {
    (_S.LOGGED_OUT, _E.SIGNED_IN): _S.READ_ONLY,
    (_S.READ_ONLY, _E.INIT_SENT): _S.STARTING,
    (_S.READ_ONLY, _E.ESTABLISHED): _S.UNPRIMED,
    (_S.COMPETED, _E.INIT_SENT): _S.STARTING,
    (_S.COMPETED, _E.ESTABLISHED): _S.UNPRIMED,
    (_S.LINK_DOWN, _E.INIT_SENT): _S.STARTING,
    (_S.LINK_DOWN, _E.ESTABLISHED): _S.UNPRIMED,
    (_S.MAINTENANCE, _E.INIT_SENT): _S.STARTING,
    (_S.MAINTENANCE, _E.ESTABLISHED): _S.UNPRIMED,
    (_S.UNPRIMED, _E.INIT_SENT): _S.STARTING,
    (_S.READY, _E.INIT_SENT): _S.STARTING,
    (_S.STARTING, _E.ESTABLISHED): _S.UNPRIMED,
    (_S.UNPRIMED, _E.ACCOUNTS_ASKED): _S.READY,
}
"""What stands not here leaves the state as it is; the events below move from every state."""

_FROM_ANYWHERE = {
    _E.LOGIN_LOST: _S.LOGGED_OUT,
    _E.SIGNED_IN: _S.READ_ONLY,
    _E.TAKEN: _S.COMPETED,
    _E.LINK_LOST: _S.LINK_DOWN,
    _E.UNAVAILABLE: _S.MAINTENANCE,
    _E.BROKERAGE_LOST: _S.READ_ONLY,
}


def move(state: SessionState, event: SessionEvent) -> SessionState:
    """The state after `event`."""
    return MOVES.get((state, event)) or _FROM_ANYWHERE.get(event, state)


def event_of_status(status: BrokerageStatus) -> SessionEvent:
    """What a status object says. Source: §3.4, the four combinations."""
    if status.taken:
        return SessionEvent.TAKEN
    if status.ready:
        return SessionEvent.ESTABLISHED
    if status.connected is False:
        return SessionEvent.LINK_LOST
    return SessionEvent.BROKERAGE_LOST
