"""Tier D: one seed, one run of the real order path on virtual time, byte for byte the same each time.

Real: OrderGateway, reconciler, journal (a SQLite file, on tmpfs where there is one), client with one of the three
sign-ins, and its pacer. In process: the simulator's server core. A crash throws all objects away and opens the file
again.
"""

from __future__ import annotations

import contextlib
import hashlib
import sqlite3
import tempfile
from collections import Counter
from collections.abc import Awaitable, Callable, Collection, Mapping
from pathlib import Path
from typing import Any

import anyio

from ibkit.errors import IbkitError
from ibkit.model import AuthMethod, Environment, Username
from ibkit.sim.quirks import Quirks
from ibkit.sim.serving.inprocess import TRADING_MOMENT, Simulator
from ibkit.sim.world import SimConfig
from ibkit.trading.group_keeper import OnBroken

from .broker import USERNAME, Broker
from .callers import Callers
from .checker import PENDING, JournalCopy, States, Told, Verdict, judge, read_journal
from .clock import ChaosClock
from .crashes import Mortality, is_crash
from .fates import Fates
from .faults import GROUP_FAULTS, Weather
from .group_checker import judge_externals, judge_groups
from .guards import Guards
from .kinds import (
    HEAL_S,
    HEAL_SLACK_S,
    KEYS,
    LATE,
    LONG_AGE_S,
    LONGEST_HEAL_S,
    LOOKED_AT_AGAIN,
    MODES,
    MOMENTS,
    OVERNIGHT_S,
    RATES,
    STEPS,
    WISHES,
    WORLDS,
)
from .officer import Officer
from .power import Disk
from .process import ACCOUNT, Process, SkewedClock
from .results import Result, empty_journal, place_of_files, quiet
from .rivals import Rivals
from .troubles import Troubles
from .workload import Wish, Workload

__all__ = ["Schedule", "run"]


class Schedule:
    """One seed. mode: one of MODES, else the seed's own. only: the fates that may strike; None for all.

    aim: the one point at which the process dies. crash_only: an honest broker and a good line. power: the disk under
    the journal, from which each crash takes what was not synced.
    """

    def __init__(
        self,
        seed: int,
        folder: Path,
        *,
        mode: str = "",
        aim: str = "",
        crash_only: bool = False,
        only: Collection[str] | None = None,
        power: Disk | None = None,
    ) -> None:
        self.seed = seed
        self.power = power
        self.path = folder / "journal.db"
        self.states = States(self.path)
        self.fates = Fates(seed, only)
        self.fates.note = self.note
        self.trace: list[str] = []
        self.seen: Counter[str] = Counter()
        self.breaches: list[str] = []
        self.told: list[Told] = []
        self.process: Process | None = None
        self.starts = 0
        self.heal_s = 0.0
        self.crash_only = crash_only
        work = self._work = self.fates.dice("setting")
        drawn = work.choices(list(MODES), list(MODES.values()))[0]
        self.mode = mode or drawn
        self.method = work.choice([AuthMethod.GATEWAY, AuthMethod.GATEWAY, AuthMethod.OAUTH1A, AuthMethod.OAUTH2])
        self.resend = self.mode in ("resend", "late resend")
        self.username = Username(USERNAME) if work.random() < 0.8 else None
        self.environment = Environment.LIVE if not crash_only and work.random() < 0.03 else Environment.PAPER
        start = work.choice(MOMENTS) if self.mode == "overnight" else TRADING_MOMENT
        self.clock = ChaosClock(start)
        self.wall = SkewedClock(self.clock)
        if work.random() < 0.9:  # the others make their file themselves
            self.path.write_bytes(empty_journal())
            self.path.chmod(0o600)
        gateway = self.method is AuthMethod.GATEWAY
        self.simulator = Simulator(
            SimConfig(start=start, seed=seed % WORLDS, quirks=Quirks().with_values(self._quirks())),
            self.clock,
            keys=None if gateway else KEYS,
        )
        self.broker = Broker(
            self.simulator, self.clock, self.fates, self.states, face="gateway" if gateway else "cloud"
        )
        self.broker.note = self.note
        self._choose_broker()
        self.weather = Weather(
            self.fates,
            self.fates.dice("weather"),
            swarm=self.mode != "plain",
            rate=self._rate(0.0, 0.1, 0.3, 0.6),
            read_rate=self._rate(0.0, 0.05, 0.2, 0.6),
            rates=None if crash_only else RATES.get(self.mode),
        )
        self.mortality = Mortality(
            self.fates,
            rate=0.0 if aim else work.choice([0.0, 0.01, 0.03, 0.08]),
            leave_rate=work.choice([0.0, 0.0, 0.01]),
            most=8,
            aim=aim,
        )
        self.troubles = Troubles(
            self.fates,
            self.simulator,
            self.broker,
            self.weather,
            self.clock,
            self.wall,
            method=self.method,
            scenarios=self._scenarios(),
        )
        self.troubles.disk_rate = self._rate(0.0, 0.0, 0.0, 0.02) if self.mode != "disk" or crash_only else 0.15
        self.troubles.pause_rate = self._rate(0.0, 0.0, 0.0, 0.05)
        self.troubles.session_rate = self._rate(0.0, 0.0, 0.05, 0.15)
        self.troubles.skew_rate = 0.3 if self.mode == "skew" else 0.0
        self.disk_fault = self.troubles.disk_fault
        self.callers = Callers(self)
        self.workload = Workload(
            seed,
            self.fates,
            self.simulator,
            self.broker,
            self.note,
            environment=self.environment,
            **WISHES.get(self.mode, {}),
        )
        self._external_at = 0 if crash_only else work.choice([0, 0, 3, 8])
        self._newer()

    def _newer(self) -> None:
        """What came later than the rest draws from dice of its own, so that old seeds stay what they were."""
        later = self.fates.dice("later setting")
        if self.mode in ("groups", "rivals") and later.random() < 0.75:
            scenario = later.choices(list(GROUP_FAULTS), (3, 1, 1, 1))[0]
            self.troubles.add_scenario(scenario)
            self.seen[scenario] += 1
        self.on_broken = OnBroken.ALERT if later.random() < 0.2 else OnBroken.UNDO
        self._marked = not self.crash_only and later.random() < 0.4
        rate = {"controls": later.choice([0.004, 0.015]), "groups": later.choice([0.0, 0.005])}.get(self.mode, 0.0)
        self.officer = Officer(self.fates, self.path, self.wall, rate=rate, environment=self.environment)
        self.mortality.press = self.officer.point
        self.rivals = Rivals(self, stop_rate=later.choice([0.02, 0.08]) if self.mode == "rivals" else 0.0)
        self.guards = self.broker.guards = Guards(
            self.states,
            traded=self.broker.traded,
            target=self.broker.quantity_of,
            now=self.wall.now,
            aged=self.mode != "skew",
        )
        if "multi-account" in self.troubles.scenarios:
            self.workload.spread(self.fates.dice("accounts"))
        self._copied_at, self._restored_at = 0, 0
        self._copy = b""
        self.restored = False
        self.forgotten: Mapping[str, Mapping[str, Any]] = {}
        if self.mode == "late resend":
            self.broker.delays = (400.0,)
        if self.mode == "restored":
            self.broker.may_be_restored = True
            self._copied_at = later.choice([1, 2, 3])
            self._restored_at = self._copied_at + later.choice([1, 2, 4])

    @property
    def wishes(self) -> list[Wish]:
        return self.workload.wishes

    def committed(self, intent_id: str, rows: tuple[str, ...]) -> None:
        """The guards look at each row the moment it is committed."""
        for breach in self.guards.committed(intent_id, rows):
            self.breaches.append(breach)
            self.note(breach)

    def note(self, text: str) -> None:
        self.trace.append(f"{self.clock.monotonic():9.2f} {text}")

    def wrote(self, text: str) -> None:
        self.note(text)
        self.troubles.pause()

    # --- the setting -------------------------------------------------------------------------------------------

    def _rate(self, *rates: float) -> float:
        drawn = self._work.choice(rates)
        return 0.0 if self.crash_only else drawn

    def _quirks(self) -> dict[str, object]:
        if self.crash_only:
            return {"coid_hours": 0}
        work = self._work
        quirks = {
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
            "strict_nonce": work.choice([True, False]),
            "lst_hours": work.choice([24.0, 24.0, 0.05]),  # the last: 180 s, so that tokens end during orders (F61)
            "price_algo_prompt": work.choice([False, False, False, True]),
            "price_algo_pct": "1",
        }
        return quirks | ({"coid_hours": 24} if self.mode == "late resend" else {})

    def _choose_broker(self) -> None:
        work, broker = self._work, self.broker
        latest = 400.0 if self.mode in LATE else 27.0
        delays: tuple[float, ...] = work.choice([(0.0,), (0.0, 2.0), (0.0, 2.0, 8.0), (0.0, 8.0, latest)])
        broker.scope = work.choice(["day", "session"])
        style = work.choice(["", "", "", "", "upper", "cut", "missing"])
        suppressed = work.random() < 0.3 and self.mode != "questions"
        broker.suppress = frozenset({"o10331"}) if suppressed else frozenset()
        race = work.choice([0.0, 0.3])
        if not self.crash_only:
            broker.delays, broker.ref_style, broker.race = delays, style, race

    def _scenarios(self) -> tuple[str, ...]:
        work, found = self._work, []
        for name, share in (("order-question-unknown", 0.15), ("order-question", 0.25), ("multi-account", 0.15)):
            if work.random() < share:
                found.append(name)
        if work.random() < 0.08:
            found.append(work.choice(["order-reject-200", "order-no-permission", "stop-reject"]))
        if work.random() < 0.2:
            found.append(work.choice(["no-fill", "partial-fill"]))
        return () if self.crash_only else tuple(found)

    # --- running -----------------------------------------------------------------------------------------------

    async def run(self) -> Result:
        if self.resend:
            await self.officer.set_limit("max_age_s", str(LONG_AGE_S))
        for step in range(STEPS):
            await self._copy_or_restore(step)
            waiting = self._waiting()
            if not waiting:
                if step <= self._restored_at:
                    continue
                break
            if self.restored and step > self._restored_at + 6:
                break
            if step == self._external_at and step:
                mark = f"ib-{'a2b3c4d5' * 4}" if self._marked else ""
                self.troubles.type_into_tws(mark)
                self.seen["external order"] += 1
                self.seen["external order with a mark"] += bool(mark)
            self.troubles.disturb_session()
            self.troubles.set_clock()
            await self._living(self._step, self._work.choice(waiting))
            self.clock.advance(self._work.choice([0.0, 0.5, 1.0, 20.0]))
        if not self.restored:
            await self._heal()
        else:
            await self._bury()
        return await self._judged()

    async def _copy_or_restore(self, step: int) -> None:
        """Somebody copies the journal's file, and later puts the older copy in its place (F100)."""
        if not self._restored_at or step not in (self._copied_at, self._restored_at):
            return
        await self._bury()
        self.states.close()
        await self.officer.close()
        if self.path.exists():
            with contextlib.closing(sqlite3.connect(self.path)) as connection:
                connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        if step == self._copied_at:
            self._copy = self.path.read_bytes() if self.path.exists() else b""
        elif self._copy and self.path.read_bytes() != self._copy:
            self.note("an older copy of the journal is put in its place")
            self.forgotten = read_journal(self.path).intents
            for tail in ("-wal", "-shm"):
                self.path.with_name(f"{self.path.name}{tail}").unlink(missing_ok=True)
            before = self.states.lanes_of(self.path)
            self.path.write_bytes(self._copy)
            # Copied before anything could leave and put back before anything has left: nothing is forgotten.
            self.restored = before != self.states.lanes_of(self.path)
            self.seen["journal restored"] += self.restored
            self.broker.nothing_may_leave = self.restored

    async def _step(self, wish: Wish) -> None:
        process = self._living_process
        draw = self._work.random()
        if draw < 0.15:
            await self.callers.recover(process)
        if draw > 0.9 and process.client is not None:
            try:
                await process.client.keeper.beat()
            except IbkitError as error:
                self.note(f"beat: {error.code}")
        if 0.15 < draw < 0.25 and wish.asked and wish.ticket is not None:
            await self.callers.ask_other_body(wish, process)
        elif 0.25 < draw < 0.4:
            self.seen["twins"] += 1
            async with anyio.create_task_group() as twins:
                twins.start_soon(self.callers.ask, wish, process)
                twins.start_soon(self.callers.ask, wish, process)
        elif self.mode == "rivals" and 0.4 < draw < 0.6:
            await self.rivals.beside(wish, self._work.choice(self._waiting()))
        else:
            await self.callers.ask(wish, process)
        if self.process is not None and self.process.halted and self._work.random() < 0.5:
            self.note("started again after a disk failure")
            await self._bury()

    @property
    def _living_process(self) -> Process:
        assert self.process is not None
        return self.process

    async def _ask(self, wish: Wish) -> None:
        await self.callers.ask(wish, self._living_process)

    async def _recover(self) -> None:
        await self.callers.recover(self._living_process, ACCOUNT)

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
            if self.power is not None and is_crash(error):
                self.power.freeze()
                self.states.close()
                await self._bury()
                self.power.restore()
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

    def _count(self, journal: JournalCopy) -> None:
        """Settings and events that the coverage gate asks for."""
        broker, seen = self.broker, self.seen
        seen["lists of the session"] += broker.scope == "session"
        seen["refs misspelt"] += bool(broker.ref_style)
        seen["short tokens"] += self.method is AuthMethod.OAUTH1A and self.simulator.world.quirks.lst_hours < 1
        seen["late delivery of a reply"] += self.weather.pairs["late delivery", "reply after Replying"]
        seen["sends under guard"] += self.guards.checked
        for row in journal.intents.values():
            kinds = [kind for kind, _ in row["events"]]
            for kind in ("Grouped", "Mended", "TakenOver", "Attached", "Rearmed"):
                seen[f"row {kind}"] += kind in kinds
            seen["flattened"] += ":flatten" in row["key"]
            asked = [body["question"]["message_ids"] for kind, body in row["events"] if kind == "Questioned"]
            seen["chain of questions"] += len(asked) > 1
            seen["messages together"] += any(len(ids) > 1 for ids in asked)

    def _waiting(self) -> list[Wish]:
        """The wishes that are not at rest."""
        states = self.states.now()
        return [
            wish
            for wish in self.wishes
            if not (wish.done if wish.operation == "cancel all" else states.get(wish.key, "intent") not in PENDING)
        ]

    # --- after the faults --------------------------------------------------------------------------------------

    async def _heal(self) -> None:
        """All faults stop; within two minutes everything must have come to rest."""
        self.note("heal")
        self.mortality.rate = self.mortality.leave_rate = self.broker.race = self.rivals.stop_rate = 0.0
        self.mortality.aim = ""
        failing = self.troubles.disk_rate > 0 or self.method is not AuthMethod.GATEWAY
        self.troubles.heal()
        if failing:
            # A journal that met a failed fsync writes again only after a new start, and a sign-in that was refused
            # pauses for minutes: somebody starts the program again.
            await self._bury()
        # Out of the penalty box nobody can come sooner: for a program that stands in it the faults stop with it.
        begun = max(self.clock.monotonic(), self.broker.boxed_until)
        while True:
            await self._living(self._recover)
            if self._all_at_rest() or self.clock.monotonic() > begun + LONGEST_HEAL_S:
                break
            self.clock.advance(10.0)
        self.heal_s = max(0.0, self.clock.monotonic() - begun)
        # A list that spells refs wrongly proves neither presence nor absence: such a search ends when it gives up.
        # Nor does one for what is registered, and shown only later; nor for a cancel, left without its answer, of an
        # order that IBKR showed beside ours and does not have.
        ghosts = self.weather.fired["two rows with our ref"] > 0
        vague = self.broker.ref_style in ("cut", "missing") or self.mode == "late resend" or ghosts
        longest = HEAL_S + HEAL_SLACK_S + (300.0 if vague else 0.0)
        if self.resend:  # what is armed again rests only when it is too old to be sent
            longest += LONG_AGE_S
        if self.heal_s > longest:
            self.breaches.append(f"L1: at rest only {self.heal_s:.0f} s after the faults stopped")
        for wish in self._waiting():
            await self._living(self._ask, wish)
        # The next commands of the day, each a new process and a new brokerage session: one looks and is asked for
        # everything again, one looks. Perhaps a night lies between them.
        await self._look_again(700.0)
        sent, seen = len(self.broker.deliveries), self._order_states()
        for wish in list(self.wishes):
            if wish.asked and wish.operation == "place":
                await self._living(self._ask, wish)
        if self.mode == "overnight":
            self.seen["overnight"] += 1
            await self._look_again(OVERNIGHT_S)
            seen = self._order_states()
        # What the market filled while everything was asked for again nobody has had a chance to see yet.
        if self.mode in LOOKED_AT_AGAIN or len(self.broker.deliveries) > sent or self._order_states() != seen:
            await self._look_again(700.0)
        await self._bury()

    async def _look_again(self, pause_s: float) -> None:
        await self._bury()
        self.clock.advance(pause_s)
        self.troubles.heal()
        for _ in range(3):
            before = self._order_states()
            await self._living(self._recover)
            if self._order_states() == before:  # else the market has filled something behind the look's back
                break
        if any(wish.group for wish in self.wishes):
            # A fill that is seen now for the first time leaves its siblings five seconds to end by themselves.
            self.clock.advance(10.0)
            await self._living(self._recover)
        self.clock.advance(60.0)

    def _order_states(self) -> dict[int, tuple[str, object]]:
        orders = self.simulator.world.exchange.orders
        return {order_id: (order.state, order.filled) for order_id, order in orders.items()}

    def _all_at_rest(self) -> bool:
        return not PENDING & set(self.states.now().values())

    async def _judged(self) -> Result:
        self.states.close()
        await self.officer.close()
        journal = read_journal(self.path)
        exchange = self.simulator.world.exchange
        ledger, asked = exchange.ledger_rows(), [wish.terms for wish in self.wishes]
        hidden = frozenset(order.id for order in exchange.orders.values() if not self.broker.visible(order))
        verdict: Verdict = judge(
            ledger=ledger,
            deliveries=self.broker.deliveries,
            journal=journal,
            asked=asked,
            told=self.told,
            honest=self.mode not in LATE,
            resend=self.resend,
            forbidden=frozenset({"o99999"}),
            hidden=hidden,
            phantoms=bool(self.weather.fired["two rows with our ref"]),
            places=self.broker.places,
            forgotten=self.forgotten,
        )
        marks = self.broker.ref_style in ("", "upper")
        if not self.restored and not self.weather.fired["two rows with our ref"]:
            judge_groups(
                verdict,
                ledger=ledger,
                deliveries=self.broker.deliveries,
                journal=journal,
                asked=asked,
                places=self.broker.places,
                hidden=hidden,
                marks=marks,
                # Of two processes one's look waits for the other's: IBKR lists orders once in five seconds for both.
                calm=self.mode != "rivals"
                and not self.weather.fired
                and not self.mortality.crashes
                and not self.mortality.left
                and not self.seen["stopped"],
            )
            judge_externals(verdict, ledger=ledger, journal=journal, hidden=hidden, marks=marks)
        self._count(journal)
        if self.environment is Environment.LIVE and self.broker.deliveries:
            verdict.say("S10", "an order call left under settings that say live, at a paper login")
        for row in journal.intents.values():
            self.note(f"end {row['key']}: {row['state']} {row['order_id']}")
        # Ages between two rows say nothing where somebody sets the clock between them.
        aged = ("P:", "S9:", "RC-26:") if self.mode == "skew" else ()
        # What a restored journal has forgotten, and what nobody brought to rest in it, is no breach.
        aged = ("S3:", "S6:", "S7", "S8:", "S11:", "L3:") if self.restored else aged
        if self.mode in LATE and self.broker.ref_style in ("cut", "missing"):
            aged = (*aged, "S7b:")  # a late order that shows no ref of ours is an order of somebody else to everybody
        breaches = [*dict.fromkeys((*self.broker.breaches, *self.breaches, *verdict.breaches))]
        breaches = [breach for breach in breaches if not breach.startswith(aged or "-")]
        self.trace += [f"BREACH {breach}" for breach in breaches]
        return Result(
            seed=self.seed,
            mode=self.mode,
            method=self.method.value,
            breaches=breaches,
            hash=hashlib.sha256("\n".join(self.trace).encode()).hexdigest()[:16],
            trace=self.trace,
            fates=self.fates.struck,
            crashes=self.mortality.crashes,
            deaths=self.mortality.died,
            passed=self.mortality.passed,
            fired=self.weather.fired,
            pairs=self.weather.pairs,
            seen=self.seen + self.broker.seen + self.officer.pressed,
            ends=verdict.ends,
            intents=len(self.wishes),
            heal_s=self.heal_s,
        )


def _inner(error: BaseException) -> BaseException:
    while isinstance(error, BaseExceptionGroup):
        error = next(inner for inner in error.exceptions if not is_crash(inner))
    return error


def run(
    seed: int, *, mode: str = "", aim: str = "", crash_only: bool = False, only: Collection[str] | None = None
) -> Result:
    """One schedule, from an empty file to the verdict."""
    with tempfile.TemporaryDirectory(prefix="chaos-", dir=place_of_files()) as folder, quiet():
        schedule = Schedule(seed, Path(folder), mode=mode, aim=aim, crash_only=crash_only, only=only)
        return anyio.run(schedule.run)
