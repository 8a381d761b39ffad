"""Portfolios at a real browser: an account is connected, synced and let go, prices move, two editors do not collide."""

from __future__ import annotations

import re
from typing import Any

import pytest
from playwright.sync_api import expect

from browser_desks import Pages, element
from service_desks import ORDER, new_key, until
from service_people import Person

CELLS = """e => ['price', 'value'].map(name =>
    Number(e.querySelector(`[data-cell=${name}]`).textContent.replaceAll(',', '')))"""
"""Both of one moment."""


def account_of(ada: Person, *holdings: dict[str, Any], name: str = "IRA") -> tuple[str, str]:
    """A portfolio with one account: its id, and the account's page."""
    body = {"name": "Savings", "accounts": [{"name": name, "holdings": list(holdings)}]}
    portfolio = ada.ask("POST", "/portfolio", body).json
    return str(portfolio["id"]), f"/portfolios/{portfolio['id']}/accounts/{name}"


def hold(ada: Person) -> None:
    """Something in the account of the simulated IBKR."""
    made = ada.ask("POST", "/broker-order", {**ORDER, "broker": "ibkr", "qty": 3}, key=new_key())
    assert made.status in (201, 202), made.raw
    until(lambda: any(each["contract"]["symbol"] == "AAPL" for each in ada.ask("GET", "/api/positions").data))


@pytest.mark.requirement("UI-08")
def test_an_account_is_connected_in_the_dialog(pages: Pages) -> None:
    ada = pages.owner()
    _, at = account_of(ada, {"symbol": "GOLD", "units": 3})
    page = pages.visit(ada, at)
    element(page, "account-edit").click()
    expect(element(page, "ibkr-badge")).to_have_count(0)
    expect(element(page, "sync-button")).to_have_count(0)
    element(page, "connect-ibkr").click()
    expect(element(page, "connect-dialog")).to_be_visible()
    choice, button = element(page, "ibkr-account-select"), element(page, "connect-account")
    expect(choice).to_have_value("")
    expect(button).to_be_disabled()
    expect(choice.locator("option").nth(1)).to_have_text(re.compile(r".+ · DU1000001 · USD"))
    choice.select_option("DU1000001")
    expect(button).to_be_enabled()
    choice.select_option("")
    expect(button).to_be_disabled()
    choice.select_option("DU1000001")
    element(page, "ibkr-username").fill("second1")
    button.click()  # the gateway is logged in by another name
    expect(element(page, "failure")).to_contain_text("simpaper1")
    expect(element(page, "ibkr-username")).to_have_value("second1")
    expect(choice).to_have_value("DU1000001")
    element(page, "ibkr-username").fill("simpaper1")
    with page.expect_request("**/connect/ibkr") as asked:
        button.click()
    assert asked.value.method == "POST"
    sent = asked.value.post_data or ""
    assert "DU1000001" in sent
    assert "simpaper1" in sent
    expect(element(page, "ibkr-badge")).to_contain_text("DU1000001")
    expect(page).to_have_url(re.compile(r"/accounts/IRA/edit$"))
    assert pages.said == []


@pytest.mark.requirement("UI-08")
def test_a_connection_that_is_down_shows_what_to_do_and_can_be_tried_again_in_the_dialog(pages: Pages) -> None:
    ada = pages.owner()
    _, at = account_of(ada)
    page = pages.visit(ada, f"{at}/edit")
    with pages.during("not-authenticated"):
        element(page, "connect-ibkr").click()
        expect(element(page, "connection-failed")).to_be_visible()
        expect(element(page, "setup-steps").locator("li").first).to_have_class(re.compile("failed"))
        expect(element(page, "remedy").first).not_to_be_empty()
        expect(element(page, "ibkr-account-select")).to_have_count(0)
        expect(element(page, "retry-connection")).to_be_enabled()
    element(page, "retry-connection").click()
    expect(element(page, "ibkr-account-select")).to_be_visible(timeout=15_000)
    expect(element(page, "connection-failed")).to_have_count(0)


@pytest.mark.requirement("UI-09", "SYN-11")
def test_a_sync_is_seen_and_what_was_synced_stays_when_the_account_is_let_go(pages: Pages) -> None:
    ada = pages.owner()
    hold(ada)
    portfolio_id, at = account_of(ada)
    inside = f"/portfolio/{portfolio_id}/accounts/IRA"
    assert ada.ask("POST", f"{inside}/connect/ibkr", {"account_id": "DU1000001"}).status == 200
    page = pages.visit(ada, at)
    expect(element(page, "sync-status")).to_have_attribute("data-status", "success")
    before = element(page, "last-sync").locator("time").get_attribute("datetime")
    page.wait_for_timeout(1_100)  # the moment is told in whole seconds
    element(page, "sync-button").click()
    expect(element(page, "sync-told")).to_be_visible()
    expect(element(page, "sync-status")).to_have_attribute("data-status", "success")
    assert element(page, "last-sync").locator("time").get_attribute("datetime") != before
    with pages.during("not-authenticated"):
        element(page, "sync-button").click()
        expect(element(page, "sync-status")).to_have_attribute("data-status", "error")
        expect(element(page, "remedy").first).not_to_be_empty()
    held = [(each["symbol"], each["units"]) for each in ada.ask("GET", inside).json["holdings"]]
    assert held
    element(page, "disconnect-button").click()
    expect(element(page, "disconnect-hint")).to_contain_text(re.compile("holdings", re.IGNORECASE))
    element(page, "disconnect-confirm").click()
    for gone in ("ibkr-badge", "sync-button", "disconnect-button", "last-sync"):
        expect(element(page, gone)).to_have_count(0)
    assert [(each["symbol"], each["units"]) for each in ada.ask("GET", inside).json["holdings"]] == held
    rows = element(page, "holdings").locator("tbody th")
    assert [each.split("\n")[0] for each in rows.all_inner_texts()] == [symbol for symbol, _ in held]
    page.locator("[name=units-0]").fill("7.5")
    element(page, "save-holdings").click()
    expect(page.locator("[name=units-0]")).to_have_value("7.5")
    assert ada.ask("GET", inside).json["holdings"][0]["units"] == 7.5


@pytest.mark.requirement("SYN-17")
def test_a_price_that_moves_moves_in_the_page_within_seconds(pages: Pages) -> None:
    ada = pages.owner()
    hold(ada)
    portfolio_id, at = account_of(ada)
    told = ada.ask("POST", f"/portfolio/{portfolio_id}/accounts/IRA/connect/ibkr", {"account_id": "DU1000001"})
    assert told.status == 200, told.raw
    page = pages.visit(ada, at)
    row = element(page, "holdings").locator("tbody tr").filter(has_text="AAPL")
    expect(element(page, "live")).to_be_visible()
    assert pages.people.service.world is not None
    old = row.locator("[data-cell=price]").inner_text()
    pages.people.service.world.control("POST", "market", {"symbol": "AAPL", "price": 271.25})
    expect(row.locator("[data-cell=price]")).to_have_text(re.compile(r"^271\.[23]\d"))
    price, value = row.evaluate(CELLS)
    assert value == pytest.approx(float(str(row.get_attribute("data-units"))) * price, abs=0.01)
    expect(element(page, "live").locator("time")).not_to_be_empty()
    pages.people.service.world.control("POST", "market", {"symbol": "AAPL", "price": float(old.replace(",", ""))})


@pytest.mark.requirement("SYN-01")
def test_of_two_tabs_that_edit_one_portfolio_the_second_is_told_and_nothing_is_lost(pages: Pages) -> None:
    ada = pages.owner()
    portfolio_id, at = account_of(ada, {"symbol": "GOLD", "units": 3})
    inside = f"/portfolio/{portfolio_id}/accounts/IRA"
    first, second = pages.visit(ada, f"{at}/edit"), pages.visit(ada, f"{at}/edit")
    first.locator("[name=units-0]").fill("4")
    element(first, "save-holdings").click()
    expect(first.locator("[name=units-0]")).to_have_value("4")
    second.locator("[name=symbol-new-0]").fill("SILVER")
    second.locator("[name=units-new-0]").fill("9")
    with second.expect_response("**/holdings") as answered:
        element(second, "save-holdings").click()
    assert answered.value.status == 409
    expect(element(second, "failure")).to_be_visible()
    expect(element(second, "remedy").first).not_to_be_empty()
    held = {each["symbol"]: each["units"] for each in ada.ask("GET", inside).json["holdings"]}
    assert held == {"GOLD": 4}, "what the first wrote stands"
    expect(second.locator("[name=units-0]")).to_have_value("4")  # and the second sees it, beside what they typed
    expect(second.locator("[name=symbol-new-0]")).to_have_value("SILVER")
    element(second, "save-holdings").click()
    expect(second.locator("[name=units-1]")).to_have_value("9")
    held = {each["symbol"]: each["units"] for each in ada.ask("GET", inside).json["holdings"]}
    assert held == {"GOLD": 4, "SILVER": 9}
    first.goto(f"/portfolios/{portfolio_id}/edit")
    second.goto(f"/portfolios/{portfolio_id}/edit")
    for tab, name in ((first, "One"), (second, "Two")):
        tab.locator("#f-name").fill(name)
        tab.locator("#f-name").press("Enter")
        tab.wait_for_load_state()
    expect(element(second, "failure")).to_be_visible()
    expect(second.locator("#f-name")).to_have_value("Two")
    assert ada.ask("GET", f"/portfolio/{portfolio_id}").json["name"] == "One"


@pytest.mark.requirement("SYN-12")
@pytest.mark.parametrize(
    ("size", "told"), [(5_000_000, "E-"), (9_000_000, "larger than 8 MB")], ids=["five megabytes", "nine megabytes"]
)
def test_a_file_that_is_no_portfolio_or_too_large_is_told_beside_its_field(pages: Pages, size: int, told: str) -> None:
    page = pages.visit(pages.owner(), "/portfolios")
    form = element(page, "import-portfolio")
    form.locator("input[type=file]").set_input_files(
        {"name": "all.json", "mimeType": "application/json", "buffer": b"x" * size}
    )
    form.locator("button").click()
    failure = form.locator("[data-upload-failure]")
    expect(failure).to_be_visible()
    expect(failure).to_contain_text(told)
    expect(page).to_have_url(re.compile("/portfolios$"))
    expect(form.locator("button")).to_be_enabled()
