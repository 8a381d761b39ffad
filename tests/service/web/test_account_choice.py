"""A login with several accounts: the pages ask which one, show it, and trade it."""

from __future__ import annotations

import re
from collections.abc import Iterator

import pytest

from page_forms import page_of, post
from service_desks import fast_world, new_key, unhurried
from service_people import Caller, ServedPeople, served_people

pytestmark = pytest.mark.requirement("SES-15", "UI-11")

TICKET = {"action": "buy", "symbol": "AAPL", "qty": "1", "order_type": "limit", "limit_price": "200"}


@pytest.fixture(scope="module")
def people(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServedPeople]:
    world = fast_world()
    world.control("POST", "scenario", {"scenario": ["multi-account"]})
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("ibkit.service.brokers.open_connection", unhurried)
        with served_people(tmp_path_factory.mktemp("accounts"), world=world) as found:
            yield found


def test_the_pages_ask_for_one_of_several_accounts_and_keep_to_it(people: ServedPeople) -> None:
    browser = people.caller().at_browser(people.caller().sign_in(people.person().user.name, browser=True))
    page = page_of(browser.ask("GET", "/"))
    assert "Choose the one to show and to trade." in page
    accounts = re.findall(r'<option value="(\w+)"', page[page.index("account-choice") :])
    assert len(accounts) == 2
    assert page_of(browser.ask("GET", "/_contracts?symbol=AAPL")).count("data-conid"), "prices are of no account"
    assert browser.ask("GET", "/api/options/chain?symbol=SPY&strikes=2").status == 200
    refused = post(browser, "/orders", key=new_key(), account_id="", **TICKET)
    assert (refused.status, 'data-testid="fault-account_id"' in page_of(refused)) == (422, True)

    chosen = post(browser, "/account", account_id=accounts[1], back="/orders?ticket=AAPL")
    assert (chosen.status, chosen.headers["location"]) == (303, "/orders?ticket=AAPL")
    cookie = chosen.headers["set-cookie"]
    assert cookie.endswith("Path=/; Secure; HttpOnly; SameSite=Strict")
    there = with_cookie(browser, cookie)
    desk = page_of(there.ask("GET", "/_desk")) + page_of(there.ask("GET", "/"))
    assert f"<strong>{accounts[1]}</strong>" in desk
    assert "E-ACC-AMBIGUOUS" not in desk
    form = page_of(there.ask("GET", "/orders"))
    assert f'<option value="{accounts[1]}" selected>' in form[form.index('data-testid="ticket-account"') :]
    placed = post(there, "/orders", key=new_key(), account_id=accounts[1], **TICKET)
    assert placed.status == 303, page_of(placed)[-600:]
    assert [each["account_id"] for each in there.ask("GET", "/broker-order").data] == [accounts[1]]

    for foreign in ("DU0000009", "x; Path=/evil"):
        cookie = post(browser, "/account", account_id=foreign, back="//evil.example/").headers["set-cookie"]
        page = page_of(with_cookie(browser, cookie).ask("GET", "/"))
        assert "Choose the one to show and to trade." in page, "what the login does not have is not chosen"


def with_cookie(browser: Caller, cookie: str) -> Caller:
    return browser.with_({"Cookie": f"{browser.auth['Cookie']}; {cookie.split(';')[0]}"})
