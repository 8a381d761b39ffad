"""A process with an engine of jobs, for tests that kill it: `jobs` or `syncs`; what it does goes into a file.

The clock of its simulated world is a function of the machine's hour, so that two processes agree on the time there.
"""

from __future__ import annotations

import dataclasses
import os
import sys
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import anyio

sys.path.insert(0, str(Path(__file__).parent))

from clients import make_client
from ibkit.bootstrap import run
from ibkit.bootstrap.automatic_syncs import AutomaticSyncs, KeptLogin
from ibkit.bootstrap.jobs import JobEngine
from ibkit.bootstrap.portfolios import open_portfolios
from ibkit.client.holdings import IbkrSource
from ibkit.clock import SystemClock
from ibkit.model import AuthMethod
from ibkit.notify.metrics import Metrics
from ibkit.portfolio.ports import Claim
from ibkit.sim.serving.inprocess import Simulator
from ibkit.sim.world import SimConfig
from service_desks import FastClock, settings_of
from simulators import KEYS

__all__ = ["BASE", "PACE", "world_at"]

BASE = datetime(2026, 11, 20, 15, 30, tzinfo=UTC)
PACE = 20.0


def world_at(began: float) -> Simulator:
    """began: seconds since 1970 of this machine, when it was `BASE` there."""
    passed = datetime.now(UTC).timestamp() - began
    start = BASE + timedelta(seconds=passed * PACE)
    return Simulator(SimConfig(start=start), FastClock(start, PACE), keys=KEYS)


async def jobs(folder: Path, say: Callable[[str], None], mode: str, url: str) -> None:
    settings = settings_of(folder, **({"DATABASE_URL": url} if url else {}))
    engine = JobEngine(settings, SystemClock())

    async def work(argument: str) -> None:
        say(f"began {argument}")
        if mode == "hang":
            await anyio.sleep_forever()

    async def tick(slot: datetime) -> None:
        say(f"tick {slot.isoformat()}")

    engine.register("work", work, at_once=1)  # one that hangs takes no other
    if mode == "tick":
        engine.every("tick", timedelta(seconds=1), tick)
    async with engine.running():
        say("running")
        if mode == "hang":
            await engine.put("work", "one", key="one", partition="ada")
        await anyio.sleep_forever()


async def syncs(folder: Path, say: Callable[[str], None], mode: str, began: float) -> None:
    world = world_at(began)
    settings = settings_of(folder, SYNC_INTERVAL_MINUTES="1")
    async with (
        make_client(world, AuthMethod.GATEWAY) as ib,
        open_portfolios(settings, world.clock) as desk,
    ):
        await IbkrSource(ib).accounts()

        async def worked(claim: Claim) -> None:
            say(f"synced {claim.account_key} {world.clock.now().isoformat()}")

        if mode == "hang":
            IbkrSource.picture = hanging(say)  # type: ignore[method-assign, assignment]
        desk = dataclasses.replace(desk, syncer=dataclasses.replace(desk.syncer, worked=worked))
        login = KeptLogin(
            user_id="", connection_id="default", client=ib, up=True, metrics=Metrics(), name="paper gateway"
        )
        engine = JobEngine(settings, SystemClock())
        await AutomaticSyncs(settings, desk, world.clock, lambda: (login,), of_users=False, engine=engine).run()


def hanging(say: Callable[[str], None]) -> Callable[..., Awaitable[Any]]:
    async def picture(self: IbkrSource, account_id: object) -> Any:
        say(f"in the middle {account_id}")
        await anyio.sleep_forever()

    return picture


def main(what: str, folder: str, log: str, mode: str, more: str) -> None:
    file = os.open(log, os.O_CREAT | os.O_WRONLY | os.O_APPEND, 0o600)

    def say(text: str) -> None:
        os.write(file, f"{text}\n".encode())

    if what == "jobs":
        run(lambda: jobs(Path(folder), say, mode, more))
    else:
        run(lambda: syncs(Path(folder), say, mode, float(more)))


if __name__ == "__main__":
    main(*sys.argv[1:])
