"""Alerts, messages and channels in both databases, PostgreSQL on a real server."""

from __future__ import annotations

import dataclasses
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import text

from ibkit.errors import ConfigError, NotFound, StorageError
from ibkit.model import Secret
from ibkit.store.alert_channels import SqlChannels
from ibkit.store.incidents import SqlIncidents
from ibkit.store.records import open_records
from ibkit.trading.alert import Severity
from ibkit.trading.alerting import Channel, ChannelKind, DeliveryState, EventKind, Happening
from ibkit.vault import KeyRing, generate_encryption_keys
from vaults import sealer

pytestmark = [pytest.mark.anyio, pytest.mark.requirement("MON-07")]

T0 = datetime(2026, 11, 27, 15, 0, tzinfo=UTC)
HOOK = Channel(name="hook", kind=ChannelKind.WEBHOOK, shown="example.com, signed", created_at=T0)
ADDRESS, KEY = Secret("https://example.com/secret-path-canary"), Secret("whsec_canary")


def event(subject: str = "AAPL", *, at: datetime = T0, **more: Any) -> Happening:
    return Happening(
        event=EventKind.ORDER_UNKNOWN,
        subject=subject,
        message="nobody knows",
        at=at,
        trace_id="t1",
        details={"a": "b"},
        **more,
    )


@pytest.fixture(params=["sqlite", "postgresql"])
async def database(request, tmp_path):
    url = f"sqlite:///{tmp_path}/a.db" if request.param == "sqlite" else request.getfixturevalue("postgres_database")
    opened = open_records(Secret(url), parts=("alerts",))
    yield opened
    await opened.close()


async def test_an_event_comes_back_as_it_was_counted(database) -> None:
    incidents = SqlIncidents(database)
    await incidents.note(event(), channels=(HOOK,))
    after = await incidents.note(event(at=T0 + timedelta(minutes=5)), channels=(HOOK,))
    [found] = await incidents.incidents()
    assert found == after == await incidents.get(after.incident_id[:8])
    assert (found.count, found.told_count, found.told_at) == (2, 1, T0)
    assert (found.trace_ids, found.details) == (("t1", "t1"), {"a": "b"})
    [message] = await incidents.deliveries(incident_id=found.incident_id)
    assert (message.channel, message.document["count"]) == ("hook", 1)


async def test_a_message_is_claimed_by_one_until_it_is_given_up(database) -> None:
    incidents = SqlIncidents(database)
    await incidents.note(event(), channels=(HOOK,))
    [taken] = await incidents.claim(T0, most=9)
    assert await incidents.claim(T0 + timedelta(seconds=119), most=9) == ()
    assert [each.delivery_id for each in await incidents.claim(T0 + timedelta(seconds=120), most=9)] == [
        taken.delivery_id
    ]


async def test_closing_needs_an_id_and_keeps_who_and_why_for_good(database) -> None:
    incidents = SqlIncidents(database)
    made = await incidents.note(event(), channels=(HOOK,))
    with pytest.raises(NotFound):
        await incidents.close("abc", by="anna", at=T0)
    await incidents.close(made.incident_id, by="anna", at=T0, note="looked at it")
    assert await incidents.incidents() == []
    [closed] = await incidents.incidents(closed=True)
    assert (closed.closed_note, closed.closed_at) == ("looked at it", T0)
    [message] = await incidents.deliveries()
    assert (message.state, message.error) == (DeliveryState.FAILED, "the alert was closed")
    again = await incidents.note(event(at=T0 + timedelta(hours=1)), channels=())
    assert (again.incident_id != made.incident_id, again.count) == (True, 1)
    for change in ("UPDATE {} SET note = 'x'", "DELETE FROM {}"):
        with pytest.raises(StorageError):
            await database.write(lambda c, change=change: c.execute(text(change.format(_table(c)))))


def _table(connection: Any) -> str:
    schema = "trading." if connection.dialect.name == "postgresql" else ""
    return f"{schema}alert_acknowledgements"


async def test_what_is_over_for_more_than_a_year_is_forgotten(database) -> None:
    incidents = SqlIncidents(database)
    made = await incidents.note(event(), channels=(HOOK,))
    await incidents.close(made.incident_id, by="anna", at=T0)
    assert await incidents.purge(T0 + timedelta(days=400)) == 0
    assert await incidents.purge(T0 + timedelta(days=401)) == 1
    assert await incidents.incidents(closed=True) == []


async def test_a_channel_is_kept_sealed_and_opens_only_with_its_key_and_in_its_place(database) -> None:
    ring = KeyRing.from_hex(Secret(generate_encryption_keys().key))
    channels = SqlChannels(database, fixed={}, sealer=sealer(ring))
    await channels.put(HOOK, ADDRESS, KEY)
    [found] = await channels.all()
    assert found == HOOK
    assert await channels.address(found) == (ADDRESS, KEY)
    table = _table
    rows = await database.read(
        lambda c: str(c.execute(text(f"SELECT * FROM {table(c).replace('acknowledgements', 'channels')}")).all())
    )
    assert "canary" not in rows
    another = KeyRing.from_hex(Secret(generate_encryption_keys().key))
    other = SqlChannels(database, fixed={}, sealer=sealer(another))
    with pytest.raises(StorageError):
        await other.address(found)
    without = SqlChannels(database, fixed={}, sealer=sealer(None))
    with pytest.raises(ConfigError):
        await without.put(HOOK, ADDRESS, KEY)


@pytest.mark.requirement("VLT-05")
async def test_channels_are_sealed_anew_with_a_new_key_but_for_those_that_open_with_none(database) -> None:
    old, new = (Secret(generate_encryption_keys().key) for _ in range(2))
    before = SqlChannels(database, fixed={}, sealer=sealer(KeyRing.from_hex(old)))
    await before.put(HOOK, ADDRESS, KEY)
    await before.put(dataclasses.replace(HOOK, name="without"), ADDRESS, None)
    foreign = KeyRing.from_hex(Secret(generate_encryption_keys().key))
    await SqlChannels(database, fixed={}, sealer=sealer(foreign)).put(
        dataclasses.replace(HOOK, name="lost"), ADDRESS, None
    )
    both = SqlChannels(database, fixed={}, sealer=sealer(KeyRing.from_hex(new, [old])))

    assert await both.reseal() == (2, ("alert channel lost address",))

    alone = SqlChannels(database, fixed={}, sealer=sealer(KeyRing.from_hex(new)))
    assert await alone.address(HOOK) == (ADDRESS, KEY)
    assert await alone.address(dataclasses.replace(HOOK, name="without")) == (ADDRESS, None)
    assert await both.reseal() == (0, ("alert channel lost address",))


async def test_a_channel_is_changed_switched_and_removed_by_its_name(database) -> None:
    ring = KeyRing.from_hex(Secret(generate_encryption_keys().key))
    fixed = {"mail": (Channel(name="mail", kind=ChannelKind.SERVICE, by_operator=True), ADDRESS, None)}
    channels = SqlChannels(database, fixed=fixed, sealer=sealer(ring))
    for severities in (frozenset(Severity), frozenset({Severity.CRITICAL})):
        await channels.put(
            Channel(name="hook", kind=ChannelKind.WEBHOOK, severities=severities, created_at=T0), ADDRESS, None
        )
    await channels.switch("", "hook", enabled=False)
    by_settings, stored = await channels.all()
    assert (by_settings.name, stored.severities, stored.enabled) == ("mail", {Severity.CRITICAL}, False)
    assert (await channels.address(stored))[1] is None
    with pytest.raises(ConfigError):
        await channels.put(Channel(name="mail", kind=ChannelKind.WEBHOOK, created_at=T0), ADDRESS, None)
    await channels.remove("", "hook")
    assert len(await channels.all()) == 1
    for gone in (channels.remove("", "hook"), channels.switch("", "hook", enabled=True)):
        with pytest.raises(NotFound):
            await gone
