"""Power loss: with what the journal sets, no committed row is lost; with one pragma less the same runs show it."""

from __future__ import annotations

import sqlite3
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import anyio
import pytest
from sqlalchemy import event

from chaos.power import Disk, powerless
from chaos.results import Result, place_of_files, quiet
from chaos.schedule import Schedule
from ibkit.store import journal_file

pytestmark = pytest.mark.requirement("TRD-22")

SEEDS = range(25)


@contextmanager
def _synchronous(level: str) -> Iterator[None]:
    """The journal with another `synchronous` than its own."""
    original = journal_file.sqlite_file

    def weakened(path: Path):
        engine = original(path)

        @event.listens_for(engine, "connect")
        def _weaken(connection, _record) -> None:
            connection.execute(f"PRAGMA synchronous = {level}")

        return engine

    journal_file.sqlite_file = weakened
    try:
        yield
    finally:
        journal_file.sqlite_file = original


def _with_power_cuts(seed: int) -> tuple[Result, Disk]:
    """A schedule of crashes in which each crash is a power cut."""
    with tempfile.TemporaryDirectory(prefix="chaos-", dir=place_of_files()) as folder, quiet():
        disk = Disk(Path(folder))
        with powerless(disk):
            schedule = Schedule(seed, Path(folder), crash_only=True, power=disk)
            return anyio.run(schedule.run), disk


def test_with_full_no_row_that_was_committed_is_lost() -> None:
    cuts = syncs = 0
    for seed in SEEDS:
        result, disk = _with_power_cuts(seed)
        assert not result.breaches, (seed, result.breaches)
        cuts, syncs = cuts + result.crashes, syncs + disk.syncs

    assert cuts > len(SEEDS)
    assert syncs > cuts


def test_with_normal_the_shim_takes_rows_away() -> None:
    with _synchronous("NORMAL"):
        breaches = [breach for seed in SEEDS for breach in _with_power_cuts(seed)[0].breaches]

    assert any(breach.startswith(("S1", "S3", "S4", "S6")) for breach in breaches), breaches


@pytest.mark.parametrize(("level", "kept"), [("FULL", 1), ("NORMAL", 0)])
def test_what_was_not_synced_is_gone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, level: str, kept: int) -> None:
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    path, disk = tmp_path / "one.db", Disk(tmp_path)
    with powerless(disk):
        connection = sqlite3.connect(path, isolation_level=None)
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA synchronous = FULL")
        connection.execute("CREATE TABLE rows (number INTEGER)")
        connection.execute(f"PRAGMA synchronous = {level}")
        connection.execute("INSERT INTO rows VALUES (1)")
        disk.freeze()
        connection.close()
        disk.restore()
    connection = sqlite3.connect(path)
    assert connection.execute("SELECT count(*) FROM rows").fetchone() == (kept,)
    assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    connection.close()
    assert not list((tmp_path / "elsewhere").iterdir()), "a file was named by what its name's memory holds by now"
