"""Signing in over OAuth 1.0a, against a server of a few plain lines."""

from __future__ import annotations

import random
import secrets
from datetime import timedelta

import pytest

from ibkit.client.auth import make_auth
from ibkit.client.auth.oauth1 import Authorisation, OAuth1Auth
from ibkit.errors import ConfigError, CredentialsRejected, IbkitError, SessionUnavailable, UnexpectedAnswer
from ibkit.model import AuthMethod, Secret
from ibkit.wire import keys, oauth1
from ibkit.wire.http import Request
from sign_ins import (
    BASE,
    NOW,
    PLAIN_SECRET,
    Server,
    drive,
    error,
    oauth1_credentials,
    reply,
    text,
)


def _now():
    return NOW


def _auth(credentials=None, **more) -> OAuth1Auth:
    return OAuth1Auth(credentials or oauth1_credentials(), base_url=BASE, random=secrets.token_bytes, **more)


@pytest.mark.requirement("AUTH-03", "AUTH-07")
def test_one_request_gives_the_token_that_the_server_has() -> None:
    server = Server()
    grant = drive(_auth().handshake(_now), server)
    assert len(server.seen) == 1
    assert grant.token.reveal() == server.token
    assert grant.method is AuthMethod.OAUTH1A
    assert grant.label == "SIMCONSUM"
    assert (grant.obtained_at, grant.expires_at) == (NOW, NOW + timedelta(hours=24))


@pytest.mark.requirement("AUTH-07")
def test_each_handshake_has_an_exponent_and_a_nonce_of_its_own() -> None:
    server, auth = Server(), _auth()
    first, second = drive(auth.handshake(_now), server), drive(auth.handshake(_now), server)
    assert first.token != second.token
    pairs = [oauth1.parse_authorization(request.headers["Authorization"]) for request in server.seen]
    assert pairs[0]["diffie_hellman_challenge"] != pairs[1]["diffie_hellman_challenge"]
    assert pairs[0]["oauth_nonce"] != pairs[1]["oauth_nonce"]


@pytest.mark.requirement("AUTH-06")
def test_a_signed_call_carries_the_live_session_token_s_signature() -> None:
    server, auth = Server(), _auth()
    grant = drive(auth.handshake(_now), server)
    request = Request(
        "POST", f"{BASE}/v1/api/iserver/account/DU1/orders?x=1", {"Content-Type": "application/json"}, b"{}"
    )
    signed = auth.sign(request, grant, NOW)
    pairs = oauth1.parse_authorization(signed.headers["Authorization"])
    assert oauth1.verify_hmac(server.token, oauth1.base_string("POST", request.url, pairs), pairs["oauth_signature"])
    assert pairs["oauth_timestamp"] == str(int(NOW.timestamp()))
    assert (signed.method, signed.url, signed.body) == (request.method, request.url, request.body)
    assert signed.headers["Content-Type"] == "application/json"
    assert "Authorization" not in request.headers


@pytest.mark.requirement("AUTH-06")
def test_a_new_grant_is_used_at_once() -> None:
    server, auth = Server(), _auth()
    for _ in range(2):
        grant = drive(auth.handshake(_now), server)
        request = Request("GET", f"{BASE}/v1/api/tickle")
        pairs = oauth1.parse_authorization(auth.sign(request, grant, NOW).headers["Authorization"])
        base = oauth1.base_string("GET", request.url, pairs)
        assert oauth1.verify_hmac(server.token, base, pairs["oauth_signature"])


@pytest.mark.requirement("AUTH-03")
@pytest.mark.parametrize(
    "url", ["https://localhost:5000/v1/api/tickle", "https://api.ibkr.com.example.org/x", "http://api.ibkr.com/x", BASE]
)
def test_nothing_is_signed_for_another_host(url: str) -> None:
    auth = _auth()
    grant = drive(auth.handshake(_now), Server())
    with pytest.raises(ConfigError):
        auth.sign(Request("GET", url), grant, NOW)


@pytest.mark.requirement("AUTH-03", "ERR-04")
@pytest.mark.parametrize(
    ("words", "code"),
    [
        ("id: 39687, error: invalid consumer", "E-OA1-CONSUMER"),
        ("id: 1, error: LST failed, error: No access secret key found for SIMCONSUM", "E-OA1-TOKEN"),
        ("id: 515400, error: LST failed, error: ", "E-OA1-SIGNATURE"),
        ("id: 2, error: 203.0.113.9 is not allowed", "E-IP"),
    ],
)
def test_a_refusal_becomes_its_code(words: str, code: str) -> None:
    with pytest.raises(CredentialsRejected) as caught:
        drive(_auth().handshake(_now), Server(answers=[error(words)]))
    assert caught.value.code == code


def test_trouble_at_ibkr_is_no_refusal() -> None:
    with pytest.raises(SessionUnavailable):
        drive(_auth().handshake(_now), Server(answers=[error("Service Unavailable", 503)]))


@pytest.mark.requirement("AUTH-07")
def test_a_token_that_the_server_does_not_prove_is_thrown_away() -> None:
    with pytest.raises(CredentialsRejected) as caught:
        drive(_auth().handshake(_now), Server(proof_of="OTHERCONS"))
    assert caught.value.code == "E-OA1-LST"


@pytest.mark.requirement("AUTH-07")
def test_a_public_value_of_one_is_not_used() -> None:
    answer = {
        "diffie_hellman_response": "1",
        "live_session_token_signature": "0" * 40,
        "live_session_token_expiration": 1,
    }
    with pytest.raises(UnexpectedAnswer) as caught:
        drive(_auth().handshake(_now), Server(answers=[reply(answer)]))
    assert caught.value.code == "E-OA1-LST"


@pytest.mark.requirement("AUTH-03")
@pytest.mark.parametrize("minutes", [10, -10])
@pytest.mark.parametrize("refused", [True, False])
def test_a_clock_ten_minutes_off_is_the_first_cause(minutes: int, *, refused: bool) -> None:
    date = NOW + timedelta(minutes=minutes)
    answers = [error("id: 1, error: LST failed, error: ", date=date)] if refused else []
    with pytest.raises(CredentialsRejected, match="Clock is wrong by 600 s") as caught:
        drive(_auth().handshake(_now), Server(date=date, answers=answers))
    assert caught.value.code == "E-OA1-CLOCK"
    assert ("behind" in caught.value.message) is (minutes > 0)


def test_four_minutes_off_is_let_through() -> None:
    grant = drive(_auth().handshake(_now), Server(date=NOW + timedelta(minutes=4)))
    assert grant.obtained_at == NOW


def test_the_date_may_agree_with_the_machine_where_now_follows_a_simulator() -> None:
    elsewhere = NOW + timedelta(days=3)
    drive(_auth(machine_now=lambda: elsewhere).handshake(_now), Server(date=elsewhere))
    with pytest.raises(CredentialsRejected):
        drive(_auth(machine_now=lambda: elsewhere).handshake(_now), Server(date=elsewhere + timedelta(minutes=10)))


@pytest.mark.parametrize(
    ("lifetime", "hours"),
    [(timedelta(hours=24), 24), (timedelta(hours=2), 2), (timedelta(), 24), (timedelta(days=900), 24)],
)
def test_the_stated_expiry_is_read_as_clients_read_it(lifetime: timedelta, hours: int) -> None:
    grant = drive(_auth().handshake(_now), Server(lifetime_ms=int(lifetime.total_seconds() * 1000)))
    assert grant.expires_at == NOW + timedelta(hours=hours)


@pytest.mark.parametrize(
    ("changes", "code", "words"),
    [
        ({"access_token_secret": None}, "E-SECRET-MISSING", "not set"),
        ({"signature_key": Secret(text("public_signature.pem"))}, "E-KEY-FORMAT", "public key"),
        ({"encryption_key": Secret(text("private_oauth2.pem"))}, "E-SECRET-DECRYPT", "another one"),
        (
            {
                "signature_key": Secret(text("private_encryption.pem")),
                "encryption_key": Secret(text("private_signature.pem")),
            },
            "E-SECRET-DECRYPT",
            "swapped",
        ),
        ({"dh_params": "hello"}, "E-OA1-DH", "not PEM"),
        ({"signature_key": Secret(text("private_signature.pem")[:300])}, "E-KEY-FORMAT", "cut"),
    ],
)
@pytest.mark.requirement("AUTH-08", "TST-03")
def test_bad_material_is_told_before_anything_is_sent(changes, code: str, words: str) -> None:
    server = Server()
    with pytest.raises(ConfigError, match=words) as caught:
        drive(_auth(oauth1_credentials(**changes)).handshake(_now), server)
    assert caught.value.code == code
    assert server.seen == []


def test_encrypted_keys_open_with_the_passphrase() -> None:
    from cryptography.hazmat.primitives import serialization

    def encrypted(name: str) -> Secret[str]:
        key = keys.load_private_key(Secret(text(name)), what=name)
        sealing = serialization.BestAvailableEncryption(b"sesame")
        raw = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, sealing)
        return Secret(raw.decode())

    given = oauth1_credentials(
        signature_key=encrypted("private_signature.pem"),
        encryption_key=encrypted("private_encryption.pem"),
        key_passphrase=Secret("sesame"),
    )
    server = Server()
    assert drive(_auth(given).handshake(_now), server).token.reveal() == server.token


@pytest.mark.requirement("AUTH-03")
def test_the_demonstration_consumer_has_its_own_realm() -> None:
    auth = _auth(oauth1_credentials(consumer_key="TESTCONS"))
    request = next(auth.handshake(_now))
    assert request.headers["Authorization"].startswith('OAuth realm="test_realm", ')


@pytest.mark.requirement("AUTH-08")
def test_no_secret_shows_in_a_repr() -> None:
    auth = _auth()
    grant = drive(auth.handshake(_now), Server())
    shown = f"{auth!r} {grant!r} {auth._material!r} {vars(auth)!r}"
    assert PLAIN_SECRET.hex() not in shown
    assert repr(PLAIN_SECRET) not in shown
    assert repr(grant.token.reveal()) not in shown


@pytest.mark.requirement("AUTH-05", "AUTH-03")
def test_the_three_legged_way_ends_with_an_access_token_that_signs_in() -> None:
    server = Server()
    way = Authorisation(
        oauth1_credentials(access_token=None, access_token_secret=None), base_url=BASE, random=secrets.token_bytes
    )
    token = drive(way.begin(_now), server)
    assert way.url(token) == f"https://www.interactivebrokers.com/authorize?oauth_token={token}"
    access = drive(way.finish(token, "61c107f1849b0acbe0a3", _now), server)
    assert access.is_paper is True
    grant = drive(
        _auth(oauth1_credentials(access_token=access.token, access_token_secret=access.secret)).handshake(_now), server
    )
    assert grant.token.reveal() == server.token
    paths = [request.url.rpartition("/")[2] for request in server.seen]
    assert paths == ["request_token", "access_token", "live_session_token"]


@pytest.mark.requirement("AUTH-05")
def test_a_refused_verifier_names_its_step() -> None:
    way = Authorisation(oauth1_credentials(), base_url=BASE, random=secrets.token_bytes)
    with pytest.raises(CredentialsRejected, match="step access token") as caught:
        drive(way.finish("e0d7", "x", _now), Server(answers=[error("verifier already used")]))
    assert caught.value.code == "E-OA1-TOKEN"


def test_the_same_chance_gives_the_same_bytes() -> None:
    def request() -> Request:
        auth = OAuth1Auth(given, base_url=BASE, random=random.Random(5).randbytes)
        return next(auth.handshake(_now))

    given = oauth1_credentials()
    assert request() == request()


@pytest.mark.requirement("AUTH-02")
def test_make_auth_gives_the_method_of_the_credentials() -> None:
    auth = make_auth(oauth1_credentials(), base_url=f"{BASE}/v1/api/")
    assert (auth.method, auth.settle_s) == (AuthMethod.OAUTH1A, 0.0)
    server = Server(date=NOW)
    assert drive(auth.handshake(_now), server).token.reveal() == server.token
    with pytest.raises(ConfigError):
        make_auth(oauth1_credentials(), base_url="api.ibkr.com")


def test_every_error_of_a_handshake_is_ours() -> None:
    """Whatever bytes come back: one of our errors with a known code."""
    chance = random.Random(11)
    auth = _auth()
    for status in (200, 400, 401, 403, 404, 500, 302):
        for body in (b"", b"null", b"{}", b"<html>", b'"x"', chance.randbytes(40), b'{"error":{}}', b'{"error":null}'):
            with pytest.raises(IbkitError):
                drive(auth.handshake(_now), Server(answers=[reply(body, status)]))
