"""A kept library's reading of a Flex statement, compared with ours value by value."""

from __future__ import annotations

import datetime
import re
import warnings
from decimal import Decimal
from typing import Any
from zoneinfo import ZoneInfo

import ibflex

from ibkit.wire.flex import codes, decode_flex

__all__ = ["compared"]

NEW_YORK = ZoneInfo("America/New_York")


def oracle(body: bytes) -> Any:
    """ibflex, which knows neither zones nor the type that the capture has."""
    text = re.sub(r"(\d\d:\d\d:\d\d) E[DS]T", r"\1", body.decode()).replace(
        "Deposits/Withdrawals", "Deposits &amp; Withdrawals"
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of attributes that it does not know
        return ibflex.parser.parse(text.encode())


def same(ours: Any, theirs: Any) -> bool:
    if isinstance(theirs, tuple):
        return [getattr(each, "value", each) for each in theirs] == list(codes(ours))
    if hasattr(theirs, "value"):
        return str(theirs.value) == ours or ours == "Deposits/Withdrawals"
    if isinstance(theirs, datetime.datetime):
        if not isinstance(ours, datetime.datetime):  # a day without a time
            return theirs == datetime.datetime.combine(ours, datetime.time())
        return ours.astimezone(NEW_YORK).replace(tzinfo=None) == theirs
    if isinstance(theirs, str) and isinstance(ours, int):
        return int(theirs) == ours
    if isinstance(theirs, Decimal) and isinstance(ours, str):  # an id that ibflex takes for a number
        return theirs == Decimal(ours)
    return bool(ours == theirs)


def compared(body: bytes) -> int:
    """How many values were found to be the same."""
    found = 0
    theirs = oracle(body)
    ours = decode_flex(body)
    assert len(theirs.FlexStatements) == len(ours.statements)
    for their_statement, our_statement in zip(theirs.FlexStatements, ours.statements, strict=True):
        assert our_statement.fromDate == their_statement.fromDate
        assert our_statement.accountId == their_statement.accountId
        for section, rows in our_statement.sections.items():
            their_rows = getattr(their_statement, section)
            their_rows = their_rows if isinstance(their_rows, tuple) else (their_rows,)
            assert len(their_rows) == len(rows), section
            for row, their_row in zip(rows, their_rows, strict=True):
                assert row.tag == type(their_row).__name__
                assert row.unread == ()
                for name in row.__struct_fields__:
                    value = getattr(their_row, name, None)
                    if name not in ("tag", "raw", "unread") and value is not None:
                        assert same(getattr(row, name), value), (section, name, getattr(row, name), value)
                        found += 1
    return found
