"""Tier K: real processes, real sockets, a real simulator process, and SIGKILL at the crash points.

Each victim is forked from a warm parent, opens everything anew, sends one order, and kills itself at its point; the
next life takes the same key and must bring the intent to rest. The client's clock runs ten times as fast as the world,
so that a settle window takes six seconds. Judged by the same checker, from the simulator's ledger and request log.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import tempfile
import time
from collections import Counter
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import anyio

from ibkit.bootstrap.clients import client_of
from ibkit.client.broker import IbkrBroker
from ibkit.clock import SystemClock
from ibkit.errors import IbkitError
from ibkit.model import AccountId, Environment, Key, OrderTicket, OrderType, Side
from ibkit.settings import load
from ibkit.store.journal import SqliteJournal
from ibkit.trading.gateway import OrderGateway
from ibkit.wire.http import Request, Response

from .broker import kind_of
from .checker import Asked, Delivery, Told, judge, read_journal
from .crashes import POINTS, MortalJournal
from .schedule import place_of_files
from .workload import SPY

__all__ = ["AIMS", "Killed", "campaign"]

ACCOUNT = AccountId("DU1000001")
SPEED = 10.0
LIFE_S = 90
_QUESTION_POINTS = ("K9", "K10", "K11")

AIMS: tuple[tuple[str, ...], ...] = (
    ("K1 before",),
    ("K1 after",),
    ("K2 before",),
    ("K3 after",),
    ("K4 before",),
    ("K4 after",),
    ("K5 before",),
    ("K5 in flight",),
    ("K6 in flight",),
    ("K7 in flight",),
    ("K8 after",),
    ("K12 before",),
    ("K12 after",),
    ("K13 before",),
    ("K13 after",),
    ("K9 before",),
    ("K9 after",),
    ("K10 before",),
    ("K10 after",),
    ("K11 before",),
    ("K11 in flight",),
    ("K11 after",),
    ("K8 after", "K14 before"),
    ("K8 after", "K14 after"),
    ("K6 in flight", "K12 before", "K14 before"),
)
"""One tuple: where the first life ends, where the second does, …; a last one is left alone."""


class FastClock(SystemClock):
    """The world's hour, running faster: a wait of a minute is over in six seconds."""

    def __init__(self, start: datetime, speed: float) -> None:
        self._start, self._speed, self._begun = start, speed, time.monotonic()

    def now(self) -> datetime:
        return self._start + timedelta(seconds=self.monotonic())

    def monotonic(self) -> float:
        return (time.monotonic() - self._begun) * self._speed

    async def sleep(self, seconds: float) -> None:
        await anyio.sleep(seconds / self._speed)


class _KillAt:
    """Stands where `Mortality` stands in tier D; this one is meant."""

    def __init__(self, aim: str) -> None:
        self.aim = aim

    def point(self, name: str, when: str) -> None:
        if f"{name} {when}" == self.aim:
            os.kill(os.getpid(), signal.SIGKILL)


class _Wire:
    """The real transport, with points around each order call."""

    def __init__(self, transport: Any, mortality: _KillAt) -> None:
        self._transport = transport
        self._mortality = mortality

    async def send(self, request: Request, *, timeout_s: float) -> Response:
        kind = kind_of(request.method, request.url.split("?")[0])
        if kind not in ("place", "reply", "modify", "cancel"):
            return await self._transport.send(request, timeout_s=timeout_s)
        first = "K11" if kind == "reply" else "K5"
        self._mortality.point(first, "before")
        delays = {f"{first} in flight": 0.0, "K6 in flight": 0.001, "K7 in flight": 0.004}
        if self._mortality.aim in delays:
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(lambda: self._transport.send(request, timeout_s=timeout_s))
                await anyio.sleep(delays[self._mortality.aim])
                os.kill(os.getpid(), signal.SIGKILL)
        response = await self._transport.send(request, timeout_s=timeout_s)
        self._mortality.point("K11" if kind == "reply" else "K8", "after")
        return response

    async def aclose(self) -> None:
        await self._transport.aclose()


@dataclass(slots=True)
class Killed:
    """What the kills showed."""

    kills: int = 0
    lives: int = 0
    missed: int = 0
    seconds: float = 0.0
    points: Counter[str] = field(default_factory=Counter)
    breaches: list[str] = field(default_factory=list)
    ends: Counter[str] = field(default_factory=Counter)

    def line(self) -> str:
        found = f"violations: {'; '.join(self.breaches)}" if self.breaches else "0 violations"
        return (
            f"{self.kills} kills in {self.lives} lives ({self.missed} points not reached), {self.seconds:.0f} s,"
            f" {len(self.points)} of {len(POINTS)} points, {found}"
        )


@dataclass(frozen=True, slots=True)
class _Wish:
    key: Key
    ticket: OrderTicket


def _wish(number: int, question: bool, price: Decimal) -> _Wish:
    more: dict[str, Any] = {"order_type": OrderType.LIMIT, "limit_price": price - 10}
    if question:
        more = {"order_type": OrderType.STOP, "stop_price": price + 20}
    # The quantity is the tracer: one for each wish, small enough for the limits.
    ticket = OrderTicket(account_id=ACCOUNT, contract=SPY, side=Side.BUY, quantity=Decimal(number), **more)
    return _Wish(Key(f"chaos-kill-{number:08d}"), ticket)


def campaign(kills: int) -> Killed:
    """At least `kills` deaths, each followed by a life that settles what was left."""
    from running import running_simulator

    begun, total = time.perf_counter(), Killed()
    while total.kills < kills and total.missed < 20:
        # A new simulator after 120 orders: the quantity tells whose an order is.
        with tempfile.TemporaryDirectory(prefix="chaos-", dir=place_of_files()) as folder:
            place = Path(folder)
            with running_simulator(place, "--quirk", "pacing=no", "--quirk", "idle_timeout_s=1e9") as simulator:
                _round(simulator, place, kills, total)
    total.seconds = time.perf_counter() - begun
    return total


def _round(simulator: Any, place: Path, kills: int, total: Killed) -> None:
    clock = FastClock(datetime.fromisoformat(simulator.control("GET", "clock")["now"]), SPEED)
    path, told_path = place / "journal.db", place / "told.jsonl"
    told_path.touch()
    wishes: list[_Wish] = []
    while total.kills < kills and total.missed < 20 and len(wishes) < 120:
        number = len(wishes) + 1
        aims = AIMS[(number * 7 + total.kills // len(AIMS)) % len(AIMS)]
        wish = _wish(number, aims[0].split()[0] in _QUESTION_POINTS, Decimal(630))
        wishes.append(wish)
        for aim in (*aims, ""):
            status = _life(simulator.env("gateway"), path, told_path, clock, wish, aim)
            total.lives += 1
            if os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGKILL:
                total.kills += 1
                total.points[aim.split()[0]] += 1
            elif os.WIFSIGNALED(status) or os.WEXITSTATUS(status):
                total.breaches.append(f"X: {wish.key} at {aim or 'rest'}: ended with {status}")
            elif aim:
                total.missed += 1
    _judge(simulator, path, told_path, wishes, total)


def _life(env: Path, path: Path, told: Path, clock: FastClock, wish: _Wish, aim: str) -> int:
    """The wait status of a process that asks for `wish` and dies at `aim`."""
    sys.stdout.flush()
    child = os.fork()
    if child:
        return os.waitpid(child, 0)[1]
    code = 1
    try:
        signal.alarm(LIFE_S)
        anyio.run(_live, env, path, told, clock, wish, aim)
        code = 0
    except BaseException as error:  # noqa: BLE001  # the child ends here whatever it was, and says so
        print(f"{wish.key} at {aim!r}: {error!r}", file=sys.stderr)
    finally:
        sys.stderr.flush()
        os._exit(code)


async def _live(env: Path, path: Path, told: Path, clock: FastClock, wish: _Wish, aim: str) -> None:
    mortality = _KillAt(aim)
    settings = load(env_file=env, environ={"HOME": str(env.parent)}, directory=env.parent)
    client = client_of(settings, keep_alive=False, clock=clock)
    client._transport = _Wire(client._transport, mortality)  # type: ignore[assignment]
    async with SqliteJournal(path, clock=clock) as sql, client:
        journal = MortalJournal(
            sql,
            mortality,
            alive=lambda: None,
            disk_fault=lambda _row: "",
            wrote=lambda _text: None,  # type: ignore[arg-type]
        )
        gateway = OrderGateway(
            IbkrBroker(client),
            journal,
            environment=Environment.PAPER,
            risk=journal.risk,
            clock=clock,
            owner=str(os.getpid()),
        )
        said: dict[str, Any] = {"key": wish.key}
        try:
            outcome = await gateway.submit(wish.ticket, key=wish.key)
        except IbkitError as error:
            said["error"] = type(error).__name__
            if not aim:
                raise
        else:
            intent = outcome.intent
            said |= {"intent": intent.intent_id, "state": intent.state.value, "order": str(intent.order_id or "")}
        mortality.point("K13", "before")
        with told.open("a", encoding="utf-8") as file:
            file.write(json.dumps(said) + "\n")
        mortality.point("K13", "after")


def _judge(simulator: Any, path: Path, told_path: Path, wishes: list[_Wish], total: Killed) -> None:
    keys = {f"{float(wish.ticket.quantity):g}": wish.key for wish in wishes}
    deliveries = []
    for request in simulator.requests():
        kind = kind_of(request["method"], request["path"])
        if kind not in ("place", "reply") or (request["status"] is None and not request["body"]):
            continue
        key = ""
        if kind == "place":
            key = keys.get(f"{float(request['body']['orders'][0]['quantity']):g}", "")
        name = request["path"].rsplit("/", 1)[-1]
        deliveries.append(Delivery(request["id"], 0.0, kind, key, True, name))
    told = [
        Told(
            0.0,
            said["key"],
            said.get("intent", ""),
            said.get("state", ""),
            said.get("order", ""),
            said.get("error", ""),
        )
        for said in map(json.loads, told_path.read_text(encoding="utf-8").splitlines())
    ]
    verdict = judge(
        ledger=simulator.ledger(),
        deliveries=deliveries,
        journal=read_journal(path),
        asked=[_asked(wish) for wish in wishes],
        told=told,
        honest=True,
    )
    total.breaches += verdict.breaches
    total.ends += verdict.ends


def _asked(wish: _Wish) -> Asked:
    ticket = wish.ticket
    return Asked(
        wish.key,
        "place",
        {
            "account": str(ticket.account_id),
            "conid": int(ticket.contract.conid),
            "side": ticket.side.value,
            "quantity": ticket.quantity,
            "order_type": ticket.order_type.value,
            "limit": ticket.limit_price,
            "stop": ticket.stop_price,
            "tif": ticket.tif.value,
        },
    )
