"""The two nested sessions, through the server: starting, idle, age, competing, logout, reauthenticate."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from ibkit.sim.serving.inprocess import Simulator
from simulators import Caller, OAuth1Caller, OAuth2Caller, make_simulator

TICKLE = "/v1/api/tickle"
STATUS = "/v1/api/iserver/auth/status"
INIT = "/v1/api/iserver/auth/ssodh/init"
ACCOUNTS = "/v1/api/iserver/accounts"
ORDERS = "/v1/api/iserver/account/orders"
PORTFOLIO = "/v1/api/portfolio/accounts"


def body(answer: Any) -> Any:
    return json.loads(answer.body)


def flags(caller: Caller) -> tuple[bool, bool, bool, bool]:
    status = body(caller("POST", STATUS))
    return status["authenticated"], status["established"], status["competing"], status["connected"]


READY = (True, True, False, True)
READ_ONLY = (False, False, False, True)
COMPETED = (False, False, True, True)


@pytest.mark.requirement("AUTH-14", "AUTH-16")
def test_scenario_ok_starts_the_gateway_ready_as_the_first_user(simulator: Simulator) -> None:
    caller = Caller(simulator)
    assert flags(caller) == READY
    assert body(caller("GET", "/v1/api/sso/validate"))["USER_NAME"] == "simpaper1"
    assert body(caller("GET", "/v1/api/one/user"))["USER_NAME"] == "simpaper1"


@pytest.mark.requirement("AUTH-16")
def test_the_answers_have_the_members_of_the_recorded_ones(shared: Path, simulator: Simulator) -> None:
    cloud = OAuth1Caller(simulator).sign_in()
    folder = shared / "ibkr" / "recorded" / "Session"
    for name, method, path in (
        ("GET-auth-status", "GET", STATUS),
        ("POST-ssodh-init", "POST", INIT),
        ("POST-tickle", "POST", TICKLE),
        ("POST-suppress", "POST", "/v1/api/iserver/questions/suppress"),
        ("POST-suppress-reset", "POST", "/v1/api/iserver/questions/suppress/reset"),
    ):
        recorded = json.loads((folder / f"{name}.json").read_text())["Response"]
        given = {"messageIds": ["o163"]} if name == "POST-suppress" else {"publish": True, "compete": True}
        answer = cloud(method, path, given, wait=2)
        assert answer.status == recorded["StatusCode"], name
        assert answer.headers["content-type"] == recorded["Headers"]["Content-Type"], name
        assert shape(body(answer)) == shape(recorded["Body"]), name


def shape(value: Any) -> Any:
    """Names and kinds, without the values."""
    if isinstance(value, dict):
        return {name: shape(item) for name, item in value.items()}
    return type(value).__name__


@pytest.mark.requirement("AUTH-02")
def test_three_members_of_tickle_are_absent_under_oauth_1(simulator: Simulator) -> None:
    only = {"ssoExpires", "collission", "userId"}
    assert only <= set(body(Caller(simulator)("POST", TICKLE)))
    assert only <= set(body(OAuth2Caller(simulator, 1).sign_in()("POST", TICKLE)))
    assert not only & set(body(OAuth1Caller(simulator, 2).sign_in()("POST", TICKLE)))


@pytest.mark.requirement("SES-06")
def test_sso_expires_falls_with_the_clock_and_renews_itself(simulator: Simulator) -> None:
    caller = Caller(simulator)
    seen = [body(caller("POST", TICKLE, wait=100))["ssoExpires"] for _ in range(8)]
    assert seen == [500_000, 400_000, 300_000, 200_000, 100_000, 600_000, 500_000, 400_000]


@pytest.mark.requirement("AUTH-14")
def test_iserver_calls_need_init_then_a_moment_then_accounts() -> None:
    """Source: docs/facts/auth-and-sessions.md §3.10, §4.2; §8 rows 9 and 10."""
    simulator = make_simulator(starting_s=3)
    caller = OAuth1Caller(simulator).sign_in(init=False)
    assert caller("GET", PORTFOLIO).status == 200, "the outer session is enough"
    assert flags(caller) == READ_ONLY
    for path in (ACCOUNTS, ORDERS):
        answer = caller("GET", path)
        assert (answer.status, body(answer)) == (400, {"error": "Bad Request: no bridge", "statusCode": 400})
    assert body(caller("POST", INIT, {"publish": True, "compete": False}))["authenticated"] is False
    assert caller("GET", ACCOUNTS).status == 401, "the session is still starting"
    simulator.advance(3)
    assert flags(caller) == READY
    early = caller("GET", ORDERS, wait=6)
    assert (early.status, body(early)) == (500, {"error": "Please query /accounts first"})
    summary = caller("GET", "/v1/api/iserver/account/DU1000001/summary")
    assert (summary.status, body(summary)["error"]) == (400, "Bad Request: Please query /accounts first")
    assert caller("GET", ACCOUNTS).status == 200
    assert caller("GET", ORDERS, wait=6).status == 200


@pytest.mark.requirement("AUTH-14")
def test_the_status_of_no_bridge_is_a_switch() -> None:
    caller = OAuth1Caller(make_simulator(no_bridge_status=401)).sign_in(init=False)
    answer = caller("GET", ACCOUNTS)
    assert (answer.status, body(answer)) == (401, {"error": "no bridge", "statusCode": 401})


@pytest.mark.requirement("AUTH-14")
@pytest.mark.parametrize(
    ("sent", "headers", "path"),
    [
        (b'{"publish":true,"compete":true}', {}, INIT),
        (b"publish=true&compete=True", {"Content-Type": "application/x-www-form-urlencoded"}, INIT),
        (b"", {}, f"{INIT}?publish=true&compete=TRUE"),
        (b"", {}, INIT),
        (b'{"username":"simpaper1","machineId":"0a1b2c3d","compete":true}', {}, INIT),
    ],
)
def test_init_takes_json_a_form_a_query_or_nothing(sent: bytes, headers: dict[str, str], path: str) -> None:
    simulator = make_simulator()
    caller = OAuth1Caller(simulator).sign_in(init=False)
    assert "passed" not in body(caller("POST", path, sent, headers=headers))
    simulator.advance(3)
    assert flags(caller) == READY


@pytest.mark.requirement("AUTH-14")
def test_init_without_publish_is_a_500(simulator: Simulator) -> None:
    assert Caller(simulator)("POST", INIT, {"publish": False, "compete": True}).status == 500


@pytest.mark.requirement("SES-05", "SES-06")
def test_a_brokerage_session_without_calls_is_lost_after_six_minutes(simulator: Simulator) -> None:
    caller = OAuth1Caller(simulator).sign_in()
    simulator.advance(350)
    assert flags(caller) == READY
    simulator.advance(350)
    assert flags(caller) == READY, "any authenticated call counts"
    simulator.advance(361)
    assert flags(caller) == READ_ONLY
    answer = caller("GET", ACCOUNTS)
    assert (answer.status, body(answer)) == (401, {"error": "not authenticated", "statusCode": 401})
    assert caller("POST", INIT, {"publish": True, "compete": False}).status == 200
    simulator.advance(3)
    assert caller("GET", ORDERS, wait=6).status == 500, "a new brokerage session is not primed"


@pytest.mark.requirement("SES-06")
def test_a_login_ends_after_a_day_and_the_gateways_at_midnight(simulator: Simulator) -> None:
    cloud, gateway = OAuth1Caller(simulator).sign_in(), Caller(simulator)
    midnight = datetime(2026, 11, 21, 0, 0, tzinfo=ZoneInfo("America/New_York")).astimezone(UTC)
    simulator.advance((midnight - simulator.clock.now()).total_seconds() - 1)
    assert gateway("GET", STATUS).status == 200
    simulator.advance(2)
    ended = gateway("GET", STATUS)
    assert (ended.status, ended.body) == (401, b"")
    assert cloud("GET", STATUS).status == 200
    simulator.advance(11 * 3600)
    assert cloud("GET", STATUS).status == 401
    assert cloud.handshake().status == 200
    assert cloud("GET", STATUS).status == 200


@pytest.mark.requirement("AUTH-10")
def test_a_new_live_session_token_keeps_the_brokerage_session_and_the_old_token(simulator: Simulator) -> None:
    caller = OAuth1Caller(simulator).sign_in()
    old = caller.token
    assert caller.handshake().status == 200
    assert caller.token != old
    assert flags(caller) == READY
    assert caller("GET", ORDERS, wait=6).status == 500, "it forgot that accounts were asked for"
    caller.token = old
    assert flags(caller) == READY


@pytest.mark.requirement("SES-08", "AUTH-14")
def test_a_login_elsewhere_takes_the_brokerage_session_and_compete_brings_it_back(simulator: Simulator) -> None:
    caller = OAuth1Caller(simulator).sign_in()
    simulator.control("POST", "competing", {"username": "simpaper1"})
    assert flags(caller) == COMPETED
    assert caller("GET", ACCOUNTS).status == 401
    refused = body(caller("POST", INIT, {"publish": True, "compete": False}))
    assert (refused["passed"], refused["authenticated"], refused["competing"]) == (False, False, True)
    assert refused["fail"] == "Force compete capability must be used together with compete flag"
    taken = body(caller("POST", INIT, {"publish": True, "compete": True}))
    assert (taken["competing"], "passed" in taken) == (False, False)
    simulator.advance(3)
    assert flags(caller) == READY


@pytest.mark.requirement("SES-08")
def test_two_ways_in_compete_when_the_quirk_says_so() -> None:
    simulator = make_simulator(ways_in_compete=True)
    gateway, cloud = Caller(simulator), OAuth1Caller(simulator).sign_in(init=False)
    assert "fail" in body(cloud("POST", INIT, {"publish": True, "compete": False}))
    assert flags(gateway) == READY
    cloud("POST", INIT, {"publish": True, "compete": True})
    simulator.advance(3)
    assert flags(cloud) == READY
    assert flags(gateway) == COMPETED


@pytest.mark.requirement("AUTH-02")
def test_by_default_the_three_ways_in_live_side_by_side(simulator: Simulator) -> None:
    callers = [Caller(simulator), OAuth1Caller(simulator).sign_in(), OAuth2Caller(simulator).sign_in()]
    assert [flags(caller) for caller in callers] == [READY] * 3


@pytest.mark.requirement("SES-10")
def test_logout_under_oauth_ends_the_token_and_keeps_the_access_token(simulator: Simulator) -> None:
    caller = OAuth1Caller(simulator).sign_in()
    answer = caller("POST", "/v1/api/logout")
    assert (answer.status, answer.body) == (200, b'{"status":true}')
    assert caller("POST", TICKLE).status == 401
    gone = caller("POST", INIT, {"publish": True, "compete": True})
    assert (gone.status, json.loads(gone.body)) == (410, {"error": "gone", "statusCode": 410})
    assert caller.handshake().status == 200
    assert caller("POST", TICKLE).status == 200


@pytest.mark.requirement("SES-10")
@pytest.mark.parametrize("status", [503, 200])
def test_init_after_a_logout_on_the_gateway_may_end_in_other_ways(status: int) -> None:
    caller = Caller(make_simulator(gateway_init_after_logout=status))
    caller("POST", "/v1/api/logout")
    assert caller("POST", INIT, {"publish": True, "compete": True}).status == status


@pytest.mark.requirement("SES-10", "SES-04")
def test_logout_on_the_gateway_keeps_the_login_and_reauthenticate_revives_it(simulator: Simulator) -> None:
    caller = Caller(simulator)
    assert caller("POST", "/v1/api/logout").body == b'{"status":true}'
    assert flags(caller) == (False, False, False, False)
    assert caller("GET", "/v1/api/sso/validate").status == 200
    assert caller("POST", INIT, {"publish": True, "compete": True}).status == 410, "§3.6: init does not do it"
    assert flags(caller) == (False, False, False, False)
    assert body(caller("GET", "/v1/api/iserver/reauthenticate?force=true")) == {"message": "triggered"}
    simulator.advance(3)
    assert flags(caller) == READY
    assert caller("GET", "/clear").body == b"cleared"
    assert caller("GET", STATUS).status == 401


@pytest.mark.requirement("AUTH-16")
def test_reauthenticate_before_the_first_login_says_not_logged_in() -> None:
    caller = Caller(make_simulator("not-authenticated"))
    answer = caller("POST", "/v1/api/iserver/reauthenticate")
    assert (answer.status, body(answer)) == (200, {"error": "not logged in"})
    assert caller("POST", TICKLE).status == 401


@pytest.mark.requirement("AUTH-16")
def test_a_gateway_without_a_login_may_speak_in_other_ways() -> None:
    simulator = make_simulator("not-authenticated", logged_out_tickle="no session", logged_out_text="Access Denied")
    caller = Caller(simulator)
    tickle, other = caller("POST", TICKLE), caller("GET", ACCOUNTS)
    assert (tickle.status, body(tickle)) == (200, {"error": "no session"})
    assert (other.status, other.body, other.headers["content-type"]) == (401, b"Access Denied", "text/plain")


@pytest.mark.requirement("AUTH-16")
def test_a_switch_from_not_authenticated_to_ok_logs_the_gateway_in() -> None:
    simulator = make_simulator("not-authenticated")
    caller = Caller(simulator)
    assert caller("POST", TICKLE).status == 401
    simulator.control("POST", "scenario", {"scenario": "ok"})
    assert flags(caller) == READY


@pytest.mark.requirement("SES-04")
def test_scenario_expired_and_its_restorable_form() -> None:
    expired, restorable = Caller(make_simulator("expired")), Caller(make_simulator("expired:restorable"))
    assert expired("POST", TICKLE).status == 401
    assert flags(restorable) == READ_ONLY
    assert restorable("GET", ACCOUNTS).status == 401
    assert restorable("POST", INIT, {"publish": True, "compete": False}).status == 200
    restorable.simulator.advance(3)
    assert flags(restorable) == READY


@pytest.mark.requirement("SES-08")
def test_scenario_competing_holds_every_user_elsewhere() -> None:
    simulator = make_simulator("competing")
    gateway, cloud = Caller(simulator), OAuth1Caller(simulator, 1).sign_in(init=False)
    assert flags(gateway) == COMPETED
    assert "fail" in body(cloud("POST", INIT, {"publish": True, "compete": False}))
    assert "passed" not in body(gateway("POST", INIT, {"publish": True, "compete": True}))
    simulator.advance(3)
    assert flags(gateway) == READY


@pytest.mark.requirement("AUTH-14")
def test_init_scenarios() -> None:
    error = {"error": "failed to generate sso dh token"}
    first = OAuth1Caller(make_simulator("sso-dh-500")).sign_in(init=False)
    answers = [first("POST", INIT, {"publish": True, "compete": False}) for _ in range(2)]
    assert [answer.status for answer in answers] == [500, 200]
    assert body(answers[0]) == error
    always = OAuth1Caller(make_simulator("init-refused")).sign_in(init=False)
    assert [always("POST", INIT, {"publish": True}).status for _ in range(4)] == [500] * 4


@pytest.mark.requirement("AUTH-18")
def test_scenario_other_user_logs_the_gateway_in_as_the_second() -> None:
    caller = Caller(make_simulator("other-user"))
    assert body(caller("GET", "/v1/api/sso/validate"))["USER_NAME"] == "simpaper2"


@pytest.mark.requirement("SES-05")
def test_the_gateway_keeps_itself_alive_only_if_the_quirk_says_so() -> None:
    for tickles, expected in ((False, READ_ONLY), (True, READY)):
        simulator = make_simulator(gateway_tickles=tickles)
        simulator.advance(1000)
        assert flags(Caller(simulator)) == expected
