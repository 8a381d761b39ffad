"""What the journal does when its disk does not do its part: a named error with a remedy, before anything is sent."""

from __future__ import annotations

import os
import sqlite3
import subprocess
import sys
from datetime import timedelta

import anyio
import pytest

from fakes import START, USER, stock_ticket
from ibkit.clock import ManualClock, SystemClock
from ibkit.errors import InFlight, StorageError
from ibkit.model import Environment, Key
from ibkit.store import database, open_journal
from ibkit.trading.events import Claimed
from ibkit.trading.intent import IntentState
from trading_room import make_room

pytestmark = pytest.mark.anyio

CLOCK = ManualClock(START)
KEY = Key("key-0123456789abcdef")


@pytest.fixture
def path(tmp_path):
    return tmp_path / "state" / "journal.sqlite"


async def submit(journal, key=KEY, quantity="10"):
    room = make_room(journal=_with_busy(journal))
    return room, await room.gateway.submit(stock_ticket(quantity), key=key)


def _with_busy(journal):
    journal._busy = set()  # what a Room clears when it is restarted; files need no clearing
    return journal


@pytest.mark.requirement("OPT-07")
async def test_the_file_is_private_durable_and_kept(path):
    async with open_journal(path, clock=CLOCK) as journal:
        _, outcome = await submit(journal)
        assert outcome.accepted
        modes = {file.name: file.stat().st_mode & 0o777 for file in path.parent.iterdir() if file.is_file()}
        assert set(modes.values()) == {0o600}
        settings = await journal._database.read(
            lambda c: [c.exec_driver_sql(f"PRAGMA {name}").scalar() for name in ("synchronous", "journal_mode")]
        )
        assert settings == [2, "wal"]  # FULL
    async with open_journal(path, clock=CLOCK) as journal:
        assert (await journal.get(outcome.intent.intent_id)) == outcome.intent


@pytest.mark.requirement("GWY-06")
async def test_what_happened_cannot_be_changed_or_deleted(path):
    async with open_journal(path, clock=CLOCK) as journal:
        await submit(journal)
    connection = sqlite3.connect(path)
    try:
        for statement in ("UPDATE intent_events SET kind = 'Expired'", "DELETE FROM intent_events"):
            with pytest.raises(sqlite3.IntegrityError, match="append-only"):
                connection.execute(statement)
    finally:
        connection.close()


@pytest.mark.requirement("OPT-07", "TRD-22")
async def test_a_full_disk_stops_the_order_and_is_no_end(path):
    async with open_journal(path, clock=CLOCK) as journal:
        room = make_room(journal=_with_busy(journal))
        pages = await journal._database.read(lambda c: c.exec_driver_sql("PRAGMA page_count").scalar())
        await journal._database.read(lambda c: c.exec_driver_sql(f"PRAGMA max_page_count = {pages}"))

        async def until_full():
            for number in range(200):
                await room.gateway.submit(stock_ticket(), key=Key(f"{KEY}-{number:03}"))

        with pytest.raises(StorageError, match="the disk is full") as caught:
            await until_full()
        assert caught.value.code == "E-DB"
        assert room.broker.sent("place") == len(room.broker.accepted)
        sent = room.broker.sent("place")

        await journal._database.read(lambda c: c.exec_driver_sql("PRAGMA max_page_count = 100000"))
        outcome = await room.gateway.submit(stock_ticket(), key=Key("key-with-room-again-1"))

        assert outcome.accepted
        assert room.broker.sent("place") == sent + 1


@pytest.mark.requirement("OPT-07")
async def test_a_journal_that_another_program_holds_sends_nothing(path, monkeypatch):
    monkeypatch.setattr(database, "_BUSY_TIMEOUT_MS", 10)
    async with open_journal(path, clock=CLOCK) as journal:
        holder = sqlite3.connect(path, isolation_level=None)
        try:
            holder.execute("BEGIN IMMEDIATE")
            room = make_room(journal=_with_busy(journal))
            with pytest.raises(StorageError, match="locked by another program"):
                await room.gateway.submit(stock_ticket(), key=KEY)
            assert room.broker.sent("place") == 0
        finally:
            holder.close()
        assert (await submit(journal))[1].accepted


@pytest.mark.requirement("OPT-07", "TRD-22")
async def test_after_a_failed_disk_write_nothing_is_written_any_more(path):
    """fsync is never retried: after it failed nobody knows what is on the disk."""
    from sqlalchemy.exc import OperationalError

    failure = sqlite3.OperationalError("disk I/O error")
    failure.sqlite_errorcode = 10 | (4 << 8)  # SQLITE_IOERR_FSYNC

    def breaks(connection):
        raise OperationalError("COMMIT", {}, failure)

    async with open_journal(path, clock=CLOCK) as journal:
        with pytest.raises(StorageError, match="the disk failed"):
            await journal._database.write(breaks)
        room = make_room(journal=_with_busy(journal))
        with pytest.raises(StorageError, match="writing has stopped"):
            await room.gateway.submit(stock_ticket(), key=KEY)
        assert room.broker.sent("place") == 0


@pytest.mark.requirement("OPT-07")
@pytest.mark.parametrize("damage", [b"this is no database" * 100, None])
async def test_a_damaged_file_is_named_and_never_made_anew(path, damage):
    async with open_journal(path, clock=CLOCK) as journal:
        for number in range(30):
            await submit(journal, Key(f"{KEY}-{number:03}"))
    content = bytearray(path.read_bytes())
    content = bytearray(damage) if damage else content[:4096] + os.urandom(4096 * 3) + content[4096 * 4 :]
    path.write_bytes(content)

    with pytest.raises(StorageError) as caught:
        async with open_journal(path, clock=CLOCK):
            pass

    assert "Do not delete it" in caught.value.remedy
    assert path.read_bytes() == content


@pytest.mark.requirement("OPT-07")
async def test_a_place_that_cannot_be_written_is_named(tmp_path):
    (tmp_path / "state").write_text("a file where the folder should be")

    with pytest.raises(StorageError, match=r"state/journal\.sqlite") as caught:
        async with open_journal(tmp_path / "state" / "journal.sqlite", clock=CLOCK):
            pass

    assert caught.value.remedy


@pytest.mark.requirement("OPT-07")
async def test_a_journal_of_a_newer_version_is_left_alone(path):
    async with open_journal(path, clock=CLOCK):
        pass
    connection = sqlite3.connect(path)
    connection.execute("INSERT INTO schema_versions VALUES ('journal', 99, 'from the future', '2030')")
    connection.commit()
    connection.close()

    with pytest.raises(StorageError, match="version 99"):
        async with open_journal(path, clock=CLOCK):
            pass


@pytest.mark.requirement("TRD-10", "GWY-06")
async def test_the_conversation_ends_with_the_process_that_held_it(path):
    """A SIGKILL leaves no lock behind, and while it lives no other process gets in."""
    async with open_journal(path, clock=SystemClock()) as journal:
        async with journal.conversation(USER, wait_s=0):
            pass  # makes the file
        (lock,) = path.parent.glob("*.locks/*.lock")
        program = (
            f"import fcntl, time\nf = open({str(lock)!r}, 'a')\nfcntl.flock(f, fcntl.LOCK_EX)\n"
            "print('held', flush=True)\ntime.sleep(60)"
        )
        other = subprocess.Popen(  # noqa: ASYNC220  # a process of its own is what is tested
            [sys.executable, "-c", program], stdout=subprocess.PIPE, text=True
        )
        try:
            assert other.stdout.readline() == "held\n"
            with pytest.raises(InFlight):
                async with journal.conversation(USER, wait_s=0.1):
                    pass
        finally:
            other.kill()
            other.wait()
            other.stdout.close()
        async with journal.conversation(USER, wait_s=1):
            pass


@pytest.mark.requirement("GWY-06")
async def test_two_openings_of_one_file_see_each_other_and_have_one_winner(path):
    """F104: two processes claim one intent."""
    async with open_journal(path, clock=CLOCK) as one, open_journal(path, clock=CLOCK) as two:
        room = make_room(journal=_with_busy(one))
        room.plan("unsent")
        with pytest.raises(Exception, match="connection refused"):
            await room.gateway.submit(stock_ticket(), key=KEY)
        seen = await two.by_key(tenant="local", environment=room.gateway.environment, key=KEY)
        assert seen.state is IntentState.INTENT
        await one.append(seen, Claimed(at=START + timedelta(seconds=1), owner="one"))
        with pytest.raises(InFlight):
            await two.append(seen, Claimed(at=START + timedelta(seconds=1), owner="two"))


@pytest.mark.requirement("GWY-03")
async def test_two_processes_with_one_key_have_one_effect(path):
    clock = SystemClock()  # the waiting for the file's lock is real; everything else stays on the rooms' own clocks
    async with open_journal(path, clock=clock) as one, open_journal(path, clock=clock) as two:
        first = make_room(journal=_with_busy(one))
        second = make_room(journal=_with_busy(two))
        second.broker = first.broker
        second.restart()
        outcomes = []

        async def submit_through(room):
            outcomes.append(await room.gateway.submit(stock_ticket(), key=KEY))

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(submit_through, first)
            tasks.start_soon(submit_through, second)

    assert len(first.broker.accepted) == 1
    assert len({outcome.order_id for outcome in outcomes}) == 1


@pytest.mark.requirement("GWY-06")
async def test_reading_does_not_wait_for_another_process_that_writes(path):
    async with open_journal(path, clock=CLOCK) as journal:
        await submit(journal)
        other = sqlite3.connect(path, isolation_level=None)
        try:
            other.execute("BEGIN IMMEDIATE")
            assert (await journal.by_key(tenant="local", environment=Environment.PAPER, key=KEY)) is not None
        finally:
            other.close()


@pytest.mark.requirement("OPT-07")
async def test_the_names_of_a_new_journal_and_its_folder_are_put_on_disk(path, monkeypatch):
    """A file that was synced, in a folder that was not, is gone after a power cut."""
    synced = []
    fsync = os.fsync
    monkeypatch.setattr(os, "fsync", lambda handle: (synced.append(os.fstat(handle).st_ino), fsync(handle)))

    async with open_journal(path, clock=CLOCK):
        pass

    assert {path.parent.stat().st_ino, path.parent.parent.stat().st_ino} <= set(synced)
    synced.clear()
    async with open_journal(path, clock=CLOCK):
        assert not synced
