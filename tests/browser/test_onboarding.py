"""Getting started at a real browser: a login that comes about is noticed without a click, and axe finds nothing."""

from __future__ import annotations

import itertools
from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, expect

from browser_desks import DESKTOP, PHONE, Pages, at_pages, troubles


@pytest.fixture(scope="module")
def waiting(browser: Browser, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pages]:
    """A gateway that nobody has logged in to."""
    with at_pages(browser, tmp_path_factory.mktemp("waiting"), "not-authenticated") as found:
        yield found


@pytest.fixture
def pages(waiting: Pages) -> Iterator[Pages]:
    yield waiting
    waiting.close()


@pytest.mark.requirement("UI-16", "UI-05")
@pytest.mark.parametrize("step", [1, 2, 3])
@pytest.mark.parametrize(("size", "dark"), [(DESKTOP, False), (PHONE, True)], ids=["desktop", "dark phone"])
def test_axe_finds_nothing_serious(pages: Pages, step: int, size: tuple[int, int], dark: bool) -> None:
    page = pages.visit(pages.owner(), f"/onboarding?step={step}&method=oauth1a", size=size, dark=dark)
    assert troubles(page) == []
    assert page.evaluate("document.documentElement.scrollWidth") <= size[0]
    assert pages.said == []


@pytest.mark.requirement("UI-16")
@pytest.mark.parametrize("width", [390, 320])
def test_nothing_of_the_head_lies_under_something_else_on_a_phone(pages: Pages, width: int) -> None:
    """The state is a long one here."""
    page = pages.visit(pages.owner(), "/settings", size=(width, 700))
    boxes = page.evaluate(
        "['.brand svg', '[data-testid=environment-pill]', '[data-testid=connection-pill]', '[data-testid=kill-link]',"
        " '[data-testid=user-menu]'].map(name => document.querySelector('header.top ' + name).getBoundingClientRect())"
        ".map(box => [box.left, box.top, box.right, box.bottom])"
    )
    for one, other in itertools.combinations(boxes, 2):
        beside = one[2] <= other[0] or other[2] <= one[0]
        above = one[3] <= other[1] or other[3] <= one[1]
        assert beside or above, (one, other)
    assert page.evaluate("document.documentElement.scrollWidth") <= width


@pytest.mark.requirement("UI-05", "UI-06")
def test_a_login_at_the_gateway_is_noticed_within_twelve_seconds_without_a_click(pages: Pages) -> None:
    page = pages.visit(pages.owner(), "/onboarding")
    state = page.get_by_test_id("onboarding-state")
    expect(state).to_have_text("Configured but Not Connected")
    expect(page.get_by_test_id("open-gateway")).to_have_attribute("href", "https://localhost:5000")
    expect(page.get_by_test_id("second-factor")).to_contain_text("IB Key")
    page.get_by_test_id("retry").click()
    expect(page.get_by_test_id("trace-id")).not_to_be_empty()
    expect(page.locator("#tried .step.failed")).to_have_count(1)
    pages.scenario()
    expect(state).to_have_text("Connected")
    expect(page.locator("[aria-current=step]")).to_contain_text("Limits")  # and it goes on by itself
    expect(state).to_have_text("Connected")
