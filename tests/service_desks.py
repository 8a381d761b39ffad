"""The service on a real socket of loopback, in a thread, with a simulated world inside the process."""

from __future__ import annotations

import dataclasses
import http.client
import json
import threading
import uuid
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import anyio.to_thread
import pytest

from ibkit.bootstrap import Edges, run, using
from ibkit.bootstrap import mock as mock_module
from ibkit.bootstrap.connection_opening import open_connection
from ibkit.bootstrap.connections import Connection
from ibkit.bootstrap.mock import RunningClock
from ibkit.model import Secret
from ibkit.service import brokers
from ibkit.service.serving import serve
from ibkit.settings import Settings, load
from ibkit.sim.serving.inprocess import Simulator
from ibkit.sim.world import SimConfig
from ibkit.trading.risk import Layer, LimitChange
from people import People

__all__ = [
    "ORDER",
    "FastClock",
    "Served",
    "fast_mock",
    "fast_world",
    "new_key",
    "served",
    "settings_of",
    "until",
]

PACE = 8.0
"""A world whose time goes faster: IBKR's pauses of five seconds take less than one."""


class FastClock(RunningClock):
    """pace: seconds there for one of this machine's."""

    def __init__(self, start: datetime, pace: float = PACE) -> None:
        super().__init__(start)
        self._began_at = start
        self._pace = pace

    def monotonic(self) -> float:
        return super().monotonic() * self._pace

    def now(self) -> datetime:
        real = RunningClock.now(self)
        return real + (real - self._began_at) * (self._pace - 1)

    async def sleep(self, seconds: float) -> None:
        await super().sleep(seconds / self._pace)


def new_key() -> str:
    return str(uuid.uuid4())


@dataclass
class Answered:
    status: int
    headers: Mapping[str, str]
    raw: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.raw)

    @property
    def data(self) -> Any:
        return self.json["data"]

    @property
    def code(self) -> str:
        return self.json["error"]["code"]

    @property
    def fields(self) -> list[str]:
        return [each["field"] for each in self.json["error"]["details"]["errors"]]


@dataclass
class Served:
    address: str = ""
    people: People = field(default_factory=People)
    world: Simulator | None = None
    settings: Settings | None = None
    ended: int | None = None

    def ask(
        self,
        method: str,
        path: str,
        body: Any = None,
        *,
        key: str | None = None,
        token: str | None = "ada",
        headers: Mapping[str, str] | None = None,
        raw: bytes | None = None,
        within_s: float = 40,
    ) -> Answered:
        where = urlsplit(self.address)
        given = {} if token is None else {"Authorization": f"Bearer {token}"}
        if key is not None:
            given["Idempotency-Key"] = key
        if body is not None or raw is not None:
            given["Content-Type"] = "application/json"
        call = http.client.HTTPConnection(where.hostname or "", where.port, timeout=within_s)
        try:
            data = raw if raw is not None else (None if body is None else json.dumps(body).encode())
            call.request(method, path, data, {**given, **(headers or {})})
            answer = call.getresponse()
            return Answered(answer.status, {k.lower(): v for k, v in answer.getheaders()}, answer.read())
        finally:
            call.close()

    def sent(self) -> list[Any]:
        """What the simulated broker was asked to place, from its own request log."""
        assert self.world is not None
        paths = [(each.method, each.path) for each in self.world.requests]
        return [path for method, path in paths if method == "POST" and path.endswith("/orders")]

    def order(self, *, key: str | None = None, token: str = "ada", **changes: Any) -> Answered:
        return self.ask("POST", "/broker-order", {**ORDER, **changes}, key=key or new_key(), token=token)


ORDER = {"broker": "mock", "action": "buy", "symbol": "AAPL", "qty": 1, "order_type": "market", "time_in_force": "day"}


def settings_of(folder: Path, **flags: str) -> Settings:
    given = {"BROKER_PROVIDER": "mock", "IBKIT_STATE_DIR": str(folder), "APP_ENV": "test", **flags}
    settings = load(flags=given, require_method=False)
    assert settings.state_dir == folder
    return settings


def fast_world(*, pace: float = PACE, **config: Any) -> Simulator:
    start = datetime(2026, 11, 20, 15, 30, tzinfo=UTC)
    return Simulator(SimConfig(start=start, **config), FastClock(start, pace), keys=None)


@contextmanager
def served(
    settings: Settings,
    *,
    people: People | None = None,
    world: Simulator | None = None,
    wait: bool = True,
    patch: pytest.MonkeyPatch | None = None,
    open_edges: Edges | None = None,
    own_users: bool = False,
    welcome: Callable[[Secret[str], datetime], None] = lambda link, until: None,
) -> Iterator[Served]:
    """world: what the gateway's transport leads to, where the settings say ibkr. wait: until it takes orders.

    own_users: those of the service's database instead of `people`.
    """
    found = Served(people=people or People(), world=world, settings=settings)
    ready, ending = threading.Event(), threading.Event()
    failures: list[BaseException] = []

    def told(address: str) -> None:
        found.address = address
        ready.set()

    async def until() -> None:
        await anyio.to_thread.run_sync(ending.wait)

    async def main() -> None:
        who = None if own_users else found.people
        found.ended = await serve(settings, who, host="127.0.0.1", port=0, ready=told, until=until, welcome=welcome)

    def work() -> None:
        edges = open_edges or Edges()
        if world is not None:
            edges = dataclasses.replace(edges, transport=lambda _: world.transport("gateway"), clock=world.clock)
        try:
            with using(edges):
                run(main)
        except BaseException as error:  # noqa: BLE001  - shown by the test
            failures.append(error)
            ready.set()

    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    assert ready.wait(30), "the service did not start"
    try:
        if failures:
            raise failures[0]
        if wait:
            _until(lambda: found.ask("GET", "/health/broker").status == 200)
        yield found
    finally:
        ending.set()
        thread.join(30)
    if failures:
        raise failures[0]
    assert not thread.is_alive(), "the service did not end"


def _until(seen: Callable[[], bool], within_s: float = 30.0) -> None:
    waiting = threading.Event()
    for _ in range(round(within_s / 0.05)):
        if seen():
            return
        waiting.wait(0.05)  # another thread is waited for: nothing here could move a clock instead
    raise AssertionError("it did not come in time")


until = _until


@asynccontextmanager
async def unhurried(settings: Settings, **options: Any) -> AsyncIterator[Connection]:
    """Without the controls that stop whoever sends many orders a minute, as tests do."""
    async with open_connection(settings, **options) as connection:
        for name in ("repeat_breaker", "max_active_orders", "orders_per_second", "orders_per_minute"):
            await connection.books.risk.change(
                LimitChange(
                    environment=connection.environment,
                    layer=Layer.ENVIRONMENT,
                    whose=connection.environment.value,
                    name=name,
                    new="off",
                    by="tests",
                    note="many orders in a minute",
                    at=connection.clock.now(),
                )
            )
        yield connection


@contextmanager
def fast_mock() -> Iterator[list[Simulator]]:
    """The mock broker's world goes as fast, too; the worlds that were made.

    It paces nobody: at this speed a busy machine's milliseconds would be the half second between two calls.
    """
    worlds: list[Simulator] = []
    make = mock_module._world

    def made(start: datetime, clock: Any) -> Simulator:
        simulator = make(start, clock)
        simulator.world.quirks = simulator.world.quirks.with_values({"pacing": False})
        worlds.append(simulator)
        return simulator

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(mock_module, "RunningClock", FastClock)
        patch.setattr(brokers, "open_connection", unhurried)
        patch.setattr(mock_module, "_world", made)
        yield worlds
