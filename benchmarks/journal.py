"""The order journal against the disk it stands on: what a durable write costs, and what ours adds to it.

The floor is measured in the same run, in turn with our own writes: 4 KB written and synced, and one row committed by
bare sqlite3 with the journal's settings. Everything runs on the disk of the repository, not on one in memory.
"""

from __future__ import annotations

import json
import os
import sqlite3
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from pathlib import Path

import anyio

from ibkit.clock import SystemClock
from ibkit.model import (
    AccountId,
    Conid,
    Contract,
    Environment,
    Key,
    OrderId,
    OrderStatus,
    OrderTicket,
    OrderType,
    SecType,
    Side,
    Username,
)
from ibkit.store import open_journal
from ibkit.store.journal import SqliteJournal
from ibkit.trading.events import Acknowledged, Claimed, Decided, IntentId, Operation, Planned, Sending, Stage
from ibkit.trading.fingerprint import fingerprint, ticket_terms
from ibkit.trading.intake import Intake
from ibkit.trading.ref import derive_ref

ROOT = Path(__file__).resolve().parent.parent
NOW = datetime(2026, 11, 20, 15, 30, tzinfo=UTC)
USER = Username("bench")
ACCOUNT = AccountId("DU1234567")
INTAKE = {1: 1_500, 32: 6_000, 128: 6_000}
"""Tasks at once → plans in all."""
PACED, PACE = 2_500, 500
"""Plans, and plans a second."""
ORDERS = 300
OPEN = 10_000
COMMITS = 5
"""Of one order: plan, lane, claim, send, acknowledgement."""


def planned(number: int, word: str) -> Planned:
    ticket = OrderTicket(
        account_id=ACCOUNT,
        contract=Contract(Conid(265598), "AAPL", SecType.STOCK),
        side=Side.BUY,
        order_type=OrderType.LIMIT,
        quantity=Decimal(10),
        limit_price=Decimal("187.25"),
    )
    key = Key(f"bench-{word}-{number:010}")
    ref = derive_ref(tenant="local", environment=Environment.PAPER, key=key)
    terms = ticket_terms(ticket)
    return Planned(
        at=NOW + timedelta(milliseconds=number),
        intent_id=IntentId(ref),
        operation=Operation.PLACE,
        tenant="local",
        environment=Environment.PAPER,
        username=USER,
        key=key,
        ref=ref,
        account_id=ACCOUNT,
        ticket=ticket,
        target=None,
        terms=terms,
        fingerprint=fingerprint(terms),
        expires_at=NOW + timedelta(seconds=30),
        purpose="order",
    )


def percentile(found: list[float], share: float) -> float:
    return sorted(found)[min(len(found) - 1, int(len(found) * share))]


class Floors:
    """What the disk needs at least: one synced write, and one commit of bare sqlite3."""

    def __init__(self, folder: Path) -> None:
        self._file = os.open(folder / "raw", os.O_CREAT | os.O_RDWR, 0o600)
        self._place = 0
        self._bare = sqlite3.connect(folder / "bare.sqlite", isolation_level=None)
        for statement in ("PRAGMA journal_mode = WAL", "PRAGMA synchronous = FULL", "CREATE TABLE rows (body TEXT)"):
            self._bare.execute(statement)

    def write(self) -> None:
        os.pwrite(self._file, b"x" * 4096, self._place)
        self._place += 4096
        os.fdatasync(self._file)

    def commit(self) -> None:
        self._bare.execute("BEGIN IMMEDIATE")
        self._bare.execute("INSERT INTO rows VALUES ('x')")
        self._bare.execute("COMMIT")

    def close(self) -> None:
        os.close(self._file)
        self._bare.close()


def timed(work: Callable[[], None]) -> float:
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


async def order(journal: SqliteJournal, wish: Planned, serial: int) -> None:
    """What an order that is answered at once asks of the journal."""
    intent, _ = await journal.plan(wish)
    async with journal.conversation(USER, wait_s=1) as lane:
        intent = await journal.append(
            intent,
            Decided(at=NOW, stage=Stage.INTAKE, passed=True, version="v1"),
            Claimed(at=NOW, owner="bench", epoch=lane.epoch),
        )
        intent = await journal.append(
            intent,
            Decided(at=NOW, stage=Stage.SEND, passed=True, version="v1", serial=serial),
            Sending(at=NOW, deadline_s=2.0, session="1", trading_day=date(2026, 11, 20)),
        )
        await journal.append(
            intent,
            Acknowledged(at=NOW, order_id=OrderId(str(serial)), status=OrderStatus.SUBMITTED, evidence="answer"),
        )


async def order_path(journal: SqliteJournal, folder: Path) -> dict[str, float]:
    """Seconds of the floors and of a whole order, taken in turn, and the order against its commits' floor."""
    floors = Floors(folder)
    taken: dict[str, list[float]] = {"raw": [], "commit": [], "order": []}
    wishes = [planned(number, "path") for number in range(ORDERS)]
    for serial, wish in enumerate(wishes):
        taken["raw"].append(timed(floors.write))
        taken["commit"].append(timed(floors.commit))
        began = time.perf_counter()
        await order(journal, wish, serial)
        taken["order"].append(time.perf_counter() - began)
    floors.close()
    raw, commit, ours = (statistics.median(taken[name]) for name in ("raw", "commit", "order"))
    return {
        "raw": raw,
        "commit": commit,
        "order": ours,
        "order_p99": percentile(taken["order"], 0.99),
        "share": ours / (COMMITS * commit),
    }


def door(journal: SqliteJournal) -> Intake:
    """As the gateway takes orders in: their age comes from the limits."""
    return Intake(
        journal=journal, clock=SystemClock(), tenant="local", environment=Environment.PAPER, risk=journal.risk
    )


async def intake(journal: SqliteJournal, tasks: int) -> float:
    """Plans a second, by so many tasks at once."""
    taking = door(journal)
    waiting = iter([planned(number, f"in{tasks:03}") for number in range(INTAKE[tasks])])

    async def plan() -> None:
        for wish in waiting:
            await taking.store(wish)

    began = time.perf_counter()
    async with anyio.create_task_group() as group:
        for _ in range(tasks):
            group.start_soon(plan)
    return INTAKE[tasks] / (time.perf_counter() - began)


async def paced(journal: SqliteJournal) -> dict[str, float]:
    """Seconds that one plan takes when PACE of them arrive a second, waiting for its turn included."""
    wishes = [planned(number, "pace") for number in range(PACED)]
    taken: list[float] = []
    taking = door(journal)

    async def plan(wish: Planned, due: float) -> None:
        await taking.store(wish)
        taken.append(time.perf_counter() - due)

    began = time.perf_counter()
    async with anyio.create_task_group() as group:
        for number, wish in enumerate(wishes):
            due = began + number / PACE
            await anyio.sleep(max(0.0, due - time.perf_counter()))
            group.start_soon(plan, wish, due)
    return {"paced_p50": percentile(taken, 0.5), "paced_p99": percentile(taken, 0.99)}


async def loading(journal: SqliteJournal) -> float:
    """Seconds to read OPEN intents that were sent and have no answer."""
    waiting = iter([planned(number, "open") for number in range(OPEN)])

    async def leave_open() -> None:
        for wish in waiting:
            intent, _ = await journal.plan(wish)
            await journal.append(
                intent,
                Decided(at=NOW, stage=Stage.INTAKE, passed=True, version="v1"),
                Claimed(at=NOW, owner="bench"),
                Sending(at=NOW, deadline_s=2.0, session="1", trading_day=date(2026, 11, 20)),
            )

    async with anyio.create_task_group() as group:
        for _ in range(128):
            group.start_soon(leave_open)
    began = time.perf_counter()
    found = await journal.unfinished(USER)
    assert len(found) == OPEN, len(found)
    return time.perf_counter() - began


async def _measure() -> dict[str, float]:
    figures: dict[str, float] = {}
    clock = SystemClock()
    with tempfile.TemporaryDirectory(prefix="bench-", dir=ROOT) as name:
        folder = Path(name)
        async with open_journal(folder / "loading.sqlite", clock=clock) as journal:
            figures["loading"] = await loading(journal)
        async with open_journal(folder / "orders.sqlite", clock=clock) as journal:
            figures |= await order_path(journal, folder)
        async with open_journal(folder / "intake.sqlite", clock=clock) as journal:
            for tasks in INTAKE:
                figures[f"intake_{tasks}"] = await intake(journal, tasks)
            figures |= await paced(journal)
    return figures


def measure() -> dict[str, float]:
    """All figures, in seconds and plans a second, from a process of its own."""
    command = [sys.executable, "-m", "benchmarks.journal"]
    done = subprocess.run(command, check=True, capture_output=True, text=True, cwd=ROOT)
    return dict(json.loads(done.stdout.splitlines()[-1]))


if __name__ == "__main__":
    print(json.dumps(anyio.run(_measure)))
