"""Many callers, one transaction: each with its own outcome, and all with the same disk."""

from __future__ import annotations

import sqlite3
import threading
from pathlib import Path

import anyio
import anyio.lowlevel
import pytest
from sqlalchemy import text

from faulty_disk import BUSY, FULL, IOERR_FSYNC, IOERR_WRITE, Disk
from ibkit.errors import StorageError
from ibkit.store import group_commit
from ibkit.store.database import Database, sqlite_file, to_engine
from ibkit.store.transactions import driver_of

pytestmark = [pytest.mark.anyio, pytest.mark.requirement("OPT-07", "GWY-06")]


@pytest.fixture
def disk(monkeypatch):
    return Disk(monkeypatch)


@pytest.fixture
async def database(disk, tmp_path):
    opened = Database(sqlite_file(tmp_path / "words.sqlite"), name="words")
    await opened.write(lambda c: c.execute(text("CREATE TABLE words (word TEXT PRIMARY KEY)")))
    disk.statements.clear()
    yield opened
    await opened.close()


def put(word):
    def work(connection):
        connection.execute(text("INSERT INTO words VALUES (:word)"), {"word": word})
        return word

    return work


async def stored(database):
    return set(await database.read(lambda c: c.execute(text("SELECT word FROM words")).scalars().all()))


async def at_once(database, *works, before_release=lambda: None):
    """The outcomes of `works`, which all wait while the writer is held up."""
    entered, go = threading.Event(), threading.Event()
    outcomes = [None] * len(works)

    def hold(_connection):
        entered.set()
        assert go.wait(10)

    async def run(place, work):
        try:
            outcomes[place] = await database.write(work)
        except (StorageError, LookupError) as error:
            outcomes[place] = error

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(database.write, hold)
        assert await anyio.to_thread.run_sync(entered.wait, 10)
        for place, work in enumerate(works):
            tasks.start_soon(run, place, work)
        for _ in range(3):
            await anyio.lowlevel.checkpoint()
        before_release()
        go.set()
    return outcomes


async def test_whatever_waits_is_committed_together(database, disk):
    outcomes = await at_once(database, *(put(f"w{n}") for n in range(20)))

    assert outcomes == [f"w{n}" for n in range(20)]
    assert disk.statements.count("COMMIT") == 2  # what held the writer up, and all the others
    assert len(await stored(database)) == 20


async def test_a_transaction_has_a_largest_size(database, disk, monkeypatch):
    monkeypatch.setattr(group_commit, "_MOST_UNITS", 8)

    await at_once(database, *(put(f"w{n}") for n in range(20)))

    assert disk.statements.count("COMMIT") == 1 + 3
    assert len(await stored(database)) == 20


async def test_one_that_fails_takes_nobody_with_it(database):
    def half_done(connection):
        put("half")(connection)
        raise LookupError("changed its mind")

    first, broken, twin, last = await at_once(database, put("a"), half_done, put("a"), put("b"))

    assert (first, last) == ("a", "b")
    assert isinstance(broken, LookupError)
    assert isinstance(twin, StorageError)
    assert await stored(database) == {"a", "b"}
    assert await database.write(put("c")) == "c"


async def test_a_commit_that_fails_fails_them_all_and_ends_the_writing(database, disk):
    def fail_commit():
        disk.fault = lambda statement: IOERR_FSYNC if statement == "COMMIT" and len(disk.statements) > 4 else None

    def wrong(_connection):
        raise LookupError

    outcomes = await at_once(database, put("a"), wrong, put("b"), before_release=fail_commit)

    assert [str(outcome) for outcome in outcomes] == ["Database problem: words: the disk failed"] * 3
    disk.heal()
    with pytest.raises(StorageError, match="writing has stopped") as caught:
        await database.write(put("c"))
    assert isinstance(caught.value.__cause__, StorageError)
    assert caught.value.remedy
    assert [str(o) for o in await _stopped(database)] == [
        "Database problem: words: the disk failed (writing has stopped)"
    ] * 2
    assert await stored(database) == set()


async def _stopped(database):
    outcomes = []

    async def run(word):
        with pytest.raises(StorageError) as caught:
            await database.write(put(word))
        outcomes.append(caught.value)

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(run, "d")
        tasks.start_soon(run, "e")
    return outcomes


@pytest.mark.parametrize("code", [BUSY, FULL, IOERR_WRITE, IOERR_FSYNC])
async def test_a_fault_at_any_statement_of_a_batch_is_told_to_whom_it_hit_and_nobody_else_is_deceived(
    tmp_path, disk, code
):
    """What was answered is stored, what was refused is not, wherever in the transaction the disk gave way."""
    hit = set()
    for number in range(40):
        database = Database(sqlite_file(tmp_path / f"{code}-{number}.sqlite"), name="words")
        await database.write(lambda c: c.execute(text("CREATE TABLE words (word TEXT PRIMARY KEY)")))
        works = [put(f"w{n}") for n in range(4)]
        outcomes = await at_once(database, *works, before_release=lambda at=number: disk.fail_at(at + 1, code))
        disk.heal()
        answered = {outcome for outcome in outcomes if isinstance(outcome, str)}
        assert all(isinstance(outcome, str | StorageError) for outcome in outcomes)
        assert await stored(database) == answered
        if len(answered) == 4:
            break
        hit.add(len(answered))
        if code in (IOERR_WRITE, IOERR_FSYNC):
            with pytest.raises(StorageError, match="writing has stopped"):
                await database.write(put("more"))
        else:
            assert await database.write(put("more")) == "more"
        await database.close()
    assert number > 10  # every statement was hit once
    assert 0 in hit
    assert (3 in hit) == (code in (BUSY, FULL))
    await database.close()


async def test_whoever_is_cancelled_while_it_is_written_has_it_written(database):
    written = threading.Event()

    def slow(connection):
        put("kept")(connection)
        written.set()

    with anyio.CancelScope() as scope:
        entered, go = threading.Event(), threading.Event()

        def hold(_connection):
            entered.set()
            assert go.wait(10)

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(database.write, hold)
            assert await anyio.to_thread.run_sync(entered.wait, 10)
            tasks.start_soon(database.write, slow)
            await anyio.lowlevel.checkpoint()
            scope.cancel()
            go.set()
    assert scope.cancelled_caught
    assert written.is_set()
    assert await stored(database) == {"kept"}

    with anyio.CancelScope() as scope:
        scope.cancel()
        await database.write(put("never"))
    assert await stored(database) == {"kept"}


async def test_a_task_killed_from_outside_leaves_the_writer_alive(database):
    import asyncio

    entered, go = threading.Event(), threading.Event()

    def hold(_connection):
        entered.set()
        assert go.wait(10)

    task = asyncio.get_running_loop().create_task(database.write(hold))
    assert await anyio.to_thread.run_sync(entered.wait, 10)
    task.cancel()  # asyncio's own way, which knows no shield
    with pytest.raises(asyncio.CancelledError):
        await task
    go.set()
    assert await database.write(put("next")) == "next"


def test_a_loop_that_is_gone_does_not_hold_up_the_writer(tmp_path):
    """Two event loops, one after the other, on one database: the first ends while its unit is being written."""
    import asyncio

    database = Database(sqlite_file(tmp_path / "words.sqlite"), name="words")
    entered, go = threading.Event(), threading.Event()

    def hold(connection):
        connection.execute(text("CREATE TABLE words (word TEXT PRIMARY KEY)"))
        entered.set()
        assert go.wait(10)

    loop = asyncio.new_event_loop()
    task = loop.create_task(database.write(hold))
    loop.run_until_complete(asyncio.sleep(0.01))
    assert entered.wait(10)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        loop.run_until_complete(task)
    loop.close()
    go.set()

    async def after():
        assert await database.write(put("next")) == "next"
        await database.close()

    asyncio.run(after())


async def test_closing_waits_for_what_was_asked_and_twice_is_once(tmp_path):
    path = tmp_path / "words.sqlite"
    database = Database(sqlite_file(path), name="words")
    await database.write(lambda c: c.execute(text("CREATE TABLE words (word TEXT PRIMARY KEY)")))
    async with anyio.create_task_group() as tasks:
        for number in range(10):
            tasks.start_soon(database.write, put(f"w{number}"))
        await anyio.lowlevel.checkpoint()
        await database.close()
    await database.close()

    connection = sqlite3.connect(path)
    try:
        assert connection.execute("SELECT count(*) FROM words").fetchone() == (10,)
    finally:
        connection.close()


async def test_what_was_never_written_to_starts_no_thread(tmp_path):
    database = Database(sqlite_file(tmp_path / "words.sqlite"), name="words")
    assert await database.read(lambda c: c.execute(text("SELECT 1")).scalar()) == 1
    assert not [thread for thread in threading.enumerate() if thread.name == "writer of words"]
    await database.write(lambda c: c.execute(text("SELECT 1")))
    assert [thread for thread in threading.enumerate() if thread.name == "writer of words"]
    await database.close()
    assert not [thread for thread in threading.enumerate() if thread.name == "writer of words"]


async def test_reads_do_not_wait_for_the_writer(database):
    await database.write(put("a"))
    entered, go = threading.Event(), threading.Event()

    def hold(connection):
        put("b")(connection)
        entered.set()
        assert go.wait(10)

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(database.write, hold)
        assert await anyio.to_thread.run_sync(entered.wait, 10)
        assert await stored(database) == {"a"}  # what is committed, and no more
        go.set()
    assert await stored(database) == {"a", "b"}


async def test_a_quick_read_needs_no_thread_and_sees_what_is_committed(database):
    """By whichever way it is executed: the driver's, or SQLAlchemy's."""
    await database.write(put("a"))
    here, count = threading.get_ident(), text("SELECT count(*) FROM words")

    def look(connection):
        assert threading.get_ident() == here
        by_driver = driver_of(connection).execute("SELECT count(*) FROM words").fetchone()[0]
        return by_driver, connection.execute(count).scalar()

    assert await database.read(look, quick=True) == (1, 1)
    await database.write(put("b"))
    assert await database.read(look, quick=True) == (2, 2)


async def test_a_quick_read_that_fails_is_named_and_the_next_one_works(database, disk):
    for statement in ("BEGIN", "SELECT word FROM words", "COMMIT"):
        disk.fault = lambda now, at=statement: BUSY if now == at else None
        with pytest.raises(StorageError, match="locked by another program"):
            await database.read(lambda c: c.execute(text("SELECT word FROM words")).scalars().all(), quick=True)
        disk.heal()
        with pytest.raises(LookupError):
            await database.read(lambda _connection: {}["nothing"], quick=True)
        assert await database.read(lambda c: c.execute(text("SELECT 1")).scalar(), quick=True) == 1
        assert await database.write(put(statement)) == statement


async def test_another_loop_does_not_share_the_connection_of_the_quick_reads(database):
    await database.write(put("a"))
    threads = set()

    def look(connection):
        threads.add(threading.get_ident())
        return connection.execute(text("SELECT count(*) FROM words")).scalar()

    assert await database.read(look, quick=True) == 1
    other = await anyio.to_thread.run_sync(lambda: anyio.run(lambda: database.read(look, quick=True)))
    assert (other, len(threads)) == (1, 2)


async def test_a_connection_that_is_lost_is_opened_anew(database, disk, monkeypatch):
    """Where not even the rollback works."""

    def lost(connection):
        monkeypatch.setattr(disk, "fault", lambda _statement: IOERR_WRITE)
        driver = driver_of(connection)
        driver.close()
        driver.execute("SELECT 1")

    with pytest.raises(StorageError):
        await database.read(lost, quick=True)
    disk.heal()
    assert await database.read(lambda c: c.execute(text("SELECT 1")).scalar(), quick=True) == 1


async def test_a_database_in_memory_has_one_connection_for_both():
    database = Database(to_engine("sqlite://"), name="words")
    await database.write(lambda c: c.execute(text("CREATE TABLE words (word TEXT PRIMARY KEY)")))
    await database.write(put("a"))

    assert await stored(database) == {"a"}

    await database.close()


async def test_inline_runs_have_no_threads_and_the_same_outcomes(disk, tmp_path):
    database = Database(sqlite_file(tmp_path / "words.sqlite"), name="words", run_inline=True)
    await database.write(lambda c: c.execute(text("CREATE TABLE words (word TEXT PRIMARY KEY)")))
    mine = threading.get_ident()
    assert await database.write(lambda _connection: threading.get_ident()) == mine
    assert await database.read(lambda _connection: threading.get_ident()) == mine
    assert await database.write(put("a")) == "a"
    with pytest.raises(StorageError):
        await database.write(put("a"))
    disk.fault = lambda statement: IOERR_FSYNC if statement == "COMMIT" else None
    with pytest.raises(StorageError, match="the disk failed"):
        await database.write(put("b"))
    disk.heal()
    with pytest.raises(StorageError, match="writing has stopped"):
        await database.write(put("b"))
    assert await stored(database) == {"a"}
    await database.close()


async def test_a_read_that_fails_is_named(database, disk):
    disk.fault = lambda statement: IOERR_WRITE if statement.startswith("SELECT") else None
    with pytest.raises(StorageError, match="words: the disk failed"):
        await stored(database)
    disk.heal()
    assert await database.write(put("a")) == "a"  # a failed read says nothing of what is written


async def test_what_is_posted_is_written_in_its_turn_and_its_failure_is_nobodys(database):
    database.post(put("first"))
    database.post(put("first"))  # twice: refused by the table, and nobody waits for that
    database.post(put("second"))
    read = text("SELECT word FROM words ORDER BY word")
    assert await database.write(lambda c: list(c.execute(read).scalars())) == ["first", "second"]
    inline = Database(sqlite_file(Path(":memory:")), name="inline", run_inline=True)
    inline.post(lambda c: c.execute(text("CREATE TABLE words (word TEXT PRIMARY KEY)")))
    inline.post(put("third"))
    assert await inline.read(lambda c: list(c.execute(read).scalars())) == ["third"]
    await inline.close()
