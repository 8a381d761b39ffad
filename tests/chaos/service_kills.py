"""Tier H: `ibkit serve`, killed by SIGKILL at random moments while clients post, and what is at the broker then.

    make chaos-service KILLS=100    or    python -m tests.chaos --service-kills 6 --first 3

Three users, two clients each that send the same keys in the same order, so that every key also has a twin. A client
repeats its key until it is answered for good, however often the service dies meanwhile. Each order has a price and a
quantity that no other order has: so the simulator's own list of orders, not our word, tells how often a key was carried
out. The service's clock runs faster than the world's, as in tier K, so that a settle window takes seconds.

    duplicate   two accepted orders with the terms of one key, or one that no key asked for
    lost        told as placed and not at the broker, told as not placed and there, or never answered
"""

from __future__ import annotations

import http.client
import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from pathlib import Path
from random import Random
from typing import Any

import anyio

from ibkit.model import Environment
from ibkit.store.journal import SqliteJournal
from ibkit.trading.risk import Layer, LimitChange
from running import RunningSimulator, running_simulator

from .kill import SPEED, FastClock
from .results import place_of_files

__all__ = ["Report", "campaign", "told"]

USERS, TWINS = 3, 2
A_ROUND = 25
"""Deaths before a new simulator: at this speed a trading day is over in half an hour."""
LONGEST_LIFE_S = 6.0
ANSWER_S = 12.0
SETTLED_WITHIN_S = 180.0
_UNLIMITED = (
    "orders_per_second",
    "orders_per_minute",
    "max_active_orders",
    "max_daily_value",
    "repeat_breaker",
    "max_exposure",
    "max_position",
)
_PLACED = frozenset({"submitted", "partially_filled", "filled", "cancelled", "expired"})
_NOT_PLACED = frozenset({"rejected", "failed"})


@dataclass(slots=True)
class Wish:
    """One key. told: every answer about it; final: the last, of the life that was left alone."""

    key: str
    user: str
    quantity: int
    price: Decimal
    told: list[dict[str, Any]] = field(default_factory=list)
    final: dict[str, Any] | None = None

    @property
    def body(self) -> dict[str, Any]:
        return {
            "broker": "ibkr",
            "action": "buy",
            "symbol": "AAPL",
            "qty": self.quantity,
            "order_type": "limit",
            "limit_price": float(self.price),
        }

    @property
    def terms(self) -> tuple[str, str]:
        return f"{self.quantity:g}", f"{self.price:.2f}"


@dataclass(slots=True)
class Report:
    kills: int = 0
    keys: int = 0
    orders: int = 0
    posts: int = 0
    under_way: int = 0
    """Deaths while the service had a request that it had not answered."""
    ends: Counter[str] = field(default_factory=Counter)
    duplicate: list[str] = field(default_factory=list)
    lost: list[str] = field(default_factory=list)
    unlike: list[str] = field(default_factory=list)
    """Answers about one key that do not go together, and refusals that nobody expected."""
    seconds: float = 0.0

    @property
    def clean(self) -> bool:
        return not (self.duplicate or self.lost or self.unlike)

    def line(self) -> str:
        told = ", ".join(f"{count} {word}" for word, count in sorted(self.ends.items()))
        return (
            f"{self.kills} kills ({self.under_way} with requests under way), {self.keys} keys, {self.posts} answers,"
            f" {self.orders} orders at the broker, {len(self.duplicate)} duplicate, {len(self.lost)} lost,"
            f" {len(self.unlike)} odd answers; ends: {told}; {self.seconds:.0f} s"
        )


class Load:
    """The clients of one round. They are told nothing of the deaths."""

    def __init__(self, port: int, wishes: dict[str, list[Wish]]) -> None:
        self.port = port
        self.wishes = wishes
        self.ending = threading.Event()
        self.posts = 0
        self.waiting = 0
        self._lock = threading.Lock()
        self._threads = [
            threading.Thread(target=self._work, args=(user,), daemon=True) for user in wishes for _ in range(TWINS)
        ]

    def start(self) -> None:
        for thread in self._threads:
            thread.start()

    def join(self, within_s: float) -> bool:
        ends = time.monotonic() + within_s
        for thread in self._threads:
            thread.join(max(0.0, ends - time.monotonic()))
        return not any(thread.is_alive() for thread in self._threads)

    def _work(self, user: str) -> None:
        number = 0
        while not self.ending.is_set():
            with self._lock:
                if number == len(self.wishes[user]):
                    self.wishes[user].append(_wish(user, number))
                wish = self.wishes[user][number]
            self._until_answered(wish)
            number += 1

    def _until_answered(self, wish: Wish) -> None:
        """The same key again and again, as the guide tells clients to do; `_settle` asks once more at the end."""
        while True:
            told = self.post(wish)
            if told is not None and not told["again"]:
                return
            if self.ending.is_set() and told is not None:
                return
            time.sleep(0.05)

    def post(self, wish: Wish) -> dict[str, Any] | None:
        """What was answered; None where there was nobody, or who died meanwhile."""
        with self._lock:
            self.waiting += 1
        try:
            status, answer = _ask(self.port, "POST", "/broker-order", wish.user, wish.body, wish.key)
        except (OSError, http.client.HTTPException, ValueError):
            return None
        finally:
            with self._lock:
                self.waiting -= 1
        data = answer.get("data") or {}
        error = answer.get("error") or data.get("error") or {}
        told = {
            "http": status,
            "id": data.get("id") or (answer.get("error") or {}).get("details", {}).get("id"),
            "status": data.get("status"),
            "order": data.get("broker_order_id"),
            "code": error.get("code"),
            # Not settled, in the hands of a twin, or nobody is signed in: the key is to be repeated.
            "again": status in (202, 409, 424, 429, 503, 504) or data.get("status") == "pending",
        }
        with self._lock:
            self.posts += 1
            wish.told.append(told)
        return told


def _wish(user: str, number: int) -> Wish:
    lane = int(user.rpartition("-")[2])
    price = Decimal("255.00") + Decimal(number % 1_000) / 100
    return Wish(f"{user}-key-{number:08d}", user, 1 + lane + USERS * (number // 1_000), price)


def _ask(port: int, method: str, path: str, user: str, body: Any = None, key: str | None = None) -> tuple[int, Any]:
    headers = {"Authorization": f"Bearer {user}"}
    if key is not None:
        headers |= {"Idempotency-Key": key, "Content-Type": "application/json"}
    call = http.client.HTTPConnection("127.0.0.1", port, timeout=ANSWER_S)
    try:
        call.request(method, path, None if body is None else json.dumps(body).encode(), headers)
        answer = call.getresponse()
        return answer.status, json.loads(answer.read())
    finally:
        call.close()


def campaign(kills: int, seed: int = 0, *, bug: str = "") -> Report:
    """At least `kills` deaths, in rounds of 25 with a broker of its own each. bug: one of `service_life.BUGS`."""
    random, report, begun = Random(seed), Report(), time.monotonic()
    while report.kills < kills:
        with tempfile.TemporaryDirectory(prefix="chaos-", dir=place_of_files()) as folder:
            place = Path(folder)
            with running_simulator(place / "sim", "--quirk", "pacing=no", "--quirk", "idle_timeout_s=1e9") as simulator:
                _round(simulator, place / "home", min(A_ROUND, kills - report.kills), random, report, bug)
    report.seconds = time.monotonic() - begun
    return report


def told(kills: int, seed: int, bug: str) -> int:
    """The same, printed: 0 where nothing was broken."""
    report = campaign(kills, seed, bug=bug)
    print(report.line())
    for word in (*report.duplicate, *report.lost, *report.unlike):
        print(f"  {word}")
    return 0 if report.clean else 1


def _round(simulator: RunningSimulator, home: Path, kills: int, random: Random, report: Report, bug: str) -> None:
    home.mkdir()
    start = simulator.control("GET", "clock")["now"]
    clock = FastClock(datetime.fromisoformat(start), SPEED, begun=(begun := time.monotonic()))
    anyio.run(_lift_limits, home / ".ibkit" / "journal.db", clock)
    wishes: dict[str, list[Wish]] = {f"trader-{number}": [] for number in range(USERS)}
    load = Load(_free_port(), wishes)
    words = (start, str(begun), str(SPEED), bug, simulator.env("gateway"))
    load.start()
    for _ in range(kills):
        with _life(home, load.port, *words) as process:
            time.sleep(random.uniform(0.0, LONGEST_LIFE_S))
            report.under_way += load.waiting > 0
            os.kill(process.pid, signal.SIGKILL)
            process.wait()
        report.kills += 1
    with _life(home, load.port, *words):
        load.ending.set()
        everything = [wish for each in wishes.values() for wish in each]
        if not load.join(SETTLED_WITHIN_S):
            report.lost.append("a client was not answered by a service that was left alone")
        _settle(load, everything)
        _judge(simulator, load.port, everything, report)
    report.posts += load.posts


def _settle(load: Load, wishes: list[Wish]) -> None:
    """Each key once more, until it is told for good."""
    ends = time.monotonic() + SETTLED_WITHIN_S
    for wish in wishes:
        while time.monotonic() < ends:
            told = load.post(wish)
            if told is not None and not told["again"]:
                wish.final = told
                break
            time.sleep(0.2)


def _judge(simulator: RunningSimulator, port: int, wishes: list[Wish], report: Report) -> None:
    there: dict[tuple[str, str], list[dict[str, Any]]] = {}
    for row in simulator.ledger():
        if row["accepted"]:
            there.setdefault((f"{float(row['quantity']):g}", f"{float(row['limit']):.2f}"), []).append(row)
    asked = {wish.terms: wish for wish in wishes}
    assert len(asked) == len(wishes), "two wishes have the same terms: nothing could be told from them"
    report.duplicate += [f"an order that no key asked for: {terms}" for terms in there if terms not in asked]
    report.orders += sum(len(rows) for rows in there.values())
    report.keys += len(wishes)
    for wish in wishes:
        _judge_one(wish, there.get(wish.terms, []), report)
    for user in {wish.user for wish in wishes}:
        kept = set(_listed(port, user))
        known = {wish.final["id"] for wish in wishes if wish.user == user and wish.final and wish.final["id"]}
        report.lost += [f"{name} is in no list of {user}" for name in known - kept]


def _judge_one(wish: Wish, rows: list[dict[str, Any]], report: Report) -> None:
    final = wish.final
    if len(rows) > 1:
        report.duplicate.append(f"{wish.key}: orders {[row['order_id'] for row in rows]}")
    if final is None:
        report.lost.append(f"{wish.key}: never answered; last {wish.told[-1:]}")
        return
    word = final["status"] or final["code"]
    report.ends[word] += 1
    if word in _PLACED and (not rows or str(rows[0]["order_id"]) != final["order"]):
        report.lost.append(f"{wish.key}: told {word} as {final['order']}, at the broker {rows}")
    elif word in _NOT_PLACED and rows:
        report.lost.append(f"{wish.key}: told {word}, yet it is order {rows[0]['order_id']}")
    elif word not in _PLACED | _NOT_PLACED | {"unknown"}:
        report.unlike.append(f"{wish.key}: {final}")
    ids = {told["id"] for told in wish.told if told["id"]}
    orders = {told["order"] for told in wish.told if told["order"]}
    if len(ids) > 1 or len(orders) > 1:
        report.unlike.append(f"{wish.key}: answers name {ids} and {orders}")


def _listed(port: int, user: str) -> Iterator[str]:
    cursor = ""
    while True:
        _, answer = _ask(port, "GET", f"/broker-order?broker=ibkr&limit=200{cursor}", user)
        yield from (each["id"] for each in answer["data"])
        if answer["next"] is None:
            return
        cursor = f"&cursor={answer['next']}"


@contextmanager
def _life(
    home: Path, port: int, start: str, begun: str, speed: str, bug: str, env: Path
) -> Iterator[subprocess.Popen[bytes]]:
    """From the moment that it listens; killed at the end. What it printed is looked through for tracebacks."""
    log = home / f"log-{time.monotonic_ns()}"
    words = [sys.executable, str(Path(__file__).with_name("service_life.py")), start, begun, speed, bug]
    words += ["--env-file", str(env), "serve", "--port", str(port)]
    given = {"PATH": os.environ.get("PATH", ""), "HOME": str(home), "IBKIT_STATE_DIR": str(home / ".ibkit")}
    with log.open("w") as out, subprocess.Popen(words, stdout=out, stderr=out, cwd=home, env=given) as process:
        try:
            ends = time.monotonic() + 60
            while "Serving http" not in log.read_text():
                assert process.poll() is None, log.read_text()
                assert time.monotonic() < ends, "the service did not start"
                time.sleep(0.02)
            yield process
        finally:
            process.kill()
    assert "Traceback" not in log.read_text(), log.read_text()


def _free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])


async def _lift_limits(path: Path, clock: FastClock) -> None:
    """Those that hundreds of orders in a few minutes would meet; every control still runs."""
    path.parent.mkdir(mode=0o700)
    async with SqliteJournal(path, clock=clock, run_inline=True) as journal:
        for name in _UNLIMITED:
            change = LimitChange(
                environment=Environment.PAPER,
                layer=Layer.ENVIRONMENT,
                whose=Environment.PAPER.value,
                name=name,
                new="off",
                by="chaos",
                note="tier H",
                at=clock.now(),
            )
            await journal.risk.change(change)
