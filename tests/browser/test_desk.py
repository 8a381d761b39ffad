"""Sign-in, the desk, an order and a sale, as somebody at a browser makes them."""

from __future__ import annotations

import re

import pytest
from playwright.sync_api import Page, expect

from browser_desks import DESKTOP, PHONE, Pages, too_wide, troubles
from ibkit.users import Role
from user_desks import PASSWORD

EXPIRY = "2026-11-20"


def at(page: Page, name: str) -> expect.Locator:  # type: ignore[name-defined]
    return page.get_by_test_id(name)


@pytest.mark.requirement("UI-01")
def test_somebody_signs_in_comes_back_to_where_they_wanted_and_signs_out(pages: Pages) -> None:
    ada = pages.people.person(Role.TRADER)
    page = pages.visit(None, "/orders")
    expect(page).to_have_url(re.compile(r"/sign-in\?next=/orders"))
    page.get_by_label("User name").fill(ada.user.name)
    page.get_by_label("Password").fill("not this one")
    at(page, "sign-in").click()
    expect(at(page, "failure")).to_contain_text("trace id")
    assert page.get_by_label("User name").input_value() == ada.user.name
    assert page.get_by_label("Password").input_value() == ""
    page.get_by_label("Password").fill(PASSWORD.reveal())
    at(page, "sign-in").click()
    expect(page).to_have_url(re.compile(r"/orders$"))
    at(page, "user-menu").click()
    at(page, "sign-out").click()
    expect(page).to_have_url(re.compile(r"/sign-in$"))
    page.go_back()
    page.reload()
    expect(page).to_have_url(re.compile(r"/sign-in"))


@pytest.mark.requirement("UI-16")
@pytest.mark.parametrize("path", ["/", "/orders", "/options", "/trades", "/sign-in", "/welcome"])
@pytest.mark.parametrize(("size", "dark"), [(DESKTOP, False), (PHONE, True)], ids=["desktop", "dark phone"])
def test_axe_finds_nothing_serious_and_no_page_is_wider_than_its_screen(
    pages: Pages, path: str, size: tuple[int, int], dark: bool
) -> None:
    page = pages.visit(None if path in ("/sign-in", "/welcome") else pages.owner(), path, size=size, dark=dark)
    assert troubles(page) == []
    assert too_wide(page) == []
    assert pages.said == []
    assert page.locator("h1").count() == 1


@pytest.mark.requirement("UI-11")
def test_an_order_is_looked_at_placed_once_and_seen_filled(pages: Pages) -> None:
    ada = pages.owner()
    page = pages.visit(ada, "/orders")
    page.get_by_label("Symbol", exact=True).first.fill("AAPL")
    page.get_by_label("Quantity").fill("2")
    page.get_by_label("Type").select_option("market")
    at(page, "preview").click()
    expect(at(page, "preview-result")).to_contain_text("It may be sent")
    expect(at(page, "preview-limits")).to_contain_text("max quantity")
    before = pages.requests("/orders")
    at(page, "place-order").dblclick()  # one send a click, and one order a key
    expect(page).to_have_url(re.compile(r"/orders/ib-"))
    expect(at(page, "filled")).to_contain_text("2 / 2")
    expect(at(page, "timeline")).to_be_visible()
    listed = ada.ask("GET", "/broker-order?symbol=AAPL").data
    assert [each["quantity"] for each in listed] == [2]
    assert pages.requests("/orders") > before
    page.go_back()  # the form is empty again, or has its key: no second order comes of it
    at(page, "place-order").click()
    page.wait_for_load_state()
    assert len(ada.ask("GET", "/broker-order?symbol=AAPL").data) == 1
    page.goto("/")
    expect(at(page, "position").first).to_contain_text("AAPL")


@pytest.mark.requirement("UI-11")
def test_every_mistake_of_a_ticket_stands_beside_its_field_and_nothing_typed_is_lost(pages: Pages) -> None:
    page = pages.visit(pages.owner(), "/orders")
    page.get_by_label("Symbol", exact=True).first.fill("<b>")
    page.get_by_label("Quantity").fill("many")
    page.get_by_label("Limit price").fill("-3")
    at(page, "place-order").click()
    for name in ("symbol", "qty", "limit_price"):
        expect(at(page, f"fault-{name}")).not_to_be_empty()
    assert page.get_by_label("Quantity").input_value() == "many"
    assert page.get_by_label("Symbol", exact=True).first.input_value() == "<b>"


@pytest.mark.requirement("UI-11")
def test_a_working_order_is_changed_and_cancelled(pages: Pages) -> None:
    ada = pages.owner()
    page = pages.visit(ada, "/orders?ticket=SPY&action=buy&qty=1&order_type=limit&limit_price=600")
    at(page, "place-order").click()
    expect(at(page, "order-status")).to_have_text("Working")
    page.get_by_label("Limit price").fill("601")
    at(page, "change-order").click()
    expect(page.locator("#order")).to_contain_text("601.00")
    page.locator("main").get_by_test_id("cancel-order").click()
    expect(at(page, "order-status")).to_have_text("Cancelled")


@pytest.mark.requirement("UI-11", "OPT-02")
def test_a_put_is_sold_from_the_chain_and_its_stop_stands(pages: Pages) -> None:
    ada = pages.owner()
    page = pages.visit(ada, "/options")
    expect(at(page, "chain")).to_contain_text("630")
    page.get_by_label("Contracts").fill("1")
    at(page, "sale-preview").click()
    expect(at(page, "sale-preview-result")).to_contain_text("It may be sold")
    expect(at(page, "payoff")).to_be_visible()
    at(page, "sell").click()
    expect(page).to_have_url(re.compile(r"/options/sales/"))
    expect(at(page, "sale-outcome")).to_have_text("Sold and protected", timeout=30_000)
    expect(at(page, "leg-outcome")).to_have_text("Sold and protected")
    page.goto("/")
    expect(page.get_by_test_id("position").filter(has_text="SPY").get_by_test_id("protection")).to_contain_text("Stop")
    page.goto("/trades")
    expect(at(page, "trade").first).to_contain_text("SPY")


@pytest.mark.requirement("UI-04")
def test_ten_open_tabs_ask_ibkr_nothing_more_than_one(pages: Pages) -> None:
    ada = pages.owner()
    tabs = [pages.visit(ada, "/") for _ in range(10)]
    first = tabs[0]
    first.wait_for_timeout(300)
    before = pages.requests("tickle"), pages.requests("/portfolio")
    for tab in tabs:
        tab.evaluate("document.body.dispatchEvent(new CustomEvent('tick'))")
        tab.evaluate("document.body.dispatchEvent(new CustomEvent('look'))")
    first.wait_for_timeout(500)
    assert pages.requests("tickle") - before[0] < len(tabs)
    assert pages.requests("/portfolio") - before[1] < len(tabs)
