"""Whole orders through the gateway, on the real journal on the disk, beside what their commits cost at least.

The broker answers at once, so all of the time is ours and the disk's. The floor is taken in turn with the orders: as
many durable commits of bare sqlite3 as the order makes.
"""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import anyio

from benchmarks.desk import ACCOUNT, NOW, ROOT, DeskBroker, gateway, key, ticket, widen
from benchmarks.journal import COMMITS, Floors, percentile, timed
from ibkit.clock import ManualClock, SystemClock
from ibkit.model import Environment
from ibkit.store import open_journal
from ibkit.trading.risk import Halt, HaltMode

ORDERS = 500
STANDING = 15
"""Open orders of the account while the others pass: as many as the default limits allow at most."""
SENDERS = 8
CANCELLED = 100
CALLS_PER_S = 10.0
"""IBKR's limit for all calls of a user name. Source: docs/facts/orders.md §0.2."""


async def path(folder: Path) -> dict[str, float]:
    """Seconds of an order, of its commits' floor, and of the processor for it. Each fills before the next is sent."""
    broker = DeskBroker(SystemClock())
    async with open_journal(folder / "path.sqlite", clock=broker.clock) as journal:
        door = gateway(broker, journal)
        await widen(journal, broker.clock.now())
        for number in range(STANDING):
            await door.submit(ticket(number), key=key("standing", number))
        floors = Floors(folder)
        taken: list[float] = []
        floor: list[float] = []
        cpu, other_cpu = time.process_time(), 0.0
        for number in range(ORDERS):
            began_cpu = time.process_time()
            floor.append(sum(timed(floors.commit) for _ in range(COMMITS)))
            other_cpu += time.process_time() - began_cpu
            began = time.perf_counter()
            outcome = await door.submit(ticket(number), key=key("path", number))
            taken.append(time.perf_counter() - began)
            assert outcome.error is None, outcome
            assert outcome.intent.order_id is not None
            broker.fill(outcome.intent.order_id)
            began_cpu = time.process_time()
            await door.refreshed(outcome.intent)
            other_cpu += time.process_time() - began_cpu
        cpu = time.process_time() - cpu - other_cpu
        floors.close()
    middle = statistics.median(taken)
    return {
        "path": middle,
        "path_p99": percentile(taken, 0.99),
        "path_floor": statistics.median(floor),
        "path_share": middle / statistics.median(floor),
        "path_cpu": cpu / ORDERS,
    }


async def kill_switch(folder: Path) -> dict[str, float]:
    """Seconds from the halt's return to the last order that began to leave; so many tasks send as fast as they can."""
    broker = DeskBroker(SystemClock())
    async with open_journal(folder / "kill.sqlite", clock=broker.clock) as journal:
        door = gateway(broker, journal)
        await widen(journal, broker.clock.now())
        await door.submit(ticket(), key=key("first", 0))  # compares journal and broker
        broker.begun.clear()
        refused = 0

        async def send(sender: int) -> None:
            nonlocal refused
            for number in range(10_000):
                outcome = await door.submit(ticket(number), key=key(f"kill{sender}", number))
                if outcome.error is not None:
                    refused += 1
                    return

        async with anyio.create_task_group() as group:
            for sender in range(SENDERS):
                group.start_soon(send, sender)
            await anyio.sleep(1.0)
            pressed = broker.clock.monotonic()
            await journal.risk.halt(
                Halt(
                    environment=Environment.PAPER,
                    mode=HaltMode.BLOCK_NEW,
                    by="bench",
                    note="bench",
                    at=broker.clock.now(),
                )
            )
            halted = broker.clock.monotonic()
        assert refused == SENDERS, refused
    return {
        "kill": max(0.0, broker.begun[-1] - halted),
        "kill_press": halted - pressed,
        "kill_sent": float(len(broker.begun)),
    }


async def cancel_all(folder: Path) -> dict[str, float]:
    """Seconds of virtual time until the last of so many open orders is cancelled at IBKR's pace."""
    broker = DeskBroker(ManualClock(NOW))
    async with open_journal(folder / "cancel.sqlite", clock=broker.clock) as journal:
        door = gateway(broker, journal)
        await widen(journal, broker.clock.now())
        for number in range(CANCELLED):
            await door.submit(ticket(number), key=key("cancel", number))
        broker.keep_pace(calls_per_s=CALLS_PER_S, list_pause_s=5.0)
        began = broker.clock.monotonic()
        result = await door.cancel_all(ACCOUNT, key=key("all", 0))
        assert result.complete, result
        assert len(broker.cancelled_at) == CANCELLED, len(broker.cancelled_at)
    return {"cancelled": broker.cancelled_at[-1] - began, "proven": broker.clock.monotonic() - began}


async def _measure() -> dict[str, float]:
    with tempfile.TemporaryDirectory(prefix="bench-", dir=ROOT) as name:
        folder = Path(name)
        return {**await path(folder), **await kill_switch(folder), **await cancel_all(folder)}


def measure() -> dict[str, float]:
    """All figures, in seconds, from a process of its own."""
    command = [sys.executable, "-m", "benchmarks.orders"]
    done = subprocess.run(command, check=True, capture_output=True, text=True, cwd=ROOT)
    return dict(json.loads(done.stdout.splitlines()[-1]))


if __name__ == "__main__":
    print(json.dumps(anyio.run(_measure, backend_options={"use_uvloop": True})))
