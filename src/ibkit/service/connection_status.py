"""How a login stands, from what is held of it (MON-01), and trying its sign-in now, step by step (MON-02)."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

import anyio
import msgspec

from ibkit.bootstrap.connections import Connection, was_refused
from ibkit.bootstrap.maintenance import Maintenance
from ibkit.bootstrap.pauses import paused_until
from ibkit.client.opening import Step
from ibkit.errors import IbkitError
from ibkit.settings import Settings
from ibkit.settings.variables import masked
from ibkit.trading.connection import LABELS, ConnectionState, SessionRecord, Standing
from ibkit.wire.endpoint import Needs
from ibkit.wire.session_clocks import SessionClocks, session_clocks

__all__ = [
    "ConnectionStatus",
    "ConnectionTest",
    "LastError",
    "SignInTest",
    "StepResult",
    "clocks_of",
    "results_of",
    "status_document",
]

STEPS = ("oauth", "sso", "validate", "init")
_WORDS = {
    "oauth": ("Connected", "Not connected"),
    "sso": ("Active", "Not active"),
    "validate": ("Validated", "Not validated"),
    "init": ("Ready", "Not ready"),
}
_NOT_BEGUN = Step("", None, None, "not attempted")
_NAMES = {"oauth": "oauth", "sso": "sso", "validate": "validated", "init": "initialized"}


class LastError(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    code: str
    message: str
    remedy: str


class MaintenanceInfo(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, rename="camel"):
    """The window that holds, else the next one. now: orders are refused until its end."""

    starts_at: datetime
    ends_at: datetime
    text: str
    now: bool

    @classmethod
    def of(cls, maintenance: Maintenance | None) -> MaintenanceInfo | None:
        """Nothing where nothing is planned."""
        if maintenance is None:
            return None
        current = maintenance.current
        window = current or maintenance.next
        if window is None:
            return None
        return cls(starts_at=window.starts_at, ends_at=window.ends_at, text=window.text, now=window is current)


class ConnectionStatus(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, rename="camel"):
    """connected: all four steps hold and the last check, at most 90 s old, worked. missing: settings, by name.

    maintenance: of this service, planned by its operators.
    paused_until: when IBKR is asked again: penalty box, nobody answers, its maintenance, failed sign-ins. LIM-03.
    """

    configured: bool
    connected: bool
    state: str
    label: str
    provider: str
    method: str | None
    environment: str
    account_id: str | None
    client_id: str | None
    multi_user_mode: bool
    read_only: bool
    diagnostics: dict[str, str]
    session: dict[str, Any]
    last_success: datetime | None
    last_error: LastError | None
    checked_at: datetime | None
    paused_until: datetime | None
    message: str | None
    missing: list[str]
    maintenance: MaintenanceInfo | None = None


class StepResult(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """status: of HTTP, null where nothing was sent. success: null where it was not attempted."""

    status: int | None
    success: bool | None
    message: str
    code: str | None
    remedy: str | None
    ms: int | None


class ConnectionTest(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    success: bool
    message: str
    steps: dict[str, StepResult]
    accounts: list[str]


def status_document(settings: Settings, connection: Connection | None) -> ConnectionStatus:
    """What is known; no call is made. connection: None where none is configured."""
    missing = [name for problem in settings.method_problems for name in problem.names]
    configured = connection is not None
    steps = connection.steps if connection is not None else {}
    held = connection.health if connection is not None else None
    error = held.error if held is not None else None
    state = ConnectionState.NOT_CONFIGURED if connection is None else connection.state
    diagnostics = {
        _NAMES[name]: _WORDS[name][0 if name in steps and steps[name].success and error is None else 1]
        for name in STEPS
    }
    if error is not None and steps:
        diagnostics = _first_that_fails(steps, connected_words=diagnostics)
    return ConnectionStatus(
        configured=configured,
        connected=connection is not None and connection.connected,
        state=state.value,
        label="SIMULATED" if settings.mock else LABELS[state],
        provider=settings.general.provider,
        method=settings.choice.method.value if settings.choice else None,
        environment=settings.environment.value,
        account_id=_account(settings, connection),
        client_id=_client_id(settings),
        multi_user_mode=settings.general.multi_user,
        read_only=settings.general.read_only,
        diagnostics=diagnostics,
        session=_session(connection),
        last_success=held.succeeded_at if held else None,
        last_error=_last_error(held),
        checked_at=held.checked_at if held else None,
        paused_until=paused_until(connection.health, connection.client) if connection is not None else None,
        message=None if configured else "Not Configured",
        missing=[] if configured else list(dict.fromkeys(missing)),
    )


def _last_error(held: Standing | None) -> LastError | None:
    error = None if held is None else held.trouble
    return None if error is None else LastError(code=error.code, message=error.message, remedy=error.remedy)


def _first_that_fails(steps: Mapping[str, Step], *, connected_words: dict[str, str]) -> dict[str, str]:
    """Of a login that is down: what the sign-in reached still stands; that the session is ready does not."""
    told = dict(connected_words)
    for name in STEPS[:-1]:
        told[_NAMES[name]] = _WORDS[name][0 if steps[name].success else 1]
    return told


def _account(settings: Settings, connection: Connection | None) -> str | None:
    if settings.account_id is not None:
        return settings.account_id
    return next(iter(connection.desks), None) if connection is not None else None


def _client_id(settings: Settings) -> str | None:
    name = settings.oauth2.client_id or settings.oauth1.consumer_key
    return None if name is None else masked(name)


def _session(connection: Connection | None) -> dict[str, Any]:
    if connection is None:
        return {}
    keeper, session = connection.client.keeper, connection.book.session
    last = keeper.last_status
    told: dict[str, Any] = {
        "open": connection.open,
        "watched": connection.watching,
        "authenticated": bool(last and last.authenticated),
        "competing": bool(last and last.competing),
        "accounts": sorted(connection.desks),
        "username": keeper.username if keeper.level > 0 else None,
    }
    if session is not None:
        clocks = clocks_of(connection, session)
        told |= {
            "expires_at": session.expires_at,
            "age_seconds_left": clocks.age_seconds_left,
            "next_reset": clocks.next_reset,
            "ends_first": clocks.ends_first,
        }
    return told


def clocks_of(connection: Connection, session: SessionRecord) -> SessionClocks:
    """What its session runs out by (SES-06); no call is made."""
    return session_clocks(
        connection.clock.now(),
        last_activity_at=session.last_activity_at,
        expires_at=session.expires_at,
        region=connection.settings.general.region,
        sso_expires=connection.client.keeper.sso_expires,
    )


class SignInTest:
    """Runs the chain of one login; who asks while it runs gets that run's result."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._running: anyio.Event | None = None
        self._last: ConnectionTest | None = None

    def of(self, connection: Connection) -> bool:
        return self._connection is connection

    async def run(self) -> ConnectionTest:
        """Sign in anew, beside the session that is open, then ask for the accounts."""
        if self._running is not None:
            await self._running.wait()
            if self._last is not None:
                return self._last
        self._running = anyio.Event()
        try:
            self._last = await self._chain()
            return self._last
        finally:
            self._running.set()
            self._running = None

    async def _chain(self) -> ConnectionTest:
        ib = self._connection.another()
        began = self._connection.clock.now()
        failure: IbkitError | None = None
        accounts: list[str] = []
        try:
            async with ib:
                await ib.connect(upto=Needs.PRIMED_ACCOUNTS)
                accounts = [account.account_id for account in await ib.accounts()]
        except IbkitError as error:
            failure = error
        if was_refused(failure):
            await self._connection.refused()
        steps = results_of(ib.steps, began, failure)
        if failure is None:
            return ConnectionTest(success=True, message="Connection works", steps=steps, accounts=accounts)
        return ConnectionTest(success=False, message=failure.message, steps=steps, accounts=[])


def results_of(steps: Mapping[str, Step], began: datetime, failure: IbkitError | None) -> dict[str, StepResult]:
    """The four steps; the first that is not done is the one that failed, whether it could tell so itself or not."""
    told: dict[str, StepResult] = {}
    failed = False
    for name in STEPS:
        step = steps.get(name, _NOT_BEGUN)
        ms = None if step.at is None else max(0, round((step.at - began).total_seconds() * 1000))
        began = step.at or began
        if failed:
            told[name] = StepResult(status=None, success=None, message="not attempted", code=None, remedy=None, ms=None)
        elif failure is not None and not step.success:
            failed = True
            told[name] = StepResult(
                status=step.status,
                success=False,
                message=failure.message,
                code=failure.code,
                remedy=failure.remedy,
                ms=ms,
            )
        else:
            told[name] = StepResult(
                status=step.status, success=step.success, message=step.message, code=None, remedy=None, ms=ms
            )
    return told
