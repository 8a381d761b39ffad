"""A restored copy is noticed, and stays noticed until a person has looked."""

from __future__ import annotations

import os
import shutil
import sqlite3

import pytest

from fakes import START, USER
from ibkit.clock import ManualClock
from ibkit.errors import StorageError
from ibkit.store import open_journal
from ibkit.store.locks import take
from ibkit.store.mark import Mark, MarkFile
from ibkit.trading.events import Doubted
from journal_words import claim, other_key, planned, send

pytestmark = [pytest.mark.anyio, pytest.mark.requirement("GWY-06")]


@pytest.fixture
def path(tmp_path):
    return tmp_path / "state" / "journal.sqlite"


@pytest.fixture
def clock():
    return ManualClock(START)


async def order(path, clock, number):
    async with open_journal(path, clock=clock) as journal:
        intent, _ = await journal.plan(planned(other_key(number)))
        async with journal.conversation(USER, wait_s=0) as lane:
            intent = await journal.append(intent, *claim(lane.epoch))
            await journal.append(intent, *send(number))
        return journal.restored


def mark_of(path):
    return path.with_name("journal.sqlite.mark")


def numbers(path):
    connection = sqlite3.connect(path)
    try:
        return connection.execute("SELECT journal_id, changes, restored FROM lineage").fetchone()
    finally:
        connection.close()


async def test_an_older_copy_is_noticed_at_the_next_start_and_at_every_one_after_it(path, clock, tmp_path):
    """TM-41, F100."""
    await order(path, clock, 0)
    backup = tmp_path / "backup.sqlite"
    shutil.copy(path, backup)
    assert not await order(path, clock, 1)

    shutil.copy(backup, path)

    for number in range(1, 4):  # reconciling takes lanes and must not make it look new
        assert await order(path, clock, number)
    assert numbers(path)[1] > int(mark_of(path).read_text().split()[1])


async def test_only_what_takes_an_order_closer_to_the_broker_moves_the_journal_on(path, clock):
    async with open_journal(path, clock=clock) as journal:
        intent, _ = await journal.plan(planned())
        assert numbers(path)[1] == 0
        async with journal.conversation(USER, wait_s=0) as lane:
            assert numbers(path)[1] == 1
            intent = await journal.append(intent, *claim(lane.epoch))
            assert numbers(path)[1] == 2
            intent = await journal.append(intent, *send())
            assert numbers(path)[1] == 3
            await journal.append(intent, Doubted(at=START, reason="lost"))
            assert numbers(path)[1] == 3
        assert int(mark_of(path).read_text().split()[1]) == 3


async def test_a_person_clears_it_and_older_copies_are_noticed_again(path, clock, tmp_path):
    await order(path, clock, 0)
    backup = tmp_path / "backup.sqlite"
    shutil.copy(path, backup)
    await order(path, clock, 1)
    newest = int(mark_of(path).read_text().split()[1])
    shutil.copy(backup, path)
    async with open_journal(path, clock=clock) as journal:
        assert journal.restored
        await journal.clear_restored()
        assert not journal.restored
    assert numbers(path)[1:] == (newest + 1, 0)
    assert int(mark_of(path).read_text().split()[1]) == newest + 1

    assert not await order(path, clock, 1)
    shutil.copy(backup, path)
    async with open_journal(path, clock=clock) as journal:
        assert journal.restored


async def test_a_copy_made_in_the_middle_of_a_conversation_is_noticed_too(path, clock, tmp_path):
    backup = tmp_path / "backup"
    async with open_journal(path, clock=clock) as journal:
        intent, _ = await journal.plan(planned())
        async with journal.conversation(USER, wait_s=0) as lane:
            intent = await journal.append(intent, *claim(lane.epoch))
            shutil.copytree(path.parent, backup)
            await journal.append(intent, *send())
    shutil.copy(mark_of(path), mark_of(backup / "journal.sqlite"))

    async with open_journal(backup / "journal.sqlite", clock=clock) as journal:
        assert journal.restored


@pytest.mark.parametrize("mark", [None, b"", b"nonsense", b"0123456789abcdef 00000000000000000001"])
async def test_a_used_journal_without_a_legible_mark_is_a_copy(path, clock, mark):
    await order(path, clock, 0)
    if mark is None:
        mark_of(path).unlink()
    else:
        mark_of(path).write_bytes(mark)
    async with open_journal(path, clock=clock) as journal:
        assert journal.restored
        await journal.clear_restored()
    assert not await order(path, clock, 1)


async def test_another_journal_in_its_place_is_noticed_even_if_it_has_come_further(path, clock, tmp_path):
    other = tmp_path / "other" / "journal.sqlite"
    await order(path, clock, 0)
    for number in range(3):
        await order(other, clock, number)
    shutil.copy(other, path)
    assert await order(path, clock, 3)


async def test_a_new_journal_where_one_was_deleted_is_noticed(path, clock):
    await order(path, clock, 0)
    path.unlink()
    async with open_journal(path, clock=clock) as journal:
        assert journal.restored


async def test_one_that_was_never_used_may_lose_its_mark(path, clock):
    async with open_journal(path, clock=clock) as journal:
        await journal.plan(planned())
    mark_of(path).unlink()
    assert not await order(path, clock, 0)


async def test_a_kill_between_the_database_and_the_mark_is_no_restore(path, clock):
    """The mark is behind then, never ahead."""
    await order(path, clock, 0)
    before = mark_of(path).read_bytes()
    await order(path, clock, 1)
    mark_of(path).write_bytes(before)
    assert not await order(path, clock, 2)


async def test_two_openings_do_not_take_each_other_for_a_copy(path, clock):
    async with open_journal(path, clock=clock) as one:
        for _ in range(5):
            async with one.conversation(USER, wait_s=0), open_journal(path, clock=clock) as two:
                assert not two.restored
            async with two.__class__(path, clock=clock) as again, again.conversation(USER, wait_s=0):
                pass
        assert not one.restored


async def test_a_mark_that_another_was_just_making_is_read_again(path, clock, monkeypatch):
    """The first look came before the other process had made it, the second finds it."""
    await order(path, clock, 0)
    read, looks = MarkFile.read, []

    def late(self):
        looks.append(1)
        return None if len(looks) == 1 else read(self)

    monkeypatch.setattr(MarkFile, "read", late)
    async with open_journal(path, clock=clock) as journal:
        assert not journal.restored
    assert len(looks) == 2


async def test_the_mark_is_synced_now_and_then(path, clock, monkeypatch):
    marks = []
    rise = MarkFile.rise
    monkeypatch.setattr(
        MarkFile, "rise", lambda self, mark, *, sync: (marks.append((mark.changes, sync)), rise(self, mark, sync=sync))
    )
    async with open_journal(path, clock=clock) as journal:
        for seconds in (0, 59.9, 0.1, 30):
            clock.advance(seconds)
            async with journal.conversation(USER, wait_s=0):
                pass
    assert marks == [
        (0, True),  # made
        *((1, False), (1, False)),
        *((2, False), (2, False)),
        *((3, True), (3, False)),
        *((4, False), (4, False)),
    ]


async def test_a_mark_that_cannot_be_written_stops_before_the_order_and_not_after_it(path, clock, monkeypatch):
    failing = False
    write = os.write

    def maybe(handle, data):
        if failing:
            raise OSError(28, "No space left on device")
        return write(handle, data)

    monkeypatch.setattr(os, "write", maybe)
    async with open_journal(path, clock=clock) as journal:
        intent, _ = await journal.plan(planned())
        async with journal.conversation(USER, wait_s=0) as lane:
            failing = True
            intent = await journal.append(intent, *claim(lane.epoch))
        with pytest.raises(StorageError, match="No space left") as caught:
            async with journal.conversation(USER, wait_s=0):
                pytest.fail("no lane without its mark")
        assert "journal.sqlite.mark" in caught.value.message
        assert caught.value.remedy
        failing = False
        async with journal.conversation(USER, wait_s=0):
            pass


def test_a_mark_rises_and_does_not_fall(tmp_path):
    file = MarkFile(tmp_path / "mark")
    assert file.read() is None
    for changes, stands in ((3, 3), (2, 3), (4, 4), (4, 4)):
        file.rise(Mark("0123456789abcdef", changes), sync=True)
        assert file.read() == Mark("0123456789abcdef", stands)
    file.put(Mark("fedcba9876543210", 1))
    assert file.read() == Mark("fedcba9876543210", 1)
    (tmp_path / "mark").write_text("a long line that is no mark at all, and more of it, and more")
    file.rise(Mark("0123456789abcdef", 1), sync=False)
    assert file.read() == Mark("0123456789abcdef", 1)
    assert (tmp_path / "mark").stat().st_mode & 0o777 == 0o600


def test_a_mark_that_stands_as_high_is_not_written_over(tmp_path):
    """Another journal in the same place must be noticed, however far either has come."""
    file = MarkFile(tmp_path / "mark")
    file.put(Mark("0123456789abcdef", 4))
    file.rise(Mark("fedcba9876543210", 4), sync=True)

    assert file.read() == Mark("0123456789abcdef", 4)


def test_a_mark_outlives_a_power_cut_where_that_is_asked_for(tmp_path, monkeypatch):
    synced = []
    monkeypatch.setattr(os, "fsync", lambda _: synced.append((tmp_path / "mark").read_bytes()))
    file = MarkFile(tmp_path / "mark")

    file.rise(Mark("0123456789abcdef", 1), sync=False)
    assert synced == []
    file.rise(Mark("0123456789abcdef", 2), sync=True)
    file.put(Mark("0123456789abcdef", 1))  # a person's word
    assert synced == [b"0123456789abcdef 00000000000000000002\n", b"0123456789abcdef 00000000000000000001\n"]


def test_a_mark_is_written_byte_for_byte_on_windows_too(tmp_path, monkeypatch):
    """Else each start would take the journal for a restored copy."""
    flags, opened = [], os.open
    monkeypatch.setattr(os, "O_BINARY", os.O_SYNC, raising=False)
    monkeypatch.setattr(os, "open", lambda path, flag, mode: (flags.append(flag), opened(path, flag, mode))[1])

    MarkFile(tmp_path / "mark").put(Mark("0123456789abcdef", 1))

    assert [flag & os.O_BINARY for flag in flags] == [os.O_BINARY]


def test_whoever_finds_the_mark_held_leaves_it_to_the_other(tmp_path):
    file = MarkFile(tmp_path / "mark")
    file.rise(Mark("0123456789abcdef", 1), sync=False)
    handle = os.open(tmp_path / "mark", os.O_RDWR)
    try:
        assert take(handle)
        file.rise(Mark("0123456789abcdef", 2), sync=False)
        assert file.read() == Mark("0123456789abcdef", 1)
        file.put(Mark("0123456789abcdef", 7))
        assert file.read() == Mark("0123456789abcdef", 7)
    finally:
        os.close(handle)


def test_a_mark_that_cannot_be_read_is_named(tmp_path):
    (tmp_path / "mark").mkdir()
    with pytest.raises(StorageError) as caught:
        MarkFile(tmp_path / "mark").read()

    assert caught.value.message == f"Database problem: {tmp_path / 'mark'}: Is a directory"
    assert caught.value.remedy == "Check that the folder is writable by this user and has space left."


@pytest.mark.parametrize(
    ("told", "fits"),
    [
        (None, False),
        (Mark("a", 4), True),
        (Mark("a", 5), True),
        (Mark("a", 6), False),
        (Mark("b", 5), False),
        (Mark("b", 1), False),
    ],
)
def test_what_fits(told, fits):
    assert Mark("a", 5).fits(told) is fits


def test_a_journal_that_never_moved_fits_no_word():
    assert Mark("a", 0).fits(None)
