"""One look at the session of a client: what is missing of it is opened again, and it says itself how it is."""

from __future__ import annotations

import hashlib

from ibkit.client import Client
from ibkit.errors import SessionTaken, SessionUnavailable
from ibkit.model import AuthMethod
from ibkit.wire.endpoint import Needs
from ibkit.wire.session import BrokerageStatus

__all__ = ["login_of", "look"]


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
