"""Bytes and structs, hidden errors, and what an answer that cannot be read becomes."""

from __future__ import annotations

import doctest
from decimal import Decimal

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ibkit.errors import Effect, IbkitError, OutcomeUnknown, UnexpectedAnswer
from ibkit.model import AuthMethod
from ibkit.wire import (
    ACCOUNTS,
    BODY_LIMIT,
    LEDGER,
    LIVE_ORDERS,
    PLACE_ORDERS,
    SNAPSHOT,
    TICKLE,
    Response,
    codec,
    contracts,
    decode,
    encode,
    excerpt,
    hidden_error,
    numbers,
    order_answers,
    pacing,
    refusal,
    said,
)


@pytest.mark.parametrize("module", [numbers, codec, contracts, order_answers, pacing])
def test_examples_in_docstrings_hold(module) -> None:
    result = doctest.testmod(module)
    assert result.attempted
    assert not result.failed


@given(st.decimals(allow_nan=False, allow_infinity=False, places=6, min_value=-(10**12), max_value=10**12))
@settings(max_examples=200, deadline=None)
def test_money_survives_the_wire_digit_by_digit(value) -> None:
    body = b'{"USD":{"currency":"USD","cashbalance":' + encode(value) + b"}}"
    assert decode(LEDGER, Response(200, {}, body))["USD"].cashbalance.as_tuple() == value.as_tuple()


def test_untyped_numbers_are_exact_too() -> None:
    (row,) = decode(SNAPSHOT, Response(200, {}, b'[{"conid":1,"83":0.1}]'))
    assert row["83"] == Decimal("0.1")


@pytest.mark.parametrize(
    ("body", "why"),
    [
        (b"", "empty"),
        (b"<html><body>Resource not found</body></html>", "HTML"),
        (b"Access Denied", "not JSON"),
        (b'{"orders":5}', "shape"),
        (b'{"orders":[', "not JSON"),
        (b"[" + b" " * BODY_LIMIT + b"]", "16 MB"),
    ],
    ids=["empty", "html", "text", "shape", "cut", "long"],
)
def test_what_cannot_be_read_is_an_unexpected_answer(body, why) -> None:
    with pytest.raises(UnexpectedAnswer, match=why) as caught:
        decode(LIVE_ORDERS, Response(200, {}, body))
    assert caught.value.effect is Effect.NONE
    with pytest.raises(UnexpectedAnswer) as caught:
        decode(PLACE_ORDERS, Response(200, {}, b"5" if why == "shape" else body))
    assert caught.value.effect is Effect.UNKNOWN


@pytest.mark.requirement("TRD-11")
@pytest.mark.parametrize(
    ("body", "text"),
    [
        (b'{"error":"no session"}', "no session"),
        (b'[{"error":"No symbol found"}]', "No symbol found"),
        (b'{"error":"not authenticated","statusCode":401}', "not authenticated"),
        (b'{"session":"x","hmds":{"error":"no bridge"}}', None),
        (b'{"error":null,"amount":{"amount":"1"}}', None),
        (b'{"error":"margin","amount":{"amount":"1"}}', None),
        (b'[{"error":"x"},{"error":"y"}]', None),
        (b"[]", None),
    ],
)
def test_errors_hidden_in_good_answers_are_told_by_shape(body, text) -> None:
    assert hidden_error(body) == text


@pytest.mark.parametrize(
    ("status", "body", "text"),
    [
        (401, b'{"type":"/simple","title":"Unauthorized","status":401,"detail":"expired"}', "expired"),
        (
            400,
            b'{"type":"/invalid-argument","detail":"bad","invalidArguments":[{"field":"conid","description":"no"}]}',
            "bad; conid: no",
        ),
        (500, b'{"error":"Please query /accounts first"}', "Please query /accounts first"),
        (503, b'{"error":"Service Unavailable","statusCode":503}', "Service Unavailable"),
        (404, b"Access Denied", "Access Denied"),
        (502, b"<html>busy</html>", ""),
        (401, b"", ""),
        (200, b'"Success"', "Success"),
    ],
)  # fmt: skip
def test_every_error_envelope_gives_its_words(status, body, text) -> None:
    assert said(Response(status, {}, body)).text == text


@pytest.mark.requirement("AUTH-16", "TRD-22", "LIM-03")
@pytest.mark.parametrize(
    ("status", "body", "method", "code"),
    [
        (401, b"", AuthMethod.GATEWAY, "E-GW-NOAUTH"),
        (200, b'{"error":"no session"}', AuthMethod.GATEWAY, "E-GW-NOAUTH"),
        (404, b"Access Denied", AuthMethod.GATEWAY, "E-GW-IP"),
        (401, b'{"error":"not authenticated","statusCode":401}', AuthMethod.OAUTH2, "E-AUTH-FAILED"),
        (401, b'{"error":"id: 1, error: invalid consumer","statusCode":401}', AuthMethod.OAUTH1A, "E-OA1-CONSUMER"),
        (403, b'{"error":"IP 203.0.113.7 not allowed"}', AuthMethod.OAUTH2, "E-IP"),
        (403, b"", AuthMethod.OAUTH1A, "E-PERM-API"),
        (404, b"<html>Resource not found</html>", AuthMethod.OAUTH1A, "E-ENDPOINT"),
        (429, b"", AuthMethod.OAUTH1A, "E-RATE"),
        (400, b'{"error":"Bad Request: no bridge","statusCode":400}', AuthMethod.OAUTH1A, "E-SES-INIT"),
        (503, b"", AuthMethod.OAUTH1A, "E-UPSTREAM"),
    ],
)
def test_each_refusal_has_its_code(status, body, method, code) -> None:
    assert refusal(ACCOUNTS, Response(status, {}, body), method).code == code


@pytest.mark.requirement("AUTH-16")
def test_a_tickle_that_fails_otherwise_is_a_gateway_that_does_not_respond() -> None:
    assert refusal(TICKLE, Response(500, {}, b""), AuthMethod.GATEWAY).code == "E-GW-NORESP"


@pytest.mark.requirement("TRD-22", "AUTH-10")
@pytest.mark.parametrize("status", [302, 400, 401, 403, 404, 410, 429, 500, 503])
def test_no_status_of_an_order_call_proves_that_nothing_happened(status) -> None:
    error = refusal(PLACE_ORDERS, Response(status, {}, b'{"error":"x"}'), AuthMethod.OAUTH1A)
    assert isinstance(error, OutcomeUnknown)
    assert error.effect is Effect.UNKNOWN
    assert error.details["status"] == status


@pytest.mark.requirement("SEC-05")
def test_excerpts_show_neither_tokens_nor_account_numbers() -> None:
    shown = excerpt(
        b'{"session":"abcdef0123","access_token": "eyJhbGciOi.eyJ","account":"U1234567 DU7654321"} ' + b"Z" * 60
    )
    for secret in ("abcdef0123", "eyJ", "1234567", "7654321", "ZZZZ"):
        assert secret not in shown


@given(st.binary(max_size=200), st.sampled_from([200, 302, 400, 401, 403, 404, 429, 500, 503]))
@settings(max_examples=300, deadline=None)
def test_any_bytes_end_in_a_known_error_or_a_value(body, status) -> None:
    response = Response(status, {}, body)
    for endpoint in (LIVE_ORDERS, TICKLE, SNAPSHOT):
        hidden_error(body)
        assert refusal(endpoint, response, AuthMethod.GATEWAY).code.startswith("E-")
        try:
            decode(endpoint, response)
        except IbkitError as error:
            assert isinstance(error, UnexpectedAnswer)  # noqa: PT017  # either outcome is fine, nothing else is


def test_the_encoder_writes_no_exponents_for_ordinary_money() -> None:
    assert encode({"price": Decimal("3.10"), "quantity": Decimal(3)}) == b'{"price":3.10,"quantity":3}'
    assert msgspec.json.decode(encode(Decimal("0.05"))) == 0.05
