"""What bootstrap builds for a sale, over a simulator in the process and a folder of its own."""

from __future__ import annotations

from contextlib import asynccontextmanager

from clients import make_client
from ibkit.client.broker import IbkrBroker
from ibkit.model import AuthMethod, Environment
from ibkit.store import open_journal, open_trades
from ibkit.trading import OptionSeller, OrderGateway, PositionCloser, Watchdog

__all__ = ["Desk", "desk", "made_desk"]


class Desk:
    """steps: everything that was told, oldest first."""

    def __init__(self, ib, broker, journal, trades, account_id, on_step):
        steps = []

        def observe(step):
            steps.append(step)
            if on_step is not None:
                on_step(step)

        self.client = ib
        self.broker = broker
        self.gateway = OrderGateway(
            broker, journal, environment=Environment.PAPER, risk=journal.risk, clock=ib.clock, observe=observe
        )
        parts = {"trades": trades, "alerts": journal.alerts, "clock": ib.clock, "account_id": account_id}
        self.parts, self.observe = parts, observe
        self.seller = OptionSeller(broker, self.gateway, **parts, random=lambda size: b"\x07" * size, observe=observe)
        self.closer = PositionCloser(broker, self.gateway, **parts, observe=observe)
        self.trades = trades
        self.steps = steps
        self.guard = self.watchdog(acts=False)

    def watchdog(self, **changes):
        parts = {"broker": self.broker, "gateway": self.gateway, "observe": self.observe}
        return Watchdog(**{**parts, **self.parts, "me": "ibkit", **changes})


@asynccontextmanager
async def desk(simulator, tmp_path, method=AuthMethod.OAUTH1A, *, on_step=None):
    """A desk after a start. on_step: called with each step as it is told, so that a test can strike just then."""
    async with (
        make_client(simulator, method) as ib,
        open_journal(tmp_path / "journal.sqlite", clock=ib.clock) as journal,
        open_trades(f"sqlite:///{tmp_path}/trades.sqlite") as trades,
    ):
        yield await made_desk(ib, journal, trades, on_step=on_step)


async def made_desk(ib, journal, trades, *, on_step=None):
    """A desk after a start, over what is open already."""
    broker = IbkrBroker(ib)
    (account,) = await broker.accounts()
    made = Desk(ib, broker, journal, trades, account.account_id, on_step)
    await made.gateway.recover()
    return made
