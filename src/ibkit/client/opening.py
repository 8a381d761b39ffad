"""The steps of a sign-in, each once and in order; when to take them, the keeper decides.

handshake → (OAuth 2.0) settle, validate → ssodh/init → established → /iserver/accounts → suppressions.

Source: docs/facts/auth-and-sessions.md §2.4, §3.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any, Final, NoReturn

from ibkit.client.auth.grant import Grant
from ibkit.errors import (
    AuthError,
    IbkitError,
    SessionExpired,
    SessionTaken,
    SessionUnavailable,
    UnexpectedAnswer,
)
from ibkit.model import AccountId, AuthMethod, Username
from ibkit.wire.accounts import ACCOUNTS, BrokerageAccounts
from ibkit.wire.codec import decode, encode, hidden_error, said
from ibkit.wire.endpoint import Endpoint, Resend
from ibkit.wire.http import Request, Response
from ibkit.wire.login import LIVE_SESSION_TOKEN
from ibkit.wire.refusals import refusal
from ibkit.wire.session import (
    AUTH_STATUS,
    ONE_USER,
    REAUTHENTICATE,
    SSO_VALIDATE,
    SSODH_INIT,
    SUPPRESS_QUESTIONS,
    TICKLE,
    BrokerageStatus,
    InitRequest,
    SuppressRequest,
    Validation,
)
from ibkit.wire.session_states import SessionEvent

if TYPE_CHECKING:
    from ibkit.client.core import Core

__all__ = ["GrantRefused", "Opener", "Opening", "Step"]

ESTABLISH_WITHIN_S: Final = 20.0
ESTABLISH_POLL_S: Final = 1.0
REVIVE_PAUSE_S: Final = 3.0
"""The gateway's own pause between two looks at a login. Source: docs/facts/auth-and-sessions.md §3.11 step 2."""
DH_PAUSE_S: Final = 3.0
"""Pause before init is sent again after `failed to generate sso dh token`. AUTH-14."""
VALIDATE_EVERY_S: Final = 60.0
SUPPRESS_AT_ONCE: Final = 51
"""Source: docs/facts/orders.md §3.3."""
_STEPS: Final = ("oauth", "sso", "validate", "init")


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


class GrantRefused(Exception):
    """The broker no longer takes the grant of an earlier run: sign in anew."""


class Opener:
    """Takes the steps for one login and keeps what they told. moved: hears what the session did.

    was_in: somebody was logged in before, so that "not logged in" now means expired.
    """

    def __init__(
        self, ib: Core, *, username: Username | None, compete: bool, moved: Callable[[SessionEvent], None]
    ) -> None:
        self.compete = compete
        self.expected_user = username
        self.told_user: Username | None = None
        self.was_in = False
        self.opening = _NOTHING_OPEN
        self.validation: Validation | None = None
        self.last_status: BrokerageStatus | None = None
        self.steps: dict[str, Step] = {name: Step(name, None, None, "not attempted") for name in _STEPS}
        self._ib = ib
        self._moved = moved
        self._validated_at: float | None = None
        self._asked_to_revive = False

    def resumed(self) -> None:
        """The grant is of an earlier run; nothing was sent for it."""
        self._step("oauth", None, True, "kept from an earlier run")

    async def handshake(self) -> Grant:
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

    async def check_login(self) -> None:
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
        try:
            response = await self.ask(TICKLE)
        except IbkitError as silent:
            self._step("oauth", None, False, silent.message)
            self.steps["sso"] = Step("sso", None, None, "not attempted")
            raise
        self._step("oauth", response, True, "reachable")
        if _says_logged_out(response) and await self._gateway_knew_a_login():
            response = await self.ask(TICKLE)
        text = hidden_error(response.body)
        if response.status == 200 and text is None:
            decode(TICKLE, response)  # a page of HTML is no login
            self._asked_to_revive = False
            self._step("sso", response, True, "logged in")
            return
        error = refusal(TICKLE, response, AuthMethod.GATEWAY)
        if _says_logged_out(response):
            error = self._not_logged_in(text or said(response).text)
        self._step("sso", response, False, error.message)
        raise error

    async def _gateway_knew_a_login(self) -> bool:
        """Have the gateway revive a login that it had, if it had one; asked once until somebody is in again. SES-04.

        The gateway program answers this itself and so tells a login that is over from one that never was:
        `{"error":"not logged in"}` before the first. Source: docs/facts/auth-and-sessions.md §3.8.
        """
        if self._asked_to_revive:
            return False
        self._asked_to_revive = True
        response = await self.ask(REAUTHENTICATE)
        if response.status != 200 or hidden_error(response.body) is not None:
            return False
        self.was_in = True
        await self._ib.clock.sleep(REVIVE_PAUSE_S)
        return True

    def _not_logged_in(self, reason: str) -> SessionExpired:
        # Only who was in before can have been logged out; the broker's words do not tell the two apart.
        code = "E-SES-EXPIRED" if self.was_in else "E-GW-NOAUTH"
        return SessionExpired(
            f"{'Session expired' if self.was_in else 'Not authenticated with IBKR'}{': ' if reason else ''}{reason}",
            code=code,
            remedy=f"Open {self._ib.base_url} in a browser, log in and complete 2FA. "
            "If you had logged in before, the session timed out.",
        )

    async def _validate(self) -> None:
        now = self._ib.clock.monotonic()
        if self._validated_at is not None and now - self._validated_at < VALIDATE_EVERY_S:
            return
        response = await self.ask(SSO_VALIDATE)
        gateway = self._ib.method is AuthMethod.GATEWAY
        if response.status == 429:
            # Another run asked within this minute; the login's other signs are good.
            if gateway:
                await self._ask_user()
            self._validated_at = now
            self._step("validate", response, True, "asked less than a minute ago")
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
        self.validation = validation
        if gateway and validation.USER_NAME:
            self._check_user(validation.USER_NAME)
        elif gateway:
            await self._ask_user()
        elif validation.USER_NAME:
            self.told_user = Username(validation.USER_NAME)
        self._validated_at = now
        self._step("validate", response, True, "ok")

    async def _ask_user(self) -> None:
        """Whose login the gateway holds. It must be told: the order lock and the journal are kept by that name."""
        response = await self.ask(ONE_USER)
        told = read(ONE_USER, response)
        user = told.get("USER_NAME") if isinstance(told, dict) else None
        if not isinstance(user, str) or not user:
            self._step("validate", response, False, "IBKR does not tell whose login it is")
            raise SessionUnavailable(
                "the gateway does not tell whose login it holds",
                code="E-SES-USER",
                remedy="Try again in a minute; if it repeats, log the gateway out and in again.",
            )
        self._check_user(user)

    def _check_user(self, user: str) -> None:
        """The gateway's login must be the expected one's. AUTH-18."""
        self.told_user = Username(user)
        if self.expected_user is not None and user.lower() != self.expected_user.lower():
            raise AuthError(
                f"Gateway is logged in as {user}",
                code="E-SES-USER",
                remedy=f"Log out at {self._ib.base_url}/sso/Logout and log in with the expected user name.",
            )

    async def open_brokerage(self, *, resumed: bool) -> None:
        """Init, and wait until it is established; a session that is already open is taken as it is.

        resumed: the grant is of an earlier run. GrantRefused where the broker no longer takes it.
        """
        if resumed or self._ib.method is AuthMethod.GATEWAY:
            response = await self.ask(AUTH_STATUS)
            if response.status == 401 and resumed:
                raise GrantRefused
            known = read(AUTH_STATUS, response)
            if known is not None and known.ready:
                self._step("init", response, True, "already open")
                self._opened(known)
                return
            if known is not None and known.competing and not self.compete:
                self._taken(response)
        response = await self._init()
        if response.status == 410 and self._ib.method is AuthMethod.GATEWAY:
            # After a logout a gateway takes no init, but revives the session itself. SES-04; facts §3.6, §3.8.
            await self.ask(REAUTHENTICATE)
            response = await self.ask(AUTH_STATUS)
        status = read(SSODH_INIT, response)
        if response.status == 401 and resumed:
            raise GrantRefused
        if status is None:
            self._init_failed(response)
        if status.taken:
            self._taken(response)
        self._moved(SessionEvent.INIT_SENT)
        self._opened(await self._established(status, response))
        self._step("init", response, True, "ok")

    async def _init(self) -> Response:
        body = InitRequest(publish=True, compete=self.compete)
        response = await self.ask(SSODH_INIT, body)
        if response.status == 500 and "failed to generate sso dh token" in said(response).text.lower():
            await self._ib.clock.sleep(DH_PAUSE_S)
            await self.ask(TICKLE)
            response = await self.ask(SSODH_INIT, body)
        return response

    async def _established(self, status: BrokerageStatus, response: Response) -> BrokerageStatus:
        """Wait until accounts are loaded: a session just opened answers, but acts on nothing. Source: §7, trap 31."""
        deadline = self._ib.clock.monotonic() + ESTABLISH_WITHIN_S
        while not (status.authenticated and status.established):
            if self._ib.clock.monotonic() >= deadline:
                self._step("init", response, False, "not established in time")
                raise SessionUnavailable(f"the brokerage session was not established within {ESTABLISH_WITHIN_S:.0f} s")
            await self._ib.clock.sleep(ESTABLISH_POLL_S)
            asked = await self.ask(AUTH_STATUS)
            told = read(AUTH_STATUS, asked)
            if told is not None and told.competing:
                self._taken(asked)
            status = told or status
        return status

    def _init_failed(self, response: Response) -> NoReturn:
        text = said(response).text
        self._step("init", response, False, text or f"IBKR answered {response.status}")
        known = refusal(AUTH_STATUS, response, self._ib.method)
        if known.code == "E-IP" or response.status in (429, 502, 503, 504):
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
        raise SessionTaken(f"another login holds the brokerage session of {self._ib.username}")

    async def ask_accounts(self, suppressed: tuple[str, ...]) -> None:
        """The call that opens the account family, and the questions that IBKR shall not ask in this session."""
        response = await self.ask(ACCOUNTS)
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
        for start in range(0, len(suppressed), SUPPRESS_AT_ONCE):
            ids = list(suppressed[start : start + SUPPRESS_AT_ONCE])
            response = await self.ask(SUPPRESS_QUESTIONS, SuppressRequest(ids))
            if response.status == 200:
                decode(SUPPRESS_QUESTIONS, response)  # a page of HTML suppresses nothing
            elif response.status != 400:  # an id that IBKR does not know; the others are worth the session
                raise refusal(SUPPRESS_QUESTIONS, response, self._ib.method)
        self._moved(SessionEvent.ACCOUNTS_ASKED)

    async def ask(self, endpoint: Endpoint, body: Any = None) -> Response:
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

    def _step(self, name: str, response: Response | None, success: bool, message: str) -> None:
        self.steps[name] = Step(
            name,
            None if response is None else response.status,
            success,
            message,
            self._ib.clock.now(),
            None if response is None else response.headers.get("x-trace-id"),
        )

    def _opened(self, status: BrokerageStatus) -> None:
        self.last_status = status
        self._ib.caches.new_session()
        self._moved(SessionEvent.ESTABLISHED)


def read(endpoint: Endpoint, response: Response) -> Any:
    """The decoded answer; None where it is a refusal or cannot be read."""
    if response.status != 200 or hidden_error(response.body) is not None:
        return None
    try:
        return decode(endpoint, response)
    except UnexpectedAnswer:
        return None


def _says_logged_out(tickle: Response) -> bool:
    """401, or an error inside a 200. Source: docs/facts/auth-and-sessions.md §3.7."""
    return tickle.status == 401 or (tickle.status == 200 and hidden_error(tickle.body) is not None)
