"""What people type, lose and forget: scripts in names, a sign-in that is over, a service that is gone."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from urllib.parse import quote, urlencode

import pytest
from playwright.sync_api import Dialog, Page, Route, expect

from browser_desks import Pages, element, look
from ibkit.users import Role
from scripts_in_names import MARK, PAYLOADS
from service_desks import until
from service_people import Person
from user_desks import PASSWORD

MADE = """() => [...document.querySelectorAll('*')].filter(e =>
    [...e.attributes].some(a => /^(hx-)?on/i.test(a.name) || /on:/.test(a.name) || /^\\s*javascript:/i.test(a.value) &&
        ['href', 'src', 'action', 'data'].includes(a.name))
    || e.localName === 'script' && !e.src && e.type !== 'application/json'
    || ['iframe', 'object', 'embed', 'marquee', 'math', 'video', 'audio'].includes(e.localName)
    || e.localName === 'img' && e.getAttribute('src') === 'x').map(e => e.outerHTML)"""
"""Elements that no template of ours has."""


@contextmanager
def unguarded(pages: Pages, person: Person) -> Iterator[Page]:
    """A tab without the policy that would stop a script, so that what could run does; none may have, in the end."""
    page = pages.tab(pages.signed_in(person, unguarded=True))
    ran: list[str] = []

    def asked(dialog: Dialog) -> None:
        ran.append(dialog.message)
        dialog.dismiss()

    page.on("dialog", asked)
    page.on("framenavigated", lambda frame: ran.append(frame.url) if frame.parent_frame else None)
    yield page
    assert ran == []


def nothing_ran(page: Page, path: str, *shown: str) -> None:
    answer = page.goto(path)
    assert answer is not None
    assert answer.status < 500, path
    page.wait_for_load_state("networkidle")
    assert page.evaluate(MADE) == [], path
    assert page.evaluate(f"window.{MARK}") is None, path
    text = page.locator("body").inner_text()
    values = page.evaluate("[...document.querySelectorAll('input, textarea, option')].map(e => e.value).join('\\n')")
    lost = [each for each in shown if " ".join(each.split()) not in " ".join(f"{text}\n{values}".split())]
    assert lost == [], f"{path}: names that the page does not show as they are"


def test_the_pages_would_be_seen_to_run_a_script(pages: Pages) -> None:
    """The oracle itself: of a page that writes names as they come, most do run."""
    page = pages.tab(pages.context(unguarded=True))
    caught = 0
    for each in PAYLOADS[:40]:
        page.set_content(f"<p>{each}</p>")
        caught += bool(page.evaluate(MADE)) or page.evaluate(f"window.{MARK}") is not None
    assert caught >= 30


@pytest.mark.requirement("UI-16", "UI-14")
def test_scripts_in_names_are_text_wherever_they_are_shown(pages: Pages) -> None:
    assert len(set(PAYLOADS)) >= 60
    ada = pages.owner()
    told = ada.ask(
        "POST",
        "/portfolio",
        {
            "name": PAYLOADS[0],
            "accounts": [
                {"name": each, "holdings": [{"symbol": each, "units": 1 + at}]} for at, each in enumerate(PAYLOADS)
            ],
            "securities": [
                {"symbol": each, "name": each, "type": "stock", "currency": "USD", "unit_price": 2, "tags": [each[:40]]}
                for each in PAYLOADS
            ],
        },
    )
    assert told.status == 201, told.raw[:800]
    here = f"/portfolios/{told.json['id']}"
    with unguarded(pages, ada) as page:
        nothing_ran(page, here, *PAYLOADS)
        nothing_ran(page, f"{here}?group=sector")
        nothing_ran(page, f"{here}/securities", *PAYLOADS)
        for tail in ("transactions", "lots", "income", "inbox", "edit"):
            nothing_ran(page, f"{here}/{tail}", PAYLOADS[0])
        for each in (PAYLOADS[16], PAYLOADS[39], PAYLOADS[42]):
            nothing_ran(page, f"{here}/accounts/{quote(each, safe='')}/edit", each)
            nothing_ran(page, f"{here}/securities?{urlencode({'symbol': each})}", each)


@pytest.mark.requirement("UI-16")
def test_scripts_in_portfolios_notes_labels_and_addresses_are_text(pages: Pages) -> None:
    ada = pages.owner()
    for number, each in enumerate(PAYLOADS):
        if number == 40:
            pages.people.advance(minutes=1)  # so many changes a minute
        assert ada.ask("POST", "/portfolio", {"name": each}).status == 201, each
    notes, rest = [], list(PAYLOADS)
    while rest:
        note = ""
        while rest and len(note) + len(rest[0]) < 480:
            note += f" {rest.pop(0)}"
        notes.append(note.strip())
    for number, note in enumerate(notes):
        body = {"mode": "block-new", "symbol": f"X{number}", "note": note}
        assert ada.ask("POST", "/api/kill", body).status < 300, note
    try:
        with unguarded(pages, ada) as page:
            nothing_ran(page, "/portfolios", *PAYLOADS)
            for path in ("/", "/orders", "/settings/audit"):
                nothing_ran(page, path, *(notes if path != "/settings/audit" else ()))
            every = " ".join(PAYLOADS[:45])
            asked = dict.fromkeys(("ticket", "symbol", "action", "qty", "connection", "done", "actor"), every)
            for path in ("/orders", "/options", "/trades", "/settings", "/settings/limits", "/settings/audit"):
                nothing_ran(page, f"{path}?{urlencode(asked)}")
            page.goto("/settings/users")
            page.locator("#f-name").evaluate("(e, all) => { e.maxLength = 9999; e.value = all }", every)
            element(page, "invite").click()
            expect(element(page, "fault-name").or_(element(page, "failure")).first).to_be_visible()
            assert page.evaluate(MADE) == []
            assert page.evaluate(f"window.{MARK}") is None
            assert page.locator("#f-name").input_value() == every
    finally:
        for number in range(len(notes)):
            ada.ask("POST", "/api/kill/release", {"symbol": f"X{number}", "note": "over"})


@pytest.mark.requirement("UI-16")
def test_a_script_as_the_note_of_an_alert_is_text(pages: Pages) -> None:
    ada = pages.owner()
    note = " ".join(PAYLOADS[16:24])
    found: list[str] = []

    def alerted() -> bool:
        found[:] = [each["id"] for each in ada.ask("GET", "/api/alerts").data if each["state"] == "open"]
        return bool(found)

    with pages.during("competing"):
        ada.ask("POST", "/api/ibkr/test")
        until(alerted)
        told = ada.ask("POST", f"/api/alerts/{quote(found[0], safe='')}/acknowledge", {"note": note})
        assert told.status == 200, told.raw
    with unguarded(pages, ada) as page:
        for path in ("/settings/alerts", "/", "/monitoring", "/settings/audit"):
            nothing_ran(page, path)


@pytest.mark.requirement("UI-01")
@pytest.mark.parametrize("by", ["a click", "the clock"])
def test_a_sign_in_that_is_over_leads_to_the_sign_in_and_back(pages: Pages, by: str) -> None:
    ada = pages.people.person(Role.TRADER)
    page = pages.visit(ada, "/trades?symbol=SPY")
    pages.people.advance(days=8)
    if by == "a click":
        page.get_by_role("link", name="Orders", exact=True).first.click()
    else:
        look(page)
    back = "/orders" if by == "a click" else "/trades"
    expect(page).to_have_url(re.compile(rf"/sign-in\?next={back}"))
    page.get_by_label("User name").fill(ada.user.name)
    page.get_by_label("Password").fill(PASSWORD.reveal())
    element(page, "sign-in").click()
    expect(page).to_have_url(re.compile(rf"{back}(\?symbol=SPY)?$"))


@pytest.mark.requirement("UI-04", "UI-14")
def test_a_service_that_is_gone_is_told_and_its_return_too(pages: Pages) -> None:
    page = pages.visit(pages.owner(), "/settings")
    page.wait_for_load_state("networkidle")
    lost = page.locator("#lost")
    expect(lost).to_be_hidden()
    page.route("**/*", lambda route: route.abort())
    look(page)
    expect(lost).to_be_visible()
    expect(lost).to_contain_text("does not answer")
    page.unroute("**/*")
    look(page)
    expect(lost).to_be_hidden()


@pytest.mark.requirement("UI-04", "UI-14")
def test_after_a_proxys_error_the_parts_of_a_page_go_on_renewing_themselves(pages: Pages) -> None:
    page = pages.visit(pages.owner(), "/settings")
    page.wait_for_load_state("networkidle")
    lost = page.locator("#lost")
    proxy = "<html><head><title>502</title></head><body><h1>Bad Gateway</h1></body></html>"
    page.route("**/_*", lambda route: route.fulfill(status=502, content_type="text/html", body=proxy))
    look(page)
    expect(lost).to_contain_text("does not answer")
    expect(page.locator("main")).not_to_contain_text("Bad Gateway")
    for name in ("state", "facts"):
        assert page.locator(f"#{name}[data-hx-trigger]").count() == 1, name
    page.unroute("**/_*")
    page.evaluate("document.querySelector('#banners').replaceChildren('old')")
    look(page)
    expect(lost).to_be_hidden()
    expect(page.locator("#banners")).not_to_contain_text("old")


@pytest.mark.requirement("UI-04", "UI-14")
def test_a_stream_that_is_refused_is_told_and_tried_again(pages: Pages) -> None:
    page = pages.tab(pages.signed_in(pages.owner()))
    page.clock.install()
    lost, asked = page.locator("#lost"), []

    def refuse(route: Route) -> None:
        asked.append(route.request.url)
        route.fulfill(status=429, content_type="application/json", body="{}")

    page.route("**/broker-order/events", refuse)
    page.goto("/orders")
    expect(lost).to_contain_text("do not arrive by themselves")
    assert len(asked) == 1
    page.unroute("**/broker-order/events")
    with page.expect_request("**/broker-order/events"):
        page.clock.fast_forward(31_000)
    expect(lost).to_be_hidden()


COUNTED = """document.addEventListener("submit", (event) => {
  document.body.dataset.sends = Number(document.body.dataset.sends || 0) + (event.defaultPrevented ? 0 : 1);
  event.preventDefault();  // as one whose answer does not come
})"""


@pytest.mark.requirement("UI-11", "UI-16")
def test_a_form_on_its_way_is_not_sent_again_because_a_part_was_renewed(pages: Pages) -> None:
    page = pages.visit(pages.owner(), "/orders?ticket=AAPL&qty=1")
    page.wait_for_load_state("networkidle")
    page.evaluate(COUNTED)
    send = element(page, "place-order")
    send.click()
    page.evaluate("document.addEventListener('htmx:finally:request', () => { document.body.dataset.renewed = 'yes'; })")
    page.evaluate("document.body.dispatchEvent(new CustomEvent('tick'))")
    expect(page.locator("body[data-renewed]")).to_have_count(1)
    send.click(force=True)
    assert page.locator("body").get_attribute("data-sends") == "1"


@pytest.mark.requirement("UI-01", "UI-11")
def test_a_ticket_that_is_sent_when_the_sign_in_is_over_is_there_after_it_with_its_key(pages: Pages) -> None:
    ada = pages.owner()
    page = pages.visit(ada, "/orders")
    page.get_by_label("Symbol", exact=True).first.fill("AAPL")
    page.get_by_label("Quantity").fill("3")
    key = page.locator("form[action='/orders'] [name=key]").input_value()
    page.context.clear_cookies()
    element(page, "place-order").click()
    page.get_by_label("User name").fill(ada.user.name)
    page.get_by_label("Password").fill(PASSWORD.reveal())
    element(page, "sign-in").click()
    expect(element(page, "kept")).to_contain_text("was not sent")
    assert page.get_by_label("Quantity").input_value() == "3"
    assert page.locator("form[action='/orders'] [name=key]").input_value() == key
    page.reload()
    expect(element(page, "kept")).to_have_count(0)
    assert page.get_by_label("Quantity").input_value() != "3"
