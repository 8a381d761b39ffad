"""Signing in over HTTP: tokens, cookies, codes, waits; and what another site's page cannot do."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import anyio
import pytest

from ibkit.bootstrap.portfolios import open_portfolios
from ibkit.errors import ConfigError
from ibkit.service.serving import open_service
from ibkit.store.portfolios import NOBODY
from ibkit.users import Role, Scope
from ibkit.users.totp import STEP_S
from portfolio_room import make_portfolio
from service_desks import Answered, settings_of, until
from service_people import OTHER, Caller, Person, ServedPeople, secret_of, served_people
from user_desks import PASSWORD

pytestmark = pytest.mark.requirement("GWY-02")


@pytest.fixture(scope="module")
def people(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServedPeople]:
    with served_people(tmp_path_factory.mktemp("people")) as found:
        yield found


def told(answer: Answered) -> tuple[int, Any]:
    """Status and body, without the trace id, which differs."""
    body = answer.json
    body["error"].pop("trace_id")
    return answer.status, body


def test_a_password_gives_a_token_with_what_was_asked_for(people: ServedPeople) -> None:
    ada = people.person()
    narrow = ada.without("Authorization").sign_in(ada.user.name, scopes=["read", "admin"], hours=1)
    assert narrow.data["scopes"] == ["read"]  # a trader has no admin
    assert "set-cookie" not in narrow.headers
    me = ada.bearing(narrow.data["token"]).ask("GET", "/api/me").data
    assert (me["user_id"], me["role"], me["scopes"], me["csrf_token"]) == (ada.user.user_id, "trader", ["read"], None)
    people.advance(hours=1, seconds=31)
    assert ada.bearing(narrow.data["token"]).ask("GET", "/api/me").status == 401
    assert ada.ask("GET", "/api/me").status == 200


def test_a_token_is_confined_to_the_accounts_that_were_asked_for(people: ServedPeople) -> None:
    ada = people.person()
    signed_in = ada.without("Authorization").sign_in(ada.user.name, accounts=["du000000x"])
    assert signed_in.data["accounts"] == ["DU000000X"]
    confined = ada.bearing(signed_in.data["token"])
    assert confined.ask("GET", "/api/me").data["accounts"] == ["DU000000X"]
    order = {"broker": "mock", "action": "buy", "symbol": "SPY", "qty": 1, "order_type": "market"}
    key = {"Idempotency-Key": "confined-0123456789"}
    refused = confined.ask("POST", "/broker-order", {**order, "account_id": "DU1000001"}, headers=key)
    assert (refused.status, refused.code) == (404, "E-NOT-FOUND"), refused.raw
    wish = {"label": "x", "scopes": ["read"]}
    assert confined.ask("POST", "/api/keys", wish).status == 403, "it makes no key that reaches further"
    browser = ada.without("Authorization").sign_in(ada.user.name, accounts=["DU1"], browser=True)
    assert (browser.status, browser.fields) == (422, ["accounts"])


def test_whatever_is_wrong_with_a_sign_in_is_answered_alike(people: ServedPeople) -> None:
    ada = people.person()
    disabled = people.person()
    people.within(lambda desk: desk.keeper.disable(disabled.user.name))
    answers = [
        people.caller().sign_in(ada.user.name, "not the password"),
        people.caller().sign_in("nobody-of-that-name"),
        people.caller().sign_in(disabled.user.name),
        people.caller().sign_in("Ünnamed \u202e"),
        people.caller().ask("POST", "/api/sign-in/code", {"challenge": "x.y.z", "code": "123456"}),
        people.caller().ask("POST", "/api/sign-in/link", {"link": "x" * 43, "password": OTHER}),
        people.caller().ask("GET", "/api/me"),
        people.caller().bearing("x.y.z").ask("GET", "/api/me"),
        people.caller().with_({"Cookie": "__Host-ibkit=" + "x" * 43}).ask("GET", "/api/me"),
    ]
    assert {str(told(answer)) for answer in answers} == {str(told(answers[0]))}
    assert (answers[0].status, answers[0].code) == (401, "E-APP-AUTH")


@pytest.mark.requirement("UI-01", "MON-09")
def test_after_five_wrong_passwords_a_known_and_an_unknown_name_wait_alike(people: ServedPeople) -> None:
    ada = people.person()
    at_ada, at_nobody = people.caller(), people.caller()
    wrong = [(at_ada.sign_in(ada.user.name, "wrong"), at_nobody.sign_in("no-such-name", "wrong")) for _ in range(6)]
    assert [(a.status, b.status) for a, b in wrong] == [(401, 401)] * 5 + [(429, 429)]
    assert told(wrong[5][0]) == told(wrong[5][1])
    right = at_ada.sign_in(ada.user.name)
    assert (right.status, right.code) == (429, "E-RATE")
    assert 1 <= int(right.headers["retry-after"]) <= 15 * 60
    people.advance(minutes=15)
    assert at_ada.sign_in(ada.user.name).status == 200

    owner = people.person(Role.OWNER)
    entries = until_told(owner, f"/api/audit?action=auth.sign_in&object={ada.user.user_id}", 9)
    from_there = [(each["result"], each["actor"]) for each in entries if each["address"] == at_ada.address]
    assert from_there == [("ok", ada.user.user_id)] + [("refused", "anonymous")] * 2 + [("failed", "anonymous")] * 5
    assert "no-such-name" not in owner.ask("GET", "/api/audit?limit=500").raw.decode()


def until_told(owner: Person, path: str, least: int) -> list[dict[str, Any]]:
    """The audit log's entries, once there are so many: they are written behind the answer's back."""
    found: list[dict[str, Any]] = []

    def seen() -> bool:
        found[:] = owner.ask("GET", path).data
        return len(found) >= least

    until(seen)
    return found


def test_more_than_thirty_sign_ins_a_minute_from_one_network_are_refused_unseen(people: ServedPeople) -> None:
    ada = people.person()
    caller = people.caller()
    answers = [caller.sign_in(ada.user.name) for _ in range(31)]
    assert [each.status for each in answers] == [200] * 30 + [429]
    assert 1 <= int(answers[30].headers["retry-after"]) <= 60
    people.advance(seconds=61)
    assert caller.sign_in(ada.user.name).status == 200


@pytest.mark.requirement("FUT-06")
def test_a_second_step_is_set_up_asked_for_and_taken_away_over_http(people: ServedPeople) -> None:
    ada = people.person()
    begun = ada.ask("POST", "/api/me/second-step")
    assert begun.status == 200, begun.raw
    secret = secret_of(begun.data["address"])
    assert ada.ask("GET", "/api/me").data["second_step"] is False
    wrong = ada.ask("POST", "/api/me/second-step/confirm", {"code": "abcdef"})
    assert (wrong.status, wrong.fields) == (422, ["code"])
    codes = ada.ask("POST", "/api/me/second-step/confirm", {"code": people.code(secret)}).data["recovery_codes"]
    assert len(set(codes)) == 10
    assert ada.ask("GET", "/api/me").data["second_step"] is True
    assert ada.ask("POST", "/api/me/second-step").status == 422  # there is one

    people.advance(seconds=2 * STEP_S)
    caller = people.caller()
    first = caller.sign_in(ada.user.name)
    assert (first.status, set(first.data)) == (202, {"challenge", "expires_at"})
    assert caller.bearing(first.data["challenge"]).ask("GET", "/api/me").status == 401
    again = {"challenge": first.data["challenge"], "code": people.code(secret)}
    second = caller.ask("POST", "/api/sign-in/code", again)
    assert second.status == 200, second.raw
    assert caller.ask("POST", "/api/sign-in/code", again).status == 401  # challenge and code are good once
    other = {"challenge": caller.sign_in(ada.user.name).data["challenge"], "code": codes[0].upper()}
    assert caller.ask("POST", "/api/sign-in/code", other).status == 200

    people.advance(minutes=16)
    stale = caller.bearing(second.data["token"]).ask("DELETE", "/api/me/second-step")
    assert (stale.status, stale.code) == (403, "E-FORBIDDEN")
    assert "15 minutes" in stale.json["error"]["message"]
    step = {"challenge": caller.sign_in(ada.user.name).data["challenge"], "code": people.code(secret)}
    fresh = caller.bearing(caller.ask("POST", "/api/sign-in/code", step).data["token"])
    assert fresh.ask("DELETE", "/api/me/second-step").status == 200
    assert caller.sign_in(ada.user.name).status == 200


def test_a_new_password_takes_the_old_one_and_ends_every_token_and_session(people: ServedPeople) -> None:
    ada = people.person()
    browser = ada.at_browser(people.caller().sign_in(ada.user.name, browser=True))
    words = {"old_password": "not the old one", "new_password": OTHER}
    refused = ada.ask("POST", "/api/me/password", words)
    assert (refused.status, refused.fields) == (422, ["old_password"])
    poor = ada.ask("POST", "/api/me/password", {"old_password": PASSWORD.reveal(), "new_password": "password1234"})
    assert (poor.status, poor.code) == (422, "E-VALIDATION")
    assert browser.ask("GET", "/api/me").status == 200
    assert ada.ask("POST", "/api/me/password", {**words, "old_password": PASSWORD.reveal()}).status == 200
    assert (ada.ask("GET", "/api/me").status, browser.ask("GET", "/api/me").status) == (401, 401)
    assert people.caller().sign_in(ada.user.name).status == 401
    assert people.caller().sign_in(ada.user.name, OTHER).status == 200


def test_guesses_at_the_old_password_wait_as_those_at_the_door(people: ServedPeople) -> None:
    ada = people.person()
    guess = {"old_password": "a guess", "new_password": OTHER}
    statuses = [ada.ask("POST", "/api/me/password", guess).status for _ in range(6)]
    assert statuses == [422] * 5 + [429]


def test_a_token_is_refreshed_once_and_ended_by_signing_out(people: ServedPeople) -> None:
    ada = people.person()
    fresh = ada.ask("POST", "/api/sign-in/refresh")
    assert fresh.status == 200, fresh.raw
    assert ada.ask("POST", "/api/sign-in/refresh").status == 401
    assert ada.ask("GET", "/api/me").status == 401
    now = ada.bearing(fresh.data["token"])
    assert now.ask("POST", "/api/sign-out").status == 200
    assert now.ask("GET", "/api/me").status == 401
    assert now.ask("POST", "/api/sign-out").status == 401


def test_signing_out_everywhere_ends_what_there_is_of_oneself_and_nobody_else(people: ServedPeople) -> None:
    ada, bob = people.person(), people.person()
    browser = ada.at_browser(people.caller().sign_in(ada.user.name, browser=True))
    other = ada.bearing(people.caller().sign_in(ada.user.name).data["token"])
    ended = browser.ask("POST", "/api/sign-out/everywhere")
    assert (ended.status, "Max-Age=0" in ended.headers["set-cookie"]) == (200, True)
    assert [each.ask("GET", "/api/me").status for each in (ada, other, browser, bob)] == [401, 401, 401, 200]


# -- browsers ---------------------------------------------------------------------------------------------------------


def at_browser(people: ServedPeople, ada: Person) -> Caller:
    return ada.at_browser(people.caller().sign_in(ada.user.name, browser=True))


@pytest.mark.requirement("UI-01")
def test_a_browser_gets_a_cookie_that_scripts_and_other_sites_do_not_see(people: ServedPeople) -> None:
    ada = people.person()
    answer = people.caller().sign_in(ada.user.name, browser=True)
    name, *rules = answer.headers["set-cookie"].split("; ")
    assert name.startswith("__Host-ibkit=")
    assert len(name.partition("=")[2]) == 43
    assert set(rules) == {"Path=/", "Secure", "HttpOnly", "SameSite=Strict", "Max-Age=43200"}
    assert (answer.data["token"], answer.data["token_id"]) == (None, None)
    browser = ada.at_browser(answer)
    me = browser.ask("GET", "/api/me").data
    assert (me["user_id"], me["csrf_token"]) == (ada.user.user_id, answer.data["csrf_token"])
    assert "access-control-allow-credentials" not in browser.ask("GET", "/api/me").headers


@pytest.mark.requirement("UI-01")
def test_a_cookie_is_new_at_each_sign_in_and_the_one_before_is_over(people: ServedPeople) -> None:
    """Also one that somebody else has put there: nobody's session begins with it."""
    ada = people.person()
    planted = people.caller().with_({"Cookie": "__Host-ibkit=" + "p" * 43})
    first = planted.sign_in(ada.user.name, browser=True)
    assert first.headers["set-cookie"].split(";")[0] != "__Host-ibkit=" + "p" * 43
    assert planted.ask("GET", "/api/me").status == 401
    before = ada.at_browser(first)
    again = before.without("X-CSRF-Token").sign_in(ada.user.name, browser=True)
    assert before.ask("GET", "/api/me").status == 401
    after = ada.at_browser(again)
    assert after.ask("GET", "/api/me").status == 200
    ended = after.ask("POST", "/api/sign-out")
    assert (ended.status, "Max-Age=0" in ended.headers["set-cookie"]) == (200, True)
    assert after.ask("GET", "/api/me").status == 401


@pytest.mark.requirement("UI-01", "SES-17")
def test_a_session_that_is_not_used_ends_after_half_an_hour_and_any_after_twelve(people: ServedPeople) -> None:
    ada = people.person()
    idle, busy = at_browser(people, ada), at_browser(people, ada)
    for _ in range(24):
        people.advance(minutes=29, seconds=50)
        assert busy.ask("GET", "/api/me").status == 200
    assert idle.ask("GET", "/api/me").status == 401
    people.advance(minutes=4)
    assert busy.ask("GET", "/api/me").status == 401


UNSAFE = [
    ("POST", "/api/alerts/channels"),
    ("DELETE", "/api/alerts/channels/1-pager"),
    ("POST", "/api/alerts/channels/1-pager/switch"),
    ("POST", "/api/settings/flex"),
    ("DELETE", "/api/settings/flex"),
    ("DELETE", f"/api/me/sessions/{'0' * 32}"),
    ("POST", "/api/sign-out"),
    ("POST", "/api/sign-out/everywhere"),
    ("POST", "/api/me/password"),
    ("POST", "/api/me/second-step"),
    ("POST", "/api/me/second-step/confirm"),
    ("DELETE", "/api/me/second-step"),
    ("POST", "/api/users"),
    ("PATCH", "/api/users/" + "0" * 32),
    ("DELETE", "/api/users/" + "0" * 32),
    ("POST", "/api/keys"),
    ("DELETE", "/api/keys/" + "0" * 16),
    ("POST", "/broker-order"),
    ("POST", "/broker-order/preview"),
    ("PATCH", "/broker-order/ib-1"),
    ("DELETE", "/broker-order/ib-1"),
    ("POST", "/api/option-sale"),
    ("POST", "/api/checklist/0000"),
    ("POST", "/api/option-sale/preview"),
    ("POST", "/api/checklist/secondary-user.add"),
    ("POST", "/api/onboarding/demo"),
    ("POST", "/api/onboarding/keys"),
    ("POST", "/api/onboarding/token"),
    ("POST", "/api/ibkr/test"),
    ("POST", "/api/ibkr/connect"),
    ("POST", "/api/ibkr/reconnect"),
    ("POST", "/api/ibkr/take-over"),
    ("POST", "/api/ibkr/logout"),
    ("POST", "/api/ibkr/connections"),
    ("DELETE", "/api/ibkr/connections/{connection_id}"),
    ("POST", "/api/ibkr/connections/{connection_id}/default"),
    ("POST", "/api/alerts/test"),
    ("POST", "/api/questions/0000/answer"),
    ("POST", "/api/alerts/0000/acknowledge"),
    ("POST", "/api/kill"),
    ("POST", "/api/kill/release"),
    ("POST", "/api/limits"),
    ("POST", "/api/limits/1/confirm"),
    ("POST", "/api/settings/ibkr"),
    ("DELETE", "/api/settings/ibkr"),
    ("POST", "/api/settings/ibkr/test"),
    ("POST", "/api/settings/ibkr/activate"),
    ("POST", "/api/settings/ibkr/{connection_id}"),
    ("DELETE", "/api/settings/ibkr/{connection_id}"),
    ("POST", "/api/settings/ibkr/{connection_id}/test"),
    ("POST", "/api/settings/ibkr/{connection_id}/activate"),
    ("POST", "/portfolio"),
    ("POST", "/portfolio/import"),
    ("PUT", "/portfolio/00000000000000000000000000000000"),
    ("DELETE", "/portfolio/00000000000000000000000000000000"),
    ("POST", "/portfolio/00000000000000000000000000000000/accounts"),
    ("PUT", "/portfolio/00000000000000000000000000000000/accounts/{name}"),
    ("DELETE", "/portfolio/00000000000000000000000000000000/accounts/{name}"),
    ("POST", "/portfolio/00000000000000000000000000000000/accounts/{name}/connect/ibkr"),
    ("POST", "/portfolio/00000000000000000000000000000000/accounts/{name}/sync"),
    ("POST", "/portfolio/00000000000000000000000000000000/accounts/{name}/disconnect"),
    ("POST", "/portfolio/00000000000000000000000000000000/accounts/{name}/restore"),
    ("POST", "/portfolio/00000000000000000000000000000000/analytics"),
    ("POST", "/portfolio/00000000000000000000000000000000/report"),
    ("PUT", "/portfolio/00000000000000000000000000000000/accounts/{name}/ledger-rules"),
    ("POST", "/portfolio/00000000000000000000000000000000/accounts/{name}/flex"),
    ("POST", "/portfolio/00000000000000000000000000000000/accounts/{name}/flex/fetch"),
    ("POST", "/portfolio/00000000000000000000000000000000/inbox/00000000000000000000000000000000/accept"),
    ("POST", "/portfolio/00000000000000000000000000000000/inbox/00000000000000000000000000000000/fix"),
]


@pytest.mark.requirement("UI-01")
def test_no_page_of_another_site_changes_anything_with_the_cookie(people: ServedPeople) -> None:
    """Threat TM-06: every unsafe route, by whatever another page can make a browser send."""
    owner, eve = people.person(Role.OWNER), people.person()
    browser, other = at_browser(people, owner), at_browser(people, eve)
    host = urlsplit(people.service.address).netloc
    tricks: dict[str, Caller] = {
        "no token": browser.without("X-CSRF-Token"),
        "another user's token": browser.with_({"X-CSRF-Token": other.auth["X-CSRF-Token"]}),
        "an empty token": browser.with_({"X-CSRF-Token": ""}),
        "another site": browser.with_({"Origin": "https://attacker.example"}),
        "a site whose name begins alike": browser.with_({"Origin": f"http://{host}.attacker.example"}),
        "a port of the same machine": browser.with_({"Origin": "http://127.0.0.1:1"}),
        "null": browser.with_({"Origin": "null"}),
        "cross-site": browser.with_({"Sec-Fetch-Site": "cross-site"}),
        "same-site": browser.with_({"Sec-Fetch-Site": "same-site"}),
    }
    for name, trick in tricks.items():
        for method, path in UNSAFE:
            answer = trick.ask(method, path.replace("{connection_id}", "main"), {} if method != "DELETE" else None)
            assert (answer.status, answer.code) == (403, "E-FORBIDDEN"), (name, method, path, answer.raw)
    form = browser.ask("POST", "/api/users", raw=b"name=eve&role=owner", headers={"Content-Type": "text/plain"})
    assert form.status == 415
    assert browser.ask("GET", "/api/me").status == 200  # nothing of it has signed anybody out


@pytest.mark.requirement("UI-01")
def test_the_routes_that_are_tried_from_another_site_are_all_that_change_something() -> None:
    from ibkit.service.openapi import OPERATIONS

    def plain(path: str) -> str:
        return "/".join("*" if part.startswith(("{", "ib-", "0000", "1")) else part for part in path.split("/"))

    tried = {(method, plain(path)) for method, path in UNSAFE}
    there = {(each.method.upper(), plain(each.path)) for each in OPERATIONS if each.signed and each.method != "get"}
    # Those by a token alone, and further changes of a user, which go through the same first line as the others.
    alike = {("POST", "/api/sign-in/refresh"), ("POST", "/api/users/*/link"), ("POST", "/api/users/*/sign-out")}
    assert there - tried <= alike | {("DELETE", "/api/users/*/second-step")}


@pytest.mark.requirement("UI-01")
def test_another_site_cannot_sign_a_browser_in_either(people: ServedPeople) -> None:
    eve = people.person()
    for headers in ({"Origin": "https://attacker.example"}, {"Origin": "null"}, {"Sec-Fetch-Site": "cross-site"}):
        answer = people.caller().with_(headers).sign_in(eve.user.name, browser=True)
        assert (answer.status, answer.code) == (403, "E-FORBIDDEN")
        assert "set-cookie" not in answer.headers


def test_a_cookie_that_stands_twice_is_refused_and_a_token_beside_it_wins(people: ServedPeople) -> None:
    ada, bob = people.person(), people.person()
    browser = at_browser(people, ada)
    twice = browser.with_({"Cookie": browser.auth["Cookie"] + "; " + browser.auth["Cookie"]})
    assert twice.ask("GET", "/api/me").status == 400
    both = browser.with_(bob.auth)
    assert both.ask("GET", "/api/me").data["user_id"] == bob.user.user_id
    assert both.without("X-CSRF-Token").ask("POST", "/api/sign-out").status == 200
    assert browser.ask("GET", "/api/me").status == 200


def test_what_was_kept_before_there_was_a_user_is_an_owners_from_their_sign_in_on(people: ServedPeople) -> None:
    """No read writes it."""
    owner = people.person(Role.OWNER)

    async def kept(name: str) -> None:
        async with open_portfolios(people.settings, people.clock) as desk:
            number = name.encode().hex().ljust(32, "0")
            await desk.books.add(make_portfolio(name=name, user_id=NOBODY, portfolio_id=number))

    def names() -> list[str]:
        return [each["name"] for each in owner.ask("GET", "/portfolio").json["portfolios"]]

    anyio.run(kept, "early")
    assert names() == []
    assert owner.without("Authorization").sign_in(people.person().user.name).status == 200
    assert names() == []
    assert owner.without("Authorization").sign_in(owner.user.name).status == 200
    assert names() == ["early"]


@pytest.mark.requirement("UI-01", "SEC-01")
def test_each_sees_their_browsers_and_signs_one_of_them_out(people: ServedPeople) -> None:
    ada, bob = people.person(), people.person()
    agents = ("Firefox at home", "Chromium at work")
    desk, phone = (
        people.caller().at_browser(people.caller().with_({"User-Agent": agent}).sign_in(ada.user.name, browser=True))
        for agent in agents
    )
    people.advance(minutes=2)
    assert phone.ask("GET", "/api/me").status == 200
    told = desk.ask("GET", "/api/me/sessions").data
    assert {each["agent"]: each["current"] for each in told} == {agents[0]: True, agents[1]: False}
    assert all(each["address"].startswith("10.") for each in told)
    (other,) = [each["session_id"] for each in told if not each["current"]]
    assert bob.ask("DELETE", f"/api/me/sessions/{other}").status == 404
    assert phone.ask("GET", "/api/me").status == 200
    assert desk.ask("DELETE", f"/api/me/sessions/{other}").status == 200
    assert phone.ask("GET", "/api/me").status == 401
    assert desk.ask("DELETE", f"/api/me/sessions/{other}").status == 404
    assert [each["current"] for each in desk.ask("GET", "/api/me/sessions").data] == [True]
    # By a token there is no browser of one's own among them; one that was left alone too long is none any more.
    assert [each["current"] for each in ada.ask("GET", "/api/me/sessions").data] == [False]
    people.advance(hours=1)
    assert people.person().ask("GET", "/api/me/sessions").data == []
    again = people.caller().bearing(people.caller().sign_in(ada.user.name).data["token"])
    assert again.ask("GET", "/api/me/sessions").data == []


@pytest.mark.requirement("FUT-06")
def test_where_a_second_step_is_a_duty_nothing_is_answered_before_it_is_there(tmp_path: Path) -> None:
    with served_people(tmp_path, mock=True, REQUIRE_SECOND_STEP="administrators") as people:
        anna, bob = people.person(Role.ADMIN), people.person(Role.TRADER)
        assert bob.ask("GET", "/broker-order").status == 200, "of administrators alone"
        asked = (("GET", "/broker-order"), ("GET", "/api/users"), ("POST", "/api/kill"), ("GET", "/portfolio"))
        for method, path in (*asked, ("GET", "/api/metrics"), ("GET", "/api/ibkr/status")):
            refused = anna.ask(method, path)
            assert (refused.status, refused.code) == (403, "E-FORBIDDEN"), (path, refused.raw)
            assert "second step" in refused.json["error"]["message"]
        me = anna.ask("GET", "/api/me").data
        assert (me["second_step"], me["second_step_due"]) == (False, True)
        # A program of theirs goes on: its key was made by somebody who could.
        assert people.machine(anna.user, Scope.READ).ask("GET", "/broker-order").status == 200
        page = at_browser(people, anna)
        for path in ("/", "/orders", "/settings/users"):
            told = page.ask("GET", path)
            assert (told.status, told.headers["location"]) == (303, "/settings/me"), path
        shown = page.ask("GET", "/settings/me")
        assert shown.status == 200
        assert b"banner-second-step" in shown.raw
        secret = secret_of(anna.ask("POST", "/api/me/second-step").data["address"])
        assert anna.ask("POST", "/api/me/second-step/confirm", {"code": people.code(secret)}).status == 200
        assert anna.ask("GET", "/api/users").status == 200
        assert page.ask("GET", "/orders").status == 200
        assert anna.ask("DELETE", "/api/me/second-step").status == 200
        assert anna.ask("GET", "/api/users").status == 403


def test_a_duty_that_no_key_can_keep_stops_the_start(tmp_path: Path) -> None:
    async def begin() -> None:
        async with open_service(settings_of(tmp_path, BROKER_PROVIDER="mock", REQUIRE_SECOND_STEP="everybody")):
            raise AssertionError("it began")

    with pytest.raises(ConfigError, match="REQUIRE_SECOND_STEP needs it"):
        anyio.run(begin)
