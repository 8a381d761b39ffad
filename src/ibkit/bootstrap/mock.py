"""BROKER_PROVIDER=mock: the simulated broker inside this process, without a socket or a key (CFG-04)."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from types import ModuleType
from typing import TYPE_CHECKING

import anyio

from ibkit.bootstrap.edge import edges
from ibkit.bootstrap.trading_client import TradingClient
from ibkit.client.auth.gateway import GatewayAuth
from ibkit.clock import ManualClock, SystemClock
from ibkit.errors import ConfigError
from ibkit.settings import Settings
from ibkit.trading import Observer
from ibkit.trading.timeline import unobserved
from ibkit.wire.endpoint import Needs

if TYPE_CHECKING:
    from ibkit.sim.serving.inprocess import Simulator

__all__ = ["RunningClock", "mock_client", "mock_world", "running_world"]

_TURNS_EVERY_S = 0.25


@lru_cache(maxsize=1)
def mock_world() -> Simulator:
    """The one simulated world of this process. Its time stands still but for waiting, which then takes none."""
    start, _ = _libraries().default_start(datetime.now(UTC))
    return _world(start, ManualClock(start))


def _world(start: datetime, clock: ManualClock) -> Simulator:
    from ibkit.sim.serving.inprocess import Simulator
    from ibkit.sim.world import SimConfig

    return Simulator(SimConfig(start=start), clock, keys=None)


def _libraries() -> ModuleType:
    """The module that says when a world begins, or what to do about missing libraries: ConfigError."""
    try:
        from ibkit.sim.serving import inprocess, running
    except ImportError as error:
        raise ConfigError(
            "Setting invalid: BROKER_PROVIDER: mock needs the simulator's libraries",
            remedy="Install them with `pip install 'ibkit[sim]'`, or set BROKER_PROVIDER=ibkr.",
        ) from error
    del inprocess
    return running


def mock_client(
    settings: Settings,
    *,
    upto: Needs | None,
    live_account: str | None = None,
    observe: Observer = unobserved,
    world: Simulator | None = None,
) -> TradingClient:
    """A client of the simulated gateway, logged in as its first user. world: instead of the one of this process."""
    given = edges().transport if world is None else None
    world = world or mock_world()
    return TradingClient(
        settings,
        live_account=live_account,
        observe=observe,
        auth=GatewayAuth(),
        base_url="https://localhost:5000",
        transport=given(settings) if given else world.transport("gateway"),
        clock=world.clock,
        account_id=settings.account_id,
        read_only=settings.general.read_only,
        open_to=upto,
        keep_alive_s=None,
        cache=settings.runtime.cache,
    )


class RunningClock(ManualClock):
    """The simulated hour going on at the machine's pace: what a service needs, whose loops sleep for real."""

    def __init__(self, start: datetime) -> None:
        super().__init__(start)
        self._real = SystemClock()
        self._began = self._real.monotonic()

    def now(self) -> datetime:
        return super().now() + timedelta(seconds=self._real.monotonic() - self._began)

    def monotonic(self) -> float:
        return super().monotonic() + self._real.monotonic() - self._began

    async def sleep(self, seconds: float) -> None:
        await self._real.sleep(seconds)


@asynccontextmanager
async def running_world() -> AsyncIterator[Simulator]:
    """A simulated world of its own whose time goes on by itself, also for those who read its WebSockets."""
    start, _ = _libraries().default_start(datetime.now(UTC))
    world = _world(start, RunningClock(start))

    async def turn() -> None:
        while True:
            await world.clock.sleep(_TURNS_EVERY_S)
            world.world.advance(world.clock.now())
            world.stir()

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(turn)
        try:
            yield world
        finally:
            tasks.cancel_scope.cancel()
