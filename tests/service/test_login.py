"""The service and its login: what is told when IBKR is away, not logged in, or slow; status, tests and health."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import anyio
import pytest

from gateway_service import at_the_gateway, order
from ibkit.bootstrap.auditing import audit_log
from ibkit.bootstrap.worker import worker_lease
from ibkit.clock import SystemClock
from ibkit.errors import NotPermitted, StorageError
from ibkit.model import Environment
from ibkit.service import serving
from ibkit.service.people import may_order
from ibkit.users.principal import Role, Scope
from people import PAPER, People, account, person
from service_desks import PACE, Served, new_key, served, settings_of, until


@pytest.mark.requirement("GWY-01", "GWY-05", "GWY-08", "GWY-11")
def test_ibkr_and_mock_take_orders_in_one_process_with_one_form(tmp_path: Path) -> None:
    with at_the_gateway(tmp_path) as service:
        real, mock = order(service), service.order()
        assert (real.status, mock.status) == (201, 201), (real.raw, mock.raw)
        assert set(real.data) == set(mock.data)
        assert (real.data["broker"], mock.data["broker"]) == ("ibkr", "mock")
        key = real.data["idempotency_key"]
        other = service.order(key=key)
        assert (other.status, other.json["error"]["details"]["fields"]) == (422, ["broker"])
        assert {each["id"] for each in service.ask("GET", "/broker-order?broker=mock").data} == {mock.data["id"]}
        with ThreadPoolExecutor(16) as at_once:  # within a minute, however slow the machine is
            refused = list(at_once.map(lambda _: order(service, qty=0).status, range(61)))
        assert set(refused) == {422, 429}
        assert refused.count(422) <= 58
        late = order(service)
        assert (late.status, late.code) == (429, "E-RATE")
        assert 1 <= int(late.headers["retry-after"]) <= 60
        assert order(service, token="bob").status == 201


@pytest.mark.requirement("GWY-05", "MON-01", "MON-03", "ERR-04")
@pytest.mark.parametrize(
    ("scenario", "status", "code", "words"),
    [
        ("not-authenticated", 424, "E-GW-NOAUTH", "Not authenticated"),
        ("down", 503, "E-GW-DOWN", "not running"),
        ("expired", 424, "E-SES-EXPIRED", "Session expired"),
    ],
)
def test_an_order_without_a_login_is_refused_with_its_cause(
    tmp_path: Path, scenario: str, status: int, code: str, words: str
) -> None:
    """Down and expired come over a login that has worked, the third over one that never was there."""
    given = (scenario,) if scenario == "not-authenticated" else ()
    with at_the_gateway(tmp_path, *given) as service:
        world = service.world
        assert world is not None
        if scenario == "down":
            world.up = False
        if scenario == "expired":
            world.control("POST", "scenario", {"scenario": ["expired"]})
        key = new_key()
        answer = order(service, key=key)
        assert (answer.status, answer.code) == (status, code), answer.raw
        assert words in answer.json["error"]["message"]
        assert service.sent() == []
        until(lambda: service.ask("GET", "/health/broker").json == {"status": "down", "code": code}, 35)
        told = service.ask("GET", "/api/ibkr/status").json
        assert told["connected"] is False
        assert told["lastError"]["code"] == code
        assert told["diagnostics"]["initialized"] == "Not ready"
        assert service.ask("GET", "/livez").status == 200


@pytest.mark.requirement("MON-01")
def test_a_thousand_looks_at_the_status_cost_no_call(tmp_path: Path) -> None:
    with at_the_gateway(tmp_path) as service:
        world = service.world
        assert world is not None
        told = service.ask("GET", "/api/ibkr/status").json
        assert (told["configured"], told["connected"], told["accountId"]) == (True, True, "DU1000001")
        assert told["diagnostics"] == {
            "oauth": "Connected",
            "sso": "Active",
            "validated": "Validated",
            "initialized": "Ready",
        }
        asked_for_status = [each for each in world.requests if "status" in each.path]
        with ThreadPoolExecutor(4) as pool:
            answers = list(pool.map(lambda _: service.ask("GET", "/api/ibkr/status").status, range(1000)))
        assert set(answers) == {200}
        # In between only what the service asks by itself: its look every 30 s, and the keep-alive.
        assert len([each for each in world.requests if "status" in each.path]) - len(asked_for_status) <= 10


@pytest.mark.requirement("MON-01")
def test_without_settings_the_status_names_what_is_missing(tmp_path: Path) -> None:
    settings = settings_of(tmp_path, BROKER_PROVIDER="ibkr", IBKR_AUTH_METHOD="oauth2")
    with served(settings, wait=False) as service:
        told = service.ask("GET", "/api/ibkr/status").json
        assert (told["configured"], told["connected"], told["message"]) == (False, False, "Not Configured")
        assert "IBKR_CLIENT_ID" in told["missing"]
        refused = order(service)
        assert (refused.status, refused.code) == (422, "E-BROKER")
        assert "IBKR_CLIENT_ID" in refused.json["error"]["message"]
        assert service.ask("GET", "/health/broker").json == {"status": "down", "code": "E-NOT-CONFIGURED"}


@pytest.mark.requirement("MON-02")
def test_a_test_tells_four_steps_and_five_at_once_share_one_run(tmp_path: Path) -> None:
    with at_the_gateway(tmp_path) as service:
        world = service.world
        assert world is not None

        def chains() -> int:
            return sum(each.path.endswith("/portfolio/accounts") for each in world.requests)

        before = chains()
        world.control("POST", "faults", {"endpoint": "SSO_VALIDATE", "fault": "delay", "params": {"seconds": 13}})
        with ThreadPoolExecutor(5) as pool:
            answers = list(pool.map(lambda _: service.ask("POST", "/api/ibkr/test"), range(5)))
        assert {answer.status for answer in answers} == {200}
        assert len({answer.raw for answer in answers}) == 1
        assert chains() - before <= 1
        told = answers[0].json
        assert told["success"] is True
        assert [told["steps"][name]["success"] for name in ("oauth", "sso", "validate", "init")] == [True] * 4
        assert told["accounts"] == ["DU1000001"]


@pytest.mark.requirement("MON-02")
@pytest.mark.parametrize(
    ("scenario", "failing"), [("not-authenticated", "sso"), ("down", "oauth"), ("init-refused", "init")]
)
def test_a_test_of_a_failing_login_names_exactly_the_step(tmp_path: Path, scenario: str, failing: str) -> None:
    scenarios = () if scenario == "down" else (scenario,)
    with at_the_gateway(tmp_path, *(scenarios or ("ok",))) as service:
        assert service.world is not None
        service.world.up = scenario != "down"
        told = service.ask("POST", "/api/ibkr/test").json
        names = ("oauth", "sso", "validate", "init")
        assert told["success"] is False
        assert [name for name in names if told["steps"][name]["success"] is False] == [failing], told
        for name in names[names.index(failing) + 1 :]:
            assert told["steps"][name]["message"] == "not attempted"
        assert told["steps"][failing]["code"].startswith("E-")


@pytest.mark.requirement("MON-03")
def test_ready_names_the_database_that_is_down_and_nothing_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with at_the_gateway(tmp_path) as service:
        until(lambda: service.ask("GET", "/readyz", token=None).status == 200)

        async def broken(*_: object, **__: object) -> None:
            raise StorageError("Database problem: postgresql://user:hunter2@host is away")

        monkeypatch.setattr("ibkit.store.journal.SqliteJournal.recent", broken)
        answer = service.ask("GET", "/readyz", token=None)
        assert (answer.status, answer.json) == (503, {"status": "not ready", "down": ["database"]})
        assert service.ask("GET", "/livez", token=None).status == 200
        assert service.ask("GET", "/health", token=None).json["layers"]["database"] == "down"


@pytest.mark.requirement("MON-03", "VLT-01")
def test_ready_names_the_vault_whose_keys_are_gone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ibkit.service.health._KEYS_AGAIN_S", 0.0)
    keys = tmp_path / "vault.keys"
    keys.write_text("7f3a" * 16)
    keys.chmod(0o600)
    with at_the_gateway(tmp_path, ENCRYPTION_KEY_PROVIDER="file", ENCRYPTION_KEY_FILE=str(keys)) as service:
        until(lambda: service.ask("GET", "/readyz", token=None).status == 200)
        keys.unlink()
        answer = service.ask("GET", "/readyz", token=None)
        assert (answer.status, answer.json) == (503, {"status": "not ready", "down": ["vault"]})
        assert service.ask("GET", "/health", token=None).json["layers"]["vault"] == "down"
        assert service.ask("GET", "/livez", token=None).status == 200


@pytest.mark.requirement("MON-03", "OPS-10")
def test_ready_names_the_watch_that_nobody_can_take_up(tmp_path: Path) -> None:
    """The place of the lease is no folder: neither this process nor another has the lease of this login."""
    (tmp_path / "worker").write_text("")
    with at_the_gateway(tmp_path) as service:
        until(lambda: service.ask("GET", "/readyz", token=None).json == {"status": "not ready", "down": ["worker"]})
        assert service.ask("GET", "/health", token=None).json["layers"]["worker"] == "down"
        assert service.ask("GET", "/livez", token=None).status == 200


@pytest.mark.requirement("MON-03", "OPS-10")
def test_a_watch_in_another_process_is_a_watch(tmp_path: Path) -> None:
    lease = worker_lease(settings_of(tmp_path, BROKER_PROVIDER="ibkr", IBKR_AUTH_METHOD="gateway"))
    (tmp_path / "worker").mkdir()

    async def held() -> None:
        async with lease.hold(clock=SystemClock(), what="the watch over this login"):
            await anyio.to_thread.run_sync(while_held)

    def while_held() -> None:
        with at_the_gateway(tmp_path) as service:
            until(lambda: service.ask("GET", "/readyz", token=None).status == 200)
            layers = service.ask("GET", "/health", token=None).json["layers"]
            assert layers == {"database": "up", "vault": "up", "worker": "up", "broker": "up"}

    anyio.run(held)


@pytest.mark.requirement("MON-03")
def test_the_health_of_the_broker_tells_within_35_s_that_it_is_gone(tmp_path: Path) -> None:
    """Nobody asks for an order or a status meanwhile: the service looks by itself."""
    with at_the_gateway(tmp_path) as service:
        world = service.world
        assert world is not None
        assert service.ask("GET", "/health/broker", token=None).json == {"status": "up", "code": None}
        gone = world.clock.now()
        world.up = False
        until(lambda: service.ask("GET", "/health/broker", token=None).status == 503)
        seconds = (world.clock.now() - gone).total_seconds()
        told = service.ask("GET", "/health/broker", token=None)
        assert told.json == {"status": "down", "code": "E-GW-DOWN"}
        assert seconds <= 35 + PACE, "of the simulator's time"
        assert service.ask("GET", "/livez", token=None).status == 200
        assert service.ask("GET", "/readyz", token=None).status == 200, "the broker is no layer of ours"


@pytest.mark.requirement("GWY-03", "GWY-11")
def test_an_order_that_takes_longer_is_pending_and_its_twin_is_told_to_come_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ibkit.service.orders.ANSWER_WITHIN_S", 0.4)
    with at_the_gateway(tmp_path) as service:
        assert service.world is not None
        service.world.control(
            "POST", "faults", {"endpoint": "PLACE_ORDERS", "fault": "delay", "params": {"seconds": 10}}
        )
        key = new_key()
        first = order(service, key=key)
        assert (first.status, first.data["status"]) == (202, "pending"), first.raw
        assert first.headers["location"] == f"/broker-order/{first.data['id']}"
        assert int(first.headers["retry-after"]) >= 1
        twin = order(service, key=key)
        assert (twin.status, twin.code) == (409, "E-IDEM-BUSY"), twin.raw
        assert twin.json["error"]["details"]["id"] == first.data["id"]
        assert int(twin.headers["retry-after"]) >= 1
        until(lambda: service.ask("GET", first.headers["location"]).data["status"] in ("submitted", "filled"))
        again = order(service, key=key)
        assert (again.status, again.json["cached"], again.data["id"]) == (200, True, first.data["id"])
        assert len(service.sent()) == 1


@pytest.mark.requirement("GWY-02")
def test_live_orders_need_a_fresh_sign_in_or_a_key_of_their_own(tmp_path: Path) -> None:
    old = datetime.now(UTC) - timedelta(minutes=16)
    opened = datetime(2026, 11, 20, 15, 30, tzinfo=UTC)
    machine = {"signed_in_at": None, "api_key_id": "key-1"}
    people = People(
        {
            "old": person("old", signed_in_at=opened - timedelta(minutes=16), scopes=frozenset(Scope)),
            "fresh": person("fresh", signed_in_at=opened, scopes=PAPER),
            "machine": person("machine", **machine),
            "viewer": person("viewer", role=Role.VIEWER),
            "reader": person("reader", scopes=frozenset({Scope.READ})),
            "ada": person("ada", signed_in_at=old),
        }
    )
    with at_the_gateway(tmp_path, "ok", people=people, IBKR_ENV="live") as service:
        answers = {token: order(service, token=token) for token in ("old", "fresh", "machine", "viewer", "reader")}
        told = {token: (answer.status, answer.code) for token, answer in answers.items()}
        assert told == {
            "old": (409, "E-LIVE"),
            "fresh": (403, "E-FORBIDDEN"),
            "machine": (403, "E-FORBIDDEN"),
            "viewer": (403, "E-FORBIDDEN"),
            "reader": (403, "E-FORBIDDEN"),
        }
        assert service.sent() == []
        assert service.ask("GET", "/broker-order", token="old").status == 200


@pytest.mark.requirement("MON-09")
def test_an_order_and_its_cancel_stand_in_the_audit_log_under_their_user(tmp_path: Path) -> None:
    with at_the_gateway(tmp_path) as service:
        placed = order(service, order_type="limit", limit_price=150, time_in_force="gtc")
        assert placed.status == 201, placed.raw
        assert service.ask("DELETE", f"/broker-order/{placed.data['id']}").data["status"] == "cancelled"
        settings = service.settings
    assert settings is not None

    async def told() -> list[tuple[str, str]]:
        async with audit_log(settings) as log:
            return [(each.action, each.actor) for each in await log.entries(action="orders.")]

    assert anyio.run(told) == [("orders.cancel", "user-ada"), ("orders.place", "user-ada")]


@pytest.mark.requirement("GWY-02")
def test_a_cancel_of_live_orders_waits_for_no_new_sign_in_but_needs_the_scope() -> None:
    now = datetime(2026, 11, 20, 15, 30, tzinfo=UTC)
    long_ago = now - timedelta(hours=5)

    may_order(person("old", signed_in_at=long_ago, scopes=frozenset(Scope)), Environment.LIVE, now=now, lessens=True)
    for who in (
        person("paper", signed_in_at=now, scopes=PAPER),
        person("machine", signed_in_at=None, api_key_id="key-1", scopes=PAPER),
    ):
        with pytest.raises(NotPermitted, match="orders:live"):
            may_order(who, Environment.LIVE, now=now, lessens=True)


@pytest.mark.requirement("GWY-02")
def test_on_paper_an_old_sign_in_will_do(mock_service: Served) -> None:
    mock_service.people.holders["old"] = person("old", signed_in_at=datetime(2020, 1, 1, tzinfo=UTC))
    mock_service.people.holders["machine"] = person("machine", signed_in_at=None, api_key_id="key-1", scopes=PAPER)
    assert mock_service.order(token="old", qty=9).status == 201
    assert mock_service.order(token="machine", qty=8).status == 201


@pytest.mark.requirement("GWY-09")
def test_several_accounts_must_be_named_and_a_token_keeps_to_its_own(tmp_path: Path) -> None:
    people = People(
        {
            "ada": person("ada"),
            "one": person("one", accounts=account("DU1000002")),
            "none": person("none", accounts=account("DU7777777")),
        }
    )
    with at_the_gateway(tmp_path, "multi-account", people=people) as service:
        until(lambda: service.ask("GET", "/health/broker").status == 200)
        unnamed = order(service)
        assert (unnamed.status, unnamed.code) == (409, "E-ACC-AMBIGUOUS"), unnamed.raw
        accounts = service.ask("GET", "/api/ibkr/status").json["session"]["accounts"]
        assert len(accounts) == 2
        named = order(service, account_id=accounts[0])
        assert (named.status, named.data["account_id"]) == (201, accounts[0]), named.raw
        foreign = order(service, account_id=accounts[0], token="none")
        assert (foreign.status, foreign.code) == (404, "E-NOT-FOUND")


@pytest.mark.requirement("CFG-09", "GWY-09", "TRD-18")
def test_each_account_of_a_login_orders_within_its_own_day(tmp_path: Path) -> None:
    first, second = "DU1000001", "DU1000002"
    with at_the_gateway(tmp_path, "multi-account") as service:
        assert service.world is not None
        until(lambda: service.ask("GET", "/health/broker").status == 200)
        for account_id in (first, second, first):
            taken = order(service, account_id=account_id)
            assert (taken.status, taken.data["account_id"]) == (201, account_id), taken.raw
        assert [path.split("/")[-2] for path in service.sent()] == [first, second, first]
        until(lambda: (owned(service, first), owned(service, second)) == (2, 1))

        service.world.world.books[second].day_start *= 2  # it lost half of what it was worth
        past = service.world.clock.now() + timedelta(seconds=31)  # as long as a figure is kept
        until(lambda: service.world.clock.now() > past)
        refused = order(service, account_id=second)
        assert (refused.status, refused.code) == (422, "E-RISK"), refused.raw
        assert refused.json["error"]["details"]["control"] == "RC-16"
        assert order(service, account_id=first).status == 201
        assert len(service.sent()) == 4


def owned(service: Served, account_id: str) -> Decimal:
    """Shares of AAPL that the simulated account holds."""
    assert service.world is not None
    holdings = service.world.world.books[account_id].holdings.values()
    return sum((each.quantity for each in holdings if each.instrument.symbol == "AAPL"), Decimal(0))


@pytest.mark.requirement("GWY-03", "GWY-06", "TRD-22")
def test_an_order_whose_answer_was_lost_is_looked_for_and_never_sent_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ibkit.service.orders.ANSWER_WITHIN_S", 0.4)
    with at_the_gateway(tmp_path) as service:
        assert service.world is not None
        service.world.control("POST", "scenario", {"scenario": ["lost-order-reply"]})
        key = new_key()
        first = order(service, key=key)
        assert (first.status, first.data["status"], first.data["error"]) == (202, "pending", None), first.raw
        twins = [order(service, key=key) for _ in range(3)]
        assert {(twin.status, twin.code) for twin in twins} == {(409, "E-IDEM-BUSY")}
        until(lambda: service.ask("GET", first.headers["location"]).data["status"] in ("submitted", "filled"), 40)
        assert len(service.sent()) == 1


@pytest.mark.requirement("GWY-03", "TRD-18")
def test_a_refusal_by_the_kill_switch_or_read_only_mode_is_told_and_sends_nothing(tmp_path: Path) -> None:
    with at_the_gateway(tmp_path, IBKR_READ_ONLY="true") as service:
        key = new_key()
        answer = order(service, key=key)
        assert (answer.status, answer.code) == (403, "E-READONLY"), answer.raw
        assert service.sent() == []
        assert service.ask("GET", "/api/ibkr/status").json["readOnly"] is True


@pytest.mark.requirement("MON-05")
def test_the_figures_of_the_process_are_told_and_name_no_account(tmp_path: Path) -> None:
    with at_the_gateway(tmp_path) as service:
        placed = order(service)
        assert placed.status == 201
        for path in (f"/broker-order/{placed.data['id']}", "/broker-order/ib-none", "/nothing/DU1000001"):
            service.ask("GET", path)
        answer = service.ask("GET", "/metrics", token=None)

        assert (answer.status, answer.headers["content-type"].split(";")[0]) == (200, "text/plain")
        text = answer.raw.decode()
        assert 'ibkit_orders_total{outcome="accepted"} 1.0' in text, text
        requests = "ibkit_http_requests_total"
        for route, status in (("/broker-order/{order_id}", 200), ("/broker-order/{order_id}", 404), ("other", 404)):
            assert f'{requests}{{method="GET",route="{route}",status="{status}"}} 1.0' in text, text
        assert f'{requests}{{method="GET",route="{route}",status="{status}"}} 1.0' in text, text
        assert f'{requests}{{method="POST",route="/broker-order",status="201"}} 1.0' in text
        assert 'ibkit_http_request_duration_seconds_count{method="POST",route="/broker-order"} 1.0' in text
        assert "DU1" not in text


@pytest.mark.requirement("MON-05")
def test_figures_are_kept_by_the_minute_and_told_to_administrators(tmp_path: Path) -> None:
    owner = person("owner", role=Role.OWNER, scopes=frozenset({Scope.READ, Scope.ADMIN}))
    people = People({"ada": person("ada"), "owner": owner})
    with at_the_gateway(tmp_path, people=people) as service:
        assert service.world is not None
        assert order(service).status == 201

        def rows(**asked: str) -> list[dict[str, Any]]:
            answer = service.ask("GET", f"/api/metrics?{urlencode(asked)}", token="owner")
            assert answer.status == 200, answer.raw
            return [row for row in answer.data if row["endpoint"].endswith("/orders") and row["endpoint"][:4] == "POST"]

        until(lambda: rows())
        (found,) = rows()
        sent = [each for each in service.world.requests if each.method == "POST" and each.path.endswith("/orders")]
        assert (found["connection"], found["count"], found["attempts"]) == ("paper gateway", len(sent), len(sent))
        assert (found["errors"], found["error_rate"], found["minute"]) == ({}, 0.0, None)
        assert found["bytes_sent"] > 0
        assert found["p50_s"] is not None
        (minute,) = rows(by="minute", connection="paper gateway")
        assert minute["minute"].startswith("2026-11-20T15:3")
        assert {**minute, "minute": None} == found
        assert rows(connection="live gateway") == []
        assert rows(since="2026-11-19T10:00:00Z", until="2026-11-20T10:00:00Z") == []
        for wrong in ("since=2026-11-01&until=2026-11-03", "since=2026-11-21", "by=hour", "until=now", "connection="):
            answer = service.ask("GET", f"/api/metrics?{wrong}", token="owner")
            assert (answer.status, answer.code) == (422, "E-VALIDATION"), wrong
        assert service.ask("GET", "/api/metrics").status == 403


@pytest.mark.requirement("ERR-01")
def test_a_service_that_is_about_to_end_takes_no_order(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[Any] = []
    make = serving.make_app
    monkeypatch.setattr(serving, "make_app", lambda service: made.append(service) or make(service))
    with at_the_gateway(tmp_path) as service:
        made[0].stopping = True
        answer = order(service)

        assert (answer.status, answer.code, answer.headers["retry-after"]) == (503, "E-STOPPING", "5"), answer.raw
        assert service.sent() == []
        made[0].stopping = False
        assert order(service).status == 201


@pytest.mark.requirement("MON-09")
def test_a_service_that_begins_read_only_says_so_in_the_audit_log(tmp_path: Path) -> None:
    for value in ("true", "true", "false"):
        with at_the_gateway(tmp_path, IBKR_READ_ONLY=value) as service:
            settings = service.settings
    assert settings is not None

    async def told() -> list[str]:
        async with audit_log(settings) as log:
            return [each.details["value"] for each in await log.entries(action="settings.read_only")]

    assert anyio.run(told) == ["false", "true"]
