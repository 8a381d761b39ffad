"""The ticket and what comes of it: questions are seen where orders are waited for."""

from __future__ import annotations

import re
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from ibkit.service.web.site import Visit
from page_forms import page_of, post
from service_desks import new_key, until
from service_people import Caller, ServedPeople, served_people

TICKET = {
    "action": "buy",
    "symbol": "AAPL",
    "qty": "2",
    "instrument": "stock",
    "order_type": "limit",
    "limit_price": "200",
    "time_in_force": "day",
}


@pytest.fixture(scope="module")
def people(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServedPeople]:
    with served_people(tmp_path_factory.mktemp("ticket"), mock=True) as found:
        yield found


@pytest.fixture
def browser(people: ServedPeople) -> Caller:
    return people.caller().at_browser(people.caller().sign_in(people.person().user.name, browser=True))


def scenario(people: ServedPeople, name: str) -> None:
    assert people.service.world is not None
    people.service.world.control("POST", "scenario", {"scenario": [name]})


@pytest.fixture
def asks(people: ServedPeople) -> Iterator[None]:
    """IBKR asks about each order what is in no list."""
    scenario(people, "order-question-unknown")
    try:
        yield
    finally:
        scenario(people, "ok")


def part(browser: Caller, at: str = "/orders") -> str:
    answer = browser.ask("GET", f"/_questions?at={at}")
    assert answer.status == 200, answer.raw
    return page_of(answer)


@pytest.mark.requirement("TRD-10", "UI-11")
@pytest.mark.usefixtures("asks")
def test_who_has_a_page_open_is_asked_there_and_answers_there(browser: Caller) -> None:
    assert 'data-testid="questions"' not in part(browser), "from here on somebody looks, by the renewal alone"
    found: list[str] = []

    def there() -> bool:
        found[:] = re.findall(r'id="question-([^"]+)"', part(browser))
        return bool(found)

    with ThreadPoolExecutor(1) as tasks:
        placed = tasks.submit(post, browser, "/orders", key=new_key(), **TICKET)
        until(there)
        order_id = browser.ask("GET", "/api/questions").data[0]["order_id"]
        page = page_of(browser.ask("GET", f"/orders/{order_id}"))
        assert f'id="question-{found[0]}"' in page
        assert f'data-hx-get="/_questions?at=%2Forders%2F{order_id}" data-hx-trigger="tick from:body"' in page
        done = answered(browser, found[0], "yes", at=f"/orders/{order_id}")
        assert (done.status, done.headers["location"]) == (303, f"/orders/{order_id}")
        assert placed.result().headers["location"] == f"/orders/{order_id}"
    late = answered(browser, found[0], "no", at="//evil.example/", script=True)
    assert (late.status, "waits no more" in page_of(late)) == (200, True)
    assert answered(browser, found[0], "no", at="//evil.example/").status == 404


def answered(browser: Caller, question_id: str, answer: str, *, at: str, script: bool = False) -> Any:
    headers = {"HX-Request": "true"} if script else {}
    return post(browser, f"/orders/questions/{question_id}", headers=headers, answer=answer, at=at)


# -- the key of a ticket ----------------------------------------------------------------------------------------------


def hidden(page: str, name: str) -> str:
    found = re.search(rf'<input type="hidden" name="{name}" value="([^"]*)"', page)
    assert found is not None, name
    return found[1]


def orders_of(browser: Caller) -> list[Any]:
    found: list[Any] = browser.ask("GET", "/broker-order?limit=20").data
    return found


@pytest.mark.requirement("UI-11", "GWY-03")
def test_another_order_with_a_used_key_is_named_and_sent_by_a_deliberate_act_alone(browser: Caller) -> None:
    key = new_key()
    placed = post(browser, "/orders", key=key, **TICKET)
    assert placed.status == 303, placed.raw
    for wrong in ({"qty": "5"}, {"qty": "much"}, {"qty": "5"}):
        answer = post(browser, "/orders", key=key, **{**TICKET, **wrong})
        assert (answer.status, hidden(page_of(answer), "key")) == (422, key), "it may never become a second order"
    page = page_of(answer)
    assert f'<a href="{placed.headers["location"]}" data-testid="earlier-link">' in page
    assert "Buy 2 AAPL" in page
    assert len(orders_of(browser)) == 1
    twice = [
        post(browser, "/orders", key=key, next_key=hidden(page, "next_key"), another="on", **{**TICKET, "qty": "5"})
        for _ in range(2)
    ]
    assert {each.status for each in twice} == {303}
    assert sorted(each["quantity"] for each in orders_of(browser)) == [2, 5], "a double click is one order, here, too"


@pytest.mark.requirement("UI-11", "TRD-10")
@pytest.mark.usefixtures("asks")
def test_what_was_declined_is_confirmed_by_the_same_form(browser: Caller) -> None:
    key = new_key()
    answer = post(browser, "/orders", key=key, **TICKET)
    page = page_of(answer)
    assert (answer.status, answer.status and "E-ORD-QUESTION" in page) == (409, True)
    asked = re.search(r"write (\w+) under More", page)
    assert asked is not None
    assert hidden(page, "key") != key, "nothing of it is at IBKR"
    again = post(browser, "/orders", key=key, **TICKET, confirm=asked[1])
    assert (again.status, 'data-testid="earlier"' in page_of(again)) == (409, True), "the old key is its old answer"
    done = post(browser, "/orders", key=hidden(page, "key"), **TICKET, confirm=asked[1])
    assert done.status == 303, done.raw
    assert sorted(each["status"] for each in orders_of(browser)) == ["rejected", "submitted"]


@pytest.mark.requirement("UI-11", "TRD-10")
def test_a_change_that_was_declined_is_confirmed_by_its_form(browser: Caller, people: ServedPeople) -> None:
    placed = post(browser, "/orders", key=new_key(), **TICKET)
    address = placed.headers["location"]
    scenario(people, "order-question-unknown")
    try:
        answer = post(browser, f"{address}/change", key=new_key(), limit_price="201")
        page = page_of(answer)
        assert (answer.status, 'name="confirm"' in page) == (409, True), page[-800:]
        asked = re.search(r"Write (\w+) to allow", page)
        assert asked is not None
        done = post(browser, f"{address}/change", key=hidden(page, "key"), limit_price="201", confirm=asked[1])
    finally:
        scenario(people, "ok")
    assert (done.status, done.headers["location"]) == (303, address), done.raw[-800:]
    assert browser.ask("GET", f"/broker-order/{address.rpartition('/')[2]}").data["price"] == 201


# -- what is previewed is what is sent --------------------------------------------------------------------------------


@pytest.mark.requirement("UI-11")
def test_a_preview_names_the_very_ticket(browser: Caller) -> None:
    page = page_of(post(browser, "/orders/preview", **TICKET, take_profit="210"))
    shown = page[page.index('data-testid="preview-of"') :]
    assert re.match(r".*<strong>BUY 2 AAPL LMT @ 200 DAY</strong>.*<strong>SELL 2 AAPL LMT @ 210 ", shown, re.S)
    assert re.search(r"\w+ · Paper · Contract number", shown)
    form = page_of(browser.ask("GET", "/orders"))
    assert 'data-preview="preview" data-stale="The form was changed' in form, "an edit takes the preview away"


@pytest.mark.requirement("UI-11", "TRD-10")
def test_the_chosen_contract_is_the_one_that_is_ordered_or_none_is(browser: Caller) -> None:
    found = page_of(browser.ask("GET", "/_contracts?symbol=AAPL"))
    number = re.search(r'data-value="AAPL" data-conid="(\d+)"', found)
    assert number is not None
    assert post(browser, "/orders/preview", **TICKET, conid=number[1]).status == 200
    key = new_key()
    answer = post(browser, "/orders", key=key, **TICKET, conid="1")
    assert (answer.status, 'data-testid="fault-conid"' in page_of(answer)) == (422, True)
    assert orders_of(browser) == []
    assert post(browser, "/orders", key=key, **TICKET, conid=number[1]).status == 303
    again = post(browser, "/orders", key=key, **TICKET, conid="1")
    assert (again.status, "conid" in page_of(again)) == (422, True), "another contract is another order"


@pytest.mark.requirement("UI-11", "OPT-08")
def test_a_live_ticket_goes_to_the_account_that_is_typed(browser: Caller, monkeypatch: pytest.MonkeyPatch) -> None:
    account_id = browser.ask("GET", "/api/account").data["account_id"]
    assert 'name="confirm_account"' not in page_of(browser.ask("GET", "/orders")), "of paper nobody is asked"

    async def live(self: Visit) -> dict[str, Any]:
        return {"environment": "live", "provider": "mock", "state": "connected", "label": "LIVE", "simulated": False}

    monkeypatch.setattr(Visit, "state", live)
    monkeypatch.setattr("ibkit.service.web.site.banners_of", lambda state: [])
    assert 'name="confirm_account" type="text" value="" required' in page_of(browser.ask("GET", "/orders"))
    key = new_key()
    answer = post(browser, "/orders", key=key, **TICKET)
    assert (answer.status, 'data-testid="fault-confirm_account"' in page_of(answer)) == (422, True)
    wrong = post(browser, "/orders", key=key, **TICKET, confirm_account="U7654321")
    assert wrong.status == 404, wrong.raw[-400:]
    assert orders_of(browser) == []
    assert post(browser, "/orders", key=key, **TICKET, confirm_account=account_id.lower()).status == 303
    assert [each["account_id"] for each in orders_of(browser)] == [account_id]
