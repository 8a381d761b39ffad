"""The server core: one request in, one answer out, over the world and nothing else. No socket, no thread, no sleep.

Order of the checks (docs/facts/auth-and-sessions.md §8, last paragraph): maintenance → User-Agent → length → penalty
box → path → credentials → pacing → outer session → brokerage session → priming → handler.
"""

from __future__ import annotations

import gzip
import importlib
import json
import pkgutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from datetime import timedelta
from decimal import Decimal
from email.utils import format_datetime
from typing import Any, Literal
from urllib.parse import parse_qsl, urlsplit

import msgspec

from ibkit.sim import handlers
from ibkit.sim.faults import RequestFault
from ibkit.sim.flex.service import is_flex
from ibkit.sim.handlers.session import gone
from ibkit.sim.logins import credentials, sessions
from ibkit.sim.logins.logins import Session
from ibkit.sim.logins.oauth1_check import Signed
from ibkit.sim.routing import HANDLERS, ApiError, Call, Reply, TokenCall
from ibkit.sim.serving.maintenance import in_maintenance
from ibkit.sim.serving.pacing import Pacing
from ibkit.sim.serving.pages import Pages
from ibkit.sim.serving.requestlog import Entry, RequestLog
from ibkit.sim.serving.router import Match, find_endpoint
from ibkit.sim.serving.simclock import SimClock
from ibkit.sim.world import World
from ibkit.wire.accounts import ACCOUNTS
from ibkit.wire.endpoint import Base, Endpoint, Lane, Needs
from ibkit.wire.executions import TRADES
from ibkit.wire.http import Request
from ibkit.wire.marketdata import SNAPSHOT
from ibkit.wire.orders import LIVE_ORDERS, ORDER_STATUS, PLACE_ORDERS, REPLY
from ibkit.wire.session import REAUTHENTICATE, SSODH_INIT, TICKLE

__all__ = ["Face", "Outcome", "SimServer"]

Face = Literal["gateway", "cloud"]

for _module in pkgutil.iter_modules(handlers.__path__):
    importlib.import_module(f"{handlers.__name__}.{_module.name}")

API = Base.API.value
IBKR = "https://api.ibkr.com"
_NOT_FOUND = "<html><body><h1>Resource not found</h1></body></html>"
"""Source: docs/facts/contracts-and-market-data.md §0 (unknown path under /v1/api)."""
_CDN_REFUSAL = (
    "<HTML><HEAD>\n<TITLE>Access Denied</TITLE>\n</HEAD><BODY>\n<H1>Access Denied</H1>\n"
    "You don't have permission to access this server.\n</BODY>\n</HTML>\n"
)
_GARBAGE = "<html><head><title>Error</title></head><body><h1>Something went wrong</h1></body></html>"
_FIRST_BY_500 = frozenset({SNAPSHOT, LIVE_ORDERS, ORDER_STATUS, TRADES})
_SLOW_S = 60.0
_SKEW = timedelta(minutes=10)
_WORTH_GZIP = ("application/json", "text/")

_CORS = (
    ("Access-Control-Allow-Origin", "*"),
    ("Access-Control-Allow-Methods", "POST, GET, OPTIONS, DELETE, PUT"),
    ("Access-Control-Allow-Headers", "Content-Type, portal, Cookie"),
)
"""The gateway's own answer to browsers. Source: docs/facts/auth-and-sessions.md §3.11, headers IBKR → client."""

_json = msgspec.json.Encoder(decimal_format="number")


@dataclass(frozen=True, slots=True)
class Outcome:
    """What happens to a request.

    drop:    the connection breaks instead of an answer. cut: it breaks after so many bytes of the body.
    delay_s: the answer comes that much later. late: the request is to be handed in again after the delay (it is
             carried out only then).
    """

    status: int = 0
    headers: tuple[tuple[str, str], ...] = ()
    body: bytes = b""
    drop: bool = False
    cut: int | None = None
    delay_s: float = 0.0
    late: bool = False


@dataclass(slots=True)
class _Incoming:
    """One request under way."""

    method: str
    path: str
    query: str
    headers: Mapping[str, str]
    body: bytes
    face: Face
    peer: str
    entry: Entry
    match: Match | None = None
    extra_headers: list[tuple[str, str]] = field(default_factory=list)

    @property
    def endpoint(self) -> Endpoint:
        assert self.match is not None
        return self.match.endpoint


class SimServer:
    """Both faces over one world.

    public_urls: `https://host:port` under which clients may know the cloud face; a signature is tried against each and
    against IBKR's own host, never against the Host header (docs/facts/auth-and-sessions.md §1.3).
    """

    def __init__(
        self, make_world: Callable[[], World], clock: SimClock, *, public_urls: tuple[str, ...] = ("https://localhost",)
    ) -> None:
        self._make_world = make_world
        self.clock = clock
        self.bases = (*public_urls, IBKR)
        self.log = RequestLog()
        self.pacing = Pacing()
        self.world = make_world()
        self.pages = Pages()
        self._late: list[tuple[float, Callable[[], object]]] = []
        sessions.apply_scenarios(self.world)

    def use_urls(self, public_urls: tuple[str, ...]) -> None:
        """Tell the server under which URLs its cloud face is known, once its port is."""
        self.bases = (*public_urls, IBKR)

    def reset(self) -> None:
        """A new world as at the start; a manual clock goes back, a real one goes on."""
        self.log.clear()
        self.pacing.clear()
        self.pages = Pages()
        self._late.clear()
        self.world = self._make_world()
        if self.clock.mode == "manual":
            self.clock.restart(self.world.now)
        sessions.apply_scenarios(self.world)

    def handle(self, request: Request, *, face: Face, peer: str = "127.0.0.1", late: bool = False) -> Outcome:
        """Answer one request now. late: it was held back by a fault before and is let through."""
        self._run_late()
        self.world.advance(self.clock.now())
        incoming = self._receive(request, face, peer)
        fault = None if late else self._strike(incoming)
        if fault is not None and fault.fault == "delay-before":
            incoming.entry.fault = fault.fault
            return Outcome(late=True, delay_s=float(fault.params.get("seconds", 60)))
        self.world.request_id = incoming.entry.id
        try:
            outcome = self._outcome(incoming, fault)
        finally:
            self.world.request_id = 0
        incoming.entry.status = None if outcome.drop else outcome.status
        return outcome

    def later(self, delay_s: float, act: Callable[[], object]) -> None:
        """Have `act` done when the pacing clock is `delay_s` on; for callers that do not wait themselves."""
        self._late.append((self.clock.monotonic() + delay_s, act))

    def _run_late(self) -> None:
        now = self.clock.monotonic()
        due = [act for at, act in self._late if at <= now]
        self._late = [(at, act) for at, act in self._late if at > now]
        for act in due:
            act()

    def _receive(self, request: Request, face: Face, peer: str) -> _Incoming:
        parts = urlsplit(request.url)
        path = parts.path or "/"
        if face == "gateway" and path.startswith("/v1/portal/"):
            path = API + path.removeprefix("/v1/portal")
        headers = {name.lower(): value for name, value in request.headers.items()}
        entry = self.log.open(
            at=self.world.now.isoformat(),
            face=face,
            peer=peer,
            method=request.method,
            path=path,
            query=parts.query,
            headers=sorted(headers),
        )
        match = find_endpoint(request.method, path)
        # /oauth, /oauth2 and /gw are not served through the gateway (§0.1).
        if match is not None and face == "gateway" and match.endpoint.needs is Needs.NOTHING:
            match = None
        if match is not None:
            entry.endpoint = match.name
        return _Incoming(request.method, path, parts.query, headers, request.body, face, peer, entry, match)

    def _strike(self, incoming: _Incoming) -> RequestFault | None:
        name = incoming.match.name if incoming.match else None
        return self.world.faults.strike(name, incoming.method, incoming.path)

    # --- answers and what faults make of them ------------------------------------------------------------------

    def _outcome(self, incoming: _Incoming, fault: RequestFault | None) -> Outcome:
        if fault is None:
            outcome = self._finish(incoming, self._reply(incoming))
        else:
            incoming.entry.fault = fault.fault
            outcome = self._faulty(incoming, fault)
        if self._loses_order_answer(incoming, outcome):
            incoming.entry.fault = "lost-order-reply"
            return replace(outcome, drop=True)
        if self.world.faults.on("slow") and incoming.match is not None:
            return replace(outcome, delay_s=outcome.delay_s + _SLOW_S)
        return outcome

    def _faulty(self, incoming: _Incoming, fault: RequestFault) -> Outcome:
        params = fault.params
        status = int(params.get("status", 500 if fault.fault.startswith("status") else 200))
        carried_out = fault.fault not in ("drop-request", "status", "html", "redirect")
        answered = self._finish(incoming, self._reply(incoming)) if carried_out else Outcome()
        match fault.fault:
            case "drop-request" | "drop-answer":
                return replace(answered, drop=True)
            case "delay":
                return replace(answered, delay_s=float(params.get("seconds", 60)))
            case "status" | "status-after":
                content_type = str(params.get("content_type", "application/json"))
                return self._finish(incoming, Reply(params.get("body"), status, content_type=content_type))
            case "html" | "html-after":
                return self._finish(incoming, Reply(_GARBAGE, status, content_type="text/html"))
            case "redirect":
                location = {"Location": str(params.get("location", f"{IBKR}/sso/Login"))}
                return self._finish(incoming, Reply("", 302, location, content_type="text/html"))
            case "empty-200":
                return self._finish(incoming, Reply("", 200))
            case _:
                assert fault.fault == "truncate", fault.fault
                return replace(answered, cut=len(answered.body) // 2)

    def _loses_order_answer(self, incoming: _Incoming, outcome: Outcome) -> bool:
        """Scenario lost-order-reply: the first answer that acknowledges an order never arrives."""
        if incoming.match is None or incoming.endpoint not in (PLACE_ORDERS, REPLY) or outcome.status != 200:
            return False
        return b'"order_status"' in outcome.body and self.world.faults.take("lost-order-reply")

    def _reply(self, incoming: _Incoming) -> Reply:
        try:
            return self._answer(incoming)
        except ApiError as refusal:
            return Reply(refusal.body, refusal.status, content_type=refusal.content_type)

    def _finish(self, incoming: _Incoming, reply: Reply) -> Outcome:
        """The reply as bytes, with the headers of §0.2."""
        raw = isinstance(reply.body, bytes | str) or reply.body is None
        body = reply.body.encode() if isinstance(reply.body, str) else reply.body if raw else _json.encode(reply.body)
        body = body or b""
        chance = self.world.rng("http")
        spent = chance.randint(3, 30)
        date = self.clock.wall() + (_SKEW if self.world.faults.on("clock-skew") else timedelta(0))
        headers = [("Date", format_datetime(date, usegmt=True))]
        if reply.content_type and body:
            headers.append(("Content-Type", reply.content_type))
        headers += [
            ("Cache-Control", "max-age=0, no-cache, no-store"),
            ("Pragma", "no-cache"),
            ("Expires", headers[0][1]),
            ("Vary", "origin"),
            ("X-Content-Type-Options", "nosniff"),
            ("Referrer-Policy", "origin"),
            ("x-response-time", f"{spent}ms"),
            ("Server-Timing", f"edge; dur=1, origin; dur={spent}"),
            *reply.headers.items(),
            *incoming.extra_headers,
        ]
        if incoming.face == "gateway" and "origin" in incoming.headers:
            headers += _CORS
        if "x-sess-uuid=" not in incoming.headers.get("cookie", ""):
            uuid = f"0.{chance.getrandbits(32):08x}.{int(self.world.now.timestamp())}.{chance.getrandbits(32):08x}"
            headers.append(("Set-Cookie", f"x-sess-uuid={uuid}; secure; HttpOnly"))
        smallest = self.world.quirks.gzip_from_bytes
        accepts = "gzip" in incoming.headers.get("accept-encoding", "")
        if 0 < smallest <= len(body) and accepts and reply.content_type.startswith(_WORTH_GZIP):
            body = gzip.compress(body, compresslevel=1, mtime=0)
            headers.append(("Content-Encoding", "gzip"))
        return Outcome(reply.status, tuple(headers), body)

    # --- the checks, in order ----------------------------------------------------------------------------------

    def _answer(self, incoming: _Incoming) -> Reply:
        faults = self.world.faults
        if incoming.face == "gateway" and faults.on("gw-ip-denied"):
            raise ApiError(404, "Access Denied", content_type="")
        if incoming.face == "gateway" and incoming.method == "OPTIONS":
            return Reply("", 204, content_type="")
        if incoming.face == "cloud" and is_flex(incoming.path):
            # Another host of IBKR's, with rules of its own; here it shares the cloud's port.
            return self._flex(incoming)
        self._check_maintenance(incoming)
        self._check_transport(incoming)
        if incoming.match is None:
            return self._other_path(incoming)
        if faults.on("garbage"):
            return Reply(_GARBAGE, 200, content_type="text/html")
        missing = faults.argument("endpoint-404", "/iserver/accounts")
        if faults.on("endpoint-404") and missing in (incoming.match.name, incoming.endpoint.path):
            raise ApiError(404, _NOT_FOUND, content_type="text/html")
        if incoming.endpoint.needs is Needs.NOTHING:
            return self._token_call(incoming)
        return self._api_call(incoming)

    def _flex(self, incoming: _Incoming) -> Reply:
        return self.world.flex.answer(
            incoming.path,
            dict(parse_qsl(incoming.query, keep_blank_values=True)),
            incoming.headers,
            peer=incoming.peer,
            monotonic=self.clock.monotonic(),
            base=self.bases[0],
        )

    def _check_maintenance(self, incoming: _Incoming) -> None:
        gateway = self.world.logins.gateway
        user = gateway.user if incoming.face == "gateway" and gateway else self.world.logins.first_user
        away = in_maintenance(self.world.quirks, user.region, self.world.now)
        if away or self.world.faults.on("maintenance-503"):
            raise ApiError(503, {"error": "Service Unavailable", "statusCode": 503})

    def _check_transport(self, incoming: _Incoming) -> None:
        quirks, headers = self.world.quirks, incoming.headers
        if quirks.require_user_agent and not headers.get("user-agent", "").strip():
            raise ApiError(403, _CDN_REFUSAL, content_type="text/html")
        if quirks.require_content_length and incoming.method == "POST" and "content-length" not in headers:
            raise ApiError(411, "<html><body><h1>Length Required</h1></body></html>", content_type="text/html")
        if quirks.pacing and self.pacing.boxed(incoming.peer, self.clock.monotonic()):
            raise self._too_many()

    @staticmethod
    def _too_many() -> ApiError:
        return ApiError(429, {"error": "Too many requests", "statusCode": 429})

    def _check_pacing(self, incoming: _Incoming, user: str) -> None:
        quirks, at = self.world.quirks, self.clock.monotonic()
        admitted = not quirks.pacing or self.pacing.admit(
            quirks, user=user, face=incoming.face, endpoint=incoming.endpoint, at=at
        )
        if admitted and not self.world.faults.on("rate-429"):
            return
        if quirks.pacing:
            self.pacing.refuse(quirks, incoming.peer, at)
        raise self._too_many()

    def _other_path(self, incoming: _Incoming) -> Reply:
        """Pages of the login and of the consent, then what a path that nobody knows is told (§0.1, §3.11)."""
        page = self.pages.serve(
            self.world, incoming.face, incoming.method, incoming.path, incoming.query, incoming.body, incoming.headers
        )
        if page is not None:
            incoming.extra_headers += page.headers
            return Reply(page.body, page.status, content_type=page.content_type)
        forwarded = incoming.path.startswith((f"{API}/", "/sso/")) and not incoming.path.startswith(f"{API}/oauth/")
        if incoming.face == "gateway" and not forwarded:
            return Reply("", 302, {"Location": IBKR + incoming.path}, content_type="")
        raise ApiError(404, _NOT_FOUND, content_type="text/html")

    def _clocks(self) -> tuple[Any, ...]:
        return (self.world.now, self.clock.wall())

    def _token_call(self, incoming: _Incoming) -> Reply:
        self._check_pacing(incoming, incoming.peer)
        handler = HANDLERS[incoming.endpoint]
        call = TokenCall(
            world=self.world,
            endpoint=incoming.endpoint,
            method=incoming.method,
            path=incoming.path,
            query=incoming.query,
            headers=incoming.headers,
            body=incoming.body,
            bases=self.bases,
            clocks=self._clocks(),
            peer=incoming.peer,
            notes=incoming.entry.notes,
        )
        reply = _as_reply(handler(call))
        incoming.entry.user = call.notes.pop("user", None)
        return reply

    def _api_call(self, incoming: _Incoming) -> Reply:
        endpoint = incoming.endpoint
        if incoming.face == "gateway" and endpoint == REAUTHENTICATE and self.world.logins.gateway is None:
            # Answered by the gateway program itself (§3.8).
            return Reply(
                {"message": "triggered"} if self.world.logins.gateway_was_logged_in else {"error": "not logged in"}
            )
        session = self._session(incoming)
        incoming.entry.user = session.user.username
        self._check_pacing(incoming, session.user.username)
        self._check_sessions(session, endpoint)
        if self.world.faults.on("perm-403") and endpoint.lane is Lane.DATA:
            # Wording assumed: what IBKR says to a user without API permission is not recorded.
            raise ApiError(403, {"error": "Forbidden", "statusCode": 403})
        session.last_call_at = self.world.now
        body = self._body(incoming)
        incoming.entry.body = body
        handler = HANDLERS.get(endpoint)
        if handler is None:
            raise ApiError(404, _NOT_FOUND, content_type="text/html")
        assert incoming.match is not None
        call = Call(
            world=self.world,
            session=session,
            endpoint=endpoint,
            path=incoming.match.path,
            query=dict(parse_qsl(incoming.query, keep_blank_values=True)),
            body=body,
            now=self.world.now,
            face=incoming.face,
        )
        reply = _as_reply(handler(call))
        if endpoint == ACCOUNTS and reply.status == 200 and session.brokerage is not None:
            session.brokerage.accounts_primed = True
        return reply

    def _session(self, incoming: _Incoming) -> Session:
        """Whose call it is, its outer session alive. §3.2 for the gateway's empty 401."""
        logins = self.world.logins
        if incoming.face == "gateway":
            if logins.gateway is None:
                raise self._logged_out(incoming.endpoint)
            return logins.gateway
        header = incoming.headers.get("authorization", "")
        scheme, _, rest = header.partition(" ")
        if scheme.lower() == "oauth":
            form = self._form(incoming)
            pairs = credentials.read_pairs(header)
            signed = Signed(incoming.method, self.bases, incoming.path, incoming.query, pairs, form)
            session = credentials.signed_session(self.world, signed, self._clocks())
        elif scheme.lower() == "bearer":
            session = credentials.bearer_session(self.world, rest.strip(), incoming.peer)
        else:
            raise credentials.not_authenticated()
        if session not in logins.sessions:
            if session.logged_out and incoming.endpoint == SSODH_INIT:
                raise gone()
            raise credentials.not_authenticated()
        return session

    def _logged_out(self, endpoint: Endpoint) -> ApiError:
        """What a gateway without a login passes on. §3.2, §3.7, §4.1."""
        quirks = self.world.quirks
        if endpoint == TICKLE and quirks.logged_out_tickle == "no session":
            return ApiError(200, {"error": "no session"})
        return ApiError(401, quirks.logged_out_text or None, content_type="text/plain")

    @staticmethod
    def _form(incoming: _Incoming) -> tuple[tuple[str, str], ...]:
        if not incoming.headers.get("content-type", "").startswith("application/x-www-form-urlencoded"):
            return ()
        return tuple(parse_qsl(incoming.body.decode("utf-8", "replace"), keep_blank_values=True))

    def _check_sessions(self, session: Session, endpoint: Endpoint) -> None:
        """§3.10 and §8 rows 9 and 10."""
        if endpoint.needs not in (Needs.BROKERAGE_SESSION, Needs.PRIMED_ACCOUNTS):
            return
        if not sessions.is_ready(session, self.world.now):
            never = not session.had_brokerage and not session.competing
            if never and self.world.quirks.no_bridge_status == 400:
                raise ApiError(400, {"error": "Bad Request: no bridge", "statusCode": 400})
            if never:
                raise ApiError(401, {"error": "no bridge", "statusCode": 401})
            raise credentials.not_authenticated()
        assert session.brokerage is not None
        if endpoint.needs is Needs.PRIMED_ACCOUNTS and not session.brokerage.accounts_primed:
            if endpoint in _FIRST_BY_500 or self.world.quirks.unprimed_order_status == 500:
                raise ApiError(500, {"error": "Please query /accounts first"})
            raise ApiError(400, {"error": "Bad Request: Please query /accounts first", "statusCode": 400})

    def _body(self, incoming: _Incoming) -> Any:
        form = self._form(incoming)
        if form:
            return dict(form)
        if not incoming.body.strip():
            return None
        try:
            return json.loads(incoming.body, parse_float=Decimal)
        except ValueError as error:
            # "500 often a malformed body" (§0.3); the text is assumed.
            raise ApiError(500, {"error": "Failed to parse the request body"}) from error


def _as_reply(answer: Any) -> Reply:
    return answer if isinstance(answer, Reply) else Reply(answer)
