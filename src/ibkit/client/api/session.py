"""Verbs of the session."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ibkit.client.opening import read
from ibkit.model import Secret, Username
from ibkit.wire.session import (
    AUTH_STATUS,
    LOGOUT,
    ONE_USER,
    SSO_VALIDATE,
    TICKLE,
    BrokerageStatus,
    Tickle,
    Validation,
)

if TYPE_CHECKING:
    from ibkit.client.core import Core


async def status(ib: Core, *, kept: bool = False) -> BrokerageStatus:
    """The brokerage session's own word, asked now. kept: one of the last 30 s will do."""
    shelf = ib.caches.status
    known = shelf.get("", ib.clock.monotonic()) if kept else None
    if known is not None:
        return known
    turn = shelf.turn
    told: BrokerageStatus = await ib.request(AUTH_STATUS)
    ib.keeper.opener.last_status = told
    return shelf.put("", told, ib.clock.monotonic(), asked_in=turn)


async def tickle(ib: Core) -> BrokerageStatus:
    """Keep the session alive; what it says of the brokerage session."""
    told: Tickle = await ib.request(TICKLE)
    if told.session is not None:
        ib.keeper.stream_session = Secret(told.session)
    if told.ssoExpires is not None:
        ib.keeper.sso_expires = (ib.clock.now(), told.ssoExpires)
    return told.status


async def validate(ib: Core) -> Validation:
    """Who is logged in (gateway and OAuth 2.0; at most once a minute)."""
    known = ib.keeper.validation
    return known if known is not None else await ib.request(SSO_VALIDATE)


async def whoami(ib: Core) -> Username | None:
    """IBKR's own name of this login, asked once; None where it does not say.

    Over OAuth 1.0a nothing else tells it: the consumer key names the credentials, not who trades.
    Source: docs/facts/auth-and-sessions.md §3.8 (in the outer session; that OAuth may ask it is assumed).
    """
    opener = ib.keeper.opener
    if opener.told_user is None:
        answer = await ib.exchange(ONE_USER, errors=False)
        told = read(ONE_USER, answer)
        name = told.get("USER_NAME") if isinstance(told, dict) else None
        opener.told_user = Username(name) if isinstance(name, str) and name else None
    return opener.told_user


async def logout(ib: Core) -> None:
    """End the login at IBKR; the next call would sign in again."""
    await ib.request(LOGOUT)
    await ib.keeper.forget()
