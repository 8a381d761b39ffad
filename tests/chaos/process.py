"""One process of a schedule: gateway, journal and client over the line; a crash leaves nothing of it but the file."""

from __future__ import annotations

import random
from contextlib import AsyncExitStack
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from clients import make_auth
from ibkit.client.auth.gateway import GatewayAuth
from ibkit.client.auth.grant import Auth
from ibkit.client.broker import IbkrBroker
from ibkit.client.client import Client
from ibkit.model import AccountId, AuthMethod, GatewayLogin
from ibkit.sim.serving.inprocess import CLOUD_URL, GATEWAY_URL
from ibkit.store.journal import SqliteJournal
from ibkit.trading.gateway import OrderGateway

from .clock import ChaosClock
from .crashes import Crash, MortalJournal
from .line import Line

if TYPE_CHECKING:
    from .schedule import Schedule

__all__ = ["ACCOUNT", "Process", "SkewedClock"]

ACCOUNT = AccountId("DU1000001")


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
    """Everything of one process. After `stop` nothing of it goes on, whatever task still holds a part of it."""

    def __init__(self, schedule: Schedule) -> None:
        self._schedule = schedule
        self._stack = AsyncExitStack()
        self.dead = False
        self.restored = False
        self.gateway: OrderGateway | None = None
        self.client: Client | None = None
        self.journal: MortalJournal | None = None

    def alive(self) -> None:
        if self.dead:
            raise Crash("dead already")

    @property
    def halted(self) -> bool:
        return self.journal is not None and self.journal.halted

    def step(self) -> str:
        """The newest row that this process has written."""
        return "start" if self.journal is None else self.journal.step

    async def start(self) -> None:
        schedule = self._schedule
        line = Line(schedule.broker, schedule.weather, schedule.mortality, alive=self.alive, step=self.step)
        gateway = schedule.method is AuthMethod.GATEWAY
        self.client = Client(
            auth=self._auth(),
            base_url=GATEWAY_URL if gateway else CLOUD_URL,
            transport=line,
            clock=schedule.wall,
            keep_alive_s=None,
            chance=lambda: 0.5,
            account_id=ACCOUNT,
            username=schedule.username,
            suppress=tuple(schedule.broker.suppress),
        )
        await self._stack.enter_async_context(self.client)
        broker = IbkrBroker(self.client)
        await broker.identify()
        # The file is opened last: a start that fails at the login, as many do here, then costs little.
        # Inline: threads would make the order of two twins depend on the machine.
        journal = SqliteJournal(schedule.path, clock=schedule.wall, run_inline=True)
        await self._stack.enter_async_context(journal)
        self.restored = journal.restored
        self.journal = MortalJournal(
            journal,
            schedule.mortality,
            alive=self.alive,
            disk_fault=schedule.disk_fault,
            wrote=schedule.wrote,
            committed=schedule.committed,
            stopped=self._stopped,
        )
        self.gateway = OrderGateway(
            broker,
            self.journal,
            environment=schedule.environment,
            risk=self.journal.risk,
            clock=schedule.wall,
            owner="chaos",
            resend_same_ref=schedule.resend,
            on_broken=schedule.on_broken,
            alerts=self.journal.alerts,
        )

    async def _stopped(self, where: str) -> None:
        await self._schedule.rivals.stop(self, where)

    def _auth(self) -> Auth:
        schedule = self._schedule
        if schedule.method is AuthMethod.GATEWAY:
            return GatewayAuth(GatewayLogin())
        schedule.starts += 1
        # Nonces of a process of its own: a broker that remembers them (F67) must not see one twice.
        chance = random.Random(f"{schedule.seed}/process {schedule.starts}").randbytes
        return make_auth(schedule.simulator, schedule.method, chance=chance)

    async def stop(self) -> None:
        self.dead = True
        await self._stack.aclose()
