"""Signing in and being recognised: what the service calls, and nothing of HTTP.

    sign_in ──> SignedIn ──────────────> issue (token) or begin_session (cookie)
        └─────> CodeNeeded ──> enter_code ──> SignedIn
    use_link (who is invited) ─────────> SignedIn or CodeNeeded

Whatever is wrong with a name, password, code, link, token, key or cookie is one and the same AuthError (E-APP-AUTH),
and an unknown name costs the same argon2 as a known one. Requirement GWY-02; threats TM-09, TM-13, TM-15, TM-16.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from functools import partial
from typing import TypeAlias

import anyio
import anyio.to_thread

from ibkit.clock import Clock
from ibkit.errors import AuthError, ConfigError, IbkitError, NotFound, RateLimited
from ibkit.model import AccountId, Secret
from ibkit.users.api_keys import is_api_key, key_id_of
from ibkit.users.attempts import FINDING_AT, Attempt, Begun, Finding, Kind, NewPlace, account_key
from ibkit.users.browser import IDLE, BrowserSession, new_session, session_id_of
from ibkit.users.digests import Random, digest, new_id
from ibkit.users.passwords import Hasher, check_password
from ibkit.users.ports import Sealing, TellFinding, UserStore, untold
from ibkit.users.principal import Principal, Role, Scope
from ibkit.users.tokens import LONGEST_LIFE, Audience, Claims, TokenSigner
from ibkit.users.totp import with_code_used
from ibkit.users.user import User, allowed_scopes, kept_name, unauthorized, with_password, without_link

__all__ = ["FRESH", "CodeNeeded", "Issued", "SignIns", "SignedIn", "Step", "is_fresh"]

FRESH = timedelta(minutes=15)
"""How young a sign-in has to be for live orders, and for changes of credentials and limits."""
TOKEN_LIFE = timedelta(hours=24)
REFRESHED_FOR = timedelta(days=7)
"""After that long a token is not refreshed any more: the person signs in again."""
CODE_LIFE = timedelta(minutes=5)
_USE_NOTED = timedelta(minutes=1)
"""A key's or session's last use is written down this often, not with each request."""
_HASHES_AT_ONCE, _MOST_WAITING = 2, 64
_NOBODY = "0" * 32


@dataclass(frozen=True, slots=True, kw_only=True)
class SignedIn:
    """Proof that a person was there: `user` as they were then, `at` that instant."""

    user: User
    at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class CodeNeeded:
    """The password was right; `challenge` goes with the code to `enter_code`, until `expires_at`."""

    challenge: Secret[str]
    expires_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Issued:
    token: Secret[str]
    claims: Claims


@dataclass(frozen=True, slots=True, kw_only=True)
class _Pending:
    """An attempt that is being judged; written down as failed until it is withdrawn."""

    attempt: Attempt
    begun: Begun


Step: TypeAlias = SignedIn | CodeNeeded


def is_fresh(principal: Principal, now: datetime) -> bool:
    """Whether a person proved who they are within FRESH. Never for a machine key."""
    return principal.signed_in_at is not None and now - principal.signed_in_at <= FRESH


class SignIns:
    """Fits `principal.Authenticator`.

    tell: told of ten failures within 15 minutes. idle: of a browser session. must_have_code: roles that need a second
    step: whoever signs in without one may do nothing but set it up.
    """

    def __init__(
        self,
        store: UserStore,
        signer: TokenSigner,
        hasher: Hasher,
        sealing: Sealing,
        *,
        clock: Clock,
        random: Random,
        tell: TellFinding = untold,
        idle: timedelta = IDLE,
        must_have_code: frozenset[Role] = frozenset(),
    ) -> None:
        self._store = store
        self._signer = signer
        self._hasher = hasher
        self._sealing = sealing
        self._clock = clock
        self._random = random
        self._tell = tell
        self._idle = idle
        self._must_have_code = must_have_code
        self._hashing = anyio.CapacityLimiter(_HASHES_AT_ONCE)
        self._at_work = 0

    async def sign_in(self, name: str, password: Secret[str], *, address: str) -> Step:
        """The first step. AuthError; RateLimited (E-RATE) with .retry_at after too many failures."""
        kept = kept_name(name)
        user = await self._store.named(kept) if kept is not None else None
        pending = await self._begin(Kind.PASSWORD, address=address, name=name, user=user)
        try:
            fits = await self._fits(user.password_hash if user is not None else "", password)
        except RateLimited:  # nobody looked at it
            await self._store.withdraw(pending.attempt, succeeded=False)
            raise
        if user is None or not fits or not user.enabled:
            raise await self._failed(pending)
        if self._hasher.is_outdated(user.password_hash):
            user = await self._rehashed(user, password)
        now = self._clock.now()
        await self._succeeded(pending.attempt, user, whole=not user.needs_code)
        return self._step(user, now)

    async def _succeeded(self, attempt: Attempt, user: User, *, whole: bool = True) -> None:
        """It was no failure; whole: nothing more is asked for. A place that is new is told, and stops nobody."""
        if await self._store.withdraw(attempt, succeeded=whole):
            await self._tell(NewPlace(user_id=user.user_id, address=attempt.address, at=attempt.at))

    def _step(self, user: User, now: datetime) -> Step:
        if not user.needs_code:
            return SignedIn(user=user, at=now)
        challenge = self._claims(user, now, life=CODE_LIFE, scopes=frozenset(), audience=Audience.CODE)
        return CodeNeeded(challenge=self._signer.issue(challenge), expires_at=challenge.expires_at)

    async def enter_code(self, challenge: Secret[str], code: str, *, address: str) -> SignedIn:
        """The second step: a code of the app, or a recovery code. AuthError; RateLimited."""
        now = self._clock.now()
        claims = self._signer.read(challenge, audience=Audience.CODE, now=now)
        user = None if claims is None else await self._store.standing(claims.user_id, claims.token_id)
        if claims is None or user is None or not _current(user, claims.generation):
            raise await self._failed(await self._begin(Kind.TOKEN, address=address))
        pending = await self._begin(Kind.CODE, address=address, name=user.name, user=user)

        def used(found: User) -> User:
            return with_code_used(found, code, self._sealing, now)

        try:
            user = await self._store.change(user.user_id, used, at=now)
        except (AuthError, NotFound):
            raise await self._failed(pending) from None
        once = await self._store.revoke_token(
            claims.token_id, user_id=user.user_id, expires_at=claims.expires_at, at=now
        )
        if not once or not _current(user, claims.generation):
            raise await self._failed(pending)
        await self._succeeded(pending.attempt, user)
        return SignedIn(user=user, at=now)

    async def use_link(self, link: Secret[str], password: Secret[str], *, address: str) -> Step:
        """The one-time link of one who is invited, or the first owner, and the password that they choose with it.

        A second step stays: it is asked for after this. AuthError; RateLimited; ConfigError for a poor password.
        """
        # Counted for this very link and the network: wrong ones of others must not keep the invited out.
        pending = await self._begin(Kind.LINK, address=address, name=digest(link))
        user = await self._store.with_link(digest(link))
        if user is None:
            raise await self._failed(pending)
        try:
            await anyio.to_thread.run_sync(partial(check_password, password, name=user.name))
            password_hash = await self._hash(password)
        except (ConfigError, RateLimited):  # the link is as good as before
            await self._store.withdraw(pending.attempt, succeeded=False)
            raise
        now = self._clock.now()

        def used(found: User) -> User:
            return with_password(without_link(found, link, now), password_hash, now)

        try:
            user = await self._store.change(user.user_id, used, at=now)
        except (AuthError, NotFound):
            raise await self._failed(pending) from None
        theirs = replace(pending.attempt, user_id=user.user_id, account=account_key(user.name))
        await self._succeeded(theirs, user, whole=not user.needs_code)
        return self._step(user, now)

    def issue(
        self,
        signed_in: SignedIn,
        *,
        scopes: frozenset[Scope] | None = None,
        accounts: frozenset[AccountId] | None = None,
        life: timedelta = TOKEN_LIFE,
    ) -> Issued:
        """A token for who signed in. scopes: None for all that the role has; never more than those.

        accounts: those it is confined to; None for all of the user's.
        """
        allowed = allowed_scopes(signed_in.user.role)
        claims = self._claims(
            signed_in.user,
            self._clock.now(),
            life=min(life, LONGEST_LIFE),
            scopes=allowed if scopes is None else scopes & allowed,
            accounts=accounts,
            signed_in_at=signed_in.at,
        )
        return Issued(token=self._signer.issue(claims), claims=claims)

    def issue_unproven(
        self,
        user: User,
        *,
        scopes: frozenset[Scope] | None = None,
        accounts: frozenset[AccountId] | None = None,
        life: timedelta,
    ) -> Issued:
        """A token by the word of who runs this machine. Without the live scope: nobody has signed in.

        That for credentials only where it is asked for by name: what money is reached by is in no everyday token.
        """
        allowed = allowed_scopes(user.role) - {Scope.ORDERS_LIVE}
        wanted = allowed - {Scope.CREDENTIALS} if scopes is None else scopes & allowed
        claims = self._claims(user, self._clock.now(), life=min(life, LONGEST_LIFE), scopes=wanted, accounts=accounts)
        return Issued(token=self._signer.issue(claims), claims=claims)

    async def refresh(self, token: Secret[str], *, address: str) -> Issued:
        """A new token for an old one, which is over with this. The sign-in stays as old as it was. AuthError."""
        claims, _ = await self._recognised(token, address=address)
        now = self._clock.now()
        end = (claims.signed_in_at or now) + REFRESHED_FOR
        if claims.signed_in_at is None or now >= end:
            raise await self._failed(await self._begin(Kind.TOKEN, address=address))
        first = await self._store.revoke_token(
            claims.token_id, user_id=claims.user_id, expires_at=claims.expires_at, at=now
        )
        if not first:
            raise await self._failed(await self._begin(Kind.TOKEN, address=address))
        # The generation of the old one: who was disabled meanwhile gets nothing that lives.
        fresh = replace(
            claims,
            token_id=new_id(self._random),
            issued_at=now,
            expires_at=min(now + (claims.expires_at - claims.issued_at), end),
        )
        return Issued(token=self._signer.issue(fresh), claims=fresh)

    async def sign_out(self, token: Secret[str], *, address: str) -> None:
        """The token is over. AuthError where it was no good one."""
        claims, _ = await self._recognised(token, address=address)
        await self.revoke(claims.token_id, user_id=claims.user_id, expires_at=claims.expires_at)

    async def revoke(self, token_id: str, *, user_id: str, expires_at: datetime | None = None) -> bool:
        """A token by its id is over. Whether it was not before."""
        now = self._clock.now()
        return await self._store.revoke_token(
            token_id, user_id=user_id, expires_at=expires_at or now + LONGEST_LIFE, at=now
        )

    async def authenticate(self, token: Secret[str], *, address: str) -> Principal:
        """Who holds `token`, a user token or a machine key. AuthError (E-APP-AUTH), the same for every reason."""
        if is_api_key(token):
            return await self._machine(token, address=address)
        claims, user = await self._recognised(token, address=address)
        return Principal(
            user_id=user.user_id,
            name=user.name,
            role=user.role,
            scopes=claims.scopes & allowed_scopes(user.role),
            token_id=claims.token_id,
            signed_in_at=claims.signed_in_at,
            accounts=claims.accounts,
            # A token by the word of who runs the machine was made past the sign-in on purpose, as a machine key was.
            second_step_due=claims.signed_in_at is not None and self._lacks_step(user),
        )

    def _lacks_step(self, user: User) -> bool:
        return user.role in self._must_have_code and not user.needs_code

    async def turned_away(self, *, address: str) -> None:
        """One who may not connect at all is a failure of their address. SEC-03."""
        with suppress(RateLimited):  # they have nothing to wait for
            await self._told(await self._begin(Kind.ADDRESS, address=address))

    async def refused_by_broker(self, user_id: str, *, address: str) -> None:
        """The broker refused a login of the user's: a failure of theirs. user_id: "" for the login of the settings."""
        user = await self._store.get(user_id)
        with suppress(RateLimited):  # it makes no wait
            await self._told(await self._begin(Kind.BROKER, address=address, user=user))

    async def begin_session(
        self, signed_in: SignedIn, *, address: str, agent: str = "", replaces: Secret[str] | None = None
    ) -> Secret[str]:
        """A browser's session; gives what goes into the cookie. replaces: the cookie that came with the sign-in."""
        session, cookie = new_session(
            user_id=signed_in.user.user_id,
            generation=signed_in.user.generation,
            signed_in_at=signed_in.at,
            address=address,
            agent=agent,
            now=self._clock.now(),
            random=self._random,
        )
        await self._store.put_session(session, replaces=digest(replaces) if replaces is not None else "")
        return cookie

    async def session_of(self, cookie: Secret[str], *, address: str, used: bool = True) -> Principal:
        """Who sits at the browser with `cookie`. AuthError, as for a token.

        used: False where nobody did anything, as when a stream looks whether it may go on: idle it grows all the same.
        """
        now = self._clock.now()
        found = await self._store.session(digest(cookie))
        if found is None or not self._is_alive(*found, now):
            raise await self._failed(await self._begin(Kind.TOKEN, address=address))
        session, user = found
        if used and now - session.seen_at >= min(_USE_NOTED, self._idle / 60):
            await self._store.session_seen(session.id_hash, at=now)
        return Principal(
            user_id=user.user_id,
            name=user.name,
            role=user.role,
            scopes=allowed_scopes(user.role),
            token_id=session_id_of(session),
            signed_in_at=session.signed_in_at,
            second_step_due=self._lacks_step(user),
        )

    async def end_session(self, cookie: Secret[str]) -> None:
        await self._store.end_session(digest(cookie))

    @property
    def idle(self) -> timedelta:
        """So long a browser may be left alone."""
        return self._idle

    async def sessions(self, user_id: str) -> tuple[BrowserSession, ...]:
        """Of the user's browsers those that are good yet, the one seen last first."""
        user = await self._store.get(user_id)
        now = self._clock.now()
        there = await self._store.sessions(user_id) if user is not None else ()
        alive = [each for each in there if user is not None and self._is_alive(each, user, now)]
        return tuple(sorted(alive, key=lambda each: each.seen_at, reverse=True))

    async def end_one(self, user_id: str, session_id: str) -> None:
        """A session of the user's, by the id of `session_id_of`. NotFound, also for one of another user."""
        for each in await self.sessions(user_id):
            if session_id_of(each) == session_id:
                await self._store.end_session(each.id_hash)
                return
        raise NotFound("session not found", code="E-NOT-FOUND", details={"thing": "session"})

    def _is_alive(self, session: BrowserSession, user: User, now: datetime) -> bool:
        return session.is_alive(now, idle=self._idle) and _current(user, session.generation)

    async def _recognised(self, token: Secret[str], *, address: str) -> tuple[Claims, User]:
        claims = self._signer.read(token, audience=Audience.API, now=self._clock.now())
        # The look into the store is taken in any case: an unreadable token takes as long as one that was revoked.
        user = await self._store.standing(
            claims.user_id if claims is not None else _NOBODY, claims.token_id if claims is not None else _NOBODY
        )
        if claims is None or user is None or not _current(user, claims.generation):
            raise await self._failed(await self._begin(Kind.TOKEN, address=address))
        return claims, user

    async def _machine(self, token: Secret[str], *, address: str) -> Principal:
        found = await self._store.key(key_id_of(token) or "")
        now = self._clock.now()
        if found is None or not found[0].fits(token, now) or not found[1].enabled:
            raise await self._failed(await self._begin(Kind.TOKEN, address=address))
        key, user = found
        if key.used_at is None or now - key.used_at >= _USE_NOTED:
            await self._store.key_used(key.key_id, at=now)
        return Principal(
            user_id=user.user_id,
            name=user.name,
            role=user.role,
            scopes=key.scopes & allowed_scopes(user.role),
            token_id=key.key_id,
            api_key_id=key.key_id,
            accounts=key.accounts,
        )

    def _claims(
        self,
        user: User,
        now: datetime,
        *,
        life: timedelta,
        scopes: frozenset[Scope],
        accounts: frozenset[AccountId] | None = None,
        signed_in_at: datetime | None = None,
        audience: Audience = Audience.API,
    ) -> Claims:
        return Claims(
            user_id=user.user_id,
            token_id=new_id(self._random),
            issued_at=now,
            expires_at=now + life,
            scopes=scopes,
            accounts=accounts,
            generation=user.generation,
            signed_in_at=signed_in_at,
            audience=audience,
        )

    async def _begin(self, kind: Kind, *, address: str, name: str = "", user: User | None = None) -> _Pending:
        """The attempt, written down. RateLimited where it is not even looked at."""
        attempt = Attempt(
            attempt_id=new_id(self._random),
            account=account_key(name) if name else "",
            user_id=user.user_id if user is not None else "",
            address=address[:64],
            kind=kind,
            at=self._clock.now(),
        )
        begun = await self._store.begin(attempt)
        pending = _Pending(attempt=attempt, begun=begun)
        if begun.waits_until is not None:
            await self._told(pending)
            raise RateLimited(
                f"Too many failed sign-ins; the next is possible at {begun.waits_until:%H:%M:%S} UTC",
                retry_at=begun.waits_until,
                details={"retry_after": max(1, round((begun.waits_until - attempt.at).total_seconds()))},
                remedy="Wait until then; a forgotten password is replaced with `ibkit user password NAME`.",
            )
        return pending

    async def _failed(self, pending: _Pending) -> IbkitError:
        """The error to raise."""
        await self._told(pending)
        return unauthorized()

    async def _told(self, pending: _Pending) -> None:
        attempt, begun = pending.attempt, pending.begun
        for about, subject, count in (
            ("account", attempt.user_id, begun.of_user),
            ("address", attempt.address, begun.of_address),
        ):
            if count and count % FINDING_AT == 0:
                await self._tell(Finding(about=about, subject=subject, count=count, at=attempt.at))

    async def _rehashed(self, user: User, password: Secret[str]) -> User:
        old, new = user.password_hash, await self._hash(password)

        def change(found: User) -> User:
            return replace(found, password_hash=new) if found.password_hash == old else found

        changed = await self._store.change(user.user_id, change, at=self._clock.now())
        # As it was when the password was compared: one that was changed meanwhile gives no token that lives.
        return replace(user, password_hash=changed.password_hash)

    async def _fits(self, password_hash: str, password: Secret[str]) -> bool:
        with self._room():
            return await anyio.to_thread.run_sync(self._hasher.fits, password_hash, password, limiter=self._hashing)

    async def _hash(self, password: Secret[str]) -> str:
        with self._room():
            return await anyio.to_thread.run_sync(self._hasher.hash, password, limiter=self._hashing)

    @contextmanager
    def _room(self) -> Iterator[None]:
        """Taken before anything is waited for: of many at one moment no more get in than there is room for."""
        if self._at_work >= _HASHES_AT_ONCE + _MOST_WAITING:
            raise RateLimited(
                "Too many sign-ins at once",
                retry_at=self._clock.now() + timedelta(seconds=2),
                details={"retry_after": 2},
                remedy="Try again.",
            )
        self._at_work += 1
        try:
            yield
        finally:
            self._at_work -= 1


def _current(user: User, generation: int) -> bool:
    return user.enabled and user.generation == generation
