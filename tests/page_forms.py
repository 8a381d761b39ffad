"""Forms as a browser sends them, and pages as they are read."""

from __future__ import annotations

from collections.abc import Mapping
from html import unescape
from typing import Any
from urllib.parse import urlencode

from service_desks import Answered
from service_people import Caller

__all__ = ["page_of", "post"]


def post(browser: Caller, path: str, *, headers: Mapping[str, str] | None = None, **fields: Any) -> Answered:
    """With the token of that browser's pages."""
    form = urlencode({"csrf": browser.auth["X-CSRF-Token"], **fields}, doseq=True)
    kind = {"Content-Type": "application/x-www-form-urlencoded", **(headers or {})}
    return browser.ask("POST", path, raw=form.encode(), headers=kind)


def page_of(answer: Answered) -> str:
    return unescape(answer.raw.decode())
