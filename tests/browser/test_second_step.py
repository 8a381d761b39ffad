"""The second step in a browser: begun by its QR code, asked for at the next sign-in, and taken off."""

from __future__ import annotations

import re

import pytest
from playwright.sync_api import Page, expect

from browser_desks import Pages, element
from ibkit.users import Role
from ibkit.users.totp import STEP_S
from service_people import secret_of
from user_desks import PASSWORD


def sign_in(page: Page, name: str) -> None:
    page.get_by_label("User name").fill(name)
    page.get_by_label("Password").fill(PASSWORD.reveal())
    element(page, "sign-in").click()


@pytest.mark.requirement("UI-01", "FUT-06")
@pytest.mark.plants_secrets  # its address is shown for who types it into the app, as it must be
def test_a_second_step_is_set_up_asked_for_and_survived_without_the_app(pages: Pages) -> None:
    ada = pages.people.person(Role.TRADER)
    page = pages.visit(ada, "/settings/me")
    expect(element(page, "second-step-state")).to_have_text("Off")
    element(page, "begin-second-step").click()
    expect(element(page, "qr")).to_be_visible()
    page.locator("summary", has_text="by hand").click()
    secret = secret_of(page.locator("details code").inner_text())
    page.locator("#f-code").fill("000000")
    element(page, "confirm-second-step").click()
    expect(element(page, "second-step-state")).to_have_text("Off")
    expect(element(page, "qr")).to_be_visible()
    page.locator("#f-code").fill(pages.people.code(secret))
    element(page, "confirm-second-step").click()
    codes = element(page, "recovery-codes").locator("#codes span")
    expect(codes).to_have_count(10)
    first = codes.first.inner_text()
    assert re.fullmatch(r"([a-z2-7]{4}-){6}[a-z2-7]{2}", first), first
    page.goto("/settings/me")
    expect(element(page, "second-step-state")).to_have_text("On")
    assert first not in page.content(), "shown once"
    element(page, "user-menu").click()
    element(page, "sign-out").click()

    pages.people.clock.advance(2 * STEP_S)
    page.goto("/orders")
    sign_in(page, ada.user.name)
    code = page.locator("#f-code")
    code.fill("123")
    element(page, "enter-code").click()
    expect(element(page, "failure")).to_be_visible()
    code.fill(pages.people.code(secret))
    element(page, "enter-code").click()
    expect(page).to_have_url(re.compile(r"/orders$"))

    # The telephone is lost: a recovery code, as it was printed or without its dashes, lets in once.
    for typed, good in ((first.replace("-", " ").upper(), True), (first, False)):
        element(page, "user-menu").click()
        element(page, "sign-out").click()
        sign_in(page, ada.user.name)
        code.fill(typed)
        element(page, "enter-code").click()
        if good:
            expect(element(page, "user-menu")).to_be_visible()
        else:
            expect(element(page, "failure")).to_be_visible()
    pages.people.clock.advance(2 * STEP_S)
    code.fill(pages.people.code(secret))
    element(page, "enter-code").click()
    page.goto("/settings/me")
    element(page, "remove-second-step").click()
    expect(element(page, "second-step-state")).to_have_text("Off")


@pytest.mark.requirement("UI-01")
def test_a_browser_that_is_forgotten_elsewhere_is_signed_out_from_here(pages: Pages) -> None:
    ada = pages.people.person(Role.TRADER)
    left = pages.visit(ada, "/trades")
    page = pages.visit(ada, "/settings/me")
    expect(element(page, "session")).to_have_count(2)
    expect(element(page, "session").filter(has_text="this one")).to_have_count(1)
    element(page, "end-session").click()
    expect(element(page, "done")).to_be_visible()
    expect(element(page, "session")).to_have_count(1)
    left.reload()
    expect(left).to_have_url(re.compile(r"/sign-in"))
