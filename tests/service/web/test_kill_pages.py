"""Stopping trading on the page of orders: who may, what it tells afterwards, and where its mistakes stand."""

from __future__ import annotations

import re
from collections.abc import Iterator

import pytest

from ibkit.users import Role
from page_forms import page_of, post
from service_desks import ORDER, new_key, until
from service_people import Caller, ServedPeople, served_people

pytestmark = pytest.mark.requirement("UI-11", "TRD-18")


@pytest.fixture(scope="module")
def people(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServedPeople]:
    with served_people(tmp_path_factory.mktemp("kill-pages"), mock=True) as found:
        yield found


def browser_of(people: ServedPeople, role: Role) -> Caller:
    return people.caller().at_browser(people.caller().sign_in(people.person(role).user.name, browser=True))


def orders_page(browser: Caller) -> str:
    return page_of(browser.ask("GET", "/orders"))


def card(page: str) -> str:
    return page[page.index('data-testid="kill-switch"') :]


def test_only_who_administers_has_the_switch_and_everybody_sees_what_is_stopped(people: ServedPeople) -> None:
    owner, ada, viewer = (browser_of(people, role) for role in (Role.OWNER, Role.TRADER, Role.VIEWER))
    assert 'data-testid="kill-link"' in orders_page(owner)
    pressed = post(owner, "/orders/kill", note="look into it", kill_symbol="QQQ")
    page = card(page_of(pressed))
    assert (pressed.status, 'data-testid="pressed"' in page) == (200, True)
    assert sorted(re.findall(r"<strong>(\w+): No new orders</strong>", page)) == ["Live", "Paper"]
    for other in (ada, viewer):
        page = orders_page(other)
        assert 'data-testid="kill-link"' not in page
        assert 'data-testid="kill"' not in page
        assert 'data-testid="release"' not in page
        assert "look into it" in card(page)
        assert post(other, "/orders/kill", note="me, too").status == 403
    released = post(owner, "/orders/release", note="seen", symbol="QQQ", environment="live")
    page = card(page_of(released))
    assert 'data-testid="waits"' in page
    page = card(orders_page(owner))
    assert re.search(r'waits-for-second">Waits for a second person; asked for by owner-\d+<', page), (
        "it stays to be seen"
    )
    assert "Waits for a second person" not in card(orders_page(ada))
    for browser, where in ((browser_of(people, Role.OWNER), "live"), (owner, "paper")):
        released = post(browser, "/orders/release", note="seen", symbol="QQQ", environment=where)
        assert 'data-testid="released"' in page_of(released)
    assert 'data-testid="halt"' not in orders_page(owner)
    assert owner.ask("GET", "/orders/kill").headers["location"] == "/orders#kill"


def test_a_mistake_stands_in_the_switch_with_what_was_typed_and_not_in_the_ticket(people: ServedPeople) -> None:
    owner = browser_of(people, Role.OWNER)
    answer = post(owner, "/orders/kill", note="all of it", mode="cancel-all", kill_symbol="SPY")
    page = page_of(answer)
    assert answer.status == 422
    assert 'data-testid="fault-kill_symbol"' in card(page)
    assert 'name="kill_symbol" type="text" value="SPY"' in card(page)
    assert '<option value="cancel-all" selected>' in card(page)
    assert 'value="all of it"' in card(page)
    ticket = page[page.index('data-testid="ticket"') :]
    assert 'data-testid="fault-symbol"' not in ticket[: ticket.index("</form>")]
    assert page.count('data-testid="failure"') == 1
    assert page.index('data-testid="kill-switch"') < page.index('data-testid="ticket"'), "where it is seen"


def test_what_became_of_working_orders_is_told(people: ServedPeople) -> None:
    owner, ada = browser_of(people, Role.OWNER), people.person()
    placed = ada.ask("POST", "/broker-order", {**ORDER, "order_type": "limit", "limit_price": 1}, key=new_key())
    assert placed.status in (201, 202), placed.raw
    account = placed.data["account_id"]
    answer = post(owner, "/orders/kill", note="everything", mode="cancel-all", kill_account=account)
    page = card(page_of(answer))
    assert (answer.status, "with a cancel of what worked" in page) == (200, True)
    assert 'data-testid="cancelling"' in page
    until(lambda: f"{account}: none works any more" in page_of(owner.ask("GET", "/_cancelling")))
    assert "1 cancelled." in card(orders_page(owner))
    assert 'data-testid="cancelling"' not in page_of(browser_of(people, Role.TRADER).ask("GET", "/_cancelling"))
