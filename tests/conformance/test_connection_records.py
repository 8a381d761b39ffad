"""Connections, sessions and history, the same on SQLite and PostgreSQL."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from ibkit.bootstrap.alerting import whose_connection
from ibkit.errors import ConfigError, NotFound, Unreachable
from ibkit.model import Secret
from ibkit.store.connection_rows import ConnectionRow
from ibkit.store.connections import SqlConnections
from ibkit.store.records import open_records
from ibkit.trading.alert import Alert, AlertKind, Severity
from ibkit.trading.connection import ConnectionState, EventName, HistoryEvent, SessionRecord, Standing

pytestmark = pytest.mark.anyio
S = ConnectionState
NOW = datetime(2026, 11, 20, 15, 30, tzinfo=UTC)


@pytest.fixture(params=["sqlite", "postgresql"])
async def connections(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[SqlConnections]:
    url = f"sqlite:///{tmp_path}/a.db" if request.param == "sqlite" else request.getfixturevalue("postgres_database")
    database = open_records(Secret(url), parts=("connections",))
    yield SqlConnections(database)
    await database.close()


def row(connection_id: str = "default", user_id: str = "ada", **changes: Any) -> ConnectionRow:
    given: dict[str, Any] = {
        "user_id": user_id,
        "connection_id": connection_id,
        "method": "oauth2",
        "environment": "paper",
        "created_at": NOW,
        "state": S.CONFIGURED,
        "since": NOW,
    }
    return ConnectionRow(**(given | changes))


@pytest.mark.requirement("MON-07")
async def test_an_alert_is_whose_connection_alone_has_its_account(connections: SqlConnections) -> None:
    whose = whose_connection(connections)

    async def told(**details: str) -> str:
        fields = {"kind": AlertKind.UNPROTECTED, "severity": Severity.CRITICAL, "subject": "s", "message": "m"}
        return await whose(Alert(**fields, at=NOW, details=details))

    for each in (
        row(accounts=("DU1", "DU2")),
        row("second", accounts=("DU1",)),
        row(user_id="bob", accounts=("DU2", "DU3")),
    ):
        await connections.add(each)
    assert await told(account="DU1") == "ada"
    assert await told(account="DU3") == "bob"
    assert await told(account="DU2") == "", "several share it"
    assert await told(account="DU9") == await told() == ""


def session(session_id: str = "s1", connection_id: str = "default", **changes: Any) -> SessionRecord:
    given: dict[str, Any] = {
        "session_id": session_id,
        "user_id": "ada",
        "connection_id": connection_id,
        "login": "l1",
        "method": "oauth2",
        "environment": "paper",
        "created_at": NOW,
        "expires_at": NOW + timedelta(hours=24),
        "last_activity_at": NOW,
        "status": "connected",
        "holder": "login-1",
    }
    return SessionRecord(**(given | changes))


def change(was: S, state: S, at: datetime = NOW, connection_id: str = "default") -> HistoryEvent:
    return HistoryEvent(user_id="ada", connection_id=connection_id, at=at, name=EventName.STATE, was=was, state=state)


async def note(connections: SqlConnections, standing: Standing, **more: Any) -> bool:
    given: dict[str, Any] = {"accounts": ("DU1",), "sessions": (), "events": ()}
    return await connections.note("ada", "default", standing, **(given | more))


def held(name: str) -> bool:
    return name == "login-1"


@pytest.mark.requirement("SES-02", "SES-12")
async def test_what_a_look_found_is_kept_as_one(connections: SqlConnections) -> None:
    await connections.add(row())
    up = Standing(S.CONNECTED, since=NOW, checked_at=NOW, succeeded_at=NOW)
    assert await note(connections, up, sessions=(session(),), events=(change(S.CONNECTING, S.CONNECTED),))
    later = NOW + timedelta(seconds=30)
    down = Standing(
        S.ERROR, since=later, checked_at=later, succeeded_at=NOW, error=Unreachable("gone", code="E-GW-DOWN")
    )
    touched = session(last_keep_alive_at=later, warned=("expiring 60",))
    assert await note(connections, down, sessions=(touched,), events=(change(S.CONNECTED, S.ERROR, later),))

    kept = await connections.get("ada", "default")
    assert kept is not None
    assert (kept.state, kept.since, kept.succeeded_at, kept.accounts) == (S.ERROR, later, NOW, ("DU1",))
    assert (kept.error_code, kept.error_message) == ("E-GW-DOWN", "gone")
    assert await connections.open_session("ada", "default") == touched
    told = await connections.history("ada", "default", since=NOW)
    assert [(each.was, each.state) for each in told] == [(S.CONNECTING, S.CONNECTED), (S.CONNECTED, S.ERROR)]
    assert await connections.state_at("ada", "default", later) is S.CONNECTED
    assert await connections.state_at("ada", "default", NOW) is None
    assert await connections.last_event_id() == told[-1].event_id
    assert await connections.events_after(told[0].event_id, user_ids=("ada", ""), limit=9) == (told[1],)
    assert await connections.events_after(0, user_ids=("bob",), limit=9) == ()


@pytest.mark.requirement("SES-10", "SES-12")
async def test_a_late_look_does_not_bring_back_what_was_logged_out(connections: SqlConnections) -> None:
    await connections.add(row())
    up = Standing(S.CONNECTED, since=NOW, checked_at=NOW, succeeded_at=NOW)
    await note(connections, up, sessions=(session(),))
    end = NOW + timedelta(seconds=90)
    await connections.want("ada", "default", False, now=end)
    assert not await note(connections, up, sessions=(session("s2"),), events=(change(S.DISCONNECTED, S.CONNECTED),))

    kept = await connections.get("ada", "default")
    assert kept is not None
    assert (kept.state, kept.wanted) == (S.DISCONNECTED, False)
    assert await connections.open_session("ada", "default") is None
    (ended,) = await connections.sessions("ada", "default", since=NOW)
    assert (ended.session_id, ended.status, ended.ended_at) == ("s1", "closed", end)
    names = [(each.name, each.session_id) for each in await connections.history("ada", "default", since=NOW)]
    assert names == [(EventName.LOGOUT, "s1"), (EventName.STATE, "s1")]
    await connections.want("ada", "default", True, now=end)
    assert await note(connections, up)


@pytest.mark.requirement("SES-11")
@pytest.mark.parametrize(
    ("state", "changes", "after_m", "status"),
    [
        (S.CONNECTED, {"holder": "nobody"}, 20, "cleaned"),
        (S.CONNECTED, {"holder": "nobody"}, 14, None),
        (S.CONNECTED, {}, 20, None),  # a process holds it
        (S.ERROR, {}, 16, "cleaned"),
        (S.NEEDS_LOGIN, {}, 16, "cleaned"),
        (S.NEEDS_LOGIN, {}, 14, None),
        (S.COMPETING, {}, 16, None),
        (S.NEEDS_LOGIN, {"expires_at": NOW + timedelta(minutes=5)}, 6, "expired"),
        (S.CONNECTED, {"expires_at": NOW + timedelta(minutes=5)}, 6, None),  # IBKR still takes it: it is renewed
    ],
)
async def test_what_was_left_behind_is_put_away(
    connections: SqlConnections, state: S, changes: dict[str, Any], after_m: int, status: str | None
) -> None:
    await connections.add(row())
    await note(connections, Standing(state, since=NOW), sessions=(session(**changes),))
    now = NOW + timedelta(minutes=after_m)
    cleaned = await connections.clean(now, held)

    assert [each.status for each in cleaned] == ([] if status is None else [status])
    if status is not None:
        assert await connections.open_session("ada", "default") is None
        kept = await connections.get("ada", "default")
        assert kept is not None
        assert not kept.state.is_up
        assert (await connections.history("ada", "default", since=NOW))[0].name is EventName.CLEANED
    assert await connections.clean(now, held) == ()


@pytest.mark.requirement("SES-11", "SES-14")
async def test_history_is_kept_for_ninety_days(connections: SqlConnections) -> None:
    await connections.add(row())
    ended = session("old", ended_at=NOW, status="closed")
    await note(
        connections,
        Standing(S.CONNECTED, since=NOW),
        sessions=(ended, session("new")),
        events=(change(S.CONFIGURED, S.CONNECTED),),
    )
    assert await connections.purge(NOW + timedelta(days=89)) == 0
    assert await connections.purge(NOW + timedelta(days=91)) == 2
    assert [each.session_id for each in await connections.sessions("ada", "default", since=NOW)] == ["new"]


@pytest.mark.requirement("SES-15")
async def test_the_first_connection_is_the_default_until_another_is_chosen(connections: SqlConnections) -> None:
    for name in ("one", "two"):
        await connections.add(row(name))
    await connections.add(row("one", user_id="bob"))
    assert [(each.connection_id, each.is_default) for each in await connections.of_user("ada")] == [
        ("one", True),
        ("two", False),
    ]
    await connections.set_default("ada", "two")
    assert [each.connection_id for each in await connections.of_user("ada")] == ["two", "one"]
    with pytest.raises(NotFound):
        await connections.set_default("bob", "two")
    await connections.delete("ada", "two")
    assert [(each.connection_id, each.is_default) for each in await connections.of_user("ada")] == [("one", True)]
    with pytest.raises(NotFound):
        await connections.delete("ada", "two")
    with pytest.raises(ConfigError, match="there is a connection one already"):
        await connections.add(row("one"))


@pytest.mark.requirement("SES-16")
async def test_one_gateway_holds_one_user_name(connections: SqlConnections) -> None:
    place = {"method": "gateway", "address": "https://localhost:5000"}
    await connections.add(row("first", username="ada1", **place))
    await connections.add(row("again", username="ADA1", **place))
    await connections.add(row("beside", username="ada2", method="gateway", address="https://localhost:5001"))
    with pytest.raises(ConfigError, match="belongs to the connection first") as refused:
        await connections.add(row("second", username="ada2", **place))
    assert (refused.value.code, refused.value.http_status) == ("E-CONFIG-CONFLICT", 409)
    assert "another port" in refused.value.remedy
    with pytest.raises(ConfigError) as foreign:
        await connections.add(row("mine", user_id="bob", username="bob1", **place))
    told = foreign.value.message + foreign.value.remedy + str(foreign.value.details)
    assert "of another user" in told
    assert "first" not in told
    assert "ada1" not in told


@pytest.mark.requirement("SES-15")
async def test_the_connection_of_the_settings_follows_them(connections: SqlConnections) -> None:
    made = await connections.ensure(row(user_id="", is_default=True))
    assert await connections.ensure(replace(made, label="ignored")) == made
    moved = await connections.ensure(replace(made, method="gateway", address="https://localhost:5000"))
    assert (moved.method, moved.address, moved.created_at) == ("gateway", "https://localhost:5000", NOW)
    assert [each.connection_id for each in await connections.all()] == ["default"]
