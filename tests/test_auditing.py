"""The way of a trading desk's acts into the audit log: not waited for, not lost, and told where they are."""

from __future__ import annotations

import dataclasses
import re
import secrets
import sqlite3
import threading
import time
from datetime import timedelta

import anyio
import anyio.to_thread
import pytest

from fakes import ACCOUNT, START, Plan, stock_ticket
from ibkit.bootstrap import Edges, using
from ibkit.bootstrap.alerting import open_alerting
from ibkit.bootstrap.auditing import (
    AuditQueue,
    audit_log,
    local_actor,
    note_settings,
    order_act,
    trusted_keys,
)
from ibkit.clock import ManualClock
from ibkit.errors import ConfigError, LimitExceeded, OutcomeUnknown, StorageError, Unreachable
from ibkit.model import Key, Question, QuestionId, Secret
from ibkit.settings import load
from ibkit.store.audit import AuditLog
from ibkit.store.audit_key import signer_at
from ibkit.trading.alert import Severity
from ibkit.trading.alerting import EventKind
from ibkit.trading.questions import Said
from ibkit.vault import Result
from trading_room import make_room

pytestmark = [pytest.mark.anyio, pytest.mark.requirement("MON-09")]
KEY = Key("key-0123456789abcdef")


@pytest.fixture
def clock():
    return ManualClock(START)


@pytest.fixture
def settings(tmp_path, clock):
    with using(Edges(clock=clock)):
        yield load(environ={"IBKIT_STATE_DIR": str(tmp_path / "state")}, directory=tmp_path, require_method=False)


async def listed(settings, **query):
    async with audit_log(settings) as log:
        return tuple(reversed(await log.entries(limit=1000, **query)))


async def test_nothing_is_opened_before_there_is_something_to_tell(settings):
    queue = AuditQueue(settings)
    await queue.close()

    assert not settings.state_dir.exists()


async def test_acts_arrive_in_their_order(settings):
    warned = []
    queue = AuditQueue(settings, warn=warned.append)
    for number in range(500):
        queue.note("orders.place", str(number), size=number)
    await queue.close()

    found = await listed(settings)
    assert [entry.object for entry in found] == [str(number) for number in range(500)]
    assert {entry.actor for entry in found} == {local_actor()}
    assert warned == []


async def test_telling_waits_for_no_database(settings):
    """Another program holds the file's write lock: whoever trades goes on, and the act is written when it is free."""
    async with audit_log(settings):
        pass
    other = sqlite3.connect(settings.state_dir / "ibkit.db", isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    queue = AuditQueue(settings)
    begun = time.perf_counter()

    queue.note("orders.place", "one")
    took = time.perf_counter() - begun
    await anyio.sleep(0.3)  # the thread waits at the lock meanwhile
    other.execute("COMMIT")
    other.close()
    await queue.close()

    assert took < 0.2
    assert [entry.object for entry in await listed(settings)] == ["one"]


async def test_what_was_told_can_be_waited_for_until_it_is_on_disk(settings):
    """Of what an answer says is done nothing else may be left, should the process be killed after it."""
    queue = AuditQueue(settings)
    assert await queue.kept()  # nothing was told
    for number in range(300):
        queue.note("users.role", str(number))
    assert await queue.kept(30)
    assert len(await listed(settings)) == 300
    assert await queue.kept(0)  # nothing is left: nobody waits

    other = sqlite3.connect(settings.state_dir / "ibkit.db", isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    queue.note("users.role", "held up")
    assert not await queue.kept(0.2)
    other.execute("COMMIT")
    other.close()
    assert await queue.kept(30)
    assert len(await listed(settings)) == 301
    await queue.close()


async def test_what_cannot_be_written_is_waited_for_by_nobody(settings, monkeypatch):
    failed = threading.Event()

    async def record(self, *acts):
        failed.set()
        raise StorageError("away")

    with monkeypatch.context() as away:
        away.setattr(AuditLog, "record", record)
        queue = AuditQueue(settings)
        queue.note("users.role", "one")
        assert await anyio.to_thread.run_sync(failed.wait, 30)
        begun = time.perf_counter()
        while await queue.kept(0.05):
            assert time.perf_counter() - begun < 30
        assert not await queue.kept(60)
    queue.note("users.role", "two")
    await queue.close()
    assert [entry.object for entry in await listed(settings)] == ["one", "two"]


async def test_what_could_not_be_written_is_written_with_the_next_act(settings, monkeypatch):
    original, failures, tried = AuditLog.record, [ConfigError("away"), ValueError("a fault of ours")], threading.Event()

    async def record(self, *acts):
        try:
            if failures:
                raise failures.pop(0)
            await original(self, *acts)
        finally:
            tried.set()

    monkeypatch.setattr(AuditLog, "record", record)
    warned = []
    queue = AuditQueue(settings, warn=warned.append)
    for number in range(3):
        tried.clear()
        queue.note("orders.place", str(number))
        assert await anyio.to_thread.run_sync(tried.wait, 30)
    await queue.close()

    assert [entry.object for entry in await listed(settings)] == ["0", "1", "2"]
    assert warned == []


async def test_what_is_lost_is_told_at_the_end(settings, tmp_path):
    (tmp_path / "state").write_text("no folder")
    warned = []
    queue = AuditQueue(settings, warn=warned.append)
    queue.note("orders.place", "one")
    queue.note("orders.place", "two")
    await queue.close()

    (said,) = warned
    assert said.startswith("note: 2 acts are not in the audit log: Database problem: ")


async def test_an_act_that_would_tell_a_secret_stops_no_other(settings):
    warned = []
    queue = AuditQueue(settings, warn=warned.append)
    queue.note("orders.place", "one", note=Secret("hunter2hunter2"))
    queue.note("orders.place", "two")
    await queue.close()

    assert [entry.object for entry in await listed(settings)] == ["two"]
    assert "1 acts are not in the audit log: The audit entry orders.place would have held a secret" in warned[0]


async def days_of_use(settings, clock, *days):
    """A process on each of these days, which does one thing."""
    warned = []
    for day in days:
        await clock.sleep((START + timedelta(days=day) - clock.now()).total_seconds())
        queue = AuditQueue(settings, warn=warned.append)
        queue.note("orders.place", f"day {day}")
        await queue.close()
    return warned


async def open_alerts(settings):
    async with open_alerting(settings) as alerting:
        return await alerting.incidents.incidents()


@pytest.mark.requirement("MON-10")
async def test_retention_is_looked_after_once_a_day(settings, clock):
    assert await days_of_use(settings, clock, 0, 100, 200, 300, 380, 401) == []

    found = await listed(settings)
    assert [entry.object for entry in found] == [
        "day 100",
        "day 200",
        "day 300",
        "day 380",
        "day 401",
        "entries up to 1",
    ]
    assert found[-1].action == "audit.purge"
    assert await open_alerts(settings) == []


@pytest.mark.requirement("MON-10")
async def test_what_retention_leaves_standing_is_told(settings, clock):
    """The act stands in the log all the same; and tomorrow is the next try."""
    (said,) = await days_of_use(settings, clock, 0, 401)

    assert said.startswith("note: Nothing of the audit log was taken away: 1 are due by a clock of 2027-12-26, and")
    assert said.endswith("Correct the clock. If it is right, and these entries may go: `ibkit audit purge`.")
    assert [entry.object for entry in await listed(settings)] == ["day 0", "day 401"]
    (alert,) = await open_alerts(settings)
    assert (alert.event, alert.severity, alert.subject) == (
        EventKind.SECURITY_FINDING,
        Severity.WARNING,
        "retention of the audit log",
    )
    assert "Nothing of the audit log was taken away" in alert.message


@pytest.mark.requirement("MON-10")
async def test_entries_that_were_changed_are_told_as_critical(settings, clock):
    await days_of_use(settings, clock, 0, 200, 380)
    database = sqlite3.connect(settings.state_dir / "ibkit.db")
    for (name,) in database.execute("SELECT name FROM sqlite_master WHERE type = 'trigger'").fetchall():
        database.execute(f"DROP TRIGGER {name}")
    database.execute("UPDATE audit_entries SET actor = 'cli:eve' WHERE number = 1")
    database.commit()
    database.close()

    await days_of_use(settings, clock, 401)

    (alert,) = await open_alerts(settings)
    assert (alert.severity, "entry 1 is changed" in alert.message) == (Severity.CRITICAL, True)
    assert len(await listed(settings)) == 4


@pytest.mark.requirement("MON-10")
async def test_keys_of_other_machines_lie_in_a_folder(settings, tmp_path):
    own = signer_at(settings.state_dir / "audit", secrets.token_bytes).public_key
    theirs = signer_at(tmp_path / "elsewhere", secrets.token_bytes).public_key
    assert trusted_keys(settings) == {own}

    (settings.state_dir / "audit/trusted").mkdir()
    (settings.state_dir / "audit/trusted/theirs.pem").write_text((tmp_path / "elsewhere/public_key.pem").read_text())

    assert trusted_keys(settings) == {own, theirs}
    (settings.state_dir / "audit/trusted/broken.pem").write_text("no key")
    with pytest.raises(ConfigError, match=r"broken\.pem"):
        trusted_keys(settings)


async def test_a_persons_answer_to_a_question_is_told_and_no_answer_is_not(settings):
    said = [Said(yes=True, who="ada"), Said(yes=False, who="ada"), None]
    question = Question(QuestionId("q"), message_ids=("o99",), messages=("Sure?",))
    room = make_room(clock=ManualClock(START))
    intent = (await room.gateway.submit(stock_ticket(), key=KEY)).intent
    queue = AuditQueue(settings)

    async def asker(*_):
        return said.pop(0)

    ask = queue.asking(asker)
    answers = [await ask(intent, question, 5.0) for _ in range(3)]
    await queue.close()

    assert [each and each.yes for each in answers] == [True, False, None]
    first, second = await listed(settings)
    assert (first.action, first.object, first.result) == ("orders.question", intent.intent_id, "ok")
    assert first.details == {"account": ACCOUNT, "answer": "yes", "by": "ada", "messages": "o99"}
    assert (second.result, second.details["answer"]) == ("refused", "no")


@pytest.mark.parametrize(
    ("fault", "result", "state"),
    [
        (None, Result.OK, "acked"),
        ("inactive", Result.REFUSED, "rejected_late"),
        ("lost_before", Result.REFUSED, "not_placed"),
    ],
)
async def test_an_order_is_told_by_what_became_of_it(fault, result, state):
    room = make_room(clock=ManualClock(START))
    await room.started()
    if fault:
        room.broker.plans.append(Plan(fault))
    intent = (await room.gateway.submit(stock_ticket(), key=KEY, user="u-7")).intent

    act = order_act(intent.planned, intent, START)

    assert (act.action, act.object, act.actor, act.result) == ("orders.place", intent.intent_id, "u-7", result)
    assert act.details["state"].value == state
    assert act.details["terms"] == intent.label


@pytest.mark.parametrize(
    ("error", "result"),
    [
        (Unreachable("no line"), Result.FAILED),
        (OutcomeUnknown("no answer"), Result.UNKNOWN),
        (LimitExceeded("too much"), Result.REFUSED),
    ],
)
async def test_an_order_that_ended_in_an_error_is_told_by_its_kind(error, result):
    room = make_room(clock=ManualClock(START))
    planned = (await room.gateway.submit(stock_ticket(), key=KEY)).intent.planned

    act = order_act(planned, error, START)

    assert (act.result, act.details["code"], act.details["reason"]) == (result, error.code, error.message)
    assert act.details["terms"].startswith("BUY 10 SPY")


async def test_a_change_of_read_only_is_told_once_by_whoever_begins_next(settings):
    def given(value: bool):
        return dataclasses.replace(settings, general=dataclasses.replace(settings.general, read_only=value))

    for value in (False, True, True, False, False, True):
        await note_settings(given(value))

    found = await listed(settings, action="settings.read_only")
    assert [each.details["value"] for each in reversed(found)] == ["true", "false", "true"]
    assert {(each.actor, each.object) for each in found} == {(local_actor(), "IBKR_READ_ONLY")}


@pytest.mark.requirement("MON-09")
async def test_settings_that_changed_are_told_by_whoever_begins_next_and_secrets_by_a_mark(settings):
    async def begun(**variables: str) -> list[tuple[str, str, str]]:
        seen = len(await listed(settings, action="settings.changed"))
        flags = {"IBKIT_STATE_DIR": str(settings.state_dir), **variables}
        await note_settings(load(flags=flags, environ={}, require_method=False))
        told = await listed(settings, action="settings.changed")
        return [(each.object, each.details.get("before", ""), each.details.get("value", "")) for each in told[seen:]]

    first = await begun(SYNC_INTERVAL_MINUTES="30", FLEX_TOKEN="1234567890canary", HOST="127.0.0.1")
    state_dir = ("IBKIT_STATE_DIR", "", str(settings.state_dir))
    secret, *others = first
    assert others == [state_dir, ("SYNC_INTERVAL_MINUTES", "", "30")]
    assert re.fullmatch("set, mark [0-9a-f]{8}", secret[2])
    assert await begun(SYNC_INTERVAL_MINUTES="30", FLEX_TOKEN="1234567890canary", HOST="::1") == []
    (other, changed) = await begun(SYNC_INTERVAL_MINUTES="60", FLEX_TOKEN="0987654321canary")
    assert (other[:2], changed) == (("FLEX_TOKEN", secret[2]), ("SYNC_INTERVAL_MINUTES", "30", "60"))
    assert other[2] != secret[2]
    assert await begun(FLEX_TOKEN="0987654321canary") == [("SYNC_INTERVAL_MINUTES", "60", "")]
    assert "canary" not in str(await listed(settings))


async def test_a_database_that_is_away_keeps_nobody_from_beginning(settings, monkeypatch, caplog):
    async def away(*_, **__):
        raise StorageError("away")

    monkeypatch.setattr(AuditLog, "entries", away)
    await note_settings(settings)
    assert "does not know of the settings" in caplog.text
