"""One WebSocket without its socket: commands go in, the frames that are due come out.

    CONNECTED ── ready_s ──> WAITING ── session known and established ──> GREETED ── 1000, drop ──> over

Time is the pacing clock's, so that a client's own timers fit; what is told is the world's.
Source: docs/facts/websocket.md; docs/facts/auth-and-sessions.md §1.10, §2.4, §3.9.
"""

from __future__ import annotations

import json
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

import msgspec

from ibkit.sim.exchange.account_rows import accounts_row
from ibkit.sim.faults import StreamFault
from ibkit.sim.logins import sessions
from ibkit.sim.logins.credentials import bearer_session
from ibkit.sim.logins.logins import Session
from ibkit.sim.routing import ApiError
from ibkit.sim.serving.maintenance import in_maintenance
from ibkit.sim.serving.server import API, Face, Outcome, SimServer
from ibkit.sim.streams.market import MarketTopic
from ibkit.sim.streams.notices import Notices
from ibkit.sim.streams.orders import OrdersTopic, TradesTopic
from ibkit.sim.streams.pnl import PnlTopic
from ibkit.sim.streams.view import Topic, View
from ibkit.sim.world import World
from ibkit.wire.http import Request

__all__ = ["PATH", "Frame", "Stream", "open_stream"]

PATH = f"{API}/ws"
Frame = str | bytes
"""A text or a binary frame."""

_json = msgspec.json.Encoder(decimal_format="number")
_TOPICS: Mapping[str, Callable[[], Topic]] = {"sor": OrdersTopic, "str": TradesTopic, "spl": PnlTopic}
_UNTIL_WOKEN = float("inf")


def open_stream(server: SimServer, request: Request, *, face: Face, peer: str = "127.0.0.1") -> Stream | Outcome:
    """The upgrade: an open stream, or what is answered instead of 101."""
    world = server.world
    world.advance(server.clock.now())
    parts = urlsplit(request.url)
    headers = {name.lower(): value for name, value in request.headers.items()}
    query = parse_qs(parts.query)
    entry = server.log.open(
        at=world.now.isoformat(),
        face=face,
        peer=peer,
        method=request.method,
        path=parts.path,
        query=parts.query,
        headers=sorted(headers),
    )
    fault = world.faults.strike(None, request.method, parts.path)
    if fault is not None:
        entry.fault = fault.fault
        entry.status = int(fault.params.get("status", 500)) if fault.fault == "status" else None
        return Outcome(entry.status or 0, drop=entry.status is None)
    refusal = _refusal(world, face, parts.path, headers)
    session = None
    if refusal is None and face == "cloud":
        try:
            session = _session_of(world, query, peer)
        except ApiError as error:
            # An empty body: §10 row 10 [sim].
            refusal = Outcome(error.status)
    entry.status = 101 if refusal is None else refusal.status
    if refusal is not None:
        return refusal
    cookie = headers.get("cookie", "")
    return Stream(server, face, session=session, named=_session_named(cookie), silent=parts.path != PATH)


def _refusal(world: World, face: Face, path: str, headers: Mapping[str, str]) -> Outcome | None:
    gateway = world.logins.gateway
    user = gateway.user if face == "gateway" and gateway else world.logins.first_user
    if in_maintenance(world.quirks, user.region, world.now) or world.faults.on("maintenance-503"):
        return Outcome(503)
    if face == "gateway":
        # The gateway upgrades every path by itself (§1 [checked]).
        return Outcome(404) if world.faults.on("gw-ip-denied") else None
    if world.quirks.require_user_agent and not headers.get("user-agent", "").strip():
        return Outcome(403)
    return None if path == PATH else Outcome(404)


def _session_of(world: World, query: Mapping[str, list[str]], peer: str) -> Session:
    """Whose token stands in the address. Raises ApiError 401 for a token that opens nothing."""
    refused = ApiError(401)
    access = query.get("oauth_token", [""])[-1]
    if access:
        living = [t for t in world.logins.live_session_tokens.get(access, []) if t.expires_at > world.now]
        if not living or living[-1].session not in world.logins.sessions:
            raise refused
        return living[-1].session
    bearer = (query.get("bearer_token") or query.get("sessionToken") or [""])[-1]
    if not bearer:
        raise refused
    session = bearer_session(world, bearer, peer)
    if session not in world.logins.sessions:
        raise refused
    return session


def _session_named(cookie: str) -> str | None:
    """`api=d21b…` and `api={"session":"d21b…"}` (§1)."""
    # By hand, for http.cookies refuses the JSON form, which is in the field.
    for part in cookie.split(";"):
        name, _, value = part.strip().partition("=")
        if name == "api":
            return _session_in(unquote(value).strip('"')) or unquote(value)
    return None


def _session_in(text: str) -> str | None:
    if not text.startswith("{"):
        return None
    try:
        given = json.loads(text)
    except ValueError:
        return None
    session = given.get("session") if isinstance(given, dict) else None
    return session if isinstance(session, str) else None


class Stream:
    """One open WebSocket.

    session: whose token it is; None on the gateway, which has the one login. named: the session that the cookie names.
    silent:  a path that the gateway upgraded, and behind which nobody is.
    """

    def __init__(
        self, server: SimServer, face: Face, *, session: Session | None, named: str | None, silent: bool = False
    ) -> None:
        self._server = server
        self._world = server.world
        self._face = face
        self._session = session
        self._named = named
        self._silent = silent
        quirks = self._world.quirks
        began = server.clock.monotonic()
        self._ready_at = began + (quirks.gateway_ready_s if face == "gateway" else quirks.cloud_ready_s)
        self._tic_at = self._beat_at = began
        self._greeted = self._said_waiting = False
        self._standing: tuple[bool, str | None] = (False, None)
        self._account_facts: Any = None
        self._topics: dict[str, Topic] = {}
        self._notices: Notices | None = None
        self._answers: deque[Any] = deque()
        self._commands: deque[float] = deque()
        self._stalled_until = 0.0
        self._topics_stalled: list[tuple[StreamFault, float]] = []
        self._held: dict[str, dict[str, Any]] = {}
        self.close_code: int | None = None
        """Set once the server has closed it."""
        self.dropped = False
        """Set once the connection broke."""

    @property
    def over(self) -> bool:
        return self.dropped or self.close_code is not None

    # --- what comes in -----------------------------------------------------------------------------------------

    def receive(self, text: str) -> None:
        """One frame of the client's."""
        at = self._server.clock.monotonic()
        self._move()
        lost = self._face == "gateway" or self._world.quirks.cloud_loses_early_frames
        if self.over or self._silent or (lost and not self._greeted and at < self._ready_at):
            return
        text = text.strip()
        session = self._session_in_sight()
        if text == "tic":
            self._tic_at = at
            if session is not None:
                reply = {"topic": "tic", "alive": True, "id": session.id, "lastAccessed": self._wall_ms()}
                self._answers.extend([reply] * self._world.quirks.tic_copies)
        elif text == "ech+hb":
            self._tic_at = at
            self._answers.append(text)
        elif text.startswith("{"):
            self._named = _session_in(text) or self._named
        elif self._too_fast(at):
            self._answers.append({"error": "Too many requests"})
        else:
            self._command(text, at)

    def _too_fast(self, at: float) -> bool:
        while self._commands and self._commands[0] <= at - 1.0:
            self._commands.popleft()
        if len(self._commands) >= self._world.quirks.commands_per_s:
            return True
        self._commands.append(at)
        return False

    def _command(self, text: str, at: float) -> None:
        """`TOPIC[+TARGET…][+{JSON}]` (§4)."""
        before, brace, rest = text.partition("{")
        head = before.rstrip("+").split("+")
        try:
            args = json.loads(brace + rest) if brace else {}
        except ValueError:
            if self._world.quirks.malformed_command == "error":
                self._answers.append({"topic": "error", "error": f"Malformed command '{text}'"})
            return
        name, key = head[0], "+".join(head)
        if name[:1] == "u" and "s" + name[1:] in ("smd", *_TOPICS):
            topic = self._topics.pop("s" + key[1:], None)
            view = self._view(at)
            if topic is not None and view is not None:
                topic.end(view)
            return
        if name in _TOPICS:
            key = name
        elif name != "smd" or len(head) != 2:
            self._answers.append({"error": f"Topic unknown '{text}'", "code": 1})
            return
        view = self._view(at)
        if view is None or (name != "spl" and not sessions.is_ready(view.session, self._world.now)):
            return  # without a brokerage session: no data (§4)
        topic = self._topics.get(key) or (_TOPICS[name]() if name in _TOPICS else MarketTopic(head[1]))
        topic.ask(view, args if isinstance(args, dict) else {})
        self._topics[key] = topic

    # --- what goes out -----------------------------------------------------------------------------------------

    def due(self) -> list[Frame]:
        """The frames that are to be sent now, oldest first. Look at `over` afterwards."""
        self._move()
        at = self._server.clock.monotonic()
        if self.over:
            return []
        if self._server.world is not self._world:
            self.close()
            return []
        fault = self._world.faults.strike_socket(self._username)
        if fault is not None:
            self._strike_socket(fault, at)
        self._check_ends(at)
        if self.over or self._silent or at < self._ready_at:
            return []
        found = [encoded for frame in self._frames(at) for encoded in self._faulty(frame, at)]
        return [] if self.dropped or at < self._stalled_until else found

    def close(self, code: int = 1000) -> None:
        """The end, from either side: nothing more is told, market data lines are given back."""
        view = self._view(self._server.clock.monotonic())
        for topic in self._topics.values():
            if view is not None:
                topic.end(view)
        self._topics.clear()
        if self.close_code is None:
            self.close_code = code

    def _move(self) -> None:
        self._server.world.advance(self._server.clock.now())

    def _frames(self, at: float) -> Iterator[Any]:
        session = self._session_in_sight()
        if not self._greeted:
            ready = session is not None and sessions.is_ready(session, self._world.now)
            if session is not None and ready and self._is_named(session):
                yield from self._greeting(session, at)
            elif not self._said_waiting:
                self._said_waiting = True
                yield {"message": "waiting for session"}
        else:
            yield from self._session_news()
        while self._answers:
            yield self._answers.popleft()
        view = self._view(at)
        if self._greeted and view is not None:
            yield from self._account_news(view.session)
            if self._notices is None:
                self._notices = Notices(view)
            yield from self._notices.frames(view)
            for topic in list(self._topics.values()):
                yield from topic.frames(view)
        if at >= self._beat_at:
            self._beat_at = max(self._beat_at + self._world.quirks.heartbeat_s, at)
            yield {"topic": "system", "hb": self._wall_ms()}

    def _greeting(self, session: Session, at: float) -> Iterator[dict[str, Any]]:
        """§2, in the recorded order."""
        user, brokerage = session.user, session.brokerage
        assert brokerage is not None
        self._greeted = True
        self._beat_at = at
        self._standing = (True, brokerage.id)
        yield {"topic": "system", "success": user.username, "isFT": False, "isPaper": user.is_paper}
        yield from self._account_news(session)
        status = sessions.status_object(self._world, session, fail=True)
        told = {n: status[n] for n in ("connected", "authenticated", "established", "competing", "message", "fail")}
        yield {"topic": "sts", "args": told | status["serverInfo"] | {"username": user.username}}

    def _account_news(self, session: Session) -> Iterator[dict[str, Any]]:
        """`act` at the greeting, and again when the accounts change (§2)."""
        if session.brokerage is None:
            return
        row = accounts_row(session.user, session.brokerage)
        facts = (row["accounts"], row["selectedAccount"])
        if facts != self._account_facts:
            self._account_facts = facts
            yield {"topic": "act", "args": row}

    def _session_news(self) -> Iterator[dict[str, Any]]:
        """`sts` in separate partial frames (§6, §10 row 13). Subscriptions die with the brokerage session."""
        session = self._session_in_sight()
        if session is None:
            return
        brokerage = session.brokerage
        ready = sessions.is_ready(session, self._world.now)
        standing = (ready, brokerage.id if brokerage and ready else None)
        if standing == self._standing:
            return
        self._standing = standing
        self._topics.clear()
        if ready:
            yield {"topic": "sts", "args": {"authenticated": True}}
            yield {"topic": "sts", "args": {"competing": False}}
            return
        if session.competing:
            yield {"topic": "sts", "args": {"competing": True}}
        yield {"topic": "sts", "args": {"authenticated": False}}
        yield {"topic": "sts", "args": {"message": ""}}

    def _check_ends(self, at: float) -> None:
        """Closes with 1000: maintenance, a session that is over, a socket without `tic` (§7, §10 row 8)."""
        session, world = self._session_in_sight(), self._world
        user = session.user if session is not None else world.logins.first_user
        away = in_maintenance(world.quirks, user.region, world.now) or world.faults.on("maintenance-503")
        gone = session not in world.logins.sessions if session is not None else self._greeted
        if away or gone or at - self._tic_at > world.quirks.tic_timeout_s:
            self.close()

    # --- who it is ---------------------------------------------------------------------------------------------

    def _session_in_sight(self) -> Session | None:
        if self._face == "gateway" and not self._greeted:
            self._session = self._world.logins.gateway
        return self._session

    def _is_named(self, session: Session) -> bool:
        """The gateway sends its own cookie, whatever the caller's was (§1 [checked])."""
        return self._face == "gateway" or self._named == session.id

    @property
    def _username(self) -> str:
        session = self._session_in_sight()
        return session.user.username if session is not None else ""

    def _view(self, at: float) -> View | None:
        session = self._session_in_sight()
        return None if session is None else View(self._world, session, self._face, at)

    def _wall_ms(self) -> int:
        return int(self._server.clock.wall().timestamp() * 1000)

    # --- faults ------------------------------------------------------------------------------------------------

    def _strike_socket(self, fault: StreamFault, at: float) -> None:
        match fault.fault:
            case "socket-drop":
                self.close(1006)
                self.dropped = True
            case "socket-close":
                self.close(int(fault.params.get("code", 1000)))
            case _:
                assert fault.fault == "socket-stall", fault.fault
                self._stalled_until = at + float(fault.params.get("seconds", _UNTIL_WOKEN))

    def _faulty(self, frame: Any, at: float) -> Iterator[Frame]:
        """What a frame becomes under the faults that are on."""
        topic = frame.get("topic", "") if isinstance(frame, dict) else ""
        if any(until > at and fault.fits(topic, self._username) for fault, until in self._topics_stalled):
            return
        fault = self._world.faults.strike_frame(topic, self._username)
        held = self._held.pop(topic, None)
        match fault.fault if fault else None:
            case None:
                yield self._encoded(frame)
            case "frame-lose":
                pass
            case "frame-duplicate":
                yield self._encoded(frame)
                yield self._encoded(frame)
            case "frame-reorder":
                self._held[topic] = frame
            case "frame-garbage":
                assert fault is not None
                yield self._encoded(str(fault.params.get("text", '{"topic":"sor","args":[{"orderId":')))
                yield self._encoded(frame)
            case "topic-stall":
                assert fault is not None
                self._topics_stalled.append((fault, at + float(fault.params.get("seconds", _UNTIL_WOKEN))))
            case _:
                assert fault is not None
                self._strike_socket(fault, at)
        if held is not None:
            yield self._encoded(held)

    def _encoded(self, frame: Any) -> Frame:
        raw = frame.encode() if isinstance(frame, str) else _json.encode(frame)
        quirks = self._world.quirks
        opcode = quirks.gateway_frames if self._face == "gateway" else quirks.cloud_frames
        return bytes(raw) if opcode == "binary" else raw.decode()
