"""The rules of the two nested sessions: opening, starting, losing, competing, ageing.

    LOGGED_OUT ── login ──> READ_ONLY ── init ──> STARTING ── starting_s ──> UNPRIMED ── GET accounts ──> READY
    READY ── idle, nightly reset ──> READ_ONLY        READY ── another init with compete ──> COMPETED
    any ── 24 h, midnight (gateway), logout ──> LOGGED_OUT

Source: docs/facts/auth-and-sessions.md §3.4-3.10, §4.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any
from zoneinfo import ZoneInfo

from ibkit.sim.logins.logins import Brokerage, LiveSessionToken, Method, Session, User

if TYPE_CHECKING:
    from ibkit.sim.world import World

__all__ = [
    "MAC",
    "REGION_ZONES",
    "add_live_session_token",
    "advance_sessions",
    "apply_scenarios",
    "end",
    "gateway_login",
    "gateway_logout",
    "init",
    "is_ready",
    "lose_all_brokerage",
    "lose_brokerage",
    "open_brokerage",
    "open_session",
    "renew_sso_session",
    "sessions_of",
    "status_object",
    "take_elsewhere",
]

REGION_ZONES = {"us": "America/New_York", "eu": "Europe/Zurich", "asia": "Asia/Hong_Kong"}
"""Whose midnight and nightly reset counts. Source: docs/facts/auth-and-sessions.md §4.3, §6."""
MAC = "98:F2:B3:23:BF:A0"
_SERVER = {"serverName": "SimA7", "serverVersion": "Build 10.44.1d, Mar 3, 2026 1:55:32 PM"}
_FORCE_COMPETE = "Force compete capability must be used together with compete flag"


def open_session(world: World, user: User, method: Method) -> Session:
    """A new outer session, without a brokerage session in it."""
    session = Session(
        id=f"{world.rng('session ids').getrandbits(128):032x}",
        user=user,
        method=method,
        opened_at=world.now,
        expires_at=_expiry(world, user, method),
        last_call_at=world.now,
    )
    world.logins.sessions.append(session)
    return session


def _expiry(world: World, user: User, method: Method) -> datetime:
    ends = world.now + timedelta(seconds=world.quirks.max_age_s)
    if method == "gateway" and world.quirks.gateway_midnight:
        return min(ends, _next_midnight(world.now, user.region))
    return ends


def _next_midnight(now: datetime, region: str) -> datetime:
    local = now.astimezone(ZoneInfo(REGION_ZONES[region]))
    return (local + timedelta(days=1)).replace(hour=0, minute=0, second=0, microsecond=0).astimezone(now.tzinfo)


def add_live_session_token(world: World, user: User, *, access_token: str, token: bytes) -> LiveSessionToken:
    """A further live session token: the outer session goes on, both tokens live to their own end. §8 rows 5 and 6."""
    alive = [old for old in world.logins.live_session_tokens.get(access_token, []) if old.expires_at > world.now]
    sessions = [old.session for old in alive if old.session in world.logins.sessions]
    session = sessions[-1] if sessions else open_session(world, user, "oauth1a")
    if sessions:
        _renew(world, session)
    expires_at = world.now + timedelta(hours=world.quirks.lst_hours)
    fresh = LiveSessionToken(token=token, access_token=access_token, expires_at=expires_at, session=session)
    session.expires_at = max(session.expires_at, min(expires_at, _expiry(world, user, "oauth1a")))
    world.logins.live_session_tokens[access_token] = [*alive, fresh]
    return fresh


def _renew(world: World, session: Session) -> None:
    session.opened_at = session.last_call_at = world.now
    session.expires_at = _expiry(world, session.user, session.method)
    if session.brokerage is not None and world.quirks.new_lst_unprimes:
        session.brokerage.accounts_primed = False


def renew_sso_session(world: World, user: User) -> Session:
    """The outer session of a further sso-sessions call by the same client: the living one goes on.

    Assumed to be as with live session tokens (§8 row 6); a test on a paper account would tell.
    """
    living = [s for s in world.logins.sessions if s.method == "oauth2" and s.user.username == user.username]
    if not living:
        return open_session(world, user, "oauth2")
    _renew(world, living[-1])
    return living[-1]


def sessions_of(world: World, username: str) -> Iterator[Session]:
    return (session for session in world.logins.sessions if session.user.username == username)


def open_brokerage(world: World, session: Session, *, ready: bool = False, primed: bool = False) -> Brokerage:
    """A new, empty brokerage session; it is established after `starting_s`, or at once if `ready`."""
    if world.quirks.ways_in_compete:
        for other in sessions_of(world, session.user.username):
            if other is not session and other.brokerage is not None:
                lose_brokerage(other, competing=True)
    pause = timedelta(0) if ready else timedelta(seconds=world.quirks.starting_s)
    accounts = session.user.accounts
    session.brokerage = Brokerage(
        id=f"{world.rng('brokerage ids').getrandbits(32):08x}.{len(world.logins.sessions):08x}",
        opened_at=world.now,
        established_at=world.now + pause,
        selected_account=accounts[0].id if accounts else None,
        accounts_primed=primed,
    )
    session.had_brokerage = True
    session.competing = session.logged_out = False
    session.connected = True
    return session.brokerage


def lose_brokerage(session: Session, *, competing: bool = False) -> None:
    session.brokerage = None
    session.competing = competing


def is_ready(session: Session, now: datetime) -> bool:
    """Whether /iserver calls are answered: a brokerage session is there and established."""
    return session.brokerage is not None and now >= session.brokerage.established_at


def status_object(world: World, session: Session, *, fail: bool) -> dict[str, Any]:
    """The brokerage status of §3.4. fail: with the member `fail` (auth/status has it, tickle and a good init not)."""
    ready = is_ready(session, world.now)
    elsewhere = session.brokerage is None and session.user.username in world.logins.elsewhere
    status: dict[str, Any] = {
        "authenticated": ready,
        "established": ready,
        "competing": session.competing or elsewhere,
        "connected": session.connected,
        "message": "",
        "MAC": MAC,
        "serverInfo": dict(_SERVER) if session.brokerage is not None else {"serverName": None, "serverVersion": None},
        "hardware_info": f"{session.id[:8]}|{MAC}",
    }
    return status | {"fail": ""} if fail else status


def init(world: World, session: Session, *, compete: bool) -> dict[str, Any]:
    """Open the brokerage session, or say who has it. A living one that nobody disputes is left as it is. §3.6."""
    username = session.user.username
    taken = username in world.logins.elsewhere or (
        world.quirks.ways_in_compete
        and any(other is not session and other.brokerage for other in sessions_of(world, username))
    )
    if taken and not compete:
        session.competing = True
        return {"passed": False, **status_object(world, session, fail=True), "fail": _FORCE_COMPETE}
    world.logins.elsewhere.discard(username)
    if session.brokerage is None:
        open_brokerage(world, session)
    return status_object(world, session, fail=False)


def take_elsewhere(world: World, username: str) -> None:
    """Another platform opens the user's brokerage session and wins. §4.2."""
    world.logins.elsewhere.add(username)
    for session in sessions_of(world, username):
        lose_brokerage(session, competing=True)


def end(world: World, session: Session, *, logged_out: bool = False) -> None:
    """The outer session is over, with everything in it. logged_out: because its owner said so."""
    lose_brokerage(session)
    session.logged_out = logged_out
    if session in world.logins.sessions:
        world.logins.sessions.remove(session)
    if world.logins.gateway is session:
        world.logins.gateway = None


def gateway_login(world: World, username: str, *, ready: bool = False) -> Session:
    """A browser login through the gateway, which then opens the brokerage session itself, with compete. §3.11."""
    gateway_logout(world)
    session = open_session(world, world.logins.users[username], "gateway")
    world.logins.gateway = session
    world.logins.gateway_was_logged_in = True
    world.logins.elsewhere.discard(username)
    open_brokerage(world, session, ready=ready, primed=world.quirks.gateway_primes_accounts)
    return session


def gateway_logout(world: World) -> None:
    """The gateway's login is gone, as after midnight: only a browser brings it back."""
    if world.logins.gateway is not None:
        end(world, world.logins.gateway)


def advance_sessions(world: World, now: datetime) -> None:
    """End what is idle or too old at `now`. Nightly resets come from `maintenance.py`."""
    idle = timedelta(seconds=world.quirks.idle_timeout_s)
    for session in list(world.logins.sessions):
        if session.expires_at <= now:
            end(world, session)
        elif now - session.last_call_at > idle and not (session.method == "gateway" and world.quirks.gateway_tickles):
            lose_brokerage(session, competing=session.competing)


def lose_all_brokerage(world: World, user: User, *, opened_before: datetime) -> None:
    """A nightly reset: the user's brokerage sessions that are older are gone, the outer ones stand. §6."""
    for session in sessions_of(world, user.username):
        if session.brokerage is not None and session.brokerage.opened_at < opened_before:
            lose_brokerage(session)


def apply_scenarios(world: World) -> None:
    """Bring logins into the state that the scenarios describe; called at the start and when they change."""
    _apply_accounts(world)
    faults, logins = world.faults, world.logins
    if not faults.on("competing"):
        logins.elsewhere.clear()
    first = logins.first_user.username
    wanted = first
    if faults.on("other-user"):
        wanted = next((name for name in logins.users if name != first), first)
    if faults.on("expired"):
        for session in list(logins.sessions):
            end(world, session)
        logins.gateway_was_logged_in = True
    elif faults.on("not-authenticated"):
        gateway_logout(world)
        logins.gateway_was_logged_in = False
    elif logins.gateway is None or logins.gateway.user.username != wanted:
        gateway_login(world, wanted, ready=True)
    elif logins.gateway.brokerage is None:
        open_brokerage(world, logins.gateway, ready=True, primed=world.quirks.gateway_primes_accounts)
    if faults.on("competing"):
        for username in logins.users:
            take_elsewhere(world, username)
    if any(faults.on(name) for name in ("expired:restorable", "sso-dh-500", "init-refused")):
        for session in logins.sessions:
            lose_brokerage(session)


def _apply_accounts(world: World) -> None:
    for index, user in enumerate(world.users_at_start):
        accounts = user.accounts
        if world.faults.on("no-account"):
            accounts = ()
        elif index == 0 and world.faults.on("multi-account"):
            accounts = (*user.accounts, *user.spare_accounts)
        if world.logins.users[user.username].accounts != accounts:
            world.logins.set_accounts(user.username, accounts)
