"""The stream over the simulator in process: what it promises while the line breaks, stalls, lies and repeats itself."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from decimal import Decimal
from typing import Any

import anyio
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from clients import make_client, permit
from ibkit.client.broker import IbkrBroker
from ibkit.client.stream import Stream
from ibkit.errors import Unreachable
from ibkit.model import (
    Accepted,
    AccountId,
    Asked,
    AuthMethod,
    Complained,
    Conid,
    Down,
    FillUpdate,
    Fresh,
    GroupKind,
    Live,
    OrderStatus,
    OrderTicket,
    OrderType,
    OrderUpdate,
    Ref,
    SessionLost,
    Side,
    Source,
    Stale,
    Unread,
    exits_of,
)
from ibkit.sim.serving.inprocess import Simulator
from simulators import make_simulator

pytestmark = pytest.mark.requirement("FUT-02", "TST-01")

SPY, AAPL = Conid(756733), Conid(265598)
ACCOUNT = "DU1000001"


class Watched:
    """A stream with a listener to everything; what each heard is a list."""

    def __init__(self, simulator: Simulator, stream: Stream) -> None:
        self.simulator, self.stream = simulator, stream
        self.orders: list[OrderUpdate] = []
        self.fills: list[FillUpdate] = []
        self.line: list[Any] = []

    async def pass_time(self, seconds: float, step_s: float = 0.5) -> None:
        await self.simulator.pass_time(seconds, step_s=step_s)

    def enter(self, order_type: str = "LMT", quantity: int = 3, **terms: Any) -> int:
        ticket = {"conid": SPY, "side": "BUY", "quantity": quantity, "orderType": order_type, "tif": "DAY", **terms}
        return self.simulator.control("POST", "order", {"account": ACCOUNT, "ticket": ticket})["order_id"]

    def fault(self, name: str, **rest: Any) -> None:
        self.simulator.control("POST", "faults", {"fault": name, **rest})

    def of(self, kind: type) -> list[Any]:
        return [event for event in self.line if isinstance(event, kind)]


async def collect(events: AsyncIterator[Any], into: list[Any]) -> None:
    async for event in events:
        into.append(event)


@asynccontextmanager
async def watching(simulator: Simulator, method: AuthMethod = AuthMethod.OAUTH1A) -> AsyncIterator[Watched]:
    async with (
        make_client(simulator, method) as ib,
        ib.stream() as stream,
        anyio.create_task_group() as group,
    ):
        watched = Watched(simulator, stream)
        group.start_soon(collect, stream.lifecycle(), watched.line)
        group.start_soon(collect, stream.orders(), watched.orders)
        group.start_soon(collect, stream.fills(), watched.fills)
        await watched.pass_time(1)
        yield watched
        group.cancel_scope.cancel()


def watch(test: Callable[[Watched], Awaitable[None]], simulator: Simulator | None = None, **options: Any) -> None:
    async def run() -> None:
        async with watching(simulator or make_simulator(), **options) as watched:
            await test(watched)

    anyio.run(run)


@pytest.mark.parametrize("method", list(AuthMethod))
def test_each_sign_in_streams(method: AuthMethod) -> None:
    async def test(watched: Watched) -> None:
        order_id = watched.enter("MKT")
        await watched.pass_time(3)
        assert [update.order.status for update in watched.orders][-1] is OrderStatus.FILLED
        assert {update.order.order_id for update in watched.orders} == {str(order_id)}
        assert [fill.is_new for fill in watched.fills] == [True, False]
        assert watched.fills[1].fill.fee is not None
        assert watched.fills[1].fill.order_id == str(order_id)

    watch(test, make_simulator(gateway_ready_s=0), method=method)


def test_orders_that_were_there_before_are_told_first() -> None:
    async def run() -> None:
        simulator = make_simulator()
        async with make_client(simulator) as ib:
            watched = Watched(simulator, None)  # type: ignore[arg-type]
            order_id = watched.enter(price=100)
            async with ib.stream() as stream, anyio.create_task_group() as group:
                group.start_soon(collect, stream.orders(), watched.orders)
                await simulator.pass_time(1)
                assert [u.order.order_id for u in watched.orders] == [str(order_id)]
                assert watched.orders[0].before is None
                late: list[OrderUpdate] = []
                group.start_soon(collect, stream.orders(), late)
                await simulator.pass_time(1)
                assert [u.order for u in late] == [watched.orders[0].order]
                group.cancel_scope.cancel()

    anyio.run(run)


def test_what_happens_in_a_gap_is_told_before_live_is_said() -> None:
    async def run() -> None:
        simulator = make_simulator()
        told: list[Any] = []
        async with make_client(simulator) as ib, ib.stream() as stream, anyio.create_task_group() as group:
            group.start_soon(collect, stream.orders(), told)
            group.start_soon(collect, stream.fills(), told)
            group.start_soon(collect, stream.lifecycle(), told)
            watched = Watched(simulator, stream)
            await watched.pass_time(1)
            watched.fault("socket-stall")
            filled = watched.enter("MKT")
            resting = watched.enter(price=100)
            await watched.pass_time(35)
            kinds = [type(event) for event in told]
            live = max(i for i, kind in enumerate(kinds) if kind is Live)
            assert told[live].gap_s > 20
            before = told[:live]
            assert {e.order.order_id for e in before if isinstance(e, OrderUpdate)} == {str(filled), str(resting)}
            assert sum(isinstance(e, FillUpdate) and e.is_new for e in before) == 1
            group.cancel_scope.cancel()

    anyio.run(run)


def test_a_silent_stall_is_noticed_within_thirty_seconds() -> None:
    async def test(watched: Watched) -> None:
        watched.fault("socket-stall")
        await watched.pass_time(30)
        assert [event.reason for event in watched.of(Down)] == ["no frame for 25 s"]
        await watched.pass_time(5)
        assert watched.stream.live

    watch(test)


def test_a_subscription_that_falls_silent_alone_is_told_and_asked_for_again() -> None:
    async def test(watched: Watched) -> None:
        quotes: list[Any] = []
        async with anyio.create_task_group() as group:
            group.start_soon(collect, watched.stream.quotes([SPY, AAPL]), quotes)
            await watched.pass_time(5)
            watched.fault("topic-stall", topic=f"smd+{SPY}", params={"seconds": 40})
            await watched.pass_time(42)
            assert [event.topic for event in watched.of(Stale)] == [f"smd+{SPY}"]
            assert watched.of(Stale)[0].silent_s == pytest.approx(30, abs=1.5)
            assert watched.of(Down) == []
            await watched.pass_time(30)
            assert [event.topic for event in watched.of(Fresh)] == [f"smd+{SPY}"]
            group.cancel_scope.cancel()

    watch(test)


def test_market_data_is_renewed_before_its_silent_end() -> None:
    async def test(watched: Watched) -> None:
        quotes: list[Any] = []
        async with anyio.create_task_group() as group:
            group.start_soon(collect, watched.stream.quotes([SPY]), quotes)
            for _ in range(12):
                await watched.pass_time(60, step_s=2)
            seen = len(quotes)
            await watched.pass_time(30)
            assert len(quotes) > seen + 5
            assert watched.of(Stale) == []
            group.cancel_scope.cancel()

    watch(test)


def test_ticks_out_of_order_and_frames_sent_twice_change_nothing() -> None:
    async def test(watched: Watched) -> None:
        quotes: list[Any] = []
        async with anyio.create_task_group() as group:
            group.start_soon(collect, watched.stream.quotes([SPY]), quotes)
            await watched.pass_time(3)
            for _ in range(5):
                watched.fault("frame-reorder", topic=f"smd+{SPY}")
                watched.fault("frame-duplicate", topic=f"smd+{SPY}", after=2)
                watched.fault("frame-duplicate", topic="s[ot]r", times=4)
                watched.enter("MKT")
                await watched.pass_time(5)
            stamps = [quote.at for quote in quotes]
            assert stamps == sorted(stamps)
            # A read may bring an execution with its fee at once; then it is told once and no more.
            assert list(Counter(f.fill.execution_id for f in watched.fills if f.is_new).values()) == [1] * 5
            assert max(Counter(f.fill.execution_id for f in watched.fills).values()) <= 2
            latest = {f.fill.execution_id: f.fill for f in watched.fills}
            assert all(each.fee is not None for each in latest.values())
            group.cancel_scope.cancel()

    watch(test)


def test_quotes_nobody_listens_to_any_more_are_unsubscribed() -> None:
    async def test(watched: Watched) -> None:
        quotes = watched.stream.quotes([SPY])
        with anyio.move_on_after(1):
            async with anyio.create_task_group() as group:
                group.start_soon(watched.pass_time, 3)
                await anext(quotes)
        (session,) = [s for s in watched.simulator.world.logins.sessions if s.method == "oauth1a"]
        assert SPY in session.brokerage.market_lines
        del quotes
        await watched.pass_time(15)
        assert session.brokerage.market_lines == {}

    watch(test)


def test_frames_that_cannot_be_read_are_skipped_and_too_many_cycle_the_line() -> None:
    async def test(watched: Watched) -> None:
        for text in ("<html>", "[1]", '{"topic":"sor","args":[{"orderId":'):
            watched.fault("frame-garbage", topic="system", params={"text": text})
            await watched.pass_time(10)
        assert len(watched.of(Unread)) == 3
        assert watched.of(Down) == []
        watched.fault("frame-garbage", topic="*", times=20, params={"text": "no"})
        for _ in range(4):
            watched.enter(price=100)
        await watched.pass_time(5)
        assert [event.reason for event in watched.of(Down)] == ["too many frames that cannot be read"]

    watch(test)


def test_a_lost_order_frame_is_found_without_a_gap() -> None:
    async def test(watched: Watched) -> None:
        watched.fault("topic-stall", topic="sor", params={"seconds": 5})
        order_id = watched.enter(price=100)
        await watched.pass_time(70)
        assert [u.order.order_id for u in watched.orders] == [str(order_id)]
        assert watched.orders[0].source is Source.READ
        assert watched.of(Down) == []

    watch(test)


@pytest.mark.requirement("TRD-12")
@pytest.mark.parametrize(("topic", "seconds"), [("sor", 29), ("str", 12)])
def test_f79_orders_or_trades_that_fall_silent_alone_are_told_within_thirty_seconds(topic: str, seconds: int) -> None:
    """Heartbeats prove nothing of a subscription; the line stays, the topic is asked for again and comes back."""

    async def test(watched: Watched) -> None:
        watched.fault("topic-stall", topic=topic, params={"seconds": seconds})
        watched.enter("MKT")
        await watched.pass_time(30)
        assert [event.topic for event in watched.of(Stale)] == [topic]
        assert [update.order.status for update in watched.orders][-1] is OrderStatus.FILLED
        assert [fill.is_new for fill in watched.fills][:1] == [True]
        watched.enter("MKT")
        await watched.pass_time(10)
        assert [event.topic for event in watched.of(Fresh)] == [topic]
        assert watched.of(Down) == []

    watch(test)


def test_f79_a_topic_that_has_nothing_to_tell_is_not_called_stale() -> None:
    async def test(watched: Watched) -> None:
        pnl: list[Any] = []
        async with anyio.create_task_group() as group:
            group.start_soon(collect, watched.stream.pnl(), pnl)
            watched.enter(price=100)
            for _ in range(4):
                await watched.pass_time(60, step_s=1)
            assert watched.of(Stale) == []
            assert pnl
            group.cancel_scope.cancel()

    watch(test)


def test_f79_profit_and_loss_that_falls_silent_is_told_within_thirty_seconds() -> None:
    async def test(watched: Watched) -> None:
        pnl: list[Any] = []
        async with anyio.create_task_group() as group:
            group.start_soon(collect, watched.stream.pnl(), pnl)
            await watched.pass_time(5)
            watched.fault("topic-stall", topic="spl", params={"seconds": 45})
            await watched.pass_time(30)
            assert [event.topic for event in watched.of(Stale)] == ["spl"]
            await watched.pass_time(60)
            assert [event.topic for event in watched.of(Fresh)] == ["spl"]
            group.cancel_scope.cancel()

    watch(test)


@pytest.mark.requirement("TRD-10", "TRD-12")
def test_f80_the_orders_of_a_bracket_are_told_with_their_parent_also_after_a_gap() -> None:
    """The stream's rows may leave out whose child an order is (docs/facts/websocket.md §5.4); a read adds it, once."""

    async def run() -> None:
        simulator = make_simulator()
        async with make_client(simulator) as ib, ib.stream() as stream, anyio.create_task_group() as group:
            broker, watched = IbkrBroker(ib), Watched(simulator, stream)
            group.start_soon(collect, stream.orders(), watched.orders)
            entry = OrderTicket(
                account_id=AccountId(ACCOUNT),
                contract=await broker.underlying("SPY"),
                side=Side.BUY,
                order_type=OrderType.LIMIT,
                quantity=Decimal(1),
                limit_price=Decimal(600),
            )
            exits = exits_of(entry, take_profit=Decimal(650), stop=Decimal(580))
            answer = await broker.place(
                entry, ref=Ref("ib-family"), others=exits, group=GroupKind.BRACKET, permit=permit(ib)
            )
            while isinstance(answer, Asked):
                question = answer.question.question_id
                answer = await broker.reply(question, confirmed=True, ref=Ref("ib-family"), permit=permit(ib))
            assert isinstance(answer, Accepted)
            children = {row.order_id for row in answer.others}
            assert len(children) == 2
            assert {row.parent_id for row in answer.others} == {answer.order_id}
            await watched.pass_time(25)
            latest = {update.order.order_id: update.order for update in watched.orders}
            assert latest.keys() == {answer.order_id, *children}
            assert {latest[child].parent_id for child in children} == {answer.order_id}
            assert {latest[child].order_type for child in children} == {"LMT", "STP"}
            told = len(watched.orders)
            watched.fault("socket-drop")
            await watched.pass_time(30)
            assert stream.live
            assert len(watched.orders) == told
            group.cancel_scope.cancel()

    anyio.run(run)


def test_a_lost_fill_is_missed_when_its_order_tells_of_it() -> None:
    async def test(watched: Watched) -> None:
        watched.fault("topic-stall", topic="str", params={"seconds": 5})
        watched.enter("MKT")
        await watched.pass_time(14)
        assert [fill.is_new for fill in watched.fills] == [True]
        assert watched.fills[0].source is Source.READ

    watch(test)


def test_a_login_elsewhere_is_told_and_not_fought() -> None:
    async def test(watched: Watched) -> None:
        watched.simulator.control("POST", "competing", {"username": "simpaper1"})
        await watched.pass_time(3)
        assert watched.of(SessionLost) == [SessionLost(competing=True)]
        await watched.pass_time(5)
        assert watched.simulator.world.logins.elsewhere == {"simpaper1"}
        watched.simulator.control("POST", "competing", {"username": "simpaper1", "on": False})
        await watched.pass_time(5)
        assert watched.stream.live

    watch(test)


def test_reconnecting_waits_longer_each_time_and_comes_back() -> None:
    async def test(watched: Watched) -> None:
        watched.simulator.control(
            "POST", "faults", {"fault": "status", "path": "/v1/api/ws", "times": 4, "params": {"status": 503}}
        )
        watched.fault("socket-drop")
        await watched.pass_time(3)
        waits = [event.retry_in_s for event in watched.of(Down)]
        assert waits[1:] == sorted(waits[1:])
        assert max(waits) <= 75
        assert watched.stream.live

    watch(test)


def test_resubscription_after_an_outage_is_paced() -> None:
    async def test(watched: Watched) -> None:
        conids = [Conid(c) for c in (756733, 265598, 320227571, 272093, 76792991)]
        quotes: list[Any] = []
        async with anyio.create_task_group() as group:
            group.start_soon(collect, watched.stream.quotes(conids), quotes)
            await watched.pass_time(5)
            watched.fault("socket-drop")
            await watched.pass_time(8, step_s=0.05)
            quotes.clear()
            await watched.pass_time(5)
            assert {quote.conid for quote in quotes} == set(conids)
            assert watched.of(Complained) == []
            group.cancel_scope.cancel()

    watch(test, make_simulator(commands_per_s=20))


def test_a_first_connection_that_fails_is_raised() -> None:
    async def run() -> None:
        simulator = make_simulator()
        simulator.control("POST", "faults", {"fault": "status", "path": "/v1/api/ws", "params": {"status": 404}})
        async with make_client(simulator) as ib:
            with pytest.raises(Unreachable) as caught:
                async with ib.stream():
                    pytest.fail("it was refused")
            assert caught.value.details["status"] == 404

    anyio.run(run)


def test_a_slow_listener_to_orders_loses_nothing() -> None:
    async def run() -> None:
        simulator = make_simulator()
        async with make_client(simulator) as ib, ib.stream(bound=3) as stream, anyio.create_task_group() as group:
            slow, waiting = stream.orders(), []
            group.start_soon(collect, stream.fills(), waiting)
            watched = Watched(simulator, stream)
            first = anyio.Event()

            async def read_one() -> None:
                watched.orders.append(await anext(slow))
                first.set()

            group.start_soon(read_one)
            await watched.pass_time(1)
            ids = [str(watched.enter(price=100)) for _ in range(4)]
            await watched.pass_time(2)
            assert first.is_set()
            group.start_soon(collect, slow, watched.orders)
            await watched.pass_time(2)
            assert Counter(u.order.order_id for u in watched.orders if u.before is None) == Counter(ids)
            assert Counter(u.order.order_id for u in watched.orders) == Counter(ids * 4)
            group.cancel_scope.cancel()

    anyio.run(run)


# --- the promise, at random ---------------------------------------------------------------------------------------

_ACTS = ("market", "limit", "cancel", "fill", "fill", "pass", "pass")
_FAULTS = (
    {"fault": "socket-drop"},
    {"fault": "socket-close"},
    {"fault": "socket-stall"},
    {"fault": "topic-stall", "topic": "sor", "params": {"seconds": 20}},
    {"fault": "topic-stall", "topic": "str", "params": {"seconds": 20}},
    {"fault": "frame-lose", "topic": "s[ot]r", "times": 3},
    {"fault": "frame-duplicate", "topic": "s[ot]r", "times": 5},
    {"fault": "frame-reorder", "topic": "s[ot]r", "times": 2},
    {"fault": "frame-garbage", "topic": "sor", "times": 2},
    {"fault": "status", "path": "/v1/api/ws", "params": {"status": 503}},
    {"fault": "drop-answer", "endpoint": "TRADES"},
    {"fault": "status", "endpoint": "LIVE_ORDERS", "params": {"status": 503}},
)


@given(seed=st.integers(0, 2**32))
@settings(max_examples=25, deadline=None)
@pytest.mark.slow
def test_every_order_event_of_the_ledger_is_told_exactly_once(seed: int) -> None:
    """Acceptance, each execution and the end of each order, whatever the line does; the ledger is the judge."""
    chance = random.Random(seed)

    async def test(watched: Watched) -> None:
        working: list[int] = []
        for _ in range(chance.randint(4, 14)):
            if chance.random() < 0.45:
                watched.simulator.control("POST", "faults", dict(chance.choice(_FAULTS)))
            act = chance.choice(_ACTS)
            if act == "market":
                watched.enter("MKT", chance.randint(1, 900))
            elif act == "limit":
                working.append(watched.enter(price=100, quantity=chance.randint(2, 9)))
            elif act == "cancel" and working:
                order = watched.simulator.world.exchange.orders[working.pop()]
                watched.simulator.world.exchange.request_cancel(order, watched.simulator.world.now)
            elif act == "fill" and working:
                order = watched.simulator.world.exchange.orders[working[-1]]
                quantity = min(order.remaining, chance.randint(1, 3))
                watched.simulator.control(
                    "POST", "fill", {"order_id": order.id, "price": 100, "quantity": int(quantity)}
                )
                if order.remaining == 0:
                    working.pop()
            await watched.pass_time(chance.choice((0, 0.5, 3, 12)))
        watched.simulator.control("DELETE", "faults")
        await watched.pass_time(150, step_s=1)
        assert watched.stream.live
        accepted, ended, executed = Counter(), Counter(), Counter()
        for row in watched.simulator.world.exchange.ledger_rows():
            for event in row["events"]:
                accepted[str(row["order_id"])] += event["event"] == "accepted"
                executed.update([event["execution_id"]] if event["event"] == "filled" else [])
            ended.update([str(row["order_id"])] if row["state"] in ("filled", "cancelled") else [])
        assert Counter(u.order.order_id for u in watched.orders if u.before is None) == accepted
        assert Counter(u.order.order_id for u in watched.orders if u.ended) == ended
        assert Counter(f.fill.execution_id for f in watched.fills if f.is_new) == executed
        final = {u.order.order_id: u.order for u in watched.orders}
        for row in watched.simulator.world.exchange.ledger_rows():
            assert final[str(row["order_id"])].filled == row["filled"]

    watch(test)
