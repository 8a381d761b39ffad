"""`ibkit security audit` of a service with several users: who does not use it, and whose live connection only looks."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import anyio
import pytest

from ibkit.bootstrap.auditing import audit_log
from ibkit.bootstrap.session_book import open_connection_rows
from ibkit.bootstrap.users import user_store
from ibkit.cli.audit_users import audit_users
from ibkit.settings import Settings, load
from ibkit.store.connection_rows import ConnectionRow
from ibkit.trading.connection import ConnectionState
from ibkit.users import ApiKey, Role, Scope, User
from ibkit.vault import Act

Make = Callable[..., Any]
NOW = datetime(2026, 11, 27, 15, 0, tzinfo=UTC)
LONG_AGO = NOW - timedelta(days=200)
pytestmark = pytest.mark.requirement("SEC-06")


def _settings(ib: Any) -> Settings:
    return load(environ={"HOME": str(ib.home)}, directory=ib.home)


def _user(name: str, role: Role = Role.TRADER, *, created_at: datetime = LONG_AGO, enabled: bool = True) -> User:
    return User(user_id=f"user-{name}", name=name, role=role, created_at=created_at, enabled=enabled)


def _row(user: str, *, environment: str = "live", accounts: tuple[str, ...] = ("U1",)) -> ConnectionRow:
    return ConnectionRow(
        user_id=f"user-{user}",
        connection_id="main",
        method="oauth1a",
        environment=environment,
        created_at=LONG_AGO,
        state=ConnectionState.CONFIGURED,
        since=LONG_AGO,
        accounts=accounts,
    )


def _with(settings: Settings, users: list[User], rows: list[ConnectionRow] | None = None, used: str = "") -> None:
    async def put() -> None:
        async with user_store(settings) as store:
            for user in users:
                await store.add(user)
        async with open_connection_rows(settings) as connections:
            for row in rows or []:
                await connections.add(row)
        if used:
            async with audit_log(settings) as log:
                await log.record(Act(at=NOW - timedelta(days=5), actor=used, action="auth.sign_in", object=used))

    anyio.run(put)


def _found(settings: Settings) -> list[tuple[str, str]]:
    return [(each.name, each.said) for each in anyio.run(lambda: audit_users(settings, now=NOW))]


def test_users_who_did_nothing_for_a_quarter_are_named_and_others_are_not(bench: Make) -> None:
    settings = _settings(bench())
    _with(
        settings,
        [
            _user("ada", Role.OWNER),
            _user("ben"),
            _user("cleo", Role.VIEWER),
            _user("dora", created_at=NOW - timedelta(days=3)),
            _user("emil", enabled=False),
            _user("fay", Role.VIEWER),
        ],
        used="user-ada",
    )

    async def use_a_key() -> None:
        async with user_store(settings) as store:
            key = ApiKey(
                key_id="k1",
                user_id="user-fay",
                label="",
                key_hash="h",
                scopes=frozenset({Scope.READ}),
                created_at=LONG_AGO,
                expires_at=NOW,
            )
            await store.add_key(key)
            await store.key_used("k1", at=NOW - timedelta(days=100))

    anyio.run(use_a_key)
    assert _found(settings) == [
        ("unused users", "ben (trader) may sign in and has never used it"),
        ("unused users", "cleo (viewer) may sign in and has never used it"),
        ("unused users", "fay (viewer) may sign in and used it last on 2026-08-19"),
    ]


def test_live_connections_that_only_look_are_named_where_their_user_may_trade(bench: Make) -> None:
    ib = bench()
    ran = ib.run("orders", "place", "buy", "1", "SPY", "--limit-price", "100", "--key", "order-a-0000000001", "--yes")
    assert ran.code == 0, ran.err
    settings = _settings(ib)
    traded = ib.simulator.users[0].user.accounts[0].id
    fresh = NOW - timedelta(days=1)
    _with(
        settings,
        [_user(name, created_at=fresh) for name in ("ada", "ben", "cleo")] + [_user("dora", Role.VIEWER)],
        [_row("ada"), _row("ben", accounts=(str(traded),)), _row("cleo", environment="paper"), _row("dora")],
        used="user-dora",
    )
    [(name, said)] = _found(settings)
    assert name == "permissions of connections"
    assert said.startswith("ada may trade live by the connection main")


def test_one_user_alone_and_no_database_are_no_finding(bench: Make) -> None:
    ib = bench()
    settings = _settings(ib)
    assert _found(settings) == []
    assert not (settings.state_dir / "ibkit.db").exists(), "looking makes nothing"
    _with(settings, [_user("ada", Role.OWNER)])
    assert _found(settings) == []


def test_the_command_has_them_among_its_findings(bench: Make) -> None:
    ib = bench()
    _with(_settings(ib), [_user("ada", Role.OWNER), _user("ben")])
    ran = ib.run("security", "audit", "--json")
    assert ran.code == 1
    told = [each for each in ran.json["findings"] if each["name"] == "unused users"]
    assert [each["remedy"].split("`")[1] for each in told] == ["ibkit user disable ada", "ibkit user disable ben"]
