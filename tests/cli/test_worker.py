"""`ibkit worker`: one round and its exit code, the status, the settings it refuses."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from cli.conftest import Bench, Run
from ibkit.bootstrap.worker import worker_lease
from ibkit.cli.live import accounts_said, confirmed_of
from ibkit.clock import SystemClock
from ibkit.errors import TradingError
from ibkit.model import AccountId, AuthMethod
from ibkit.settings.loading import load_defaults
from ibkit.settings.method import MethodChoice
from ibkit.store.lease import Lease

pytestmark = [pytest.mark.requirement("OPS-10", "TRD-20")]


def test_one_round_with_nothing_to_watch_is_safe(bench: Callable[..., Bench]) -> None:
    ran = bench().run("worker", "--once")
    assert ran.code == 0, ran.err
    assert ran.out == "Every sold option is protected, no order is in an unknown state.\n"


def test_one_round_after_a_sale_is_safe_and_sends_nothing(bench: Callable[..., Bench]) -> None:
    it = bench()
    assert it.run("sell-option", "--side", "put", "--json").code == 0
    before = it.posted()
    ran = it.run("worker", "--once", "--json")
    assert (ran.code, ran.json["safe"], ran.json["unmanaged"]) == (0, True, [])
    assert it.posted() == before


@pytest.mark.requirement("TRD-14")
def test_a_position_without_its_stop_is_exit_code_7_and_an_open_alert(bench: Callable[..., Bench]) -> None:
    it = bench()
    sold = it.run("sell-option", "--side", "put", "--json").json
    world = it.simulator.world
    stop = world.exchange.orders[int(sold["legs"][0]["stop_order_id"])]
    world.exchange.end(stop, "cancelled", world.now)
    it.simulator.advance(120)

    ran = it.run("worker", "--once", "--json")

    assert ran.code == 7
    assert ran.json["unprotected"][0].startswith("CRITICAL: SPY 20261120 629 P has no working stop")
    status = it.run("status", "--json").json
    assert any("has no working stop" in alert for alert in status["alerts"])


def test_a_login_that_is_not_there_fails_with_its_code(bench: Callable[..., Bench]) -> None:
    it = bench()
    it.simulator.up = False
    ran = it.run("worker", "--once", "--json")
    assert ran.code == 4
    assert ran.error["code"] == "E-API-CONNECT"


def test_without_a_worker_status_says_so(bench: Callable[..., Bench]) -> None:
    ran = bench().run("worker", "status")
    assert ran.code == 2
    assert "No worker runs" in ran.out
    assert bench().run("worker", "stop").code == 2


@pytest.mark.parametrize("poll", ["0", "14", "601"])
def test_a_round_too_often_or_too_seldom_is_refused(bench: Callable[..., Bench], poll: str) -> None:
    assert bench().run("worker", "--once", "--poll", poll).code == 2


@pytest.mark.requirement("TRD-17")
def test_read_only_settings_refuse_a_worker(bench: Callable[..., Bench], monkeypatch: pytest.MonkeyPatch) -> None:
    it = bench()
    monkeypatch.setenv("IBKR_READ_ONLY", "true")
    assert "E-READONLY" in it.run("worker", "--once").err


@pytest.mark.requirement("OPT-08")
def test_live_money_is_not_watched_unless_asked_for(bench: Callable[..., Bench]) -> None:
    it = bench(user=2)
    ran = it.run("worker", "--once")
    assert "E-LIVE" in ran.err
    assert it.posted() == []


@pytest.mark.requirement("TRD-18")
def test_signs_of_life_are_left_and_taken_back(bench: Callable[..., Bench], home: Path) -> None:
    it = bench()
    assert it.run("worker", "beat", "grid").code == 0
    places = list(home.rglob("grid.beat"))
    assert len(places) == 1
    assert it.run("worker", "retire", "grid").code == 0
    assert not places[0].exists()


def test_help_tells_of_the_round_and_its_code(ibkit: Run) -> None:
    said = ibkit("worker", "--help").out
    assert "--once" in said
    assert "7 if something stood unprotected" in " ".join(said.split())


@pytest.mark.anyio
@pytest.mark.requirement("SES-15")
async def test_two_users_of_one_consumer_are_watched_each(tmp_path: Path) -> None:
    """They authorised the same program: its key is theirs both, the access token each one's own."""

    def lease(token: str) -> Lease:
        said = {"IB_CONSUMER_KEY": "ABCDEFGHI", "IB_ACCESS_TOKEN": token, "IBKIT_STATE_DIR": str(tmp_path)}
        chosen = MethodChoice(AuthMethod.OAUTH1A, "as named")
        return worker_lease(replace(load_defaults(said), choice=chosen))

    async with lease("1" * 20).hold(clock=SystemClock(), what="the watch"):
        assert lease("1" * 20).held()
        assert not lease("2" * 20).held()


def test_each_live_account_to_trade_is_named(capsys: pytest.CaptureFixture[str]) -> None:
    said = accounts_said(("U1", "U2"))

    assert [confirmed_of(AccountId(each), said, validated=True) for each in ("U1", "U2", "U3")] == [True, True, False]
    assert "U3 was not named with --yes-live: its orders are refused" in capsys.readouterr().err
    assert not confirmed_of(AccountId("U1"), said, validated=False)
    assert "has not passed the paper validation" in capsys.readouterr().err
    for wrong, words in (((), "no account was named"), (("U1", "DU2"), "DU2 is no live account")):
        with pytest.raises(TradingError, match=words) as raised:
            accounts_said(wrong)
        assert raised.value.code == "E-LIVE"
