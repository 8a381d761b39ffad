"""The parts of a report: facts, tables, plots and notes. All texts are ready to be read; what is not known is a dash.

Every renderer shows every part, so both files say the same.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date
from typing import TypeAlias

__all__ = ["Block", "Column", "Fact", "Facts", "Line", "Notes", "Plot", "Report", "Section", "Table"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Fact:
    """beside: a few words below the value."""

    label: str
    value: str
    beside: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    facts: tuple[Fact, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Column:
    """right: of figures. bar: its texts are percents from 0 to 100, drawn as bars, too. wide: takes what is left."""

    title: str
    right: bool = False
    bar: bool = False
    wide: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Table:
    """rows: as many texts as columns, each. total: one row more, set apart. empty: what stands in place of no rows."""

    title: str
    columns: tuple[Column, ...]
    rows: tuple[tuple[str, ...], ...]
    total: tuple[str, ...] | None = None
    empty: str = ""

    def __post_init__(self) -> None:
        for row in (*self.rows, *(() if self.total is None else (self.total,))):
            assert len(row) == len(self.columns), "a cell for each column"


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    name: str
    points: tuple[tuple[date, float], ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Plot:
    """unit: a currency, or % (then 0.01 is 1 %). filled: the area between the first line and zero is tinted."""

    title: str
    unit: str
    lines: tuple[Line, ...]
    filled: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Notes:
    lines: tuple[str, ...]
    title: str = ""


Block: TypeAlias = Facts | Table | Plot | Notes


@dataclass(frozen=True, slots=True, kw_only=True)
class Section:
    title: str
    blocks: tuple[Block, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """made: the line that says of when it is, and in which currency. title: the portfolio's name."""

    title: str
    made: str
    sections: tuple[Section, ...]
