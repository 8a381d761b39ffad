"""One look at a login: its session, of which what is missing is opened again, and whether market data come. MON-04."""

from __future__ import annotations

import hashlib
from typing import Final

from ibkit.client import Client
from ibkit.client.api.marketdata import glance, missing_of
from ibkit.errors import (
    IbkitError,
    OutcomeUnknown,
    RateLimited,
    Refused,
    SessionTaken,
    SessionUnavailable,
    UnexpectedAnswer,
)
from ibkit.model import AuthMethod, Availability, Conid
from ibkit.wire.endpoint import Needs
from ibkit.wire.session import BrokerageStatus

__all__ = ["DataLook", "login_of", "look"]

_SPY: Final = Conid(756733)
"""Quoted for everybody, at least delayed. Source: docs/facts/contracts-and-market-data.md §2.1."""
_EVERY_S: Final = 30.0
_JITTER_S: Final = 1.0
_FINAL: Final = (Availability.NOT_SUBSCRIBED, Availability.NO_ACKNOWLEDGEMENT)


async def look(client: Client) -> BrokerageStatus:
    """The brokerage session's own word, which is that it is ready.

    Raises what keeps it from that: SessionTaken, SessionUnavailable, and all that a call may raise.
    """
    status = await _status(client)
    if not status.ready:
        await client.keeper.beat()
        status = await _status(client)
    if status.taken:
        raise SessionTaken(f"another login holds the brokerage session of {client.keeper.username}")
    if not status.ready:
        raise SessionUnavailable
    return status


async def _status(client: Client) -> BrokerageStatus:
    # In the midst of an order nothing is opened anew: the order's own calls do that.
    if client.keeper.level < Needs.PRIMED_ACCOUNTS.value and client.keeper.conversations == 0:
        await client.connect()
    return await client.status()


def login_of(client: Client) -> str:
    """A hash of what tells this login from the next: a gateway's session, or when we signed in; "" while unknown."""
    keeper = client.keeper
    if keeper.grant is not None and client.method is not AuthMethod.GATEWAY:
        return hashlib.sha256(keeper.grant.obtained_at.isoformat().encode()).hexdigest()
    session = keeper.stream_session
    return "" if session is None else hashlib.sha256(session.reveal().encode()).hexdigest()


class DataLook:
    """Whether market data come: one snapshot of SPY every 30 s, which takes one of the login's lines.

    missing: why none came when it was looked last; None where they did, delayed and frozen ones too.

    A session that can trade may be without data: another program of the same user name took them, or nobody subscribed.
    The first snapshot of a session is always empty: an empty one counts where that session was looked at before.
    Source: docs/facts/contracts-and-market-data.md §2.1, §2.3.
    """

    def __init__(self) -> None:
        self.missing: IbkitError | None = None
        self._looked_at: float | None = None
        self._generation = -1

    async def take(self, client: Client) -> None:
        """Look, unless that was done a moment ago, or an order is being talked about. Raises what ends the session."""
        now = client.clock.monotonic()
        young = self._looked_at is not None and now - self._looked_at < _EVERY_S - _JITTER_S
        if young or client.keeper.conversations > 0:
            return
        self._looked_at = now
        generation, self._generation = self._generation, client.keeper.generation
        warm = generation == client.keeper.generation and _SPY in client.caches.lines
        try:
            quote = await glance(client, _SPY)
        except RateLimited:
            return
        except (Refused, OutcomeUnknown, UnexpectedAnswer) as error:
            self.missing = error
            return
        found = missing_of(quote)
        if found is None or warm or quote.availability in _FINAL:
            self.missing = found
