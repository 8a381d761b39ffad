"""Signs in, opens the brokerage session, keeps both alive and renews them, one thing at a time.

The order of a sign-in: handshake → (OAuth 2.0) settle, validate → ssodh/init → established → /iserver/accounts →
suppressions. Only `reach`, `mend` and the keep-alive start one; they share one lock and number what they achieve,
so that many callers who meet a 401 at once share one renewal.

Source: docs/facts/auth-and-sessions.md §2.4, §3.6, §4.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, Final, NoReturn, Protocol

import anyio

from ibkit.client.api.session import tickle
from ibkit.client.auth.grant import Grant
from ibkit.client.backoff import LoginBackoff
from ibkit.client.outcomes import Verdict, moved
from ibkit.errors import (
    AuthError,
    IbkitError,
    OutcomeUnknown,
    SessionExpired,
    SessionTaken,
    SessionUnavailable,
    UnexpectedAnswer,
    Unreachable,
)
from ibkit.model import AccountId, AuthMethod, Secret, Username
from ibkit.wire.accounts import ACCOUNTS, BrokerageAccounts
from ibkit.wire.codec import decode, encode, hidden_error, said
from ibkit.wire.endpoint import Endpoint, Needs, Resend
from ibkit.wire.http import Request, Response
from ibkit.wire.login import LIVE_SESSION_TOKEN
from ibkit.wire.refusals import Cure, cure_of, refusal
from ibkit.wire.session import (
    AUTH_STATUS,
    ONE_USER,
    SSO_VALIDATE,
    SSODH_INIT,
    SUPPRESS_QUESTIONS,
    TICKLE,
    BrokerageStatus,
    InitRequest,
    SuppressRequest,
    Validation,
)
from ibkit.wire.session_states import SessionEvent, SessionState, event_of_status, move

if TYPE_CHECKING:
    from ibkit.client.core import Core

__all__ = ["GrantStore", "Keeper", "Opening", "Step"]

log = logging.getLogger(__name__)

RENEW_AT: Final = 0.8
"""Share of a grant's life after which it is renewed. AUTH-10."""
ESTABLISH_WITHIN_S: Final = 20.0
ESTABLISH_POLL_S: Final = 1.0
DH_PAUSE_S: Final = 3.0
"""Pause before init is sent again after `failed to generate sso dh token`. AUTH-14."""
VALIDATE_EVERY_S: Final = 60.0
ALIVE_FOR_S: Final = 5.0
SUPPRESS_AT_ONCE: Final = 51
"""Source: docs/facts/orders.md §3.3."""
_STEPS: Final = ("oauth", "sso", "validate", "init")


class GrantStore(Protocol):
    """Where a sign-in is kept between runs, sealed (AUTH-09)."""

    def load(self, now: datetime) -> Grant | None: ...

    def save(self, grant: Grant) -> None: ...

    def discard(self) -> None: ...


@dataclass(frozen=True, slots=True)
class Step:
    """One of the four steps of a sign-in. status: HTTP, None where nothing was sent. AUTH-15."""

    name: str
    status: int | None
    success: bool | None
    """None: not attempted."""
    message: str
    at: datetime | None = None
    trace_id: str | None = None


@dataclass(frozen=True, slots=True)
class Opening:
    """What a brokerage session told when it was opened; None where it is not open."""

    session: str | None
    accounts: tuple[AccountId, ...]
    selected: AccountId | None
    is_paper: bool | None
    server: str | None = None


_NOTHING_OPEN = Opening(session=None, accounts=(), selected=None, is_paper=None)


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
        self.compete = compete
        self.opening = _NOTHING_OPEN
        self.validation: Validation | None = None
        self.last_status: BrokerageStatus | None = None
        self.backoff = LoginBackoff()
        self.suppressed = suppress
        self.steps: dict[str, Step] = {name: Step(name, None, None, "not attempted") for name in _STEPS}
        self._ib = ib
        self._expected_user = username
        self._grants = grants
        self._rotate_after = rotate_after
        self._grant: Grant | None = None
        self._resumed = False
        self._renew_at: datetime | None = None
        self._doubted = False
        self._was_in = False
        self._told_user: Username | None = None
        self._validated_at: float | None = None
        self._alive_at: float | None = None
        self._turn = anyio.Lock()

    # What others read

    @property
    def proof(self) -> Grant:
        """The grant that signs calls. Without one, a grant that proves nothing: the broker will say so."""
        return self._grant or Grant(self._ib.method, Secret(""), datetime.fromtimestamp(0, UTC), None, "none")

    @property
    def grant(self) -> Grant | None:
        return self._grant

    @property
    def username(self) -> Username:
        if self._expected_user is not None:
            return self._expected_user
        if self._told_user is not None:
            return self._told_user
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
        """After a logout: nothing is left of the login."""
        async with self._turn:
            self._drop_grant()
            self.level = 0
            self._was_in = False
            self._moved(SessionEvent.LOGIN_LOST)

    # Keep-alive

    async def keep_alive(self, interval_s: float) -> None:
        """Beat every `interval_s`; after a failure sooner, then with growing pauses. Never raises a broker's error."""
        failures = 0
        while True:
            await self._ib.clock.sleep(interval_s if failures == 0 else min(5.0 * 2 ** (failures - 1), 60.0))
            if self.level == 0:
                continue
            try:
                await self.beat()
            except IbkitError as error:
                failures += 1
                if failures == 1:
                    log.warning("keep-alive failed", extra={"code": error.code})
            else:
                if failures:
                    log.info("keep-alive works again")
                failures = 0

    async def beat(self) -> BrokerageStatus:
        """One tickle; a brokerage session that was lost is opened again, unless another login took it."""
        await self.renew_if_due()
        status = await tickle(self._ib)
        self.last_status = status
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
                response = await self._ask(TICKLE)
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
        self.backoff.check(self._ib.clock.monotonic(), self._ib.clock.now())
        try:
            if self.level < 1:
                await self._sign_in()
            if wanted >= 2 and self.level < 2:
                await self._open_brokerage()
            if wanted >= 3 and self.level < 3:
                await self._ask_accounts()
        except AuthError as error:
            if not self._only_looked(error):
                self.backoff.failed(error, self._ib.clock.monotonic())
            raise
        except (Unreachable, OutcomeUnknown) as error:
            raise self._coded(error) from error
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
        if self._grants is not None and self._grant is None and self.generation == 0:
            grant = self._grants.load(self._ib.clock.now())
        self._resumed = grant is not None
        if grant is None:
            grant = await self._handshake()
            self._grant = grant
            await self._check_login()
            if self._grants is not None and self._ib.method is not AuthMethod.GATEWAY:
                self._grants.save(grant)
        else:
            self._grant = grant
            self._step("oauth", None, True, "kept from an earlier run")
        self._renew_at = self._renewal_of(grant)
        self._doubted = False
        self.level = 1
        self._was_in = True
        self._moved(SessionEvent.SIGNED_IN)

    def _renewal_of(self, grant: Grant) -> datetime | None:
        ends = grant.obtained_at + self._rotate_after
        if grant.expires_at is not None:
            ends = min(ends, grant.expires_at)
        elif grant.method is AuthMethod.GATEWAY:
            return None
        return grant.obtained_at + (ends - grant.obtained_at) * RENEW_AT

    async def _handshake(self) -> Grant:
        """Drive the sign-in's generator: it says what to send, and reads what came back."""
        talk = self._ib.auth.handshake(self._ib.clock.now)
        step, response = "oauth", None
        try:
            request = next(talk)
            while True:
                step = "sso" if "/sso-sessions" in request.url else "oauth"
                response = await self._ib.send_unsigned(request, endpoint=LIVE_SESSION_TOKEN)
                following = talk.send(response)
                self._step(step, response, True, "ok")
                request = following
        except StopIteration as done:
            grant: Grant = done.value
            self._step(step, response, True, "ok" if response else "not used by this method")
            if step == "oauth":
                self._step("sso", None, True, "not used by this method")
            return grant
        except IbkitError as error:
            self._step(step, response, False, error.message)
            raise

    async def _check_login(self) -> None:
        """What follows a fresh grant: gateway reachable and logged in; OAuth 2.0 settled and validated."""
        method = self._ib.method
        if method is AuthMethod.OAUTH1A:
            self._step("validate", None, True, "not used by this method")
            return
        if method is AuthMethod.GATEWAY:
            await self._check_gateway()
        else:
            await self._ib.clock.sleep(self._ib.auth.settle_s)
        await self._validate()

    async def _check_gateway(self) -> None:
        """Reachable and logged in, which is all that can be done about a gateway. AUTH-16."""
        response = await self._ask(TICKLE)
        self._step("oauth", response, True, "reachable")
        text = hidden_error(response.body)
        if response.status == 200 and text is None:
            decode(TICKLE, response)  # a page of HTML is no login
            self._step("sso", response, True, "logged in")
            return
        error = refusal(TICKLE, response, AuthMethod.GATEWAY)
        if response.status == 200 or response.status == 401:
            error = self._not_logged_in(text or said(response).text)
        self._step("sso", response, False, error.message)
        raise error

    def _not_logged_in(self, reason: str) -> SessionExpired:
        # Only who was in before can have been logged out; the broker's words do not tell the two apart.
        code = "E-SES-EXPIRED" if self._was_in else "E-GW-NOAUTH"
        return SessionExpired(
            f"{'Session expired' if self._was_in else 'Not authenticated with IBKR'}{': ' if reason else ''}{reason}",
            code=code,
            remedy=f"Open {self._ib.base_url} in a browser, log in and complete 2FA. "
            "If you had logged in before, the session timed out.",
        )

    async def _validate(self) -> None:
        now = self._ib.clock.monotonic()
        if self._validated_at is not None and now - self._validated_at < VALIDATE_EVERY_S:
            return
        response = await self._ask(SSO_VALIDATE)
        self._validated_at = now
        gateway = self._ib.method is AuthMethod.GATEWAY
        if response.status == 429:
            # Another run asked within this minute; the login's other signs are good.
            self._step("validate", response, True, "asked less than a minute ago")
            if gateway:
                told = _read(ONE_USER, await self._ask(ONE_USER))
                self._check_user(told.get("USER_NAME") if isinstance(told, dict) else None)
            return
        validation = decode(SSO_VALIDATE, response) if response.status == 200 else None
        if validation is None or validation.RESULT is not True:
            reason = said(response).text or f"IBKR answered {response.status}, RESULT not true"
            self._step("validate", response, False, reason)
            known = refusal(SSO_VALIDATE, response, self._ib.method) if response.status != 200 else None
            if known is not None and not isinstance(known, AuthError):
                raise known
            raise (
                self._not_logged_in(reason)
                if gateway
                else SessionExpired(f"Validation failed: {reason}", code="E-OA2-VALIDATE")
            )
        self._step("validate", response, True, "ok")
        self.validation = validation
        if gateway:
            self._check_user(validation.USER_NAME)
        elif validation.USER_NAME:
            self._told_user = Username(validation.USER_NAME)

    def _check_user(self, user: str | None) -> None:
        """Whose login the gateway holds; it must be the expected one's. AUTH-18."""
        if not user:
            return
        self._told_user = Username(user)
        if self._expected_user is not None and user.lower() != self._expected_user.lower():
            raise AuthError(
                f"Gateway is logged in as {user}",
                code="E-SES-USER",
                remedy=f"Log out at {self._ib.base_url}/sso/Logout and log in with the expected user name.",
            )

    async def _open_brokerage(self) -> None:
        if self._resumed or self._ib.method is AuthMethod.GATEWAY:
            response = await self._ask(AUTH_STATUS)
            if response.status == 401:
                await self._sign_in_anew()
            else:
                status = _read(AUTH_STATUS, response)
                if status is not None and status.ready:
                    self._step("init", response, True, "already open")
                    self._opened(status)
                    return
                if status is not None and status.competing and not self.compete:
                    self._taken(response)
        response = await self._init()
        status = _read(SSODH_INIT, response)
        if response.status == 401 and self._resumed:
            await self._sign_in_anew()
            response = await self._init()
            status = _read(SSODH_INIT, response)
        if status is None:
            self._init_failed(response)
        if status.taken:
            self._taken(response)
        self._moved(SessionEvent.INIT_SENT)
        self._opened(await self._established(status, response))
        self._step("init", response, True, "ok")

    async def _sign_in_anew(self) -> None:
        """A grant of an earlier run that the broker no longer takes."""
        self._drop_grant()
        self._grant = await self._handshake()
        await self._check_login()
        if self._grants is not None and self._ib.method is not AuthMethod.GATEWAY:
            self._grants.save(self._grant)
        self._renew_at = self._renewal_of(self._grant)

    async def _init(self) -> Response:
        body = InitRequest(publish=True, compete=self.compete)
        response = await self._ask(SSODH_INIT, body)
        if response.status == 500 and "failed to generate sso dh token" in said(response).text.lower():
            await self._ib.clock.sleep(DH_PAUSE_S)
            await self._ask(TICKLE)
            response = await self._ask(SSODH_INIT, body)
        return response

    async def _established(self, status: BrokerageStatus, response: Response) -> BrokerageStatus:
        """Wait until accounts are loaded: a session just opened answers, but acts on nothing. Source: §7, trap 31."""
        deadline = self._ib.clock.monotonic() + ESTABLISH_WITHIN_S
        while not (status.authenticated and status.established):
            if self._ib.clock.monotonic() >= deadline:
                self._step("init", response, False, "not established in time")
                raise SessionUnavailable(f"the brokerage session was not established within {ESTABLISH_WITHIN_S:.0f} s")
            await self._ib.clock.sleep(ESTABLISH_POLL_S)
            asked = await self._ask(AUTH_STATUS)
            told = _read(AUTH_STATUS, asked)
            if told is not None and told.competing:
                self._taken(asked)
            status = told or status
        return status

    def _init_failed(self, response: Response) -> NoReturn:
        text = said(response).text
        self._step("init", response, False, text or f"IBKR answered {response.status}")
        known = refusal(AUTH_STATUS, response, self._ib.method)
        if known.code == "E-IP" or response.status == 429:
            raise known
        if response.status == 401:
            raise known if self._ib.method is not AuthMethod.GATEWAY else self._not_logged_in(text)
        raise SessionUnavailable(
            f"Brokerage session could not be started: IBKR answered {response.status}{': ' if text else ''}{text}",
            details={"status": response.status},
        )

    def _taken(self, response: Response) -> NoReturn:
        self._moved(SessionEvent.TAKEN)
        self._step("init", response, False, "another login holds the brokerage session")
        raise SessionTaken(f"another login holds the brokerage session of {self.username}")

    def _opened(self, status: BrokerageStatus) -> None:
        self.last_status = status
        self.level = 2
        self._ib.caches.new_session()
        self._moved(SessionEvent.ESTABLISHED)

    async def _ask_accounts(self) -> None:
        response = await self._ask(ACCOUNTS)
        if response.status != 200 or hidden_error(response.body) is not None:
            raise refusal(ACCOUNTS, response, self._ib.method)
        told: BrokerageAccounts = decode(ACCOUNTS, response)
        session = told.sessionId or f"local-{self._ib.clock.now().isoformat()}"
        self.opening = Opening(
            session=session,
            accounts=tuple(AccountId(account) for account in told.accounts),
            selected=AccountId(told.selectedAccount) if told.selectedAccount else None,
            is_paper=told.isPaper,
            server=self.last_status.serverInfo.serverName
            if self.last_status is not None and self.last_status.serverInfo is not None
            else None,
        )
        for start in range(0, len(self.suppressed), SUPPRESS_AT_ONCE):
            ids = list(self.suppressed[start : start + SUPPRESS_AT_ONCE])
            await self._ask(SUPPRESS_QUESTIONS, SuppressRequest(ids))
        self.level = 3
        self._moved(SessionEvent.ACCOUNTS_ASKED)

    async def _ask(self, endpoint: Endpoint, body: Any = None) -> Response:
        """One signed call outside the resend rules: here each failure has a meaning of its own."""
        request = Request(
            endpoint.method,
            self._ib.url(endpoint),
            self._ib.headers(body),
            b"" if body is None else encode(body),
        )
        response = await self._ib.send(endpoint, request)
        if response.status == 429 and endpoint.resend is Resend.FREELY and endpoint is not SSO_VALIDATE:
            # Another process of this user name may just have asked the same: the pacer waits a second.
            response = await self._ib.send(endpoint, request)
        return response

    def _moved(self, event: SessionEvent) -> None:
        self.state = move(self.state, event)

    def _step(self, name: str, response: Response | None, success: bool, message: str) -> None:
        self.steps[name] = Step(
            name,
            None if response is None else response.status,
            success,
            message,
            self._ib.clock.now(),
            None if response is None else response.headers.get("x-trace-id"),
        )


def _read(endpoint: Endpoint, response: Response) -> Any:
    """The decoded answer; None where it is a refusal or cannot be read."""
    if response.status != 200 or hidden_error(response.body) is not None:
        return None
    try:
        return decode(endpoint, response)
    except UnexpectedAnswer:
        return None
