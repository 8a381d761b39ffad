"""Tier S: one seed, one run of the real stream against the simulator's WebSocket on virtual time.

Orders are entered, filled, cancelled while the line drops, falls silent, loses, repeats, swaps and garbles frames, the
session goes elsewhere, reads fail, and a listener is slow. What the listeners heard is judged from the ledger.
"""

from __future__ import annotations

import contextlib
import hashlib
from collections import Counter
from collections.abc import AsyncIterator, Callable, Collection
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

import anyio
import anyio.abc

from clients import make_client
from ibkit.client.stream import Stream
from ibkit.model import AuthMethod, Complained, Conid, Down, FillUpdate, OrderUpdate, Quote, SessionLost
from ibkit.sim.logins import sessions
from ibkit.sim.quirks import Quirks
from ibkit.sim.serving.inprocess import TRADING_MOMENT, Simulator
from ibkit.sim.world import SimConfig

from .broker import USERNAME
from .clock import StandingClock
from .fates import Fates
from .kinds import KEYS, WORLDS
from .results import quiet
from .stream_checker import Heard, judge_stream

__all__ = ["LINE_FAULTS", "StreamResult", "run_stream"]

SPY, AAPL = Conid(756733), Conid(265598)
ACCOUNT = "DU1000001"
CALM_S = 150
"""Longest back-off, reconnection, and one full re-read after it."""
SLOW_BOUND = 2

LINE_FAULTS: dict[str, tuple[str, dict[str, Any]]] = {
    "socket dropped": ("F80", {"fault": "socket-drop"}),
    "socket closed": ("F80", {"fault": "socket-close"}),
    "silent stall": ("F79", {"fault": "socket-stall"}),
    "orders alone silent": ("F127", {"fault": "topic-stall", "topic": "sor", "params": {"seconds": 20}}),
    "trades alone silent": ("F127", {"fault": "topic-stall", "topic": "str", "params": {"seconds": 20}}),
    "quotes alone silent": ("F79", {"fault": "topic-stall", "topic": "smd*", "params": {"seconds": 90}}),
    "frames lost": ("F80", {"fault": "frame-lose", "topic": "s[ot]r", "times": 3}),
    "frames twice": ("F82", {"fault": "frame-duplicate", "topic": "s[ot]r", "times": 5}),
    "frames swapped": ("F81", {"fault": "frame-reorder", "topic": "s[ot]r", "times": 2}),
    "ticks swapped": ("F81", {"fault": "frame-reorder", "topic": "smd*", "times": 3}),
    "ticks twice": ("F82", {"fault": "frame-duplicate", "topic": "smd*", "times": 3}),
    "garbage": ("F83", {"fault": "frame-garbage", "topic": "sor", "times": 2}),
    "binary noise": ("F83", {"fault": "frame-garbage", "topic": "*", "times": 3, "params": {"text": "\x00\u00ff\x01"}}),
    "unknown topics": (
        "F83",
        {"fault": "frame-garbage", "topic": "*", "times": 4, "params": {"text": '{"topic":"xyz"}'}},
    ),
    "quote of nobody": (
        "F87",
        {
            "fault": "frame-garbage",
            "topic": "*",
            "times": 2,
            "params": {"text": '{"topic":"smd+8314","conid":8314,"31":"1.00","_updated":1}'},
        },
    ),
    "says unauthenticated": (
        "F86",
        {
            "fault": "frame-garbage",
            "topic": "*",
            "times": 1,
            "params": {"text": '{"topic":"sts","args":{"authenticated":false}}'},
        },
    ),
    "upgrade refused": ("F80", {"fault": "status", "path": "/v1/api/ws", "params": {"status": 503}}),
    "read of trades lost": ("F80", {"fault": "drop-answer", "endpoint": "TRADES"}),
    "read of orders refused": ("F80", {"fault": "status", "endpoint": "LIVE_ORDERS", "params": {"status": 503}}),
}
"""Name → row of the fault model, and the simulator's fault."""
SESSION_FAULTS = {"taken": "F127", "reset": "F86", "another session": "F86"}


@dataclass(slots=True)
class StreamResult:
    """What a run showed; as `schedule.Result`."""

    seed: int
    breaches: list[str]
    hash: str
    trace: list[str]
    fates: dict[str, str]
    fired: Counter[str]
    seen: Counter[str]


@dataclass(slots=True)
class _Listeners:
    """What each listener heard; a slow one waits for `awake` after each event."""

    heard: Heard
    note: Callable[[str], None]
    slow: bool = False
    awake: anyio.Event = field(default_factory=anyio.Event)

    async def collect(self, events: AsyncIterator[Any], into: list[Any], *, slow: bool = False) -> None:
        async for event in events:
            into.append((self.heard.clock.monotonic(), event))
            self.note(_short(event))
            if slow and self.slow:
                await self.awake.wait()

    def wake(self) -> None:
        awake, self.awake = self.awake, anyio.Event()
        awake.set()


class StreamSchedule:
    """One seed. only: the fates that may strike; None for all."""

    def __init__(self, seed: int, only: Collection[str] | None = None) -> None:
        self.seed = seed
        self.fates = Fates(seed, only)
        self.fates.note = self.note
        self.trace: list[str] = []
        self.fired: Counter[str] = Counter()
        self.seen: Counter[str] = Counter()
        self.clock = StandingClock(TRADING_MOMENT)
        work = self._work = self.fates.dice("setting")
        self.method = work.choice(list(AuthMethod))
        self.bound = work.choice([SLOW_BOUND, 1000, 1000])
        self.rate = work.choice([0.2, 0.5, 0.8])
        quirks = Quirks().with_values(
            {
                "gateway_ready_s": work.choice([0.0, 0.5, 3.0]),
                "cloud_ready_s": work.choice([0.0, 0.2]),
                "cloud_loses_early_frames": work.choice([True, False]),
                "commission_after_s": work.choice([0.0, 1.0, 10.0]),
                "split_executions": work.choice([True, False]),
                "cancel_delay_s": work.choice([0.0, 0.2, 5.0]),
                "smd_lifetime_s": work.choice([600, 900]),
                "smd_empty_every": work.choice([0, 2, 20]),
                "malformed_command": work.choice(["ignored", "error"]),
            }
        )
        self.simulator = Simulator(
            SimConfig(start=TRADING_MOMENT, seed=seed % WORLDS, quirks=quirks), self.clock, keys=KEYS
        )
        self.heard = Heard(self.clock)
        self._working: list[int] = []

    def note(self, text: str) -> None:
        self.trace.append(f"{self.clock.monotonic():9.2f} {text}")

    async def run(self) -> StreamResult:
        listeners = _Listeners(self.heard, self.note, slow=self.bound == SLOW_BOUND)
        heard = self.heard
        async with (
            self._moving_clock() as hand,
            make_client(self.simulator, self.method) as ib,
            ib.stream(bound=self.bound) as stream,
            anyio.create_task_group() as group,
        ):
            hand.cancel()
            for events, into, slow in (
                (stream.lifecycle(), heard.line, False),
                (stream.orders(), heard.orders, True),
                (stream.fills(), heard.fills, True),
                (stream.quotes([SPY]), heard.quotes, False),
            ):
                group.start_soon(lambda e=events, i=into, s=slow: listeners.collect(e, i, slow=s))
            await self._pass(1, stream, listeners)
            for _ in range(self._work.randint(6, 18)):
                self._disturb()
                self._act()
                await self._pass(self._work.choice((0, 0.5, 3, 12, 40)), stream, listeners)
            await self._calm_down(stream, listeners)
            heard.live = stream.live
            self.seen["slow listener"] += listeners.slow or self.bound == SLOW_BOUND
            self.seen["late greeting"] += self.simulator.world.quirks.gateway_ready_s > 0
            group.cancel_scope.cancel()
        breaches = judge_stream(
            self.simulator.world.exchange.ledger_rows(), heard, subscribed=frozenset({int(SPY)}), entered=len(self._ids)
        )
        self.trace += [f"BREACH {breach}" for breach in breaches]
        return StreamResult(
            seed=self.seed,
            breaches=breaches,
            hash=hashlib.sha256("\n".join(self.trace).encode()).hexdigest()[:16],
            trace=self.trace,
            fates=self.fates.struck,
            fired=self.fired,
            seen=self.seen + Counter(type(event).__name__ for _, event in heard.line),
        )

    @asynccontextmanager
    async def _moving_clock(self) -> AsyncIterator[anyio.CancelScope]:
        """Time passes while the stream opens: nobody else is there to move the clock."""

        async def move(*, task_status: anyio.abc.TaskStatus[anyio.CancelScope]) -> None:
            with anyio.CancelScope() as scope:
                task_status.started(scope)
                while True:
                    await self.simulator.pass_time(0.5)

        async with anyio.create_task_group() as group:
            yield await group.start(move)

    # --- time --------------------------------------------------------------------------------------------------

    async def _pass(self, seconds: float, stream: Stream, listeners: _Listeners, step_s: float = 0.5) -> None:
        """Time passes in steps; what the wire did and whether it was live is noted at each."""
        left = seconds
        while True:
            await self.simulator.pass_time(0)
            if self._work.random() < 0.5:
                listeners.wake()
            self.heard.look(live=stream.live)
            if left <= 0:
                return
            self.simulator.advance(min(step_s, left))
            left -= step_s

    async def _calm_down(self, stream: Stream, listeners: _Listeners) -> None:
        """All faults stop; what happened is told within the time that the promise gives."""
        self.note("calm")
        world = self.simulator.world
        world.faults.clear()
        world.logins.elsewhere.clear()
        self.rate = 0.0
        listeners.slow = False
        if self.method is AuthMethod.GATEWAY and (
            world.logins.gateway is None or world.logins.gateway.brokerage is None
        ):
            sessions.gateway_login(world, USERNAME, ready=True)
        self.simulator.server.pacing.clear()
        await self._pass(CALM_S, stream, listeners, step_s=1.0)

    # --- what happens ------------------------------------------------------------------------------------------

    @property
    def _ids(self) -> list[int]:
        return list(self.simulator.world.exchange.orders)

    def _act(self) -> None:
        world, dice = self.simulator.world, self._work
        match dice.choice(("market", "limit", "limit", "cancel", "fill", "fill", "pass")):
            case "market":
                self._enter("MKT", dice.randint(1, 900))
            case "limit":
                self._working.append(self._enter("LMT", dice.randint(2, 9), price=100))
            case "cancel" if self._working:
                order = world.exchange.orders[self._working.pop()]
                self.note(f"cancel {order.id}")
                world.exchange.request_cancel(order, world.now)
            case "fill" if self._working:
                order = world.exchange.orders[self._working[-1]]
                quantity = min(order.remaining, Decimal(dice.randint(1, 3)))
                self.note(f"fill {quantity} of {order.id}")
                with contextlib.suppress(ValueError, LookupError):
                    world.exchange.fill(order.id, Decimal(100), quantity, world.now)
                if order.remaining == 0:
                    self._working.pop()
        self.simulator.stir()

    def _enter(self, order_type: str, quantity: int, **terms: Any) -> int:
        ticket = {
            "conid": self._work.choice([SPY, AAPL]),
            "side": "BUY",
            "quantity": quantity,
            "orderType": order_type,
            "tif": "DAY",
            **terms,
        }
        made = self.simulator.control("POST", "order", {"account": ACCOUNT, "ticket": ticket})["order_id"]
        self.note(f"order {made}: {order_type} {quantity}")
        return int(made)

    def _disturb(self) -> None:
        dice = self.fates.roll("line", self.rate)
        if dice is not None:
            name = dice.choice(list(LINE_FAULTS))
            row, fault = LINE_FAULTS[name]
            self.fired[name] += 1
            self.fates.tell(f"{name} ({row})")
            self.simulator.control("POST", "faults", fault)
            if fault["fault"] == "socket-stall":
                self.heard.stalled(self.clock.monotonic())
        dice = self.fates.roll("session", self.rate / 6)
        if dice is not None:
            name = dice.choice(list(SESSION_FAULTS))
            self.fired[name] += 1
            self.fates.tell(f"session: {name} ({SESSION_FAULTS[name]})")
            self._strike(name)

    def _strike(self, name: str) -> None:
        world = self.simulator.world
        world.advance(self.clock.now())
        if name == "taken":
            sessions.take_elsewhere(world, USERNAME)
            return
        for session in list(sessions.sessions_of(world, USERNAME)):
            if name == "reset":
                sessions.lose_brokerage(session)
            elif session.brokerage is not None:
                sessions.open_brokerage(world, session, ready=True, primed=True)


def _short(event: object) -> str:
    match event:
        case OrderUpdate(order=order):
            return f"told: order {order.order_id} {order.status.value} {order.filled} {'' if event.before else 'new'}"
        case FillUpdate(fill=fill):
            return f"told: fill {fill.execution_id} {fill.quantity} fee {fill.fee} {'' if event.before else 'new'}"
        case Quote():
            return f"told: quote {event.conid} {event.last}"
        case Down(reason=reason) | Complained(text=reason):
            return f"told: {type(event).__name__} {reason}"
        case SessionLost(competing=competing):
            return f"told: session lost {'to another login' if competing else ''}"
        case _:
            return f"told: {type(event).__name__}"


def run_stream(seed: int, *, only: Collection[str] | None = None) -> StreamResult:
    """One schedule of the stream."""
    with quiet():
        return anyio.run(StreamSchedule(seed, only).run)
