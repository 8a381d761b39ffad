"""A start after a crash with ten thousand open intents: how long until journal and broker agree.

Twenty user names of one account each, in parallel, as their processes would be; a session answers one order list in
five seconds and ten calls a second, in real time (docs/facts/orders.md §0.2). A list of 1,000 rows counts as cut, so no
account has as many. Of the orders some filled or were cancelled meanwhile, and of some nobody knows whether they left.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import time
from datetime import date
from pathlib import Path

import anyio

from benchmarks.desk import ROOT, DeskBroker, gateway, key, row, ticket, with_status
from ibkit.clock import SystemClock
from ibkit.model import AccountId, OrderId, OrderStatus, Username
from ibkit.store import open_journal
from ibkit.store.journal import SqliteJournal
from ibkit.trading.events import Acknowledged, Claimed, Decided, Sending, Stage
from ibkit.trading.intake import Asked
from ibkit.trading.intent import IntentState
from ibkit.trading.ports import Lane

NAMES = 20
OF_EACH = 500
FILLED, CANCELLED, DOUBTED = 100, 50, 2
"""Of each user name: orders that ended meanwhile, and such that were being sent when the process died."""
TOGETHER = 64


async def leave(journal: SqliteJournal, broker: DeskBroker, account_id: AccountId) -> None:
    """What a process had sent when it died, and what became of it at the broker."""
    door, now = gateway(broker, journal), broker.clock.now()
    numbers = iter(range(OF_EACH))

    async def one(lane: Lane) -> None:
        for number in numbers:
            wish, name = ticket(number, account_id), key(account_id, number)
            intent, _ = await journal.plan(door.intake.order(broker.username, wish, key=name, asked=Asked()))
            intent = await journal.append(
                intent,
                Decided(at=now, stage=Stage.INTAKE, passed=True, version="v1"),
                Claimed(at=now, owner="bench", epoch=lane.epoch),
                Sending(at=now, deadline_s=2.0, session="1", trading_day=date(2026, 11, 20)),
            )
            order_id = OrderId(f"{account_id[2:]}{number:05}")
            broker.orders[order_id] = with_status(row(order_id, wish, intent.ref), _became(number))
            if number < OF_EACH - DOUBTED:
                status = OrderStatus.SUBMITTED
                await journal.append(intent, Acknowledged(at=now, order_id=order_id, status=status, evidence="answer"))

    async with journal.conversation(broker.username, wait_s=1) as lane, anyio.create_task_group() as group:
        for _ in range(TOGETHER):
            group.start_soon(one, lane)


def _became(number: int) -> OrderStatus:
    if number < FILLED:
        return OrderStatus.FILLED
    return OrderStatus.CANCELLED if number < FILLED + CANCELLED else OrderStatus.SUBMITTED


async def _measure() -> dict[str, float]:
    clock = SystemClock()
    accounts = [AccountId(f"DU{2_000_000 + number}") for number in range(NAMES)]
    brokers = [
        DeskBroker(clock, Username(f"bench{number}"), (account_id,)) for number, account_id in enumerate(accounts)
    ]
    with tempfile.TemporaryDirectory(prefix="bench-", dir=ROOT) as name:
        path = Path(name) / "recovery.sqlite"
        async with open_journal(path, clock=clock) as journal:
            for broker, account_id in zip(brokers, accounts, strict=True):
                await leave(journal, broker, account_id)
        async with open_journal(path, clock=clock) as journal:
            began, cpu = time.perf_counter(), time.process_time()
            async with anyio.create_task_group() as group:
                for broker, account_id in zip(brokers, accounts, strict=True):
                    broker.keep_pace(calls_per_s=10.0, list_pause_s=5.0)
                    group.start_soon(gateway(broker, journal).recover, account_id)
            took, cpu = time.perf_counter() - began, time.process_time() - cpu
            left = [intent for broker in brokers for intent in await journal.unfinished(broker.username)]
            assert len(left) == NAMES * (OF_EACH - FILLED - CANCELLED), len(left)
            assert all(intent.state is IntentState.ACKED for intent in left)
    return {"recovery": took, "recovery_cpu": cpu}


def measure() -> dict[str, float]:
    """Seconds until all agree, and of the processor for it, from a process of its own."""
    command = [sys.executable, "-m", "benchmarks.recovery"]
    done = subprocess.run(command, check=True, capture_output=True, text=True, cwd=ROOT)
    return dict(json.loads(done.stdout.splitlines()[-1]))


if __name__ == "__main__":
    print(json.dumps(anyio.run(_measure, backend_options={"use_uvloop": True})))
