"""The simulator's WebSocket core: who comes in, what is told when, what goes wrong on request. No socket."""

from __future__ import annotations

import itertools
import json
from decimal import Decimal
from typing import Any

import pytest

from ibkit.sim.serving.inprocess import CLOUD_URL, GATEWAY_URL, Simulator
from ibkit.sim.serving.server import Outcome
from ibkit.sim.serving.stream import PATH, Stream, open_stream
from ibkit.wire.http import Request
from simulators import Caller, OAuth1Caller, OAuth2Caller, make_simulator

pytestmark = pytest.mark.requirement("FUT-02", "TST-01")

SPY = 756733
ACCOUNT = "DU1000001"


class Wire:
    """An open stream whose frames are read as JSON."""

    def __init__(self, simulator: Simulator, stream: Stream) -> None:
        self.simulator, self.stream = simulator, stream

    def say(self, text: str) -> Wire:
        self.stream.receive(text)
        return self

    def hear(self, seconds: float = 0.0, step_s: float = 0.5) -> list[Any]:
        """Frames of the next seconds; texts that are no JSON as they are."""
        found = list(self.stream.due())
        while seconds > 0:
            self.simulator.advance(min(step_s, seconds))
            seconds -= step_s
            found += self.stream.due()
        return [_read(frame) for frame in found]

    def topic(self, name: str, seconds: float = 0.0) -> list[Any]:
        return [f for f in self.hear(seconds) if isinstance(f, dict) and f.get("topic") == name]


def _read(frame: str | bytes) -> Any:
    try:
        return json.loads(frame)
    except ValueError:
        return frame


def dial(simulator: Simulator, url: str, face: str, **headers: str) -> Stream | Outcome:
    return open_stream(simulator.server, Request("GET", url, {"User-Agent": "test", **headers}, b""), face=face)


def gateway(simulator: Simulator) -> Wire:
    stream = dial(simulator, GATEWAY_URL + PATH, "gateway")
    assert isinstance(stream, Stream)
    simulator.advance(simulator.world.quirks.gateway_ready_s)
    return Wire(simulator, stream)


def greeted(simulator: Simulator) -> Wire:
    wire = gateway(simulator)
    wire.hear()
    return wire


def enter(simulator: Simulator, order_type: str = "LMT", **terms: Any) -> int:
    """An order of the first account, typed in by hand."""
    ticket = {"conid": SPY, "side": "BUY", "quantity": 3, "orderType": order_type, "tif": "DAY", **terms}
    return simulator.control("POST", "order", {"account": ACCOUNT, "ticket": ticket})["order_id"]


def test_the_greeting_comes_in_the_recorded_order(simulator: Simulator) -> None:
    frames = gateway(simulator).hear()
    assert [frame["topic"] for frame in frames] == ["system", "act", "sts", "system"]
    assert frames[0]["success"] == "simpaper1"
    assert frames[1]["args"]["accounts"] == [ACCOUNT]
    assert frames[2]["args"]["authenticated"] is True
    assert isinstance(frames[3]["hb"], int)


def test_the_gateway_loses_what_is_sent_before_it_is_connected_upstream(simulator: Simulator) -> None:
    stream = dial(simulator, GATEWAY_URL + PATH, "gateway")
    assert isinstance(stream, Stream)
    wire = Wire(simulator, stream).say("spl+{}")
    assert wire.hear(0.25) == []
    assert wire.topic("spl", 5) == []
    assert wire.say("spl+{}").topic("spl", 1) != []


def test_opcodes_differ_by_face(simulator: Simulator) -> None:
    assert all(isinstance(frame, bytes) for frame in gateway(simulator).stream.due())
    caller = OAuth1Caller(simulator).sign_in()
    session = json.loads(caller("POST", "/v1/api/tickle").body)["session"]
    url = f"{CLOUD_URL}{PATH}?oauth_token={caller.keys.access_token}"
    stream = dial(simulator, url, "cloud", Cookie=f"api={session}")
    assert isinstance(stream, Stream)
    frames = stream.due()
    assert frames
    assert all(isinstance(frame, str) for frame in frames)


@pytest.mark.parametrize("form", ["api={session}", 'api={{"session":"{session}"}}', "x-sess-uuid=0.1; api={session}"])
def test_oauth_comes_in_by_access_token_and_cookie(simulator: Simulator, form: str) -> None:
    caller = OAuth1Caller(simulator).sign_in()
    session = json.loads(caller("POST", "/v1/api/tickle").body)["session"]
    url = f"{CLOUD_URL}{PATH}?oauth_token={caller.keys.access_token}"
    stream = dial(simulator, url, "cloud", Cookie=form.format(session=session))
    assert isinstance(stream, Stream)
    assert Wire(simulator, stream).hear()[0]["success"] == "simpaper1"


@pytest.mark.parametrize("name", ["bearer_token", "sessionToken"])
def test_oauth2_comes_in_by_either_name(simulator: Simulator, name: str) -> None:
    caller = OAuth2Caller(simulator).sign_in()
    caller("GET", "/v1/api/iserver/accounts")
    session = json.loads(caller("POST", "/v1/api/tickle").body)["session"]
    stream = dial(simulator, f"{CLOUD_URL}{PATH}?{name}={caller.bearer}", "cloud", Cookie=f"api={session}")
    assert isinstance(stream, Stream)
    assert Wire(simulator, stream).hear()[0]["success"] == "simpaper1"


def test_without_a_cookie_the_session_is_asked_for_and_may_be_said(simulator: Simulator) -> None:
    caller = OAuth1Caller(simulator).sign_in()
    session = json.loads(caller("POST", "/v1/api/tickle").body)["session"]
    stream = dial(simulator, f"{CLOUD_URL}{PATH}?oauth_token={caller.keys.access_token}", "cloud")
    assert isinstance(stream, Stream)
    wire = Wire(simulator, stream)
    assert wire.hear()[0] == {"message": "waiting for session"}
    assert wire.say(json.dumps({"session": "0" * 32})).topic("system", 1) == []
    assert wire.say(json.dumps({"session": session})).hear()[0]["success"] == "simpaper1"


@pytest.mark.parametrize(
    ("url", "face", "headers", "status"),
    [
        (f"{CLOUD_URL}{PATH}?oauth_token=nobody", "cloud", {}, 401),
        (f"{CLOUD_URL}{PATH}?bearer_token=nobody", "cloud", {}, 401),
        (f"{CLOUD_URL}{PATH}", "cloud", {}, 401),
        (f"{CLOUD_URL}{PATH}?oauth_token=nobody", "cloud", {"User-Agent": ""}, 403),
        (f"{CLOUD_URL}/v1/portal/ws?oauth_token=nobody", "cloud", {}, 404),
    ],
)
def test_the_upgrade_is_refused(
    simulator: Simulator, url: str, face: str, headers: dict[str, str], status: int
) -> None:
    answer = dial(simulator, url, face, **headers)
    assert isinstance(answer, Outcome)
    assert (answer.status, answer.body) == (status, b"")
    assert "nobody" not in str(simulator.requests[-1])


def test_the_gateway_upgrades_every_path_and_is_silent_there(simulator: Simulator) -> None:
    stream = dial(simulator, GATEWAY_URL + "/v1/portal/ws", "gateway")
    assert isinstance(stream, Stream)
    assert Wire(simulator, stream).say("tic").hear(30) == []


def test_heartbeats_come_every_ten_seconds(simulator: Simulator) -> None:
    assert len(greeted(simulator).topic("system", 60.0)) == 6


def test_tic_is_answered_four_times_and_keeps_the_socket(simulator: Simulator) -> None:
    wire = greeted(simulator)
    replies = wire.say("tic").hear()
    assert len(replies) == 4
    assert replies[0] == replies[3]
    assert replies[0]["alive"] is True
    assert wire.say("ech+hb").hear() == [b"ech+hb"]
    for _ in range(5):
        wire.say("tic").hear(60, step_s=10)
    assert not wire.stream.over
    wire.hear(125, step_s=5)
    assert wire.stream.close_code == 1000


def test_market_data_comes_whole_then_as_what_changed(simulator: Simulator) -> None:
    wire = greeted(simulator)
    frames = wire.say(f'smd+{SPY}+{{"fields":["31","84","86"]}}').topic(f"smd+{SPY}", 5)
    assert frames[0]["conidEx"] == str(SPY)
    assert frames[0]["6509"].startswith("R")
    assert {"31", "84"} <= frames[0].keys() | frames[1].keys()
    for frame in frames[1:]:
        assert {"conid", "_updated", "server_id", "6119", "topic"} <= frame.keys()
        assert not {"conidEx", "6509", "85"} & frame.keys()
    stamps = [frame["_updated"] for frame in frames]
    assert stamps == sorted(stamps)
    assert all(later - sooner >= 500 for sooner, later in itertools.pairwise(stamps))


def test_market_data_ends_silently_and_is_renewed(simulator: Simulator) -> None:
    wire, caller = greeted(simulator), Caller(simulator)
    ask = f'smd+{SPY}+{{"fields":["84","86"]}}'

    def live_for(minutes: int) -> list[Any]:
        found = []
        for _ in range(minutes):
            caller("POST", "/v1/api/tickle")
            found = wire.say("tic").topic(f"smd+{SPY}", 60)
        return found

    wire.say(ask)
    assert live_for(9) != []
    assert "conidEx" in wire.say(ask).topic(f"smd+{SPY}", 2)[0]
    assert live_for(9) != []
    assert live_for(2) == []
    assert "conidEx" in wire.say(ask).topic(f"smd+{SPY}", 2)[0]


def test_market_data_takes_a_line_and_gives_it_back(simulator: Simulator) -> None:
    simulator = make_simulator(market_lines=1)
    wire = greeted(simulator)
    lines = simulator.world.logins.gateway.brokerage.market_lines
    wire.say(f"smd+{SPY}+{{}}").say("smd+265598+{}")
    frames = wire.hear(3)
    assert {f["topic"] for f in frames if "smd" in f["topic"]} == {f"smd+{SPY}"}
    wire.say(f"umd+{SPY}+{{}}").hear()
    assert lines == {}
    wire.say("smd+265598+{}")
    assert wire.topic("smd+265598", 3) != []
    Caller(simulator)("GET", "/v1/api/iserver/marketdata/unsubscribeall")
    wire.hear()
    assert wire.topic("smd+265598", 20) == []


def test_an_order_is_told_row_by_row(simulator: Simulator) -> None:
    wire = greeted(simulator).say("sor+{}")
    assert wire.topic("sor") == []
    order_id = enter(simulator, price=100)
    rows = [frame["args"][0] for frame in wire.topic("sor")]
    assert [row.get("status") for row in rows] == ["Inactive", None, "PendingSubmit", "PreSubmitted", "Submitted"]
    assert rows[0]["sizeAndFills"] == "0/3"
    assert {row["orderId"] for row in rows} == {order_id}
    simulator.control("POST", "fill", {"order_id": order_id, "price": "100", "quantity": 1})
    (part,) = [frame["args"][0] for frame in wire.topic("sor")]
    assert (part["sizeAndFills"], part["filledQuantity"], part["avgPrice"]) == ("1/2", 1.0, "100.00")
    simulator.control("POST", "fill", {"order_id": order_id, "price": "101"})
    last = [frame["args"][0] for frame in wire.topic("sor")][-1]
    assert (last["status"], last["sizeAndFills"]) == ("Filled", "3")


def test_a_cancel_is_told_as_a_full_row_and_a_delta(simulator: Simulator) -> None:
    wire = greeted(simulator)
    order_id = enter(simulator, price=100)
    first = wire.say("sor+{}").topic("sor")
    assert [row["orderId"] for row in first[0]["args"]] == [order_id]
    Caller(simulator)("DELETE", f"/v1/api/iserver/account/{ACCOUNT}/order/{order_id}")
    rows = [frame["args"][0] for frame in wire.topic("sor", 1)]
    assert [row["status"] for row in rows] == ["PendingCancel", "Cancelled"]
    assert "orderDesc" in rows[0]
    assert "orderDesc" not in rows[1]


def test_a_filtered_read_of_the_orders_silences_sor_until_force(simulator: Simulator) -> None:
    wire, caller = greeted(simulator).say("sor+{}"), Caller(simulator)
    caller("GET", "/v1/api/iserver/account/orders?filters=filled")
    enter(simulator, price=100)
    assert wire.topic("sor") == []
    caller("GET", "/v1/api/iserver/account/orders?force=true", wait=6)
    enter(simulator, price=100)
    assert len(wire.topic("sor")) == 5


def test_executions_are_told_twice_and_replayed(simulator: Simulator) -> None:
    wire = greeted(simulator).say('str+{"realtimeUpdatesOnly":false,"days":1}')
    assert wire.topic("str") == [{"topic": "str", "args": []}]
    enter(simulator, "MKT")
    rows = [frame["args"][0] for frame in wire.topic("str", 3)]
    assert len(rows) == 2
    assert rows[0]["execution_id"] == rows[1]["execution_id"]
    assert not {"commission", "order_id"} & rows[0].keys()
    assert Decimal(rows[1]["commission"]) > 0
    replayed = greeted(simulator).say("str+{}").topic("str")
    assert [len(frame["args"]) for frame in replayed] == [0, 1]
    assert greeted(simulator).say('str+{"realtimeUpdatesOnly":true}').topic("str") == [{"topic": "str", "args": []}]


def test_profit_and_loss_is_told_on_change_and_now_and_then(simulator: Simulator) -> None:
    wire = greeted(simulator).say("spl+{}")
    assert len(wire.topic("spl", 29)) == 1
    assert len(wire.topic("spl", 2)) == 1
    enter(simulator, "MKT")
    assert wire.topic("spl", 2)[0]["args"][f"{ACCOUNT}.Core"]["mv"] > 0
    assert wire.say("upl+{}").topic("spl", 60) == []


def test_notices_come_unasked(simulator: Simulator) -> None:
    wire = greeted(simulator)
    simulator.control("POST", "notice", {"username": "simpaper1", "id": "7", "text": "Mind the gap"})
    simulator.control("POST", "notice", {"username": "simpaper2", "text": "not for us"})
    enter(simulator, price=100, tif="GTC")
    texts = [frame["args"][0]["text"] for frame in wire.topic("ntf", 1)]
    assert texts[0] == "Mind the gap"
    assert texts[1].startswith("Order BUY 3 SPY ARCA Limit 100.00 will be automatically canceled at 20270331")


def test_a_login_elsewhere_is_told_and_the_socket_stays(simulator: Simulator) -> None:
    wire = greeted(simulator).say("spl+{}")
    simulator.control("POST", "competing", {"username": "simpaper1"})
    told = [frame["args"] for frame in wire.topic("sts", 1)]
    assert told == [{"competing": True}, {"authenticated": False}, {"message": ""}]
    assert {frame["topic"] for frame in wire.hear(20)} == {"system"}
    assert not wire.stream.over


def test_a_logout_closes(simulator: Simulator) -> None:
    wire = greeted(simulator)
    simulator.control("POST", "login", {"username": "simpaper1", "logged_in": False})
    wire.hear()
    assert wire.stream.close_code == 1000


def test_commands_that_are_not_understood(simulator: Simulator) -> None:
    wire = greeted(simulator)
    assert wire.say("s+md+1").hear() == [{"error": "Topic unknown 's+md+1'", "code": 1}]
    assert wire.say('sor+{"fil').hear() == []
    simulator = make_simulator(malformed_command="error")
    assert greeted(simulator).say('sor+{"fil').hear()[0]["topic"] == "error"
    wire = greeted(simulator)
    for _ in range(21):
        wire.say("spl+{}")
    assert {"error": "Too many requests"} in wire.hear()


def fault(simulator: Simulator, name: str, **rest: Any) -> None:
    simulator.control("POST", "faults", {"fault": name, **rest})


def test_faults_of_sockets(simulator: Simulator) -> None:
    wire = greeted(simulator)
    fault(simulator, "socket-stall", params={"seconds": 30})
    assert wire.hear(29) == []
    assert len(wire.hear(12)) >= 1
    fault(simulator, "socket-close")
    wire.hear()
    assert (wire.stream.close_code, wire.stream.dropped) == (1000, False)
    wire = greeted(simulator)
    fault(simulator, "socket-drop", user="simpaper2")
    wire.hear()
    assert not wire.stream.over
    fault(simulator, "socket-drop", user="simpaper1")
    wire.hear()
    assert wire.stream.dropped


def test_faults_of_frames(simulator: Simulator) -> None:
    wire = greeted(simulator).say("sor+{}")
    statuses = ["Inactive", None, "PendingSubmit", "PreSubmitted", "Submitted"]

    def told(name: str, **rest: Any) -> list[Any]:
        fault(simulator, name, topic="sor", **rest)
        enter(simulator, price=100)
        return [f["args"][0].get("status") if isinstance(f, dict) else f for f in wire.hear()]

    assert told("frame-lose") == statuses[1:]
    assert told("frame-duplicate") == ["Inactive", *statuses]
    assert told("frame-reorder", after=2) == ["Inactive", None, "PreSubmitted", "PendingSubmit", "Submitted"]
    assert told("frame-garbage")[0] == b'{"topic":"sor","args":[{"orderId":'
    assert told("topic-stall", params={"seconds": 5}) == []
    wire.hear(6)
    enter(simulator, price=100)
    assert len(wire.topic("sor")) == 5


def test_the_prompt_of_the_price_algo_comes_as_a_notice() -> None:
    simulator = make_simulator(price_algo_prompt=True, no_data_question=False)
    wire, caller = greeted(simulator), Caller(simulator)
    body = {
        "conid": SPY,
        "side": "BUY",
        "quantity": 1,
        "orderType": "LMT",
        "price": 500,
        "tif": "DAY",
        "acctId": ACCOUNT,
    }
    answer = caller("POST", f"/v1/api/iserver/account/{ACCOUNT}/orders", {"orders": [body]})
    for _ in range(3):
        row = json.loads(answer.body)[0] if isinstance(json.loads(answer.body), list) else {}
        if "id" not in row:
            break
        answer = caller("POST", f"/v1/api/iserver/reply/{row['id']}", {"confirmed": True})
    (frame,) = wire.topic("ntf")
    assert frame["args"][0]["prompt"] is True
    assert frame["args"][0]["messageId"] == "p12"


# --- orders of every kind ---------------------------------------------------------------------------------------------


def place_at(simulator: Simulator, *quotes: tuple[float, float]) -> None:
    """Hold SPY at each of these quotes for two seconds."""
    for bid, ask in quotes:
        simulator.control("POST", "market", {"conid": SPY, "bid": bid, "ask": ask})
        simulator.advance(2)


def test_sor_tells_a_trailing_stop_in_its_display_words_and_its_election() -> None:
    simulator = make_simulator()
    place_at(simulator, (630, 630))
    wire = greeted(simulator)
    wire.say("sor+{}").hear()
    order_id = enter(simulator, "TRAIL", side="SELL", tif="GTC", trailingAmt=2, trailingType="amt")
    rows = [row for frame in wire.topic("sor") for row in frame["args"]]
    assert (rows[0]["orderType"], rows[0]["origOrderType"]) == ("Trailing Stop", "TRAIL")
    assert rows[0]["orderDesc"] == "Sell 3 Trailing Stop 2.00 628.00, GTC"
    assert [row.get("status") for row in rows] == ["Inactive", None, "PendingSubmit", "PreSubmitted"]
    place_at(simulator, (633, 633), (630.5, 630.5))
    rows = [row for frame in wire.topic("sor") for row in frame["args"]]
    assert [row.get("status") for row in rows] == ["Submitted", None, "Filled"]
    assert {row["orderId"] for row in rows} == {order_id}
    assert (rows[1]["sizeAndFills"], rows[1]["avgPrice"]) == ("3", "630.50")


@pytest.mark.parametrize(
    ("kind", "terms", "status"),
    [
        ("MIT", {"price": 600}, "PreSubmitted"),
        ("LIT", {"price": 600, "auxPrice": 601}, "PreSubmitted"),
        ("MOC", {}, "Submitted"),
        ("LOC", {"price": 600}, "Submitted"),
        ("REL", {"price": 600, "auxPrice": 0}, "Submitted"),
        ("MIDPRICE", {"price": 600}, "Submitted"),
    ],
)
def test_sor_and_the_list_agree_on_the_status_after_acceptance(kind: str, terms: dict[str, Any], status: str) -> None:
    simulator = make_simulator()
    wire = greeted(simulator)
    wire.say("sor+{}").hear()
    order_id = enter(simulator, kind, **terms)
    rows = [row for frame in wire.topic("sor") for row in frame["args"]]
    assert rows[-1]["status"] == status
    (listed,) = greeted(simulator).say("sor+{}").topic("sor")
    (row,) = listed["args"]
    assert (row["orderId"], row["status"], row["orderType"]) == (order_id, status, rows[0]["orderType"])


def test_str_tells_each_leg_of_a_combo_and_spl_what_it_is_worth() -> None:
    simulator = make_simulator()
    world = simulator.world
    day = world.calendar.expiries("SPY", world.now.date())[0]
    near, far = (
        world.instruments.option("SPY", day.day, Decimal(strike), "P", day.trading_class) for strike in (620, 615)
    )
    assert near is not None
    assert far is not None
    conidex = f"28812380;;;{near.conid}/1,{far.conid}/-1"
    wire = greeted(simulator)
    wire.say("str+{}").say("spl+{}").hear(1)
    ticket = {"conidex": conidex, "side": "SELL", "quantity": 2, "orderType": "MKT", "tif": "DAY"}
    order_id = simulator.control("POST", "order", {"account": ACCOUNT, "ticket": ticket})["order_id"]
    frames = wire.hear(3)
    told = [row for frame in frames if frame.get("topic") == "str" for row in frame["args"]]
    assert [(row["conid"], row["side"], row["size"]) for row in told[:2]] == [
        (near.conid, "S", 2.0),
        (far.conid, "B", 2.0),
    ]
    complete = [row for row in told if "commission" in row]
    assert {(row["execution_id"], row["order_id"]) for row in complete} == {
        (row["execution_id"], order_id) for row in told[:2]
    }
    worth = [frame["args"][f"{ACCOUNT}.Core"] for frame in frames if frame.get("topic") == "spl"]
    assert worth[-1]["upl"] != 0
    wire.say("sor+{}")
    (row,) = wire.topic("sor")[0]["args"]
    assert (row["conid"], row["conidex"], row["secType"], row["status"]) == (28812380, conidex, "BAG", "Filled")


def test_smd_tells_the_quote_of_a_combo_under_the_name_it_was_asked_by() -> None:
    simulator = make_simulator()
    world = simulator.world
    day = world.calendar.expiries("SPY", world.now.date())[0]
    near, far = (
        world.instruments.option("SPY", day.day, Decimal(strike), "P", day.trading_class) for strike in (620, 615)
    )
    assert near is not None
    assert far is not None
    world.logins.gateway.brokerage.searched_symbols.add("SPY")
    world.logins.gateway.brokerage.accounts_primed = True
    target = f"0;;;{near.conid}/1,{far.conid}/-1"
    wire = greeted(simulator)
    wire.say(f'smd+{target}+{{"fields":["84","86"]}}')
    frames = wire.topic(f"smd+{target}", 5)
    assert frames[0]["conidEx"] == target
    told = {name: value for frame in frames for name, value in frame.items()}
    quote = world.market.quote_of(world.instruments.combo(target), world.now)
    assert (told["84"], told["86"]) == (f"{quote.bid:.2f}", f"{quote.ask:.2f}")
    wire.say(f"umd+{target}+{{}}").hear()
    assert world.logins.gateway.brokerage.market_lines == {}
