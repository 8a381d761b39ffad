"""Durable jobs: once for each key, one at a time for each partition, and again where their process dies."""

from __future__ import annotations

import base64
import os
import pickle
import signal
import sqlite3
import stat
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import anyio
import pytest

from ibkit.bootstrap import jobs as jobs_module
from ibkit.bootstrap.jobs import JobEngine
from ibkit.clock import ManualClock, SystemClock, slot_of
from ibkit.errors import ConfigError, InFlight, NotFound, StorageError
from ibkit.settings import Settings
from running import until
from service_desks import settings_of

pytestmark = [pytest.mark.anyio, pytest.mark.skipif(os.name != "posix", reason="signals of POSIX")]

SCRIPT = Path(__file__).with_name("sync_process.py")
NOON = datetime(2026, 11, 20, 12, tzinfo=UTC)


class Work:
    def __init__(self) -> None:
        self.done: list[str] = []
        self.at_once: dict[str, int] = {}
        self.most = 0

    async def __call__(self, argument: str) -> None:
        user = argument.partition(" ")[0]
        self.at_once[user] = self.at_once.get(user, 0) + 1
        self.most = max(self.most, self.at_once[user])
        await anyio.sleep(0.05)
        self.at_once[user] -= 1
        self.done.append(argument)


async def comes(done: list[str], count: int) -> None:
    with anyio.fail_after(90):
        while len(done) < count:  # noqa: ASYNC110  - threads of the library are waited for
            await anyio.sleep(0.02)


@contextmanager
def process_of(folder: Path, mode: str, more: str = "", what: str = "jobs") -> Iterator[tuple[subprocess.Popen, Path]]:
    log = folder / f"log-{os.urandom(4).hex()}"
    words = [sys.executable, str(SCRIPT), what, str(folder), str(log), mode, more]
    with subprocess.Popen(words, stderr=subprocess.PIPE, text=True) as process:
        try:
            yield process, log
            assert process.poll() in (None, -signal.SIGKILL), process.stderr.read() if process.stderr else ""
        finally:
            process.kill()


def lines(log: Path) -> list[str]:
    return log.read_text().splitlines() if log.exists() else []


@pytest.mark.requirement("SYN-12")
async def test_equal_keys_are_one_job_and_of_a_partition_one_runs_at_a_time(tmp_path: Path) -> None:
    settings, work = settings_of(tmp_path), Work()
    for run in ("first", "second"):  # the same process starts and ends it twice
        engine = JobEngine(settings, SystemClock())
        engine.register("work", work)
        async with engine.running():
            for number in range(6):
                for _ in range(2):
                    user = f"user-{number % 2}"
                    await engine.put("work", f"{user} {run} {number}", key=f"{run}-{number}", partition=user)
            await comes(work.done, 6 if run == "first" else 12)
            # What has ended is written down a moment later; ended before, it would be carried out once more.
            await anyio.sleep(0.5)
    assert len(work.done) == len(set(work.done)) == 12
    assert work.most == 1
    file = tmp_path / "jobs" / "jobs.sqlite"
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    with sqlite3.connect(file) as connection:
        assert connection.execute("PRAGMA journal_mode").fetchone() == ("wal",)
    assert list((tmp_path / "jobs").glob("*.lock")) == []


@pytest.mark.requirement("SYN-12")
async def test_a_job_that_fails_is_over_and_leaves_its_code_alone(tmp_path: Path) -> None:
    tried: list[str] = []

    async def fails(argument: str) -> None:
        tried.append(argument)
        raise NotFound("secret-text") if argument == "a" else ValueError("secret-text")

    engine = JobEngine(settings_of(tmp_path), SystemClock())
    engine.register("work", fails)
    async with engine.running():
        for argument in ("a", "b"):
            await engine.put("work", argument, key=argument, partition="ada")
        await comes(tried, 2)
        await anyio.sleep(0.5)
        assert await engine.take_over() == 0
    assert tried == ["a", "b"]
    assert b"secret-text" not in b"".join(each.read_bytes() for each in (tmp_path / "jobs").iterdir())


class _Bomb:
    def __init__(self, where: Path) -> None:
        self.where = where

    def __reduce__(self) -> tuple[object, tuple[Path]]:
        return Path.touch, (self.where,)


@pytest.mark.requirement("SYN-12")
async def test_a_row_of_the_database_is_read_as_text_and_never_as_a_pickle(tmp_path: Path) -> None:
    """The row says itself how it is to be read: whoever can write the database could have us run what they like."""
    from dbos import DBOSPortableJSONSerializer
    from dbos._serialization import deserialize_args, deserialize_value

    engine, work = JobEngine(settings_of(tmp_path), SystemClock()), Work()
    engine.register("work", work)
    bomb = base64.b64encode(pickle.dumps(_Bomb(tmp_path / "exploded"))).decode()
    async with engine.running():
        await engine.put("work", "ada 1", key="1", partition="ada")
        await comes(work.done, 1)
        with sqlite3.connect(tmp_path / "jobs" / "jobs.sqlite") as other:
            kinds = other.execute("SELECT DISTINCT serialization FROM workflow_status").fetchall()
        other.close()
        assert kinds == [("portable_json",)]
        for read in (deserialize_args, deserialize_value):
            with pytest.raises(StorageError, match="pickle"):
                read(bomb, "py_pickle", DBOSPortableJSONSerializer())
    assert "exploded" not in {each.name for each in await anyio.to_thread.run_sync(lambda: list(tmp_path.iterdir()))}


@pytest.mark.requirement("SYN-12")
async def test_what_is_under_way_when_it_stops_is_carried_out_again(tmp_path: Path) -> None:
    settings, began, work = settings_of(tmp_path), anyio.Event(), Work()

    async def hangs(argument: str) -> None:
        began.set()
        await anyio.sleep_forever()

    engine = JobEngine(settings, SystemClock())
    engine.register("work", hangs)
    async with engine.running():
        await engine.put("work", "one", key="one", partition="ada")
        with anyio.fail_after(30):
            await began.wait()
    engine = JobEngine(settings, SystemClock())
    engine.register("work", work)
    async with engine.running():
        await comes(work.done, 1)
    assert work.done == ["one"]


@pytest.mark.requirement("SYN-12")
@pytest.mark.parametrize("server", [False, True], ids=["sqlite", "postgresql"])
async def test_jobs_of_a_killed_process_are_taken_over_and_those_of_a_living_one_are_not(
    tmp_path: Path, server: bool, request: pytest.FixtureRequest
) -> None:
    url = request.getfixturevalue("postgres_database") if server else ""
    settings = settings_of(tmp_path, **({"DATABASE_URL": url} if url else {}))
    work = Work()
    with process_of(tmp_path, "hang", url) as (process, log):
        until(lambda: "began one" in lines(log) or process.poll() is not None, what="the job")
        engine = JobEngine(settings, SystemClock())
        engine.register("work", work)
        async with engine.running():
            await engine.put("work", "two", key="two", partition="eve")
            await comes(work.done, 1)
            assert await engine.take_over() == 0, "it lives"
            assert work.done == ["two"]
            os.kill(process.pid, signal.SIGKILL)
            process.wait(10)
            await comes(work.done, 2)
            await anyio.sleep(0.5)
            assert await engine.take_over() == 0
    assert work.done == ["two", "one"]
    assert lines(log).count("began one") == 1
    assert (tmp_path / "jobs" / "jobs.sqlite").exists() is not server


@pytest.mark.requirement("SYN-12")
async def test_what_is_due_by_the_clock_is_done_once_by_two_processes(tmp_path: Path) -> None:
    with process_of(tmp_path, "tick") as (first, one), process_of(tmp_path, "tick") as (second, two):

        def enough() -> bool:
            assert (first.poll(), second.poll()) == (None, None)
            both = "running" in lines(one) and "running" in lines(two)
            return both and len(lines(one)) + len(lines(two)) >= 2 + 5

        until(enough, within_s=60, what="five ticks")
    ticks = [each for each in lines(one) + lines(two) if each.startswith("tick")]
    assert len(ticks) == len(set(ticks)) >= 5


@pytest.mark.requirement("SYN-12")
async def test_one_engine_runs_in_a_process_and_a_missing_library_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings: Settings = settings_of(tmp_path)
    engine, other = JobEngine(settings, SystemClock()), JobEngine(settings, SystemClock())
    async with engine.running():
        with pytest.raises(InFlight):
            async with other.running():
                pass
    monkeypatch.setattr(jobs_module, "find_spec", lambda name: None)
    with pytest.raises(ConfigError) as caught:
        async with engine.running():
            pass
    assert "ibkit[jobs]" in caught.value.remedy


@pytest.mark.requirement("SYN-12")
async def test_nothing_else_imports_the_library() -> None:
    source = Path(jobs_module.__file__).parents[1]
    found = [
        path.name
        for path in source.rglob("*.py")
        if "from dbos" in path.read_text() or "import dbos" in path.read_text()
    ]
    assert found == ["jobs.py"]


async def test_stretches_of_the_clock() -> None:
    clock = ManualClock(NOON + timedelta(seconds=59))
    assert slot_of(clock.now(), timedelta(minutes=1)) == NOON
    assert slot_of(clock.now(), timedelta(minutes=15), timedelta(minutes=14)) == NOON - timedelta(minutes=1)
    assert slot_of(NOON, timedelta(days=1), timedelta(hours=13)) == NOON - timedelta(hours=23)
