"""Reading a refusal of the login calls: whatever shape it comes in, one line of text for a person.

Source: docs/facts/auth-and-sessions.md §0.3 (shapes of errors), §1.8 and §2.3 (failures).
"""

from __future__ import annotations

import re
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

import msgspec

from ibkit.errors import (
    CredentialsRejected,
    IbkitError,
    RateLimited,
    SessionUnavailable,
    UnexpectedAnswer,
)
from ibkit.wire.http import Response

__all__ = ["address_error", "clock_skew_s", "reason_of", "unavailable_error", "unreadable_error"]

_LONGEST = 300
_NUMBER = re.compile(r"^id: \d+, error: ")
_ADDRESS = re.compile(r"(?<![\d.])(?:(?:25[0-5]|2[0-4]\d|1?\d?\d)\.){3}(?:25[0-5]|2[0-4]\d|1?\d?\d)(?![\d.])")
# A JWT or a long base64 run in an error text would be ours coming back: it is not shown.
_TOKEN = re.compile(r"[A-Za-z0-9+/_=-]{40,}(?:\.[A-Za-z0-9+/_=-]+)*")


def reason_of(response: Response) -> str:
    """The broker's own words, at most 300 characters, tokens taken out; "" where it said nothing readable."""
    try:
        body = msgspec.json.decode(response.body)
    except (msgspec.DecodeError, UnicodeDecodeError):
        text = response.body.decode("utf-8", "replace").strip()
        return "" if text.startswith("<") else _clean(text)
    if not isinstance(body, dict):
        return ""
    arguments = body.get("invalidArguments")
    named = (
        ", ".join(f"{item.get('field')}: {item.get('description')}" for item in arguments if isinstance(item, dict))
        if isinstance(arguments, list)
        else ""
    )
    words = [body.get("error"), body.get("detail") or body.get("title"), body.get("error_description"), named]
    return _clean(": ".join(word for word in words if isinstance(word, str) and word))


def _clean(text: str) -> str:
    return _TOKEN.sub("…", _NUMBER.sub("", " ".join(text.split())))[:_LONGEST]


def clock_skew_s(response: Response, now: datetime) -> float | None:
    """Seconds by which the broker's `Date` header is ahead of `now`; None without a readable header."""
    header = response.headers.get("date")
    if header is None:
        return None
    try:
        date = parsedate_to_datetime(header)
    except ValueError:
        return None
    return ((date if date.tzinfo else date.replace(tzinfo=UTC)) - now).total_seconds()


def address_error(reason: str) -> CredentialsRejected | None:
    """E-IP if the refusal names an address: the caller's, as IBKR sees it."""
    found = _ADDRESS.search(reason)
    if found is None:
        return None
    return CredentialsRejected(
        f"IBKR does not allow this server's IP address {found[0]}: {reason}",
        code="E-IP",
        remedy=f"Whitelist {found[0]} in the Client Portal and set IBKR_ALLOWED_IP={found[0]}.",
        details={"ip": found[0]},
    )


def unavailable_error(response: Response, step: str) -> IbkitError | None:
    """The error of an answer that says nothing about our credentials (429, 5xx); None for the others.

    503 here may be the nightly reset: the keeper, which knows the hour, may say so more exactly.
    """
    if response.status == 429:
        return RateLimited(f"IBKR's rate limit was reached at the step {step}")
    if response.status >= 500:
        reason = reason_of(response)
        return SessionUnavailable(
            f"IBKR answered {response.status} at the step {step}{': ' + reason if reason else ''}",
            code="E-UPSTREAM",
            details={"status": response.status, "step": step},
        )
    return None


def unreadable_error(response: Response, step: str) -> UnexpectedAnswer:
    """An answer of 200 that is not what this step gives."""
    kind = "an HTML page" if response.body.lstrip().startswith(b"<") else "something else"
    return UnexpectedAnswer(
        f"IBKR answered {kind} where the step {step} gives JSON (status {response.status})",
        code="E-API-CONNECT",
        remedy="Check IBKR_BASE_URL: a proxy or another program answers there.",
        details={"status": response.status, "step": step},
    )
