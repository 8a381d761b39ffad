"""The audit log: a million entries looked at one by one, and what one more costs."""

from __future__ import annotations

import json
import sqlite3
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import anyio
import anyio.to_thread

from ibkit.clock import SystemClock
from ibkit.model import Secret
from ibkit.store.audit import AuditLog
from ibkit.vault import Act
from ibkit.vault.act import fields_of
from ibkit.vault.chain import START, Link, Row, append_to

ROOT = Path(__file__).resolve().parent.parent
NOW = datetime(2026, 11, 20, 15, 30, tzinfo=UTC)
ENTRIES = 1_000_000
APPENDS = 500
TIMES = 3


def act(number: int) -> Act:
    """As an order leaves it."""
    return Act(
        at=NOW,
        actor="cli:someone",
        action="orders.place",
        object=f"ib-{number:032d}",
        details={
            "account": "DU1234567",
            "environment": "paper",
            "key": f"{number:024d}",
            "order": str(number),
            "purpose": "order",
            "state": "acked",
            "terms": "BUY 10 SPY LMT @ 629.50 DAY",
        },
    )


def rows(count: int) -> Iterator[Row]:
    link, fields = START, fields_of(act(0))
    for number in range(1, count + 1):
        # The texts are made in bulk: masking them a million times is not what is measured.
        row = append_to(link, (*fields[:4], f"ib-{number:032d}", *fields[5:]))
        yield row
        link = Link(row[0], row[-1])


def fill(path: Path, count: int) -> None:
    connection = sqlite3.connect(path, isolation_level=None)
    connection.execute("PRAGMA synchronous = OFF")
    connection.execute("BEGIN")
    connection.executemany("INSERT INTO audit_entries VALUES (?,?,?,?,?,?,?,?,?,?)", rows(count))
    connection.execute("COMMIT")
    connection.close()


async def _appends(path: Path) -> list[float]:
    took = []
    async with AuditLog(Secret(f"sqlite:///{path}"), clock=SystemClock()) as log:
        for number in range(APPENDS):
            begin = time.perf_counter()
            await log.record(act(number))
            took.append(time.perf_counter() - begin)
    return sorted(took)


async def _bare(path: Path) -> list[float]:
    """As many commits of bare sqlite3 of a row of the same size."""
    took = []
    connection = sqlite3.connect(path, isolation_level=None)
    connection.execute("PRAGMA journal_mode = WAL").close()
    connection.execute("PRAGMA synchronous = FULL")
    connection.execute("CREATE TABLE bare (number INTEGER PRIMARY KEY, body TEXT)")
    for number in range(APPENDS):
        begin = time.perf_counter()
        connection.execute("BEGIN IMMEDIATE")
        connection.execute("INSERT INTO bare VALUES (?, ?)", (number, "x" * 400))
        connection.execute("COMMIT")
        took.append(time.perf_counter() - begin)
    connection.close()
    return sorted(took)


async def _measure(folder: Path) -> dict[str, float]:
    path = folder / "ibkit.db"
    url = Secret(f"sqlite:///{path}")
    async with AuditLog(url, clock=SystemClock()):
        pass  # makes the tables
    await anyio.to_thread.run_sync(fill, path, ENTRIES)
    wall, cpu = [], []
    async with AuditLog(url, clock=SystemClock()) as log:
        for _ in range(TIMES):
            begin, used = time.perf_counter(), time.process_time()
            verdict = await log.verify()
            wall.append(time.perf_counter() - begin)
            cpu.append(time.process_time() - used)
            assert (verdict.broken, verdict.checked) == (None, ENTRIES), verdict
    appended, bare = await _appends(path), await _bare(folder / "bare.db")
    return {
        "verify": statistics.median(wall),
        "verify_cpu": statistics.median(cpu),
        "append_p50": appended[len(appended) // 2],
        "append_p99": appended[len(appended) * 99 // 100],
        "bare_p50": bare[len(bare) // 2],
        "bare_p99": bare[len(bare) * 99 // 100],
    }


def measure() -> dict[str, float]:
    """In a process of its own, on the disk of the repository."""
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.audit"], check=True, capture_output=True, text=True, cwd=ROOT
    )
    found: dict[str, float] = json.loads(done.stdout)
    return found


if __name__ == "__main__":
    (ROOT / ".cache").mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory(dir=ROOT / ".cache") as name:
        print(json.dumps(anyio.run(_measure, Path(name))))
