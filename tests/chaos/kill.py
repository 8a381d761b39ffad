"""Tier K: real processes, real sockets, a real simulator process; SIGKILL, SIGSTOP and used-up limits at the points.

Each victim is forked from a warm parent, opens everything anew, sends one order, and meets its fate at its point; the
next life takes the same key and must bring the intent to rest. The client's clock runs twelve times as fast as the
world, so that a settle window takes five seconds; several victims, each with a broker of its own, wait side by side.
Judged by the same checker, from the simulator's ledger and request log.

    K4 after        killed there            stop K4 after   stopped there, its lane taken over, and then continued
    full K4 before  no file grows any more  files K5 before no descriptor is left
"""

from __future__ import annotations

import json
import os
import pickle
import resource
import shutil
import signal
import sys
import tempfile
import time
import traceback
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
from ibkit.trading.risk import Layer, LimitChange
from ibkit.wire.http import Request, Response

from .broker import kind_of
from .checker import Asked, Delivery, Told, judge, read_journal
from .crashes import POINTS, MortalJournal
from .results import place_of_files
from .workload import SPY

__all__ = ["AIMS", "Killed", "campaign"]

ACCOUNT = AccountId("DU1000001")
SPEED = 12.0
LIFE_S = 90
_QUESTION_POINTS = ("K9", "K10", "K11")
_MILDER = ("stop", "full", "files")
"""Fates that a process survives."""

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
    ("stop K2 after",),
    ("stop K3 after",),
    ("stop K4 after",),
    ("stop K12 before",),
    ("full K1 before",),
    ("full K4 before",),
    ("full K12 before",),
    ("full K9 before",),
    ("files K1 before",),
    ("files K4 after",),
    ("files K5 before",),
)
"""One tuple: where the first life ends, where the second does, …; a last one is left alone."""
LANES = 10
"""Rounds side by side: most of a life is waiting."""


class FastClock(SystemClock):
    """The world's hour, running faster: a wait of a minute is over in six seconds.

    begun: `time.monotonic()` at `start`, the same for all processes of a machine; None for now.
    """

    def __init__(self, start: datetime, speed: float, *, begun: float | None = None) -> None:
        self._start, self._speed, self._begun = start, speed, time.monotonic() if begun is None else begun

    def now(self) -> datetime:
        return self._start + timedelta(seconds=self.monotonic())

    def monotonic(self) -> float:
        return (time.monotonic() - self._begun) * self._speed

    async def sleep(self, seconds: float) -> None:
        await anyio.sleep(seconds / self._speed)


class _KillAt:
    """Stands where `Mortality` stands in tier D; this one is meant."""

    def __init__(self, aim: str) -> None:
        fate, _, self.aim = aim.partition(" ") if aim.startswith(_MILDER) else ("", "", aim)
        self.fate = fate
        self.met = False

    def point(self, name: str, when: str) -> None:
        if f"{name} {when}" != self.aim or self.met:
            return
        self.met = True
        match self.fate:
            case "stop":
                os.kill(os.getpid(), signal.SIGSTOP)
            case "full":
                self._limit(resource.RLIMIT_FSIZE, 1)
            case "files":
                self._limit(resource.RLIMIT_NOFILE, len(list(Path("/dev/fd").iterdir())) - 1)
            case _:
                os.kill(os.getpid(), signal.SIGKILL)

    @staticmethod
    def _limit(what: int, most: int) -> None:
        resource.setrlimit(what, (most, resource.getrlimit(what)[1]))

    @staticmethod
    def relieve() -> None:
        """There is room again: a soft limit goes up to the hard one."""
        for what in (resource.RLIMIT_FSIZE, resource.RLIMIT_NOFILE):
            hard = resource.getrlimit(what)[1]
            resource.setrlimit(what, (hard, hard))


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
    survived: Counter[str] = field(default_factory=Counter)
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
            f" {len(self.points)} of {len(POINTS)} points, {dict(self.survived)}, {found}"
        )

    def add(self, other: Killed) -> None:
        self.kills += other.kills
        self.lives += other.lives
        self.missed += other.missed
        self.survived += other.survived
        self.points += other.points
        self.breaches += other.breaches
        self.ends += other.ends


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


def campaign(kills: int, lanes: int = LANES) -> Killed:
    """At least `kills` deaths, each followed by a life that settles what was left, in `lanes` rounds side by side."""
    begun, total = time.perf_counter(), Killed()
    lanes = max(1, min(lanes, kills // 5))
    with tempfile.TemporaryDirectory(prefix="chaos-", dir=place_of_files()) as folder:
        places = [Path(folder) / f"lane-{lane}.pickle" for lane in range(lanes)]
        children = [_fork_lane(place, lane, -(-kills // lanes)) for lane, place in enumerate(places)]
        for child, place in zip(children, places, strict=True):
            _, status = os.waitpid(child, 0)
            if os.waitstatus_to_exitcode(status) or not place.exists():
                total.breaches.append(f"X: a lane of the kill tier ended with {status}")
            else:
                total.add(pickle.loads(place.read_bytes()))
    if total.kills < kills:
        total.breaches.append(f"X: only {total.kills} of {kills} kills: {total.missed} points were not reached")
    total.seconds = time.perf_counter() - begun
    return total


def _fork_lane(place: Path, lane: int, kills: int) -> int:
    sys.stdout.flush()
    child = os.fork()
    if child:
        return child
    code = 1
    try:
        place.write_bytes(pickle.dumps(_lane(kills, lane)))
        code = 0
    except BaseException:  # noqa: BLE001  # the child ends here whatever it was, and says so
        traceback.print_exc()
    finally:
        sys.stderr.flush()
        os._exit(code)


def _lane(kills: int, lane: int) -> Killed:
    from running import running_simulator

    total = Killed()
    while total.kills < kills and total.missed < 20:
        # A new simulator after 120 orders: the quantity tells whose an order is.
        with tempfile.TemporaryDirectory(prefix="chaos-", dir=place_of_files()) as folder:
            place = Path(folder)
            with running_simulator(place, "--quirk", "pacing=no", "--quirk", "idle_timeout_s=1e9") as simulator:
                _round(simulator, place, kills, total, lane)
    return total


def _round(simulator: Any, place: Path, kills: int, total: Killed, lane: int) -> None:
    clock = FastClock(datetime.fromisoformat(simulator.control("GET", "clock")["now"]), SPEED)
    path, told_path = place / "journal.db", place / "told.jsonl"
    told_path.touch()
    anyio.run(_lift_limits, path, clock)
    wishes: list[_Wish] = []
    while total.kills < kills and total.missed < 20 and len(wishes) < 120:
        number = len(wishes) + 1
        aims = AIMS[(number * 7 + total.kills // len(AIMS) + lane * 9) % len(AIMS)]
        wish = _wish(number, any(point in aims[0] for point in _QUESTION_POINTS), Decimal(630))
        wishes.append(wish)
        for aim in (*aims, ""):
            victim = _born(simulator.env("gateway"), path, told_path, clock, wish, aim)
            total.lives += 1
            _, status = os.waitpid(victim, os.WUNTRACED)
            if os.WIFSTOPPED(status):
                status = _taken_over(simulator.env("gateway"), path, told_path, clock, wish, victim, total)
            if aim.startswith(_MILDER) and status == 0:
                total.survived[aim.split()[0]] += 1
            elif os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGKILL:
                total.kills += 1
                total.points[aim.split()[0]] += 1
            elif os.WIFSIGNALED(status) or os.WEXITSTATUS(status):
                total.breaches.append(f"X: {wish.key} at {aim or 'rest'}: ended with {status}")
            elif aim:
                total.missed += 1
    _judge(simulator, path, told_path, wishes, total)


async def _lift_limits(path: Path, clock: FastClock) -> None:
    """Those that a hundred orders of one contract in a few minutes would meet."""
    async with SqliteJournal(path, clock=clock, run_inline=True) as journal:
        for name in ("max_active_orders", "repeat_breaker", "orders_per_minute"):
            change = LimitChange(
                environment=Environment.PAPER,
                layer=Layer.ACCOUNT,
                whose=str(ACCOUNT),
                name=name,
                new="off",
                by="chaos",
                note="tier K",
                at=clock.now(),
            )
            await journal.risk.change(change)


def _taken_over(env: Path, path: Path, told: Path, clock: FastClock, wish: _Wish, victim: int, total: Killed) -> int:
    """Another process takes the lane of the stopped one over, settles the wish, and then that one goes on."""
    shutil.rmtree(path.with_name(f"{path.name}.locks"), ignore_errors=True)
    _, status = os.waitpid(_born(env, path, told, clock, wish, ""), 0)
    total.lives += 1
    if status:
        total.breaches.append(f"X: {wish.key} beside a stopped process: ended with {status}")
    os.kill(victim, signal.SIGCONT)
    return os.waitpid(victim, 0)[1]


def _born(env: Path, path: Path, told: Path, clock: FastClock, wish: _Wish, aim: str) -> int:
    """The number of a process that asks for `wish` and meets its fate at `aim`."""
    sys.stdout.flush()
    child = os.fork()
    if child:
        return child
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
        mortality.relieve()
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
        speed=SPEED,
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
