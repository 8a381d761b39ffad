"""IBKR's Flex Web Service with no I/O: statements as they spell them, what is missing in them, requests and answers.

    read_flex, FlexReader    bytes in pieces → events, in flat memory
    decode_flex              a whole answer → FlexQuery › FlexStatement › rows
    missing_sections         what a query's template leaves out, and where it is switched on
    read_answer              what a request came to (`answers`); when to ask again (`polling`)

Source: docs/facts/accounts-and-portfolio.md §6.
"""

from __future__ import annotations

from ibkit.wire.flex.answers import (
    FLEX_URL,
    FlexFailure,
    FlexKind,
    FlexReference,
    FlexReport,
    read_answer,
)
from ibkit.wire.flex.checklist import (
    CASH_NEEDS,
    HISTORY_NEEDS,
    HOLDINGS_NEEDS,
    Checklist,
    Missing,
    Need,
    missing_sections,
    require_sections,
)
from ibkit.wire.flex.reading import (
    SIZE_LIMIT,
    FlexEvent,
    FlexReader,
    QueryStart,
    RowRead,
    SectionStart,
    StatementEnd,
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
from ibkit.wire.flex.statement import (
    BASE_SUMMARY,
    FlexQuery,
    FlexStatement,
    counts,
    decode_flex,
    level_of,
)
from ibkit.wire.flex.values import codes

__all__ = [
    "BASE_SUMMARY",
    "CASH_NEEDS",
    "FLEX_URL",
    "HISTORY_NEEDS",
    "HOLDINGS_NEEDS",
    "SECTIONS",
    "SIZE_LIMIT",
    "AccountInformation",
    "CashReportCurrency",
    "CashTransaction",
    "ChangeInNAV",
    "Checklist",
    "ConversionRate",
    "CorporateAction",
    "EquitySummaryByReportDateInBase",
    "FlexEvent",
    "FlexFailure",
    "FlexKind",
    "FlexQuery",
    "FlexReader",
    "FlexReference",
    "FlexReport",
    "FlexRow",
    "FlexStatement",
    "FxLot",
    "FxTransaction",
    "InterestAccrualsCurrency",
    "Missing",
    "Need",
    "OpenPosition",
    "OptionEAE",
    "QueryStart",
    "RowRead",
    "SectionStart",
    "SecurityInfo",
    "StatementEnd",
    "StatementOfFundsLine",
    "StatementStart",
    "Trade",
    "TradeConfirm",
    "Transfer",
    "UnbundledCommissionDetail",
    "codes",
    "counts",
    "decode_flex",
    "level_of",
    "missing_sections",
    "read_answer",
    "read_flex",
    "require_sections",
]
