"""Signing in over OAuth 2.0 and through the gateway."""

from __future__ import annotations

import secrets
from datetime import datetime, timedelta

import pytest

from ibkit.client.auth import make_auth
from ibkit.client.auth.gateway import GatewayAuth
from ibkit.client.auth.oauth2 import OAuth2Auth
from ibkit.errors import ConfigError, CredentialsRejected
from ibkit.model import AuthMethod, GatewayLogin, Secret, Username
from ibkit.wire import keys, oauth2
from ibkit.wire.http import Request
from sign_ins import BASE, NOW, Server, drive, oauth2_credentials, reply, text

PUBLIC = {"main": keys.load_public_key(text("public_oauth2.pem"), what="public")}


class _Clock:
    def __init__(self) -> None:
        self.at = NOW

    def __call__(self) -> datetime:
        return self.at


def _auth(**changes) -> OAuth2Auth:
    return OAuth2Auth(oauth2_credentials(**changes), base_url=BASE, random=secrets.token_bytes)


def _refusal(status: int, detail: str, *, date: datetime = NOW):
    return reply({"type": "/simple", "title": "Bad Request", "status": status, "detail": detail}, status, date=date)


def _paths(server: Server) -> list[str]:
    return [request.url.rpartition("/")[2] for request in server.seen]


@pytest.mark.requirement("AUTH-11", "AUTH-12")
def test_two_requests_give_the_bearer() -> None:
    server = Server()
    auth = _auth()
    grant = drive(auth.handshake(_Clock()), server)
    assert _paths(server) == ["token", "sso-sessions"]
    assert grant.token.reveal() == "bearer-2"
    assert (grant.method, grant.label) == (AuthMethod.OAUTH2, "SimClient")
    assert grant.expires_at == NOW + timedelta(hours=24)
    assert server.seen[1].headers["Authorization"] == "Bearer step1-1"
    claims = oauth2.verify_jws(server.seen[1].body.decode(), PUBLIC)
    assert claims is not None
    assert (claims["credential"], claims["ip"], claims["iss"]) == ("simuser", "203.0.113.7", "SimClient")
    assert auth.settle_s == 3.0


@pytest.mark.requirement("AUTH-11")
def test_the_assertion_verifies_and_has_a_jti_of_its_own() -> None:
    server = Server()
    for _ in range(2):
        drive(_auth().handshake(_Clock()), server)
    from urllib.parse import parse_qs

    forms = [parse_qs(request.body.decode()) for request in server.seen if request.url.endswith("/token")]
    seen = set()
    for form in forms:
        compact = form["client_assertion"][0]
        now = int(NOW.timestamp())
        assert oauth2.assertion_problem(compact, PUBLIC, client_id="SimClient", now=now) is None
        claims = oauth2.verify_jws(compact, PUBLIC)
        assert claims is not None
        seen.add(claims["jti"])
    assert len(seen) == 2


@pytest.mark.requirement("AUTH-11")
def test_the_first_token_is_used_again_until_a_minute_before_its_end() -> None:
    server, auth, clock = Server(), _auth(), _Clock()
    drive(auth.handshake(clock), server)
    server.date = clock.at = NOW + timedelta(seconds=86399 - 61)
    drive(auth.handshake(clock), server)
    server.date = clock.at = NOW + timedelta(seconds=86399 - 60)
    drive(auth.handshake(clock), server)
    assert _paths(server) == ["token", "sso-sessions", "sso-sessions", "token", "sso-sessions"]


@pytest.mark.requirement("AUTH-12")
def test_a_kept_token_that_is_refused_is_replaced_once() -> None:
    server, auth = Server(), _auth()
    drive(auth.handshake(_Clock()), server)
    server.answers = [_refusal(401, "The access token request is invalid")]
    assert drive(auth.handshake(_Clock()), server).token.reveal() == "bearer-5"
    assert _paths(server)[2:] == ["sso-sessions", "token", "sso-sessions"]


@pytest.mark.requirement("AUTH-12")
def test_a_fresh_token_that_is_refused_is_not_tried_again() -> None:
    server = Server(answers=[None, _refusal(401, "The access token request is invalid")])
    with pytest.raises(CredentialsRejected) as caught:
        drive(_auth().handshake(_Clock()), server)
    assert caught.value.code == "E-OA2-SSO"
    assert _paths(server) == ["token", "sso-sessions"]


@pytest.mark.requirement("AUTH-11", "ERR-04")
@pytest.mark.parametrize(
    ("answers", "code"),
    [
        ([_refusal(400, "bad assertion")], "E-OA2-TOKEN"),
        ([_refusal(403, "198.51.100.4 is not whitelisted")], "E-IP"),
        ([_refusal(400, "bad assertion", date=NOW + timedelta(seconds=90))], "E-OA1-CLOCK"),
        ([None, _refusal(403, "not linked")], "E-OA2-SSO"),
        ([None, _refusal(500, "trouble")], "E-UPSTREAM"),
    ],
)
def test_each_refusal_has_its_code(answers, code: str) -> None:
    from ibkit.errors import IbkitError

    with pytest.raises(IbkitError) as caught:
        drive(_auth().handshake(_Clock()), Server(answers=answers))
    assert caught.value.code == code


def test_ninety_seconds_off_is_no_matter_while_ibkr_accepts_it() -> None:
    grant = drive(_auth().handshake(_Clock()), Server(date=NOW + timedelta(seconds=90)))
    assert grant.token


@pytest.mark.requirement("AUTH-12")
def test_each_call_carries_the_bearer_and_only_to_its_host() -> None:
    auth = _auth()
    grant = drive(auth.handshake(_Clock()), Server())
    signed = auth.sign(Request("GET", f"{BASE}/v1/api/iserver/accounts", {"X": "y"}), grant, NOW)
    assert signed.headers == {"X": "y", "Authorization": "Bearer bearer-2"}
    assert "bearer-2" not in f"{auth!r}{grant!r}{signed!r}"
    with pytest.raises(ConfigError):
        auth.sign(Request("GET", "https://example.org/v1/api/tickle"), grant, NOW)


def test_the_echo_tries_key_and_clock() -> None:
    server = Server()
    answer = drive(_auth().echo({"hello": "world"}, _Clock()), server)
    assert answer["securityPolicy"] == "SIGNED_JWT"
    claims = oauth2.verify_jws(server.seen[1].body.decode(), PUBLIC)
    assert claims is not None
    assert claims["hello"] == "world"


@pytest.mark.requirement("CFG-07", "TST-03")
def test_a_bad_key_is_told_before_anything_is_sent() -> None:
    server = Server()
    with pytest.raises(ConfigError, match="public key") as caught:
        drive(_auth(private_key=Secret(text("public_oauth2.pem"))).handshake(_Clock()), server)
    assert caught.value.code == "E-KEY-FORMAT"
    assert server.seen == []


@pytest.mark.requirement("AUTH-16", "AUTH-02")
def test_the_gateway_needs_no_request_and_no_signature() -> None:
    server = Server()
    auth = make_auth(GatewayLogin(username=Username("sim")), base_url="https://localhost:5000")
    assert isinstance(auth, GatewayAuth)
    grant = drive(auth.handshake(_Clock()), server)
    assert server.seen == []
    assert (grant.expires_at, grant.label, auth.settle_s) == (None, "sim", 0.0)
    request = Request("GET", "https://localhost:5000/v1/api/tickle")
    assert auth.sign(request, grant, NOW) is request


@pytest.mark.requirement("AUTH-02")
def test_make_auth_passes_the_pause_on() -> None:
    auth = make_auth(oauth2_credentials(), base_url=BASE, settle_s=0.5)
    assert (auth.method, auth.settle_s) == (AuthMethod.OAUTH2, 0.5)


def test_bodies_that_carry_proof_are_not_in_a_repr() -> None:
    server = Server()
    drive(_auth().handshake(_Clock()), server)
    for request in server.seen:
        assert request.body.decode()[:60] not in repr(request)
