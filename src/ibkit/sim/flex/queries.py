"""What a saved Flex query says, and how a statement writes days and moments.

Source: docs/facts/accounts-and-portfolio.md §6.1, §6.4. The words of periods but LastBusinessDay and
Last365CalendarDays are assumed.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from decimal import Decimal
from typing import Literal
from xml.sax.saxutils import quoteattr
from zoneinfo import ZoneInfo

__all__ = ["ACTIVITY_SECTIONS", "PERIODS", "SimFlexQuery", "Writer", "period_of"]

_NEW_YORK = ZoneInfo("America/New_York")

ACTIVITY_SECTIONS = (
    "AccountInformation",
    "EquitySummaryInBase",
    "ChangeInNAV",
    "CashReport",
    "StmtFunds",
    "OpenPositions",
    "FxPositions",
    "Trades",
    "OptionEAE",
    "FxTransactions",
    "Transfers",
    "CorporateActions",
    "CashTransactions",
    "InterestAccruals",
    "SecuritiesInfo",
    "ConversionRates",
)
"""All that a statement can have here, in the order in which it is written."""

PERIODS = ("LastBusinessDay", "MonthToDate", "YearToDate", "Last30CalendarDays", "Last365CalendarDays")


@dataclass(frozen=True, slots=True, kw_only=True)
class SimFlexQuery:
    """type: AF activity, TCF trade confirmations. dashed, zoned: the template's date form (`2026-04-09`, ` EDT`)."""

    id: str
    username: str
    accounts: tuple[str, ...]
    type: Literal["AF", "TCF"] = "AF"
    name: str = "sim-activity"
    period: str = "LastBusinessDay"
    sections: tuple[str, ...] = ACTIVITY_SECTIONS
    breakout: bool = False
    dashed: bool = False
    zoned: bool = False
    omit: tuple[str, ...] = ()
    """Attributes that the template leaves out, everywhere."""


def period_of(query: SimFlexQuery, last: date) -> tuple[date, date]:
    """First and last day of the template's own period, when `last` is the last day there is."""
    match query.period:
        case "MonthToDate":
            return last.replace(day=1), last
        case "YearToDate":
            return last.replace(month=1, day=1), last
        case "Last30CalendarDays":
            return last - timedelta(days=29), last
        case "Last365CalendarDays":
            return last - timedelta(days=364), last
        case _:
            return last, last


class Writer:
    """Attributes as the template wants them."""

    def __init__(self, query: SimFlexQuery) -> None:
        self._query = query

    def day(self, day: date) -> str:
        return day.isoformat() if self._query.dashed else day.strftime("%Y%m%d")

    def moment(self, at: datetime) -> str:
        local = at.astimezone(_NEW_YORK)
        clock = local.strftime("%H:%M:%S" if self._query.dashed else "%H%M%S")
        zone = f" {local.tzname()}" if self._query.zoned else ""
        return f"{self.day(local.date())};{clock}{zone}"

    def element(self, tag: str, attributes: Mapping[str, object]) -> str:
        shown = (
            f"{name}={quoteattr(self._text(value))}"
            for name, value in attributes.items()
            if name not in self._query.omit
        )
        return f"<{tag} {' '.join(shown)} />"

    def _text(self, value: object) -> str:
        match value:
            case None:
                return ""
            case bool():
                return "Y" if value else "N"
            case Decimal():
                return f"{value.normalize():f}" if value else "0"
            case datetime():
                return self.moment(value)
            case date():
                return self.day(value)
            case _:
                return str(value)
