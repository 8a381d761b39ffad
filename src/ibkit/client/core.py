"""The client without its verbs: pace → sign → transport → decode → map errors, each done here and once.

Every call to IBKR goes through `Core.exchange`; whether it is repeated, `outcomes.verdict` decides.
"""

from __future__ import annotations

import random
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import datetime, timedelta
from functools import lru_cache
from types import TracebackType
from typing import Any, Final, NamedTuple, Self
from urllib.parse import urlencode

import anyio

from ibkit.client.auth.grant import Auth
from ibkit.client.caches import Caches
from ibkit.client.circuit import Circuit
from ibkit.client.keeper import GrantStore, Keeper
from ibkit.client.metering import Meter
from ibkit.client.one_door import harmless, refuse_orders, too_late
from ibkit.client.opening import Opening, Step
from ibkit.client.outcomes import Verdict, before_sending, in_maintenance, moved, nobody_answered, verdict
from ibkit.client.pacing import lanes_of
from ibkit.client.shared_slots import SharedSlots
from ibkit.client.transport import USER_AGENT, Socket, Transport
from ibkit.clock import Clock, SystemClock
from ibkit.errors import (
    AuthError,
    IbkitError,
    NotPermitted,
    OutcomeUnknown,
    RateLimited,
    Unreachable,
)
from ibkit.model import AccountId, AuthMethod, SendPermit, Username
from ibkit.spans import recording, span, trace_id
from ibkit.wire.breaker import AWAY
from ibkit.wire.codec import ERROR_WITHIN, decode, encode, hidden_error
from ibkit.wire.endpoint import Base, Endpoint, Lane, Needs, Resend
from ibkit.wire.http import Request, Response
from ibkit.wire.maintenance import maintenance_until
from ibkit.wire.refusals import refusal
from ibkit.wire.session import SUPPRESS_QUESTIONS, TICKLE
from ibkit.wire.session_states import SessionState
from ibkit.wire.stream import cookie

__all__ = ["Core"]

ORDER_TIMEOUT_S: Final = 30.0
"""Longer than the server's own 10 s. Source: docs/facts/orders.md §14.2; LIM-05."""
READ_TIMEOUT_S: Final = 15.0
TICKLE_TIMEOUT_S: Final = 10.0
DIAL_TIMEOUT_S: Final = 10.0
READ_TRIES: Final = 3
"""Tries of a read that meets a connect error, a time-out or 502, 503, 504. LIM-04."""

HEADERS: Final[Mapping[str, str]] = {"User-Agent": USER_AGENT}
"""Of every call: without a User-Agent the edge answers 403. Source: docs/facts/auth-and-sessions.md §0.2."""
JSON_HEADERS: Final[Mapping[str, str]] = {**HEADERS, "Content-Type": "application/json"}
ROUTES: Final = 512
"""Endpoints that are remembered; the catalogue has fewer."""


class _Route(NamedTuple):
    """What of an endpoint is the same in every call: enums cost more to read than all else in a call's preparation.

    endpoint: kept, so that its id stays its own.
    url:      address of a path without parameters, with a question mark.
    """

    endpoint: Endpoint
    level: int
    url: str
    timeout_s: float


_CHANCE = random.SystemRandom().random
"""Not the process's shared generator, which a program may have seeded."""


class Core:
    """One IBKR login. Constructing does nothing; `async with` opens and closes.

    base_url:     scheme, host and port; `/v1/api` and a trailing slash are taken off.
    open_to:      how far `async with` signs in; None leaves it to the first call that needs it.
    compete:      take the brokerage session from another login of this user name when it is opened.
    keep_alive_s: seconds between tickles; None for none (a test with a ManualClock calls `keeper.beat()` itself).
    calls_per_s:  50 over OAuth, 10 through the gateway by default; 0 for no limit (a server of one's own).
    suppress:     question ids that IBKR shall not ask in this brokerage session; sent again after each init.
    grants:       where a sign-in is kept between runs; None for memory only.
    chance:       random fraction of a back-off, an argument so that a run can be replayed.
    overrides:    catalogue path → path that IBKR uses now.
    region:       us, eu or asia: whose nightly reset explains an outage.
    cache:        False keeps no answer that could be asked for again (`caches.py`).
    shared:       slots of slow endpoints, and calls of a second, that other processes of this login take, too.
    meter:        told of each call and each attempt; None counts nothing.
    """

    def __init__(
        self,
        *,
        auth: Auth,
        base_url: str,
        transport: Transport,
        clock: Clock | None = None,
        username: Username | None = None,
        account_id: AccountId | None = None,
        read_only: bool = False,
        compete: bool = False,
        open_to: Needs | None = Needs.PRIMED_ACCOUNTS,
        keep_alive_s: float | None = 30.0,
        calls_per_s: int | None = None,
        suppress: tuple[str, ...] = (),
        grants: GrantStore | None = None,
        rotate_after: timedelta = timedelta(hours=24),
        chance: Callable[[], float] = _CHANCE,
        overrides: Mapping[str, str] | None = None,
        region: str = "us",
        shared: SharedSlots | None = None,
        meter: Meter | None = None,
        cache: bool = True,
    ) -> None:
        self.auth = auth
        self.method: AuthMethod = auth.method
        self.base_url = _root_of(base_url)
        self.clock: Clock = clock or SystemClock()
        self.account_id = account_id
        self.read_only = read_only
        self.caches = Caches(keep=cache)
        self.keeper = Keeper(
            self, username=username, compete=compete, suppress=suppress, grants=grants, rotate_after=rotate_after
        )
        self._transport = transport
        self._open_to = open_to
        self._keep_alive_s = keep_alive_s
        default_rate = 10 if auth.method is AuthMethod.GATEWAY else 50
        self._lanes = lanes_of(default_rate if calls_per_s is None else calls_per_s, self.clock, shared)
        self._circuit = Circuit(self.clock, self.explained)
        self._chance = chance
        self._meter = meter
        self._region = region
        self._overrides = dict(overrides or {})
        self._prefixes = {base: self.base_url + base.value for base in Base}
        self._routes: dict[int, _Route] = {}
        self._stack: AsyncExitStack | None = None

    async def __aenter__(self) -> Self:
        async with AsyncExitStack() as stack:
            stack.callback(self._lanes.close)
            stack.push_async_callback(self._transport.aclose)
            if self._open_to is not None:
                await self.keeper.reach(self._open_to)
            if self._keep_alive_s:
                group = await stack.enter_async_context(anyio.create_task_group())
                stack.callback(group.cancel_scope.cancel)
                group.start_soon(self.keeper.keep_alive, self._keep_alive_s)
            self._stack = stack.pop_all()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        stack, self._stack = self._stack, None
        if stack is not None:
            # The error of the block is not the task group's: it would come out wrapped in a group.
            await stack.aclose()

    @property
    def username(self) -> Username:
        """The IBKR user name, as far as it is known: given, or told by sso/validate, else the sign-in's label."""
        return self.keeper.username

    @property
    def state(self) -> SessionState:
        return self.keeper.state

    @property
    def steps(self) -> Mapping[str, Step]:
        """How far the sign-in got: oauth, sso, validate, init (AUTH-15)."""
        return self.keeper.steps

    async def connect(self, *, upto: Needs = Needs.PRIMED_ACCOUNTS) -> Opening:
        """Sign in as far as `upto`; what is there already is left alone."""
        return await self.keeper.reach(upto)

    @property
    def chance(self) -> Callable[[], float]:
        """Random fractions for back-offs, as given."""
        return self._chance

    @asynccontextmanager
    async def conversation(self) -> AsyncIterator[None]:
        """Around an order and its questions: the sign-in is renewed before, not within. AUTH-10."""
        with before_sending():
            await self.keeper.renew_if_due()
        self.keeper.conversations += 1
        try:
            yield
        finally:
            self.keeper.conversations -= 1

    async def request(
        self,
        endpoint: Endpoint,
        *,
        path: Mapping[str, object] | None = None,
        query: Mapping[str, object] | None = None,
        body: Any = None,
        method: str | None = None,
    ) -> Any:
        """Ask `endpoint` and get what its `gives` says. Errors as in `ibkit.errors`."""
        return decode(endpoint, await self.exchange(endpoint, path=path, query=query, body=body, method=method))

    async def exchange(
        self,
        endpoint: Endpoint,
        *,
        path: Mapping[str, object] | None = None,
        query: Mapping[str, object] | None = None,
        body: Any = None,
        method: str | None = None,
        errors: bool = True,
        permit: SendPermit | None = None,
    ) -> Response:
        """Like `request`, undecoded. Counted, where there is a meter, and a span, where spans are recorded.

        errors: False hands out any answer that arrived, whatever its status, and mends nothing.
        permit: of the order gateway; without one nothing that changes an order leaves. It is looked at after all
                waiting, right before the transport: a call that comes too late is not sent (Unreachable with
                `details["late"]`), nor one that may not leave any more (the check's error with `details["unsent"]`).
        """
        if permit is not None:
            with self.caches.changing():
                return await self._counted(endpoint, path, query, body, method, errors, permit)
        return await self._counted(endpoint, path, query, body, method, errors, permit)

    async def _counted(self, endpoint: Endpoint, *call: Any) -> Response:
        if self._meter is None and not recording():
            return await self._tried(endpoint, *call)
        with span("ibkr.call", **{"http.request.method": endpoint.method, "http.route": endpoint.path}) as current:
            try:
                response = await self._tried(endpoint, *call)
            except IbkitError as error:
                error.request_id = error.request_id or trace_id()
                self._count(endpoint, error.code)
                raise
            current.set("http.response.status_code", response.status)
            self._count(endpoint, "" if response.status < 400 else "E-UPSTREAM")
            return response

    async def _tried(self, endpoint: Endpoint, *call: Any) -> Response:
        """Unless nobody has answered for long."""
        circuit = self._circuit
        tries = circuit.tripped and circuit.gate(endpoint)
        try:
            return await self._exchanged(endpoint, *call)
        except IbkitError as error:
            circuit.failed(error)
            raise
        finally:
            if tries:
                circuit.over()

    def _count(self, endpoint: Endpoint, code: str) -> None:
        if self._meter is not None:
            self._meter.answered(endpoint, code)

    async def _exchanged(
        self,
        endpoint: Endpoint,
        path: Mapping[str, object] | None,
        query: Mapping[str, object] | None,
        body: Any,
        method: str | None,
        errors: bool,
        permit: SendPermit | None,
    ) -> Response:
        if self.read_only and endpoint.lane is Lane.ORDERS and endpoint.method != "GET" and not harmless(endpoint):
            raise NotPermitted("Read-only mode: trading is disabled", code="E-READONLY", details={"unsent": True})
        keeper = self.keeper
        route = self._routes.get(id(endpoint)) or self._route_of(endpoint)
        request = Request(
            method or endpoint.method,
            route.url + _query_text(tuple(query.items())) if query and not path else self.url(endpoint, path, query),
            HEADERS if body is None else JSON_HEADERS,
            b"" if body is None else encode(body),
        )
        if permit is None and request.method != "GET":
            refuse_orders(endpoint, request)
        if keeper.level < route.level or keeper.due:
            with before_sending():
                await keeper.ready_for(endpoint)
        began = self.clock.monotonic()
        attempt = 1
        mended = False
        while True:
            generation = keeper.generation
            try:
                response = await self.send(endpoint, request, permit=permit)
            except (Unreachable, OutcomeUnknown) as error:
                if error.details.get("late"):
                    raise
                found = moved(error, endpoint, self.method, self.base_url)
                await self._before_repeating(endpoint, found, attempt, began)
                attempt += 1
                continue
            if response.status == 200:
                answered = response.body
                # Looked at first: nearly no good answer has the word in it.
                if answered.find(b'"error"', 0, ERROR_WITHIN) < 0 or hidden_error(answered) is None:
                    return response
            if not errors:
                if response.status in AWAY:
                    self._circuit.away()
                return response
            refused = refusal(endpoint, response, self.method)
            step = verdict(endpoint, refused, response, mended=mended)
            if step is Verdict.RAISE:
                raise self._noted(endpoint, refused, mended=mended)
            if step is Verdict.REPEAT:
                await self._before_repeating(endpoint, self._noted(endpoint, refused, mended=mended), attempt, began)
                attempt += 1
            else:
                mended = True
                await keeper.mend(step, endpoint, generation)

    def told(self, endpoint: Endpoint, response: Response) -> IbkitError:
        """The error of an answer that `exchange(errors=False)` handed out, after the keeper took note of it."""
        return self._noted(endpoint, refusal(endpoint, response, self.method), mended=False)

    async def send(self, endpoint: Endpoint, request: Request, *, permit: SendPermit | None = None) -> Response:
        """One paced, freshly signed attempt. Only the keeper and `exchange` call this."""
        if permit is None and request.method != "GET" and endpoint is not SUPPRESS_QUESTIONS:
            refuse_orders(endpoint, request)
        lanes = self._lanes
        if not lanes.quick(endpoint):
            await self._wait_for(endpoint)
        try:
            signed = self.auth.sign(request, self.keeper.proof, self.clock.now())
            if permit is not None:
                await self._still_permitted(endpoint, permit)
            route = self._routes.get(id(endpoint)) or self._route_of(endpoint)
            response = await self._carried(endpoint, signed, route.timeout_s)
        finally:
            if endpoint.limit is not None:
                lanes.leave(endpoint)
        self._circuit.answered(response.status)
        if response.status == 429:
            lanes.slow_down(endpoint, response.headers.get("retry-after"))
        return response

    async def _wait_for(self, endpoint: Endpoint) -> None:
        began = self.clock.monotonic()
        await self._lanes.enter(endpoint)
        if self._meter is not None and (waited := self.clock.monotonic() - began) > 0:
            self._meter.waited(endpoint, waited)

    async def _carried(self, endpoint: Endpoint, request: Request, timeout_s: float) -> Response:
        meter = self._meter
        if meter is None:
            return await self._transport.send(request, timeout_s=timeout_s)
        meter.began(endpoint)
        began, received, status = self.clock.monotonic(), 0, 0
        try:
            response = await self._transport.send(request, timeout_s=timeout_s)
            received, status = len(response.body), response.status
            return response
        finally:
            seconds = self.clock.monotonic() - began
            meter.attempted(endpoint, seconds=seconds, sent=len(request.body), received=received, status=status)

    async def _still_permitted(self, endpoint: Endpoint, permit: SendPermit) -> None:
        if self.clock.monotonic() > permit.send_by:
            raise too_late(endpoint)
        try:
            await permit.check()
        except IbkitError as error:
            error.details["unsent"] = True
            raise
        if self.clock.monotonic() > permit.send_by:
            raise too_late(endpoint)  # the check itself waited, for a database, say

    async def dial(self, path: str) -> Socket:
        """Open a WebSocket with this login's proof. Raises Unreachable. Source: docs/facts/websocket.md §1."""
        session = self.keeper.stream_session
        query = urlencode([(name, token.reveal()) for name, token in self.auth.stream_proof(self.keeper.proof)])
        url = self.base_url.replace("https://", "wss://", 1) + path + (f"?{query}" if query else "")
        headers = {**HEADERS, "Cookie": cookie(session.reveal())} if session is not None else HEADERS
        return await self._transport.dial(Request("GET", url, headers, b""), timeout_s=DIAL_TIMEOUT_S)

    async def send_unsigned(self, request: Request, *, endpoint: Endpoint) -> Response:
        """One request of a handshake, which carries its own proof."""
        refuse_orders(endpoint, request)
        request = Request(request.method, request.url, {**HEADERS, **request.headers}, request.body)
        await self._wait_for(endpoint)
        try:
            response = await self._carried(endpoint, request, READ_TIMEOUT_S)
        finally:
            self._lanes.leave(endpoint)
        self._circuit.answered(response.status)
        return response

    def url(
        self, endpoint: Endpoint, path: Mapping[str, object] | None = None, query: Mapping[str, object] | None = None
    ) -> str:
        """The absolute address, query as it is sent."""
        if self._overrides and endpoint.path in self._overrides:
            url = self._prefixes[endpoint.base] + self._overrides[endpoint.path].format(**(path or {}))
        elif path:
            url = self.base_url + endpoint.url_path(**path)
        else:
            url = self._prefixes[endpoint.base] + endpoint.path
        return f"{url}?{_query_text(tuple(query.items()))}" if query else url

    def _route_of(self, endpoint: Endpoint) -> _Route:
        if len(self._routes) >= ROUTES:
            self._routes.clear()  # endpoints made anew for each call, which none of ours are
        url = self._prefixes[endpoint.base] + self._overrides.get(endpoint.path, endpoint.path)
        route = _Route(endpoint, endpoint.needs.value, f"{url}?", _timeout_s(endpoint))
        self._routes[id(endpoint)] = route
        return route

    @property
    def paused_until(self) -> datetime | None:
        """Until when every call waits: the penalty box, or ten calls in a row that nobody answered. LIM-03, LIM-08."""
        ends = [end for end in (self._lanes.boxed_until, self._circuit.paused_until) if end is not None]
        return max(ends, default=None)

    @property
    def region(self) -> str:
        """Whose reset windows hold for this login (wire/maintenance.py)."""
        return self._region

    def explained(self, error: IbkitError) -> IbkitError:
        """The same error, or what it means within IBKR's reset window. LIM-08."""
        until = maintenance_until(self.clock.now(), self._region)
        return error if until is None else in_maintenance(error, until)

    def headers(self, body: Any) -> Mapping[str, str]:
        """What every call carries besides its proof."""
        return HEADERS if body is None else JSON_HEADERS

    async def _before_repeating(self, endpoint: Endpoint, error: IbkitError, attempt: int, began: float) -> None:
        """Back off 0.5, 1, 2 s with jitter before a read is tried again; raise what may not be repeated. LIM-04.

        Tries share one time limit: a call that took all of it is not tried again.
        """
        spent = self.clock.monotonic() - began
        if endpoint.resend is Resend.NEVER or attempt >= READ_TRIES or spent > 0.9 * _timeout_s(endpoint):
            raise self.explained(error) if nobody_answered(endpoint, error) else error
        if self._meter is not None:
            self._meter.repeated(endpoint)
        if isinstance(error, RateLimited):
            return  # the pacer holds the endpoint back, and refuses where that would take too long
        await self.clock.sleep(0.5 * 2 ** (attempt - 1) * (0.75 + 0.5 * self._chance()))

    def _noted(self, endpoint: Endpoint, error: IbkitError, *, mended: bool) -> IbkitError:
        """The error, after what it tells of the session was taken down."""
        self.keeper.heard(endpoint, error)
        if mended and error.details.get("status") == 401:
            return AuthError(
                f"{error.message} (twice, the second time after signing in again)",
                code="E-AUTH-FAILED",
                remedy="Check that the account belongs to this user name and that the sign-in is still valid.",
                details=error.details,
            )
        if error.code == "E-UPSTREAM":
            return self.explained(error)
        if isinstance(error, RateLimited):
            error.retry_at = self._lanes.free_at(endpoint)
            if self._lanes.boxed:
                return RateLimited(
                    f"IBKR blocks this address until about {error.retry_at:%H:%M:%S} UTC",
                    code="E-PENALTY",
                    retry_at=error.retry_at,
                    details=error.details,
                )
        return error


@lru_cache(maxsize=512)
def _query_text(query: tuple[tuple[str, object], ...]) -> str:
    # Snapshots ask the same thing over and over; encoding it was a third of our own time for a call.
    return urlencode(query, safe=",")


def _root_of(base_url: str) -> str:
    """`https://localhost:5000/v1/api/` → `https://localhost:5000`. Settings say both (D-14)."""
    return base_url.rstrip("/").removesuffix("/v1/api").rstrip("/")


def _timeout_s(endpoint: Endpoint) -> float:
    if endpoint.resend is Resend.NEVER and endpoint.lane is Lane.ORDERS:
        return ORDER_TIMEOUT_S
    return TICKLE_TIMEOUT_S if endpoint is TICKLE else READ_TIMEOUT_S
