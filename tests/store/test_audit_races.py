"""Many writers of one audit log, threads and real processes: the chain never forks, and no entry is lost."""

from __future__ import annotations

import multiprocessing
import os
import secrets
from pathlib import Path

import anyio
import pytest

from fakes import START
from ibkit.clock import ManualClock
from ibkit.model import Secret
from ibkit.store.audit import AuditLog, append
from ibkit.store.audit_key import signer_at
from ibkit.vault import Act

pytestmark = pytest.mark.requirement("MON-10")
PROCESSES, EACH = 4, 40


@pytest.fixture(params=["sqlite", "postgresql"])
def url(request, tmp_path):
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path}/ibkit.db"
    return request.getfixturevalue("postgres_database")


def act(writer: str, number: int) -> Act:
    return Act(at=START, actor=writer, action="orders.place", object=str(number))


def opened(url: str) -> AuditLog:
    return AuditLog(Secret(url), clock=ManualClock(START))


async def write(url: str, writer: str, count: int) -> None:
    """Every third time two entries in one transaction, every fifth one that is rolled back."""

    def torn(connection):
        append(connection, act(writer, -1))
        raise ZeroDivisionError

    async with opened(url) as log:
        number = 0
        while number < count:
            several = 2 if number % 3 == 0 and number + 1 < count else 1
            await log.record(*(act(writer, number + more) for more in range(several)))
            number += several
            if number % 5 == 0:
                with pytest.raises(ZeroDivisionError):
                    await log._database.write(torn)


def _process(url: str, count: int, gate) -> None:
    gate.wait(timeout=60)
    anyio.run(write, url, f"process {os.getpid()}", count)


async def everything(url: str) -> list[tuple[int, str, str]]:
    async with opened(url) as log:
        assert (await log.verify()).broken is None
        found = await log.entries(limit=1000)
    return [(entry.number, entry.actor, entry.object) for entry in reversed(found)]


@pytest.mark.slow
def test_processes_that_write_at_once_never_fork_the_chain(url):
    context = multiprocessing.get_context("spawn")
    gate = context.Barrier(PROCESSES)
    processes = [context.Process(target=_process, args=(url, EACH, gate)) for _ in range(PROCESSES)]
    for process in processes:
        process.start()
    for process in processes:
        process.join(timeout=120)

    assert [process.exitcode for process in processes] == [0] * PROCESSES
    entries = anyio.run(everything, url)
    assert [number for number, _, _ in entries] == list(range(1, PROCESSES * EACH + 1))
    for writer in {actor for _, actor, _ in entries}:
        assert [object_ for _, actor, object_ in entries if actor == writer] == [str(each) for each in range(EACH)]
    assert len({actor for _, actor, _ in entries}) == PROCESSES


@pytest.mark.anyio
async def test_tasks_and_their_writer_thread_never_fork_the_chain(url):
    async with opened(url) as log, opened(url) as other, anyio.create_task_group() as tasks:
        for number in range(50):
            tasks.start_soon(log.record, act("one", number))
            tasks.start_soon(other.record, act("other", number))
            tasks.start_soon(log.verify)

    entries = await everything(url)
    assert len(entries) == 100
    assert {actor for _, actor, _ in entries} == {"one", "other"}


def _make_key(folder: Path, gate, results) -> None:
    gate.wait(timeout=60)
    results.put(signer_at(folder, secrets.token_bytes).public_key)


@pytest.mark.slow
def test_processes_that_make_the_key_at_once_get_one_key(tmp_path):
    context = multiprocessing.get_context("spawn")
    gate, results = context.Barrier(PROCESSES), context.Queue()
    processes = [context.Process(target=_make_key, args=(tmp_path / "audit", gate, results)) for _ in range(PROCESSES)]
    for process in processes:
        process.start()
    found = {results.get(timeout=60) for _ in processes}
    for process in processes:
        process.join(timeout=60)

    assert len(found) == 1
    assert sorted(path.name for path in (tmp_path / "audit").iterdir()) == ["public_key.pem", "signing_key.pem"]
