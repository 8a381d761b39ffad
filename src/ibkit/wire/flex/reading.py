"""A Flex statement read in pieces, as it comes: memory stays flat however long it is.

    FlexQueryResponse › FlexStatements (count) › FlexStatement › section › rows

The document is judged while it is read, so what was handed out before the end is not yet to be believed: whoever books
it does so in one transaction, and takes it back when an error comes. Read with expat, which does not look outside of
what it is given; a document type declaration (all that entities need) is refused.
Source: docs/facts/accounts-and-portfolio.md §6.1, §6.4; docs/adr/0018-flex-xml.md.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from datetime import date, datetime
from typing import TypeAlias, TypeVar
from xml.parsers import expat

import msgspec

from ibkit.errors import Effect, UnexpectedAnswer
from ibkit.wire.codec import excerpt
from ibkit.wire.flex.rows import FlexRow
from ibkit.wire.flex.sections import SECTIONS, read_row
from ibkit.wire.flex.values import day, moment

__all__ = [
    "SIZE_LIMIT",
    "FlexEvent",
    "FlexReader",
    "QueryStart",
    "RowRead",
    "SectionStart",
    "StatementEnd",
    "StatementStart",
    "read_flex",
]

SIZE_LIMIT = 2 * 1024**3
"""Bytes of a whole answer. Our own bound; a year of day-by-day statements has some 100 MB."""
_SLICE = 64 * 1024
_PIECE_LIMIT = 1024 * 1024
"""Bytes of one tag, comment or the like: expat keeps an unfinished one whole."""
_DEPTH_LIMIT = 16
_ROOT, _STATEMENTS, _STATEMENT = "FlexQueryResponse", "FlexStatements", "FlexStatement"
_ANSWER = "FlexStatementResponse"
_T = TypeVar("_T")
_ACCOUNT = re.compile(r"[A-Z]{1,3}\d{4,}\Z")


class QueryStart(msgspec.Struct, frozen=True, kw_only=True):
    """type: AF (activity) or TCF (trade confirmations). count: how many statements follow, where it says so."""

    queryName: str | None = None
    type: str | None = None
    count: int | None = None


class StatementStart(msgspec.Struct, frozen=True, kw_only=True):
    """number: from 0. "Breakout by day" gives one statement for each day."""

    number: int
    accountId: str | None = None
    fromDate: date | None = None
    toDate: date | None = None
    period: str | None = None
    whenGenerated: datetime | date | None = None
    raw: Mapping[str, str] = msgspec.field(default_factory=dict)


class SectionStart(msgspec.Struct, frozen=True, kw_only=True):
    """A section is there, perhaps without rows."""

    section: str


class RowRead(msgspec.Struct, frozen=True, kw_only=True):
    """number: of the row within its section of this statement, from 0."""

    section: str
    number: int
    row: FlexRow


class StatementEnd(msgspec.Struct, frozen=True, kw_only=True):
    number: int


FlexEvent: TypeAlias = QueryStart | StatementStart | SectionStart | RowRead | StatementEnd


class FlexReader:
    """Takes bytes, gives events.

    accounts: ids that may stand in it; None takes any.
    """

    def __init__(self, *, accounts: Collection[str] | None = None, size_limit: int = SIZE_LIMIT) -> None:
        self._accounts = None if accounts is None else frozenset(accounts)
        self._size_limit = size_limit
        self._taken = 0
        self._beginning = b""
        self._last = b""
        self._path: list[str] = []
        self._events: list[FlexEvent] = []
        self._head: QueryStart | None = None
        self._count: int | None = None
        self._statements = 0
        self._open = False
        self._section = ""
        self._kind: type[FlexRow] = FlexRow
        self._rows: dict[str, int] = {}
        self._parser = expat.ParserCreate()
        self._parser.StartDoctypeDeclHandler = self._doctype
        self._parser.StartElementHandler = self._start
        self._parser.EndElementHandler = self._end

    def feed(self, data: bytes) -> list[FlexEvent]:
        """What the next bytes tell.

        Raises UnexpectedAnswer: E-FLEX-STATEMENT, or E-FLEX-ACCOUNT for an account that is not expected.
        """
        if self._taken + len(data) > self._size_limit:
            raise self._unreadable(f"longer than {self._size_limit // 1024 // 1024} MB")
        if len(self._beginning) < _SLICE:
            self._beginning += data[:_SLICE]
        for start in range(0, len(data), _SLICE):
            self._parse(data[start : start + _SLICE])
        return self._drained()

    def close(self) -> list[FlexEvent]:
        """The end of the bytes. Raises UnexpectedAnswer where the document is not whole."""
        self._parse(b"", last=True)
        if self._count is not None and self._count != self._statements:
            raise self._unreadable(f"it announces {self._count} statements and has {self._statements}")
        self._tell_head()
        return self._drained()

    def _drained(self) -> list[FlexEvent]:
        events, self._events = self._events, []
        return events

    def _parse(self, data: bytes, *, last: bool = False) -> None:
        self._taken += len(data)
        self._last = data or self._last
        try:
            self._parser.Parse(data, last)
        except expat.ExpatError as error:
            raise self._unreadable(self._why(error, last=last)) from None
        if self._taken - max(self._parser.CurrentByteIndex, 0) > _PIECE_LIMIT:
            raise self._unreadable(f"one piece of it is longer than {_PIECE_LIMIT // 1024} kB")

    def _why(self, error: expat.ExpatError, *, last: bool) -> str:
        start = self._beginning.lstrip()
        if not start:
            return "empty"
        if not self._path and not start.startswith((b"<", b"\xef\xbb\xbf<")):
            return "no XML"
        if last and self._path:
            return f"cut off inside {self._path[-1]}"
        return f"broken XML at line {error.lineno}: {expat.ErrorString(error.code)}"

    def _unreadable(self, reason: str) -> UnexpectedAnswer:
        inside = self._path and self._last
        return UnexpectedAnswer(
            f"The Flex statement cannot be read: {reason}",
            code="E-FLEX-STATEMENT",
            effect=Effect.NONE,
            excerpt=excerpt(self._last[-600:] if inside else self._beginning),
            details={"reason": reason},
        )

    # --- what expat tells ----------------------------------------------------------------------------------------

    def _doctype(self, name: str, *_: object) -> None:
        if name.lower() == "html":
            raise self._unreadable("an HTML page")
        raise self._unreadable("it has a document type declaration, which no Flex statement has")

    def _start(self, tag: str, attributes: dict[str, str]) -> None:
        depth = len(self._path)
        if depth == 0:
            self._check_root(tag)
            self._head = QueryStart(queryName=attributes.get("queryName") or None, type=attributes.get("type") or None)
        elif depth >= _DEPTH_LIMIT:
            raise self._unreadable(f"elements in elements, more than {_DEPTH_LIMIT} deep")
        elif self._open:
            self._inside_statement(tag, attributes)
        elif tag == _STATEMENTS:
            self._announced(attributes)
        elif tag == _STATEMENT:
            self._start_statement(attributes)
        self._path.append(tag)

    def _end(self, tag: str) -> None:
        self._path.pop()
        if tag == _STATEMENT and self._open:
            self._open = False
            self._events.append(StatementEnd(number=self._statements - 1))

    def _check_root(self, tag: str) -> None:
        if tag == _ROOT:
            return
        if tag.lower() == "html":
            raise self._unreadable("an HTML page")
        if tag == _ANSWER:
            raise self._unreadable("the answer of a request, not a statement")
        raise self._unreadable(f"the document is a {tag[:40]}, not a {_ROOT}")

    def _announced(self, attributes: Mapping[str, str]) -> None:
        text = attributes.get("count", "").strip()
        if text.isdecimal():
            self._count = int(text)
        self._tell_head()

    def _tell_head(self) -> None:
        if self._head is not None:
            self._events.append(msgspec.structs.replace(self._head, count=self._count))
            self._head = None

    def _start_statement(self, attributes: dict[str, str]) -> None:
        account = attributes.get("accountId") or None
        self._check_account(account)
        self._tell_head()
        self._open = True
        self._rows = {}
        self._events.append(
            StatementStart(
                number=self._statements,
                accountId=account,
                fromDate=_tolerant(day, attributes.get("fromDate")),
                toDate=_tolerant(day, attributes.get("toDate")),
                period=attributes.get("period") or None,
                whenGenerated=_tolerant(moment, attributes.get("whenGenerated")),
                raw=attributes,
            )
        )
        self._statements += 1

    def _inside_statement(self, tag: str, attributes: dict[str, str]) -> None:
        if tag == _STATEMENT:
            raise self._unreadable("a statement inside of a statement")
        if self._path[-1] == _STATEMENT:
            self._section = tag
            self._kind = SECTIONS.get(tag, FlexRow)
            if tag not in self._rows:
                self._rows[tag] = 0
                self._events.append(SectionStart(section=tag))
        if not attributes:
            return
        row = read_row(self._kind, tag, attributes)
        self._check_account(row.accountId)
        self._events.append(RowRead(section=self._section, number=self._rows[self._section], row=row))
        self._rows[self._section] += 1

    def _check_account(self, told: str | None) -> None:
        """Rows of sums have "-", consolidated statements a list: only what looks like an account is judged."""
        if self._accounts is None or not told or told in self._accounts:
            return
        for each in re.split(r"[,;\s]+", told):
            if _ACCOUNT.match(each) and each not in self._accounts:
                masked = f"{each[:2]}***{each[-2:]}"
                raise UnexpectedAnswer(
                    code="E-FLEX-ACCOUNT", effect=Effect.NONE, excerpt="", details={"account": masked}
                )


def _tolerant(reader: Callable[[str], _T], text: str | None) -> _T | None:
    """A head's value; nothing where it cannot be read, it still stands in `raw`."""
    try:
        return reader(text or "")
    except (ValueError, OverflowError):
        return None


def read_flex(
    chunks: Iterable[bytes], *, accounts: Collection[str] | None = None, size_limit: int = SIZE_LIMIT
) -> Iterator[FlexEvent]:
    """The events of a statement that comes in pieces; raises like `FlexReader`, at the latest after the last event."""
    reader = FlexReader(accounts=accounts, size_limit=size_limit)
    for chunk in chunks:
        yield from reader.feed(chunk)
    yield from reader.close()
