"""Tier D: one seed, one run of the real order path on virtual time, byte for byte the same each time.

Real: OrderGateway, reconciler, journal (a SQLite file, on tmpfs where there is one), client and its pacer. In process:
the simulator's server core. A crash throws all objects away and opens the file again.
"""

from __future__ import annotations

import hashlib
import logging
import random
import tempfile
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator
from contextlib import AsyncExitStack, contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from functools import cache
from pathlib import Path
from typing import Any

import anyio
import anyio.lowlevel
import anyio.to_thread

from ibkit.client.auth.gateway import GatewayAuth
from ibkit.client.broker import IbkrBroker
from ibkit.client.client import Client
from ibkit.clock import ManualClock
from ibkit.errors import IbkitError
from ibkit.model import (
    AccountId,
    Conid,
    Contract,
    Environment,
    GatewayLogin,
    Key,
    OrderId,
    OrderTicket,
    OrderType,
    SecType,
    Side,
    Username,
)
from ibkit.sim.exchange.tickets import read_ticket
from ibkit.sim.logins import sessions
from ibkit.sim.quirks import Quirks
from ibkit.sim.serving.inprocess import GATEWAY_URL, TRADING_MOMENT, Simulator
from ibkit.sim.world import SimConfig
from ibkit.store.journal import SqliteJournal
from ibkit.trading.gateway import OrderGateway
from ibkit.trading.limits import default_limits
from ibkit.trading.outcome import Outcome

from .checker import PENDING, TAKEN, Asked, States, Told, Verdict, judge, read_journal
from .clock import ChaosClock
from .crashes import Mortality, MortalJournal, is_crash
from .faults import SESSION_FAULTS, Weather
from .line import Broker, Line

__all__ = ["Result", "Schedule", "place_of_files", "run"]

ACCOUNT = AccountId("DU1000001")
USERNAME = "simpaper1"
SPY = Contract(
    conid=Conid(756733), symbol="SPY", sec_type=SecType.STOCK, exchange="ARCA", currency="USD", multiplier=Decimal(1)
)
WORLDS = 8
"""Price paths are few: a new world is then made from what the process has in memory. They decide nothing here."""
STEPS = 40
HEAL_S = 120.0
HEAL_SLACK_S = 60.0
"""Five open intents share one list call in 5 s, and a search that began before the healing goes on."""


@dataclass(slots=True)
class Wish:
    """One intent of the workload, and the caller that wants it."""

    key: Key
    operation: str
    ticket: OrderTicket | None
    target: str = ""
    followed: bool = False
    asked: int = 0
    gone: bool = False
    other_body: OrderTicket | None = None


@dataclass(slots=True)
class Result:
    """What a run showed. hash: of its trace; the same seed gives the same."""

    seed: int
    mode: str
    breaches: list[str]
    hash: str
    trace: list[str]
    crashes: int
    deaths: Counter[str]
    passed: Counter[str]
    fired: Counter[str]
    seen: Counter[str]
    ends: Counter[str]
    intents: int
    heal_s: float


def place_of_files() -> Path | None:
    """A directory in memory, where there is one: a schedule's fsyncs then cost nothing."""
    shared = Path("/dev/shm")
    return shared if shared.is_dir() else None


@cache
def _empty_journal() -> bytes:
    """A journal file without an intent, as a first start makes it."""
    with tempfile.TemporaryDirectory(prefix="chaos-", dir=place_of_files()) as folder:
        path = Path(folder) / "journal.db"

        async def make() -> None:
            async with SqliteJournal(path, clock=ManualClock(TRADING_MOMENT)):
                pass

        anyio.run(make)
        return path.read_bytes()


@contextmanager
def _threads_inline() -> Iterator[None]:
    """Database work in the task itself: threads would make the order of two twins depend on the machine."""

    async def inline(func: Callable[..., Any], *args: Any, **_more: Any) -> Any:
        await anyio.lowlevel.checkpoint()
        return func(*args)

    original = anyio.to_thread.run_sync
    anyio.to_thread.run_sync = inline
    try:
        yield
    finally:
        anyio.to_thread.run_sync = original


class SkewedClock:
    """The process's clock: the world's, but somebody may set its wall (F101)."""

    def __init__(self, clock: ChaosClock) -> None:
        self._clock = clock
        self.offset_s = 0.0

    def now(self) -> datetime:
        return self._clock.now() + timedelta(seconds=self.offset_s)

    def monotonic(self) -> float:
        return self._clock.monotonic()

    async def sleep(self, seconds: float) -> None:
        await self._clock.sleep(seconds)


class Process:
    """Everything of one process; `die` leaves nothing of it but the file."""

    def __init__(self, schedule: Schedule) -> None:
        self._schedule = schedule
        self._stack = AsyncExitStack()
        self.dead = False
        self.gateway: OrderGateway | None = None
        self.client: Client | None = None
        self.journal: MortalJournal | None = None

    def alive(self) -> None:
        if self.dead:
            from .crashes import Crash

            raise Crash("dead already")

    @property
    def halted(self) -> bool:
        return self.journal is not None and self.journal.halted

    async def start(self) -> None:
        schedule = self._schedule
        line = Line(schedule.broker, schedule.weather, schedule.mortality, alive=self.alive, dice=schedule.dice("line"))
        self.client = Client(
            auth=GatewayAuth(GatewayLogin()),
            base_url=GATEWAY_URL,
            transport=line,
            clock=schedule.wall,
            keep_alive_s=None,
            chance=lambda: 0.5,
            account_id=ACCOUNT,
            username=schedule.username,
            suppress=schedule.suppress,
        )
        await self._stack.enter_async_context(self.client)
        # The file is opened last: a start that fails at the login, as many do here, then costs little.
        journal = SqliteJournal(schedule.path, clock=schedule.wall)
        await self._stack.enter_async_context(journal)
        mortal = self.journal = MortalJournal(
            journal, schedule.mortality, alive=self.alive, disk_fault=schedule.disk_fault, wrote=schedule.wrote
        )
        self.gateway = OrderGateway(
            IbkrBroker(self.client),
            mortal,
            limits=default_limits(schedule.environment),
            clock=schedule.wall,
            owner="chaos",
            resend_same_ref=schedule.resend,
        )

    async def stop(self) -> None:
        self.dead = True
        await self._stack.aclose()


class Schedule:
    """One seed. mode: plain, swarm, adversarial (orders show up after the settle window), resend or skew."""

    def __init__(self, seed: int, folder: Path, *, mode: str = "", aim: str = "", crash_only: bool = False) -> None:
        self.seed = seed
        self.path = folder / "journal.db"
        self.states = States(self.path)
        work = self._work = self.dice("work")
        if work.random() < 0.9:  # the others make their file themselves
            self.path.write_bytes(_empty_journal())
            self.path.chmod(0o600)
        # One in ten breaks the visibility assumption.
        self.mode = mode or work.choice(
            ["swarm"] * 12 + ["plain"] * 4 + ["adversarial", "adversarial", "resend", "skew"]
        )
        self.crash_only = crash_only
        swarm = self.mode != "plain"
        self.trace: list[str] = []
        self.seen: Counter[str] = Counter()
        self.breaches: list[str] = []
        self.told: list[Told] = []
        self.wishes: list[Wish] = []
        self.process: Process | None = None
        self.heal_s = 0.0
        self.resend = self.mode == "resend"
        self.username = Username(USERNAME) if work.random() < 0.8 else None
        self.environment = Environment.LIVE if not crash_only and work.random() < 0.03 else Environment.PAPER
        self.suppress: tuple[str, ...] = ("o10331",) if work.random() < 0.3 else ()
        self.clock = ChaosClock(TRADING_MOMENT)
        self.wall = SkewedClock(self.clock)
        quirks = Quirks().with_values(self._quirks(work))
        self.simulator = Simulator(
            SimConfig(start=TRADING_MOMENT, seed=seed % WORLDS, quirks=quirks), self.clock, keys=None
        )  # type: ignore[arg-type]
        self.broker = Broker(self.simulator, self.clock, self.dice("visibility"))
        self.broker.journal = self.states
        self.broker.note = self.note
        latest = {"adversarial": 400.0}.get(self.mode, 27.0)
        self.broker.delays = (
            (0.0,) if crash_only else work.choice([(0.0,), (0.0, 2.0), (0.0, 2.0, 8.0), (0.0, 8.0, latest)])
        )
        self.broker.scope = work.choice(["day", "session"])
        self.broker.ref_style = "" if crash_only else work.choice(["", "", "", "", "upper", "cut", "missing"])
        rates = (0.0, 0.1, 0.3, 0.6)
        reads = (0.0, 0.05, 0.2, 0.6)
        self.weather = Weather(
            self.dice("weather"),
            swarm=swarm,
            rate=0.0 if crash_only else work.choice(rates),
            read_rate=0.0 if crash_only else work.choice(reads),
        )
        self.weather.note = self.note
        self.mortality = Mortality(
            self.dice("crashes"),
            rate=0.0 if aim else work.choice([0.0, 0.01, 0.03, 0.08]),
            leave_rate=work.choice([0.0, 0.0, 0.01]),
            most=8,
            aim=aim,
        )
        self.mortality.note = self.note
        self._disk_dice = self.dice("disk")
        self._disk_rate = 0.0 if crash_only else work.choice([0.0, 0.0, 0.0, 0.02])
        self._pause_dice = self.dice("pauses")
        self._pause_rate = 0.0 if crash_only else work.choice([0.0, 0.0, 0.0, 0.05])
        self._session_rate = 0.0 if crash_only else work.choice([0.0, 0.0, 0.05, 0.15])
        self._make_wishes(work)

    def dice(self, name: str) -> random.Random:
        return random.Random(f"{self.seed}/{name}")

    def note(self, text: str) -> None:
        self.trace.append(f"{self.clock.monotonic():9.2f} {text}")

    def disk_fault(self) -> str:
        if self.weather.calm or self._disk_dice.random() >= self._disk_rate:
            return ""
        fault = self._disk_dice.choice(["full", "full", "busy", "fsync lost", "fsync kept"])
        self.weather.fired[f"disk {fault}"] += 1
        return fault

    def wrote(self, text: str) -> None:
        self.note(text)
        self.pause()

    def pause(self) -> None:
        """The process is stopped after a commit, as by a SIGSTOP or a moved machine (F91)."""
        if not self.weather.calm and self._pause_dice.random() < self._pause_rate:
            seconds = self._pause_dice.choice([1.9, 2.1, 10.0, 90.0])
            self.weather.fired["process stopped"] += 1
            self.note(f"stopped for {seconds} s")
            self.clock.advance(seconds)

    def _quirks(self, work: random.Random) -> dict[str, object]:
        if self.crash_only:
            return {"coid_hours": 0}
        return {
            "coid_hours": work.choice([24, 0]),
            "coid_duplicate_status": work.choice([200, 400]),
            "question_style": work.choice(["chain", "together"]),
            "void_older_questions": work.choice([True, False]),
            "release_both": work.choice([True, False]),
            "reads_void_questions": work.choice([False, False, True]),
            "reply_bare_object": work.choice([True, False]),
            "parked_status": work.choice([404, 400]),
            "orders_first_call_rows": work.choice([True, False]),
            "stop_risk_question": work.choice([True, False]),
            "fill_delay_s": work.choice([0.0, 0.0, 3.0]),
            "cancel_delay_s": work.choice([0.0, 0.2, 5.0]),
            "split_executions": False,
            "reply_lifetime_s": work.choice([600.0, 20.0]),
            "starting_s": work.choice([0.0, 0.0, 3.0]),
        }

    # --- the workload ------------------------------------------------------------------------------------------

    def _make_wishes(self, work: random.Random) -> None:
        self.price = self.simulator.world.market.quote(756733, self.simulator.world.now).last.quantize(Decimal(1))
        for number in range(1, work.randint(1, 5) + 1):
            kind = work.choice(["market", "near", "far", "far", "stop"])
            ticket = self._ticket(kind, Decimal(number), work.choice([Side.BUY, Side.SELL]))
            self._wish("place", ticket, number)
        scenarios = []
        if not self.crash_only:
            if work.random() < 0.15:
                scenarios.append("order-question-unknown")
            if work.random() < 0.25:
                scenarios.append("order-question")
            if work.random() < 0.08:
                scenarios.append(work.choice(["order-reject-200", "order-no-permission", "stop-reject"]))
            if work.random() < 0.2:
                scenarios.append(work.choice(["no-fill", "partial-fill"]))
        self.scenarios = tuple(scenarios)
        self.simulator.world.faults.set_scenarios(self.scenarios)
        self._external_at = work.choice([0, 0, 3, 8])

    def _ticket(self, kind: str, quantity: Decimal, side: Side) -> OrderTicket:
        more: dict[str, Any] = {"order_type": OrderType.MARKET}
        away = Decimal(1) if side is Side.SELL else Decimal(-1)
        if kind == "near":
            more = {"order_type": OrderType.LIMIT, "limit_price": self.price - away * 2}
        elif kind == "far":
            more = {"order_type": OrderType.LIMIT, "limit_price": self.price + away * 10}
        elif kind == "stop":
            more = {"order_type": OrderType.STOP, "stop_price": self.price - away * 15}
        return OrderTicket(account_id=ACCOUNT, contract=SPY, side=side, quantity=quantity, **more)

    def _wish(self, operation: str, ticket: OrderTicket | None, number: int, target: str = "") -> None:
        wish = Wish(Key(f"chaos-{operation}-{number}-{self.seed:08d}"), operation, ticket, target)
        self.wishes.append(wish)
        name = target if operation == "cancel" else f"{float(ticket.quantity):g}" if ticket else ""
        self.broker.keys[(operation, name)] = wish.key
        self.note(f"wish {wish.key}: {ticket.label if ticket else 'cancel'} {target}")

    def _follow(self, outcome: Outcome, wish: Wish) -> None:
        """Sometimes an order that works is changed or cancelled, by an intent of its own."""
        if wish.operation != "place" or wish.followed or outcome.state.value != "acked" or outcome.order_id is None:
            return
        wish.followed = True
        draw, number = self._work.random(), int(wish.ticket.quantity) if wish.ticket else 0
        if draw < 0.35:
            self._wish("cancel", None, number, str(outcome.order_id))
        elif draw < 0.65 and wish.ticket is not None and wish.ticket.order_type is OrderType.LIMIT:
            import dataclasses

            price = wish.ticket.limit_price
            assert price is not None
            changed = dataclasses.replace(wish.ticket, quantity=Decimal(50 + number), limit_price=price - 1)
            self._wish("modify", changed, number, str(outcome.order_id))

    # --- running -----------------------------------------------------------------------------------------------

    async def run(self) -> Result:
        for step in range(STEPS):
            waiting = [wish for wish in self.wishes if not self._at_rest(wish)]
            if not waiting:
                break
            if step == self._external_at and step:
                self._type_into_tws()
            await self._disturb_session()
            if self.mode == "skew" and self._work.random() < 0.3:
                self.wall.offset_s = self._work.choice([-3600.0, -30.0, 0.0, 30.0, 3600.0])
                self.weather.fired["wall clock set"] += 1
                self.note(f"the wall clock is set {self.wall.offset_s:+.0f} s off")
            await self._living(self._step, self._work.choice(waiting))
            self.clock.advance(self._work.choice([0.0, 0.5, 1.0, 20.0]))
        await self._heal()
        return await self._judged()

    async def _step(self, wish: Wish) -> None:
        assert self.process is not None
        assert self.process.gateway is not None
        draw = self._work.random()
        if draw < 0.15:
            await self._recover()
        if draw > 0.9 and self.process.client is not None:
            try:
                await self.process.client.keeper.beat()
            except IbkitError as error:
                self.note(f"beat: {error.code}")
        if 0.15 < draw < 0.25 and wish.asked and wish.ticket is not None:
            await self._ask_other_body(wish)
        elif 0.25 < draw < 0.4:
            self.seen["twins"] += 1
            async with anyio.create_task_group() as twins:
                twins.start_soon(self._ask, wish)
                twins.start_soon(self._ask, wish)
        else:
            await self._ask(wish)
        if self.process is not None and self.process.halted and self._work.random() < 0.5:
            self.note("started again after a disk failure")
            await self._bury()

    async def _ask(self, wish: Wish) -> None:
        assert self.process is not None
        gateway = self.process.gateway
        assert gateway is not None
        wish.asked += 1
        self.note(f"ask {wish.key}")
        with anyio.CancelScope() as scope:
            self.mortality.leave = scope.cancel
            try:
                outcome = await self._submitted(gateway, wish, wish.ticket)
                self.mortality.point("K13", "before")
                self._tell(wish, outcome)
                self._follow(outcome, wish)
                self.mortality.point("K13", "after")
            except IbkitError as error:
                self.note(f"told {wish.key}: {type(error).__name__} {error.code} {error.message[:80]}")
                self.seen[f"error {type(error).__name__}"] += 1
                self.told.append(Told(self.clock.monotonic(), wish.key, error=type(error).__name__))
            finally:
                self.mortality.leave = None
        if scope.cancelled_caught:
            self.seen["caller left"] += 1

    async def _submitted(self, gateway: OrderGateway, wish: Wish, ticket: OrderTicket | None) -> Outcome:
        if wish.operation == "cancel":
            return await gateway.cancel(ACCOUNT, OrderId(wish.target), key=wish.key)
        assert ticket is not None
        if wish.operation == "modify":
            return await gateway.modify(OrderId(wish.target), ticket, key=wish.key)
        return await gateway.submit(ticket, key=wish.key)

    def _tell(self, wish: Wish, outcome: Outcome) -> None:
        intent = outcome.intent
        self.note(
            f"told {wish.key}: {intent.state.value} {intent.order_id or ''}"
            f"{' cached' if outcome.cached else ''} {intent.reason[:80]}"
        )
        self.seen["replay" if outcome.cached else "answer"] += 1
        stored = self.states.now().get(wish.key)
        # A twin may have followed the order further meanwhile; from taken it can only go on to taken.
        if stored != intent.state.value and not {stored, intent.state.value} <= TAKEN:
            self.breaches.append(f"S3: {wish.key} is told {intent.state.value} while the disk says {stored}")
        self.told.append(
            Told(self.clock.monotonic(), wish.key, intent.intent_id, intent.state.value, str(intent.order_id or ""))
        )

    async def _ask_other_body(self, wish: Wish) -> None:
        """The same key for another order: refused, without effect; only where the first body is stored."""
        assert self.process is not None
        gateway = self.process.gateway
        assert gateway is not None
        assert wish.ticket is not None
        import dataclasses

        if await gateway.find(wish.key) is None:
            return
        other = dataclasses.replace(wish.ticket, quantity=wish.ticket.quantity + 900)
        try:
            outcome = await self._submitted(gateway, wish, other)
        except IbkitError as error:
            self.seen[f"other body: {type(error).__name__}"] += 1
            self.told.append(Told(self.clock.monotonic(), wish.key, error=type(error).__name__, other_body=True))
        else:
            self.told.append(
                Told(self.clock.monotonic(), wish.key, outcome.intent.intent_id, outcome.state.value, other_body=True)
            )

    async def _recover(self) -> None:
        assert self.process is not None
        assert self.process.gateway is not None
        self.note("recover")
        try:
            found = await self.process.gateway.recover()
        except IbkitError as error:
            self.note(f"recover: {type(error).__name__} {error.code} {error.message[:80]}")
        else:
            for intent in found:
                self.note(f"recovered {intent.key}: {intent.state.value} {intent.order_id or ''}")
                self.seen[f"recovered {intent.state.value}"] += 1

    async def _living(self, work: Callable[..., Awaitable[None]], *args: Any) -> None:
        """`work` in a living process; if it dies, what is left is the file and some time."""
        try:
            if self.process is None:
                process = self.process = Process(self)
                try:
                    await process.start()
                except IbkitError as error:
                    self.note(f"no start: {error.code} {error.message[:80]}")
                    await self._bury()
                    self.clock.advance(5.0)
                    return
            await work(*args)
        except BaseException as error:
            if not is_crash(error):
                if not isinstance(error, Exception):
                    raise
                # Neither an outcome nor one of our errors: nobody could act on it.
                self.breaches.append(f"X: {_inner(error)!r}"[:200])
            await self._bury()
            self.clock.advance(self._work.choice([0.0, 1.0, 20.0]))

    async def _bury(self) -> None:
        process, self.process = self.process, None
        if process is not None:
            await process.stop()

    def _at_rest(self, wish: Wish) -> bool:
        state = self.states.now().get(wish.key)
        return state is not None and state not in PENDING

    # --- troubles between the calls ----------------------------------------------------------------------------

    async def _disturb_session(self) -> None:
        if self._work.random() >= self._session_rate:
            return
        name = self._work.choice(list(SESSION_FAULTS))
        self.weather.fired[name] += 1
        delay = self._work.choice([0.0, 0.5, 3.0, 31.0])
        self.note(f"session: {name} in {delay} s")
        self.clock.later(delay, lambda: self._strike(name))

    def _strike(self, name: str) -> None:
        world = self.simulator.world
        if self.weather.calm:
            return
        self.note(f"session: {name}")
        pause = self._work.choice([2.0, 20.0, 90.0])
        match name:
            case "reset":
                for session in sessions.sessions_of(world, USERNAME):
                    sessions.lose_brokerage(session)
            case "relogin":
                sessions.gateway_login(world, USERNAME, ready=True)
            case "logout":
                sessions.gateway_logout(world)
                self.clock.later(pause, lambda: sessions.gateway_login(world, USERNAME, ready=True))
            case "taken":
                sessions.take_elsewhere(world, USERNAME)
                self.clock.later(pause, lambda: sessions.gateway_login(world, USERNAME, ready=True))
            case "maintenance" | "pacing":
                word = {"maintenance": "maintenance-503", "pacing": "rate-429"}[name]
                world.faults.set_scenarios((*self.scenarios, word))
                self.clock.later(pause, lambda: world.faults.set_scenarios(self.scenarios))

    def _type_into_tws(self) -> None:
        world = self.simulator.world
        body = {"conid": 756733, "side": "BUY", "orderType": "LMT", "price": 500, "quantity": 77, "tif": "DAY"}
        world.exchange.enter_external(ACCOUNT, read_ticket(body, world.instruments), world.now)
        self.seen["external order"] += 1

    # --- after the faults --------------------------------------------------------------------------------------

    async def _heal(self) -> None:
        """All faults stop; within two minutes everything must have come to rest."""
        world = self.simulator.world
        self.note("heal")
        self.weather.calm = True
        self.mortality.rate = self.mortality.leave_rate = 0.0
        self.mortality.aim = ""
        world.faults.set_scenarios([name for name in self.scenarios if "question" not in name])
        if world.logins.gateway is None or world.logins.gateway.brokerage is None:
            sessions.gateway_login(world, USERNAME, ready=True)
        world.logins.elsewhere.clear()
        self.simulator.server.pacing.clear()  # a penalty box of ten minutes is the broker's, not ours to heal
        if self.process is not None and self._disk_rate:
            await self._bury()  # a journal that met a failed fsync writes again only after a new start
        begun = self.clock.monotonic()
        for _ in range(40):
            await self._living(self._recover)
            if self._all_at_rest():
                break
            self.clock.advance(10.0)
        self.heal_s = self.clock.monotonic() - begun
        # A list that spells refs wrongly proves neither presence nor absence: such a search ends when it gives up.
        longest = HEAL_S + HEAL_SLACK_S + (300.0 if self.broker.ref_style in ("cut", "missing") else 0.0)
        if self.heal_s > longest:
            self.breaches.append(f"L1: at rest only {self.heal_s:.0f} s after the faults stopped")
        for wish in list(self.wishes):
            if not self._at_rest(wish):
                await self._living(self._ask, wish)
        # The next command of the day: a new process, a new brokerage session, and one look.
        await self._bury()
        self.clock.advance(700.0)
        await self._living(self._recover)
        self.clock.advance(60.0)
        for wish in list(self.wishes):
            if wish.asked and wish.operation == "place":
                await self._living(self._ask, wish)
        await self._bury()

    def _all_at_rest(self) -> bool:
        return not PENDING & set(self.states.now().values())

    async def _judged(self) -> Result:
        self.states.close()
        journal = read_journal(self.path)
        verdict: Verdict = judge(
            ledger=self.simulator.world.exchange.ledger_rows(),
            deliveries=self.broker.deliveries,
            journal=journal,
            asked=[self._asked(wish) for wish in self.wishes],
            told=self.told,
            honest=self.mode not in ("adversarial",),
            resend=self.resend,
            forbidden=frozenset({"o99999"}),
            hidden=frozenset(o.id for o in self.simulator.world.exchange.orders.values() if not self.broker.visible(o)),
        )
        if self.environment is Environment.LIVE and self.broker.deliveries:
            verdict.say("S10", "an order call left under settings that say live, at a paper login")
        for row in journal.intents.values():
            self.note(f"end {row['key']}: {row['state']} {row['order_id']}")
        # Ages between two rows say nothing where somebody sets the clock between them.
        aged = ("P:", "S9:", "RC-26:") if self.mode == "skew" else ()
        breaches = [*dict.fromkeys((*self.broker.breaches, *self.breaches, *verdict.breaches))]
        breaches = [breach for breach in breaches if not breach.startswith(aged or "-")]
        self.trace += [f"BREACH {breach}" for breach in breaches]
        return Result(
            seed=self.seed,
            mode=self.mode,
            breaches=breaches,
            hash=hashlib.sha256("\n".join(self.trace).encode()).hexdigest()[:16],
            trace=self.trace,
            crashes=self.mortality.crashes,
            deaths=self.mortality.died,
            passed=self.mortality.passed,
            fired=self.weather.fired,
            seen=self.seen,
            ends=verdict.ends,
            intents=len(self.wishes),
            heal_s=self.heal_s,
        )

    def _asked(self, wish: Wish) -> Asked:
        ticket = wish.ticket
        terms: dict[str, Any] = {"target": wish.target}
        if ticket is not None:
            terms |= {
                "account": str(ticket.account_id),
                "conid": int(ticket.contract.conid),
                "side": ticket.side.value,
                "quantity": ticket.quantity,
                "order_type": ticket.order_type.value,
                "limit": ticket.limit_price,
                "stop": ticket.stop_price,
                "tif": ticket.tif.value,
            }
        return Asked(wish.key, wish.operation, terms)


def _inner(error: BaseException) -> BaseException:
    while isinstance(error, BaseExceptionGroup):
        error = next(inner for inner in error.exceptions if not is_crash(inner))
    return error


def run(seed: int, *, mode: str = "", aim: str = "", crash_only: bool = False) -> Result:
    """One schedule, from an empty file to the verdict."""
    with tempfile.TemporaryDirectory(prefix="chaos-", dir=place_of_files()) as folder, _threads_inline(), _quiet():
        schedule = Schedule(seed, Path(folder), mode=mode, aim=aim, crash_only=crash_only)
        return anyio.run(schedule.run)


@contextmanager
def _quiet() -> Iterator[None]:
    """Thousands of outages are expected here; their log lines are not."""
    before = logging.root.manager.disable
    logging.disable(logging.CRITICAL)
    try:
        yield
    finally:
        logging.disable(before)
