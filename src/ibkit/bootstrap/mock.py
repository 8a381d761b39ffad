"""BROKER_PROVIDER=mock: the simulated broker inside this process, without a socket or a key (CFG-04)."""

from __future__ import annotations

from datetime import UTC, datetime
from functools import lru_cache
from typing import TYPE_CHECKING

from ibkit.bootstrap.edge import edges
from ibkit.bootstrap.trading_client import TradingClient
from ibkit.client.auth.gateway import GatewayAuth
from ibkit.clock import ManualClock
from ibkit.errors import ConfigError
from ibkit.settings import Settings
from ibkit.trading import Observer
from ibkit.trading.timeline import unobserved
from ibkit.wire.endpoint import Needs

if TYPE_CHECKING:
    from ibkit.sim.serving.inprocess import Simulator

__all__ = ["mock_client", "mock_world"]


@lru_cache(maxsize=1)
def mock_world() -> Simulator:
    """The one simulated world of this process. Its time stands still but for waiting, which then takes none."""
    try:
        from ibkit.sim.serving.inprocess import Simulator
        from ibkit.sim.serving.running import default_start
        from ibkit.sim.world import SimConfig

        start, _ = default_start(datetime.now(UTC))
        return Simulator(SimConfig(start=start), ManualClock(start), keys=None)
    except ImportError as error:
        raise ConfigError(
            "Setting invalid: BROKER_PROVIDER: mock needs the simulator's libraries",
            remedy="Install them with `pip install 'ibkit[sim]'`, or set BROKER_PROVIDER=ibkr.",
        ) from error


def mock_client(
    settings: Settings, *, upto: Needs | None, live_account: str | None = None, observe: Observer = unobserved
) -> TradingClient:
    """A client of the simulated gateway, logged in as its first user."""
    world = mock_world()
    given = edges().transport
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
    )
