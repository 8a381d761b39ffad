"""Monitoring, set-up and help at a real browser: a tick outlives the service, all is linked."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from playwright.sync_api import Browser, expect

from browser_desks import Pages, element
from service_desks import until
from service_people import served_people


@pytest.mark.requirement("UI-12")
def test_after_calls_the_figures_are_those_of_the_interface(pages: Pages) -> None:
    ada = pages.owner()
    until(lambda: bool(ada.ask("GET", "/api/metrics").json["data"]), within_s=45)  # of whole minutes that are over
    page = pages.visit(ada, "/monitoring")
    for _ in range(5):  # the keep-alive may call in between
        before = ada.ask("GET", "/api/metrics").json["data"]
        page.goto("/monitoring")
        if before == ada.ask("GET", "/api/metrics").json["data"]:
            break
    calls, errors = sum(each["count"] for each in before), sum(sum(each["errors"].values()) for each in before)
    assert calls > 0
    expect(element(page, "metric-calls")).to_have_text(f"{calls:,}")
    expect(element(page, "metric-errors")).to_have_text(f"{errors:,}")
    rows = element(page, "endpoints").locator("tbody tr")
    expect(rows).to_have_count(len(before))
    shown = sorted((row.get_attribute("data-endpoint"), row.locator("td").nth(1).inner_text()) for row in rows.all())
    assert shown == sorted((each["endpoint"], f"{each['count']:,}") for each in before)


@pytest.mark.requirement("UI-13", "UI-15")
def test_a_tick_outlives_the_service_and_help_has_all_links_and_three_contacts(
    browser: Browser, tmp_path: Path
) -> None:
    contacts = {
        "SUPPORT_BROKER": "https://example.org/broker",
        "SUPPORT_PLATFORM": "desk@example.org",
        "SUPPORT_SECURITY": "call +1 555 0100",
    }
    with served_people(tmp_path) as people:
        pages = Pages(browser, people)
        ada = pages.owner()
        page = pages.visit(ada, "/setup#secondary-user")
        item = element(page, "item-secondary-user.add")
        expect(item).to_have_attribute("data-state", "manual")
        page.locator("#secondary-user").evaluate("e => e.open = true")
        element(page, "tick-secondary-user.add").click()
        expect(item).to_have_attribute("data-state", "ok")
        pages.close()
    with served_people(tmp_path, **contacts) as people:
        pages = Pages(browser, people)
        page = pages.visit(ada, "/setup")
        item = element(page, "item-secondary-user.add")
        expect(item).to_have_attribute("data-state", "ok")
        expect(item).to_contain_text(ada.user.name)
        page.goto("/help")
        for name in ("ibkr-docs", "web-api", "client-portal", "gateway", "api-support", "customer-support"):
            link = element(page, f"link-{name}")
            expect(link).to_be_visible()
            expect(link).to_have_attribute("href", re.compile(r"^(https://www\.interactivebrokers\.com/|mailto:api@)"))
            expect(link).not_to_be_empty()
        broker, platform = element(page, "contact-broker").locator("a"), element(page, "contact-platform").locator("a")
        expect(broker).to_have_attribute("href", contacts["SUPPORT_BROKER"])
        expect(platform).to_have_attribute("href", f"mailto:{contacts['SUPPORT_PLATFORM']}")
        expect(element(page, "contact-security")).to_have_text(contacts["SUPPORT_SECURITY"])
        pages.close()
