"""Vectors in both directions: our own (tests/vectors), and the founders', which were checked against other people's
code. Both have one form."""

from __future__ import annotations

import base64
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from ibkit.errors import ConfigError
from ibkit.model import Secret
from ibkit.wire import dh, keys, oauth1, oauth1_tokens, oauth2
from ibkit.wire.http import Response
from ibkit.wire.oauth1 import QueryStyle

pytestmark = pytest.mark.requirement("AUTH-06", "AUTH-07")


OWN = Path(__file__).parent.parent / "vectors"


def _read(name: str, request: pytest.FixtureRequest) -> Any:
    place = OWN if request.param == "own" else request.getfixturevalue("shared") / "ibkr/vectors"
    return json.loads((place / name).read_text())


@pytest.fixture(scope="module", params=["own", "shared"])
def oauth1a(request: pytest.FixtureRequest) -> Any:
    return _read("oauth1a.json", request)


@pytest.fixture(scope="module", params=["own", "shared"])
def second(request: pytest.FixtureRequest) -> Any:
    return _read("oauth2.json", request)


def test_the_script_writes_our_vectors_as_they_are() -> None:
    done = subprocess.run([sys.executable, OWN / "make_vectors.py", "--check"], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


def _response(vector: dict[str, Any]) -> Response:
    return Response(vector["status"], body=json.dumps(vector["json"]).encode())


def test_every_java_number_has_its_bytes(oauth1a: Any) -> None:
    for row in oauth1a["java_bytes"]:
        assert dh.java_bytes(int(row["n_hex"], 16)).hex() == row["bytes_hex"]


def test_every_exchange_gives_its_token_from_either_side(oauth1a: Any) -> None:
    params = dh.parse_params_pem(oauth1a["keys"]["dhparam_pem"])
    secret = bytes.fromhex(oauth1a["credentials"]["access_token_secret_plain_hex"])
    consumer = oauth1a["credentials"]["consumer_key"]
    for case in oauth1a["dh_cases"]:
        client, server = int(case["client_private_hex"], 16), int(case["server_private_hex"], 16)
        challenge, response = dh.challenge(params, client), dh.challenge(params, server)
        assert f"{challenge:x}" == case["diffie_hellman_challenge"]
        assert f"{response:x}" == case["diffie_hellman_response"]
        shared_secret = dh.shared_secret(params, client, response)
        assert shared_secret == dh.shared_secret(params, server, challenge) == int(case["shared_secret_hex"], 16)
        assert dh.java_bytes(shared_secret).hex() == case["key_bytes_hex"]
        token = oauth1.live_session_token(shared_secret, secret)
        assert base64.b64encode(token).decode() == case["live_session_token"]
        proof = case["live_session_token_signature"]
        assert oauth1.live_session_token_proof(token, consumer) == proof
        assert oauth1.proves_live_session_token(token, consumer, proof)
        for wrong in case["wrong_keys_give"].values():
            assert not oauth1.proves_live_session_token(base64.b64decode(wrong), consumer, proof)


def test_the_token_that_ibkr_prints_has_the_printed_proof(oauth1a: Any) -> None:
    printed = oauth1a["printed_by_ibkr"]
    token = base64.b64decode(printed["live_session_token"])
    assert oauth1.live_session_token_proof(token, printed["consumer_key"]) == printed["live_session_token_signature"]


def test_every_token_call_is_signed_to_the_byte_and_verifies(oauth1a: Any) -> None:
    key = keys.load_private_key(Secret(oauth1a["keys"]["private_signature_pem"]), what="signature key", thorough=True)
    public = keys.load_public_key(oauth1a["keys"]["public_signature_pem"], what="public_signature.pem")
    for vector in oauth1a["handshakes"]:
        text = oauth1.base_string(vector["method"], vector["url"], vector["oauth"], prepend=vector["prepend"])
        assert text == vector["base_string"]
        signature = oauth1.sign_rsa(key, text)
        assert signature == vector["signature"]
        assert oauth1.encode(signature) == vector["signature_in_header"]
        for realm_first, name in ((True, "authorization"), (False, "authorization_realm_sorted")):
            header = oauth1.authorization_header(vector["oauth"], signature, "limited_poa", realm_first=realm_first)
            assert header == vector[name]
            pairs = oauth1.parse_authorization(vector[name])
            assert pairs == {**vector["oauth"], "realm": "limited_poa", "oauth_signature": signature}
        assert oauth1.verify_rsa(public, text, vector["signature"])
        assert not oauth1.verify_rsa(public, text + "x", vector["signature"])


def test_the_token_requests_we_build_are_the_vectors(oauth1a: Any) -> None:
    given = oauth1a["credentials"]
    key = keys.load_private_key(Secret(oauth1a["keys"]["private_signature_pkcs8_pem"]), what="signature key")
    consumer = oauth1_tokens.Consumer("https://api.ibkr.com", given["consumer_key"], given["realm"], key)
    cases = {case["name"]: case for case in oauth1a["dh_cases"]}
    for vector in oauth1a["handshakes"]:
        stamp = {"nonce": vector["oauth"]["oauth_nonce"], "timestamp": int(vector["oauth"]["oauth_timestamp"])}
        response = _response(vector["response"])
        if vector["name"] == "request_token":
            request = oauth1_tokens.request_token_request(consumer, **stamp)
            assert oauth1_tokens.read_request_token(response) == given["request_token"]
        elif vector["name"] == "access_token":
            request = oauth1_tokens.access_token_request(
                consumer, request_token=given["request_token"], verifier=given["oauth_verifier"], **stamp
            )
            read = oauth1_tokens.read_access_token(response)
            assert (read.token, read.is_paper) == (given["access_token"], True)
            assert read.secret.reveal() == oauth1a["keys"]["access_token_secret"]
        else:
            case = cases[vector["name"].partition(".")[2]]
            request = oauth1_tokens.live_session_token_request(
                consumer,
                access_token=given["access_token"],
                secret=bytes.fromhex(given["access_token_secret_plain_hex"]),
                challenge=int(case["diffie_hellman_challenge"], 16),
                **stamp,
            )
            answer = oauth1_tokens.read_live_session_token(response)
            assert f"{answer.response:x}" == case["diffie_hellman_response"]
            assert answer.live_session_token_expiration == vector["response"]["json"]["live_session_token_expiration"]
        assert request.method == vector["method"]
        assert request.url == vector["url"]
        assert request.headers["Authorization"] == vector["authorization"]
        assert request.body == b""


def test_every_signed_call_in_every_style(oauth1a: Any) -> None:
    token = base64.b64decode(oauth1a["rest_live_session_token"])
    for vector in oauth1a["rest"]:
        url = vector["url"] + (f"?{vector['query_on_wire']}" if vector["query_on_wire"] else "")
        form = ()
        if vector["content_type"] == "application/x-www-form-urlencoded":
            form = [tuple(pair.split("=")) for pair in vector["body"].split("&")]
        for style, signed in vector["signatures"].items():
            text = oauth1.base_string(vector["method"], url, vector["oauth"], style=QueryStyle(style), form=form)
            assert text == signed["base_string"]
            signature = oauth1.sign_hmac(token, text)
            assert signature == signed["signature"]
            assert oauth1.authorization_header(vector["oauth"], signature, "limited_poa") == signed["authorization"]
            assert oauth1.verify_hmac(token, text, signed["signature"])
            assert not oauth1.verify_hmac(token, text, "A" + signed["signature"][1:])
            pairs = oauth1.parse_authorization(signed["authorization"])
            assert pairs["oauth_signature"] == signed["signature"]


def test_the_fast_signer_writes_the_same_headers(oauth1a: Any) -> None:
    for vector in oauth1a["rest"]:
        nonce = bytes.fromhex(vector["oauth"]["oauth_nonce"])
        signer = oauth1.Signer(
            consumer_key=vector["oauth"]["oauth_consumer_key"],
            access_token=vector["oauth"]["oauth_token"],
            realm="limited_poa",
            token=base64.b64decode(oauth1a["rest_live_session_token"]),
            random=lambda _, nonce=nonce: nonce,
        )
        url = vector["url"] + "?" + vector["query_on_wire"]
        header = signer.authorization(vector["method"], url, int(vector["oauth"]["oauth_timestamp"]))
        assert header == vector["signatures"]["bare"]["authorization"]


@pytest.mark.requirement("AUTH-08")
def test_the_secret_opens_with_the_encryption_key_alone(oauth1a: Any) -> None:
    sealed = Secret(oauth1a["keys"]["access_token_secret"])
    for form in ("private_encryption_pem", "private_encryption_pkcs8_pem"):
        right = keys.load_private_key(Secret(oauth1a["keys"][form]), what="encryption key")
        plain = oauth1_tokens.decrypt_access_token_secret(right, sealed)
        assert plain.hex() == oauth1a["credentials"]["access_token_secret_plain_hex"]
    wrong = keys.load_private_key(Secret(oauth1a["keys"]["private_signature_pem"]), what="signature key")
    with pytest.raises(ConfigError) as caught:
        oauth1_tokens.decrypt_access_token_secret(wrong, sealed)
    assert caught.value.code == "E-SECRET-DECRYPT"


def test_the_dh_file_round_trips_and_the_careless_one_is_refused(oauth1a: Any) -> None:
    params = dh.parse_params_pem(oauth1a["keys"]["dhparam_pem"])
    assert f"{params.prime:x}" == oauth1a["keys"]["dh_prime_hex"]
    assert params.generator == oauth1a["keys"]["dh_generator"]
    dh.check_params(params)
    assert dh.write_params_pem(params) == oauth1a["keys"]["dhparam_pem"]
    with pytest.raises(ConfigError, match="negative number: the 00 byte") as caught:
        dh.parse_params_pem(oauth1a["keys"]["dhparam_pem_broken_negative_prime"])
    assert caught.value.code == "E-OA1-DH"


@pytest.mark.requirement("AUTH-11")
def test_every_jwt_is_signed_to_the_byte_and_verifies(second: Any) -> None:
    public = {"main": keys.load_public_key(second["keys"]["client_public_pem"], what="client")}
    server = {"prod-server": keys.load_public_key(second["keys"]["server_public_pem"], what="server")}
    client_key = keys.load_private_key(Secret(second["keys"]["client_private_pem"]), what="client")
    for token in (
        second["assertion"],
        second["assertion_full_url_audience"],
        second["sso_request"]["jws"],
        second["echo_request"]["jws"],
    ):
        assert oauth2.sign_jws(client_key, token["claims"], key_id="main") == token["compact"]
        assert oauth2.verify_jws(token["compact"], public) == token["claims"]
    assert oauth2.verify_jws(second["access_token"]["compact"], server) == second["access_token"]["claims"]


@pytest.mark.requirement("AUTH-11", "AUTH-12")
def test_the_oauth2_requests_we_build_are_the_vectors(second: Any) -> None:
    key = keys.load_private_key(Secret(second["keys"]["client_private_pkcs8_pem"]), what="client")
    client = oauth2.Client("https://api.ibkr.com", second["client_id"], second["client_key_id"], key)
    token_request = oauth2.token_request(client, second["assertion"]["compact"], scope="sso-sessions.write")
    assert token_request.url == second["token_request"]["url"]
    assert token_request.body.decode() == second["token_request"]["body"]
    assert token_request.headers["Content-Type"] == second["token_request"]["content_type"]
    answer = oauth2.read_token(_response(second["token_response"]))
    assert answer.access_token.reveal() == second["access_token"]["compact"]
    assert answer.expires_in == 86399

    sso = oauth2.sso_session_request(
        client, answer.access_token, credential=second["credential"], ip=second["ip"], now=second["now"]
    )
    assert sso.url == second["sso_request"]["url"]
    assert sso.headers["Authorization"] == second["sso_request"]["authorization"]
    assert sso.headers["Content-Type"] == second["sso_request"]["content_type"]
    assert sso.body.decode() == second["sso_request"]["body"]
    assert oauth2.read_sso_session(_response(second["sso_response"])).reveal() == second["sso_bearer"]["compact"]

    echo = oauth2.echo_request(client, answer.access_token, {"hello": "world"}, now=second["now"])
    assert echo.url == second["echo_request"]["url"]
    assert echo.body.decode() == second["echo_request"]["body"]


@pytest.mark.requirement("AUTH-11")
def test_every_bad_assertion_is_refused(second: Any) -> None:
    public = {"main": keys.load_public_key(second["keys"]["client_public_pem"], what="client")}
    for name, compact in second["must_be_refused"].items():
        problem = oauth2.assertion_problem(compact, public, client_id=second["client_id"], now=second["now"])
        assert problem is not None, name
    for name in ("assertion", "assertion_full_url_audience"):
        compact = second[name]["compact"]
        assert oauth2.assertion_problem(compact, public, client_id=second["client_id"], now=second["now"]) is None
