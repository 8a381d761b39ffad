"""Changes of orders and quotes as they come: server-sent events and WebSockets."""

from __future__ import annotations

import contextlib
import http.client
import json
import socket as sockets
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlsplit

import pytest
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import ClientConnection, connect

from gateway_service import at_the_gateway, order
from ibkit.bootstrap import quote_lines
from ibkit.errors import Unreachable
from ibkit.service import events, order_events
from people import account, person
from service_desks import Served, new_key, until

AAPL = 265598


class Listener:
    """Reads one stream in a thread."""

    def __init__(
        self, service: Served, token: str, query: str = "", path: str = "/broker-order/events", **headers: str
    ) -> None:
        where = urlsplit(service.address)
        self.call = http.client.HTTPConnection(where.hostname or "", where.port, timeout=30)
        self.call.request("GET", f"{path}{query}", headers={"Authorization": f"Bearer {token}", **headers})
        self._line = self.call.sock
        self.answer = self.call.getresponse()
        self.told: list[dict[str, Any]] = []
        self.ids: list[str] = []
        self.ended = False
        self.came = threading.Condition()
        threading.Thread(target=self._read, daemon=True).start()

    def _read(self) -> None:
        try:
            for line in self.answer:
                with self.came:
                    if line.startswith(b"id: "):
                        self.ids.append(line[4:].decode().strip())
                    if line.startswith(b"data: "):
                        self.told.append(json.loads(line[6:]))
                        self.came.notify_all()
        except (OSError, ValueError, AttributeError, http.client.HTTPException):
            pass  # closed
        with self.came:
            self.ended = True
            self.came.notify_all()

    def wait(self, wanted: Any) -> bool:
        with self.came:
            return self.came.wait_for(lambda: any(wanted(each) for each in self.told), timeout=15)

    def close(self) -> None:
        with contextlib.suppress(OSError):  # else closing waits for the reader, and that for the next heartbeat
            self._line.shutdown(sockets.SHUT_RDWR)
        self.call.close()


@contextmanager
def listening(service: Served, token: str, query: str = "", **more: str) -> Iterator[Listener]:
    found = Listener(service, token, query, **more)
    try:
        yield found
    finally:
        found.close()


def address(service: Served, path: str) -> str:
    return service.address.replace("http://", "ws://") + path


def by_header(token: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}"}


def socket(service: Served, path: str, token: str | None = "ada", **more: Any) -> ClientConnection:
    headers = {} if token is None else by_header(token)
    return connect(address(service, path), additional_headers=headers, close_timeout=1, **more)


def heard(line: ClientConnection, wanted: Any) -> dict[str, Any]:
    """The first event that is wanted."""
    while not wanted(told := json.loads(line.recv(timeout=15))):
        pass
    return told


def refused(line: ClientConnection) -> tuple[int, str]:
    """The closing code, and that of the error frame before it."""
    told = json.loads(line.recv(timeout=15))
    with pytest.raises(ConnectionClosed) as closed:
        line.recv(timeout=15)
    assert closed.value.rcvd is not None
    assert told["data"]["message"]
    return closed.value.rcvd.code, told["data"]["code"]


# -- orders -----------------------------------------------------------------------------------------------------------


@pytest.mark.requirement("GWY-06", "GWY-07")
def test_a_listener_is_told_of_its_users_orders_and_of_no_one_elses(mock_service: Served) -> None:
    for name in ("hears", "deaf"):
        mock_service.people.holders[name] = person(name)
    with listening(mock_service, "hears") as ours, listening(mock_service, "deaf") as theirs:
        assert ours.answer.getheader("Content-Type", "").startswith("text/event-stream")
        assert ours.answer.getheader("Cache-Control") == "no-store"
        order = mock_service.order(token="hears", qty=11)
        assert ours.wait(lambda each: each["id"] == order.data["id"] and each["status"] == "filled"), ours.told
        assert theirs.told == []
        since = order.data["created_at"]
        with listening(mock_service, "hears", f"?since={since.replace('+', '%2B')}") as later:
            assert later.wait(lambda each: each["id"] == order.data["id"])


@pytest.mark.requirement("GWY-06")
def test_a_stream_goes_on_after_the_last_event_that_was_heard(
    mock_service: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also where more orders changed meanwhile than one look reads."""
    monkeypatch.setattr(order_events, "_MOST_AT_ONCE", 2)
    mock_service.people.holders["again"] = person("again")
    with listening(mock_service, "again") as first:
        heard_of = mock_service.order(token="again", order_type="limit", limit_price=260.5).data["id"]
        assert first.wait(lambda each: each["id"] == heard_of)
        last = first.ids[-1]
    assert last.startswith("mock=")
    missed = {
        mock_service.order(token="again", order_type="limit", limit_price=price).data["id"]
        for price in (260.6, 260.7, 260.8, 260.9, 261.1)
    }
    with listening(mock_service, "again", **{"Last-Event-ID": last}) as second:
        for each in missed:
            assert second.wait(lambda told, each=each: told["id"] == each), each


@pytest.mark.requirement("GWY-06")
def test_a_change_of_an_order_is_told_with_its_new_terms_and_stays_with_it(mock_service: Served) -> None:
    mock_service.people.holders["changes"] = person("changes")
    placed = mock_service.order(token="changes", order_type="limit", limit_price=262.35)
    path = f"/broker-order/{placed.data['id']}"
    with listening(mock_service, "changes") as stream:
        changed = mock_service.ask("PATCH", path, {"limit_price": 262.4}, key=new_key(), token="changes")
        assert changed.status == 200, changed.raw
        assert stream.wait(lambda each: (each["id"], each["price"]) == (placed.data["id"], 262.4)), stream.told
        mock_service.ask("DELETE", path, token="changes")
        assert stream.wait(lambda each: (each["status"], each["price"]) == ("cancelled", 262.4)), stream.told


@pytest.mark.requirement("GWY-06", "GWY-02")
def test_a_websocket_tells_the_same_orders_by_header_or_by_the_first_message(mock_service: Served) -> None:
    for name in ("wire", "page"):
        mock_service.people.holders[name] = person(name)
    with (
        socket(mock_service, "/broker-order/events", "wire") as program,
        socket(mock_service, "/api/broker-order/events", None) as page,
    ):
        page.send(json.dumps({"token": "page"}))
        for line, name in ((program, "wire"), (page, "page")):
            placed = mock_service.order(token=name, qty=7).data["id"]
            told = heard(line, lambda each: each["data"]["status"] == "filled")
            assert (told["event"], told["data"]["id"]) == ("order", placed)
            assert told["id"].startswith("mock=")
    with socket(mock_service, f"/broker-order/events?since={quote(told['id'])}", "page") as later:
        assert heard(later, lambda each: True)["data"]["id"] == placed


@pytest.mark.requirement("GWY-02")
@pytest.mark.parametrize("path", ["/broker-order/events", "/quotes/events?symbols=AAPL"])
def test_a_stream_needs_a_token_that_is_not_in_its_address(mock_service: Served, path: str) -> None:
    assert mock_service.ask("GET", path, token=None).status == 401
    more = "&" if "?" in path else "?"
    named = mock_service.ask("GET", f"{path}{more}token=ada", token=None)
    assert named.status == 401
    with socket(mock_service, path, "nobody") as line:
        assert refused(line) == (4401, "E-APP-AUTH")
    with socket(mock_service, f"{path}{more}access_token=ada") as line:
        assert refused(line) == (4400, "E-VALIDATION")
    for first in ('{"token": "nobody"}', '{"token": "ada" ', "[]", '{"token": 3}', "[" * 9_000):
        with socket(mock_service, path, None) as line:
            line.send(first)
            assert refused(line) in ((4401, "E-APP-AUTH"), (4400, "E-VALIDATION")), first


@pytest.mark.requirement("GWY-02")
def test_who_says_nothing_is_not_waited_for(mock_service: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ibkit.service.events.TOKEN_WITHIN_S", 0.2)
    with socket(mock_service, "/broker-order/events", None) as line:
        assert refused(line) == (4401, "E-APP-AUTH")


@pytest.mark.requirement("GWY-02")
def test_a_stream_ends_with_the_token_that_opened_it(mock_service: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ibkit.service.events.ASK_AGAIN_S", 0.2)
    mock_service.people.holders["gone"] = person("gone")
    with (
        listening(mock_service, "gone") as sse,
        socket(mock_service, "/broker-order/events", "gone") as line,
    ):
        del mock_service.people.holders["gone"]
        assert refused(line) == (4401, "E-APP-AUTH")
        assert sse.wait(lambda each: each.get("code") == "E-APP-AUTH")
        until(lambda: sse.ended)


@pytest.mark.requirement("GWY-10")
def test_a_page_of_another_origin_may_not_listen(mock_service: Served) -> None:
    with socket(mock_service, "/broker-order/events", origin="https://evil.example") as line:
        assert refused(line) == (4403, "E-FORBIDDEN")


@pytest.mark.requirement("GWY-11")
def test_messages_that_nobody_asked_for_and_streams_beyond_ten_are_refused(mock_service: Served) -> None:
    mock_service.people.holders["many"] = person("many")
    with ExitStack() as stack:
        lines = [stack.enter_context(socket(mock_service, "/broker-order/events", "many")) for _ in range(10)]
        until(lambda: mock_service.ask("GET", "/broker-order/events?since=never", token="many").status == 429)
        with socket(mock_service, "/broker-order/events", "many") as line:
            assert refused(line) == (4429, "E-RATE")
        lines[0].send('{"subscribe": "everything"}')
        assert refused(lines[0]) == (4400, "E-VALIDATION")
        lines[1].send("x" * 20_000)
        with pytest.raises(ConnectionClosed):
            lines[1].recv(timeout=15)

    def opens() -> bool:
        with socket(mock_service, "/broker-order/events", "many") as line:
            try:
                line.recv(timeout=0.2)
            except TimeoutError:
                return True
        return False

    until(opens)


def test_a_stream_needs_a_moment_that_is_one(mock_service: Served) -> None:
    for since in ("yesterday", "mock=yesterday", "=", "mock=2026-11-20;"):
        answer = mock_service.ask("GET", f"/broker-order/events?since={since}")
        assert (answer.status, answer.fields) == (422, ["since"]), since


@pytest.mark.requirement("SEC-03")
def test_an_address_that_may_not_connect_opens_no_websocket(mock_service: Served) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("ibkit.service.door.Addresses.allows", lambda self, address: False)
        with pytest.raises(InvalidStatus) as caught:
            socket(mock_service, "/broker-order/events")
    assert caught.value.response.status_code == 403


# -- quotes -----------------------------------------------------------------------------------------------------------


def priced(told: dict[str, Any]) -> bool:
    return told["bid"] is not None and told["ask"] is not None


@pytest.mark.requirement("GWY-08", "FUT-02")
def test_quotes_of_the_mock_broker_come_by_symbol_and_by_number(mock_service: Served) -> None:
    with listening(mock_service, "ada", f"?symbols=spy&conids={AAPL}", path="/quotes/events") as stream:
        assert stream.wait(lambda each: each["symbol"] == "SPY" and priced(each)), stream.told
        assert stream.wait(lambda each: each["conid"] == AAPL and priced(each)), stream.told
        told = next(each for each in stream.told if priced(each))
        assert (told["broker"], told["availability"]) == ("mock", "real_time")
        assert 0 < told["bid"] <= told["ask"]
    with socket(mock_service, "/api/quotes/events?symbols=AAPL&broker=mock") as line:
        told = heard(line, lambda each: priced(each["data"]))
        assert (told["event"], told["data"]["symbol"]) == ("quote", "AAPL")


@pytest.mark.requirement("GWY-05", "GWY-08", "FUT-02")
def test_on_the_gateway_quotes_and_orders_come_over_both_ways(tmp_path: Path) -> None:
    with at_the_gateway(tmp_path) as service:
        with (
            listening(service, "ada", "?symbols=AAPL", path="/quotes/events") as sse,
            socket(service, "/quotes/events?symbols=AAPL,SPY") as line,
            socket(service, "/broker-order/events") as orders,
        ):
            assert sse.wait(priced), sse.told
            assert heard(line, lambda each: each["data"]["symbol"] == "SPY" and priced(each["data"]))
            placed = order(service, qty=2)
            told = heard(orders, lambda each: each["data"]["status"] == "filled")
            assert told["data"]["id"] == placed.data["id"]
            first = len(sse.told)
            assert service.world is not None
            until(lambda: len(sse.told) > first)
        broken = service.ask("GET", "/quotes/events?symbols=NOSUCH")
        assert (broken.status, broken.code) == (404, "E-CONTRACT"), broken.raw


@pytest.mark.requirement("GWY-05")
def test_quotes_without_a_login_are_refused_with_its_cause(tmp_path: Path) -> None:
    with at_the_gateway(tmp_path, "not-authenticated") as service:
        answer = service.ask("GET", "/quotes/events?symbols=AAPL")
        assert (answer.status, answer.code) == (424, "E-GW-NOAUTH"), answer.raw


@pytest.mark.requirement("GWY-05", "ERR-02")
def test_a_stream_that_the_broker_does_not_open_says_so_and_ends(
    mock_service: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def refuses(self: quote_lines.QuoteLines) -> None:
        raise Unreachable("the stream of quotes did not open in time")

    monkeypatch.setattr(quote_lines.QuoteLines, "_opened", refuses)
    with listening(mock_service, "ada", "?symbols=AAPL", path="/quotes/events") as sse:
        assert sse.wait(lambda each: each.get("code") == "E-API-CONNECT"), sse.told
        until(lambda: sse.ended)
    with socket(mock_service, "/quotes/events?symbols=AAPL") as line:
        assert refused(line) == (1011, "E-API-CONNECT")


@pytest.mark.requirement("GWY-04")
@pytest.mark.parametrize(
    ("query", "fields"),
    [
        ("", ["symbols"]),
        ("?symbols=A$", ["symbols"]),
        ("?symbols=" + "A" * 13, ["symbols"]),
        ("?conids=x", ["conids"]),
        ("?conids=0", ["conids"]),
        ("?conids=9223372036854775808", ["conids"]),
        ("?conids=1&colour=red", ["colour"]),
    ],
)
def test_what_names_no_contract_is_422(mock_service: Served, query: str, fields: list[str]) -> None:
    answer = mock_service.ask("GET", f"/quotes/events{query}")
    assert (answer.status, answer.fields) == (422, fields), answer.raw


@pytest.mark.requirement("GWY-11")
def test_lines_are_bounded_for_each_user_and_for_the_login(
    mock_service: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("greedy", "modest"):
        mock_service.people.holders[name] = person(name)
    many = ",".join(str(1_000 + number) for number in range(20))
    with listening(mock_service, "greedy", f"?conids={many},{AAPL}", path="/quotes/events") as first:
        assert first.wait(priced)
        with listening(mock_service, "greedy", f"?conids={many},{AAPL}", path="/quotes/events") as tab:
            assert tab.wait(priced), "the same contracts in a second tab are the same lines"
        more = ",".join(str(2_000 + number) for number in range(20))
        late = mock_service.ask("GET", f"/quotes/events?conids={more}", token="greedy")
        assert (late.status, late.code) == (429, "E-RATE")
        monkeypatch.setattr(quote_lines, "MOST_LINES", 25)
        others = ",".join(str(number) for number in range(1, 9))
        other = mock_service.ask("GET", f"/quotes/events?conids={others}", token="modest")
        assert (other.status, other.code) == (429, "E-RATE")
        with listening(mock_service, "modest", f"?conids={AAPL}", path="/quotes/events") as shared:
            assert shared.wait(priced), "a line that is there already costs nothing"


@pytest.mark.requirement("GWY-02", "GWY-09")
def test_a_viewer_may_listen_and_a_token_without_scope_may_not(mock_service: Served) -> None:
    mock_service.people.holders["bare"] = person("bare", scopes=frozenset())
    mock_service.people.holders["confined"] = person("confined", accounts=account("DU7777777"))
    assert mock_service.ask("GET", "/broker-order/events", token="bare").status == 403
    with socket(mock_service, "/quotes/events?symbols=AAPL", "bare") as line:
        assert refused(line) == (4403, "E-FORBIDDEN")
    with listening(mock_service, "confined") as stream:
        mock_service.people.holders["free"] = person("confined")
        placed = mock_service.order(token="free", qty=12).data["id"]
        with listening(mock_service, "free", "?since=2026-11-20") as own:
            assert own.wait(lambda each: each["id"] == placed)
        assert stream.told == [], "an order of another account than the token's"


@pytest.mark.requirement("GWY-11")
def test_a_reader_that_stops_reading_is_cut_off_and_holds_nobody_up(
    mock_service: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    cut: list[int] = []
    whole = events._close

    async def close(socket: Any, code: int, reason: str) -> None:
        cut.append(code)
        await whole(socket, code, reason)

    monkeypatch.setattr(events, "SEND_WITHIN_S", 0.5)
    monkeypatch.setattr(events, "_close", close)
    monkeypatch.setattr(events, "_frame", lambda event: "x" * 4_000_000)  # no buffer takes many of these
    mock_service.people.holders["slow"] = person("slow")
    with socket(mock_service, "/quotes/events?symbols=AAPL,SPY", "slow", max_size=2**30, max_queue=1):
        with listening(mock_service, "ada", "?symbols=AAPL", path="/quotes/events") as quick:
            assert quick.wait(priced)
        until(lambda: 4408 in cut)


@pytest.mark.requirement("GWY-11")
def test_a_reader_of_server_sent_events_that_stops_reading_frees_its_seat(
    mock_service: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(events, "SEND_WITHIN_S", 3.0)
    monkeypatch.setattr(events, "_sse", lambda event: b"x" * 4_000_000)
    mock_service.people.holders["stuck"] = person("stuck")
    where = urlsplit(mock_service.address)
    calls = []
    try:
        for _ in range(events.MOST_LISTENERS):
            call = http.client.HTTPConnection(where.hostname or "", where.port, timeout=30)
            call.request("GET", "/quotes/events?symbols=AAPL", headers=by_header("stuck"))
            calls.append(call)

        def status() -> int:
            """429 without a seat; with one, 422 for naming nothing."""
            return mock_service.ask("GET", "/quotes/events", token="stuck").status

        until(lambda: status() == 429)
        until(lambda: status() == 422)
    finally:
        for call in calls:
            call.close()
