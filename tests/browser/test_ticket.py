"""The ticket in a browser: a preview lasts as long as its form, and a question leaves what is typed alone."""

from __future__ import annotations

import re

import pytest
from playwright.sync_api import expect

from browser_desks import Pages, element


@pytest.mark.requirement("UI-11")
def test_a_preview_goes_with_the_form_that_it_was_of_and_so_does_the_contract(pages: Pages) -> None:
    page = pages.visit(pages.owner(), "/orders?order_type=limit&limit_price=150")
    symbol = page.get_by_label("Symbol", exact=True).first
    symbol.press_sequentially("AAPL")
    page.locator("#contracts button").first.click()
    expect(page.get_by_label("Contract number")).to_have_value("265598")
    element(page, "preview").click()
    expect(element(page, "preview-of")).to_contain_text("BUY 1 AAPL LMT @ 150 DAY")
    page.get_by_label("Quantity").fill("2")
    expect(page.locator("#preview")).to_have_text("The form was changed: preview it again.")
    symbol.press_sequentially("X")
    expect(page.get_by_label("Contract number")).to_have_value("")


@pytest.mark.requirement("TRD-10", "UI-11")
def test_a_question_is_answered_beside_a_ticket_that_keeps_what_is_typed(pages: Pages) -> None:
    ada = pages.owner()
    page = pages.visit(ada, "/orders")
    page.get_by_label("Limit price").fill("123")
    with pages.during("order-question-unknown"):
        other = pages.visit(ada, "/orders?ticket=AAPL&order_type=limit&limit_price=150&qty=4")
        element(other, "place-order").click(no_wait_after=True)
        expect(element(page, "questions")).to_contain_text("AAPL")
        page.get_by_role("button", name="Confirm").click()
        expect(element(page, "questions")).to_have_count(0)
        expect(other).to_have_url(re.compile(r"/orders/ib-"))
        expect(element(other, "order-status")).to_have_text("Working")
    assert page.get_by_label("Limit price").input_value() == "123"
    assert page.url.endswith("/orders")
