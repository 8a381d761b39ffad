"""`ibkit session`: asked now, its history, put away, logged out, wanted again."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest

from cli.conftest import Bench
from ibkit.bootstrap import run
from ibkit.bootstrap.session_book import open_connection_rows
from ibkit.settings import load
from ibkit.store.connections import SqlConnections
from ibkit.trading.connection import ConnectionState, EventName, HistoryEvent, SessionRecord, Standing

S = ConnectionState
KEY = "ab" * 32


def rows(it: Bench, work: Callable[[SqlConnections], Any]) -> Any:
    async def main() -> Any:
        async with open_connection_rows(load(env_file=it.home / ".env")) as found:
            return await work(found)

    return run(main)


def leave(it: Bench, state: S, *, minutes: int, holder: str = "login-of-nobody") -> None:
    """What a process that has ended left behind: a session without a sign of life for that long."""
    now = it.simulator.clock.now()
    then = now - timedelta(minutes=minutes)
    session = SessionRecord(
        session_id="left",
        user_id="",
        connection_id="default",
        login="",
        method="oauth1a",
        environment="paper",
        created_at=then,
        expires_at=then + timedelta(hours=24),
        last_activity_at=then,
        status=state.value,
        holder=holder,
    )
    change = HistoryEvent(
        user_id="", connection_id="default", at=then, name=EventName.STATE, was=S.CONNECTING, state=state
    )

    async def work(found: SqlConnections) -> None:
        standing = Standing(state, since=then, checked_at=then, succeeded_at=then)
        assert await found.note("", "default", standing, accounts=(), sessions=(session,), events=(change,))

    rows(it, work)


@pytest.mark.requirement("SES-06", "SES-13")
@pytest.mark.parametrize("method", ["oauth1a", "oauth2", "gateway"])
def test_status_is_what_ibkr_says_with_the_three_clocks(bench: Callable[..., Bench], method: str) -> None:
    it = bench(method=method)
    told = it.run("session", "status", "--json").json
    assert (told["method"], told["environment"]) == (method, "paper")
    assert told["idle_seconds_left"] == 360
    assert 86_000 < told["age_seconds_left"] <= 86_400
    assert told["next_reset"] == "2026-11-21T06:00:00+00:00"
    assert told["ends_first"] == "idle"
    assert (told["sso_renews_in"] is None) is (method == "oauth1a")
    assert told["competing"] is False
    assert not any("ssodh/init" in each["path"] for each in it.simulator.control("GET", "requests"))
    text = it.run("session", "status").out
    assert "Ends first: idle" in text
    assert "Reset:      next at 2026-11-21 06:00 UTC" in text


@pytest.mark.requirement("SES-13", "SES-08")
def test_status_tells_a_competing_login_and_takes_nothing_over(bench: Callable[..., Bench]) -> None:
    it = bench("competing", method="gateway")
    told = it.run("session", "status", "--json").json
    assert told["competing"] is True
    assert "another login" in it.run("session", "status").out


@pytest.mark.requirement("SES-13")
def test_status_without_a_gateway_fails_with_its_code(bench: Callable[..., Bench]) -> None:
    it = bench(method="gateway")
    it.simulator.up = False
    ran = it.run("session", "status", "--json")
    assert (ran.code, ran.error["code"]) == (4, "E-GW-DOWN")


@pytest.mark.requirement("SES-11")
def test_cleanup_puts_away_what_nobody_keeps_and_prints_the_count(bench: Callable[..., Bench]) -> None:
    it = bench()
    assert it.run("session", "cleanup").out == "0 sessions put away.\n"
    leave(it, S.CONNECTED, minutes=20)
    assert it.run("session", "cleanup").out == "1 sessions put away.\n"
    past = it.run("session", "history", "--json").json
    assert [each["status"] for each in past["sessions"]] == ["cleaned"]
    assert it.run("session", "cleanup", "--json").json == {"cleaned": 0, "sessions": []}
    leave(it, S.CONNECTED, minutes=10)
    assert it.run("session", "cleanup", "--json").json["cleaned"] == 0


@pytest.mark.requirement("SES-14")
def test_history_tells_what_happened_and_the_availability(bench: Callable[..., Bench]) -> None:
    it = bench()
    assert "nothing is known of that time" in it.run("session", "history").out
    leave(it, S.CONNECTED, minutes=60)
    text = it.run("session", "history", "--days", "7").out
    assert "connected: 100.00 % of the time it was wanted." in text
    assert "1 sessions in 7 days" in text
    told = it.run("session", "history", "--json").json
    assert (told["availability_percent"], told["events"][0]["state"]) == (100.0, "connected")
    assert it.run("session", "history", "--days", "91").code == 2


@pytest.mark.requirement("SES-10", "MON-09")
def test_logout_ends_the_login_and_takes_its_token_file_away(bench: Callable[..., Bench]) -> None:
    it = bench()
    with (it.home / ".env").open("a") as env:
        env.write(f'ENCRYPTION_KEY="{KEY}"\n')
    assert it.run("accounts", "list").code == 0
    tokens = load(env_file=it.home / ".env").state_dir / "tokens"
    assert [each.suffix for each in tokens.iterdir()] == [".grant"]
    ran = it.run("session", "logout")
    assert (ran.code, ran.out, ran.err) == (0, "Logged out.\n", "")
    assert list(tokens.iterdir()) == []
    assert sum(each["path"].endswith("/logout") for each in it.simulator.control("GET", "requests")) == 1
    row = rows(it, lambda found: found.get("", "default"))
    assert (row.state, row.wanted) == (S.DISCONNECTED, False)
    acts = it.run("audit", "list", "--json").json
    assert any(each["action"] == "sessions.logout" for each in acts), acts
    assert it.run("session", "connect").code == 0
    assert rows(it, lambda found: found.get("", "default")).wanted is True


@pytest.mark.requirement("SES-10")
def test_logout_with_the_gateway_away_is_done_here_with_a_warning(bench: Callable[..., Bench]) -> None:
    it = bench(method="gateway")
    it.simulator.up = False
    ran = it.run("session", "logout")
    assert ran.code == 0
    assert "warning: IBKR was not told (E-GW-DOWN)" in ran.err
    assert rows(it, lambda found: found.get("", "default")).wanted is False


@pytest.mark.requirement("AUTH-20")
def test_reset_asks_anew_and_says_where_the_next_try_shows(bench: Callable[..., Bench]) -> None:
    it = bench()
    assert it.run("session", "reset", "--json").json == {"asked": True}
    assert rows(it, lambda found: found.get("", "default")).asked_at == it.simulator.clock.now()
