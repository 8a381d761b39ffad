"""Checking OAuth 1.0a: the published vectors pass, everything else is refused in IBKR's words."""

from __future__ import annotations

import base64
import json
import re
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, quote

import pytest
from cryptography.hazmat.primitives.serialization import load_pem_public_key
from hypothesis import given, settings
from hypothesis import strategies as st

from ibkit.sim.logins.logins import RsaPublicKey
from ibkit.sim.logins.oauth1_check import Signed, answer_challenge, hmac_verifies, parse_header, rsa_verifies
from ibkit.sim.serving.inprocess import Simulator
from simulators import Caller, OAuth1Caller, make_simulator

OWN = Path(__file__).resolve().parents[1] / "vectors"
BASES = ("https://localhost:5001", "https://api.ibkr.com")
LST = "/v1/api/oauth/live_session_token"
STATUS = "/v1/api/iserver/auth/status"


@pytest.fixture(params=["ours", "theirs"])
def vectors(request: pytest.FixtureRequest) -> dict[str, Any]:
    """The project's own vectors, and the founders' where they are."""
    folder = OWN if request.param == "ours" else request.getfixturevalue("shared") / "ibkr" / "vectors"
    loaded: dict[str, Any] = json.loads((folder / "oauth1a.json").read_text())
    return loaded


def signed(request: dict[str, Any], header: str) -> Signed:
    path = "/" + request["url"].split("/", 3)[3]
    is_form = (request.get("content_type") or "").startswith("application/x-www-form-urlencoded")
    form = tuple(parse_qsl(request["body"], keep_blank_values=True)) if is_form else ()
    pairs = parse_header(header)
    assert pairs is not None
    return Signed(request["method"], BASES, path.split("?")[0], request.get("query_on_wire", ""), pairs, form)


def public_key(pem: str) -> RsaPublicKey:
    numbers = load_pem_public_key(pem.encode()).public_numbers()  # type: ignore[union-attr]
    return RsaPublicKey(numbers.n, numbers.e)  # type: ignore[union-attr]


@pytest.mark.requirement("AUTH-06", "TST-01")
def test_every_signature_of_the_vectors_is_accepted_in_its_style_and_refused_when_changed(
    vectors: dict[str, Any],
) -> None:
    token = base64.b64decode(vectors["rest_live_session_token"])
    checked = 0
    for request in vectors["rest"]:
        for style, given_signature in request["signatures"].items():
            header = given_signature["authorization"]
            strict = "in_url" if style.startswith("in_url") else style
            assert hmac_verifies(signed(request, header), token, "any"), (request["name"], style)
            assert hmac_verifies(signed(request, header), token, strict), (request["name"], style)
            at = header.index('oauth_signature="') + len('oauth_signature="')
            changed = header[:at] + ("B" if header[at] == "A" else "A") + header[at + 1 :]
            assert not hmac_verifies(signed(request, changed), token, "any"), (request["name"], style)
            checked += 1
    assert checked >= 30


@pytest.mark.requirement("AUTH-06")
def test_the_token_calls_of_the_vectors_verify_in_both_header_orders(vectors: dict[str, Any]) -> None:
    key = public_key(vectors["keys"]["public_signature_pem"])
    for handshake in vectors["handshakes"]:
        prepend = bytes.fromhex(handshake["prepend"])
        for order in ("authorization", "authorization_realm_sorted"):
            assert rsa_verifies(signed(handshake, handshake[order]), key, "any", prepend=prepend)
        assert not rsa_verifies(signed(handshake, handshake["authorization"]), key, "any", prepend=prepend + b"\1")


@pytest.mark.requirement("AUTH-07")
def test_the_server_half_of_the_exchange_gives_the_tokens_of_the_vectors(vectors: dict[str, Any]) -> None:
    for case in vectors["dh_cases"]:
        answer = answer_challenge(
            prime=int(vectors["keys"]["dh_prime_hex"], 16),
            generator=2,
            challenge=case["diffie_hellman_challenge"],
            exponent=int(case["server_private_hex"], 16),
            secret=bytes.fromhex(vectors["credentials"]["access_token_secret_plain_hex"]),
            consumer_key=vectors["credentials"]["consumer_key"],
        )
        assert answer is not None
        assert answer.response == case["diffie_hellman_response"]
        assert base64.b64encode(answer.token).decode() == case["live_session_token"]
        assert answer.proof == case["live_session_token_signature"]


@pytest.mark.requirement("AUTH-07")
@pytest.mark.parametrize("challenge", ["", "0", "1", "xyz", "-5", "+7"])
def test_a_challenge_outside_the_group_is_refused(challenge: str) -> None:
    prime = 2**127 - 1
    answer = answer_challenge(
        prime=prime, generator=2, challenge=challenge, exponent=5, secret=b"s", consumer_key="SIMCONSUM"
    )
    assert answer is None
    at_the_end = answer_challenge(
        prime=prime, generator=2, challenge=f"{prime - 1:x}", exponent=5, secret=b"s", consumer_key="SIMCONSUM"
    )
    assert at_the_end is None


@pytest.mark.requirement("AUTH-06")
@given(
    st.dictionaries(
        st.from_regex(r"[a-z_]{1,12}", fullmatch=True),
        st.text(st.characters(codec="ascii", min_codepoint=32)),
        max_size=8,
    )
)
@settings(max_examples=60)
def test_a_header_is_read_whatever_its_order_and_blanks(pairs: dict[str, str]) -> None:
    parts = [f'{name}="{quote(value, safe="")}"' for name, value in pairs.items()]
    for joint in (", ", ",", " , "):
        assert parse_header("OAuth " + joint.join(parts)) == pairs


@pytest.mark.requirement("AUTH-06")
def test_a_damaged_header_is_none_at_all() -> None:
    assert parse_header('Bearer a="b"') is None
    assert parse_header('OAuth a="b", broken') is None
    assert parse_header('OAuth a="b", a="c"') is None


# --- through the server ---------------------------------------------------------------------------------------------


@pytest.mark.requirement("AUTH-03", "AUTH-07", "TST-01")
def test_the_handshake_gives_a_token_that_opens_the_api(simulator: Simulator) -> None:
    caller = OAuth1Caller(simulator)
    answer = json.loads(caller.handshake().body)
    assert set(answer) == {"diffie_hellman_response", "live_session_token_signature", "live_session_token_expiration"}
    now = simulator.clock.now().timestamp()
    assert abs(answer["live_session_token_expiration"] / 1000 - now - 86400) <= 1
    assert json.loads(caller("POST", STATUS).body)["connected"] is True


@pytest.mark.requirement("AUTH-06", "TST-01")
def test_one_changed_character_of_the_signature_is_a_401(simulator: Simulator) -> None:
    caller = OAuth1Caller(simulator).sign_in(init=False)
    header = caller.headers_for("POST", caller.base + STATUS, None)["Authorization"]
    at = header.index('oauth_signature="') + len('oauth_signature="') + 5
    changed = header[:at] + ("x" if header[at] != "x" else "y") + header[at + 1 :]
    good = Caller(simulator, "cloud")("POST", STATUS, headers={"Authorization": header})
    bad = Caller(simulator, "cloud")("POST", STATUS, headers={"Authorization": changed})
    assert (good.status, bad.status) == (200, 401)
    assert json.loads(bad.body) == {"error": "not authenticated", "statusCode": 401}


@pytest.mark.requirement("AUTH-06")
def test_each_way_of_signing_a_query_is_accepted_and_the_strict_switch_takes_one() -> None:
    path = f"{STATUS}?a=1,2&b=x%20y"
    for style in ("bare", "in_url"):
        for strict in ("any", "bare", "listed", "in_url"):
            caller = OAuth1Caller(make_simulator(query_signing=strict), style=style).sign_in(init=False)
            assert caller("POST", path).status == (200 if strict in ("any", style) else 401), (style, strict)


@pytest.mark.requirement("AUTH-06")
def test_the_host_header_plays_no_part_in_the_url_that_was_signed(simulator: Simulator) -> None:
    caller = OAuth1Caller(simulator).sign_in(init=False)
    assert caller("POST", STATUS, headers={"Host": "api.ibkr.com"}).status == 200
    # A client that signs IBKR's own address while it is pointed here is understood too.
    caller.base = "https://api.ibkr.com"
    assert caller("POST", STATUS).status == 200
    caller.base = "https://example.org"
    assert caller("POST", STATUS).status == 401


def refusal(caller: OAuth1Caller, change: Any) -> tuple[int, str]:
    caller.change = change
    answer = caller.handshake()
    caller.change = None
    assert answer.headers["content-type"] == "application/json" or answer.status == 400
    body = json.loads(answer.body)
    assert body["statusCode"] == answer.status
    return answer.status, re.sub(r"id: \d+", "id: N", body["error"])


@pytest.mark.requirement("AUTH-03", "AUTH-07")
def test_every_refusal_of_the_live_session_token_call(simulator: Simulator) -> None:
    """Source: docs/facts/auth-and-sessions.md §1.8, table of failures."""
    caller = OAuth1Caller(simulator)
    assert refusal(caller, lambda p: p.update(oauth_consumer_key="NOBODYXYZ")) == (
        401,
        "id: N, error: invalid consumer",
    )
    assert refusal(caller, lambda p: p.update(oauth_token="0" * 20)) == (
        401,
        "id: N, error: LST failed, error: No access secret key found for SIMPAPERA",
    )
    assert refusal(caller, lambda p: p.update(diffie_hellman_challenge="1")) == (
        401,
        "id: N, error: LST failed, error: ",
    )
    status, text = refusal(caller, lambda p: p.pop("oauth_nonce"))
    assert (status, text) == (400, "missing or invalid OAuth parameters: oauth_nonce")
    assert refusal(caller, lambda p: p.update(oauth_timestamp=str(int(p["oauth_timestamp"]) - 600))) == (
        401,
        "id: N, error: invalid timestamp",
    )
    assert caller.handshake().status == 200


@pytest.mark.requirement("AUTH-07")
def test_a_wrong_signature_key_fails_the_live_session_token(simulator: Simulator) -> None:
    first, second = simulator.users[:2]
    import dataclasses

    caller = OAuth1Caller(simulator, dataclasses.replace(first, signature_key=second.signature_key))
    assert re.sub(r"\d+", "N", json.loads(caller.handshake().body)["error"]) == "id: N, error: LST failed, error: "


@pytest.mark.requirement("AUTH-06")
def test_timestamps_within_the_tolerance_of_either_clock_are_accepted() -> None:
    simulator = make_simulator(timestamp_tolerance_s=300)
    caller = OAuth1Caller(simulator)
    for shift, status in ((-290, 200), (290, 200), (-310, 401), (310, 401)):
        caller.change = lambda p, shift=shift: p.update(oauth_timestamp=str(int(p["oauth_timestamp"]) + shift))
        assert caller.handshake().status == status, shift


@pytest.mark.requirement("AUTH-06")
def test_a_repeated_nonce_is_accepted_unless_the_mode_is_strict() -> None:
    for strict, second in ((False, 200), (True, 401)):
        simulator = make_simulator(strict_nonce=strict)
        caller = OAuth1Caller(simulator).sign_in(init=False)
        header = caller.headers_for("POST", caller.base + STATUS, None)
        assert Caller(simulator, "cloud")("POST", STATUS, headers=header).status == 200
        assert Caller(simulator, "cloud")("POST", STATUS, headers=header).status == second


@pytest.mark.requirement("AUTH-03")
def test_a_first_party_may_not_ask_for_a_request_token(simulator: Simulator) -> None:
    answer = OAuth1Caller(simulator).token_call("/v1/api/oauth/request_token", oauth_callback="oob")
    assert answer.status == 401
    assert "SIMPAPERA" in json.loads(answer.body)["error"]


@pytest.mark.requirement("AUTH-07")
@pytest.mark.parametrize(
    ("scenario", "text"),
    [("invalid-consumer", "invalid consumer"), ("bad-signature", "LST failed, error: ")],
)
def test_scenarios_refuse_as_named(scenario: str, text: str) -> None:
    answer = OAuth1Caller(make_simulator(scenario)).handshake()
    assert answer.status == 401
    assert json.loads(answer.body)["error"].endswith(text)


@pytest.mark.requirement("AUTH-07")
def test_lst_mismatch_sends_a_wrong_proof() -> None:
    proofs = [
        json.loads(OAuth1Caller(make_simulator(scenario)).handshake().body)["live_session_token_signature"]
        for scenario in ("ok", "lst-mismatch")
    ]
    assert proofs[0] != proofs[1]
    assert len(proofs[1]) == 40
