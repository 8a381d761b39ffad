"""The levels of a benchmark out of a table of two columns: a day, and its level on it."""

from __future__ import annotations

import csv
import math
from collections.abc import Mapping
from datetime import date
from typing import Final

__all__ = ["LARGEST_TABLE", "levels_of"]

LARGEST_TABLE: Final = 5_000_000
"""Bytes of one: more than a hundred years of days."""


def levels_of(body: bytes) -> Mapping[date, float]:
    """By day; the first line may be a head. ValueError with the line, for people.

    >>> levels_of(b"day,level\\n2026-11-19,5000\\n2026-11-20,5012.5")
    {datetime.date(2026, 11, 19): 5000.0, datetime.date(2026, 11, 20): 5012.5}
    """
    try:
        text = body.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise ValueError("it is not UTF-8") from error
    found: dict[date, float] = {}
    try:
        rows = list(csv.reader(text.splitlines()))
    except csv.Error as error:
        raise ValueError(f"it is no table: {error}") from error
    for line, row in enumerate(rows, start=1):
        if not row:
            continue
        try:
            day, level = date.fromisoformat(row[0].strip()), float(row[1])
        except (ValueError, IndexError) as error:
            if line == 1:
                continue
            raise ValueError(f"line {line}: a day and a level, as 2026-11-20,5012.5") from error
        if not (math.isfinite(level) and level > 0) or day in found:
            raise ValueError(f"line {line}: a positive level, and each day once")
        found[day] = level
    return found
