"""The service beside the gateway that it stands on: what HTTP adds to an order, how fast it tells its state.

    python -m benchmarks.service             over a socket
    python -m benchmarks.service in-turn     CPU alone, of POST and of the gateway in turn

The broker answers at once, so all of the time is ours. Client and server are processes of their own, a core each.
"""

from __future__ import annotations

import json
import os
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import anyio

from benchmarks.desk import AAPL, ACCOUNT, ROOT, DeskBroker, gateway, key, ticket, widen
from ibkit.clock import SystemClock
from ibkit.model import AccountId, Environment, Secret
from ibkit.service import serving
from ibkit.service.brokers import Capability
from ibkit.service.rates import Rates
from ibkit.settings import Settings, load
from ibkit.store import open_journal
from ibkit.users.principal import Principal, Role, Scope

ORDERS = 300
IN_TURN, _WARM = 300, 40
WISH = {"broker": "bench", "action": "buy", "symbol": "AAPL", "qty": 1, "order_type": "limit"}
LOOKS = 8_000
CONNECTIONS = 4
AT_ONCE = 20
"""Requests sent before the first answer is read: the client's own time does not count."""
PAUSE_S = 0.02
"""Between two orders: the one before is filled meanwhile, so that few stand open, as in real life."""


class Anybody:
    async def authenticate(self, token: Secret[str], *, address: str) -> Principal:
        scopes = frozenset({Scope.READ, Scope.ORDERS_PAPER})
        now = datetime.now(UTC)
        return Principal(
            user_id="bench", name="bench", role=Role.TRADER, scopes=scopes, token_id="bench", signed_in_at=now
        )


class Bench:
    """An adapter whose broker answers at once."""

    name = "bench"
    capabilities = frozenset({Capability.STOCKS})
    environment = Environment.PAPER

    def __init__(self, folder: Path) -> None:
        self.clock = SystemClock()
        self.broker = DeskBroker(self.clock)
        self.folder = folder

    def missing(self) -> tuple[str, ...]:
        return ()

    @asynccontextmanager
    async def open(self) -> AsyncIterator[Any]:
        async with open_journal(self.folder / "service.sqlite", clock=self.clock) as self.journal:
            await widen(self.journal, self.clock.now())
            self.gateway = gateway(self.broker, self.journal)
            await self.gateway.submit(ticket(), key=key("first", 0))  # compares journal and broker
            yield self

    async def desk(self, account_id: AccountId | None = None) -> Any:
        async def underlying(symbol: str) -> Any:
            return AAPL

        broker = SimpleNamespace(underlying=underlying, username=self.broker.username)
        return SimpleNamespace(gateway=self.gateway, broker=broker, account_id=ACCOUNT)

    async def keep(self, stop: anyio.Event, *, watch: bool) -> None:
        while not stop.is_set():
            await self.end_open_orders()
            await anyio.sleep(PAUSE_S)

    async def end_open_orders(self) -> None:
        for intent in await self.journal.open_orders(ACCOUNT):
            if intent.order_id is not None:
                self.broker.fill(intent.order_id)
                await self.gateway.refreshed(intent)


async def direct(bench: Bench) -> float:
    """Seconds of an order given to the gateway itself: the median."""
    taken = []
    for number in range(ORDERS):
        began = time.perf_counter()
        outcome = await bench.gateway.submit(ticket(number), key=key("direct", number), user="bench")
        taken.append(time.perf_counter() - began)
        assert outcome.error is None, outcome
        await anyio.sleep(PAUSE_S)
    return statistics.median(taken)


async def _measure() -> dict[str, float]:
    serving.Rates = partial(Rates, limit=10**9)  # type: ignore[assignment, attr-defined]
    with tempfile.TemporaryDirectory(prefix="bench-", dir=ROOT) as name:
        folder = Path(name)
        settings = _settings(name)
        bench, ready = Bench(folder), anyio.Event()
        told: dict[str, Any] = {}
        whole = serving.open_service
        serving.open_service = lambda *a, **k: whole(*a, **k, adapters=[bench])

        def served(address: str) -> None:
            told["address"] = address
            ready.set()

        async def until() -> None:
            await ready.wait()
            address = str(told["address"])
            told["memory_start"] = _memory_mb()
            await anyio.to_thread.run_sync(lambda: _client(address, "orders", 20))
            cpu = time.process_time()
            told.update(await anyio.to_thread.run_sync(lambda: _client(address, "orders", 0)))
            told["posted_cpu"] = (time.process_time() - cpu) / ORDERS
            told.update(await anyio.to_thread.run_sync(lambda: _client(address, "status", 0)))
            cpu = time.process_time()
            told["direct"] = await direct(bench)
            told["direct_cpu"] = (time.process_time() - cpu) / ORDERS
            told["memory_end"] = _memory_mb()

        await serving.serve(
            settings,
            Anybody(),
            host="127.0.0.1",
            port=0,
            ready=served,
            until=until,
        )
    return {
        **{k: v for k, v in told.items() if k != "address"},
        "added": told["posted"] - told["direct"],
        "added_cpu": told["posted_cpu"] - told["direct_cpu"],
    }


async def _in_turn() -> dict[str, float]:
    """CPU seconds of an order given to the application itself, and of one given to the gateway, in turn: the medians.

    Without a socket and without a client: what other programs do on the machine counts least here.
    """
    serving.Rates = partial(Rates, limit=10**9)  # type: ignore[assignment, attr-defined]
    posted: list[float] = []
    given: list[float] = []
    with tempfile.TemporaryDirectory(prefix="bench-", dir=ROOT) as name:
        bench = Bench(Path(name))
        async with serving.open_service(_settings(name), Anybody(), watch=False, adapters=[bench]) as running:
            for number in range(IN_TURN + _WARM):
                began = time.process_time()
                await _post(running.app, number)
                between = time.process_time()
                await bench.end_open_orders()
                again = time.process_time()
                outcome = await bench.gateway.submit(ticket(number), key=key("turn", number), user="bench")
                ended = time.process_time()
                assert outcome.error is None, outcome
                await bench.end_open_orders()
                if number >= _WARM:
                    posted.append(between - began)
                    given.append(ended - again)
    return {
        "turn_posted_cpu": statistics.median(posted),
        "turn_direct_cpu": statistics.median(given),
        "turn_ratio": statistics.median(a / b for a, b in zip(posted, given, strict=True)),
    }


async def _post(app: Any, number: int) -> None:
    """One order as uvicorn would hand it over."""
    wish = {**WISH, "limit_price": 187.25 + number % 500 / 100}
    body = json.dumps(wish).encode()
    headers = [
        (b"host", b"x"),
        (b"authorization", b"Bearer bench"),
        (b"idempotency-key", f"bench-in-turn-{number:010}".encode()),
        (b"content-type", b"application/json"),
        (b"content-length", str(len(body)).encode()),
    ]
    scope = {
        "type": "http",
        "asgi": {"version": "3.0"},
        "http_version": "1.1",
        "method": "POST",
        "path": "/broker-order",
        "raw_path": b"/broker-order",
        "query_string": b"",
        "root_path": "",
        "scheme": "http",
        "server": ("127.0.0.1", 80),
        "client": ("127.0.0.1", 1),
        "headers": headers,
        "state": {},
    }
    left = [{"type": "http.request", "body": body, "more_body": False}]
    answers: list[Any] = []

    async def receive() -> Any:
        if not left:
            await anyio.sleep_forever()
        return left.pop()

    async def send(message: Any) -> None:
        answers.append(message)

    await app(scope, receive, send)
    assert answers[0]["status"] == 201, answers


def _settings(folder: str) -> Settings:
    flags = {"BROKER_PROVIDER": "ibkr", "IBKR_AUTH_METHOD": "oauth2", "IBKIT_STATE_DIR": folder, "APP_ENV": "test"}
    return load(flags=flags, require_method=False)


def _memory_mb() -> float:
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("VmRSS"):
            return int(line.split()[1]) / 1024
    return 0.0


def _client(address: str, what: str, count: int) -> dict[str, float]:
    command = [sys.executable, "-m", "benchmarks.service", what, address, str(count)]
    done = subprocess.run(command, check=False, capture_output=True, text=True, cwd=ROOT)
    assert done.returncode == 0, done.stderr
    return dict(json.loads(done.stdout.splitlines()[-1]))


# -- the client, a process of its own ---------------------------------------------------------------------------------


def connect(address: str) -> socket.socket:
    host, _, port = address.removeprefix("http://").partition(":")
    line = socket.create_connection((host, int(port)))
    line.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return line


def exchange(line: socket.socket, request: bytes, count: int = 1) -> list[tuple[int, bytes]]:
    """The answers to `count` of this request, sent in one go."""
    line.sendall(request * count)
    got = b""
    answers: list[tuple[int, bytes]] = []
    while len(answers) < count:
        head, end, body = got.partition(b"\r\n\r\n")
        length = int(head.lower().split(b"content-length: ")[1].split(b"\r\n")[0]) if end else 0
        if not end or len(body) < length:
            got += line.recv(1 << 20)
            continue
        answers.append((int(head.split()[1]), body[:length]))
        got = body[length:]
    return answers


def orders(address: str, count: int) -> dict[str, float]:
    """Seconds of a POST: the median and the 99th percentile."""
    line, taken = connect(address), []
    for number in range(count or ORDERS):
        price = 187.25 + number % 500 / 100
        wish = {**WISH, "limit_price": price}
        body = json.dumps(wish).encode()
        request = (
            f"POST /broker-order HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer bench\r\n"
            f"Idempotency-Key: bench-{os.getpid()}-{number:010}\r\nContent-Type: application/json\r\n"
            f"Content-Length: {len(body)}\r\n\r\n"
        ).encode() + body
        began = time.perf_counter()
        ((status, answer),) = exchange(line, request)
        taken.append(time.perf_counter() - began)
        assert status in (201, 202), answer
        assert status == 201 or number == 0, answer
        time.sleep(PAUSE_S)
    taken.sort()
    return {"posted": statistics.median(taken), "posted_p99": taken[int(len(taken) * 0.99)]}


def status(address: str, count: int) -> dict[str, float]:
    """Answers a second over several connections at once."""
    request = b"GET /api/ibkr/status HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer bench\r\n\r\n"
    each = (count or LOOKS) // CONNECTIONS

    def look() -> None:
        line = connect(address)
        for _ in range(each // AT_ONCE):
            assert {status for status, _ in exchange(line, request, AT_ONCE)} == {200}

    threads = [threading.Thread(target=look) for _ in range(CONNECTIONS)]
    began = time.perf_counter()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return {"status_per_s": each * CONNECTIONS / (time.perf_counter() - began)}


def measure() -> dict[str, float]:
    """Seconds, answers a second, megabytes; from a process of its own."""
    found: dict[str, float] = {}
    for words in ((), ("in-turn",)):
        command = [sys.executable, "-m", "benchmarks.service", *words]
        done = subprocess.run(command, check=True, capture_output=True, text=True, cwd=ROOT)
        found |= json.loads(done.stdout.splitlines()[-1])
    return found


if __name__ == "__main__":
    if sys.argv[1:] == ["in-turn"]:
        from ibkit.bootstrap import run

        print(json.dumps(run(_in_turn)))
    elif len(sys.argv) > 1:
        work = {"orders": orders, "status": status}[sys.argv[1]]
        print(json.dumps(work(sys.argv[2], int(sys.argv[3]))))
    else:
        from ibkit.bootstrap import run

        print(json.dumps(run(_measure)))
