"""Everything has a bound: neither a client nor the simulator grows with the requests that it has seen."""

from __future__ import annotations

import gc
import tracemalloc
from collections.abc import Awaitable, Callable
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context

import anyio
import pytest

from clients import make_client
from ibkit.model import AuthMethod
from ibkit.sim.logins.logins import Newest
from ibkit.sim.serving.requestlog import RequestLog
from ibkit.wire.accounts import POSITIONS
from ibkit.wire.session import TICKLE
from simulators import make_simulator

CALLS = 600
"""More than any cache of addresses or queries holds."""
GROWTH = CALLS * 50
"""Bytes for all the calls together: fifty for each would be seen."""


async def growth(call: Callable[[int], Awaitable[object]], forget: Callable[[], object]) -> int:
    """Bytes that stay from CALLS calls, after as many that fill what is filled once.

    The lesser of two turns: what another thread of this process holds meanwhile is not theirs, and does not stay.
    """
    tracemalloc.start()
    try:
        held = []
        for turn in range(3):
            for number in range(CALLS):
                await call(turn * CALLS + number)
            forget()
            gc.collect()
            held.append(tracemalloc.get_traced_memory()[0])
        return min(held[1] - held[0], held[2] - held[1])
    finally:
        tracemalloc.stop()


def grown(method: AuthMethod) -> int:
    simulator = make_simulator(pacing=False)

    async def main() -> int:
        async with make_client(simulator, method) as ib:
            account = (await ib.accounts())[0].account_id

            async def call(number: int) -> None:
                await ib.request(TICKLE)
                await ib.request(POSITIONS, path={"account_id": account, "page": 0}, query={"at": number})

            return await growth(call, simulator.server.log.clear)

    return anyio.run(main)


@pytest.mark.requirement("TRD-21", "LIM-06")
@pytest.mark.parametrize("method", [AuthMethod.OAUTH1A, AuthMethod.GATEWAY])
def test_neither_the_client_nor_the_simulator_grows_with_the_requests(method: AuthMethod) -> None:
    """In a process of its own: in this one other tests have loaded what counts and records along."""
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
        assert pool.submit(grown, method).result() < GROWTH


def test_the_request_log_keeps_the_newest() -> None:
    log = RequestLog()
    for number in range(20_100):
        log.open(at="", face="cloud", peer="", method="GET", path=f"/{number}", query="", headers=[])

    entries = log.entries()
    assert len(entries) == 20_000
    assert (entries[0].id, entries[-1].path) == (101, "/20099")


def test_remembered_proofs_are_the_newest() -> None:
    seen: Newest[int, None] = Newest(3)
    for number in range(5):
        seen[number] = None
    seen[4] = None

    assert list(seen) == [2, 3, 4]
