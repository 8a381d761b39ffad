"""Pictures of the pages, in both themes, on a desk and on a phone: `make screenshots` writes docs/screenshots/.

They are taken of the demo, so that they show what a newcomer sees: all pages but credentials, which are of an
installation with several users, and the second step of a sign-in. Look at each one before it is committed.
"""

from __future__ import annotations

import re
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT / "tests"))

from playwright.sync_api import BrowserContext, Page, sync_playwright  # noqa: E402

from browser_desks import DESKTOP, PHONE, launched, troubles  # noqa: E402

TARGET = ROOT / "docs" / "screenshots"
PAGES = {
    "desk": "/",
    "orders": "/orders",
    "options": "/options",
    "trades": "/trades",
    "portfolios": "/portfolios",
    "settings": "/settings",
    "settings-limits": "/settings/limits",
    "settings-alerts": "/settings/alerts",
    "settings-users": "/settings/users",
    "settings-keys": "/settings/keys",
    "settings-audit": "/settings/audit",
    "settings-me": "/settings/me",
    "monitoring": "/monitoring",
    "setup": "/setup",
    "help": "/help",
    "onboarding": "/onboarding",
    "onboarding-2": "/onboarding?step=2",
    "onboarding-3": "/onboarding?step=3",
}
SHAPES = {
    "light": (DESKTOP, "light"),
    "dark": (DESKTOP, "dark"),
    "phone": (PHONE, "light"),
    "phone-dark": (PHONE, "dark"),
}


def main() -> int:
    TARGET.mkdir(exist_ok=True)
    found: list[str] = []
    with tempfile.TemporaryDirectory() as folder:
        said = Path(folder) / "said"
        with said.open("w") as file:
            demo = subprocess.Popen(
                [sys.executable, "-m", "ibkit", "demo", "--dir", f"{folder}/demo"], stdout=file, stderr=file
            )
        try:
            take(link_of(demo, said), found)
        finally:
            demo.send_signal(signal.SIGTERM)
            demo.wait(30)
    for line in found:
        print(line)
    return 1 if found else 0


def link_of(demo: subprocess.Popen[bytes], said: Path) -> str:
    while "until you press Ctrl-C" not in said.read_text():
        if demo.poll() is not None:
            raise SystemExit(said.read_text())
        time.sleep(0.5)
    (link,) = set(re.findall(r"http\S+/welcome#\S+", said.read_text()))
    return link


def take(link: str, found: list[str]) -> None:
    with sync_playwright() as play:
        browser = launched(play)
        address = link.partition("/welcome")[0]
        first = browser.new_context(base_url=address)
        page = first.new_page()
        page.goto(link)
        page.get_by_test_id("look-around").click()
        page.wait_for_url(re.compile(r"/$"))
        state = first.storage_state()
        pages = {**PAGES, **inner_pages(page)}
        for shape, (size, scheme) in SHAPES.items():
            context = browser.new_context(
                base_url=address,
                storage_state=state,
                viewport={"width": size[0], "height": size[1]},
                color_scheme=scheme,  # type: ignore[arg-type]
                reduced_motion="reduce",
            )
            for name, path in pages.items():
                shoot(context, name, path, shape, found)
            outside = browser.new_context(
                base_url=address,
                viewport={"width": size[0], "height": size[1]},
                color_scheme=scheme,  # type: ignore[arg-type]
            )
            for name, path in {"sign-in": "/sign-in", "welcome": "/welcome"}.items():
                shoot(outside, name, path, shape, found)
        browser.close()


PORTFOLIO = ("securities", "transactions", "lots", "income", "inbox", "edit")


def inner_pages(page: Page) -> dict[str, str]:
    """One order, one sale, one user, one portfolio with an account and a raw row, and what is below them."""
    pages: dict[str, str] = {}
    page.goto("/orders")
    pages["order"] = first_link(page, "[data-testid=order] a")
    page.goto("/options")
    page.get_by_test_id("sell").click()
    page.wait_for_url("**/options/sales/*")
    pages["sale"] = page.url
    page.goto("/settings/users")
    pages["settings-user"] = first_link(page, "main a[href^='/settings/users/']")
    page.goto("/portfolios")
    here = pages["portfolio"] = first_link(page, "main a[href^='/portfolios/']")
    pages |= {f"portfolio-{each}": f"{here}/{each}" for each in PORTFOLIO}
    page.goto(here)
    account = pages["portfolio-accounts"] = first_link(page, f"main a[href^='{here}/accounts/']")
    pages["portfolio-account-edit"] = f"{account}/edit"
    page.goto(f"{here}/transactions")
    pages["portfolio-raw"] = first_link(page, "main a[href*='/raw/']")
    return {name: path for name, path in pages.items() if path}


def first_link(page: Page, selector: str) -> str:
    """Empty where there is none."""
    found = page.locator(selector)
    return (found.first.get_attribute("href") or "") if found.count() else ""


def shoot(context: BrowserContext, name: str, path: str, shape: str, found: list[str]) -> None:
    page = context.new_page()
    answer = page.goto(path)
    page.wait_for_timeout(1200)
    if answer is None or answer.status >= 400:
        found.append(f"{name} {shape}: HTTP {answer.status if answer else 0}")
    wide = page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth")
    if wide > 0:
        found.append(f"{name} {shape}: {wide} px wider than the screen")
    found.extend(f"{name} {shape}: {each}" for each in troubles(page))
    page.screenshot(path=TARGET / f"{name}-{shape}.jpg", full_page=True, type="jpeg", quality=55)
    page.close()


if __name__ == "__main__":
    sys.exit(main())
