"""OAuth 1.0a: base strings, signatures, headers, the fast signer."""

from __future__ import annotations

import json
import secrets
from urllib.parse import quote_plus

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ibkit.errors import ConfigError, CredentialsRejected, IbkitError, InvalidRequest
from ibkit.model import Secret
from ibkit.wire import keys, oauth1, oauth1_tokens
from ibkit.wire.http import Response
from ibkit.wire.oauth1 import QueryStyle

TOKEN = bytes(range(20))
BASE = "https://api.ibkr.com"


def _signer(random=secrets.token_bytes) -> oauth1.Signer:
    return oauth1.Signer(
        consumer_key="SIMCONSUM", access_token="9a1c0f5e7b3d2468ace0", realm="limited_poa", token=TOKEN, random=random
    )


def _check(header: str, method: str, url: str, style: QueryStyle = QueryStyle.BARE) -> bool:
    pairs = oauth1.parse_authorization(header)
    signature = pairs["oauth_signature"]
    return oauth1.verify_hmac(TOKEN, oauth1.base_string(method, url, pairs, style=style), signature)


@pytest.mark.requirement("AUTH-06")
@pytest.mark.parametrize("method", ["GET", "POST", "PUT", "DELETE"])
def test_a_signed_call_verifies_and_neither_query_nor_body_is_covered(method: str) -> None:
    url = f"{BASE}/v1/api/iserver/secdef/search?a=1,2&b=x%20y"
    header = _signer().authorization(method, url, 1767225600)
    assert _check(header, method, url)
    assert _check(header, method, url.partition("?")[0])
    assert not _check(header, method, url, QueryStyle.IN_URL)
    assert not _check(header, "PATCH", url)
    assert not _check(header, method, url.replace("search", "info"))


@pytest.mark.requirement("AUTH-06")
def test_the_header_starts_with_the_realm_and_is_sorted() -> None:
    header = _signer().authorization("GET", f"{BASE}/v1/api/tickle", 1767225600)
    assert header.startswith('OAuth realm="limited_poa", ')
    names = [part.partition("=")[0] for part in header.removeprefix("OAuth ").split(", ")]
    assert names[1:] == sorted(names[1:])
    assert names[1:] == [
        "oauth_consumer_key",
        "oauth_nonce",
        "oauth_signature",
        "oauth_signature_method",
        "oauth_timestamp",
        "oauth_token",
    ]


@pytest.mark.requirement("AUTH-06")
def test_ten_thousand_nonces_are_distinct_and_long() -> None:
    signer = _signer()
    nonces = {
        oauth1.parse_authorization(signer.authorization("GET", f"{BASE}/v1/api/tickle", 1767225600))["oauth_nonce"]
        for _ in range(10_000)
    }
    assert len(nonces) == 10_000
    assert min(map(len, nonces)) >= 16


@pytest.mark.requirement("AUTH-06")
def test_timestamps_never_fall_for_a_small_step_back_of_the_clock() -> None:
    signer = _signer()
    stamps = [
        oauth1.parse_authorization(signer.authorization("GET", f"{BASE}/v1/api/tickle", at))["oauth_timestamp"]
        for at in (1000, 990, 1001, 500)
    ]
    # A large step back is a corrected clock: holding on to the old hour would be refused for its distance.
    assert stamps == ["1000", "1000", "1001", "500"]


def test_the_signer_forgets_addresses_rather_than_grow() -> None:
    signer = _signer()
    for number in range(2000):
        url = f"{BASE}/v1/api/iserver/account/order/status/{number}"
        assert _check(signer.authorization("GET", url, 1767225600), "GET", url)
    assert len(signer._addresses) <= 512


@pytest.mark.requirement("AUTH-06")
def test_one_changed_character_is_refused() -> None:
    url = f"{BASE}/v1/api/tickle"
    header = _signer().authorization("POST", url, 1767225600)
    pairs = oauth1.parse_authorization(header)
    signature = pairs["oauth_signature"]
    text = oauth1.base_string("POST", url, pairs)
    assert oauth1.verify_hmac(TOKEN, text, signature)
    for at in range(0, len(signature) - 1, 7):
        changed = signature[:at] + ("A" if signature[at] != "A" else "B") + signature[at + 1 :]
        assert not oauth1.verify_hmac(TOKEN, text, changed)


@given(
    method=st.sampled_from(["GET", "POST", "DELETE"]),
    path=st.text(st.characters(codec="ascii", exclude_characters="?#", categories=["L", "N", "P"]), max_size=30),
    timestamp=st.integers(1, 2**40),
    nonce=st.binary(min_size=16, max_size=16),
)
@pytest.mark.requirement("AUTH-06")
def test_the_fast_way_signs_what_the_long_way_signs(method: str, path: str, timestamp: int, nonce: bytes) -> None:
    url = f"{BASE}/v1/api/{path}"
    header = _signer(lambda _: nonce).authorization(method, url, timestamp)
    pairs = {
        "oauth_consumer_key": "SIMCONSUM",
        "oauth_nonce": nonce.hex(),
        "oauth_signature_method": "HMAC-SHA256",
        "oauth_timestamp": str(timestamp),
        "oauth_token": "9a1c0f5e7b3d2468ace0",
    }
    signature = oauth1.sign_hmac(TOKEN, oauth1.base_string(method, url, pairs))
    assert header == oauth1.authorization_header(pairs, signature, "limited_poa")


@given(st.text(max_size=40))
def test_encoding_is_quote_plus_with_nothing_spared(text: str) -> None:
    assert oauth1.encode(text) == quote_plus(text, safe="")


@pytest.mark.parametrize(
    "header",
    [
        'OAuth oauth_token="a",oauth_nonce="b"',
        '  OAuth   oauth_token = "a" ,  oauth_nonce="b" ',
        'oauth oauth_nonce="b", oauth_token="a"',
    ],
)
def test_headers_are_read_tolerantly(header: str) -> None:
    assert oauth1.parse_authorization(header) == {"oauth_token": "a", "oauth_nonce": "b"}


@pytest.mark.parametrize("header", ["Bearer x", "OAuth oauth_token=a", 'OAuth a="1", a="2"', 'OAuth a="1" b="2"'])
def test_what_is_no_oauth_header_is_refused(header: str) -> None:
    with pytest.raises(InvalidRequest):
        oauth1.parse_authorization(header)


@pytest.mark.requirement("AUTH-03", "ERR-04")
@pytest.mark.parametrize(
    ("status", "body", "step", "code"),
    [
        (
            401,
            {"error": "id: 39687, error: invalid consumer", "statusCode": 401},
            "live session token",
            "E-OA1-CONSUMER",
        ),
        (
            401,
            {"error": "id: 1, error: LST failed, error: No access secret key found for SIMCONSUM", "statusCode": 401},
            "live session token",
            "E-OA1-TOKEN",
        ),
        (
            401,
            {"error": "id: 515400, error: LST failed, error: ", "statusCode": 401},
            "live session token",
            "E-OA1-SIGNATURE",
        ),
        (401, {"error": "id: 3, error: invalid timestamp", "statusCode": 401}, "live session token", "E-OA1-CLOCK"),
        (400, {"error": "missing or invalid OAuth parameters: oauth_nonce"}, "live session token", "E-OA1-SIGNATURE"),
        (401, {"error": "invalid signature"}, "request token", "E-OA1-TOKEN"),
        (401, {"error": "unknown verifier"}, "access token", "E-OA1-TOKEN"),
        (401, {"error": "id: 1, error: access from 203.0.113.9 is not allowed"}, "live session token", "E-IP"),
        (503, {"error": "Service Unavailable", "statusCode": 503}, "live session token", "E-UPSTREAM"),
        (429, {"error": "Too many requests", "statusCode": 429}, "live session token", "E-RATE"),
    ],
)
def test_each_refusal_has_its_code(status: int, body: object, step: str, code: str) -> None:
    error = oauth1_tokens.refused(Response(status, body=json.dumps(body).encode()), step)
    assert error.code == code
    assert error.message
    assert error.remedy


def test_an_address_in_a_refusal_is_shown() -> None:
    body = json.dumps({"error": "id: 1, error: access from 203.0.113.9 is not allowed"}).encode()
    error = oauth1_tokens.refused(Response(401, body=body), "live session token")
    assert isinstance(error, CredentialsRejected)
    assert error.details["ip"] == "203.0.113.9"
    assert "203.0.113.9" in error.remedy


@pytest.mark.parametrize(
    "body", [b"<html>login</html>", b"", b"[]", b'{"x":1}', b'{"error":"LST failed"}', b"\xff\xfe"]
)
def test_a_200_that_is_no_token_is_an_error_with_a_code(body: bytes) -> None:
    with pytest.raises(IbkitError) as caught:
        oauth1_tokens.read_live_session_token(Response(200, body=body))
    assert caught.value.code in ("E-API-CONNECT", "E-OA1-SIGNATURE")


def test_a_public_value_that_is_no_hex_is_unreadable() -> None:
    body = json.dumps(
        {"diffie_hellman_response": "xyz", "live_session_token_signature": "", "live_session_token_expiration": 1}
    ).encode()
    with pytest.raises(IbkitError) as caught:
        oauth1_tokens.read_live_session_token(Response(200, body=body))
    assert caught.value.code == "E-API-CONNECT"


def test_the_schema_s_own_name_for_is_paper_is_understood() -> None:
    body = json.dumps({"is_true": True, "oauth_token": "a", "oauth_token_secret": "b"}).encode()
    assert oauth1_tokens.read_access_token(Response(200, body=body)).is_paper is True


@pytest.mark.requirement("AUTH-05")
def test_the_authorisation_page_is_ibkr_s_or_the_simulator_s() -> None:
    at_ibkr = oauth1_tokens.authorisation_url("https://api.ibkr.com", "e0d7", "https://example.org/back?x=1")
    assert at_ibkr == (
        "https://www.interactivebrokers.com/authorize?oauth_token=e0d7&redirect_uri=https%3A%2F%2Fexample.org%2Fback%3Fx%3D1"
    )
    here = oauth1_tokens.authorisation_url("https://127.0.0.1:5001", "e0d7")
    assert here == "https://127.0.0.1:5001/authorize?oauth_token=e0d7"


@pytest.mark.requirement("AUTH-08")
@pytest.mark.parametrize("secret", ["not base64!", "", "QUJD", "QUJD" * 200])
def test_a_secret_that_was_cut_is_named_and_not_shown(secret: str) -> None:
    private, _ = keys.make_key_pair()
    key = keys.load_private_key(private, what="encryption key")
    with pytest.raises(ConfigError) as caught:
        oauth1_tokens.decrypt_access_token_secret(key, Secret(secret))
    assert caught.value.code == "E-SECRET-DECRYPT"
    assert not secret or secret not in caught.value.message
