"""Who may sign in: users and their settings, the browser's login, a third party's consent."""

from __future__ import annotations

import dataclasses
import json
import re
from urllib.parse import parse_qs, urlencode, urlsplit

import pytest

from ibkit.sim.logins.users import VENDOR, VENDOR_CALLBACK, VENDOR_CONSUMER_KEY
from ibkit.sim.serving.inprocess import Simulator
from ibkit.wire.http import Response
from simulators import Caller, OAuth1Caller, make_simulator

STATUS = "/v1/api/iserver/auth/status"
FORM = {"Content-Type": "application/x-www-form-urlencoded"}


def post(caller: Caller, path: str, **fields: str) -> Response:
    return caller("POST", path, urlencode(fields).encode(), headers=FORM)


# --- users ----------------------------------------------------------------------------------------------------------


@pytest.mark.requirement("TST-01", "CFG-05")
def test_there_are_paper_users_and_a_live_looking_one(simulator: Simulator) -> None:
    first, second, live = (keys.user for keys in simulator.users)
    assert [account.id[:2] for account in (*first.accounts, *second.accounts)] == ["DU", "DU", "DU"]
    assert (len(first.accounts), len(second.accounts)) == (1, 2)
    assert live.accounts[0].id.startswith("U")
    assert [user.is_paper for user in (first, second, live)] == [True, True, False]


@pytest.mark.requirement("TST-01")
def test_tokens_follow_from_the_seed() -> None:
    tokens = [[keys.access_token for keys in make_simulator(seed=seed).users] for seed in (7, 7, 8)]
    assert tokens[0] == tokens[1] != tokens[2]
    assert all(re.fullmatch(r"[0-9a-f]{20}", token) for token in tokens[0])


@pytest.mark.requirement("TST-01")
def test_no_secret_shows_itself_in_a_repr(simulator: Simulator) -> None:
    world, keys = simulator.world, simulator.users[0]
    token = world.logins.access_tokens[keys.access_token]
    shown = repr([world.users, world.logins.access_tokens, simulator.users])
    for secret in (keys.user.password, keys.access_token_secret, token.secret.hex(), repr(token.secret)):
        assert secret not in shown


@pytest.mark.requirement("CFG-09", "TRD-02")
def test_scenarios_change_the_accounts_of_living_sessions(simulator: Simulator) -> None:
    caller = OAuth1Caller(simulator).sign_in()

    def accounts() -> list[str]:
        simulator.advance(6)
        return [row["accountId"] for row in json.loads(caller("GET", "/v1/api/portfolio/accounts").body)]

    assert accounts() == ["DU1000001"]
    simulator.control("POST", "scenario", {"scenario": "multi-account"})
    assert accounts() == ["DU1000001", "DU1000002"]
    simulator.control("POST", "scenario", {"scenario": "no-account"})
    assert accounts() == []
    simulator.control("POST", "scenario", {"scenario": "ok"})
    assert accounts() == ["DU1000001"]


# --- the gateway's login page ---------------------------------------------------------------------------------------


def ticket(answer: Response) -> str:
    found = re.search(r'name="ticket" value="([0-9a-f]{32})"', answer.body.decode())
    assert found, answer.body
    return found[1]


@pytest.mark.requirement("AUTH-16", "TST-01")
def test_the_browser_login_asks_for_a_second_factor_and_ends_with_the_dispatchers_text() -> None:
    simulator = make_simulator("not-authenticated", starting_s=3)
    browser, api = Caller(simulator), Caller(simulator)
    first = browser("GET", "/")
    assert (first.status, first.headers["location"]) == (302, "/sso/Login?forwardTo=22&RL=1&ip2loc=US")
    assert b'name="username"' in browser("GET", first.headers["location"]).body
    asked = post(browser, "/sso/Login", username="simpaper1", password="sim-password-1", loginType="2")
    assert api("GET", STATUS).status == 401, "the second factor is still missing"
    wrong = post(browser, "/sso/Dispatcher", ticket=ticket(asked), code="000000", loginType="2")
    assert b"The security code is wrong" in wrong.body
    done = post(browser, "/sso/Dispatcher", ticket=ticket(asked), code="123456", loginType="2", forwardTo="22")
    assert (done.status, done.body) == (200, b"Client login succeeds")
    status = json.loads(api("GET", STATUS).body)
    assert (status["connected"], status["authenticated"]) == (True, False), "the gateway is opening the session"
    simulator.advance(3)
    assert json.loads(api("GET", STATUS).body)["authenticated"] is True
    assert post(browser, "/sso/Dispatcher", ticket=ticket(asked), code="123456").status == 302, "a ticket works once"


@pytest.mark.requirement("AUTH-16")
def test_the_login_sets_the_gateways_cookies() -> None:
    simulator = make_simulator("not-authenticated")
    browser = Caller(simulator)
    asked = post(browser, "/sso/Login", username="simlive1", password="sim-password-3", loginType="1")
    from ibkit.wire.http import Request

    body = urlencode({"ticket": ticket(asked), "code": "123456"}).encode()
    headers = {"User-Agent": "t", "Content-Length": str(len(body)), **FORM}
    outcome = simulator.server.handle(
        Request("POST", browser.base + "/sso/Dispatcher", headers, body), face="gateway", peer="127.0.0.1"
    )
    cookies = [value.split("=")[0] for name, value in outcome.headers if name == "Set-Cookie"]
    assert {"XYZAB", "XYZAB_AM.LOGIN", "USERID", "api"} <= set(cookies)


@pytest.mark.requirement("AUTH-16")
@pytest.mark.parametrize(
    ("password", "login_type", "banner"),
    [
        ("wrong", "2", b"Invalid username password combination"),
        ("sim-password-1", "1", b"switch Paper trading on"),
    ],
)
def test_wrong_credentials_get_a_banner_and_no_session(password: str, login_type: str, banner: bytes) -> None:
    caller = Caller(make_simulator("not-authenticated"))
    answer = post(caller, "/sso/Login", username="simpaper1", password=password, loginType=login_type)
    assert banner in answer.body
    assert b"ticket" not in answer.body
    assert caller("GET", STATUS).status == 401


@pytest.mark.requirement("AUTH-16")
def test_the_switch_starts_at_live_and_stays_as_it_was_set() -> None:
    """As on IBKR's page, which programs that drive a browser toggle for a paper user (docs/facts §3.2)."""
    caller = Caller(make_simulator("not-authenticated"))
    switch = b'name="loginType" id="toggle1" value="2"'
    first = caller("GET", "/sso/Login").body
    assert switch + b">" in first
    assert b'<label for="toggle1">' in first
    again = post(caller, "/sso/Login", username="simpaper1", password="wrong", loginType="2").body
    assert switch + b" checked>" in again
    assert b'value="simpaper1"' in again
    assert b"wrong" not in again, "a password is never shown again"
    assert b"ticket" in post(caller, "/sso/Login", username="simlive1", password="sim-password-3").body


@pytest.mark.requirement("AUTH-16", "TST-01")
def test_the_pages_fetch_nothing_from_elsewhere_and_say_what_they_are() -> None:
    caller = Caller(make_simulator("not-authenticated"))
    asked = post(caller, "/sso/Login", username="simpaper1", password="sim-password-1", loginType="2")
    for text in (caller("GET", "/sso/Login").body, asked.body):
        assert b"not Interactive Brokers" in text
        assert b'content="width=device-width' in text
        assert not re.search(rb"https?://|src=|@import|url\(", text)
        assert b'<link rel="icon" href="data:,">' in text
    assert caller("GET", "/favicon.ico").status == 404, "the page of one text has no such link, and browsers ask"


@pytest.mark.requirement("AUTH-16")
def test_the_dispatcher_opened_by_hand_says_how_the_login_stands() -> None:
    """docs/facts/auth-and-sessions.md §3.2; paths under /sso are IBKR's own and not sent away."""
    simulator = make_simulator("not-authenticated")
    browser = Caller(simulator)
    assert browser("GET", "/sso/Dispatcher").headers["location"].startswith("/sso/Login")
    simulator.control("POST", "login", {"username": "simpaper1", "logged_in": True})
    assert browser("GET", "/sso/Dispatcher").body == b"Client login succeeds"
    assert browser("GET", "/sso/Authenticator").status == 404
    assert browser("GET", "/elsewhere").headers["location"] == "https://api.ibkr.com/elsewhere"


@pytest.mark.requirement("AUTH-16", "AUTH-18")
def test_passwords_and_codes_reach_no_log(simulator: Simulator) -> None:
    post(Caller(simulator), "/sso/Login", username="simpaper1", password="sim-password-1", loginType="2")
    assert "sim-password-1" not in json.dumps(simulator.control("GET", "requests"))


# --- three legs -----------------------------------------------------------------------------------------------------


def vendor(simulator: Simulator) -> OAuth1Caller:
    """The third party's application: its own consumer and keys, nobody's token."""
    keys = dataclasses.replace(
        simulator.users[0],
        consumer_key=VENDOR_CONSUMER_KEY,
        access_token="",
        access_token_secret="",
        signature_key=simulator.directory.key(VENDOR, "signature"),
        encryption_key=simulator.directory.key(VENDOR, "encryption"),
    )
    return OAuth1Caller(simulator, keys)


def request_token(caller: OAuth1Caller) -> str:
    answer = caller.token_call("/v1/api/oauth/request_token", oauth_callback="oob")
    assert answer.status == 200
    token: str = json.loads(answer.body)["oauth_token"]
    assert re.fullmatch(r"[0-9a-f]{20}", token)
    return token


def agree(simulator: Simulator, token: str, *, decision: str = "allow", redirect: str = "") -> Response:
    return post(
        Caller(simulator, "cloud"),
        "/authorize",
        oauth_token=token,
        redirect_uri=redirect,
        username="simpaper2",
        password="sim-password-2",
        decision=decision,
    )


def exchange(caller: OAuth1Caller, token: str, verifier: str) -> Response:
    return caller.token_call("/v1/api/oauth/access_token", oauth_token=token, oauth_verifier=verifier)


@pytest.mark.requirement("AUTH-05", "AUTH-03")
def test_the_three_legs_end_with_an_access_token_for_the_user_who_agreed(simulator: Simulator) -> None:
    caller = vendor(simulator)
    token = request_token(caller)
    page = Caller(simulator, "cloud")("GET", f"/authorize?oauth_token={token}")
    assert b"Allow" in page.body
    assert b"Deny" in page.body
    landed = agree(simulator, token)
    assert landed.status == 302
    query = parse_qs(urlsplit(landed.headers["location"]).query)
    assert landed.headers["location"].startswith(VENDOR_CALLBACK)
    assert query["oauth_token"] == [token]
    verifier = query["oauth_verifier"][0]
    assert re.fullmatch(r"[0-9a-f]{20}", verifier)
    given = json.loads(exchange(caller, token, verifier).body)
    assert set(given) == {"is_paper", "oauth_token", "oauth_token_secret"}
    assert given["is_paper"] is True
    caller.keys = dataclasses.replace(
        caller.keys, access_token=given["oauth_token"], access_token_secret=given["oauth_token_secret"]
    )
    caller.sign_in()
    assert json.loads(caller("GET", "/v1/api/one/user").body)["USER_NAME"] == "simpaper2"


@pytest.mark.requirement("AUTH-05")
def test_without_a_callback_the_verifier_is_shown(simulator: Simulator) -> None:
    caller = vendor(simulator)
    token = request_token(caller)
    page = agree(simulator, token, redirect="oob")
    shown = re.search(r"Verifier: ([0-9a-f]{20})", page.body.decode())
    assert page.status == 200
    assert shown
    assert exchange(caller, token, shown[1]).status == 200


@pytest.mark.requirement("AUTH-05")
def test_a_verifier_works_once_and_a_new_consent_replaces_the_old_token(simulator: Simulator) -> None:
    caller = vendor(simulator)

    def full_round() -> tuple[str, str, str]:
        token = request_token(caller)
        location = agree(simulator, token).headers["location"]
        verifier = parse_qs(urlsplit(location).query)["oauth_verifier"][0]
        access: str = json.loads(exchange(caller, token, verifier).body)["oauth_token"]
        return token, verifier, access

    token, verifier, access = full_round()
    assert exchange(caller, token, verifier).status == 401
    assert access in simulator.world.logins.access_tokens
    _, _, newer = full_round()
    assert newer != access
    assert access not in simulator.world.logins.access_tokens


@pytest.mark.requirement("AUTH-05")
def test_refusals_on_the_way(simulator: Simulator) -> None:
    caller = vendor(simulator)
    token = request_token(caller)
    assert exchange(caller, token, "0" * 20).status == 401, "nobody agreed yet"
    denied = agree(simulator, token, decision="deny")
    assert parse_qs(urlsplit(denied.headers["location"]).query) == {"oauth_token": [token]}
    assert Caller(simulator, "cloud")("GET", f"/authorize?oauth_token={token}").status == 400
    old = request_token(caller)
    simulator.advance(601)
    assert Caller(simulator, "cloud")("GET", f"/authorize?oauth_token={old}").status == 400
    fresh = request_token(caller)
    assert agree(simulator, fresh, redirect="https://evil.example/").status == 400
    assert (
        OAuth1Caller(simulator)
        .token_call("/v1/api/oauth/access_token", oauth_token=fresh, oauth_verifier="0" * 20)
        .status
        == 401
    )
    wrong = post(Caller(simulator, "cloud"), "/authorize", oauth_token=fresh, username="simpaper2", password="x")
    assert b"Invalid username password combination" in wrong.body
