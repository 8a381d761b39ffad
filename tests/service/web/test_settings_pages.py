"""Settings, monitoring, set-up and help over HTTP: each shows what the interface tells, and does what it allows."""

from __future__ import annotations

import re
from collections.abc import Iterator
from urllib.parse import urlencode

import pytest

from ibkit.service.web.people_pages import qr_path
from ibkit.service.web.settings_pages import steps_of_status, steps_of_test
from ibkit.users import Role
from service_desks import Answered
from service_people import Caller, ServedPeople, served_people


@pytest.fixture(scope="module")
def people(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServedPeople]:
    with served_people(tmp_path_factory.mktemp("settings"), mock=True) as found:
        yield found


@pytest.fixture
def owner(people: ServedPeople) -> Caller:
    return browser(people, Role.OWNER)


def browser(people: ServedPeople, role: Role) -> Caller:
    name = people.person(role).user.name
    return people.caller().at_browser(people.caller().sign_in(name, browser=True))


def send(who: Caller, path: str, **fields: str) -> Answered:
    raw = urlencode({"csrf": who.auth["X-CSRF-Token"], **fields}).encode()
    return who.ask("POST", path, raw=raw, headers={"Content-Type": "application/x-www-form-urlencoded"})


def part(page: Answered, testid: str) -> str:
    """The tag and the text of the element with that name."""
    found = re.search(rf'<(\w+)[^>]*data-testid="{re.escape(testid)}"[^>]*>.*?</\1>', page.raw.decode(), re.DOTALL)
    assert found, testid
    return found[0]


@pytest.mark.requirement("UI-02")
def test_the_card_shows_what_the_status_tells(owner: Caller) -> None:
    told = owner.ask("GET", "/api/ibkr/status").json
    page = owner.ask("GET", "/settings")
    assert page.status == 200
    assert told["label"] in part(page, "connection-state")
    assert f"env {told['environment']}" in part(page, "environment")
    words = {"oauth": "oauth", "sso": "sso", "validate": "validated", "init": "initialized"}
    for step, name in words.items():
        assert told["diagnostics"][name] in part(page, f"step-{step}")


@pytest.mark.requirement("UI-03")
def test_a_test_of_the_connection_tells_each_step(owner: Caller) -> None:
    page = send(owner, "/settings/test")
    assert page.status == 200
    assert "Connection works" in part(page, "test-result")


@pytest.mark.requirement("UI-03")
def test_what_was_not_attempted_is_neither_right_nor_wrong() -> None:
    failed = {"success": False, "message": "refused", "code": "E-SSO", "remedy": "one\ntwo", "ms": 3}
    after = {"success": None, "message": "not attempted", "code": None, "remedy": None, "ms": None}
    steps = {"oauth": {**failed, "success": True}, "sso": failed, "validate": after, "init": after}
    shown = steps_of_test(steps)
    assert [each.tone for each in shown] == ["ok", "failed", "", ""]
    assert shown[1].remedy == ("one", "two")
    assert shown[2].word == "not attempted"
    down = {"state": "error", "diagnostics": {"oauth": "Connected", "sso": "Not active"}}
    assert [each.tone for each in steps_of_status(down)][:2] == ["ok", "failed"]


@pytest.mark.requirement("UI-07")
def test_without_several_users_there_are_no_credentials(owner: Caller) -> None:
    assert owner.ask("GET", "/settings/credentials").status == 404
    assert b"credential-" not in owner.ask("GET", "/settings").raw


@pytest.mark.requirement("VLT-10")
def test_a_link_and_a_key_are_shown_once(owner: Caller) -> None:
    invited = send(owner, "/settings/users", name="berta", role="viewer")
    assert "/welcome#" in part(invited, "one-time-link")
    assert b"/welcome#" not in owner.ask("GET", "/settings/users").raw
    made = send(owner, "/settings/keys", label="robot", scopes="read", days="30")
    secret = re.sub(r"<[^>]+>", "", part(made, "key-secret"))
    assert secret.startswith("ibk_")
    assert secret.encode() not in owner.ask("GET", "/settings/keys").raw


@pytest.mark.requirement("UI-13")
def test_a_tick_stays_and_is_in_the_audit_log(owner: Caller, people: ServedPeople) -> None:
    assert 'data-state="manual"' in owner.ask("GET", "/setup").raw.decode().split("item-secondary-user.add")[1][:40]
    assert send(owner, "/setup/secondary-user.add", done="true").status == 303
    assert 'data-state="ok"' in owner.ask("GET", "/setup").raw.decode().split("item-secondary-user.add")[1][:40]
    assert [each["object"] for each in owner.ask("GET", "/api/audit?action=checklist.").data] == ["secondary-user.add"]
    assert send(owner, "/setup/prerequisites.gateway-installed", done="true").status == 422, "it is seen, not ticked"
    trader = browser(people, Role.TRADER)
    assert send(trader, "/setup/secondary-user.add", done="false").status == 403
    assert "production" not in [each["name"] for each in trader.ask("GET", "/api/checklist").data]
    assert send(owner, "/setup/secondary-user.add", done="false").status == 303
    assert 'data-state="manual"' in owner.ask("GET", "/setup").raw.decode().split("item-secondary-user.add")[1][:40]


@pytest.mark.requirement("UI-12")
def test_figures_are_those_of_the_interface(owner: Caller, people: ServedPeople) -> None:
    told = owner.ask("GET", "/api/metrics").json
    page = owner.ask("GET", "/monitoring")
    assert f">{sum(each['count'] for each in told['data']):,}<" in part(page, "metric-calls")
    assert browser(people, Role.TRADER).ask("GET", "/monitoring").status == 403


@pytest.mark.requirement("UI-15", "OPS-11")
def test_help_names_three_contacts_and_gives_the_bundle(owner: Caller, people: ServedPeople) -> None:
    page = owner.ask("GET", "/help")
    for topic in ("broker", "platform", "security"):
        part(page, f"contact-{topic}")
    for link in ("ibkr-docs", "web-api", "client-portal", "gateway", "api-support", "customer-support"):
        assert "href=" in part(page, f"link-{link}")
    bundle = owner.ask("GET", "/help/bundle")
    assert (bundle.status, bundle.raw[:2], bundle.headers["content-type"]) == (200, b"PK", "application/zip")
    assert browser(people, Role.TRADER).ask("GET", "/help/bundle").status == 403


@pytest.mark.parametrize("path", ["/settings/limits", "/settings/alerts", "/settings/audit", "/settings/me"])
def test_the_other_tabs_are_there(owner: Caller, path: str) -> None:
    assert owner.ask("GET", path).status == 200


def test_a_code_has_its_three_corners() -> None:
    side, path = qr_path("otpauth://totp/ibkit:ada?secret=JBSWY3DPEHPK3PXP&issuer=ibkit")
    dark = {tuple(int(n) for n in found) for found in re.findall(r"M(\d+) (\d+)h1v1h-1z", path)}
    for x, y in ((4, 4), (side - 11, 4), (4, side - 11)):
        assert {(x + step, y) for step in range(7)} <= dark, "a finder's edge is dark"
        assert (x + 1, y + 1) not in dark
