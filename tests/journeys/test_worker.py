"""The worker over the simulator in process: what it notices by the stream, what by asking, and what it does then."""

from __future__ import annotations

import dataclasses
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from datetime import datetime, timedelta
from decimal import Decimal
from itertools import pairwise
from pathlib import Path

import anyio
import anyio.lowlevel
import pytest

from clients import make_client
from fakes import MemoryJournal, MemoryTrades
from ibkit.bootstrap.worker_loop import WorkerLoop
from ibkit.clock import ManualClock
from ibkit.errors import InFlight, Unreachable
from ibkit.sim.quirks import Quirks
from ibkit.sim.serving.inprocess import TRADING_MOMENT, SimConfig, Simulator
from ibkit.store.lease import Lease
from ibkit.trading.selling.exits import ExitPlan, OnMissing
from ibkit.trading.selling.trade import ExitReason, Trade, TradeStatus
from ibkit.trading.watching.rounds import Rounds
from sale_desks import Desk, made_desk
from simulators import KEYS

pytestmark = [pytest.mark.requirement("TRD-20", "OPS-10")]

KEY = "worker-0123456789abcdef"
MULTIPLE = Decimal(5)


class PatientClock(ManualClock):
    """Whoever sleeps on it waits until somebody else has moved it: the test, as it lets time pass."""

    def __init__(self, start: datetime) -> None:
        super().__init__(start)
        self._moved = anyio.Event()
        self.patient = False

    def advance(self, seconds: float) -> None:
        super().advance(seconds)
        moved, self._moved = self._moved, anyio.Event()
        moved.set()

    async def sleep(self, seconds: float) -> None:
        if not self.patient:
            await super().sleep(seconds)
            return
        until = self.monotonic() + seconds
        while self.monotonic() < until:
            await self._moved.wait()


class Night:
    """Three sold puts under a worker, and what a person does beside it.

    Journal and records are in memory: a thread for the disk would let the clock, which the test moves, run ahead of it.
    """

    def __init__(self, simulator: Simulator, room: Desk, conid: int) -> None:
        self.simulator, self.room, self.conid = simulator, room, conid
        self.account = simulator.world.users_at_start[0].accounts[0].id

    def rounds(self, **changes: object) -> Rounds:
        room = self.room
        return Rounds(
            gateway=room.gateway,
            watchdog=room.watchdog(**changes),
            alerts=room.parts["alerts"],
            clock=self.simulator.clock,
            account_id=self.account,
        )

    @asynccontextmanager
    async def working(self, **changes: object) -> AsyncIterator[WorkerLoop]:
        """A worker, while somebody else lets time pass."""
        loop = WorkerLoop(
            rounds=[self.rounds(**changes)],
            stream=self.room.client.stream,
            clock=self.simulator.clock,
            poll_s=60,
            observe=self.room.steps.append,
            chance=lambda: 0.5,
        )
        stop = anyio.Event()
        self.simulator.clock.patient = True
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(loop.run, stop)
            await self.pass_time(15)
            yield loop
            stop.set()
            await self.pass_time(20)
            tasks.cancel_scope.cancel()
        self.simulator.clock.patient = False

    async def pass_time(self, seconds: float) -> None:
        await self.simulator.pass_time(seconds, step_s=0.5)

    @property
    def now(self) -> datetime:
        return self.simulator.clock.now()

    @property
    def working_orders(self) -> list[tuple[str, str, Decimal]]:
        rows = [o for o in self.simulator.world.exchange.orders.values() if o.working]
        return sorted((o.ticket.side, o.ticket.order_type, o.ticket.quantity - o.filled) for o in rows)

    @property
    def position(self) -> Decimal:
        holding = self.simulator.world.books[self.account].holdings.get(self.conid)
        return Decimal(0) if holding is None else holding.quantity

    def cancel_in_tws(self) -> None:
        """The stop goes, by another program of the same user."""
        (stop,) = [o for o in self.simulator.world.exchange.orders.values() if o.working]
        self.simulator.world.exchange.end(stop, "cancelled", self.now)
        self.simulator.stir()

    def buy_in_tws(self, quantity: int) -> None:
        ticket = {"conid": self.conid, "side": "BUY", "quantity": quantity, "orderType": "MKT", "tif": "DAY"}
        self.simulator.control("POST", "order", {"account": self.account, "ticket": ticket})
        self.simulator.stir()

    def said(self, text: str, since: datetime) -> float:
        """Seconds after `since` at which it was said."""
        return next((step.at - since).total_seconds() for step in self.room.steps if text in step.text)

    async def record(self) -> Trade:
        (trade,) = await self.room.trades.trades()
        return trade


STOP = [("BUY", "STP", Decimal(3))]
PLACE = ExitPlan(stop_multiple=MULTIPLE)


def night(test: Callable[[Night], Awaitable[None]], plan: ExitPlan = PLACE, *scenarios: str, **quirks: object) -> None:
    """`test` a minute and a half after three puts were sold and protected."""

    async def run() -> None:
        config = SimConfig(
            start=TRADING_MOMENT, seed=7, scenarios=scenarios or ("ok",), quirks=Quirks().with_values(quirks)
        )
        simulator = Simulator(config, PatientClock(TRADING_MOMENT), keys=KEYS)
        journal, trades = MemoryJournal(simulator.clock), MemoryTrades()
        async with make_client(simulator) as ib:
            room = await made_desk(ib, journal, trades)
            sold = await room.seller.sell_option_with_stop("SPY", 629, "P", 5, 3, "20261120", key=KEY)
            assert sold.success, sold
            trades.rows = {name: dataclasses.replace(row, exit_plan=plan) for name, row in trades.rows.items()}
            simulator.advance(90)
            room.steps.clear()
            await test(Night(simulator, room, int(sold.contract_id)))

    anyio.run(run)


@pytest.mark.requirement("TRD-14")
def test_a_stop_removed_in_tws_is_noticed_by_the_stream_within_five_seconds_and_placed_again() -> None:
    async def test(it: Night) -> None:
        async with it.working():
            removed = it.now
            it.cancel_in_tws()
            await it.pass_time(30)
            assert it.said("looking", removed) <= 5
            assert it.said("a new stop works", removed) <= 30
            assert it.working_orders == STOP

    night(test)


@pytest.mark.requirement("TRD-14")
def test_without_a_stream_it_is_noticed_within_a_minute() -> None:
    async def test(it: Night) -> None:
        @asynccontextmanager
        async def no_stream() -> AsyncIterator[object]:
            raise Unreachable("no WebSocket here")
            yield

        it.room.client.stream = no_stream
        async with it.working() as loop:
            removed = it.now
            it.cancel_in_tws()
            await it.pass_time(75)
            assert it.said("looking again", removed) <= 60
            assert it.working_orders == STOP
            assert loop.standing.stream == "down"

    night(test)


def test_a_stream_that_ends_or_fails_within_is_opened_again_after_a_pause() -> None:
    async def test(it: Night) -> None:
        opened = []
        real = it.room.client.stream

        @asynccontextmanager
        async def flaky() -> AsyncIterator[object]:
            opened.append(it.now)
            if len(opened) > 3:
                async with real() as stream:
                    yield stream
                return
            async with anyio.create_task_group() as tasks:
                if len(opened) > 1:
                    tasks.start_soon(_fails)
                yield Ended()

        it.room.client.stream = flaky
        async with it.working() as loop:
            await it.pass_time(60)
            assert loop.standing.stream == "live"
            assert len(opened) == 4
            assert all((b - a).total_seconds() >= 1.5 for a, b in pairwise(opened))

    night(test)


async def _fails() -> None:
    raise Unreachable("broken within")


class Ended:
    """A stream that tells nothing and is over at once."""

    live = False

    async def orders(self) -> AsyncIterator[object]:
        await anyio.lowlevel.checkpoint()
        return
        yield

    lifecycle = orders


def test_by_the_plan_the_position_is_bought_back() -> None:
    async def test(it: Night) -> None:
        async with it.working():
            it.cancel_in_tws()
            await it.pass_time(60)
            assert it.position == 0
            assert it.working_orders == []
            await it.pass_time(60)
            assert (await it.record()).exit_reason is ExitReason.MANUAL

    night(test, ExitPlan(stop_multiple=MULTIPLE, on_missing=OnMissing.CLOSE))


def test_by_the_plan_only_a_person_is_told() -> None:
    async def test(it: Night) -> None:
        async with it.working():
            it.cancel_in_tws()
            await it.pass_time(60)
            assert it.working_orders == []
            (alert,) = await it.room.parts["alerts"].open()
            assert "has no working stop" in alert.message

    night(test, ExitPlan(stop_multiple=MULTIPLE, on_missing=OnMissing.ALERT))


def test_two_workers_place_one_stop() -> None:
    async def test(it: Night) -> None:
        async with it.working(), it.working():
            it.cancel_in_tws()
            await it.pass_time(60)
            assert it.working_orders == STOP

    night(test)


@pytest.mark.requirement("TRD-20")
def test_a_filled_stop_closes_the_record_within_seconds_with_its_executions() -> None:
    async def test(it: Night) -> None:
        async with it.working():
            (stop,) = [o for o in it.simulator.world.exchange.orders.values() if o.working]
            it.simulator.control("POST", "fill", {"order_id": stop.id, "price": 9.1})
            await it.pass_time(30)
            assert stop.filled == 3
            record = await it.record()
            assert (record.status, record.exit_reason) == (TradeStatus.CLOSED, ExitReason.STOPPED_OUT)
            await it.pass_time(60)
            record = await it.record()
            gross = (record.entry_price - record.exit_price) * 100 * 3
            assert record.realized_pnl == gross - record.entry_commission - record.exit_commission

    night(test)


def test_closed_in_tws_the_orphaned_stop_is_cancelled() -> None:
    async def test(it: Night) -> None:
        async with it.working():
            it.buy_in_tws(3)
            await it.pass_time(60)
            assert it.position == 0
            assert it.working_orders == []
            assert (await it.record()).exit_reason is ExitReason.MANUAL

    night(test)


def test_a_part_closed_in_tws_makes_the_stop_smaller() -> None:
    async def test(it: Night) -> None:
        async with it.working():
            it.buy_in_tws(1)
            await it.pass_time(60)
            assert it.position == -2
            assert it.working_orders == [("BUY", "STP", Decimal(2))]

    night(test)


def test_a_time_exit_is_kept_to_the_second_and_leaves_no_order() -> None:
    moment = TRADING_MOMENT + timedelta(minutes=5, seconds=17)

    async def test(it: Night) -> None:
        async with it.working():
            await it.pass_time((moment - it.now).total_seconds() + 30)
            assert 0 <= it.said("its time has come", moment) <= 10
            assert it.position == 0
            assert it.working_orders == []

    night(test, ExitPlan(stop_multiple=MULTIPLE, exit_at=moment))


def test_past_the_close_what_is_out_of_the_money_has_expired() -> None:
    async def test(it: Night) -> None:
        close = TRADING_MOMENT.replace(hour=21, minute=0)
        it.simulator.advance((close - it.now).total_seconds() + 120)
        report = await it.rounds().run()
        assert report.safe, report
        record = await it.record()
        assert record.exit_reason in (ExitReason.EXPIRED, ExitReason.ASSIGNED)
        assert record.exit_price == 0

    night(test, idle_timeout_s="1e9")


def test_an_outage_is_one_line_when_it_begins_and_one_when_it_ends() -> None:
    async def test(it: Night) -> None:
        async with it.working():
            it.simulator.up = False
            await it.pass_time(120)
            it.simulator.up = True
            await it.pass_time(90)
            told = [step.text for step in it.room.steps if " down: " in step.text or " up again " in step.text]
            assert sorted(text.split(" ")[0] for text in told) == ["IBKR", "IBKR", "stream", "stream"], told
            it.cancel_in_tws()
            await it.pass_time(30)
            assert it.working_orders == STOP

    night(test)


@pytest.mark.requirement("OPS-10")
def test_asked_to_stop_it_ends_within_ten_seconds() -> None:
    async def test(it: Night) -> None:
        ended = []
        it.simulator.clock.patient = True
        loop = WorkerLoop(
            rounds=[it.rounds()],
            stream=it.room.client.stream,
            clock=it.simulator.clock,
            poll_s=60,
            observe=it.room.steps.append,
            chance=lambda: 0.5,
        )
        stop = anyio.Event()

        async def run() -> None:
            await loop.run(stop)
            ended.append(it.now)

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(run)
            await it.pass_time(20)
            asked = it.now
            stop.set()
            await it.pass_time(12)
            assert ended
            assert (ended[0] - asked).total_seconds() <= 10

    night(test)


def test_one_lease_holds_one_worker(tmp_path: Path) -> None:
    async def run() -> None:
        clock = ManualClock(TRADING_MOMENT)
        lease = Lease(tmp_path, "login-x")
        assert not lease.held()
        async with lease.hold(clock=clock, what="the watch"):
            lease.write({"pid": 17})
            assert Lease(tmp_path, "login-x").read() == {"pid": 17}
            with pytest.raises(InFlight, match="process 17"):
                async with Lease(tmp_path, "login-x").hold(clock=clock, what="the watch"):
                    pass
        assert lease.read() is None

    anyio.run(run)
