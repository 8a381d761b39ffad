"""The control endpoints: looking, moving the clock, making trouble."""

from __future__ import annotations

import json
from datetime import datetime, timedelta
from decimal import Decimal

import pytest

from desks import Desk
from ibkit.sim.serving.control import Control
from ibkit.sim.serving.inprocess import Simulator
from simulators import Caller, OAuth1Caller, make_simulator

STATUS = "/v1/api/iserver/auth/status"
pytestmark = pytest.mark.requirement("TST-01")


def test_the_request_log_shows_names_of_headers_and_never_their_values(simulator: Simulator) -> None:
    caller = OAuth1Caller(simulator).sign_in(init=False)
    caller("GET", f"{STATUS}?oauth_token=hide-me&other=shown")
    rows = simulator.control("GET", "requests")
    assert [row["path"] for row in rows] == ["/v1/api/oauth/live_session_token", STATUS]
    assert rows[1]["headers"] == ["authorization", "user-agent"]
    assert rows[1]["query"] == {"oauth_token": "…", "other": "shown"}
    assert (rows[1]["face"], rows[1]["user"], rows[1]["status"]) == ("cloud", "simpaper1", 200)
    assert "oauth_signature" not in json.dumps(rows)


def test_control_calls_are_not_in_the_log(simulator: Simulator) -> None:
    simulator.control("GET", "world")
    assert simulator.control("GET", "requests") == []


def test_bodies_of_api_calls_are_in_the_log(simulator: Simulator) -> None:
    Caller(simulator)("POST", "/v1/api/iserver/auth/ssodh/init", {"publish": True, "compete": False})
    assert simulator.control("GET", "requests")[0]["body"] == {"publish": True, "compete": False}


def test_the_clock_can_be_read_and_moved_forward_only(simulator: Simulator) -> None:
    before = datetime.fromisoformat(simulator.control("GET", "clock")["now"])
    after = datetime.fromisoformat(simulator.control("POST", "clock", {"advance": 90000})["now"])
    assert (after - before).total_seconds() == 90000
    with pytest.raises(ValueError, match="backwards"):
        simulator.control("POST", "clock", {"advance": -1})
    with pytest.raises(ValueError, match="advance"):
        simulator.control("POST", "clock", {})
    for far in (1e12, "nan", "inf"):
        with pytest.raises(ValueError, match="advance"):
            simulator.control("POST", "clock", {"advance": far})


def test_scenarios_are_replaced_as_a_whole(simulator: Simulator) -> None:
    simulator.control("POST", "scenario", {"scenario": ["no-fill", "delayed-quotes"]})
    assert simulator.control("GET", "faults")["scenarios"] == ["no-fill", "delayed-quotes"]
    with pytest.raises(ValueError, match="no scenario is called typo"):
        simulator.control("POST", "scenario", {"scenario": "typo"})
    assert simulator.control("GET", "faults")["scenarios"] == ["no-fill", "delayed-quotes"]
    assert simulator.control("POST", "scenario", {"scenario": "ok"}) == {"scenarios": ["ok"]}


def test_faults_are_added_listed_and_cleared(simulator: Simulator) -> None:
    rows = [{"endpoint": "TICKLE", "fault": "drop-answer"}, {"path": "/v1/api/*", "fault": "html", "times": 3}]
    shown = simulator.control("POST", "faults", rows)["requests"]
    assert [row["fault"] for row in shown] == ["drop-answer", "html"]
    for wrong in ({"endpoint": "TICKLE", "fault": "typo"}, {"fault": "html"}, {"endpoint": "TICKLE", "wat": 1}):
        with pytest.raises(ValueError):
            simulator.control("POST", "faults", wrong)
    assert simulator.control("DELETE", "faults")["requests"] == []


def test_reset_brings_the_first_world_back(simulator: Simulator) -> None:
    start = simulator.clock.now()
    caller = Caller(simulator)
    caller("POST", "/v1/api/logout", wait=60)
    simulator.control("POST", "faults", {"endpoint": "TICKLE", "fault": "html"})
    simulator.control("POST", "reset")
    assert simulator.clock.now() == start
    assert simulator.control("GET", "requests") == []
    assert simulator.control("GET", "faults")["requests"] == []
    assert json.loads(caller("GET", STATUS).body)["authenticated"] is True


def test_a_reset_ends_every_login(simulator: Simulator) -> None:
    caller = OAuth1Caller(simulator).sign_in()
    simulator.control("POST", "reset")
    assert caller("GET", STATUS).status == 401
    assert caller.sign_in()("GET", STATUS).status == 200


def test_prices_can_be_set(simulator: Simulator) -> None:
    simulator.control("POST", "market", {"symbol": "SPY", "price": 700})
    spy = simulator.world.instruments.by_symbol("SPY")
    simulator.advance(5)
    quote = simulator.world.market.quote(spy.conid, simulator.clock.now())
    assert abs(float(quote.last) - 700) < 2
    for wrong in ({"symbol": "NOPE", "price": 1}, {"symbol": "SPY"}, {"conid": 1, "bid": 1, "ask": 2}):
        with pytest.raises(ValueError):
            simulator.control("POST", "market", wrong)


def test_quirks_can_be_read_and_changed(simulator: Simulator) -> None:
    assert simulator.control("GET", "quirks")["idle_timeout_s"] == 360.0
    changed = simulator.control("POST", "quirks", {"idle_timeout_s": 3, "query_signing": "bare"})
    assert (changed["idle_timeout_s"], changed["query_signing"]) == (3.0, "bare")
    with pytest.raises(ValueError, match="no quirk is called typo"):
        simulator.control("POST", "quirks", {"typo": 1})


def test_the_gateway_can_be_logged_in_and_out(simulator: Simulator) -> None:
    caller = Caller(simulator)
    assert simulator.control("POST", "login", {"logged_in": False}) == {"gateway": None}
    assert caller("GET", STATUS).status == 401
    assert simulator.control("POST", "login", {"username": "simlive1"}) == {"gateway": "simlive1"}
    assert json.loads(caller("GET", "/v1/api/one/user").body)["USER_NAME"] == "simlive1"
    with pytest.raises(ValueError, match="no user is called nobody"):
        simulator.control("POST", "login", {"username": "nobody"})


def test_the_world_shows_sessions_accounts_and_books_without_a_secret(simulator: Simulator) -> None:
    OAuth1Caller(simulator).sign_in()
    world = simulator.control("GET", "world")
    assert [user["username"] for user in world["users"]] == ["simpaper1", "simpaper2", "simlive1"]
    assert {session["method"] for session in world["sessions"]} == {"gateway", "oauth1a"}
    assert set(world["books"]) >= {"DU1000001", "DU2000001", "DU2000002", "U3000001"}
    text = json.dumps(world)
    assert simulator.users[0].access_token_secret not in text
    assert simulator.world.logins.sessions[0].id not in text


def test_the_ledger_is_a_list_that_starts_empty(simulator: Simulator) -> None:
    assert simulator.control("GET", "ledger") == []


def test_unknown_controls_name_the_known_ones(simulator: Simulator) -> None:
    status, answer = Control(simulator.server).handle("GET", "/__sim/typo", b"")
    assert status == 404
    assert "requests" in json.loads(answer)["known"]
    status, answer = Control(simulator.server).handle("POST", "/__sim/clock", b"{broken")
    assert (status, "not JSON" in json.loads(answer)["error"]) == (400, True)
    with pytest.raises(ValueError, match="no certificates"):
        simulator.control("POST", "rotate")


def test_a_scenario_may_have_an_argument() -> None:
    simulator = make_simulator("endpoint-404=/iserver/secdef/search")
    caller = Caller(simulator)
    assert caller("GET", "/v1/api/iserver/accounts").status == 200
    assert caller("GET", "/v1/api/iserver/secdef/search?symbol=SPY").status == 404


def test_a_path_of_moves_makes_a_trailing_stop_trail_and_elect_in_one_step_of_the_clock() -> None:
    desk = Desk()
    stock = desk.stock()
    desk.simulator.control("POST", "market", {"conid": stock.conid, "bid": 630, "ask": 630})
    order = desk.place(stock, "SELL", 1, "TRAIL", trailingAmt=2, trailingType="amt")
    moves = [
        {"conid": stock.conid, "bid": bid, "ask": bid, "after": after}
        for after, bid in ((20, 634), (40, 633), (10, 631), (60, 631.9))
    ]
    answer = desk.simulator.control("POST", "market", {"moves": moves})
    assert datetime.fromisoformat(answer["until"]) == desk.now + timedelta(seconds=60)
    begun = desk.now
    desk.pass_time(30)
    assert (order.state, order.stop) == ("live", Decimal(632))
    desk.pass_time(60)
    assert (order.state, order.executions[0].price) == ("filled", Decimal("631.9"))
    assert order.executions[0].at == begun.replace(microsecond=0) + timedelta(seconds=60)


def test_an_underlying_can_be_sent_along_a_path_and_halted_on_it() -> None:
    desk = Desk()
    stock = desk.stock()
    moves = [
        {"symbol": "SPY", "price": 640, "after": 10},
        {"symbol": "SPY", "halted": True, "after": 20},
        {"symbol": "SPY", "halted": False, "after": 30},
    ]
    desk.simulator.control("POST", "market", {"moves": moves})
    seen = []
    for _ in range(4):
        quote = desk.quote(stock)
        seen.append((quote.last is not None and abs(quote.last - 640) < 1, quote.halted))
        desk.pass_time(10)
    assert seen == [(False, False), (True, False), (True, True), (True, False)]


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ({"moves": []}, "moves"),
        ({"moves": {"symbol": "SPY"}}, "moves"),
        ({"moves": [1]}, "object"),
        ({"moves": [{"symbol": "SPY", "price": 1, "after": -1}]}, "after"),
        ({"moves": [{"symbol": "SPY", "price": 1, "after": 1e9}]}, "after"),
        ({"moves": [{"symbol": "NONE", "price": 1}]}, "no underlying"),
        ({"symbol": "SPY", "price": "x"}, "price"),
        ({"conid": None, "bid": 1, "ask": 1}, "market"),
    ],
    ids=str,
)
def test_moves_that_cannot_be_made_are_refused(body: dict[str, object], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        make_simulator().control("POST", "market", body)
