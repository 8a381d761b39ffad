"""What a run showed, and where it has its files."""

from __future__ import annotations

import logging
import tempfile
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import anyio

from ibkit.clock import ManualClock
from ibkit.sim.serving.inprocess import TRADING_MOMENT
from ibkit.store.journal import SqliteJournal

__all__ = ["Result", "empty_journal", "place_of_files", "quiet"]


@dataclass(slots=True)
class Result:
    """What a run showed. hash: of its trace; the same seed gives the same. fates: each misfortune and what it did."""

    seed: int
    mode: str
    method: str
    breaches: list[str]
    hash: str
    trace: list[str]
    fates: dict[str, str]
    crashes: int
    deaths: Counter[str]
    passed: Counter[str]
    fired: Counter[str]
    pairs: Counter[tuple[str, str]]
    seen: Counter[str]
    ends: Counter[str]
    intents: int
    heal_s: float


def place_of_files() -> Path | None:
    """A directory in memory, where there is one: a schedule's fsyncs then cost nothing."""
    shared = Path("/dev/shm")
    return shared if shared.is_dir() else None


@cache
def empty_journal() -> bytes:
    """A journal file without an intent, as a first start makes it."""
    with tempfile.TemporaryDirectory(prefix="chaos-", dir=place_of_files()) as folder:
        path = Path(folder) / "journal.db"

        async def make() -> None:
            async with SqliteJournal(path, clock=ManualClock(TRADING_MOMENT)):
                pass

        anyio.run(make)
        return path.read_bytes()


@contextmanager
def quiet() -> Iterator[None]:
    """No log lines: thousands of outages are expected here."""
    before = logging.root.manager.disable
    logging.disable(logging.CRITICAL)
    try:
        yield
    finally:
        logging.disable(before)
