"""OAuth 2.0: assertion, token, SSO session."""

from __future__ import annotations

import json
from pathlib import Path
from urllib.parse import parse_qs

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ibkit.errors import CredentialsRejected, IbkitError
from ibkit.model import Secret
from ibkit.wire import keys, oauth2
from ibkit.wire.http import Response

PAIR = Path(__file__).parent.parent / "keys/simpaper1"
KEY = keys.load_private_key(Secret((PAIR / "private_oauth2.pem").read_text()), what="key")
PUBLIC = {"main": keys.load_public_key((PAIR / "public_oauth2.pem").read_text(), what="public")}
CLIENT = oauth2.Client("https://api.ibkr.com", "SimClient", "main", KEY)
NOW = 1767225600


def _assertion(**changes) -> str:
    claims = oauth2.assertion_claims(CLIENT, now=NOW, jti="j1") | changes
    return oauth2.sign_jws(KEY, {name: value for name, value in claims.items() if value is not None}, key_id="main")


def _problem(compact: str, **more) -> str | None:
    return oauth2.assertion_problem(compact, PUBLIC, client_id="SimClient", now=NOW, **more)


@pytest.mark.requirement("AUTH-11")
def test_our_assertion_has_the_required_claims_and_is_accepted() -> None:
    compact = _assertion()
    assert _problem(compact) is None
    claims = oauth2.verify_jws(compact, PUBLIC)
    assert claims == {
        "iss": "SimClient",
        "sub": "SimClient",
        "aud": "https://api.ibkr.com/oauth2/api/v1/token",
        "iat": NOW - 10,
        "exp": NOW - 10 + 60,
        "jti": "j1",
    }


@pytest.mark.requirement("AUTH-11")
@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        ({"iss": "x"}, "iss or sub"),
        ({"sub": None}, "iss or sub"),
        ({"aud": "/sso-sessions"}, "aud"),
        ({"exp": NOW}, "expired"),
        ({"exp": None}, "missing"),
        ({"iat": "soon"}, "missing"),
        ({"iat": NOW + 1}, "future"),
    ],
)
def test_each_wrong_claim_is_named(changes: dict[str, object], problem: str) -> None:
    assert problem in (_problem(_assertion(**changes)) or "")


@pytest.mark.parametrize("compact", ["", "a.b", "a.b.c", "....", "eyJ9.eyJ9.AA", "ÿ.ÿ.ÿ"])
def test_what_is_no_jws_is_refused(compact: str) -> None:
    assert oauth2.verify_jws(compact, PUBLIC) is None


@given(st.integers(0, 10_000), st.sampled_from("ABCxyz019-_"))
def test_a_changed_character_never_verifies_with_other_claims(at: int, letter: str) -> None:
    compact = COMPACT
    at %= len(compact)
    changed = compact[:at] + letter + compact[at + 1 :]
    # The last character of each part carries unused bits, so a change there may be none.
    assert oauth2.verify_jws(changed, PUBLIC) in (None, oauth2.verify_jws(compact, PUBLIC))


COMPACT = _assertion()


def test_pyjwt_or_joserfc_reads_what_we_write() -> None:
    from joserfc import jws
    from joserfc.jwk import RSAKey

    key = RSAKey.import_key((PAIR / "public_oauth2.pem").read_text())
    read = jws.deserialize_compact(COMPACT, key, algorithms=["RS256"])
    assert json.loads(read.payload)["iss"] == "SimClient"
    assert read.headers()["kid"] == "main"


@pytest.mark.requirement("AUTH-11")
def test_the_token_request_is_a_form_with_ibkr_s_field_names() -> None:
    request = oauth2.token_request(CLIENT, "a.b.c", scope="echo.read echo.write")
    assert parse_qs(request.body.decode()) == {
        "grant_type": ["client_credentials"],
        "client_assertion_type": ["urn:ietf:params:oauth:client-assertion-type:jwt-bearer"],
        "client_assertion": ["a.b.c"],
        "scope": ["echo.read echo.write"],
    }
    assert "a.b.c" not in repr(request)


@pytest.mark.requirement("AUTH-12")
def test_the_sso_claims_are_the_settings() -> None:
    request = oauth2.sso_session_request(CLIENT, Secret("t"), credential="simuser", ip="203.0.113.7", now=NOW)
    assert request.headers == {"Authorization": "Bearer t", "Content-Type": "application/jwt"}
    assert oauth2.verify_jws(request.body.decode(), PUBLIC) == {
        "ip": "203.0.113.7",
        "credential": "simuser",
        "iss": "SimClient",
        "exp": NOW + 86400,
        "iat": NOW,
    }


def _problem_document(status: int, detail: str) -> Response:
    body = {"type": "/simple", "title": "Bad Request", "status": status, "detail": detail}
    return Response(status, {"content-type": "application/problem+json"}, json.dumps(body).encode())


@pytest.mark.requirement("AUTH-11", "AUTH-12", "ERR-04")
@pytest.mark.parametrize(
    ("read", "response", "code"),
    [
        (oauth2.read_token, _problem_document(400, "unknown key id"), "E-OA2-TOKEN"),
        (oauth2.read_token, _problem_document(403, "address 198.51.100.4 is not whitelisted"), "E-IP"),
        (oauth2.read_token, _problem_document(500, ""), "E-UPSTREAM"),
        (oauth2.read_token, Response(200, body=b"<html>"), "E-API-CONNECT"),
        (oauth2.read_sso_session, _problem_document(401, "The access token request is invalid"), "E-OA2-SSO"),
        (oauth2.read_sso_session, _problem_document(403, "not linked"), "E-OA2-SSO"),
        (oauth2.read_sso_session, Response(200, body=b'{"active":false,"access_token":"x"}'), "E-OA2-SSO"),
        (oauth2.read_sso_session, Response(200, body=b"{}"), "E-API-CONNECT"),
        (oauth2.read_sso_session, Response(429, body=b""), "E-RATE"),
        (oauth2.read_echo, Response(401, body=b""), "E-OA2-TOKEN"),
        (oauth2.read_echo, Response(200, body=b"[]"), "E-API-CONNECT"),
    ],
)
def test_each_refusal_has_its_code(read, response: Response, code: str) -> None:
    with pytest.raises(IbkitError) as caught:
        read(response)
    assert caught.value.code == code


def test_a_token_in_an_error_text_is_not_shown() -> None:
    with pytest.raises(CredentialsRejected) as caught:
        oauth2.read_token(_problem_document(400, f"bad assertion {COMPACT}"))
    assert COMPACT[:40] not in f"{caught.value.message}{caught.value.details}"
    assert "bad assertion" in caught.value.message


def test_the_sso_remedy_names_credentials_and_second_factor() -> None:
    with pytest.raises(CredentialsRejected) as caught:
        oauth2.read_sso_session(_problem_document(403, "refused"))
    assert "IBKR_CREDENTIAL" in caught.value.remedy
    assert "two-factor" in caught.value.remedy
