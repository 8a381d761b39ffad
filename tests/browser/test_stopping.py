"""Stopping trading in a browser, seen by who presses and by who wants to buy; and letting it go on."""

from __future__ import annotations

import re

import pytest
from playwright.sync_api import Locator, Page, expect

from browser_desks import Pages, element
from ibkit.users import Role

NOTE = "runaway loop <b>"


def of_this_test(page: Page) -> Locator:
    """Other tests of the same service leave some for live, which one person cannot release."""
    return element(page, "halt").filter(has_text=NOTE)


def release(page: Page, halt: Locator) -> None:
    halt.get_by_placeholder("Why").fill("the loop is ended")
    halt.get_by_test_id("release").click()


@pytest.mark.requirement("UI-11", "TRD-12")
def test_trading_is_stopped_with_its_orders_cancelled_and_released_with_a_note(pages: Pages) -> None:
    ada, bob = pages.owner(), pages.people.person(Role.TRADER)
    ticket = "/orders?ticket=SPY&action=buy&qty=1&order_type=limit&limit_price=600"
    theirs = pages.visit(bob, ticket)
    element(theirs, "place-order").click()
    expect(element(theirs, "order-status")).to_have_text("Working")
    # From whichever page: the button in the head leads to the form, and sends nothing by itself.
    page = pages.visit(ada, "/trades")
    element(page, "kill-link").click()
    expect(page).to_have_url(re.compile(r"/orders#kill$"))
    switch = element(page, "kill-switch")
    switch.get_by_label("What stops").select_option("cancel-all")
    try:
        element(page, "kill").click()  # without a reason the browser itself asks for it
        expect(element(page, "pressed")).to_have_count(0)
        switch.locator("#f-note").fill(NOTE)
        element(page, "kill").click()
        expect(element(page, "pressed")).to_be_visible()
        halts = of_this_test(page)
        expect(halts).to_have_count(2)  # without an account paper and live stop alike
        for each in halts.all():
            expect(each).to_contain_text(NOTE)
            expect(each).to_contain_text(ada.user.name)
        theirs.reload()
        expect(element(theirs, "order-status")).to_have_text("Cancelled")
        # Who only trades sees that it is stopped, and why; their order is refused with the reason.
        theirs.goto(ticket)
        expect(of_this_test(theirs).first).to_be_visible()
        expect(element(theirs, "kill")).to_have_count(0)
        expect(element(theirs, "release")).to_have_count(0)
        element(theirs, "place-order").click()
        expect(element(theirs, "failure").first).to_contain_text(NOTE)
    finally:
        # Live goes on by the word of two, paper by that of one.
        live, paper = (halts.filter(has_text=name) for name in ("Live:", "Paper:"))
        release(page, live)
        expect(element(page, "waits")).to_be_visible()
        expect(live).to_contain_text("Waits for a second person")
        second = pages.visit(pages.owner(), "/orders")
        release(second, of_this_test(second).filter(has_text="Live:"))
        expect(element(second, "released")).to_be_visible()
        page.reload()
        release(page, paper)
        expect(element(page, "released")).to_be_visible()
    expect(of_this_test(page)).to_have_count(0)
    theirs.goto(ticket)
    element(theirs, "place-order").click()
    expect(element(theirs, "order-status")).to_have_text("Working")
    theirs.locator("main").get_by_test_id("cancel-order").click()
    expect(element(theirs, "order-status")).to_have_text("Cancelled")
