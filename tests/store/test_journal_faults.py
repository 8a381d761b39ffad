"""What the journal does when its disk does not do its part: a named error with a remedy, before anything is sent."""

from __future__ import annotations

import os
import shutil
import sqlite3
import subprocess
import sys
import threading
from decimal import Decimal
from random import Random

import anyio
import anyio.to_thread
import pytest

from fakes import ACCOUNT, START, USER, stock_ticket
from faulty_disk import BUSY, FULL, IOERR_FSYNC, IOERR_WRITE, Disk
from ibkit.clock import ManualClock, SystemClock
from ibkit.errors import InFlight, StorageError
from ibkit.model import Environment, OrderType, Side
from ibkit.store import database, open_journal
from ibkit.store.columns import instant_text
from ibkit.store.migrations import JOURNAL
from ibkit.trading.alert import Alert, AlertKind, Severity
from ibkit.trading.events import Doubted
from ibkit.trading.intent import IntentState, fold_all
from ibkit.trading.ports import Fenced
from journal_words import KEY, bracket, claim, other_key, planned, send
from trading_room import make_room

pytestmark = pytest.mark.anyio

CLOCK = ManualClock(START)
ALERT = Alert(
    kind=AlertKind.UNKNOWN_ORDER, severity=Severity.CRITICAL, subject="ib-x", message="CRITICAL: unknown", at=START
)


@pytest.fixture
def path(tmp_path):
    return tmp_path / "state" / "journal.sqlite"


def _with_busy(journal):
    journal._busy = set()  # what a Room clears when it is restarted; files need no clearing
    return journal


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

    with pytest.raises(StorageError) as caught:
        async with open_journal(path, clock=CLOCK):
            pass

    assert caught.value.message == (
        f"Database problem: its journal have version 99, this ibkit knows {JOURNAL[-1].version}"
    )
    assert caught.value.remedy == "Update ibkit: the database was written by a newer one."


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


# -- the journal by itself --------------------------------------------------------------------------------------------


async def walk(journal, key=KEY, serial=0):
    """An order with everything that one can bring: a group, an alert, a send that counts."""
    wish, legs = bracket(key)
    intent, _ = await journal.plan(wish)
    async with journal.conversation(USER, wait_s=1) as lane:
        intent = await journal.append(intent, *claim(lane.epoch))
        intent = await journal.append(intent, *send(serial))
        return await journal.append(intent, Doubted(at=START, reason="lost"), alert=ALERT, legs=legs)


@pytest.mark.requirement("OPT-07")
async def test_the_file_is_private_durable_and_kept(path):
    async with open_journal(path, clock=CLOCK) as journal:
        doubted = await walk(journal)
        modes = {file.name: file.stat().st_mode & 0o777 for file in path.parent.iterdir() if file.is_file()}
        assert set(modes.values()) == {0o600}
        assert set(modes) >= {"journal.sqlite", "journal.sqlite-wal", "journal.sqlite.mark"}
        settings = await journal._database.write(
            lambda c: [c.exec_driver_sql(f"PRAGMA {name}").scalar() for name in ("synchronous", "journal_mode")]
        )
        assert settings == [2, "wal"]  # FULL
    async with open_journal(path, clock=CLOCK) as journal:
        assert (await journal.get(doubted.intent_id)) == doubted


@pytest.mark.requirement("GWY-06")
@pytest.mark.parametrize("table", ["intent_events", "sends"])
async def test_what_happened_cannot_be_changed_or_deleted(path, table):
    async with open_journal(path, clock=CLOCK) as journal:
        await walk(journal)
    connection = sqlite3.connect(path)
    try:
        for statement in (f"UPDATE {table} SET at = ''", f"DELETE FROM {table}"):
            with pytest.raises(sqlite3.IntegrityError, match="append-only"):
                connection.execute(statement)
    finally:
        connection.close()


@pytest.mark.requirement("OPT-07", "TRD-22")
async def test_a_full_disk_refuses_orders_and_is_no_end(path):
    """F92, by SQLite's own limit: real pages, really none left."""
    async with open_journal(path, clock=CLOCK) as journal:
        pages = await journal._database.write(lambda c: c.exec_driver_sql("PRAGMA page_count").scalar())

        async def limit(most):  # it is a connection's own: of the one that writes
            await journal._database.write(lambda c: c.exec_driver_sql(f"PRAGMA max_page_count = {most}").scalar())

        await limit(pages)
        stored = 0

        async def until_full():
            nonlocal stored
            for number in range(500):
                await journal.plan(planned(other_key(number)))
                stored += 1

        with pytest.raises(StorageError, match="the disk is full") as caught:
            await until_full()
        assert caught.value.code == "E-DB"
        assert "Free space" in caught.value.remedy
        assert len(await journal.recent(limit=1000)) == stored

        await limit(100_000)
        assert (await walk(journal)).state is IntentState.AMBIGUOUS


@pytest.mark.requirement("OPT-07")
async def test_a_journal_that_another_program_holds_takes_nothing_until_it_lets_go(path, monkeypatch):
    """F93."""
    monkeypatch.setattr(database, "_BUSY_TIMEOUT_MS", 10)
    async with open_journal(path, clock=CLOCK) as journal:
        holder = sqlite3.connect(path, isolation_level=None)
        try:
            holder.execute("BEGIN IMMEDIATE")
            with pytest.raises(StorageError) as caught:
                await journal.plan(planned())
            assert caught.value.message == f"Database problem: order journal {path}: locked by another program"
            with pytest.raises(StorageError, match="locked by another program"):
                async with journal.conversation(USER, wait_s=0):
                    pytest.fail("no lane was taken")
            assert await journal.by_key(tenant="local", environment=Environment.PAPER, key=KEY) is None
        finally:
            holder.close()
        assert (await walk(journal)).state is IntentState.AMBIGUOUS


@pytest.mark.requirement("OPT-07", "TRD-22", "GWY-06")
@pytest.mark.parametrize("code", [BUSY, FULL, IOERR_WRITE, IOERR_FSYNC])
async def test_a_fault_at_any_write_of_an_order_leaves_what_was_stored_before_it(path, monkeypatch, code):
    """F92-F94 at each statement: what is stored is what was answered, and only a broken disk ends the writing."""
    disk = Disk(monkeypatch)
    number = 0
    while True:
        place = path.with_name(f"journal-{code}-{number}.sqlite")
        async with open_journal(place, clock=CLOCK) as journal:
            disk.fail_at(number, code)
            try:
                await walk(journal)
            except StorageError as error:
                failed = error
            else:
                break
            finally:
                disk.heal()
            assert failed.remedy
            found = await journal.by_key(tenant="local", environment=Environment.PAPER, key=KEY)
            legs = () if found is None else await journal.legs(found.intent_id)
            alerts = await journal.alerts.open()
            at_end = found is not None and found.state is IntentState.AMBIGUOUS
            assert (len(legs), len(alerts)) == ((2, 1) if at_end else (0, 0))
            if found is not None:
                assert fold_all(await journal.events(found.intent_id)) == found
            if code in (IOERR_WRITE, IOERR_FSYNC):
                with pytest.raises(StorageError, match="writing has stopped"):
                    await walk(journal, other_key(1))
            else:
                serial = 0 if found is None or found.sends == 0 else 1
                assert (await walk(journal, other_key(1), serial)).state is IntentState.AMBIGUOUS
        number += 1
    assert number > 25  # five writes, all their statements


@pytest.mark.requirement("OPT-07")
@pytest.mark.parametrize("code", [BUSY, FULL, IOERR_WRITE])
async def test_a_fault_at_any_statement_of_the_opening_is_named_and_the_next_opening_works(path, monkeypatch, code):
    disk = Disk(monkeypatch)
    for number in range(200):
        place = path.with_name(f"journal-{code}-{number}.sqlite")
        disk.fail_at(number, code)
        try:
            async with open_journal(place, clock=CLOCK):
                break
        except StorageError as error:
            failed = error
        finally:
            disk.heal()
        assert str(place) in failed.message
        async with open_journal(place, clock=CLOCK) as journal:
            assert not journal.restored
            assert (await walk(journal)).state is IntentState.AMBIGUOUS
    assert number > 40


@pytest.mark.requirement("OPT-07")
@pytest.mark.parametrize("damage", ["no database", "torn pages", "cut in half", "header gone"])
async def test_a_damaged_file_is_named_and_never_made_anew(path, damage):
    """F95."""
    async with open_journal(path, clock=CLOCK) as journal:
        for number in range(30):
            await walk(journal, other_key(number), number)
    content = path.read_bytes()
    random = Random(damage)
    content = {
        "no database": b"this is no database" * 100,
        "torn pages": content[:4096] + random.randbytes(4096 * 12) + content[4096 * 13 :],
        "cut in half": content[: len(content) // 8192 * 4096],
        "header gone": bytes(100) + content[100:],
    }[damage]
    path.write_bytes(content)

    with pytest.raises(StorageError) as caught:
        async with open_journal(path, clock=CLOCK):
            pass

    assert caught.value.message.startswith(f"Database problem: order journal {path}: ")
    assert ("not a database" if damage in ("no database", "header gone") else "damaged") in caught.value.message
    keep = "Do not delete it: move it aside, check `ibkit orders list` at IBKR, then start anew."
    assert caught.value.remedy == keep
    assert path.read_bytes() == content


@pytest.mark.requirement("OPT-07")
async def test_a_file_that_lost_everything_is_not_taken_for_a_new_one(path):
    """A file of no bytes is an empty database to SQLite: only the mark beside it knows better."""
    async with open_journal(path, clock=CLOCK) as journal:
        await walk(journal)
    path.write_bytes(b"")

    async with open_journal(path, clock=CLOCK) as journal:
        assert journal.restored


@pytest.mark.requirement("OPT-07", "GWY-06")
@pytest.mark.parametrize("kept", [0, 0.5, 0.9])
async def test_a_log_that_was_cut_loses_its_end_and_that_is_noticed(path, tmp_path, kept):
    """F95: the WAL without its last frames is an older journal, whole in itself."""
    copy = tmp_path / "copy"
    async with open_journal(path, clock=CLOCK) as journal:
        for number in range(10):
            await walk(journal, other_key(number), number)
        shutil.copytree(path.parent, copy)
    log = copy / "journal.sqlite-wal"
    os.truncate(log, int(log.stat().st_size * kept))

    async with open_journal(copy / "journal.sqlite", clock=CLOCK) as journal:
        assert journal.restored
        assert len(await journal.recent(limit=100)) < 30


@pytest.mark.requirement("GWY-06")
async def test_two_openings_of_one_file_see_each_other_and_have_one_winner(path):
    """F104: two processes claim one intent."""
    async with open_journal(path, clock=CLOCK) as one, open_journal(path, clock=CLOCK) as two:
        intent, _ = await one.plan(planned())
        seen = await two.get(intent.intent_id)
        assert seen == intent
        await one.append(seen, *claim())
        with pytest.raises(InFlight, match="moved by another process"):
            await two.append(seen, *claim())


@pytest.mark.requirement("GWY-06", "TRD-10")
async def test_a_lane_that_lost_its_file_is_still_fenced(path):
    """Somebody cleaned up the lock files: two hold "the" lock, and only the newer may send."""
    async with open_journal(path, clock=CLOCK) as one, open_journal(path, clock=CLOCK) as two:
        intent, _ = await one.plan(planned())
        async with one.conversation(USER, wait_s=0) as older:
            intent = await one.append(intent, *claim(older.epoch))
            for lock in path.parent.glob("*.locks/*.lock"):
                lock.unlink()
            async with two.conversation(USER, wait_s=0) as newer:
                assert newer.epoch == older.epoch + 1
                with pytest.raises(Fenced) as caught:
                    await one.append(intent, *send())
        assert caught.value.details == {"intent": intent.intent_id, "epoch": "1", "newest": "2"}


@pytest.mark.requirement("GWY-06")
async def test_reading_does_not_wait_for_another_process_that_writes(path):
    async with open_journal(path, clock=CLOCK) as journal:
        intent, _ = await journal.plan(planned())
        other = sqlite3.connect(path, isolation_level=None)
        try:
            other.execute("BEGIN IMMEDIATE")
            assert await journal.get(intent.intent_id) == intent
        finally:
            other.close()


@pytest.mark.requirement("TRD-18")
async def test_a_send_is_recorded_with_what_it_was_worth(path):
    limit = stock_ticket("10.5", order_type=OrderType.LIMIT, limit_price=Decimal("187.10"))
    stop = stock_ticket("3", order_type=OrderType.STOP, stop_price=Decimal("150"), side=Side.SELL)
    async with open_journal(path, clock=CLOCK) as journal:
        for number, (ticket, value) in enumerate(((limit, Decimal("1964.550")), (stop, None), (stock_ticket(), None))):
            wish = planned(other_key(number), ticket=ticket, user="ada", api_key="k-1", strategy="wheel")
            intent, _ = await journal.plan(wish)
            intent = await journal.append(intent, *claim())
            await journal.append(intent, *send(number, value=value))
        rows = await journal._database.read(
            lambda c: [
                tuple(row) for row in c.exec_driver_sql("SELECT * FROM sends ORDER BY value_usd DESC, side DESC")
            ]
        )
        serial = await journal._database.read(
            lambda c: c.exec_driver_sql("SELECT account_id, serial FROM send_serials").one()
        )
    assert tuple(serial) == (ACCOUNT, 3)
    same = ("local", ACCOUNT, "ada", "k-1", "SPY", 756733)
    assert [row[2:] for row in rows] == [
        (instant_text(START), *same, "BUY", "10.5", "187.10", "1964.550", "place", "wheel"),
        (instant_text(START), *same, "SELL", "3", "150", None, "place", "wheel"),
        (instant_text(START), *same, "BUY", "10", None, None, "place", "wheel"),
    ]
    assert {row[1] for row in rows} == {5}  # the number of the event


async def test_a_value_decided_later_counts(path):
    """Two decisions in one write: the send was judged by the latter."""
    async with open_journal(path, clock=CLOCK) as journal:
        intent, _ = await journal.plan(planned())
        decided, _ = send(value=Decimal(1))
        await journal.append(intent, decided, *claim(), *send(value=Decimal(2)))
        worth = await journal._database.read(lambda c: c.exec_driver_sql("SELECT value_usd FROM sends").scalar_one())
    assert worth == "2"


async def test_outside_of_its_context_a_journal_is_closed(path):
    journal = open_journal(path, clock=CLOCK)
    assert journal.path == path
    with pytest.raises(AssertionError, match="only inside"):
        await journal.plan(planned())
    with pytest.raises(AssertionError, match="only inside"):
        _ = journal.alerts
    with pytest.raises(AssertionError, match="only inside"):
        _ = journal.risk
    async with journal:
        assert journal.alerts is not None
    with pytest.raises(AssertionError, match="only inside"):
        await journal.recent()
    await journal.__aexit__(None, None, None)  # nothing to close any more


async def test_an_inline_journal_does_the_same_without_threads(path):
    before = set(threading.enumerate())
    async with open_journal(path, clock=CLOCK, run_inline=True) as journal:
        doubted = await walk(journal)
        assert await journal.get(doubted.intent_id) == doubted
        assert len(await journal.legs(doubted.intent_id)) == 2
        assert set(threading.enumerate()) <= before
