"""What stands in the attributes of a Flex statement: days, moments, switches and codes, in the forms of the templates.

Numbers are `wire.numbers.figure`: they come plain, or with thousands marks.
Source: docs/facts/accounts-and-portfolio.md §6.4 (both captures; the forms that a template offers: client).
"""

from __future__ import annotations

import re
from datetime import UTC, date, datetime, time, timedelta, timezone
from zoneinfo import ZoneInfo

__all__ = ["FLEX_ZONE", "codes", "day", "moment", "switch"]

FLEX_ZONE = ZoneInfo("America/New_York")
"""Where a moment without a zone is. Source: §6.4."""

_UNSAID = frozenset({"", "-", "--", "N/A", "n/a", "MULTI"})
"""MULTI: of several days, in rows that sum up. Source: client (ibflex)."""
_DAY = re.compile(r"(\d{4})(\d\d)(\d\d)|(\d{4})-(\d\d)-(\d\d)|(\d\d)-([A-Za-z]{3})-(\d\d(?:\d\d)?)", re.ASCII)
_TIME = re.compile(r"(\d\d):?(\d\d)(?::?(\d\d))?(?:\.\d+)?\s*([A-Za-z]{1,5}|[+-]\d\d:?\d\d)?", re.ASCII)
_BETWEEN = re.compile(r"\s*[;,T ]\s*")
_MONTHS = {
    name: number
    for number, name in enumerate("jan feb mar apr may jun jul aug sep oct nov dec".split(), start=1)  # noqa: SIM905
}
_HOURS = {"EDT": -4, "EST": -5, "UTC": 0, "GMT": 0, "Z": 0}


def day(text: str) -> date | None:
    """A day.

    >>> day("20260409"), day("2026-04-09"), day("09-Apr-26"), day("")
    (datetime.date(2026, 4, 9), datetime.date(2026, 4, 9), datetime.date(2026, 4, 9), None)

    Raises ValueError for anything else. The forms with strokes that a template also offers (MM/dd/yyyy, dd/MM/yyyy) are
    not read: nothing tells them apart.
    """
    text = text.strip()
    if text in _UNSAID:
        return None
    found = _DAY.fullmatch(text)
    if found is None:
        raise ValueError(f"not a day: {text!r}")
    return _day_of(found)


def _day_of(found: re.Match[str]) -> date:
    if found[7]:
        month = _MONTHS.get(found[8].lower())
        if month is None:
            raise ValueError(f"not a month: {found[8]!r}")
        year = int(found[9])
        return date(year if year > 99 else 2000 + year, month, int(found[7]))
    first = 1 if found[1] else 4
    return date(int(found[first]), int(found[first + 1]), int(found[first + 2]))


def moment(text: str) -> datetime | date | None:
    """A moment in UTC; a day where no time stands.

    >>> moment("20260409;135737")
    datetime.datetime(2026, 4, 9, 17, 57, 37, tzinfo=datetime.timezone.utc)
    >>> moment("2026-04-09;21:23:54 EDT") == moment("2026-04-09 21:23:54") == moment("20260410T012354 UTC")
    True
    >>> moment("20260304"), moment("")
    (datetime.date(2026, 3, 4), None)

    Raises ValueError for anything else, so for a zone that it does not know.
    """
    text = text.strip()
    if text in _UNSAID:
        return None
    found = _DAY.match(text)
    if found is None:
        raise ValueError(f"not a moment: {text!r}")
    on, rest = _day_of(found), text[found.end() :]
    if not rest:
        return on
    between = _BETWEEN.match(rest)
    clock = _TIME.fullmatch(rest[between.end() :] if between else rest)
    if clock is None:
        raise ValueError(f"not a moment: {text!r}")
    at = time(int(clock[1]), int(clock[2]), int(clock[3] or 0))
    return datetime.combine(on, at, _zone(clock[4])).astimezone(UTC)


def _zone(name: str | None) -> timezone | ZoneInfo:
    if not name:
        return FLEX_ZONE
    if name[0] in "+-":
        digits = name[1:].replace(":", "")
        offset = timedelta(hours=int(digits[:2]), minutes=int(digits[2:]))
        return timezone(offset if name[0] == "+" else -offset)
    hours = _HOURS.get(name.upper())
    if hours is None:
        raise ValueError(f"not a zone: {name!r}")
    return timezone(timedelta(hours=hours))


def switch(text: str) -> bool | None:
    """Yes or no.

    >>> switch("Y"), switch("No"), switch("")
    (True, False, None)
    """
    text = text.strip().lower()
    if not text:
        return None
    if text not in ("y", "yes", "true", "n", "no", "false"):
        raise ValueError(f"neither yes nor no: {text!r}")
    return text[0] in "yt"


def codes(text: str | None) -> tuple[str, ...]:
    """The codes of `notes` (with semicolons) and `code` (with semicolons or commas), as IBKR spells them.

    >>> codes("A;C"), codes("O,P"), codes(""), codes(None)
    (('A', 'C'), ('O', 'P'), (), ())
    """
    return tuple(each.strip() for each in re.split("[;,]", text or "") if each.strip())
