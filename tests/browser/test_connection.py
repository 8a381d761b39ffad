"""The connection at a real browser: it is tried step by step, a change shows without a reload."""

from __future__ import annotations

import re

import pytest
from playwright.sync_api import expect

from browser_desks import Pages, element, look_until, troubles

STEPS = ("oauth", "sso", "validate", "init")


@pytest.mark.requirement("UI-03")
def test_a_test_that_works_shows_each_step_with_its_tick_and_words(pages: Pages) -> None:
    page = pages.visit(pages.owner(), "/settings")
    with page.expect_response("**/settings/test") as answered:
        element(page, "test-connection").click()
    assert answered.value.request.method == "POST"
    expect(element(page, "test-result")).to_contain_text("DU1000001")
    for name in STEPS:
        step = element(page, f"step-{name}")
        expect(step).to_have_class(re.compile(r"\bok\b"))
        expect(step).to_contain_text(re.compile(r"\d ms"))
        expect(step.locator(".row span").first).not_to_be_empty()
    assert pages.said == []


@pytest.mark.requirement("UI-03", "UI-04", "UI-10", "UI-14")
def test_a_lost_login_is_told_without_a_reload_with_what_helps(pages: Pages) -> None:
    ada = pages.owner()
    page, tried = pages.visit(ada, "/"), pages.visit(ada, "/settings")
    page.evaluate("window.same = true")
    expect(element(page, "connection-pill")).to_have_attribute("data-state", "connected")
    expect(element(page, "banner-login-required")).to_have_count(0)
    with pages.during("not-authenticated"):
        element(tried, "test-connection").click()
        failed = tried.locator("#steps .step.failed")
        expect(failed).to_have_count(1)
        expect(failed.locator("p").first).not_to_be_empty()
        expect(element(tried, "step-init")).to_contain_text("not attempted")
        expect(element(tried, "step-init")).not_to_have_class(re.compile("ok|failed"))
        banner = element(page, "banner-login-required")
        look_until(page, lambda: banner.count() == 1)
        expect(banner).to_contain_text("login")
        expect(banner.get_by_role("link")).to_have_attribute("href", "/settings")
        expect(element(page, "connection-pill")).to_have_attribute("data-state", "needs_login")
    look_until(page, lambda: banner.count() == 0)
    expect(element(page, "connection-pill")).to_have_attribute("data-state", "connected")
    assert page.evaluate("window.same"), "the page was not loaded anew"


@pytest.mark.requirement("UI-10")
def test_another_login_of_the_same_name_is_told_and_can_be_taken_over(pages: Pages) -> None:
    ada = pages.owner()
    page = pages.visit(ada, "/settings")
    with pages.during("competing"):
        element(page, "test-connection").click()
        expect(page.locator("#steps .step.failed")).to_have_count(1)
        page.goto("/")
        banner = element(page, "banner-competing")
        look_until(page, lambda: banner.count() == 1)
        expect(banner).to_contain_text("Another login")
        banner.get_by_role("link").click()
        expect(page).to_have_url(re.compile("/settings$"))
        expect(element(page, "take-over")).to_be_visible()


@pytest.mark.requirement("UI-04")
def test_what_a_page_asks_by_the_clock_asks_ibkr_nothing_of_its_own(pages: Pages) -> None:
    page = pages.visit(pages.owner(), "/")
    page.wait_for_load_state("networkidle")
    before = pages.requests(), pages.requests("tickle"), pages.requests("/portfolio")
    told = page.evaluate("Promise.all(Array.from({length: 20}, () => fetch('/_state').then(a => a.status)))")
    assert told == [200] * 20
    # On a loaded machine the keep-alive and the watch come in between; a page that asked would ask twenty times.
    assert pages.requests() - before[0] < 15
    told = page.evaluate("Promise.all(Array.from({length: 20}, () => fetch('/_desk').then(a => a.status)))")
    assert told == [200] * 20
    assert pages.requests("tickle") - before[1] < 15
    assert pages.requests("/portfolio") - before[2] < 20, "one shared reading, however many ask"


@pytest.mark.requirement("MON-07", "UI-12")
@pytest.mark.plants_secrets  # the secret that signs is shown once to who has to give it to the receiver
def test_a_channel_is_added_corrected_switched_off_and_removed(pages: Pages) -> None:
    page = pages.visit(pages.owner(), "/settings/alerts")
    element(page, "add-channel").click()
    element(page, "channel-name").fill("pager")
    element(page, "channel-address").fill("http://hooks.example.com/secret-path")
    element(page, "keep-channel").click()
    expect(page.locator("#fault-address")).to_contain_text("https")
    expect(element(page, "channel-name")).to_have_value("pager")
    assert "secret-path" not in page.content()
    page.get_by_label("What is merely told").uncheck()
    element(page, "channel-address").fill("https://hooks.example.com/secret-path")
    element(page, "keep-channel").click()
    expect(element(page, "channel-stored")).to_contain_text("whsec_")
    assert "secret-path" not in page.content()
    page.goto("/settings/alerts")
    assert "whsec_" not in page.content(), "shown once"
    row = page.locator("li", has_text="hooks.example.com, signed")
    expect(row).to_contain_text("critical, warning")
    expect(row).not_to_contain_text("info")
    element(page, "switch-pager").click()
    expect(element(page, "done")).to_be_visible()
    expect(element(page, "switch-pager")).to_have_text("Switch on")
    assert troubles(page) == []
    element(page, "remove-pager").click()
    expect(row).to_have_count(0)
    assert [each for each in pages.said if "422" not in each] == []
