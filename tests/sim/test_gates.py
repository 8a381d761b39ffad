"""What stands before every handler: maintenance, the CDN's rules, the penalty box, paths, pacing. And their order."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest

from ibkit.sim.quirks import Quirks
from ibkit.sim.serving.inprocess import Simulator
from ibkit.sim.serving.maintenance import in_maintenance
from ibkit.sim.serving.pacing import Pacing
from ibkit.wire.http import Response
from ibkit.wire.session import AUTH_STATUS, TICKLE
from simulators import Caller, OAuth1Caller, make_simulator

TICKLE_PATH = "/v1/api/tickle"
STATUS = "/v1/api/iserver/auth/status"
NEW_YORK = ZoneInfo("America/New_York")


def said(answer: Response) -> tuple[int, object]:
    return answer.status, json.loads(answer.body)


TOO_MANY = (429, {"error": "Too many requests", "statusCode": 429})


@pytest.mark.requirement("TST-01")
def test_no_user_agent_is_a_403_in_html(simulator: Simulator) -> None:
    caller = Caller(simulator)
    for missing in (None, "", "  "):
        answer = caller("POST", TICKLE_PATH, headers={"User-Agent": missing})
        assert answer.status == 403
        assert answer.headers["content-type"] == "text/html"
        assert b"Access Denied" in answer.body


@pytest.mark.requirement("TST-01")
def test_a_post_without_length_is_a_411_and_a_get_is_not(simulator: Simulator) -> None:
    caller = Caller(simulator)
    assert caller("POST", TICKLE_PATH, headers={"Content-Length": None}).status == 411
    assert caller("GET", TICKLE_PATH, wait=2).status == 200


@pytest.mark.requirement("TST-01")
def test_tickle_is_paced_to_one_a_second_per_user(simulator: Simulator) -> None:
    caller = Caller(simulator)
    assert caller("POST", TICKLE_PATH).status == 200
    assert said(caller("GET", TICKLE_PATH, wait=0.5)) == TOO_MANY
    assert caller("POST", TICKLE_PATH, wait=0.5).status == 200
    second_user = OAuth1Caller(simulator, 1).sign_in(init=False)
    assert second_user("POST", TICKLE_PATH, wait=0).status == 200


@pytest.mark.requirement("TST-01")
def test_the_gateway_takes_ten_requests_a_second_and_oauth_fifty(simulator: Simulator) -> None:
    gateway = Caller(simulator)
    assert [gateway("GET", STATUS, wait=0).status for _ in range(11)] == [200] * 10 + [429]
    assert gateway("GET", STATUS, wait=1).status == 200
    cloud = OAuth1Caller(simulator, 1).sign_in(init=False)
    simulator.advance(2)
    assert [cloud("GET", STATUS, wait=0).status for _ in range(51)] == [200] * 50 + [429]


@pytest.mark.requirement("TST-01")
def test_twenty_refusals_within_a_minute_box_the_address_for_ten_minutes(simulator: Simulator) -> None:
    caller, neighbour = Caller(simulator), Caller(simulator, peer="127.0.0.2")
    assert caller("POST", TICKLE_PATH).status == 200
    for _ in range(20):
        assert said(caller("POST", TICKLE_PATH, wait=0.01)) == TOO_MANY
    simulator.advance(60)
    assert said(caller("GET", STATUS)) == TOO_MANY
    assert said(caller("GET", "/v1/api/no/such/path")) == TOO_MANY, "the box comes before the path"
    assert neighbour("GET", STATUS).status == 200, "the box is per address"
    simulator.advance(530)
    assert caller("GET", STATUS).status == 429
    simulator.advance(15)
    assert caller("GET", STATUS).status == 200, "calls inside did not lengthen it"


@pytest.mark.requirement("TST-01")
def test_refusals_spread_over_more_than_a_minute_open_no_box() -> None:
    pacing, quirks = Pacing(), Quirks()
    for second in range(0, 400, 4):
        pacing.refuse(quirks, "127.0.0.1", float(second))
        assert not pacing.boxed("127.0.0.1", float(second))


@pytest.mark.requirement("TST-01")
def test_a_refused_call_does_not_count_against_the_window() -> None:
    pacing, quirks = Pacing(), Quirks()
    admitted = [
        pacing.admit(quirks, user="u", face="cloud", endpoint=TICKLE, at=at) for at in (0.0, 0.6, 0.9, 1.0, 1.5, 2.0)
    ]
    assert admitted == [True, False, False, True, False, True]
    assert pacing.admit(quirks, user="u", face="cloud", endpoint=AUTH_STATUS, at=2.0)


@pytest.mark.requirement("TST-01")
def test_unknown_paths_answer_404_under_the_api_and_302_elsewhere_on_the_gateway(simulator: Simulator) -> None:
    gateway, cloud = Caller(simulator), Caller(simulator, "cloud")
    under = gateway("GET", "/v1/api/no/such/path")
    assert (under.status, under.body) == (404, b"<html><body><h1>Resource not found</h1></body></html>")
    for path in ("/somewhere", "/gw/api/v1/sso-sessions", "/oauth2/api/v1/token", "/v1/api/oauth/live_session_token"):
        elsewhere = gateway("POST", f"{path}?with=query")
        assert (elsewhere.status, elsewhere.headers["location"]) == (302, f"https://api.ibkr.com{path}"), path
    assert cloud("GET", "/somewhere").status == 404


@pytest.mark.requirement("TST-01")
def test_the_older_alias_and_a_trailing_slash_are_the_same_path(simulator: Simulator) -> None:
    caller = Caller(simulator)
    for path in ("/v1/portal/iserver/auth/status", "/v1/api/iserver/auth/status/", "/v1/portal/iserver/auth/status/"):
        assert caller("POST", path).status == 200
    assert caller("GET", "/v1/portal/sso/validate").status == 200


@pytest.mark.requirement("TST-01")
@pytest.mark.parametrize(
    ("region", "local", "away"),
    [
        ("us", datetime(2026, 11, 18, 1, 0, tzinfo=NEW_YORK), True),
        ("us", datetime(2026, 11, 18, 1, 4, 59, tzinfo=NEW_YORK), True),
        ("us", datetime(2026, 11, 18, 1, 5, tzinfo=NEW_YORK), False),
        ("us", datetime(2026, 11, 18, 0, 59, tzinfo=NEW_YORK), False),
        ("eu", datetime(2026, 11, 18, 1, 2, tzinfo=ZoneInfo("Europe/Zurich")), True),
        ("asia", datetime(2026, 11, 18, 1, 2, tzinfo=ZoneInfo("Asia/Hong_Kong")), True),
        ("eu", datetime(2026, 11, 18, 1, 2, tzinfo=NEW_YORK), False),
        ("us", datetime(2026, 11, 21, 21, 0, tzinfo=NEW_YORK), True),
        ("asia", datetime(2026, 11, 21, 22, 59, tzinfo=NEW_YORK), True),
        ("us", datetime(2026, 11, 21, 23, 0, tzinfo=NEW_YORK), False),
    ],
)
def test_the_windows_of_maintenance(region: str, local: datetime, away: bool) -> None:
    assert in_maintenance(Quirks(), region, local.astimezone(UTC)) is away
    assert not in_maintenance(Quirks(maintenance=False), region, local.astimezone(UTC))


@pytest.mark.requirement("TST-01")
def test_inside_the_nightly_window_everything_is_503_and_afterwards_init_is_needed() -> None:
    start = datetime(2026, 11, 19, 0, 58, tzinfo=NEW_YORK).astimezone(UTC)
    simulator = make_simulator(start=start)
    caller = OAuth1Caller(simulator).sign_in()
    simulator.advance(120)
    answer = caller("POST", TICKLE_PATH)
    assert said(answer) == (503, {"error": "Service Unavailable", "statusCode": 503})
    assert caller("POST", TICKLE_PATH, headers={"User-Agent": None}).status == 503, "maintenance comes first"
    simulator.advance(300)
    status = json.loads(caller("POST", STATUS).body)
    assert (status["connected"], status["authenticated"]) == (True, False)
    assert caller("GET", "/v1/api/iserver/accounts").status == 401
    assert caller("GET", "/v1/api/portfolio/accounts").status == 200, "the outer session survives the night"


@pytest.mark.requirement("TST-01")
def test_the_checks_come_in_the_order_of_the_facts() -> None:
    """Source: docs/facts/auth-and-sessions.md §8, last paragraph. Each call is wrong in all later ways too."""
    simulator = make_simulator("not-authenticated")
    gateway = Caller(simulator)
    path = "/v1/api/no/such/path"
    assert gateway("POST", path, headers={"User-Agent": None, "Content-Length": None}).status == 403
    assert gateway("POST", path, headers={"Content-Length": None}).status == 411
    assert gateway("POST", path).status == 404
    for _ in range(12):
        assert gateway("GET", "/v1/api/iserver/accounts", wait=0).status == 401, "credentials come before pacing"
    simulator.control("POST", "login", {"logged_in": True})
    simulator.advance(400)
    answers = [gateway("GET", "/v1/api/iserver/account/orders", wait=0).status for _ in range(2)]
    assert answers == [401, 429], "pacing comes before the brokerage session"


@pytest.mark.requirement("TST-01")
@pytest.mark.parametrize(
    ("scenario", "face", "expected"),
    [
        ("maintenance-503", "gateway", (503, {"error": "Service Unavailable", "statusCode": 503})),
        ("rate-429", "gateway", TOO_MANY),
        ("endpoint-404", "gateway", (404, None)),
        ("perm-403", "gateway", (403, {"error": "Forbidden", "statusCode": 403})),
        ("garbage", "gateway", (200, None)),
        ("gw-ip-denied", "gateway", (404, None)),
    ],
)
def test_scenarios_at_the_gates(scenario: str, face: str, expected: tuple[int, object]) -> None:
    caller = Caller(make_simulator(scenario), face)
    path = "/v1/api/portfolio/accounts" if scenario == "perm-403" else "/v1/api/iserver/accounts"
    answer = caller("GET", path)
    assert answer.status == expected[0]
    if expected[1] is not None:
        assert json.loads(answer.body) == expected[1]
    elif scenario == "gw-ip-denied":
        assert (answer.body, answer.headers.get("content-type")) == (b"Access Denied", None)
    else:
        assert b"<html>" in answer.body.lower()


@pytest.mark.requirement("TST-01")
def test_rate_429_opens_the_box_after_twenty_calls() -> None:
    simulator = make_simulator("rate-429")
    caller = Caller(simulator)
    for _ in range(20):
        assert caller("GET", STATUS, wait=1).status == 429
    simulator.control("POST", "scenario", {"scenario": "ok"})
    assert caller("GET", STATUS, wait=1).status == 429
    simulator.advance(timedelta(minutes=10).total_seconds())
    assert caller("GET", STATUS).status == 200
