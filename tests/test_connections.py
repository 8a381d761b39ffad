"""A login as a service keeps it, minute after minute: outages, tries to reconnect, and what the history says."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any, TypeVar

import anyio
import pytest

from ibkit.bootstrap import Edges, run, using
from ibkit.bootstrap.connection_opening import open_connection
from ibkit.bootstrap.connections import Connection
from ibkit.bootstrap.session_desk import open_session_desk
from ibkit.model import Key, OrderId, OrderTicket, OrderType, Side
from ibkit.settings import Settings
from ibkit.sim.quirks import Quirks
from ibkit.sim.serving.inprocess import Simulator
from ibkit.sim.world import SimConfig
from ibkit.trading.connection import ConnectionState, EventName
from service_desks import settings_of
from simulators import Caller
from step_clock import StepClock

T = TypeVar("T")
START = datetime(2026, 11, 20, 15, 30, tzinfo=UTC)


class Kept:
    """A login that is kept in a world of its own, whose time passes when the test says so."""

    def __init__(self, connection: Connection, world: Simulator, clock: StepClock) -> None:
        self.connection = connection
        self.world = world
        self.clock = clock

    @property
    def state(self) -> ConnectionState:
        return self.connection.state

    async def passes(self, seconds: float) -> None:
        await self.clock.pass_time(seconds)

    async def comes(self, state: ConnectionState, *, within_s: int) -> int:
        """Seconds until it stands so."""
        for second in range(within_s + 1):
            if self.state is state:
                return second
            await self.passes(1)
        raise AssertionError((self.state, self.connection.health))

    async def placing(self, work: Callable[[Kept], Awaitable[T]]) -> T:
        """What `work` gives, while time passes for it."""
        found: list[T] = []

        async def run() -> None:
            found.append(await work(self))

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(run)
            for _ in range(120):
                await self.passes(0.5)
                if found:
                    return found[0]
            tasks.cancel_scope.cancel()
        raise AssertionError("it did not come in a minute")

    def scenario(self, name: str) -> None:
        self.world.control("POST", "scenario", {"scenario": [name]})


@asynccontextmanager
async def kept(
    folder: Path,
    *,
    watch: bool = True,
    chance: float = 0.5,
    quirks: Mapping[str, Any] | None = None,
    processes: int = 1,
    start: datetime = START,
    **flags: str,
) -> AsyncIterator[Kept]:
    """processes: so many keep the same login, each as if it were alone."""
    clock = StepClock(start)
    world = Simulator(SimConfig(start=start, quirks=Quirks().with_values(dict(quirks or {}))), clock, keys=None)
    clock.moved = lambda: (world.world.advance(clock.now()), world.stir())[-1]
    settings = settings_of(folder, BROKER_PROVIDER="ibkr", IBKR_AUTH_METHOD="gateway", **flags)
    edges = Edges(transport=lambda _: world.transport("gateway"), clock=clock, chance=lambda: chance)
    with using(edges):
        async with anyio.create_task_group() as tasks, AsyncExitStack() as stack:
            stop = anyio.Event()
            there = [await stack.enter_async_context(open_connection(settings)) for _ in range(processes)]
            for connection in there:
                tasks.start_soon(lambda each=connection: each.keep(stop, watch=watch))
            yield Kept(there[0], world, clock)
            stop.set()
            tasks.cancel_scope.cancel()


async def history(settings: Settings) -> tuple[list[tuple[EventName, int, str]], float | None]:
    """What `ibkit session history` tells: events, and the share of the time in which it was connected."""
    async with open_session_desk(settings) as desk:
        past = await desk.past(1)
    return [(each.name, each.number, each.code) for each in past.events], past.availability.percent


@pytest.mark.requirement("SES-07", "SES-12", "SES-14")
@pytest.mark.parametrize("chance", [0.0, 0.5, 0.99])
def test_twenty_seconds_without_a_gateway_are_mended_by_itself_and_told(tmp_path: Path, chance: float) -> None:
    async def main() -> None:
        async with kept(tmp_path, chance=chance) as it:
            began = it.clock.monotonic()
            await it.comes(ConnectionState.CONNECTED, within_s=20)
            await it.passes(90)
            assert it.connection.watching
            it.world.up = False
            assert await it.comes(ConnectionState.ERROR, within_s=20) <= 5, "the stream tells at once"
            await it.passes(15)
            it.world.up = True
            assert await it.comes(ConnectionState.CONNECTED, within_s=60) <= 17
            await it.passes(200 - (it.clock.monotonic() - began))
            events, percent = await history(it.connection.settings)
        assert percent is not None
        assert 85 <= percent <= 95
        tries = [(number, code) for name, number, code in events if name is EventName.RECONNECT]
        assert len(tries) >= 3
        assert [number for number, _ in tries] == list(range(1, len(tries) + 1))
        assert {code for _, code in tries[:-1]} == {"E-GW-DOWN"}
        assert tries[-1][1] == "", "the last one worked"

    run(main)


@pytest.mark.requirement("LIM-08", "MON-07")
@pytest.mark.parametrize(
    ("hour", "state", "alerts"),
    [
        (datetime(2026, 11, 20, 6, 5, tzinfo=UTC), ConnectionState.PAUSED, False),  # 01:05 in New York
        (datetime(2026, 11, 20, 20, 0, tzinfo=UTC), ConnectionState.ERROR, True),  # 15:00
    ],
)
def test_an_outage_in_the_reset_window_is_a_pause_and_no_alarm(
    tmp_path: Path, hour: datetime, state: ConnectionState, alerts: bool
) -> None:
    async def main() -> None:
        async with kept(tmp_path, start=hour, quirks={"maintenance": False}) as it:
            await it.comes(ConnectionState.CONNECTED, within_s=30)
            it.scenario("maintenance-503")
            await it.comes(state, within_s=60)
            await it.passes(120)
            assert it.state is state
            found = await it.connection.alerting.incidents.incidents()
            assert bool(found) is alerts, found

    run(main)


@pytest.mark.requirement("SES-07")
def test_a_minute_without_a_login_is_waited_for_without_a_try(tmp_path: Path) -> None:
    async def main() -> None:
        async with kept(tmp_path, watch=False) as it:
            it.scenario("not-authenticated")
            await it.comes(ConnectionState.NEEDS_LOGIN, within_s=10)
            for _ in range(6):
                await it.passes(10)
                assert it.state is ConnectionState.NEEDS_LOGIN
            it.scenario("ok")
            assert await it.comes(ConnectionState.CONNECTED, within_s=60) <= 35
            events, _ = await history(it.connection.settings)
        assert not any(name is EventName.RECONNECT and code for name, _, code in events)

    run(main)


def calls(it: Kept) -> list[str]:
    return [each.path.removeprefix("/v1/api") for each in it.world.requests]


async def resting_order(it: Kept) -> OrderId:
    desk = await it.connection.desk()
    ticket = OrderTicket(
        account_id=desk.account_id,
        contract=await desk.broker.underlying("AAPL"),
        side=Side.BUY,
        order_type=OrderType.LIMIT,
        quantity=Decimal(1),
        limit_price=Decimal(1),
    )
    placed = (await desk.gateway.submit(ticket, key=Key("a-key-of-sixteen-characters"))).require()
    assert placed.order_id is not None
    return placed.order_id


@pytest.mark.requirement("SES-17")
@pytest.mark.parametrize("watch", [True, False])
def test_what_nobody_uses_is_left_to_end_by_itself_and_the_next_use_connects_it(tmp_path: Path, watch: bool) -> None:
    async def main() -> None:
        async with kept(tmp_path, watch=watch, SESSION_IDLE_TIMEOUT="1") as it:
            await it.comes(ConnectionState.CONNECTED, within_s=20)
            await it.passes(40)
            assert "/tickle" in calls(it)
            it.connection.used()
            await it.passes(50)
            assert it.state is ConnectionState.CONNECTED, "it was used a minute ago"
            await it.passes(30)
            assert it.state is ConnectionState.CONFIGURED
            assert not it.connection.watching
            sent = len(it.world.requests)
            await it.passes(600)
            assert calls(it)[sent:] == []
            it.connection.used()
            assert await it.comes(ConnectionState.CONNECTED, within_s=30) <= 20
            assert any("ssodh/init" in path for path in calls(it)[sent:]), "IBKR had ended the session"
            events, _ = await history(it.connection.settings)
            assert EventName.KEEP_ALIVE_FAILED not in {name for name, _, _ in events}

    run(main)


@pytest.mark.requirement("SES-17", "GWY-05")
def test_an_open_order_keeps_it_alive(tmp_path: Path) -> None:
    async def main() -> None:
        async with kept(tmp_path, SESSION_IDLE_TIMEOUT="1") as it:
            order_id = await it.placing(resting_order)
            for _ in range(5):
                tickles = calls(it).count("/tickle")
                await it.passes(60)
                assert it.state is ConnectionState.CONNECTED
                assert calls(it).count("/tickle") > tickles
            desk = it.connection.desks[next(iter(it.connection.desks))]
            await it.placing(
                lambda it: desk.gateway.cancel(desk.account_id, order_id, key=Key("another-of-sixteen-chars"))
            )
            await it.passes(130)
            assert it.state is ConnectionState.CONFIGURED

    run(main)


@pytest.mark.requirement("SES-17", "SES-03")
@pytest.mark.parametrize("noticed", [False, True])
def test_an_order_for_a_connection_that_rests_opens_its_session_first(tmp_path: Path, noticed: bool) -> None:
    """noticed: that it is used was said a moment before, and nobody has looked since."""

    async def main() -> None:
        async with kept(tmp_path, watch=False, SESSION_IDLE_TIMEOUT="1") as it:
            await it.comes(ConnectionState.CONNECTED, within_s=20)
            await it.passes(600)
            assert it.state is ConnectionState.CONFIGURED
            sent = len(it.world.requests)
            if noticed:
                it.connection.used()
            await it.placing(resting_order)
            assert it.state is ConnectionState.CONNECTED
            later = calls(it)[sent:]
            placed = next(number for number, path in enumerate(later) if path.endswith("/orders"))
            assert any("ssodh/init" in path for path in later[:placed])
            assert sum(path.endswith("/orders") and "iserver/account/DU" in path for path in calls(it)) == 1

    run(main)


@pytest.mark.requirement("SES-17")
def test_without_the_setting_it_is_kept_whoever_uses_it(tmp_path: Path) -> None:
    async def main() -> None:
        async with kept(tmp_path, watch=False) as it:
            await it.comes(ConnectionState.CONNECTED, within_s=20)
            await it.passes(600)
            assert it.state is ConnectionState.CONNECTED

    run(main)


@pytest.mark.requirement("SES-05")
@pytest.mark.parametrize("interval", [1, 5])
def test_two_processes_send_the_tickles_of_one(tmp_path: Path, interval: int) -> None:
    """Every second the pacing they share would see to it; at longer intervals one of them is silent."""

    async def main() -> None:
        async with kept(tmp_path, watch=False, processes=2, KEEPALIVE_INTERVAL=str(interval)) as it:
            await it.comes(ConnectionState.CONNECTED, within_s=20)
            await it.passes(5)
            before = calls(it).count("/tickle")
            await it.passes(10 * interval)
            assert 9 <= calls(it).count("/tickle") - before <= 11

    run(main)


@pytest.mark.requirement("SES-05")
def test_a_session_that_is_kept_outlives_its_idle_time_out_and_one_that_is_not_does_not(tmp_path: Path) -> None:
    async def main() -> None:
        async with kept(tmp_path, watch=False, quirks={"idle_timeout_s": 3.0}, KEEPALIVE_INTERVAL="1") as it:
            await it.comes(ConnectionState.CONNECTED, within_s=20)
            inits = sum("ssodh/init" in path for path in calls(it))
            await it.passes(10)
            assert sum("ssodh/init" in path for path in calls(it)) == inits, "it was never lost"
        assert is_open(it)
        it.world.advance(10)
        assert not is_open(it)

    run(main)


@pytest.mark.requirement("SES-04", "SES-03")
def test_an_order_finds_a_brokerage_session_that_is_gone_and_opens_it_with_one_init(tmp_path: Path) -> None:
    async def main() -> None:
        async with kept(tmp_path, watch=False) as it:
            await it.comes(ConnectionState.CONNECTED, within_s=20)
            await it.passes(3)
            sent = len(it.world.requests)
            it.scenario("expired:restorable")
            await it.placing(resting_order)
            later = calls(it)[sent:]
            assert sum("ssodh/init" in path for path in later) == 1
            assert sum(path.endswith("/orders") and "iserver/account/DU" in path for path in later) == 1
            assert it.state is ConnectionState.CONNECTED

    run(main)


@pytest.mark.requirement("SES-04", "SES-09")
def test_a_login_that_is_over_is_named_told_once_and_not_tried_for_ever(tmp_path: Path) -> None:
    async def main() -> None:
        async with kept(tmp_path, watch=False) as it:
            await it.comes(ConnectionState.CONNECTED, within_s=20)
            sent = len(it.world.requests)
            it.scenario("expired")
            await it.comes(ConnectionState.NEEDS_LOGIN, within_s=40)
            await it.passes(300)
            error = it.connection.health.error
            assert error is not None
            assert (error.code, it.state) == ("E-SES-EXPIRED", ConnectionState.NEEDS_LOGIN)
            assert "https://localhost:5000" in error.remedy
            tries = [path for path in calls(it)[sent:] if "reauthenticate" in path or "ssodh/init" in path]
            assert len(tries) <= 3
            told = await it.connection.alerting.incidents.incidents(closed=True)
            assert [each.event.value for each in told].count("session.expired") == 1

    run(main)


def is_open(it: Kept) -> bool:
    """The simulator's own word on the gateway's brokerage session; asking counts as a request, too."""
    answer = Caller(it.world, "gateway")("POST", "/v1/api/iserver/auth/status", wait=0)
    return bool(json.loads(answer.body).get("authenticated"))
