"""A real browser at the pages of a real service, whose broker is a simulated gateway inside the process.

with sync_playwright ... `chromium`    one browser for all tests of the process
at_pages(...)                          the service, its people, its world
desk.visit(person, "/orders")          a page as that person, who is signed in by the cookie of a real sign-in
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, BrowserContext, Locator, Page, Playwright

from ibkit.users import Role
from service_desks import fast_world, unhurried, until
from service_people import Person, ServedPeople, served_people

__all__ = ["DESKTOP", "PHONE", "Pages", "at_pages", "element", "launched", "look", "look_until", "too_wide", "troubles"]

AXE = Path(__file__).parents[1] / "assets" / "node_modules" / "axe-core" / "axe.min.js"
_FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
PHONE, DESKTOP = (390, 844), (1360, 900)


def launched(play: Playwright) -> Browser:
    """The machine's own chromium (CHROMIUM names it), else the one that Playwright fetched."""
    found = os.environ.get("CHROMIUM") or shutil.which("chromium") or shutil.which("google-chrome")
    return play.chromium.launch(executable_path=found, args=_FLAGS)


@dataclass
class Pages:
    """said: what the browser's console complained of, and the failures of scripts."""

    browser: Browser
    people: ServedPeople
    said: list[str] = field(default_factory=list)
    _contexts: list[BrowserContext] = field(default_factory=list)

    @property
    def address(self) -> str:
        return self.people.service.address

    def context(
        self, *, size: tuple[int, int] = DESKTOP, dark: bool = False, scripts: bool = True, unguarded: bool = False
    ) -> BrowserContext:
        """unguarded: what a page holds may run, whatever its policy says."""
        made = self.browser.new_context(
            bypass_csp=unguarded,
            viewport={"width": size[0], "height": size[1]},
            color_scheme="dark" if dark else "light",
            java_script_enabled=scripts,
            base_url=self.address,
        )
        made.set_default_timeout(60_000)
        self._contexts.append(made)
        return made

    def visit(self, person: Person | None, path: str, **options: Any) -> Page:
        """A tab of that person's; None of nobody."""
        page = self.tab(self.signed_in(person, **options))
        page.goto(path)
        return page

    def signed_in(self, person: Person | None, **options: Any) -> BrowserContext:
        context = self.context(**options)
        if person is not None:
            answer = self.people.caller().sign_in(person.user.name, browser=True)
            name, _, value = answer.headers["set-cookie"].split(";")[0].partition("=")
            cookie = {"name": name, "value": value, "url": "https://127.0.0.1", "secure": True, "httpOnly": True}
            context.add_cookies([cookie])
        return context

    def tab(self, context: BrowserContext) -> Page:
        page = context.new_page()
        page.on("console", lambda told: self.said.append(told.text) if told.type == "error" else None)
        page.on("pageerror", lambda error: self.said.append(str(error)))
        return page

    def owner(self) -> Person:
        return self.people.person(Role.OWNER)

    def close(self) -> None:
        for each in self._contexts:
            each.close()
        self._contexts.clear()
        self.said.clear()

    def scenario(self, *names: str) -> None:
        """How the simulated IBKR behaves from now on."""
        assert self.people.service.world is not None
        self.people.service.world.control("POST", "scenario", {"scenario": list(names) or ["ok"]})

    @contextmanager
    def during(self, *names: str) -> Iterator[None]:
        """IBKR behaves so within; afterwards it is well, and the service connected, as the next test needs it."""
        self.scenario(*names)
        try:
            yield
        finally:
            self.scenario()
            ada = self.owner()
            ada.ask("POST", "/api/ibkr/reconnect")
            until(lambda: ada.ask("GET", "/api/positions").status == 200)

    def requests(self, part: str = "") -> int:
        """How many requests the simulated IBKR got, of those whose address has `part` in it."""
        assert self.people.service.world is not None
        return sum(part in each.path for each in self.people.service.world.requests)


def element(page: Page, name: str) -> Locator:
    return page.get_by_test_id(name)


def look(page: Page, *events: str) -> None:
    """As the tab does when somebody comes back to it."""
    for name in events or ("look", "tick"):
        page.evaluate(f"document.body.dispatchEvent(new CustomEvent('{name}'))")


def look_until(page: Page, seen: Callable[[], bool], within_s: float = 15) -> None:
    """Look again until it is there: what the clock does every half minute, in less time."""
    for _ in range(round(within_s / 0.25)):
        look(page)
        page.wait_for_timeout(250)
        if seen():
            return
    raise AssertionError("the page did not show it in time")


def too_wide(page: Page) -> list[str]:
    """What stands beyond the right edge of the screen, where the page as a whole does."""
    asked = """() => document.documentElement.scrollWidth <= document.documentElement.clientWidth ? [] :
      [...document.querySelectorAll("body *")]
        .filter(e => !e.closest(".scroll") && e.getBoundingClientRect().right > innerWidth + 1)
        .map(e => e.outerHTML.slice(0, 200))"""
    found: list[str] = page.evaluate(asked)
    return found[:4]


def troubles(page: Page) -> list[str]:
    """What axe calls serious or critical on this page."""
    session = page.context.new_cdp_session(page)
    session.send("Runtime.evaluate", {"expression": AXE.read_text()})  # past the page's own policy, which allows none
    asked = "axe.run().then(r => JSON.stringify(r.violations.map(v => [v.impact, v.id, v.nodes.map(n => n.html)])))"
    told = session.send("Runtime.evaluate", {"expression": asked, "awaitPromise": True, "returnByValue": True})
    found = json.loads(told["result"]["value"])
    return [f"{name}: {nodes[:3]}" for impact, name, nodes in found if impact in ("serious", "critical")]


@contextmanager
def at_pages(browser: Browser, folder: Path, *scenarios: str, **flags: str) -> Iterator[Pages]:
    world = fast_world(pace=2)  # a person at a page takes seconds, in which prices must not grow old
    if scenarios:
        world.control("POST", "scenario", {"scenario": list(scenarios)})
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("ibkit.service.brokers.open_connection", unhurried)
        patch.setattr("ibkit.service.rates.ORDERS_PER_MINUTE", 100_000)
        up = "not-authenticated" not in scenarios  # else nobody could wait for the login
        with served_people(folder, world=world, wait=up, **flags) as people:
            yield Pages(browser, people)
