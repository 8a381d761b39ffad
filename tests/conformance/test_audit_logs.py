"""The audit log on both engines, PostgreSQL on a real server: what it keeps, and that nothing of it goes unseen."""

from __future__ import annotations

import secrets
from contextlib import asynccontextmanager
from datetime import timedelta

import pytest
from sqlalchemy import text
from sqlalchemy.exc import SQLAlchemyError

from fakes import START
from ibkit.clock import ManualClock
from ibkit.errors import StorageError
from ibkit.model import Secret
from ibkit.store import audit_retention
from ibkit.store.audit import KEPT, AuditLog, append
from ibkit.store.audit_key import signer_at
from ibkit.store.database import to_engine
from ibkit.vault import Act, Result
from ibkit.vault.chain import BreakKind, Link, LinkKind

pytestmark = pytest.mark.anyio


@pytest.fixture(params=["sqlite", "postgresql"])
def url(request, tmp_path):
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path}/state/ibkit.db"
    return request.getfixturevalue("postgres_database")


@pytest.fixture
def clock():
    return ManualClock(START)


@pytest.fixture
def signer(tmp_path):
    return lambda: signer_at(tmp_path / "keys", secrets.token_bytes)


@pytest.fixture
async def log(url, clock, signer):
    async with AuditLog(Secret(url), clock=clock, signer=signer) as opened:
        yield opened


@pytest.fixture
def trusted(signer):
    return (signer().public_key,)


def act(number=0, *, at=START, **changes):
    given = {"at": at, "actor": "cli:ada", "action": "orders.place", "object": f"ib-{number}", **changes}
    return Act(**given)


async def filled(log, count=10, **changes):
    await log.record(*(act(number, **changes) for number in range(1, count + 1)))


def run_sql(url, statement):
    """As any user of SQL may try it."""
    engine = to_engine(url)
    try:
        with engine.begin() as connection:
            if engine.dialect.name == "postgresql":
                connection.exec_driver_sql("SET search_path TO trading")
            else:
                connection.exec_driver_sql("PRAGMA recursive_triggers = ON")
            connection.exec_driver_sql(statement)
    finally:
        engine.dispose()


@asynccontextmanager
async def tampering(url):
    """A connection of somebody who owns the database, and has switched the triggers off."""
    engine = to_engine(url)
    try:
        with engine.begin() as connection:
            if engine.dialect.name == "sqlite":
                found = connection.exec_driver_sql(
                    "SELECT name FROM sqlite_master WHERE type = 'trigger' AND name LIKE 'audit%'"
                )
                for name in found.scalars().all():
                    connection.exec_driver_sql(f"DROP TRIGGER {name}")
            else:
                connection.exec_driver_sql("SET search_path TO trading")
                for table in ("audit_entries", "audit_anchors"):
                    connection.exec_driver_sql(f"ALTER TABLE {table} DISABLE TRIGGER USER")
            yield connection
    finally:
        engine.dispose()


@pytest.mark.requirement("MON-09")
async def test_what_was_done_stands_there_with_all_of_it(log):
    await log.record(act(1, address="192.0.2.7", details={"note": "größer\n'x'"}), act(2, result=Result.REFUSED))

    second, first = await log.entries()

    assert (first.number, first.at, first.actor) == (1, "2026-11-20T15:30:00.000000+00:00", "cli:ada")
    assert (first.address, first.action, first.object, first.result) == ("192.0.2.7", "orders.place", "ib-1", "ok")
    assert first.details == {"note": "größer\n'x'"}
    assert (second.number, second.result, second.previous) == (2, "refused", first.hash)


@pytest.mark.requirement("MON-09")
async def test_entries_are_found_by_what_they_are(log):
    hour = timedelta(hours=1)
    await log.record(
        act(1),
        act(2, at=START + hour, actor="u-7"),
        act(3, at=START + 2 * hour, action="orders.cancel"),
        act(4, at=START + 3 * hour, action="ordersx.place"),
        act(5, at=START + 3 * hour, action="limits.set"),
    )

    async def numbers(**query):
        return [entry.number for entry in await log.entries(**query)]

    assert await numbers() == [5, 4, 3, 2, 1]
    assert await numbers(actor="u-7") == [2]
    assert await numbers(action="orders.cancel") == [3]
    assert await numbers(action="orders.") == [3, 2, 1]
    assert await numbers(action="orders") == []
    assert await numbers(object_="ib-5") == [5]
    assert await numbers(since=START + hour, until=START + 3 * hour) == [3, 2]
    assert await numbers(limit=2) == [5, 4]
    assert await numbers(limit=2, before=4) == [3, 2]
    assert await numbers(actor="cli:ada", action="orders.", before=3) == [1]


@pytest.mark.requirement("MON-09")
async def test_an_action_and_its_entry_are_one(log):
    """Neither stands without the other: the entry is written in the action's own transaction."""

    def fails(connection):
        append(connection, act(1))
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await log._database.write(fails)
    assert await log.entries() == ()

    (written,) = await log._database.write(lambda connection: append(connection, act(2)))

    assert (written.number, written.object) == (1, "ib-2")
    assert await log.entries() == (written,)


@pytest.mark.requirement("MON-09")
@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE audit_entries SET object = 'ib-9' WHERE number = 2",
        "DELETE FROM audit_entries WHERE number = 2",
        "DELETE FROM audit_entries",
        "TRUNCATE audit_entries",
    ],
)
async def test_sql_cannot_change_or_delete_an_entry(log, url, statement):
    if "TRUNCATE" in statement and url.startswith("sqlite"):
        statement = "REPLACE INTO audit_entries SELECT * FROM audit_entries WHERE number = 2"
    await filled(log, 3)
    with pytest.raises(SQLAlchemyError, match=r"append-only|UNIQUE"):
        run_sql(url, statement)

    assert len(await log.entries()) == 3
    assert (await log.verify()).broken is None


@pytest.mark.requirement("MON-10")
@pytest.mark.parametrize(
    ("statement", "number", "kind"),
    [
        ("UPDATE audit_entries SET object = 'ib-9' WHERE number = 5", 5, BreakKind.CHANGED),
        ("UPDATE audit_entries SET at = '2026-11-20T15:30:00.000001+00:00' WHERE number = 1", 1, BreakKind.CHANGED),
        ("DELETE FROM audit_entries WHERE number = 5", 5, BreakKind.MISSING),
        ("DELETE FROM audit_entries WHERE number < 5", 1, BreakKind.MISSING),
        ("UPDATE audit_entries SET number = 11 WHERE number = 5", 5, BreakKind.MISSING),
        ("DELETE FROM audit_entries WHERE number > 8", 9, BreakKind.MISSING),
    ],
)
async def test_what_was_changed_by_sql_is_named(log, url, trusted, statement, number, kind):
    await filled(log)
    head = await log.head()
    assert (await log.verify(trusted=trusted, head=head)).checked == 10

    async with tampering(url) as connection:
        connection.exec_driver_sql(statement)
    found = await log.verify(trusted=trusted, head=head)

    assert found.broken is not None
    assert (found.broken.number, found.broken.kind) == (number, kind)


@pytest.mark.requirement("MON-10")
async def test_a_tail_that_was_cut_off_is_seen_by_the_head_alone(log, url, trusted):
    await filled(log)
    head = await log.head()
    async with tampering(url) as connection:
        connection.exec_driver_sql("DELETE FROM audit_entries WHERE number > 8")

    assert (await log.verify()).broken is None  # what is left is whole: this is why heads are kept elsewhere
    for only_after in (False, True):
        found = await log.verify(trusted=trusted, head=head, only_after_head=only_after)
        assert str(found.broken).startswith("entry 9 is missing (signed on 2026-11-20")

    await filled(log, 2)  # written anew up to the same number
    for only_after in (False, True):
        found = await log.verify(trusted=trusted, head=head, only_after_head=only_after)
        assert found.broken is None or found.broken.kind is BreakKind.NOT_SIGNED, found

    async with tampering(url) as connection:
        connection.exec_driver_sql("DELETE FROM audit_entries WHERE number > 5")
    await filled(log, 5, actor="cli:eve")
    for only_after in (False, True):
        found = await log.verify(trusted=trusted, head=head, only_after_head=only_after)
        assert found.broken is not None
        assert (found.broken.number, found.broken.kind) == (10, BreakKind.NOT_SIGNED)


@pytest.mark.requirement("MON-10")
async def test_from_a_head_on_only_what_came_after_it_is_looked_at(log, url, trusted):
    await filled(log, 5)
    head = await log.head()
    await filled(log, 3)
    async with tampering(url) as connection:
        connection.exec_driver_sql("UPDATE audit_entries SET object = 'x' WHERE number = 2")

    assert (await log.verify(trusted=trusted, head=head)).broken.number == 2
    after = await log.verify(trusted=trusted, head=head, only_after_head=True)
    assert (after.broken, after.first, after.last, after.checked) == (None, 6, 8, 3)

    async with tampering(url) as connection:
        connection.exec_driver_sql("UPDATE audit_entries SET object = 'x' WHERE number = 5")
    assert (await log.verify(trusted=trusted, head=head, only_after_head=True)).broken.number == 5
    async with tampering(url) as connection:
        connection.exec_driver_sql("DELETE FROM audit_entries WHERE number = 5")
    assert (await log.verify(trusted=trusted, head=head, only_after_head=True)).broken.kind is BreakKind.MISSING


@pytest.mark.requirement("MON-10")
async def test_a_head_counts_by_the_key_that_signed_it(log, trusted, tmp_path):
    await filled(log, 3)
    head = await log.head()
    other = signer_at(tmp_path / "elsewhere", secrets.token_bytes)

    assert (await log.verify(trusted=trusted, head=head)).broken is None
    stranger = await log.verify(trusted=(other.public_key,), head=head)
    assert stranger.broken.kind is BreakKind.FORGED
    assert "a key that is not trusted here" in str(stranger.broken)


async def in_use(log, clock, days):
    """As time goes by, somebody does something every twenty days."""
    for _ in range(days // 20):
        await clock.sleep(timedelta(days=20).total_seconds())
        await log.record(act(at=clock.now()))
    await clock.sleep(timedelta(days=days % 20).total_seconds())


@pytest.mark.requirement("MON-10")
async def test_what_is_older_than_400_days_goes_and_the_chain_stays_whole(log, clock, trusted, monkeypatch):
    monkeypatch.setattr(audit_retention, "_AT_ONCE", 4)  # so that it takes two transactions
    await filled(log, 6)
    early = await log.head()
    await in_use(log, clock, 40)
    later = await log.head()
    assert await log.purge() == 0

    await in_use(log, clock, 361)
    assert await log.purge() == 6
    assert await log.purge() == 0

    entries = await log.entries()
    assert [entry.number for entry in entries] == [*range(28, 6, -1)]
    assert [(entry.actor, entry.action, entry.object) for entry in entries[:2]] == [
        ("ibkit", "audit.purge", "entries up to 6"),
        ("ibkit", "audit.purge", "entries up to 4"),
    ]
    found = await log.verify(trusted=trusted)
    assert (found.broken, found.first, found.last, found.checked) == (None, 7, 28, 22)
    assert (await log.verify(trusted=trusted, head=later)).broken is None
    assert (await log.verify(trusted=trusted, head=early)).broken is None  # it ends where the anchor stands

    monkeypatch.undo()
    await clock.sleep(KEPT.total_seconds() + 1)
    assert await log.purge(actor="cli:ada", confirmed=True) == 22  # all of it; the chain goes on from the anchor
    assert [(entry.number, entry.actor) for entry in await log.entries()] == [(29, "cli:ada")]
    found = await log.verify(trusted=trusted, head=early)
    assert (found.broken, found.checked) == (None, 1)
    assert "is older than what is kept" in found.notes[0]


@pytest.mark.requirement("MON-10")
@pytest.mark.parametrize("jump", [60, 200, 5000])
async def test_a_clock_that_jumped_ahead_takes_nothing_away(log, clock, jump):
    """The entry that is written before anybody looks is written by that very clock."""
    await filled(log, 3)
    await in_use(log, clock, 360)
    await clock.sleep(timedelta(days=jump).total_seconds())
    await log.record(act(at=clock.now()))

    with pytest.raises(StorageError, match=r"log was taken away: \d+ are due by a clock of") as held:
        await log.purge()

    assert held.value.details["withheld"] == "clock"
    assert len(await log.entries()) == 22
    assert await log.purge(confirmed=True) > 0  # a person knows that nobody did anything in between


@pytest.mark.requirement("MON-10")
async def test_nearly_all_goes_only_if_a_person_says_so(log, clock):
    """The wrong clock has stood for weeks, and looks like the right one by now."""
    await filled(log, 30)
    await clock.sleep(timedelta(days=500).total_seconds())
    await in_use(log, clock, 40)

    with pytest.raises(StorageError, match="taken away: 30 of 32 entries would go") as held:
        await log.purge()
    assert held.value.details["withheld"] == "most"
    assert len(await log.entries()) == 32

    await log.record(*(act(number, at=clock.now()) for number in range(2)))
    assert await log.purge() == 30  # more than a tenth stays


@pytest.mark.requirement("MON-10")
async def test_an_anchor_counts_only_with_a_signature_of_ours_or_of_a_listed_key(log, url, clock, signer, tmp_path):
    """Who can write the database takes entries away behind an anchor of a key of their own; ours would make it good."""
    stranger = signer_at(tmp_path / "elsewhere", secrets.token_bytes)
    await filled(log, 8)
    await in_use(log, clock, 405)
    async with tampering(url) as connection:
        digest = connection.exec_driver_sql("SELECT hash FROM audit_entries WHERE number = 4").scalar()
        anchor = stranger.sign(Link(4, bytes(digest)), kind=LinkKind.ANCHOR, at=START.isoformat()).document["anchor"]
        connection.execute(
            text("INSERT INTO audit_anchors VALUES (:number, :hash, :at, :public_key, :signature)"), anchor
        )
        connection.exec_driver_sql("DELETE FROM audit_entries WHERE number <= 4")

    for confirmed in (False, True):
        with pytest.raises(StorageError, match=r"is signed by .* a key that is not trusted here") as held:
            await log.purge(confirmed=confirmed)
        assert held.value.details["withheld"] == "anchor"
        assert (await log.entries())[-1].number == 5

    keys = lambda: {stranger.public_key}  # noqa: E731
    async with AuditLog(Secret(url), clock=clock, signer=signer, trusted=keys) as theirs_is_listed:
        assert await theirs_is_listed.purge() == 4
    assert (await log.entries())[-1].number == 9


@pytest.mark.requirement("MON-10")
async def test_nothing_goes_behind_an_anchor_that_nobody_signed(log, url, clock, trusted):
    await filled(log)
    async with tampering(url) as connection:
        connection.exec_driver_sql(
            "INSERT INTO audit_anchors SELECT number, lower('00'), at, '00', '00' FROM audit_entries WHERE number = 4"
        )
        connection.exec_driver_sql("DELETE FROM audit_entries WHERE number <= 4")

    found = await log.verify(trusted=trusted)

    assert str(found.broken) == (
        "entry 4 is anchored by a signature that does not hold (the signature of the anchor does not fit it)"
    )


@pytest.mark.requirement("MON-10")
async def test_retention_hides_no_change(log, url, clock):
    """An anchor over entries that were changed would make the change good."""
    await filled(log)
    async with tampering(url) as connection:
        connection.exec_driver_sql("UPDATE audit_entries SET object = 'x' WHERE number = 3")
    await clock.sleep((KEPT + timedelta(days=1)).total_seconds())

    with pytest.raises(StorageError, match="Nothing of the audit log was taken away: entry 3 is changed"):
        await log.purge(confirmed=True)
    assert len(await log.entries()) == 10


@pytest.mark.requirement("MON-10")
async def test_anchors_are_as_fixed_as_entries(log, url, clock):
    await filled(log, 3)
    await clock.sleep((KEPT + timedelta(days=1)).total_seconds())
    assert await log.purge(confirmed=True) == 3
    for statement in ("DELETE FROM audit_anchors", "UPDATE audit_anchors SET number = 9"):
        with pytest.raises(SQLAlchemyError, match="append-only"):
            run_sql(url, statement)
    assert [entry.number for entry in await log.entries()] == [4]


@pytest.mark.requirement("MON-11")
async def test_failed_sign_ins_are_counted_per_account_and_address(log, clock):
    def failed(account, address, minutes):
        at = START + timedelta(minutes=minutes)
        return act(at=at, action="auth.login", object=account, address=address, result=Result.FAILED)

    await log.record(
        *(failed("ada", "192.0.2.1", number) for number in range(6)),
        *(failed("bob", "192.0.2.1", number) for number in range(4)),
        *(failed("ada", "192.0.2.2", number) for number in range(3)),
        act(action="auth.login", object="ada", address="192.0.2.1"),
        act(action="orders.place", object="ada", address="192.0.2.1", result=Result.FAILED),
    )

    found = await log.failures(since=START)
    assert [(each.account, each.address, each.count) for each in found] == [
        ("ada", "192.0.2.1", 6),
        ("bob", "192.0.2.1", 4),
        ("ada", "192.0.2.2", 3),
    ]
    assert (found[0].first_at[11:16], found[0].last_at[11:16]) == ("15:30", "15:35")
    assert [each.count for each in await log.failures(since=START, at_least=4)] == [6, 4]
    assert [(each.account, each.address, each.count) for each in await log.suspicious()] == [("", "192.0.2.1", 10)]
    await clock.sleep(15 * 60 + 1)
    assert await log.suspicious() == ()  # the first of the ten is older than 15 minutes


@pytest.mark.requirement("MON-10")
async def test_an_export_is_the_whole_chain_with_its_head(log, clock, trusted):
    await filled(log, 3)
    await clock.sleep((KEPT + timedelta(days=1)).total_seconds())
    await filled(log, 2, at=clock.now())
    await log.purge(confirmed=True)
    written = []

    head = await log.export(written.append)

    assert list(written[0]) == ["anchor"]
    assert written[0]["anchor"]["number"] == 3
    assert [entry.number for entry in written[1:-1]] == [4, 5, 6]
    assert written[-1] == head.document
    assert (head.number, head.hash, head.holds()) == (6, written[-2].hash, True)
    later = []
    await log.export(later.append, after=5)
    assert [entry.number for entry in later[1:-1]] == [6]


async def test_without_a_key_nothing_is_signed(url, clock):
    async with AuditLog(Secret(url), clock=clock) as log:
        with pytest.raises(StorageError, match="without a key"):
            await log.head()
