"""What handlers ask of a request: who it is, its body, its filters."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime
from typing import Any

import anyio
from litestar import Request

from ibkit.bootstrap.logs import told_of
from ibkit.errors import ConfigError
from ibkit.model import Conid
from ibkit.service.browsers import SAFE, Browsers, check_own_page, check_token, cookie_of
from ibkit.service.json_bodies import LARGEST_BODY, read_json
from ibkit.service.order_answer import STATUSES
from ibkit.service.order_events import Since, read_position
from ibkit.service.order_listing import LONGEST_PAGE, OPEN, Page
from ibkit.service.people import check_second_step, who_asks
from ibkit.service.quote_events import QuotesWanted
from ibkit.service.rates import Rates
from ibkit.service.refusals import Refusal, invalid
from ibkit.users.principal import Authenticator, Principal

__all__ = [
    "AnyRequest",
    "Asked",
    "address_of",
    "by_the_clock",
    "days_in",
    "headers_of",
    "moment",
    "once",
    "page_of",
    "quotes_of",
    "raw_body",
    "since_of",
]

AnyRequest = Request[Any, Any, Any]
BODY_WITHIN_S = 10.0
LONGEST_SYMBOL = 12


def headers_of(request: AnyRequest, name: str) -> list[str]:
    """Every header of that name, as it stands."""
    wanted = name.lower().encode()
    return [value.decode("latin-1") for key, value in request.scope["headers"] if key.lower() == wanted]


def address_of(request: AnyRequest) -> str:
    """Whose request it is, as the door found out."""
    return str(request.scope.get("state", {}).get("address", ""))


_BEFORE_THE_SECOND_STEP = ("/api/me/", "/api/sign-out/")
"""What somebody may ask for who has to set up a second step first, with an end of its own: not `/api/metrics`."""


@dataclass(frozen=True, slots=True)
class Asked:
    """authenticator: says who holds a token. browsers: who holds a cookie; None where only tokens are taken.

    reads: how many a user may make; None where they are not counted.
    """

    authenticator: Authenticator
    browsers: Browsers | None = None
    reads: Rates | None = None

    async def who(self, request: AnyRequest, *, counted: bool = True) -> Principal:
        """counted: False for what is told from memory. AuthError; RateLimited (E-RATE) where a user reads too much."""
        found = await self._found(request)
        if not f"{request.scope['path']}/".startswith(_BEFORE_THE_SECOND_STEP):
            check_second_step(found)
        within = bool(request.scope.get("state", {}).get("within_page"))  # a page is one read, whatever it asks for
        if counted and self.reads is not None and request.method in SAFE and not within:
            self.reads.take(found.user_id)
        told_of(user=found.name)
        return found

    async def _found(self, request: AnyRequest) -> Principal:
        given, address = headers_of(request, "authorization"), address_of(request)
        cookie = cookie_of(request) if self.browsers is not None and not given else None
        if self.browsers is None or cookie is None:
            return await who_asks(self.authenticator, given, address=address)
        found = await self.browsers.session_of(cookie, address=address, used=not by_the_clock(request))
        if request.method not in SAFE:
            check_own_page(request)
            check_token(request, cookie)
        return found

    async def body(self, request: AnyRequest, *, largest: int = LARGEST_BODY) -> Any:
        """The JSON of the body. Refusal 415 where it is none by its type, 413 above `largest` bytes, 400 unreadable."""
        return read_json((await self.raw(request, ("application/json",), largest=largest))[1])

    async def raw(self, request: AnyRequest, kinds: Sequence[str], *, largest: int) -> tuple[str, bytes]:
        """As `raw_body`."""
        return await raw_body(request, kinds, largest=largest)


def by_the_clock(request: AnyRequest) -> bool:
    """Whether a page asks that is open, whose visitor has done nothing just now."""
    return not request.scope.get("state", {}).get("used", True)


async def raw_body(request: AnyRequest, kinds: Sequence[str], *, largest: int) -> tuple[str, bytes]:
    """The type, one of `kinds`, and the bytes of the body. Refusal 415, 413, 408."""
    given = headers_of(request, "content-type")
    kind, _, more = (given[0] if len(given) == 1 else "").partition(";")
    kind, charset = kind.strip().lower(), more.strip().lower().replace('"', "")
    if kind not in kinds or charset not in ("", "charset=utf-8"):
        wanted = " or ".join(kinds)
        raise Refusal(415, _invalid("Content-Type", f"it is not {wanted}", f"Send {wanted} in UTF-8."))
    length = headers_of(request, "content-length")
    if length and length[0].isdigit() and int(length[0]) > largest:
        raise _too_large(largest)
    parts: list[bytes] = []
    size = 0
    with anyio.move_on_after(BODY_WITHIN_S) as limit:
        async for part in request.stream():
            size += len(part)
            if size > largest:
                raise _too_large(largest)
            parts.append(part)
    if limit.cancelled_caught:
        why = f"it did not arrive within {BODY_WITHIN_S:g} s"
        raise Refusal(408, _invalid("body", why, "Send it again, with the same key."))
    return kind, b"".join(parts)


def _too_large(largest: int) -> Refusal:
    return Refusal(413, _invalid("body", f"it is larger than {largest} bytes", "Send less at a time."))


def _invalid(name: str, why: str, remedy: str) -> ConfigError:
    details = {"errors": [{"field": name, "message": why}]}
    return ConfigError(f"Invalid request: {name}: {why}", code="E-VALIDATION", remedy=remedy, details=details)


def page_of(query: Iterable[tuple[str, str]]) -> Page:
    """Filters and paging of a list. ConfigError (E-VALIDATION, 422) naming each that is wrong."""
    given, problems = once(query, ("broker", "connection_id", "status", "symbol", "since", "limit", "cursor"))
    limit = given.get("limit", "50")
    if not limit.isascii() or not limit.isdigit() or not 1 <= int(limit[:9]) <= LONGEST_PAGE:
        problems.append(("limit", f"it is a whole number from 1 to {LONGEST_PAGE}"))
    if given.get("status", OPEN) not in (OPEN, *STATUSES):
        problems.append(("status", f"it is one of {', '.join((OPEN, *STATUSES))}"))
    symbol = given.get("symbol")
    if symbol is not None and not 1 <= len(symbol.strip()) <= 12:
        problems.append(("symbol", "it has 1 to 12 characters"))
    since = None
    if "since" in given:
        since = moment(given["since"])
        if since is None:
            problems.append(("since", "it is a day or a moment like 2026-11-20 or 2026-11-20T15:30:00Z"))
    if problems:
        raise invalid(*problems)
    return Page(
        broker=given.get("broker"),
        status=given.get("status"),
        symbol=None if symbol is None else " ".join(symbol.upper().replace(".", " ").split()),
        since=since,
        connection_id=given.get("connection_id"),
        limit=int(limit),
        cursor=given.get("cursor"),
    )


def since_of(query: Iterable[tuple[str, str]], last_event_id: list[str]) -> Since:
    """Where a stream of events goes on: Last-Event-ID, else `since`; None for what comes from now on."""
    given, problems = once(query, ("since",))
    text = last_event_id[0] if last_event_id else given.get("since")
    since: Since = None
    try:
        since = None if text is None else read_position(text, moment)
    except ValueError:
        problems.append(("since", "it is a moment like 2026-11-20T15:30:00Z, or the id of an event"))
    if problems:
        raise invalid(*problems)
    return since


def quotes_of(query: Iterable[tuple[str, str]]) -> QuotesWanted:
    """Whose quotes are wanted. ConfigError (E-VALIDATION, 422) naming what is wrong."""
    given, problems = once(query, ("broker", "connection_id", "symbols", "conids"))
    symbols = [" ".join(each.upper().replace(".", " ").split()) for each in given.get("symbols", "").split(",")]
    conids = [each.strip() for each in given.get("conids", "").split(",")]
    symbols, conids = [each for each in symbols if each], [each for each in conids if each]
    if not symbols and not conids:
        problems.append(("symbols", "give symbols or conids, separated by commas"))
    if any(len(each) > LONGEST_SYMBOL or not each.replace(" ", "").isalnum() for each in symbols):
        problems.append(("symbols", "each has 1 to 12 of A-Z, 0-9, dot and blank"))
    if any(not each.isascii() or not each.isdigit() or not 0 < int(each[:12]) < 2**31 for each in conids):
        problems.append(("conids", "each is a number from 1 to 2147483647"))
    if problems:
        raise invalid(*problems)
    return QuotesWanted(
        broker=given.get("broker"),
        connection_id=given.get("connection_id"),
        symbols=tuple(dict.fromkeys(symbols)),
        conids=tuple(dict.fromkeys(Conid(int(each)) for each in conids)),
    )


def once(query: Iterable[tuple[str, str]], known: tuple[str, ...]) -> tuple[Mapping[str, str], list[tuple[str, str]]]:
    """The filters of a query by name, and what is wrong with them: unknown ones, and twins."""
    given: dict[str, str] = {}
    problems: list[tuple[str, str]] = []
    for name, value in query:
        if name not in known:
            problems.append((name[:40], f"there is no such filter; there are {', '.join(known)}"))
        elif name in given:
            problems.append((name, "it stands twice"))
        given[name] = value
    return given, problems


def moment(text: str) -> datetime | None:
    """In UTC where no zone is named; None for what is none."""
    try:
        found = datetime.fromisoformat(text)
        if len(text) == len("2026-11-20"):
            day = date.fromisoformat(text)
            found = datetime(day.year, day.month, day.day, tzinfo=UTC)
        return (found if found.tzinfo is not None else found.replace(tzinfo=UTC)).astimezone(UTC)
    except (ValueError, OverflowError):
        return None


def days_in(given: Mapping[str, str], names: Iterable[str]) -> tuple[Mapping[str, date | None], list[tuple[str, str]]]:
    """Those of the filters that are days, None for one that is not given; and what is wrong with them."""
    days: dict[str, date | None] = {}
    problems: list[tuple[str, str]] = []
    for name in names:
        days[name] = None
        if name in given:
            days[name] = _day(given[name])
            if days[name] is None:
                problems.append((name, "it is a day like 2026-11-20"))
    return days, problems


def _day(text: str) -> date | None:
    try:
        return date.fromisoformat(text) if len(text) == len("2026-11-20") else None
    except ValueError:
        return None
