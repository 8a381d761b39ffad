"""How many wrong tries are too many. Counted for each account and network, for the account, and for the network.

    account and network  5 failures within 15 minutes: wait 15 minutes, after the next five 30, then 60
    account              5 within 15 minutes from networks in which it never signed in: those wait, up to 15 minutes
    network              20 within 15 minutes, whatever the accounts: it waits 15 minutes

So nobody can lock an owner out of a place from which they have signed in before, and nobody for ever. What is refused
while waiting does not count, so that it does not make the wait longer; a sign-in wipes its own account's and network's
failures away. Requirements UI-01, MON-11; threat TM-16.
"""

from __future__ import annotations

import enum
import hashlib
import ipaddress
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

__all__ = [
    "FINDING_AT",
    "KEPT",
    "MEMORY",
    "MOST_ROWS",
    "WINDOW",
    "Attempt",
    "Begun",
    "Finding",
    "History",
    "Kind",
    "NewPlace",
    "account_key",
    "network_of",
    "waits_until",
]

WINDOW = timedelta(minutes=15)
KEPT = timedelta(days=30)
"""How long failures are kept for the list of them."""
MEMORY = timedelta(hours=24)
"""How far back an account's and network's failures make the next wait longer."""
FINDING_AT = 10
"""Failures of an account or an address within the window that make a finding (MON-11)."""
MOST_ROWS = 200
"""Kept of one network within the window: a flood of bad tokens does not fill the disk."""
_BURST, _NETWORK_BURST = 5, 20
_LONGEST = timedelta(minutes=60)


class Kind(enum.Enum):
    """Of a failure."""

    PASSWORD = "password"  # noqa: S105  # the word, no password
    CODE = "code"
    LINK = "link"
    TOKEN = "token"  # noqa: S105
    WAITING = "waiting"
    """Refused unseen, because of failures before."""
    ADDRESS = "address"
    """One that may not connect: ALLOWED_CLIENT_IPS."""
    BROKER = "broker"
    """IBKR refused a login."""

    @property
    def counts(self) -> bool:
        """Whether it makes a wait: a guess at a password, a code or a link."""
        return self in (Kind.PASSWORD, Kind.CODE, Kind.LINK)


@dataclass(frozen=True, slots=True, kw_only=True)
class Attempt:
    """A try, and a failure until it has succeeded: so of many at once none is for free.

    account: `account_key` of the name that was typed, "" for a token. user_id: "" where there is no such user.
    """

    attempt_id: str
    account: str
    user_id: str
    address: str
    kind: Kind
    at: datetime

    @property
    def network(self) -> str:
        return network_of(self.address)


@dataclass(frozen=True, slots=True, kw_only=True)
class History:
    """Failures that count, before this attempt, oldest first.

    here: of the account and network within MEMORY. elsewhere: of the account in networks unknown to it, within WINDOW.
    network: of the network, within WINDOW. known: whether the account has signed in from the network before.
    """

    here: Sequence[datetime]
    elsewhere: Sequence[datetime]
    network: Sequence[datetime]
    known: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Begun:
    """An attempt that was written down as a failure.

    waits_until: None where it may be made. of_user, of_address: failures within the window with this one, in the order
    in which they were written down, so that of many at once one is the tenth; 0 where there is no such user, and where
    of a flood no more is written down.
    """

    waits_until: datetime | None = None
    of_user: int = 0
    of_address: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """FINDING_AT failures within the window, or a multiple of that.

    about: "account" or "address". subject: the user's id, or the address.
    """

    about: str
    subject: str
    count: int
    at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class NewPlace:
    """A user signed in from a network in which they never did before (MON-12)."""

    user_id: str
    address: str
    at: datetime


def waits_until(history: History) -> datetime | None:
    """Until when the next attempt is refused unseen; None where it may be made. The instant may be past."""
    ends = [_burst_end(history.here, _BURST, _growing(len(history.here)))]
    if not history.known:
        ends.append(_burst_end(history.elsewhere, _BURST, WINDOW))
    ends.append(_burst_end(history.network, _NETWORK_BURST, WINDOW))
    return max((end for end in ends if end is not None), default=None)


def _burst_end(failures: Sequence[datetime], burst: int, wait: timedelta) -> datetime | None:
    if len(failures) < burst or failures[-1] - failures[-burst] >= WINDOW:
        return None
    return failures[-1] + wait


def _growing(failures: int) -> timedelta:
    return min(WINDOW * 2 ** min(failures // _BURST - 1, 8), _LONGEST) if failures >= _BURST else WINDOW


def network_of(address: str) -> str:
    """The /24 of an IPv4 address, the /64 of an IPv6 one: what one person easily has many of.

    Text that is no address: itself.
    """
    try:
        parsed = ipaddress.ip_address(address.split("%", 1)[0])
    except ValueError:
        return address[:64]
    if isinstance(parsed, ipaddress.IPv6Address) and parsed.ipv4_mapped is not None:
        parsed = parsed.ipv4_mapped
    return str(ipaddress.ip_network(f"{parsed}/{24 if parsed.version == 4 else 64}", strict=False))


def account_key(name: str) -> str:
    """What stands for a typed name in the list of failures: people type passwords there, so not the name itself."""
    return hashlib.sha256(b"ibkit account\0" + name.strip().lower().encode("utf-8", "surrogatepass")).hexdigest()[:32]
