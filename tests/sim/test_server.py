"""The server core: every endpoint has a handler, answers carry IBKR's headers, and request faults do what they say."""

from __future__ import annotations

import gzip
import json
import re
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import Any

import anyio
import pytest

from ibkit.errors import OutcomeUnknown, Unreachable
from ibkit.sim.faults import FAULTS, SCENARIOS, Faults, RequestFault
from ibkit.sim.quirks import Quirks
from ibkit.sim.routing import HANDLERS
from ibkit.sim.serving.inprocess import GATEWAY_URL, Simulator
from ibkit.sim.serving.router import find_endpoint
from ibkit.wire.catalogue import ENDPOINTS
from ibkit.wire.http import Request, Response
from simulators import Caller, OAuth1Caller, make_simulator

STATUS = "/v1/api/iserver/auth/status"
ACCOUNTS = "/v1/api/iserver/accounts"


@pytest.mark.requirement("TST-01")
def test_every_endpoint_of_the_catalogue_has_a_handler() -> None:
    assert [name for name, endpoint in ENDPOINTS.items() if endpoint not in HANDLERS] == []


@pytest.mark.requirement("TST-01")
def test_every_endpoint_is_found_by_its_own_path() -> None:
    for name, endpoint in ENDPOINTS.items():
        names = re.findall(r"{(\w+)}", endpoint.path)
        path = endpoint.url_path(**dict.fromkeys(names, "x y"))
        for method in endpoint.methods:
            match = find_endpoint(method, path)
            assert match is not None, (name, method)
            assert match.name == name
            assert match.path == dict.fromkeys(names, "x y")


@pytest.mark.requirement("TST-01")
def test_all_scenarios_of_the_requirements_are_there(shared: Path) -> None:
    text = (shared / "requirements.md").read_text()
    table = text.split("## Simulator scenarios")[1].split("\n## ")[0]
    names = [row.split("|")[1].strip() for row in table.splitlines() if row.startswith("| ")]
    wanted = {name for name in names if name not in ("Scenario", "(not started)")}
    assert wanted <= set(SCENARIOS)


@pytest.mark.requirement("TST-01")
def test_replies_carry_the_headers_seen_through_a_gateway(simulator: Simulator) -> None:
    headers = Caller(simulator)("GET", STATUS).headers
    assert headers["content-type"] == "application/json; charset=utf-8"
    assert headers["cache-control"] == "max-age=0, no-cache, no-store"
    assert headers["x-content-type-options"] == "nosniff"
    assert re.fullmatch(r"\d+ms", headers["x-response-time"])
    assert re.fullmatch(r"x-sess-uuid=0\.[0-9a-f]+\.\d+\.[0-9a-f]+; secure; HttpOnly", headers["set-cookie"])
    assert parsedate_to_datetime(headers["date"]) == simulator.clock.now().replace(microsecond=0)
    kept = Caller(simulator)("GET", STATUS, headers={"Cookie": "x-sess-uuid=0.a.1.b"})
    assert "set-cookie" not in kept.headers


@pytest.mark.requirement("TST-01")
def test_the_gateway_answers_browsers_of_other_origins_itself() -> None:
    simulator = make_simulator("not-authenticated")
    asked = Caller(simulator)("OPTIONS", STATUS, headers={"Origin": "https://example.org"})
    assert (asked.status, asked.body) == (204, b"")
    assert asked.headers["access-control-allow-origin"] == "*"
    assert "access-control-allow-origin" not in Caller(simulator)("GET", STATUS).headers


@pytest.mark.requirement("TST-01")
def test_scenario_clock_skew_moves_the_date_by_ten_minutes() -> None:
    simulator = make_simulator("clock-skew")
    date = parsedate_to_datetime(Caller(simulator)("GET", STATUS).headers["date"])
    assert (date - simulator.clock.now().replace(microsecond=0)).total_seconds() == 600


@pytest.mark.requirement("TST-01")
def test_long_replies_are_gzipped_for_those_who_accept_it(simulator: Simulator) -> None:
    caller = Caller(simulator)
    packed = caller("GET", ACCOUNTS, headers={"Accept-Encoding": "gzip,deflate"})
    plain = caller("GET", ACCOUNTS)
    assert packed.headers["content-encoding"] == "gzip"
    assert "content-encoding" not in plain.headers
    assert json.loads(gzip.decompress(packed.body)) == json.loads(plain.body)
    short = caller("GET", STATUS, headers={"Accept-Encoding": "gzip"})
    assert "content-encoding" not in short.headers


@pytest.mark.requirement("TST-01")
def test_a_body_that_is_no_json_is_a_500(simulator: Simulator) -> None:
    answer = Caller(simulator)("POST", "/v1/api/iserver/questions/suppress", b"{broken")
    assert answer.status == 500
    assert "error" in json.loads(answer.body)


# --- faults ---------------------------------------------------------------------------------------------------------


def fault(simulator: Simulator, **given: Any) -> None:
    simulator.control("POST", "faults", given)


async def send(simulator: Simulator, method: str, path: str, body: bytes = b"", timeout_s: float = 10) -> Response:
    request = Request(method, GATEWAY_URL + path, {"User-Agent": "test"}, body)
    return await simulator.transport("gateway").send(request, timeout_s=timeout_s)


SUPPRESS = "/v1/api/iserver/questions/suppress"
BODY = b'{"messageIds":["o163"]}'


def suppressed(simulator: Simulator) -> bool:
    gateway = simulator.world.logins.gateway
    assert gateway is not None
    assert gateway.brokerage is not None
    return "o163" in gateway.brokerage.suppressed


@pytest.mark.requirement("TST-01", "TRD-22")
@pytest.mark.parametrize(
    ("name", "carried_out"),
    [("drop-request", False), ("drop-answer", True), ("truncate", True)],
)
def test_a_broken_connection_leaves_the_outcome_unknown(simulator: Simulator, name: str, carried_out: bool) -> None:
    fault(simulator, endpoint="SUPPRESS_QUESTIONS", fault=name)
    with pytest.raises(OutcomeUnknown):
        anyio.run(send, simulator, "POST", SUPPRESS, BODY)
    assert suppressed(simulator) is carried_out
    assert simulator.requests[-1].fault == name
    assert anyio.run(send, simulator, "POST", SUPPRESS, BODY).status == 200, "it struck once"


@pytest.mark.requirement("TST-01", "TRD-22")
@pytest.mark.parametrize(
    ("name", "params", "status", "carried_out"),
    [
        ("status", {"status": 503}, 503, False),
        ("status-after", {"status": 500, "body": {"error": "x"}}, 500, True),
        ("html", {}, 200, False),
        ("html-after", {"status": 502}, 502, True),
        ("redirect", {}, 302, False),
        ("empty-200", {}, 200, True),
    ],
)
def test_wrong_answers_before_and_after_the_call_was_carried_out(
    simulator: Simulator, name: str, params: dict[str, Any], status: int, carried_out: bool
) -> None:
    path = "/v1/api/iserver/questions/*" if carried_out else "/iserver/questions/*"
    fault(simulator, path=path, fault=name, params=params)
    answer = anyio.run(send, simulator, "POST", SUPPRESS, BODY)
    assert answer.status == status
    assert suppressed(simulator) is carried_out
    if name == "empty-200":
        assert answer.body == b""
    if name.startswith("html"):
        assert answer.headers["content-type"] == "text/html"


@pytest.mark.requirement("TST-01", "TRD-22")
def test_a_delayed_answer_takes_the_clients_time(simulator: Simulator) -> None:
    fault(simulator, endpoint="SUPPRESS_QUESTIONS", fault="delay", params={"seconds": 20}, times=2)
    with pytest.raises(OutcomeUnknown):
        anyio.run(send, simulator, "POST", SUPPRESS, BODY)
    assert suppressed(simulator)
    before = simulator.clock.now()

    async def patient() -> Response:
        return await send(simulator, "POST", SUPPRESS, BODY, timeout_s=30)

    assert anyio.run(patient).status == 200
    assert (simulator.clock.now() - before).total_seconds() == 20


@pytest.mark.requirement("TST-01", "TRD-22")
def test_a_late_call_is_carried_out_after_the_client_gave_up(simulator: Simulator) -> None:
    fault(simulator, endpoint="SUPPRESS_QUESTIONS", fault="delay-before", params={"seconds": 40})
    with pytest.raises(OutcomeUnknown):
        anyio.run(send, simulator, "POST", SUPPRESS, BODY)
    anyio.run(send, simulator, "GET", STATUS)
    assert not suppressed(simulator)
    simulator.advance(31)
    anyio.run(send, simulator, "GET", STATUS)
    assert suppressed(simulator)


@pytest.mark.requirement("TST-01")
def test_scenario_slow_answers_after_a_minute() -> None:
    with pytest.raises(OutcomeUnknown):
        anyio.run(send, make_simulator("slow"), "GET", STATUS)


@pytest.mark.requirement("TST-01")
def test_a_simulator_that_is_down_is_unreachable(simulator: Simulator) -> None:
    simulator.up = False
    with pytest.raises(Unreachable) as caught:
        anyio.run(send, simulator, "GET", STATUS)
    assert caught.value.details["cause"] == "refused", "what that means is the client's to say"


@pytest.mark.requirement("TST-01")
def test_faults_can_wait_and_strike_more_than_once() -> None:
    faults = Faults()
    faults.add(RequestFault(fault="html", endpoint="TICKLE", times=2, after=1))
    struck = [faults.strike("TICKLE", "POST", "/v1/api/tickle") is not None for _ in range(5)]
    assert struck == [False, True, True, False, False]
    faults.add(RequestFault(fault="html", path="/v1/api/*", method="get", times=None))
    assert faults.strike(None, "POST", "/v1/api/x") is None
    assert all(faults.strike(None, "GET", "/v1/api/x") for _ in range(10))


@pytest.mark.requirement("TST-01")
def test_wrong_names_are_refused_with_the_right_ones() -> None:
    for wrong in (
        lambda: Faults(["no-such"]),
        lambda: RequestFault(fault="no-such", path="*"),
        lambda: RequestFault(fault="html", endpoint="NO_SUCH"),
        lambda: RequestFault(fault="html"),
        lambda: Quirks().with_values({"no_such": 1}),
        lambda: Quirks().with_values({"pacing": "perhaps"}),
        lambda: Quirks().with_values({"query_signing": "other"}),
        lambda: Quirks().with_values({"oauth_per_s": "many"}),
    ):
        with pytest.raises(ValueError):
            wrong()
    assert FAULTS


@pytest.mark.requirement("TST-01")
def test_quirks_are_read_from_texts() -> None:
    quirks = Quirks().with_values(
        {"pacing": "off", "no_bridge_status": "401", "nightly_reset": "00:00", "lst_hours": "1"}
    )
    assert (quirks.pacing, quirks.no_bridge_status, quirks.nightly_reset.hour, quirks.lst_hours) == (False, 401, 0, 1.0)


@pytest.mark.requirement("TRD-22")
def test_the_answer_of_a_placed_order_is_lost_once() -> None:
    simulator = make_simulator("lost-order-reply")
    caller = OAuth1Caller(simulator).sign_in()
    order = {
        "conid": 265598,
        "orderType": "LMT",
        "price": 1.0,
        "side": "BUY",
        "quantity": 1,
        "tif": "DAY",
        "cOID": "lost-1",
    }
    simulator.world.logins.sessions[-1].brokerage.suppressed |= {"o163", "o451", "o382", "o383", "o354"}  # type: ignore[union-attr]
    caller("POST", "/v1/api/iserver/account/DU1000001/orders", {"orders": [order]})
    assert simulator.requests[-1].fault == "lost-order-reply"
    assert simulator.requests[-1].status is None
    live = json.loads(caller("GET", "/v1/api/iserver/account/orders", wait=6).body)
    simulator.advance(6)
    live = json.loads(caller("GET", "/v1/api/iserver/account/orders").body)
    assert [row["order_ref"] for row in live["orders"]] == ["lost-1"]
    order["cOID"] = "lost-2"
    assert caller("POST", "/v1/api/iserver/account/DU1000001/orders", {"orders": [order]}).status == 200
    assert simulator.requests[-1].fault is None
