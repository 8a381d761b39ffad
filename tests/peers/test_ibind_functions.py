"""ibind 0.2.2 as a second opinion on signatures and the live session token: same inputs, same bytes.

ibind is used unmodified; only its sources of chance are replaced by fixed values.
"""

from __future__ import annotations

import base64
import json
import secrets
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ibkit.model import Secret
from ibkit.wire import dh, keys, oauth1, oauth1_tokens
from ibkit.wire.oauth1 import QueryStyle

theirs = pytest.importorskip("ibind.oauth.oauth1a")
pytestmark = [pytest.mark.peers, pytest.mark.requirement("AUTH-06", "AUTH-07")]

TESTS = Path(__file__).resolve().parent.parent
OWNER = TESTS / "keys/simpaper1"
VECTORS = json.loads((TESTS / "vectors/oauth1a.json").read_text())
GROUP = dh.parse_params_pem((TESTS / "keys/dhparam.pem").read_text())
TOKEN = secrets.token_bytes(20)


def _their_key(name: str) -> Any:
    return theirs.read_private_key(str(OWNER / name))


def test_our_vectors_are_what_ibind_computes() -> None:
    consumer = VECTORS["credentials"]["consumer_key"]
    prepend = VECTORS["credentials"]["access_token_secret_plain_hex"]
    for case in VECTORS["dh_cases"]:
        token = theirs.calculate_live_session_token(
            dh_prime=VECTORS["keys"]["dh_prime_hex"],
            dh_random_value=case["client_private_hex"],
            dh_response=case["diffie_hellman_response"],
            prepend=prepend,
        )
        assert token == case["live_session_token"]
        assert theirs.validate_live_session_token(token, case["live_session_token_signature"], consumer)
    for vector in VECTORS["handshakes"]:
        text = theirs.generate_base_string(
            request_method=vector["method"],
            request_url=vector["url"],
            request_headers=vector["oauth"],
            prepend=vector["prepend"] or None,
        )
        assert text == vector["base_string"]
        signature = theirs.generate_rsa_sha_256_signature(text, _their_key("private_signature.pem"))
        assert signature == vector["signature_in_header"]
    for vector in VECTORS["rest"]:
        signed = vector["signatures"]["bare"]
        text = theirs.generate_base_string(
            request_method=vector["method"], request_url=vector["url"], request_headers=vector["oauth"]
        )
        assert text == signed["base_string"]
        signature = theirs.generate_hmac_sha_256_signature(text, VECTORS["rest_live_session_token"])
        shown = theirs.generate_authorization_header_string(
            {**vector["oauth"], "oauth_signature": signature}, VECTORS["credentials"]["realm"]
        )
        assert shown == signed["authorization"]


def test_our_vectors_open_with_ibind() -> None:
    prepend = theirs.calculate_live_session_token_prepend(
        VECTORS["keys"]["access_token_secret"], _their_key("private_encryption.pem")
    )
    assert prepend == VECTORS["credentials"]["access_token_secret_plain_hex"]


@pytest.mark.requirement("AUTH-08")
def test_the_secret_opens_to_the_same_bytes() -> None:
    key = keys.load_private_key(Secret((OWNER / "private_encryption.pem").read_text()), what="key")
    ours = oauth1_tokens.decrypt_access_token_secret(key, Secret(VECTORS["keys"]["access_token_secret"]))
    prepend = theirs.calculate_live_session_token_prepend(
        VECTORS["keys"]["access_token_secret"], _their_key("private_encryption.pem")
    )
    assert ours.hex() == prepend


# ibind never has the realm among the signed pairs; we leave it out where it is.
_word = st.text(st.characters(codec="ascii", categories=["L", "N"]), min_size=1, max_size=20).filter("realm".__ne__)
_value = st.text(st.characters(codec="utf-8", exclude_categories=["Cs"]), max_size=20)


@given(
    method=st.sampled_from(["GET", "POST", "PUT", "DELETE"]),
    path=st.text(st.characters(codec="utf-8", exclude_characters="?", exclude_categories=["Cs"]), max_size=40),
    pairs=st.dictionaries(_word, _value, max_size=6),
    prepend=st.sampled_from(["", "00ff12"]),
)
@settings(max_examples=200)
def test_base_strings_are_equal_for_any_pairs(method: str, path: str, pairs: dict[str, str], prepend: str) -> None:
    """Blanks, commas, umlauts and all: one round of encoding, as ibind does it."""
    url = f"https://api.ibkr.com/v1/api/{path}"
    expected = theirs.generate_base_string(
        request_method=method, request_url=url, request_headers=pairs, prepend=prepend or None
    )
    assert oauth1.base_string(method, url, pairs, prepend=prepend) == expected


@given(
    pairs=st.dictionaries(_word, _value, max_size=3),
    query=st.dictionaries(_word, _value, min_size=1, max_size=3),
    form=st.dictionaries(_word, _value, max_size=2),
)
@settings(max_examples=100)
def test_the_listed_style_is_ibind_s_with_params_and_form(
    pairs: dict[str, str], query: dict[str, str], form: dict[str, str]
) -> None:
    from urllib.parse import urlencode

    url = "https://api.ibkr.com/v1/api/iserver/secdef/search"
    expected = theirs.generate_base_string(
        request_method="GET", request_url=url, request_headers=pairs, request_params=query, request_form_data=form
    )
    text = oauth1.base_string(
        "GET", f"{url}?{urlencode(query)}", pairs, style=QueryStyle.LISTED, form=list(form.items())
    )
    assert text == expected


@given(
    text=st.text(st.characters(codec="utf-8", exclude_categories=["Cs"]), max_size=200),
    token=st.binary(min_size=20, max_size=20),
)
@settings(max_examples=100)
def test_hmac_signatures_are_equal(text: str, token: bytes) -> None:
    theirs_said = theirs.generate_hmac_sha_256_signature(text, base64.b64encode(token).decode())
    assert oauth1.encode(oauth1.sign_hmac(token, text)) == theirs_said


@given(st.integers(2, GROUP.prime - 2), st.binary(min_size=1, max_size=64))
@settings(max_examples=50, deadline=None)
def test_any_answer_gives_the_same_live_session_token(response: int, secret: bytes) -> None:
    exponent = 2**255 + 987654321
    expected = theirs.calculate_live_session_token(
        dh_prime=f"{GROUP.prime:x}", dh_random_value=f"{exponent:x}", dh_response=f"{response:x}", prepend=secret.hex()
    )
    token = oauth1.live_session_token(dh.shared_secret(GROUP, exponent, response), secret)
    assert base64.b64encode(token).decode() == expected
    proof = oauth1.live_session_token_proof(token, "IBKITTEST")
    assert theirs.validate_live_session_token(expected, proof, "IBKITTEST")
    assert oauth1.proves_live_session_token(token, "IBKITTEST", proof)


@given(st.integers(1, 2**300))
def test_java_bytes_are_equal(number: int) -> None:
    assert bytes(theirs.to_byte_array(number)) == dh.java_bytes(number)


def test_challenges_are_equal() -> None:
    exponent = f"{secrets.randbits(256):x}"
    expected = theirs.generate_dh_challenge(
        dh_prime=f"{GROUP.prime:x}", dh_random=exponent, dh_generator=GROUP.generator
    )
    assert f"{dh.challenge(GROUP, int(exponent, 16)):x}" == expected


@given(st.sampled_from(["GET", "POST", "DELETE"]), st.integers(1, 2**33))
@settings(max_examples=50)
def test_the_fast_signer_writes_ibind_s_header(method: str, at: int) -> None:
    nonce = secrets.token_bytes(16)
    url = "https://api.ibkr.com/v1/api/iserver/marketdata/snapshot"
    signer = oauth1.Signer(
        consumer_key="IBKITTEST", access_token="1b2c", realm="limited_poa", token=TOKEN, random=lambda _: nonce
    )
    pairs = {
        "oauth_consumer_key": "IBKITTEST",
        "oauth_nonce": nonce.hex(),
        "oauth_signature_method": "HMAC-SHA256",
        "oauth_timestamp": str(at),
        "oauth_token": "1b2c",
    }
    text = theirs.generate_base_string(request_method=method, request_url=url, request_headers=pairs)
    signature = theirs.generate_hmac_sha_256_signature(text, base64.b64encode(TOKEN).decode())
    expected = theirs.generate_authorization_header_string({**pairs, "oauth_signature": signature}, "limited_poa")
    assert signer.authorization(method, f"{url}?conids=1,2", at) == expected
