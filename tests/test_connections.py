"""A login as a service keeps it, minute after minute: outages, tries to reconnect, and what the history says."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path

import anyio
import pytest

from ibkit.bootstrap import Edges, run, using
from ibkit.bootstrap.connection_opening import open_connection
from ibkit.bootstrap.connections import Connection
from ibkit.bootstrap.session_desk import open_session_desk
from ibkit.settings import Settings
from ibkit.sim.serving.inprocess import Simulator
from ibkit.sim.world import SimConfig
from ibkit.trading.connection import ConnectionState, EventName
from service_desks import settings_of
from step_clock import StepClock

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

    def scenario(self, name: str) -> None:
        self.world.control("POST", "scenario", {"scenario": [name]})


@asynccontextmanager
async def kept(folder: Path, *, watch: bool = True, chance: float = 0.5, **flags: str) -> AsyncIterator[Kept]:
    clock = StepClock(START)
    world = Simulator(SimConfig(start=START), clock, keys=None)
    clock.moved = lambda: (world.world.advance(clock.now()), world.stir())[-1]
    settings = settings_of(folder, BROKER_PROVIDER="ibkr", IBKR_AUTH_METHOD="gateway", **flags)
    edges = Edges(transport=lambda _: world.transport("gateway"), clock=clock, chance=lambda: chance)
    with using(edges):
        async with anyio.create_task_group() as tasks, open_connection(settings) as connection:
            stop = anyio.Event()
            tasks.start_soon(lambda: connection.keep(stop, watch=watch))
            yield Kept(connection, world, clock)
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
