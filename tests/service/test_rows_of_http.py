"""Every row of reliability rules §6.1 (bad input over HTTP) as cases that carry its name: what is answered, and why.

Each is refused by its field, nothing is sent to the broker, and no answer tells of ourselves. Rows that need a raw
socket or a client that leaves are further down; what has no such field here (conid alone, trailing amounts, futures)
stands in `NOT_OURS` with the field that takes its place.
"""

from __future__ import annotations

import itertools
import json
import socket
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

import pytest

from ibkit.error_catalogue import CATALOGUE
from service_desks import ORDER, Answered, Served, new_key

LIMIT = {**ORDER, "order_type": "limit", "limit_price": 265}
STOP_LIMIT = {**ORDER, "order_type": "stop_limit", "limit_price": 265, "stop_price": 266}
OPTION = {**ORDER, "symbol": "SPY", "expiry": "20261120", "strike": 629, "right": "P"}
POST = "/broker-order"


@dataclass(frozen=True)
class Case:
    """row: of §6.1. said: what the answer must say, of each a word in its text."""

    row: str
    what: str
    status: int
    code: str = "E-VALIDATION"
    said: tuple[str, ...] = ()
    method: str = "POST"
    path: str = POST
    body: Any = None
    raw: bytes | None = None
    headers: tuple[tuple[str, str], ...] = ()
    token: str | None = "ada"

    def __str__(self) -> str:
        return f"{self.row}: {self.what}"


def order(row: str, what: str, *said: str, status: int = 422, code: str = "E-VALIDATION", **fields: Any) -> Case:
    base = fields.pop("base", ORDER)
    return Case(row, what, status, code, said, body={**base, **fields})


def raw(row: str, what: str, body: bytes, *said: str, status: int = 400) -> Case:
    return Case(row, what, status, said=said, raw=body)


def got(row: str, what: str, path: str, status: int = 422, *said: str, code: str = "E-VALIDATION", **more: Any) -> Case:
    return Case(row, what, status, code, said, method=more.pop("method", "GET"), path=path, **more)


LISTED = "/broker-order?"
CASES = [
    got("authorization", "none", POST, 401, code="E-APP-AUTH", token=None),
    got("authorization", "unknown", POST, 401, code="E-APP-AUTH", token="nobody"),
    got("authorization", "another scheme", POST, 400, token=None, headers=(("Authorization", "Basic YTpi"),)),
    got("authorization", "no token in it", POST, 400, token=None, headers=(("Authorization", "Bearer"),)),
    raw("body", "empty", b"", "empty"),
    raw("body", "not JSON", b"not json", "column"),
    raw("body", "byte order mark", b"\xef\xbb\xbf{}", "byte order mark"),
    raw("body", "UTF-16", json.dumps(ORDER).encode("utf-16"), "UTF-8"),
    raw("body", "lone surrogate", b'{"symbol":"\\ud800"}', "surrogate"),
    raw("body", "NUL", b'{"symbol":"a\\u0000"}', "NUL"),
    raw("body", "trailing bytes", json.dumps(ORDER).encode() + b"x", "column"),
    raw("body", "a member twice", b'{"qty":1,"qty":2}', "twice"),
    raw("body", "depth 33", b"[" * 33 + b"]" * 33, "32"),
    raw("body", "above 256 KiB", b'"' + b"a" * 262_144 + b'"', "262144", status=413),
    raw("body", "NaN", b'{"qty":NaN}', "NaN"),
    raw("body", "Infinity", b'{"qty":-Infinity}', "Infinity"),
    Case(
        "body", "another type", 415, said=("application/json",), raw=b"{}", headers=(("Content-Type", "text/plain"),)
    ),
    order("unknown field", "misspelt", "there is no such field; did you mean stop_loss?", stop_los=1),
    order("unknown field", "of another tenant", "tenant: there is no such field", tenant="other"),
    order("quantity", "0", "qty: it must be above 0", qty=0),
    order("quantity", "-1", "qty: it must be above 0", qty=-1),
    order("quantity", "a text", "qty: Expected a number, got a text", qty="1e9"),
    raw("quantity", "1e400", json.dumps(ORDER).replace('"qty": 1', '"qty": 1e400').encode(), "qty", status=422),
    order("quantity", "half of a share", "qty: it must be a whole number", qty=0.5),
    order("quantity", "true", "qty: Expected", qty=True),
    order("quantity", "full-width", "qty: Expected a number, got a text", qty="\uff11"),
    order("quantity", "29 digits", "qty: it must be at most 1000000", qty=10**28),
    order("price", "0", "limit_price: it must be above 0", base=LIMIT, limit_price=0),
    order("price", "-1", "limit_price: it must be above 0", base=LIMIT, limit_price=-1),
    raw("price", "NaN", b'{"limit_price":NaN}', "NaN"),
    order("price", "missing", "limit_price: it is needed for order_type limit", order_type="limit"),
    order("price", "with a market order", "limit_price: it does not belong to order_type market", limit_price=5),
    order("price", "off its grid", "RC-12", "0.01", "265.12", "265.13", code="E-RISK", base=LIMIT, limit_price=265.123),
    order("side", "with a blank", "action", "buy, sell", action="buy "),
    order("side", "B", "action", "buy, sell", action="B"),
    order("side", "long", "action", "buy, sell", action="long"),
    order("side", "time GTD", "time_in_force", "day, gtc, ioc", time_in_force="GTD"),
    order("side", "type lmt", "order_type", "market, limit, stop, stop_limit", order_type="lmt"),
    order("contract", "unknown", "NOSUCH", status=404, code="E-CONTRACT", symbol="NOSUCH"),
    order("contract", "a number", "symbol: Expected", symbol=756733),
    order("contract", "a conid beyond 2**63", "conid: Expected", conid=2**63),
    order("contract", "a conid of another", "conid: AAPL is found as", conid=1),
    order("contract", "no such expiry", "20261127", code="E-EXPIRY", base=OPTION, expiry="20261122"),
    order("account", "of another", status=404, code="E-NOT-FOUND", account_id="U1234567"),
    order("account", "unknown", status=404, code="E-NOT-FOUND", account_id="DU9999999"),
    order("price logic", "stop-limit without its limit", "limit_price: it is needed", order_type="stop_limit"),
    order("price logic", "stop-limit without a stop", "stop_price: it is needed", base=LIMIT, order_type="stop_limit"),
    order(
        "price logic", "stop on the wrong side", "bracket_stop", "limit_price", "stop_loss", base=LIMIT, stop_loss=270
    ),
    order("bracket", "a profit that is none", "bracket_profit", "take_profit", base=LIMIT, take_profit=260),
    order("bracket", "profit below the stop", "bracket_profit", "stop_loss", take_profit=250, stop_loss=260),
    order("bracket", "child of another size", "child_qty: there is no such field", base=LIMIT, child_qty=2),
    order("bracket", "child with a key of its own", "stop_key: there is no such field", base=LIMIT, stop_key="x"),
    got("path", "two dots", "/broker-order/../admin", 404, code="E-NOT-FOUND"),
    got("path", "two dots encoded", "/broker-order/%2e%2e", 404, code="E-NOT-FOUND"),
    got("path", "two strokes", "//broker-order", 404, code="E-NOT-FOUND"),
    got("path", "an id without end", "/broker-order/" + "x" * 3000, 404, code="E-NOT-FOUND"),
    got("path", "NUL in the id", "/broker-order/ib-%00", 404, code="E-NOT-FOUND"),
    got("method", "PUT", POST, 405, method="PUT"),
    got("method", "TRACE", POST, 405, method="TRACE"),
    got("method", "GET of a POST", "/broker-order/preview", 405),
    got("filter", "limit -1", LISTED + "limit=-1", 422, "limit"),
    got("filter", "limit 1e9", LISTED + "limit=1e9", 422, "limit"),
    got("filter", "limit 1000000000", LISTED + "limit=1000000000", 422, "limit"),
    got("filter", "cursor", LISTED + "cursor=garbage", 422, "cursor"),
    got("filter", "year 0", LISTED + "since=0000-01-01", 422, "since"),
    got("filter", "30 February", LISTED + "since=2026-02-30", 422, "since"),
    got("filter", "twice", LISTED + "limit=1&limit=2", 422, "limit: it stands twice"),
]  # fmt: skip
NOT_OURS = {
    "conid alone": "symbol, expiry, strike and right name the contract; conid only says which one is meant by them",
    "trailing": "no trailing orders over HTTP yet",
    "manual_indicator": "no futures over HTTP yet: symbol and sec_type admit none",
    "dates reversed": "only `since`",
}


def asked(service: Served, case: Case) -> Answered:
    writes = case.method in ("POST", "PUT", "PATCH")
    headers = dict(case.headers)
    return service.ask(
        case.method,
        case.path,
        case.body,
        raw=case.raw,
        key=new_key() if writes else None,
        token=case.token,
        headers=headers,
    )


@pytest.mark.requirement("GWY-04", "GWY-11", "ERR-01", "ERR-02")
@pytest.mark.parametrize("case", CASES, ids=str)
def test_bad_input_is_refused_by_its_row(mock_service: Served, case: Case) -> None:
    sent = len(mock_service.sent())
    answer = asked(mock_service, case)
    assert (answer.status, answer.code) == (case.status, case.code), answer.raw
    text = answer.raw.decode()
    for word in case.said:
        assert word in text, text
    told = answer.json["error"]
    assert told["message"]
    assert told["remedy"]
    assert told["trace_id"] == answer.headers["x-trace-id"]
    assert answer.code in CATALOGUE
    assert "Traceback" not in text
    assert len(mock_service.sent()) == sent
    if case.status == 405:
        assert answer.headers["allow"]


def test_every_row_has_a_case() -> None:
    rows = {case.row for case in CASES}
    assert rows == {
        "authorization", "body", "unknown field", "quantity", "price", "side", "contract", "account", "price logic",
        "bracket", "path", "method", "filter",
    }  # fmt: skip
    assert NOT_OURS.keys().isdisjoint(ORDER)


@pytest.mark.requirement("GWY-02")
def test_a_missing_and_an_unknown_token_are_told_alike(mock_service: Served) -> None:
    answers = [mock_service.ask("GET", POST, token=token) for token in (None, "nobody", "a.b.c")]
    bodies = {answer.raw.replace(answer.json["error"]["trace_id"].encode(), b"") for answer in answers}
    assert len(bodies) == 1


@pytest.mark.parametrize("accept", ["text/xml", "application/xml;q=1", "nonsense", "image/*"])
def test_whatever_a_client_accepts_it_gets_json(mock_service: Served, accept: str) -> None:
    """As the guide says: there is one form, and no negotiation about it."""
    for path, kind in (("/api/brokers", "application/json"), ("/nothing", "application/problem+json")):
        answer = mock_service.ask("GET", path, headers={"Accept": accept})
        assert answer.status in (200, 404)
        assert answer.headers["content-type"] == kind


ADA = "Authorization: Bearer ada"
BODY = json.dumps(LIMIT)
TWICE = [
    *itertools.product([(ADA, ADA), (ADA, "authorization: bearer bob")], [("Idempotency-Key: {key}",)], [200]),
    *itertools.product([(ADA,)], [("Idempotency-Key: {key}", "Idempotency-Key: {key}")], [200]),
    *itertools.product([(ADA,)], [("Idempotency-Key: {key}", "idempotency-key: other-0123456789abcdef")], [200]),
]
FRAMED = [
    ("two lengths", ["Content-Length: 5", "Content-Length: 6"]),
    ("two equal lengths that differ from the body", ["Content-Length: 3", "Content-Length: 3"]),
    ("a length and chunks", ["Content-Length: 5", "Transfer-Encoding: chunked"]),
    ("a negative length", ["Content-Length: -1"]),
    ("a length with a sign", ["Content-Length: +5"]),
    ("a length in hex", ["Content-Length: 0x5"]),
    ("a length that is a list", ["Content-Length: 5, 5"]),
    ("a length of a hundred digits", ["Content-Length: " + "9" * 100]),
    ("an unknown coding", ["Transfer-Encoding: gzip"]),
    ("chunked twice", ["Transfer-Encoding: chunked, chunked"]),
    ("chunked in disguise", ["Transfer-Encoding: xchunked"]),
    ("chunked behind a tab", ["Transfer-Encoding:\tchunked", "Content-Length: 5"]),
    ("a blank before the colon", ["Content-Length : 5"]),
    ("a folded header", ["X: a", " Content-Length: 5"]),
    ("a line feed alone", ["X: a\nContent-Length: 5"]),
    ("a carriage return alone", ["X: a\rY: b"]),
    ("NUL in a value", ["X: a\0b"]),
    ("no name", [": x"]),
    ("a name with a bracket", ["X[1]: a"]),
]


def say(service: Served, head: list[str], body: bytes = b"") -> bytes:
    """What a raw request is answered, whole; empty where the connection was closed without a word."""
    where = urlsplit(service.address)
    with socket.create_connection((where.hostname or "", where.port or 0), timeout=20) as call:
        call.sendall("\r\n".join([*head, "", ""]).encode("latin-1") + body)
        call.shutdown(socket.SHUT_WR)
        said = b""
        try:
            while part := call.recv(65_536):
                said += part
        except ConnectionError:
            pass
        return said


@pytest.mark.requirement("GWY-02", "GWY-03")
@pytest.mark.parametrize(("tokens", "keys"), [(tokens, keys) for tokens, keys, _ in TWICE])
def test_a_header_that_stands_twice_is_400(
    mock_service: Served, tokens: tuple[str, ...], keys: tuple[str, ...]
) -> None:
    sent = len(mock_service.sent())
    lines = [*tokens, *(each.format(key=new_key()) for each in keys), "Content-Type: application/json"]
    head = ["POST /broker-order HTTP/1.1", "Host: x", "Connection: close", *lines, f"Content-Length: {len(BODY)}"]
    assert say(mock_service, head, BODY.encode()).startswith(b"HTTP/1.1 400 ")
    assert len(mock_service.sent()) == sent


@pytest.mark.parametrize(("what", "lines"), FRAMED, ids=[what for what, _ in FRAMED])
def test_a_request_whose_end_is_in_doubt_is_answered_once_and_the_rest_is_no_request(
    mock_service: Served, what: str, lines: list[str]
) -> None:
    """Behind each stands an order that a second parser might see; it must never be placed (TM-47)."""
    sent = len(mock_service.sent())
    smuggled = (
        f"POST /broker-order HTTP/1.1\r\nHost: x\r\n{ADA}\r\nIdempotency-Key: {new_key()}\r\n"
        f"Content-Type: application/json\r\nContent-Length: {len(BODY)}\r\n\r\n{BODY}"
    )
    said = say(mock_service, ["POST /livez HTTP/1.1", "Host: x", *lines], b"hello" + smuggled.encode())
    assert b"HTTP/1.1 5" not in said
    assert b"HTTP/1.1 201" not in said, said
    assert len(mock_service.sent()) == sent
