"""A whole Flex statement in memory, and which of its rows count: levels of detail repeat each other.

Source: docs/facts/accounts-and-portfolio.md §6.4.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from datetime import date, datetime
from typing import TypeVar

import msgspec

from ibkit.wire.flex.reading import (
    QueryStart,
    RowRead,
    SectionStart,
    StatementStart,
    read_flex,
)
from ibkit.wire.flex.rows import (
    AccountInformation,
    CashReportCurrency,
    CashTransaction,
    ChangeInNAV,
    ConversionRate,
    CorporateAction,
    EquitySummaryByReportDateInBase,
    FlexRow,
    FxLot,
    FxTransaction,
    InterestAccrualsCurrency,
    OpenPosition,
    OptionEAE,
    SecurityInfo,
    StatementOfFundsLine,
    Trade,
    TradeConfirm,
    Transfer,
    UnbundledCommissionDetail,
)
from ibkit.wire.flex.sections import SECTIONS

__all__ = ["BASE_SUMMARY", "COUNTED_LEVEL", "FlexQuery", "FlexStatement", "counts", "decode_flex", "level_of"]

BASE_SUMMARY = "BASE_SUMMARY"
"""The `currency` of rows that sum all currencies up in the base currency."""

COUNTED_LEVEL: Mapping[str, str] = {
    "Trades": "EXECUTION",
    "TradeConfirms": "EXECUTION",
    "OpenPositions": "SUMMARY",
    "FxPositions": "SUMMARY",
    "CashTransactions": "DETAIL",
    "CashReport": "Currency",
    "StmtFunds": "Currency",
}
"""The level that is counted, by section; the others say the same again, finer or coarser. Elsewhere all but SUMMARY."""

_BY_TAG = {
    "Trade": "EXECUTION",
    "TradeConfirm": "EXECUTION",
    "Order": "ORDER",
    "SymbolSummary": "SYMBOL_SUMMARY",
    "AssetSummary": "ASSET_SUMMARY",
    "Lot": "CLOSED_LOT",
}
_R = TypeVar("_R", bound=FlexRow)


def level_of(section: str, row: FlexRow) -> str:
    """The row's level of detail; where it does not say, what its element is, or what is counted in its section."""
    if section in ("CashReport", "InterestAccruals") and row.currency == BASE_SUMMARY:
        return "BaseCurrency"
    return row.levelOfDetail or _BY_TAG.get(row.tag) or COUNTED_LEVEL.get(section, "")


def counts(section: str, row: FlexRow) -> bool:
    """Whether a row is to be counted: each thing once, whatever levels the template has."""
    level = level_of(section, row)
    wanted = COUNTED_LEVEL.get(section)
    return level == wanted if wanted is not None else level not in ("SUMMARY", "BaseCurrency")


class FlexStatement(msgspec.Struct, frozen=True, kw_only=True):
    """One `FlexStatement`. sections: all rows of all levels, also one without rows; raw: what it says of itself."""

    number: int = 0
    accountId: str | None = None
    fromDate: date | None = None
    toDate: date | None = None
    period: str | None = None
    whenGenerated: datetime | date | None = None
    raw: Mapping[str, str] = msgspec.field(default_factory=dict)
    sections: Mapping[str, tuple[FlexRow, ...]] = msgspec.field(default_factory=dict)

    def rows(self, section: str, kind: type[_R], level: str | None = None) -> tuple[_R, ...]:
        """Rows of a section that count, or those of one level."""
        return tuple(
            row
            for row in self.sections.get(section, ())
            if isinstance(row, kind) and (counts(section, row) if level is None else level_of(section, row) == level)
        )

    @property
    def account_information(self) -> AccountInformation | None:
        found = self.rows("AccountInformation", AccountInformation)
        return found[0] if found else None

    @property
    def trades(self) -> tuple[Trade, ...]:
        """Executions."""
        return self.rows("Trades", Trade)

    @property
    def closed_lots(self) -> tuple[Trade, ...]:
        """Which lots the trades closed."""
        return self.rows("Trades", Trade, "CLOSED_LOT")

    @property
    def trade_confirms(self) -> tuple[TradeConfirm, ...]:
        """Executions of a query of confirmations."""
        return self.rows("TradeConfirms", TradeConfirm)

    @property
    def open_positions(self) -> tuple[OpenPosition, ...]:
        return self.rows("OpenPositions", OpenPosition)

    @property
    def open_lots(self) -> tuple[OpenPosition, ...]:
        return self.rows("OpenPositions", OpenPosition, "LOT")

    @property
    def cash_transactions(self) -> tuple[CashTransaction, ...]:
        return self.rows("CashTransactions", CashTransaction)

    @property
    def cash_report(self) -> tuple[CashReportCurrency, ...]:
        """By currency."""
        return self.rows("CashReport", CashReportCurrency)

    @property
    def cash_report_in_base(self) -> CashReportCurrency | None:
        """All currencies summed up in the base currency."""
        found = self.rows("CashReport", CashReportCurrency, "BaseCurrency")
        return found[0] if found else None

    @property
    def equity_summaries(self) -> tuple[EquitySummaryByReportDateInBase, ...]:
        """By day."""
        return self.rows("EquitySummaryInBase", EquitySummaryByReportDateInBase)

    @property
    def change_in_nav(self) -> ChangeInNAV | None:
        found = self.rows("ChangeInNAV", ChangeInNAV)
        return found[0] if found else None

    @property
    def corporate_actions(self) -> tuple[CorporateAction, ...]:
        return self.rows("CorporateActions", CorporateAction)

    @property
    def option_events(self) -> tuple[OptionEAE, ...]:
        """Exercises, assignments, expirations."""
        return self.rows("OptionEAE", OptionEAE)

    @property
    def transfers(self) -> tuple[Transfer, ...]:
        return self.rows("Transfers", Transfer)

    @property
    def interest_accruals(self) -> tuple[InterestAccrualsCurrency, ...]:
        """By currency."""
        return self.rows("InterestAccruals", InterestAccrualsCurrency)

    @property
    def securities(self) -> tuple[SecurityInfo, ...]:
        return self.rows("SecuritiesInfo", SecurityInfo)

    @property
    def conversion_rates(self) -> tuple[ConversionRate, ...]:
        return self.rows("ConversionRates", ConversionRate)

    @property
    def fx_transactions(self) -> tuple[FxTransaction, ...]:
        return self.rows("FxTransactions", FxTransaction)

    @property
    def fx_positions(self) -> tuple[FxLot, ...]:
        return self.rows("FxPositions", FxLot)

    @property
    def funds(self) -> tuple[StatementOfFundsLine, ...]:
        """The cash book by currency."""
        return self.rows("StmtFunds", StatementOfFundsLine)

    @property
    def funds_in_base(self) -> tuple[StatementOfFundsLine, ...]:
        """The cash book in the base currency."""
        return self.rows("StmtFunds", StatementOfFundsLine, "BaseCurrency")

    @property
    def commission_details(self) -> tuple[UnbundledCommissionDetail, ...]:
        return self.rows("UnbundledCommissionDetails", UnbundledCommissionDetail)

    @property
    def unknown_sections(self) -> tuple[str, ...]:
        """Sections that we have no shape for; their rows are plain `FlexRow`."""
        return tuple(name for name in self.sections if name not in SECTIONS)


class FlexQuery(msgspec.Struct, frozen=True, kw_only=True):
    """The whole answer."""

    queryName: str | None = None
    type: str | None = None
    statements: tuple[FlexStatement, ...] = ()


def decode_flex(body: bytes, *, accounts: Collection[str] | None = None) -> FlexQuery:
    """A statement that is in memory anyway; for long ones see `read_flex`.

    accounts: ids that may stand in it; None takes any.
    Raises UnexpectedAnswer: E-FLEX-STATEMENT, E-FLEX-ACCOUNT.
    """
    head = QueryStart()
    starts: list[StatementStart] = []
    sections: list[dict[str, list[FlexRow]]] = []
    for event in read_flex((body,), accounts=accounts):
        match event:
            case QueryStart():
                head = event
            case StatementStart():
                starts.append(event)
                sections.append({})
            case SectionStart(section=section):
                sections[-1].setdefault(section, [])
            case RowRead(section=section, row=row):
                sections[-1][section].append(row)
            case _:
                pass
    return FlexQuery(
        queryName=head.queryName,
        type=head.type,
        statements=tuple(
            FlexStatement(
                **msgspec.structs.asdict(start),
                sections={section: tuple(rows) for section, rows in found.items()},
            )
            for start, found in zip(starts, sections, strict=True)
        ),
    )
