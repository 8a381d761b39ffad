"""Checking OAuth 2.0: assertion, SSO session, bearer, echo; each refusal with its status, body and type."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.serialization import load_pem_public_key

from ibkit.sim.logins.logins import OAuth2Client, RsaPublicKey
from ibkit.sim.logins.oauth2_check import BadToken, check_times, read_jws, verify_jws
from ibkit.sim.serving.inprocess import Simulator
from ibkit.wire.http import Response
from simulators import Caller, OAuth2Caller, jws, make_simulator

PROBLEM = "application/problem+json"
INIT = "/v1/api/iserver/auth/ssodh/init"
STATUS = "/v1/api/iserver/auth/status"


def problem(answer: Response) -> tuple[int, str | None]:
    """Status and detail of a problem document, its form checked."""
    body = json.loads(answer.body)
    assert answer.headers["content-type"] == PROBLEM
    assert body["status"] == answer.status
    assert body["title"] in ("Bad Request", "Unauthorized", "Forbidden")
    return answer.status, body.get("detail")


@pytest.mark.requirement("AUTH-11")
@pytest.mark.parametrize("whose", ["ours", "theirs"])
def test_the_vectors_verify_and_the_bad_tokens_do_not(whose: str, request: pytest.FixtureRequest) -> None:
    own = Path(__file__).resolve().parents[1] / "vectors"
    folder = own if whose == "ours" else request.getfixturevalue("shared") / "ibkr" / "vectors"
    vectors: dict[str, Any] = json.loads((folder / "oauth2.json").read_text())
    numbers = load_pem_public_key(vectors["keys"]["client_public_pem"].encode()).public_numbers()  # type: ignore[union-attr]
    client = OAuth2Client(
        client_id=vectors["client_id"],
        keys={vectors["client_key_id"]: RsaPublicKey(numbers.n, numbers.e)},  # type: ignore[union-attr]
        usernames=frozenset({vectors["credential"]}),
        scopes=frozenset({"sso-sessions.write"}),
    )
    now = datetime.fromtimestamp(vectors["now"], UTC)

    def accepts(token: str) -> bool:
        try:
            parsed = read_jws(token)
            verify_jws(parsed, {client.client_id: client})
            check_times(parsed.claims, [now], 300)
        except BadToken:
            return False
        # Audience and subject are the token call's own checks (below, through the server).
        if parsed.claims.get("sub") not in (None, client.client_id):
            return False
        return parsed.claims.get("aud") in (None, "/token", "https://api.ibkr.com/oauth2/api/v1/token")

    def tokens(value: Any) -> list[str]:
        if isinstance(value, str):
            return [value] if value.count(".") >= 2 and value.startswith("ey") else []
        inside = value.values() if isinstance(value, dict) else value if isinstance(value, list) else []
        return [token for item in inside for token in tokens(item)]

    bad = tokens(vectors["must_be_refused"])
    assert len(bad) >= 6
    assert not [token for token in bad if accepts(token)]
    good = [
        token
        for name in vectors
        if name != "must_be_refused"
        for token in tokens(vectors[name])
        if read_jws(token).claims.get("iss") == client.client_id
    ]
    assert len(good) >= 3
    assert all(accepts(token) for token in good)


@pytest.mark.requirement("AUTH-11", "AUTH-12", "TST-01")
def test_the_chain_opens_the_trading_api_with_the_second_token_only(simulator: Simulator) -> None:
    caller = OAuth2Caller(simulator)
    answer = json.loads(caller.token_call().body)
    assert answer["token_type"] == "Bearer"
    assert answer["expires_in"] == 86399
    assert json.loads(caller.sso().body)["active"] is True
    assert json.loads(caller("POST", STATUS).body)["connected"] is True
    step_one = Caller(simulator, "cloud")("POST", STATUS, headers={"Authorization": f"Bearer {caller.access_token}"})
    assert step_one.status == 401
    assert json.loads(caller("GET", "/v1/api/sso/validate").body)["RESULT"] is True
    assert "ssoExpires" in json.loads(caller("POST", "/v1/api/tickle").body)


@pytest.mark.requirement("AUTH-11")
def test_every_refusal_of_the_token_call(simulator: Simulator) -> None:
    """Source: docs/facts/auth-and-sessions.md §2.2: 400 with a detail, whatever is wrong."""
    caller = OAuth2Caller(simulator)
    other = OAuth2Caller(simulator, 1)
    now = caller.now()
    good = caller.assertion()
    head, claims, signature = good.split(".")
    cases = {
        "not a compact JWS": "abc",
        "unknown client": caller.assertion(iss="Nobody", sub="Nobody"),
        "unknown key id": caller.assertion(header={"kid": "other"}),
        "the algorithm must be RS256": caller.assertion(header={"alg": "none"}),
        "signature verification failed": f"{head}.{claims}.{other.assertion().split('.')[2]}",
        "wrong audience": caller.assertion(aud="https://example.org"),
        "the token has expired": caller.assertion(iat=now - 900, exp=now - 600),
        "the token was issued in the future": caller.assertion(iat=now + 3600, exp=now + 3700),
        "exp is missing": caller.assertion(exp=None),
        "iss, sub and client_id differ": caller.assertion(sub="Somebody"),
    }
    for detail, assertion in cases.items():
        assert problem(caller.token_call(assertion)) == (400, detail)
    assert problem(caller.token_call(f"{head}.{caller.assertion(jti='x').split('.')[1]}.{signature}"))[0] == 400
    assert problem(caller.token_call(scope="everything"))[1] == "scope not granted"
    assert problem(caller.token_call(grant_type="password"))[1] == "unsupported grant_type"
    assert problem(caller.token_call(client_assertion_type="x"))[1] == "unsupported client_assertion_type"
    assert caller.token_call(caller.assertion(aud="https://api.ibkr.com/oauth2/api/v1/token")).status == 200
    assert caller.token_call(caller.assertion(aud="https://localhost:5001/oauth2/api/v1/token")).status == 200


@pytest.mark.requirement("AUTH-11")
def test_a_repeated_jti_is_refused_in_the_strict_mode_only() -> None:
    for strict, second in ((False, 200), (True, 400)):
        caller = OAuth2Caller(make_simulator(strict_jti=strict))
        assertion = caller.assertion(jti="once")
        assert caller.token_call(assertion).status == 200
        assert caller.token_call(assertion).status == second
    assert OAuth2Caller(make_simulator(strict_jti=True)).token_call().status == 400


@pytest.mark.requirement("AUTH-12")
def test_every_refusal_of_the_sso_call(simulator: Simulator) -> None:
    """Source: docs/facts/auth-and-sessions.md §2.3, table."""
    caller = OAuth2Caller(simulator)
    assert problem(caller.sso()) == (401, "The access token request is invalid")
    caller.token_call(scope="echo.read")
    assert problem(caller.sso()) == (403, "The access token fails to have sufficient scope")
    caller.token_call()
    answer = caller.gw("POST", "/gw/api/v1/sso-sessions", b'{"credential":"simpaper1","ip":"127.0.0.1"}')
    assert problem(answer) == (400, "Invalid payload for security policy SIGNED_JWT")
    answer = caller.sso(ip=None)
    assert problem(answer) == (400, "Input validation failed")
    body = json.loads(answer.body)
    assert (body["type"], body["invalidArguments"][0]["field"]) == ("/invalid-argument", "ip")
    assert problem(caller.sso(credential="simpaper2"))[0] == 403
    assert problem(caller.sso(exp=caller.now() - 5, iat=caller.now() - 60))[0] == 400
    assert caller.sso().status == 200
    simulator.advance(86400)
    assert problem(caller.sso())[0] == 401


@pytest.mark.requirement("AUTH-12", "AUTH-19")
def test_a_wrong_ip_is_accepted_by_sso_sessions_and_refused_later(simulator: Simulator) -> None:
    caller = OAuth2Caller(simulator)
    caller.token_call()
    assert caller.sso(ip="203.0.113.7").status == 200
    answer = caller("POST", STATUS)
    assert (answer.status, json.loads(answer.body)) == (401, {"error": "not authenticated", "statusCode": 401})
    assert caller.sso(ip="203.0.113.7", alternativeIps=["127.0.0.1"]).status == 200
    assert caller("POST", STATUS).status == 200


@pytest.mark.requirement("AUTH-12")
def test_the_claims_seen_are_in_the_request_log_and_no_token_is(simulator: Simulator) -> None:
    caller = OAuth2Caller(simulator)
    caller.token_call()
    caller.sso()
    entry = simulator.requests[-1]
    assert entry.notes["claims"]["credential"] == "simpaper1"
    assert entry.notes["claims"]["ip"] == "127.0.0.1"
    assert entry.user == "simpaper1"
    logged = json.dumps(simulator.control("GET", "requests"))
    assert caller.access_token not in logged
    assert caller.bearer not in logged
    assert caller.keys.access_token_secret not in logged


@pytest.mark.requirement("AUTH-11")
def test_the_echo_calls_test_key_and_scope(simulator: Simulator) -> None:
    caller = OAuth2Caller(simulator)
    assert caller.gw("GET", "/gw/api/v1/echo/https").status == 401
    caller.token_call()
    assert json.loads(caller.gw("GET", "/gw/api/v1/echo/https?a=1&a=2").body) == {
        "requestMethod": "GET",
        "securityPolicy": "HTTPS",
        "queryParameters": {"a": ["1", "2"]},
    }
    now = caller.now()
    body = jws(caller.keys.oauth2_key, "main", {"iss": caller.keys.client_id, "iat": now, "exp": now + 60}).encode()
    signed = caller.gw("POST", "/gw/api/v1/echo/signed-jwt", body)
    assert json.loads(signed.body)["securityPolicy"] == "SIGNED_JWT"
    assert problem(caller.gw("POST", "/gw/api/v1/echo/signed-jwt", body, content_type="application/json"))[0] == 400


@pytest.mark.requirement("AUTH-11", "AUTH-12", "AUTH-13", "AUTH-19")
@pytest.mark.parametrize("scenario", ["oauth2-refused", "sso-refused", "validate-refused", "ip-refused"])
def test_scenarios_refuse_at_their_step(scenario: str) -> None:
    caller = OAuth2Caller(make_simulator(scenario))
    token = caller.token_call()
    if scenario == "oauth2-refused":
        assert problem(token)[0] == 400
        return
    if scenario == "ip-refused":
        assert problem(token) == (403, "Access from IP address 127.0.0.1 is not allowed")
        return
    sso = caller.sso()
    if scenario == "sso-refused":
        assert problem(sso)[0] == 403
        return
    assert json.loads(caller("GET", "/v1/api/sso/validate").body)["RESULT"] is False


@pytest.mark.requirement("AUTH-12")
def test_logout_ends_the_bearer_and_init_then_says_gone(simulator: Simulator) -> None:
    caller = OAuth2Caller(simulator).sign_in()
    assert json.loads(caller("POST", "/v1/api/logout").body) == {"status": True}
    assert caller("POST", STATUS).status == 401
    gone = caller("POST", INIT, {"publish": True, "compete": True})
    assert (gone.status, json.loads(gone.body)) == (410, {"error": "gone", "statusCode": 410})
