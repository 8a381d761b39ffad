from __future__ import annotations

from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, expect, sync_playwright

from browser_desks import Pages, at_pages, launched

expect.set_options(timeout=30_000)  # other rooms of tests run beside, on two cores


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    with sync_playwright() as play:
        found = launched(play)
        yield found
        found.close()


@pytest.fixture(scope="session")
def shared_pages(browser: Browser, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pages]:
    with at_pages(browser, tmp_path_factory.mktemp("pages")) as found:
        yield found


@pytest.fixture
def pages(shared_pages: Pages) -> Iterator[Pages]:
    """The pages of one service that all tests share; each has its own tabs, and leaves IBKR as it was."""
    yield shared_pages
    shared_pages.close()
