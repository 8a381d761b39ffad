"""The simulator without sockets: for tests, and for programs that want a broker in their own process."""

from __future__ import annotations

import gzip
import json
from collections import deque
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import anyio
import anyio.lowlevel

from ibkit.clock import ManualClock
from ibkit.errors import OutcomeUnknown, Unreachable
from ibkit.sim.logins.logins import Logins
from ibkit.sim.logins.users import DEFAULT_USERS, Directory, UserKeys
from ibkit.sim.serving.control import PREFIX, Control
from ibkit.sim.serving.server import Face, Outcome, SimServer
from ibkit.sim.serving.simclock import SharedClock
from ibkit.sim.serving.stream import Frame, Stream, open_stream
from ibkit.sim.world import SimConfig, World
from ibkit.wire.http import Request, Response

__all__ = ["CLOUD_URL", "GATEWAY_URL", "TRADING_MOMENT", "SimSocket", "SimTransport", "Simulator"]

GATEWAY_URL = "https://localhost:5000"
CLOUD_URL = "https://localhost:5001"
_TURNS = 12
"""So many turns of the loop let every task get as far as it can."""
TRADING_MOMENT = datetime(2026, 11, 20, 15, 30, tzinfo=UTC)
"""A Friday, 10:30 in New York."""


class Simulator:
    """A world, its server core and a clock that test and client share.

    keys: the folder of key material (`users.py` tells its layout); None for the gateway face alone, which needs none.
    """

    def __init__(self, config: SimConfig, clock: ManualClock, *, keys: Path | None) -> None:
        self.clock = clock
        self.directory = None if keys is None else Directory(keys, seed=config.seed)
        directory = self.directory
        self.server = SimServer(
            lambda: World.create(config, Logins(DEFAULT_USERS) if directory is None else directory.logins()),
            SharedClock(clock),
            public_urls=(CLOUD_URL, CLOUD_URL.replace("localhost", "127.0.0.1")),
        )
        self._control = Control(self.server)
        self.up = True
        """Set to False: nothing listens any more, every request is refused."""
        self.stirred = anyio.Event()
        """Set, and made anew, when something happened that a WebSocket may have to tell."""

    @classmethod
    def at(cls, start: datetime = TRADING_MOMENT, *, keys: Path, **config: Any) -> Simulator:
        """A simulator whose world begins at `start`, with a clock of its own; the rest as in `SimConfig`."""
        return cls(SimConfig(start=start, **config), ManualClock(start), keys=keys)

    @property
    def world(self) -> World:
        return self.server.world

    @property
    def users(self) -> tuple[UserKeys, ...]:
        """Settings of each user, the first one first."""
        return () if self.directory is None else tuple(self.directory.credentials())

    @property
    def requests(self) -> list[Any]:
        """The request log, oldest first."""
        return self.server.log.entries()

    def transport(self, face: Face) -> SimTransport:
        return SimTransport(self, face)

    def control(self, method: str, name: str, body: Any = None) -> Any:
        """A control call, e.g. `control("POST", "clock", {"advance": 60})`; ValueError if it is refused."""
        raw = b"" if body is None else json.dumps(body, default=str).encode()
        status, answer = self._control.handle(method, PREFIX + name, raw)
        if status != 200:
            raise ValueError(json.loads(answer).get("error"))
        return json.loads(answer)

    def advance(self, seconds: float) -> None:
        """Let time pass for client and world."""
        self.clock.advance(seconds)
        self.world.advance(self.clock.now())
        self.stir()

    def stir(self) -> None:
        """Let the readers of WebSockets look again."""
        stirred, self.stirred = self.stirred, anyio.Event()
        stirred.set()

    async def pass_time(self, seconds: float, *, step_s: float = 0.5) -> None:
        """Let time pass in steps, and everybody who reads a WebSocket have their turn after each."""
        left = seconds
        while True:
            self.stir()
            for _ in range(_TURNS):
                await anyio.lowlevel.checkpoint()
            if left <= 0:
                return
            self.advance(min(step_s, left))
            left -= step_s


class SimTransport:
    """Carries requests to the server core as a client's transport would, without a socket."""

    def __init__(self, simulator: Simulator, face: Face, *, peer: str = "127.0.0.1") -> None:
        self._simulator = simulator
        self._face: Face = face
        self._peer = peer

    async def send(self, request: Request, *, timeout_s: float) -> Response:
        """The answer, after as much of the shared clock as it takes.

        Raises Unreachable when nothing listens, OutcomeUnknown when the connection breaks or the time is up.
        """
        simulator = self._simulator
        if not simulator.up:
            raise Unreachable("connection refused", details={"cause": "refused"})
        if request.method in ("POST", "PUT", "PATCH") and not _has(request, "content-length"):
            # Every HTTP library sends the length of a body it holds.
            request = Request(
                request.method, request.url, {**request.headers, "Content-Length": str(len(request.body))}, request.body
            )
        outcome = simulator.server.handle(request, face=self._face, peer=self._peer)
        simulator.stir()
        if outcome.late:
            outcome = await self._late(request, outcome, timeout_s)
        if outcome.delay_s > timeout_s:
            await simulator.clock.sleep(timeout_s)
            raise OutcomeUnknown(f"no answer within {timeout_s:g} s", details={"cause": "timeout"})
        if outcome.delay_s:
            await simulator.clock.sleep(outcome.delay_s)
        if outcome.drop or outcome.cut is not None:
            cause = "broken" if outcome.drop else "cut"
            raise OutcomeUnknown("the connection broke before the whole answer was there", details={"cause": cause})
        return _response(outcome)

    async def _late(self, request: Request, outcome: Outcome, timeout_s: float) -> Outcome:
        simulator = self._simulator

        def carry_out() -> Outcome:
            return simulator.server.handle(request, face=self._face, peer=self._peer, late=True)

        if outcome.delay_s > timeout_s:
            simulator.server.later(outcome.delay_s, carry_out)
            await simulator.clock.sleep(timeout_s)
            raise OutcomeUnknown(f"no answer within {timeout_s:g} s", details={"cause": "timeout"})
        await simulator.clock.sleep(outcome.delay_s)
        return carry_out()

    async def dial(self, request: Request, *, timeout_s: float) -> SimSocket:
        """A WebSocket. Raises Unreachable, with `details["status"]` where the upgrade was refused."""
        simulator = self._simulator
        if not simulator.up:
            raise Unreachable("connection refused", code="E-API-CONNECT", details={"cause": "refused"})
        opened = open_stream(simulator.server, request, face=self._face, peer=self._peer)
        if isinstance(opened, Stream):
            return SimSocket(simulator, opened)
        details = {"cause": "broken"} if opened.drop else {"cause": "refused", "status": opened.status}
        raise Unreachable("the WebSocket was refused", code="E-API-CONNECT", details=details)

    async def aclose(self) -> None:
        """Nothing to close."""


class SimSocket:
    """A WebSocket without a socket: what the core says, at the shared clock's pace, which only others move."""

    def __init__(self, simulator: Simulator, stream: Stream) -> None:
        self._simulator = simulator
        self._stream = stream
        self._arrived: deque[Frame] = deque()

    async def send(self, text: str) -> None:
        """Raises Unreachable on a socket that is over."""
        if self._stream.over:
            raise self._closed()
        self._stream.receive(text)
        self._simulator.stir()

    async def receive(self, timeout_s: float) -> Frame | None:
        """The next frame; None when the time is up. Raises Unreachable on a socket that is over."""
        clock = self._simulator.clock
        until = clock.monotonic() + timeout_s
        await anyio.lowlevel.checkpoint()
        while True:
            self._arrived.extend(self._stream.due())
            if self._arrived:
                return self._arrived.popleft()
            if self._stream.over or not self._simulator.up:
                raise self._closed()
            if clock.monotonic() >= until:
                return None
            await self._simulator.stirred.wait()

    async def aclose(self) -> None:
        self._stream.close()

    def _closed(self) -> Unreachable:
        broken = self._stream.dropped or not self._simulator.up
        details = {"cause": "broken"} if broken else {"cause": "closed", "code": self._stream.close_code}
        return Unreachable("the WebSocket is closed", code="E-API-CONNECT", details=details)


def _has(request: Request, name: str) -> bool:
    return any(given.lower() == name for given in request.headers)


def _response(outcome: Outcome) -> Response:
    headers = {name.lower(): value for name, value in outcome.headers}
    body = outcome.body
    if headers.pop("content-encoding", "") == "gzip":
        body = gzip.decompress(body)
    return Response(outcome.status, headers, body)
