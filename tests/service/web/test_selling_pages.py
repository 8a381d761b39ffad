"""The form that sells options: it shows what it sells, and guesses nothing that was chosen and left blank."""

from __future__ import annotations

import re
from collections.abc import Iterator

import pytest

from ibkit.service.web.reading import Form
from ibkit.service.web.sale_form import faults_of, wish_of
from page_forms import page_of, post
from service_desks import new_key
from service_people import Caller, ServedPeople, served_people

FILLED = {
    "symbol": "SPY",
    "expiry": "2026-11-24",
    "strategy": "put",
    "quantity": "1",
    "by": "delta",
    "delta": "0.16",
    "stop": "stop_multiple",
    "stop_multiple": "5",
}


@pytest.fixture(scope="module")
def people(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServedPeople]:
    with served_people(tmp_path_factory.mktemp("selling"), mock=True) as found:
        yield found


@pytest.fixture(scope="module")
def day(people: ServedPeople) -> str:
    """A day of the chain that is not the nearest: the simulated market stands in today's week."""
    return str(people.person().ask("GET", "/api/options/chain?symbol=SPY&strikes=2").data["expiries"][1])


@pytest.fixture
def browser(people: ServedPeople) -> Caller:
    return people.caller().at_browser(people.caller().sign_in(people.person().user.name, browser=True))


def value_of(page: str, name: str) -> str:
    """Of the visible field of the sale."""
    found = re.search(rf'<input id="f-{name}" name="{name}" type="(text|date)" value="([^"]*)"', page)
    assert found is not None, f"{name} is not shown"
    return found[2]


@pytest.mark.requirement("OPT-01", "UI-11")
def test_the_sale_shows_the_underlying_and_the_day_that_it_sells(browser: Caller, day: str) -> None:
    page = page_of(browser.ask("GET", f"/options?symbol=SPY&expiry={day}"))
    form = page[page.index('id="sell"') :]
    assert (value_of(form, "symbol"), value_of(form, "expiry")) == ("SPY", day)
    assert f'id="chain-title">Chain SPY {day}<' in page
    assert 'type="hidden" name="symbol"' not in page
    assert 'type="hidden" name="expiry"' not in page


@pytest.mark.requirement("UI-14")
def test_a_mistake_elsewhere_keeps_the_day_of_chain_and_sale_alike(browser: Caller, day: str) -> None:
    key = new_key()
    answer = post(browser, "/options/sell", key=key, **{**FILLED, "expiry": day, "delta": "much"})
    page = page_of(answer)
    assert answer.status == 422
    assert 'data-testid="fault-delta"' in page
    assert value_of(page, "expiry") == day
    assert f'id="chain-title">Chain SPY {day}<' in page


def test_another_choice_above_leads_to_its_page(browser: Caller) -> None:
    answer = browser.ask("GET", "/_options?symbol=qqq&expiry=2026-11-24", headers={"HX-Request": "true"})
    assert answer.headers["hx-redirect"] == "/options?symbol=QQQ&expiry=2026-11-24"


@pytest.mark.requirement("OPT-03")
def test_a_preview_names_what_it_is_of(browser: Caller, day: str) -> None:
    page = page_of(post(browser, "/options/preview", **{**FILLED, "expiry": day}))
    assert re.search(rf'data-testid="preview-of"><strong>1 × SPY {day}</strong> · \w+ · Paper<', page), page


@pytest.mark.requirement("OPT-01", "OPT-04")
@pytest.mark.parametrize(
    ("changes", "fault"),
    [
        ({"expiry": ""}, "expiry"),
        ({"stop": "trail_pct", "trail_pct": ""}, "trail_pct"),
        ({"stop": "trail_amount"}, "trail_amount"),
        ({"stop_multiple": " "}, "stop_multiple"),
        ({"stop": "none"}, "stop"),
        ({"strategy": "put-spread", "width": ""}, "width"),
        ({"strategy": "naked"}, "strategy"),
        ({"delta": ""}, "delta"),
        ({"by": "strike", "strategy": "strangle", "put_strike": "600"}, "call_strike"),
        ({"order_type": "limit"}, "limit_price"),
        ({"quantity": ""}, "quantity"),
    ],
    ids=lambda given: given if isinstance(given, str) else "",
)
def test_what_is_chosen_and_left_blank_is_a_fault_never_a_default(changes: dict[str, str], fault: str) -> None:
    assert list(faults_of(form_of({**FILLED, **changes}))) == [fault]


@pytest.mark.requirement("UI-14")
def test_nothing_is_sold_or_previewed_while_a_field_is_missing(browser: Caller) -> None:
    wrong = {**FILLED, "stop": "trail_pct", "trail_pct": ""}
    answer = post(browser, "/options/sell", key=new_key(), **wrong)
    assert (answer.status, 'data-testid="fault-trail_pct"' in page_of(answer)) == (422, True)
    shown = post(browser, "/options/preview", **wrong)
    assert (shown.status, "<strong>Trailing, percent</strong>" in page_of(shown)) == (422, True)


def form_of(given: dict[str, str]) -> Form:
    return Form({name: (value,) for name, value in given.items()})


def test_a_whole_form_is_the_wish_of_the_interface() -> None:
    assert faults_of(form_of(FILLED)) == {}
    wish = wish_of(form_of({**FILLED, "strategy": "condor", "width": "5", "confirm": "o163, o383"}))
    assert (wish["side"], wish["width"], wish["confirm"]) == ("both", 5, ["o163", "o383"])
    assert wish["expiry"] == "2026-11-24"
