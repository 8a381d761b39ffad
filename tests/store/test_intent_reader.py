"""Intents that were folded once: what others wrote since is seen, what was undone is not."""

from __future__ import annotations

import sqlite3

import pytest

from fakes import START, USER
from ibkit.clock import ManualClock
from ibkit.errors import StorageError
from ibkit.store import intent_reader, open_journal
from ibkit.store import journal as journal_module
from ibkit.store.intent_reader import IntentReader
from ibkit.store.journal_rows import insert_intent
from ibkit.trading.intent import IntentState, fold_all
from journal_words import KEY, claim, other_key, planned, send

pytestmark = pytest.mark.anyio
CLOCK = ManualClock(START)


@pytest.fixture
def path(tmp_path):
    return tmp_path / "journal.sqlite"


async def _known(journal, intent_id):
    """As the journal tells it, and as its events tell it."""
    told = await journal.get(intent_id)
    assert told == fold_all(await journal.events(intent_id))
    return told


@pytest.mark.requirement("TRD-10")
async def test_what_another_process_wrote_since_the_last_look_is_seen(path):
    async with open_journal(path, clock=CLOCK) as one, open_journal(path, clock=CLOCK) as other:
        intent, _ = await one.plan(planned())
        assert await _known(one, intent.intent_id) == intent

        async with other.conversation(USER, wait_s=0) as lane:
            moved = await other.append(intent, *claim(lane.epoch))
            assert await _known(one, intent.intent_id) == moved
            moved = await other.append(moved, *send())

        assert await _known(one, intent.intent_id) == moved
        assert await one.unfinished(USER) == (moved,)
        assert await one.by_key(tenant="local", environment=moved.planned.environment, key=KEY) == moved


async def test_events_that_are_known_are_not_read_again(path, monkeypatch):
    read = []
    decode = intent_reader.decode_event
    monkeypatch.setattr(intent_reader, "decode_event", lambda kind, body: read.append(kind) or decode(kind, body))
    async with open_journal(path, clock=CLOCK) as journal:
        intent, _ = await journal.plan(planned())
        for _ in range(3):
            await journal.unfinished(USER)
        async with journal.conversation(USER, wait_s=0) as lane:
            await journal.append(intent, *claim(lane.epoch))
        for _ in range(3):
            await journal.unfinished(USER)

    assert read == ["Planned", "Decided", "Claimed"]


async def test_a_look_from_before_what_is_known_tells_what_was_then(path):
    reader = IntentReader()
    async with open_journal(path, clock=CLOCK) as journal:
        intent, _ = await journal.plan(planned())
        engine = journal._database._engine
        with engine.connect().execution_options(ibkit_reading=True) as before, before.begin():
            assert reader.where(before, "true", ()) == (intent,)
            async with journal.conversation(USER, wait_s=0) as lane:
                moved = await journal.append(intent, *claim(lane.epoch))
            with engine.connect().execution_options(ibkit_reading=True) as after, after.begin():
                assert reader.where(after, "true", ()) == (moved,)
            assert reader.where(before, "true", ()) == (intent,)
        with engine.connect().execution_options(ibkit_reading=True) as after, after.begin():
            assert reader.where(after, "true", ()) == (moved,)


async def test_more_intents_than_are_kept_are_all_told(path, monkeypatch):
    monkeypatch.setattr(intent_reader, "_KEPT", 3)
    async with open_journal(path, clock=CLOCK) as journal:
        stored = [(await journal.plan(planned(other_key(number))))[0] for number in range(8)]

        assert list(await journal.unfinished(USER)) == stored
        assert list(reversed(await journal.recent())) == stored
        assert len(journal._reader._folded) == 3


@pytest.mark.requirement("TRD-10")
async def test_what_was_never_committed_is_not_remembered(path):
    async with open_journal(path, clock=CLOCK) as journal:

        def undone(connection):
            insert_intent(connection, fold_all((planned(),)), (planned(),))
            raise sqlite3.OperationalError("it ends here")

        with pytest.raises(StorageError, match="it ends here"):
            await journal._database.write(undone)

        assert await journal.get(planned().intent_id) is None
        intent, new = await journal.plan(planned(quantity="3"))
        assert new
        assert (await _known(journal, intent.intent_id)).state is IntentState.INTENT


@pytest.mark.requirement("OPT-07")
async def test_statements_that_go_to_the_driver_share_a_snapshot_and_fail_by_name(path):
    async with open_journal(path, clock=CLOCK) as journal:
        driver = await journal._database.read(lambda c: c.connection.driver_connection.in_transaction)
        assert driver is True
        with pytest.raises(StorageError, match="no such table"):
            await journal._database.read(lambda c: c.connection.driver_connection.execute("SELECT * FROM no_table"))


async def test_a_long_answer_is_read_in_a_thread_and_says_the_same(path, monkeypatch):
    """The event loop is not held up for it; a short one is read on the spot."""
    monkeypatch.setattr(journal_module, "_SHORT", 2)
    quick = []
    async with open_journal(path, clock=CLOCK) as journal:
        read = journal._database.read
        monkeypatch.setattr(
            journal._database, "read", lambda work, *, quick=False, q=quick: q.append(quick) or read(work, quick=quick)
        )
        for number in range(4):
            planned_one, _ = await journal.plan(planned(other_key(number)))
            found = await journal.unfinished(USER)
            assert len(found) == number + 1
            assert found[-1] == planned_one

    assert quick == [False, True, True, False]
