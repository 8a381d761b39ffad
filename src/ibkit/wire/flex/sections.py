"""Which section has rows of which shape, and an element as such a row.

Source: docs/facts/accounts-and-portfolio.md §6.4, §6.6.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from decimal import Decimal
from typing import Any, TypeVar, get_type_hints

from ibkit.wire.flex.rows import (
    AccountInformation,
    CashReportCurrency,
    CashTransaction,
    ChangeInNAV,
    ConversionRate,
    CorporateAction,
    Day,
    EquitySummaryByReportDateInBase,
    FlexRow,
    FxLot,
    FxTransaction,
    InterestAccrualsCurrency,
    Moment,
    OpenPosition,
    OptionEAE,
    SecurityInfo,
    StatementOfFundsLine,
    Trade,
    TradeConfirm,
    Transfer,
    UnbundledCommissionDetail,
)
from ibkit.wire.flex.values import day, moment, switch
from ibkit.wire.numbers import figure, whole

__all__ = ["SECTIONS", "read_row"]

SECTIONS: Mapping[str, type[FlexRow]] = {
    "AccountInformation": AccountInformation,
    "CashReport": CashReportCurrency,
    "CashTransactions": CashTransaction,
    "ChangeInNAV": ChangeInNAV,
    "ConversionRates": ConversionRate,
    "CorporateActions": CorporateAction,
    "EquitySummaryInBase": EquitySummaryByReportDateInBase,
    "FxPositions": FxLot,
    "FxTransactions": FxTransaction,
    "InterestAccruals": InterestAccrualsCurrency,
    "OpenPositions": OpenPosition,
    "OptionEAE": OptionEAE,
    "SecuritiesInfo": SecurityInfo,
    "StmtFunds": StatementOfFundsLine,
    "TradeConfirms": TradeConfirm,
    "Trades": Trade,
    "Transfers": Transfer,
    "UnbundledCommissionDetails": UnbundledCommissionDetail,
}
"""Sections that we know, each with the shape of all its rows. Rows of any other section are plain `FlexRow`."""

_Reader = Callable[[str], Any]
_R = TypeVar("_R", bound=FlexRow)
_OWN = frozenset({"tag", "raw", "unread"})


def _reader(hint: object) -> _Reader:
    readers: dict[object, _Reader] = {
        str | None: lambda text: text.strip() or None,
        Decimal | None: figure,
        int | None: whole,
        bool | None: switch,
        Day | None: day,
        Moment | None: moment,
    }
    return readers[hint]


def _readers_of(kind: type[FlexRow]) -> dict[str, _Reader]:
    return {name: _reader(hint) for name, hint in get_type_hints(kind).items() if name not in _OWN}


_KINDS: tuple[type[FlexRow], ...] = (FlexRow, *SECTIONS.values())
_readers: dict[type[FlexRow], dict[str, _Reader]] = {kind: _readers_of(kind) for kind in _KINDS}


def read_row(kind: type[_R], tag: str, attributes: Mapping[str, str]) -> _R:
    """An element as its struct. Never raises: what cannot be read is None, and named in `unread`."""
    readers = _readers[kind]
    values: dict[str, Any] = {}
    unread: list[str] = []
    for name, text in attributes.items():
        reader = readers.get(name)
        if reader is None or not text:
            continue
        try:
            values[name] = reader(text)
        except (ValueError, OverflowError):
            unread.append(name)
    return kind(tag=tag, raw=attributes, unread=tuple(unread), **values)
