"""A journal of the first release goes on working: its columns are filled, its open intents can be taken over."""

from __future__ import annotations

import sqlite3

import pytest

from fakes import START, USER
from ibkit.clock import ManualClock
from ibkit.errors import StorageError
from ibkit.model import Key, OrderId
from ibkit.store import open_journal
from ibkit.store.columns import instant_text
from ibkit.store.database import sqlite_file
from ibkit.store.event_codec import encode_event
from ibkit.store.journal_file import upgrade_file
from ibkit.store.migrating import Migration, migrate, version_of
from ibkit.store.migrations import JOURNAL, journal_0001
from ibkit.trading.events import Doubted, Operation, TakenOver
from ibkit.trading.intent import IntentState, fold_all
from ibkit.trading.ports import lane_of
from journal_words import claim, later, other_key, planned, send

pytestmark = [pytest.mark.anyio, pytest.mark.requirement("OPT-07", "GWY-06")]

CLOCK = ManualClock(START)
OPERATIONS = (Operation.PLACE, Operation.MODIFY, Operation.CANCEL)


@pytest.fixture
def path(tmp_path):
    return tmp_path / "journal.sqlite"


def first_release(path):
    """A file as the first release made it: its statements, its columns, bodies without what it did not know."""
    engine = sqlite_file(path)
    with engine.begin() as connection:
        migrate(connection, "journal", (Migration(1, "intents, their events, alerts", journal_0001.upgrade),))
    engine.dispose()
    connection = sqlite3.connect(path)
    for number, operation in enumerate(OPERATIONS):
        wish = planned(other_key(number), operation=operation)
        events = (wish, *claim(), *send())
        intent = fold_all(events)
        connection.execute(
            "INSERT INTO intents VALUES (?, 'local', 'paper', ?, ?, ?, NULL, NULL, ?, 0, 0, 0, ?, ?, ?)",
            (
                intent.intent_id,
                wish.key,
                wish.username,
                wish.account_id,
                intent.state.value,
                intent.version,
                instant_text(wish.at),
                instant_text(intent.updated_at),
            ),
        )
        for place, event in enumerate(events, start=1):
            kind, body = encode_event(event)
            if kind == "Claimed":
                body = f'{{"at":"{START.isoformat()}","owner":"ibkit"}}'
            row = (intent.intent_id, place, kind, instant_text(event.at), body)
            connection.execute("INSERT INTO intent_events VALUES (?, ?, ?, ?, ?)", row)
    connection.commit()
    connection.close()


@pytest.mark.requirement("OPS-07")
async def test_a_journal_of_an_earlier_release_waits_for_an_upgrade_on_purpose(path):
    first_release(path)
    before = path.read_bytes()
    with pytest.raises(StorageError, match="its journal have version 1") as told:
        async with open_journal(path, clock=CLOCK):
            pass
    assert "ibkit db upgrade" in told.value.remedy
    assert path.read_bytes() == before


async def test_every_open_intent_of_the_first_release_is_read_and_can_be_taken_over(path):
    first_release(path)
    assert upgrade_file(path) == (1, JOURNAL[-1].version)

    async with open_journal(path, clock=CLOCK) as journal:
        assert not journal.restored
        found = await journal.unfinished(USER)
        assert [(intent.operation, intent.state, intent.epoch) for intent in found] == [
            (operation, IntentState.SENDING, 0) for operation in OPERATIONS
        ]
        for intent in found:
            async with journal.conversation(lane_of(intent.planned), wait_s=0) as lane:
                taken = TakenOver(at=START, owner="new", epoch=lane.epoch)
                after = await journal.append(intent, taken, Doubted(at=START, reason="the process ended"))
                assert (after.epoch, after.state) == (lane.epoch, IntentState.AMBIGUOUS)
    connection = sqlite3.connect(path)
    assert connection.execute("SELECT operation, leg_of FROM intents ORDER BY key").fetchall() == [
        (operation.value, None) for operation in OPERATIONS
    ]
    assert connection.execute("SELECT component, version FROM schema_versions ORDER BY version").fetchall() == [
        ("journal", 1),
        ("journal", 2),
        ("journal", 3),
    ]
    connection.close()


async def test_an_upgrade_is_done_once_and_a_second_opening_changes_nothing(path):
    first_release(path)
    upgrade_file(path)
    async with open_journal(path, clock=CLOCK):
        pass
    before = path.read_bytes()
    async with open_journal(path, clock=CLOCK):
        pass
    assert path.read_bytes() == before


async def test_an_upgrade_that_breaks_off_leaves_the_first_release(path, monkeypatch):
    first_release(path)

    def breaks(connection):
        JOURNAL[1].upgrade(connection)
        raise RuntimeError("the lights went out")

    monkeypatch.setattr("ibkit.store.journal_file.JOURNAL", (JOURNAL[0], Migration(2, "breaks", breaks)))
    with pytest.raises(RuntimeError):
        upgrade_file(path)
    monkeypatch.undo()

    engine = sqlite_file(path)
    with engine.begin() as connection:
        assert version_of(connection, "journal") == 1
    engine.dispose()
    upgrade_file(path)
    async with open_journal(path, clock=CLOCK) as journal:
        assert len(await journal.unfinished(USER)) == 3


async def test_what_a_new_and_an_upgraded_journal_hold_is_the_same(path, tmp_path):
    first_release(path)
    upgrade_file(path)
    other = tmp_path / "new.sqlite"
    schemas = []
    for place in (path, other):
        async with open_journal(place, clock=CLOCK):
            pass
        connection = sqlite3.connect(place)
        schemas.append(connection.execute("SELECT name, sql FROM sqlite_master ORDER BY name").fetchall())
        connection.close()
    assert schemas[0] == schemas[1]


@pytest.mark.parametrize(
    ("question", "index"),
    [
        ("final = 0 AND username = 'a' ORDER BY planned_at, rowid", "intents_unfinished"),
        ("denies = 1 AND resolved = 0 AND username = 'a' AND updated_at >= 'b'", "intents_denied"),
        ("reduces = 'a'", "intents_reducing"),
        ("leg_of = 'a'", "intents_legs"),
        ("account_id = 'a' AND final = 0 AND order_id IS NOT NULL ORDER BY planned_at, rowid", "intents_working"),
        ("account_id = 'a' AND order_id = 'b' AND operation IN ('place', 'external')", "intents_by_order"),
        ("true ORDER BY planned_at DESC, rowid DESC LIMIT 50", "intents_recent"),
        ("final = 1 AND updated_at <= 'a' ORDER BY updated_at", "intents_ended"),
    ],
)
async def test_every_question_has_its_index(path, question, index):
    async with open_journal(path, clock=CLOCK) as journal:
        plan = await journal._database.read(
            lambda c: str(c.exec_driver_sql(f"EXPLAIN QUERY PLAN SELECT intent_id FROM intents WHERE {question}").all())
        )
    assert f"INDEX {index}" in plan


async def test_the_ids_of_an_old_claim_read_as_epoch_zero(path):
    first_release(path)
    upgrade_file(path)
    async with open_journal(path, clock=CLOCK) as journal:
        (first, *_) = await journal.recent()
        assert first.epoch == 0
        assert first.planned.key == Key(other_key(2))
        assert first.planned.target == OrderId("17")
        assert await journal.purge(later(1000)) == 0  # nothing of it has ended
