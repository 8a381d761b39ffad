"""The form that sells options: it shows what it sells, and guesses nothing that was chosen and left blank."""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any
from urllib.parse import urlencode

import pytest

from ibkit.service.orders import Answer
from ibkit.service.sale_answer import SaleAnswer, SaleData, SaleLeg
from ibkit.service.sales import Sales
from ibkit.service.web.reading import Form
from ibkit.service.web.sale_form import faults_of, recorded, wish_of
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
    least = re.search(r'data-testid="payoff-least">−([\d,]+)\.', page)
    assert least is not None
    assert int(least[1].replace(",", "")) > 10_000, "a sold put may cost its strike, not what is drawn"


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


@pytest.mark.requirement("TRD-10", "OPT-06")
def test_a_sale_that_was_declined_is_sent_anew_with_its_question_allowed(
    people: ServedPeople, browser: Caller, day: str
) -> None:
    assert people.service.world is not None
    control = people.service.world.control
    control("POST", "scenario", {"scenario": ["order-question-unknown"]})
    try:
        key = new_key()
        answer = post(browser, "/options/sell", key=key, **{**FILLED, "expiry": day})
    finally:
        control("POST", "scenario", {"scenario": ["ok"]})
    page = page_of(answer)
    assert (answer.status, "E-ORD-QUESTION" in page) == (409, True), page[-500:]
    assert f'name="key" value="{key}"' not in page, "each side was refused: nothing of it is at IBKR"
    assert 'name="key" value="' in page
    assert "<details open><summary>More" in page


# -- a sale that broke off --------------------------------------------------------------------------------------------

KEY = "the-key-of-a-sale"


def broken_off(day: str) -> SaleData:
    legs = [SaleLeg(side="put", outcome="unknown", strike=Decimal(620), long_strike=Decimal(615))]
    at = datetime(2026, 11, 20, 15, 30, tzinfo=UTC)
    return SaleData(
        key=KEY,
        state="interrupted",
        outcome=None,
        message="",
        broker="mock",
        account_id="DU1",
        environment="paper",
        simulated=True,
        symbol="SPY",
        expiry=date.fromisoformat(day),
        quantity=Decimal(2),
        legs=legs,
        notes=[],
        created_at=at,
        ended_at=None,
    )


@pytest.mark.requirement("OPT-06", "TRD-14")
@pytest.mark.parametrize("known", [True, False], ids=["its form is in the address", "from the records"])
def test_a_sale_that_broke_off_is_carried_on_with_its_key(
    browser: Caller, day: str, monkeypatch: pytest.MonkeyPatch, known: bool
) -> None:
    told = Answer(200, SaleAnswer(data=broken_off(day), cached=True))

    async def shown(self: Sales, who: Any, text: str) -> Answer:
        return told

    monkeypatch.setattr(Sales, "show", shown)
    form = {**FILLED, "expiry": day, "strategy": "put-spread", "width": "5", "delta": "0.2"}
    page = page_of(browser.ask("GET", f"/options/sales/{KEY}" + (f"?{urlencode(form)}" if known else "")))
    assert ">Broken off<" in page
    assert "/_sale/" not in page, "nothing goes on by itself"
    link = re.search(r'href="(/options\?[^"]+)" data-testid="carry-on"', page)
    assert link is not None
    page = page_of(browser.ask("GET", link[1]))
    assert f'name="key" value="{KEY}"' in page
    assert f'name="carries" value="{KEY}"' in page
    assert (value_of(page, "symbol"), value_of(page, "expiry"), value_of(page, "width")) == ("SPY", day, "5")
    assert value_of(page, "quantity") == ("1" if known else "2")
    assert '<option value="put-spread" selected>' in page
    assert value_of(page, "delta" if known else "put_strike") == ("0.2" if known else "620")
    assert ">Carry on<" in page
    answer = post(browser, "/options/sell", key=KEY, carries=KEY, **{**form, "width": ""})
    assert (answer.status, f'name="key" value="{KEY}"' in page_of(answer)) == (422, True)


@pytest.mark.parametrize("strategy", ["put", "call", "strangle", "put-spread", "call-spread", "condor"])
def test_what_the_records_tell_is_that_strategy(strategy: str) -> None:
    spread = Decimal(610) if strategy in ("put-spread", "call-spread", "condor") else None
    sides = [each for each in ("put", "call") if strategy in (each, f"{each}-spread", "strangle", "condor")]
    legs = [{"side": side, "strike": Decimal(600), "long_strike": spread} for side in sides]
    sale = {"symbol": "SPY", "expiry": "2026-11-24", "quantity": Decimal(1), "legs": legs}
    form = form_of(recorded(sale) | {"stop_multiple": "5"})
    assert faults_of(form) == {}
    wish = wish_of(form)
    assert (wish["side"], wish.get("width")) == ("both" if len(sides) == 2 else sides[0], spread and Decimal(10))
