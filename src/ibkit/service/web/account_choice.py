"""Which account the pages show and trade, where a login has several: chosen by its user, kept by their browser.

A login whose account stands in the settings (IBKR_ACCOUNT_ID), or that has one only, has nothing to choose. What was
chosen counts only while the login has that account.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from ibkit.service.requests import AnyRequest, headers_of

__all__ = ["OF_AN_ACCOUNT", "accounts_of", "chosen_of", "cookie_of_choice"]

OF_AN_ACCOUNT = ("/api/account", "/api/positions")
"""What the interface tells of one account."""
_COOKIE = "__Host-ibkit-account"
_RULES = "Path=/; Secure; HttpOnly; SameSite=Strict"
_KEPT_S = 365 * 86_400


def accounts_of(state: Mapping[str, Any]) -> tuple[str, ...]:
    """Those of the login, where there is something to choose; else none."""
    found = tuple(str(each) for each in state.get("session", {}).get("accounts", ()))
    return found if len(found) > 1 else ()


def chosen_of(request: AnyRequest, accounts: tuple[str, ...]) -> str:
    """Empty where none is chosen."""
    for header in headers_of(request, "cookie"):
        for pair in header.split(";"):
            name, _, value = pair.strip().partition("=")
            if name == _COOKIE and value in accounts:
                return value
    return ""


def cookie_of_choice(account_id: str) -> str:
    """The value of Set-Cookie; what is no account's id chooses none."""
    known = account_id if re.fullmatch(r"[A-Za-z0-9]{3,20}", account_id) else ""
    return f"{_COOKIE}={known}; Max-Age={_KEPT_S if known else 0}; {_RULES}"
