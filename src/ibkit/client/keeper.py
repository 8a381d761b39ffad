"""Signs in, opens the brokerage session, keeps both alive and renews them, one thing at a time.

The order of a sign-in: handshake → (OAuth 2.0) settle, validate → ssodh/init → established → /iserver/accounts →
suppressions. Only `reach`, `mend` and the keep-alive start one; they share one lock and number what they achieve,
so that many callers who meet a 401 at once share one renewal.

Source: docs/facts/auth-and-sessions.md §2.4, §3.6, §4.
"""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Final, Protocol

import anyio

from ibkit.client.api.session import tickle
from ibkit.client.auth.grant import Grant
from ibkit.client.backoff import LoginBackoff
from ibkit.client.opening import GrantRefused, Opener, Opening, Step
from ibkit.client.outcomes import Verdict, moved
from ibkit.errors import (
    AuthError,
    IbkitError,
    OutcomeUnknown,
    UnexpectedAnswer,
    Unreachable,
)
from ibkit.model import AccountId, AuthMethod, Secret, Username
from ibkit.wire.codec import hidden_error
from ibkit.wire.endpoint import Endpoint, Needs, Resend
from ibkit.wire.refusals import Cure, cure_of
from ibkit.wire.session import (
    TICKLE,
    BrokerageStatus,
    Validation,
)
from ibkit.wire.session_states import SessionEvent, SessionState, event_of_status, move

if TYPE_CHECKING:
    from ibkit.client.core import Core

__all__ = ["GrantStore", "Keeper"]

log = logging.getLogger(__name__)

RENEW_AT: Final = 0.8
"""Share of a grant's life after which it is renewed. AUTH-10."""
ALIVE_FOR_S: Final = 5.0


class GrantStore(Protocol):
    """Where a sign-in is kept between runs, sealed (AUTH-09)."""

    def load(self, now: datetime) -> Grant | None: ...

    def save(self, grant: Grant) -> None: ...

    def discard(self) -> None: ...


class Keeper:
    """One login's session. level: what of `Needs` is there (0 nothing … 3 primed)."""

    def __init__(
        self,
        ib: Core,
        *,
        username: Username | None,
        compete: bool,
        suppress: tuple[str, ...],
        grants: GrantStore | None,
        rotate_after: timedelta,
    ) -> None:
        self.level = 0
        self.generation = 0
        self.state = SessionState.LOGGED_OUT
        self.conversations = 0
        self.opener = Opener(ib, username=username, compete=compete, moved=self._moved)
        self.backoff = LoginBackoff()
        self.suppressed = suppress
        self.stream_session: Secret[str] | None = None
        """The session of the newest tickle, which a WebSocket's cookie names."""
        self.sso_expires: tuple[datetime, int] | None = None
        """When a tickle last told `ssoExpires`, and its milliseconds."""
        self.shut: Callable[[], IbkitError] | None = None
        """Makes what every call fails by that would sign in anew, while somebody wants the login to stay logged out."""
        self.beaten: Callable[[IbkitError | None], None] = lambda error: None
        """Told after each beat of the keep-alive: what it failed by, or None. It neither waits nor raises."""
        self.beats: Callable[[], bool] = lambda: True
        """Whether the keep-alive is ours: not while nobody uses the login, or another process keeps the same one."""
        self._ib = ib
        self._grants = grants
        self._rotate_after = rotate_after
        self._grant: Grant | None = None
        self._resumed = False
        self._tried_store = False
        self._renew_at: datetime | None = None
        self._doubted = False
        self._alive_at: float | None = None
        self._turn = anyio.Lock()

    # What others read

    @property
    def proof(self) -> Grant:
        """The grant that signs calls. A gateway's calls carry none.

        Raises Unreachable (with `details["unsent"]`) where another call has dropped it, while this one waited for its
        turn, and signs in anew: an order without proof would only be refused, in words that leave it in doubt.
        """
        if self.shut is not None and self.level == 0:
            raise Unreachable(
                "Not sent: the connection was logged out while the call waited for its turn",
                remedy="Connect it again first.",
                details={"unsent": True},
            )
        if self._grant is not None:
            return self._grant
        if self._ib.method is AuthMethod.GATEWAY:
            return Grant(AuthMethod.GATEWAY, Secret(""), datetime.fromtimestamp(0, UTC), None, "none")
        raise Unreachable(
            "Not sent: the login ended while the call waited for its turn",
            remedy="Try again: it signs in anew.",
            details={"unsent": True},
        )

    @property
    def grant(self) -> Grant | None:
        return self._grant

    @property
    def signed_in_at(self) -> datetime | None:
        """When the login that is there was opened (a kept token: when it was obtained); None without one."""
        return None if self._grant is None else self._grant.obtained_at

    @property
    def steps(self) -> dict[str, Step]:
        return self.opener.steps

    @property
    def opening(self) -> Opening:
        return self.opener.opening

    @property
    def validation(self) -> Validation | None:
        return self.opener.validation

    @property
    def last_status(self) -> BrokerageStatus | None:
        """The newest word on the brokerage session."""
        return self.opener.last_status

    @property
    def compete(self) -> bool:
        return self.opener.compete

    @property
    def username(self) -> Username:
        known = self.opener.expected_user or self.opener.told_user
        if known is not None:
            return known
        return Username(self._grant.label if self._grant else self._ib.method.value)

    @property
    def due(self) -> bool:
        """The sign-in has to be renewed before the next call."""
        return self._doubted or (self._renew_at is not None and self._ib.clock.now() >= self._renew_at)

    # What the client calls

    async def reach(self, upto: Needs) -> Opening:
        """Sign in as far as `upto`, each part only where it is missing."""
        async with self._turn:
            await self._advance(upto.value)
        return self.opening

    async def answered_by(self, session: str | None, selected: str | None = None) -> Opening:
        """Take down which brokerage session answers now, and which account it has selected. It may change without an
        error to tell of it, as when somebody logs the gateway in anew; then it is opened in the old one's place."""
        async with self._turn:
            if session is not None and session != self.opening.session and self.level >= Needs.PRIMED_ACCOUNTS.value:
                log.warning("the brokerage session changed")
                self._ib.caches.new_session()
                await self.opener.ask_accounts(self.suppressed)
                self.generation += 1
            elif selected and selected != self.opening.selected:
                self.opener.opening = dataclasses.replace(self.opening, selected=AccountId(selected))
        return self.opening

    async def ready_for(self, endpoint: Endpoint) -> None:
        """Before a call: have the session it needs, renewed where due and allowed."""
        if self.due and self.level > 0 and self._may_renew(endpoint):
            await self._renew(self.generation)
        if self.level < endpoint.needs.value:
            await self.reach(endpoint.needs)

    async def renew_if_due(self) -> None:
        if self.due and self.level > 0 and self.conversations == 0:
            await self._renew(self.generation)

    async def renew(self) -> None:
        """A new grant now, whatever the age of the old one (`ibkit auth rotate`)."""
        await self._renew(self.generation)

    async def mend(self, step: Verdict, endpoint: Endpoint, generation: int) -> None:
        """Do what `step` names, once for all callers who failed under the same `generation`."""
        if step is Verdict.SIGN_IN and endpoint.quiet_401 and await self._login_lives():
            return  # a bad account looks like a lost login; signing in again would not help. §0 of the accounts page
        if step is Verdict.SIGN_IN:
            await self._renew(generation)
            return
        async with self._turn:
            if generation != self.generation:
                return
            wanted = max(self.level, Needs.PRIMED_ACCOUNTS.value)
            self.level = min(self.level, 1 if step is Verdict.OPEN_BROKERAGE else 2)
            if self.level == 1:
                self._moved(SessionEvent.BROKERAGE_LOST)
            await self._advance(wanted)

    def heard(self, endpoint: Endpoint, error: IbkitError) -> None:
        """Take down what a failed call tells of the session; the next call acts on it."""
        status, reason = error.details.get("status"), str(error.details.get("reason", ""))
        if not isinstance(status, int):
            return
        match cure_of(status, reason):
            case Cure.SIGN_IN if endpoint.resend is Resend.NEVER:
                self._doubted = True
            case Cure.OPEN_BROKERAGE:
                self.level = min(self.level, 1)
            case Cure.ASK_ACCOUNTS:
                self.level = min(self.level, 2)
            case Cure.WAIT:
                self._moved(SessionEvent.UNAVAILABLE)
            case _:
                pass

    async def forget(self) -> None:
        """After a logout: nothing is left of the login, not on disk either."""
        async with self._turn:
            self._drop_grant()
            if self._grants is not None:
                self._grants.discard()
            self.stream_session, self.sso_expires = None, None
            self.level = 0
            self.opener.was_in = False
            self._ib.caches.new_session()
            self._moved(SessionEvent.LOGIN_LOST)

    # Keep-alive

    async def keep_alive(self, interval_s: float) -> None:
        """Beat every `interval_s`; after a failure sooner, then with growing pauses. Never raises a broker's error."""
        failures = 0
        while True:
            await self._ib.clock.sleep(interval_s if failures == 0 else min(5.0 * 2 ** (failures - 1), 60.0))
            if self.level == 0 or not self.beats():
                continue
            try:
                await self.beat()
            except IbkitError as error:
                failures += 1
                if failures == 1:
                    log.warning("keep-alive failed", extra={"code": error.code})
                self.beaten(error)
            else:
                self.beaten(None)
                if failures:
                    log.info("keep-alive works again")
                failures = 0

    async def beat(self) -> BrokerageStatus:
        """One tickle; a brokerage session that was lost is opened again, unless another login took it."""
        await self.renew_if_due()
        status = await tickle(self._ib)
        self.opener.last_status = status
        if status.ready:
            if self.state in (SessionState.MAINTENANCE, SessionState.LINK_DOWN):
                self._moved(SessionEvent.ESTABLISHED)
                self._moved(SessionEvent.ACCOUNTS_ASKED)
            return status
        if self.level >= 2:
            self._moved(event_of_status(status))
            self.level = 1
            if status.taken:
                log.warning("another login took the brokerage session")
            elif self.conversations == 0:
                await self.reach(Needs.PRIMED_ACCOUNTS)
        return status

    # The work, under the lock

    def _may_renew(self, endpoint: Endpoint) -> bool:
        # A doubted sign-in is renewed for the reads that settle an order; a merely ageing one waits.
        return self.conversations == 0 or (self._doubted and endpoint.resend is not Resend.NEVER)

    async def _login_lives(self) -> bool:
        """Whether a tickle works; one that worked a moment ago answers for all who ask at once."""
        async with self._turn:
            now = self._ib.clock.monotonic()
            if self._alive_at is None or now - self._alive_at > ALIVE_FOR_S:
                response = await self.opener.ask(TICKLE)
                if response.status != 200 or hidden_error(response.body) is not None:
                    return False
                self._alive_at = self._ib.clock.monotonic()
            return True

    async def _renew(self, generation: int) -> None:
        async with self._turn:
            if generation != self.generation:
                return
            wanted = self.level
            self.level = 0
            self._alive_at = None
            self._drop_grant()
            await self._advance(max(wanted, 1))

    def _drop_grant(self) -> None:
        if self._resumed and self._grants is not None:
            self._grants.discard()
        self._grant, self._renew_at, self._resumed, self._doubted = None, None, False, False

    async def _advance(self, wanted: int) -> None:
        if self.level >= wanted:
            return
        if self.shut is not None:
            raise self.shut()
        self.backoff.check(self._ib.clock.monotonic(), self._ib.clock.now())
        try:
            if self.level < 1:
                await self._sign_in()
            if wanted >= 2 and self.level < 2:
                await self._open_brokerage()
            if wanted >= 3 and self.level < 3:
                await self.opener.ask_accounts(self.suppressed)
                self.level = 3
        except AuthError as error:
            if not self._only_looked(error):
                self.backoff.failed(error, self._ib.clock.monotonic())
            raise
        except (Unreachable, OutcomeUnknown) as error:
            raise self._coded(error) from error
        except UnexpectedAnswer as error:
            if error.code != "E-UPSTREAM":
                raise
            self._moved(SessionEvent.UNAVAILABLE)
            raise self._ib.explained(error) from error
        self.backoff.worked()
        self.generation += 1

    def _only_looked(self, error: AuthError) -> bool:
        """Asking a gateway whether somebody has logged in is no attempt at logging in."""
        return self._ib.method is AuthMethod.GATEWAY and error.code in ("E-GW-NOAUTH", "E-SES-EXPIRED", "E-SES-USER")

    def _coded(self, error: Unreachable | OutcomeUnknown) -> IbkitError:
        if error.code not in ("E-API-CONNECT", "E-TIMEOUT") or "path" in error.details:
            return error
        return moved(error, TICKLE, self._ib.method, self._ib.base_url)

    async def _sign_in(self) -> None:
        grant = None
        if self._grants is not None and not self._tried_store:
            self._tried_store = True
            grant = self._grants.load(self._ib.clock.now())
        self._resumed = grant is not None
        if grant is None:
            grant = await self.opener.handshake()
            self._grant = grant
            await self.opener.check_login()
            if self._grants is not None and self._ib.method is not AuthMethod.GATEWAY:
                self._grants.save(grant)
        else:
            self._grant = grant
            self.opener.resumed()
        self._renew_at = self._renewal_of(grant)
        self._doubted = False
        self.level = 1
        self.opener.was_in = True
        self._moved(SessionEvent.SIGNED_IN)

    def _renewal_of(self, grant: Grant) -> datetime | None:
        ends = grant.obtained_at + self._rotate_after
        if grant.expires_at is not None:
            ends = min(ends, grant.expires_at)
        elif grant.method is AuthMethod.GATEWAY:
            return None
        return grant.obtained_at + (ends - grant.obtained_at) * RENEW_AT

    async def _open_brokerage(self) -> None:
        try:
            await self.opener.open_brokerage(resumed=self._resumed)
        except GrantRefused:
            self._drop_grant()
            self.level = 0
            await self._sign_in()
            await self.opener.open_brokerage(resumed=False)
        self.level = 2

    def _moved(self, event: SessionEvent) -> None:
        self.state = move(self.state, event)
