"""What is refused before anything is stored: bodies, headers, addresses. Each by its field, never with a traceback."""

from __future__ import annotations

import http.client
import json
from urllib.parse import urlsplit

import msgspec
import pytest

from canaries import laid_bare
from ibkit.error_catalogue import CATALOGUE
from ibkit.errors import ConfigError
from ibkit.service.alert_documents import AlertChannelForm
from ibkit.service.flex_token import FlexTokenForm
from ibkit.service.order_wish import OrderWish
from ibkit.service.people_forms import LinkForm, SignInForm
from ibkit.service.reading import read_struct
from service_desks import ORDER, Served, new_key

LIMIT = {**ORDER, "order_type": "limit", "limit_price": 265}
OPTION = {**ORDER, "symbol": "SPY", "expiry": "20261120", "strike": 629, "right": "P"}

BAD: list[tuple[dict, set[str]]] = [
    ({**ORDER, "qty": 0}, {"qty"}),
    ({**ORDER, "qty": -1}, {"qty"}),
    ({**ORDER, "qty": "1e9"}, {"qty"}),
    ({**ORDER, "qty": 0.5}, {"qty"}),
    ({**ORDER, "qty": True}, {"qty"}),
    ({**ORDER, "qty": "１"}, {"qty"}),
    ({**ORDER, "qty": 10**28}, {"qty"}),
    ({**ORDER, "qty": 1_000_001}, {"qty"}),
    ({**ORDER, "symbol": ""}, {"symbol"}),
    ({**ORDER, "symbol": "TOO LONG SYMBOL"}, {"symbol"}),
    ({**ORDER, "symbol": "A$PL"}, {"symbol"}),
    ({**ORDER, "symbol": " AAPL"}, {"symbol"}),
    ({**ORDER, "action": "buy "}, {"action"}),
    ({**ORDER, "action": "long"}, {"action"}),
    ({**ORDER, "order_type": "lmt"}, {"order_type"}),
    ({**ORDER, "time_in_force": "GTD"}, {"time_in_force"}),
    ({**ORDER, "limit_price": 5}, {"limit_price"}),
    ({**ORDER, "stop_price": 5}, {"stop_price"}),
    ({**ORDER, "order_type": "limit"}, {"limit_price"}),
    ({**ORDER, "order_type": "stop"}, {"stop_price"}),
    ({**ORDER, "order_type": "stop_limit"}, {"limit_price", "stop_price"}),
    ({**LIMIT, "limit_price": 0}, {"limit_price"}),
    ({**LIMIT, "limit_price": -1}, {"limit_price"}),
    ({**LIMIT, "limit_price": "265"}, {"limit_price"}),
    ({**LIMIT, "take_profit": 260}, {"take_profit"}),
    ({**LIMIT, "stop_loss": 270}, {"stop_loss"}),
    ({**ORDER, "take_profit": 250, "stop_loss": 260}, {"take_profit"}),
    ({**ORDER, "quantiy": 1}, {"quantiy"}),
    ({**ORDER, "tenant": "other", "status": "filled", "risk_override": True}, {"tenant", "status", "risk_override"}),
    ({"broker": "mock"}, {"action", "symbol", "qty"}),
    ({**OPTION, "right": None}, {"right"}),
    ({**OPTION, "expiry": "20260230"}, {"expiry"}),
    ({**OPTION, "right": "PUT"}, {"right"}),
    ({**ORDER, "account_id": "../x"}, {"account_id"}),
    ({**ORDER, "confirm": "o163"}, {"confirm"}),
    (
        {**ORDER, "qty": 0, "action": "long", "limit_price": 3, "colour": "red"},
        {"qty", "action", "limit_price", "colour"},
    ),
]


@pytest.mark.requirement("GWY-04")
@pytest.mark.parametrize(("body", "fields"), BAD)
def test_all_that_is_wrong_with_a_body_is_told_by_field_and_nothing_is_kept(
    mock_service: Served, body: dict, fields: set[str]
) -> None:
    sent, key = len(mock_service.sent()), new_key()
    answer = mock_service.ask("POST", "/broker-order", body, key=key)
    assert (answer.status, answer.code) == (422, "E-VALIDATION"), answer.raw
    assert set(answer.fields) == fields
    assert len(mock_service.sent()) == sent
    kept = mock_service.ask("GET", "/broker-order?limit=200").data
    assert key not in {each["idempotency_key"] for each in kept}


@pytest.mark.requirement("GWY-04")
@pytest.mark.parametrize(
    ("given", "name"), [("BRK B", "BRK B"), ("BRK.B", "BRK B"), ("brk.b", "BRK B"), ("aapl", "AAPL"), ("A", "A")]
)
def test_a_symbol_may_be_written_with_dot_or_blank_and_in_small_letters(given: str, name: str) -> None:
    assert OrderWish.read({**ORDER, "symbol": given}).name == name


def test_a_misspelt_field_is_told_what_was_meant_and_a_choice_what_there_is(mock_service: Served) -> None:
    answer = mock_service.ask(
        "POST", "/broker-order", {**ORDER, "quantity": 3, "sidde": 1, "action": "B"}, key=new_key()
    )
    told = {each["field"]: each["message"] for each in answer.json["error"]["details"]["errors"]}
    assert "buy, sell" in told["action"]
    near = mock_service.ask("POST", "/broker-order", {**ORDER, "limit_prize": 3}, key=new_key())
    assert "did you mean limit_price?" in near.json["error"]["details"]["errors"][0]["message"]


@pytest.mark.requirement("GWY-04", "GWY-11")
@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"not json",
        b"[]x",
        b'\xef\xbb\xbf{"broker":"mock"}',
        json.dumps(ORDER).encode("utf-16"),
        b'{"broker":"\\ud800"}',
        b'{"broker":"a\\u0000"}',
        b'{"broker":"mock","broker":"ibkr"}',
        b'{"qty":NaN}',
        b'{"qty":Infinity}',
        b'{"qty":1e99999}',
        b'{"qty":' + b"9" * 5000 + b"}",
        b"[" * 40 + b"]" * 40,
        b"[" * 100_000,
        b'{"a":' * 40 + b"1" + b"}" * 40,
        json.dumps(ORDER).encode() + b"{}",
        b"\xff\xfe",
    ],
)
def test_a_body_that_can_be_read_in_no_way_or_in_two_is_400(mock_service: Served, raw: bytes) -> None:
    answer = mock_service.ask("POST", "/broker-order", key=new_key(), raw=raw)
    assert (answer.status, answer.code) == (400, "E-VALIDATION"), answer.raw


@pytest.mark.requirement("GWY-04")
@pytest.mark.parametrize(
    "raw", [b"[]", b"null", b"3", b'"order"', b"true", b'{"broker":"mock","action":"buy","symbol":"AAPL","qty":1e300}']
)
def test_json_that_is_no_order_is_422(mock_service: Served, raw: bytes) -> None:
    answer = mock_service.ask("POST", "/broker-order", key=new_key(), raw=raw)
    assert (answer.status, answer.code) == (422, "E-VALIDATION"), answer.raw


@pytest.mark.requirement("GWY-11")
@pytest.mark.parametrize(
    "kind", ["text/plain", "application/x-www-form-urlencoded", "application/json; charset=utf-16", ""]
)
def test_what_is_not_json_by_its_type_is_415(mock_service: Served, kind: str) -> None:
    answer = mock_service.ask(
        "POST", "/broker-order", key=new_key(), raw=json.dumps(ORDER).encode(), headers={"Content-Type": kind}
    )
    assert (answer.status, answer.code) == (415, "E-VALIDATION"), answer.raw


@pytest.mark.requirement("GWY-11")
def test_a_body_above_256_kib_is_413_also_without_a_length(mock_service: Served) -> None:
    large = json.dumps({**ORDER, "symbol": "A" * 300_000}).encode()
    assert mock_service.ask("POST", "/broker-order", key=new_key(), raw=large).status == 413
    where = urlsplit(mock_service.address)
    call = http.client.HTTPConnection(where.hostname or "", where.port, timeout=20)
    headers = {"Authorization": "Bearer ada", "Idempotency-Key": new_key(), "Content-Type": "application/json"}
    call.request("POST", "/broker-order", iter([large[:100_000], large[100_000:]]), headers, encode_chunked=True)
    assert call.getresponse().status == 413
    call.close()


@pytest.mark.requirement("GWY-02", "ERR-02")
def test_every_missing_unknown_or_odd_token_is_401_with_one_and_the_same_body(mock_service: Served) -> None:
    bodies = set()
    for token in (None, "nobody", "a.b.c", "x" * 9000, "ada "):
        headers = {} if token is None else {"Authorization": f"Bearer {token}"}
        answer = mock_service.ask("GET", "/broker-order", token=None, headers=headers)
        if token == "ada ":
            assert answer.status == 200
            continue
        assert (answer.status, answer.headers["www-authenticate"]) == (401, "Bearer")
        bodies.add(answer.raw.replace(answer.json["error"]["trace_id"].encode(), b""))
    assert len(bodies) == 1


@pytest.mark.requirement("GWY-02", "GWY-03")
def test_headers_that_stand_twice_or_have_no_form_are_400(mock_service: Served) -> None:
    where = urlsplit(mock_service.address)

    def status(*headers: tuple[str, str]) -> int:
        call = http.client.HTTPConnection(where.hostname or "", where.port, timeout=20)
        body = json.dumps(ORDER).encode()
        call.putrequest("POST", "/broker-order")
        for name, value in (*headers, ("Content-Type", "application/json"), ("Content-Length", str(len(body)))):
            call.putheader(name, value)
        call.endheaders(body)
        answer = call.getresponse()
        assert json.loads(answer.read())["error"]["code"] == "E-VALIDATION"
        call.close()
        return answer.status

    ada = ("Authorization", "Bearer ada")
    assert status(ada, ada, ("Idempotency-Key", new_key())) == 400
    assert status(ada, ("Idempotency-Key", new_key()), ("Idempotency-Key", new_key())) == 400
    assert status(("Authorization", "Basic YTpi"), ("Idempotency-Key", new_key())) == 400
    assert status(("Authorization", "Bearer"), ("Idempotency-Key", new_key())) == 400


@pytest.mark.requirement("ERR-02")
@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/nothing", 404),
        ("GET", "/broker-order/../admin", 404),
        ("GET", "/broker-order/%2e%2e", 404),
        ("GET", "//", 404),
        ("GET", "/broker-order/" + "x" * 3000, 404),
        ("GET", "/broker-order/ib-%00", 404),
        ("PUT", "/broker-order", 405),
        ("TRACE", "/broker-order", 405),
        ("HEAD", "/broker-order/preview", 405),
        ("DELETE", "/livez", 405),
        ("GET", "/api/ibkr/test", 405),
    ],
)
def test_unknown_addresses_and_methods_are_problems_of_the_catalogue(
    mock_service: Served, method: str, path: str, status: int
) -> None:
    answer = mock_service.ask(method, path)
    assert answer.status == status, answer.raw
    if method != "HEAD":
        assert answer.headers["content-type"] == "application/problem+json"
        assert answer.code in CATALOGUE
    if status == 405:
        assert answer.headers["allow"]


@pytest.mark.requirement("ERR-01", "ERR-02")
def test_a_problem_has_all_its_members_and_the_trace_id_of_its_header(mock_service: Served) -> None:
    answer = mock_service.ask("GET", "/broker-order/ib-none")
    assert set(answer.json) == {"type", "title", "status", "detail", "error"}
    error = answer.json["error"]
    assert set(error) == {"code", "message", "remedy", "trace_id", "details"}
    assert answer.json["detail"] == f"{error['message']}. {error['remedy'][0]}"
    assert answer.headers["x-trace-id"] == error["trace_id"]


@pytest.mark.requirement("ERR-02", "ERR-05")
def test_a_fault_of_ours_is_500_with_a_trace_id_and_tells_nothing_of_itself(
    mock_service: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object) -> None:
        raise RuntimeError("the secret is hunter2")

    monkeypatch.setattr("ibkit.service.app.page_of", broken)
    answer = mock_service.ask("GET", "/broker-order")
    assert (answer.status, answer.code) == (500, "E-INTERNAL")
    assert b"hunter2" not in answer.raw
    assert b"Traceback" not in answer.raw


@pytest.mark.requirement("VLT-15")
@pytest.mark.parametrize(
    ("form", "value"),
    [
        (SignInForm, {"name": "ada", "password": "{}", "hours": "x"}),
        (LinkForm, {"link": "{}"}),
        (FlexTokenForm, {"token": "{}"}),
        (AlertChannelForm, {"address": "slack://{}"}),
    ],
)
def test_a_form_that_is_refused_leaves_its_secrets_in_no_frame(
    form: type[msgspec.Struct], value: dict[str, str]
) -> None:
    """Reporters that print the locals of each frame would print them."""
    secret = "a-secret-of-somebody"
    with pytest.raises(ConfigError) as refused:
        read_struct(form, {name: text.format(secret) for name, text in value.items()})
    bare = laid_bare(refused.value)
    assert "E-VALIDATION" in bare
    assert secret not in bare
