"""What the Flex Web Service answers: a reference, a failure with its number, or the statement itself.

Source: docs/facts/accounts-and-portfolio.md §6.1, §6.2. The texts are theirs; only the number decides.
"""

from __future__ import annotations

import enum
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from typing import TypeAlias
from urllib.parse import urlsplit
from xml.parsers import expat

from ibkit.errors import ConfigError, Effect, UnexpectedAnswer
from ibkit.wire.codec import excerpt
from ibkit.wire.http import Response

__all__ = [
    "CODES",
    "FLEX_URL",
    "FlexAnswer",
    "FlexFailure",
    "FlexKind",
    "FlexReference",
    "FlexReport",
    "followed",
    "query_of",
    "read_answer",
]

FLEX_URL = "https://ndcdyn.interactivebrokers.com/AccountManagement/FlexWebService"
"""Source: §6.1 [spec]."""
LONGEST_DAYS = 365
"""Of a period that is given with the request. Source: §6.1 [spec]."""
_ANSWER_LIMIT = 64 * 1024
_REFERENCE = re.compile(r"[A-Za-z0-9_-]{1,64}\Z")


class FlexKind(enum.Enum):
    """What a failure means for whoever asked."""

    RETRY = "retry"
    POLL = "poll"
    """The statement is being made: ask again with the same reference."""
    WAIT = "wait"
    """Too many requests: at least ten seconds of silence."""
    START_AGAIN = "start again"
    """The reference is none (any more): ask for a new one."""
    FINAL = "final"
    FINAL_ALERT = "final, alert"
    """A person must act; each further request is one too many."""


CODES: Mapping[int, tuple[FlexKind, str]] = {
    1001: (FlexKind.RETRY, "Statement could not be generated at this time. Please try again shortly."),
    1003: (FlexKind.FINAL, "Statement is not available."),
    1004: (FlexKind.RETRY, "Statement is incomplete at this time. Please try again shortly."),
    1005: (FlexKind.RETRY, "Settlement data is not ready at this time. Please try again shortly."),
    1006: (FlexKind.RETRY, "FIFO P/L data is not ready at this time. Please try again shortly."),
    1007: (FlexKind.RETRY, "MTM P/L data is not ready at this time. Please try again shortly."),
    1008: (FlexKind.RETRY, "MTM and FIFO P/L data is not ready at this time. Please try again shortly."),
    1009: (FlexKind.RETRY, "The server is under heavy load. Statement could not be generated at this time."),
    1010: (FlexKind.FINAL, "Legacy Flex Queries are no longer supported. Please convert over to Activity Flex."),
    1011: (FlexKind.FINAL, "Service account is inactive."),
    1012: (FlexKind.FINAL_ALERT, "Token has expired."),
    1013: (FlexKind.FINAL_ALERT, "IP restriction."),
    1014: (FlexKind.FINAL, "Query is invalid."),
    1015: (FlexKind.FINAL_ALERT, "Token is invalid."),
    1016: (FlexKind.FINAL, "Account in invalid."),
    1017: (FlexKind.START_AGAIN, "Reference code is invalid."),
    1018: (FlexKind.WAIT, "Too many requests have been made from this token. Please try again shortly."),
    1019: (FlexKind.POLL, "Statement generation in progress. Please try again shortly."),
    1020: (FlexKind.FINAL, "Invalid request or unable to validate request."),
    1021: (FlexKind.RETRY, "Statement could not be retrieved at this time. Please try again shortly."),
}
"""By number: what it means, and about what it says (§6.2 shortens some; only the number is read)."""


@dataclass(frozen=True, slots=True)
class FlexReference:
    """The request was taken. url: where the statement shall be got, as told; see `followed`."""

    reference: str
    url: str | None


@dataclass(frozen=True, slots=True)
class FlexFailure:
    """A number that §6.2 does not have is tried again, within the bounds of any other."""

    code: int
    text: str

    @property
    def kind(self) -> FlexKind:
        return CODES[self.code][0] if self.code in CODES else FlexKind.RETRY


@dataclass(frozen=True, slots=True)
class FlexReport:
    """The statement, not yet read: keep it as it is, whether it may be got again is nowhere said (§6.3)."""

    body: bytes

    def __repr__(self) -> str:
        return f"FlexReport({len(self.body)} bytes)"


FlexAnswer: TypeAlias = FlexReference | FlexFailure | FlexReport


def read_answer(response: Response) -> FlexAnswer:
    """An answer of either call, told by its root element, whatever its status.

    Raises UnexpectedAnswer for anything else: HTML, nothing, a reference that cannot be one.
    """
    body = bytes(response.body)
    root, fields = _outline(body)
    if root == "FlexQueryResponse":
        return FlexReport(body)
    if root != "FlexStatementResponse":
        raise _unreadable(response, "no Flex answer")
    if len(body) > _ANSWER_LIMIT:
        raise _unreadable(response, "too long")
    reference, code = fields.get("ReferenceCode", ""), fields.get("ErrorCode", "")
    if code.isdecimal() and len(code) < 9:
        return FlexFailure(int(code), fields.get("ErrorMessage", "")[:200])
    if fields.get("Status") == "Success" and _REFERENCE.match(reference):
        return FlexReference(reference, fields.get("Url") or None)
    raise _unreadable(response, "neither a reference nor an error code")


def _outline(body: bytes) -> tuple[str, Mapping[str, str]]:
    """The root's name and, of an answer, the text of its children; of a statement nothing more is read."""
    names: list[str] = []
    fields: dict[str, str] = {}

    def doctype(*_: object) -> None:
        raise expat.ExpatError("a document type declaration")

    def start(tag: str, _attributes: Mapping[str, str]) -> None:
        names.append(tag)

    def text(data: str) -> None:
        if len(names) > 1:
            fields[names[-1]] = fields.get(names[-1], "") + data

    parser = expat.ParserCreate()
    parser.StartDoctypeDeclHandler = doctype
    parser.StartElementHandler = start
    parser.CharacterDataHandler = text
    try:
        parser.Parse(body[:_ANSWER_LIMIT], False)
    except expat.ExpatError:
        if not names:
            return "", {}
    return names[0] if names else "", {name: value.strip() for name, value in fields.items()}


def _unreadable(response: Response, why: str) -> UnexpectedAnswer:
    return UnexpectedAnswer(
        f"The Flex Web Service's answer ({response.status}) is {why}",
        code="E-UPSTREAM",
        effect=Effect.NONE,
        excerpt=excerpt(bytes(response.body[:4096])),
        details={"status": response.status},
    )


def query_of(*, first: date | None = None, last: date | None = None) -> Mapping[str, str]:
    """The part of a request that overrides the template's period; both days or none.

    Raises ConfigError (E-VALIDATION) for a period that cannot be asked for.
    """
    if first is None and last is None:
        return {}
    if first is None or last is None or not 0 <= (last - first).days < LONGEST_DAYS:
        raise ConfigError(
            f"A Flex period has a first and a last day, and {LONGEST_DAYS} days at most",
            code="E-VALIDATION",
            remedy="Ask in several requests.",
            details={"field": "period"},
        )
    return {"fd": first.strftime("%Y%m%d"), "td": last.strftime("%Y%m%d")}


def followed(url: str | None, base_url: str) -> str:
    """Where the statement is got: the told address if it is IBKR's or our own base, else the base. Without a query.

    >>> base = "https://ndcdyn.interactivebrokers.com/AccountManagement/FlexWebService"
    >>> followed("https://gdcdyn.interactivebrokers.com/AccountManagement/FlexWebService/GetStatement?x=1", base)
    'https://gdcdyn.interactivebrokers.com/AccountManagement/FlexWebService/GetStatement'
    >>> followed("https://interactivebrokers.com.evil.example/GetStatement", base) == base + "/GetStatement"
    True
    """
    own = f"{base_url.rstrip('/')}/GetStatement"
    try:
        parts = urlsplit(url or "")
        host, port = (parts.hostname or "").lower(), parts.port
    except ValueError:
        return own
    base = urlsplit(base_url)
    ours = (host, port or 443) == ((base.hostname or "").lower(), base.port or 443)
    theirs = host == "interactivebrokers.com" or host.endswith(".interactivebrokers.com")
    if parts.scheme != "https" or parts.username is not None or not (ours or (theirs and port in (None, 443))):
        return own
    return f"https://{host}{'' if port in (None, 443) else f':{port}'}{parts.path}"
