"""Sign-ins of a browser: a random id in a cookie, its hash here, two ends, and the token that forms carry.

    idle end      after APP_SESSION_IDLE_MINUTES (30) without a request
    absolute end  12 h after the person proved who they are, however much it is used

To go on after that, or to have a fresh sign-in where one is asked for, takes a whole sign-in: it begins a session
of its own, with a new id and both ends anew, and the one before is gone. Threats TM-06, TM-09.
"""

from __future__ import annotations

import hashlib
import hmac
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from ibkit.model import Secret
from ibkit.users.digests import Random, digest, new_secret

__all__ = ["ABSOLUTE", "IDLE", "BrowserSession", "csrf_fits", "csrf_token", "new_session", "session_id_of"]

IDLE = timedelta(minutes=30)
ABSOLUTE = timedelta(hours=12)


@dataclass(frozen=True, slots=True, kw_only=True)
class BrowserSession:
    """id_hash: of what stands in the cookie. generation: of the user's tokens at its start, as in a token."""

    id_hash: str = field(repr=False)
    user_id: str
    generation: int
    created_at: datetime
    seen_at: datetime
    signed_in_at: datetime
    address: str
    agent: str

    def is_alive(self, now: datetime, *, idle: timedelta = IDLE) -> bool:
        return now < self.seen_at + idle and now < self.signed_in_at + ABSOLUTE


def session_id_of(session: BrowserSession) -> str:
    """What a session is called by: the beginning of the digest of its cookie, from which no cookie can be made."""
    return session.id_hash[:32]


def new_session(
    *, user_id: str, generation: int, signed_in_at: datetime, address: str, agent: str, now: datetime, random: Random
) -> tuple[BrowserSession, Secret[str]]:
    """The record, and the id for the cookie."""
    cookie = new_secret(random)
    session = BrowserSession(
        id_hash=digest(cookie),
        user_id=user_id,
        generation=generation,
        created_at=now,
        seen_at=now,
        signed_in_at=signed_in_at,
        address=address[:64],
        agent="".join(each for each in agent if each.isprintable())[:200],  # a header may hold half characters
    )
    return session, cookie


def csrf_token(cookie: Secret[str]) -> Secret[str]:
    """What a form of this session carries: it follows from the cookie, which another site cannot read."""
    mac = hmac.new(cookie.reveal().encode("utf-8", "surrogatepass"), b"ibkit form", hashlib.sha256)
    return Secret(mac.hexdigest())


def csrf_fits(cookie: Secret[str], token: Secret[str]) -> bool:
    return csrf_token(cookie) == token
