"""Whether a Flex query has what is needed of it, and where in the Client Portal the rest is switched on.

Which sections, attributes and levels a statement has is chosen in the query's template; an absent one looks like "there
was nothing". So whoever books a statement asks here first.
Source: docs/facts/accounts-and-portfolio.md §6.4 and §6.6 (names of the sections in the Client Portal).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from ibkit.errors import ConfigError
from ibkit.wire.flex.reading import FlexEvent, RowRead, SectionStart
from ibkit.wire.flex.rows import FlexRow
from ibkit.wire.flex.statement import COUNTED_LEVEL, FlexQuery, FlexStatement, counts

__all__ = [
    "CASH_NEEDS",
    "HISTORY_NEEDS",
    "HOLDINGS_NEEDS",
    "Checklist",
    "Missing",
    "Need",
    "missing_sections",
    "require_sections",
]

_PLACE = "Client Portal, Performance & Reports, Flex Queries, edit the query"

_IN_PORTAL: Mapping[str, str] = {
    "AccountInformation": "Account Information",
    "CashReport": "Cash Report",
    "CashTransactions": "Cash Transactions",
    "ChangeInNAV": "Change in NAV",
    "ConversionRates": 'General Configuration, "Include Currency Rates"',
    "CorporateActions": "Corporate Actions",
    "EquitySummaryInBase": "Net Asset Value (NAV) in Base",
    "FxPositions": "Forex Balances",
    "FxTransactions": "Forex P/L Details",
    "InterestAccruals": "Interest Accruals",
    "OpenPositions": "Open Positions",
    "OptionEAE": "Option Exercises, Assignments and Expirations",
    "SecuritiesInfo": "Financial Instrument Information",
    "StmtFunds": "Statement of Funds",
    "TradeConfirms": "Trade Confirmations (in a Trade Confirmation Flex Query)",
    "Trades": "Trades",
    "Transfers": "Transfers",
    "UnbundledCommissionDetails": "Commission Details",
}
_LEVEL_IN_PORTAL = {
    "EXECUTION": "Executions",
    "SUMMARY": "Summary",
    "DETAIL": "Detail",
    "LOT": "Lot",
    "CLOSED_LOT": "Closed Lots",
    "Currency": "Currency Breakout",
}


@dataclass(frozen=True, slots=True)
class Need:
    """A section with the attributes that are read from it. level: of detail, if not the one that is counted."""

    section: str
    attributes: frozenset[str] = frozenset()
    level: str | None = None


def _need(section: str, attributes: str, level: str | None = None) -> Need:
    return Need(section, frozenset(attributes.split()), level)


HOLDINGS_NEEDS: tuple[Need, ...] = (
    _need(
        "OpenPositions",
        "accountId currency assetCategory symbol conid multiplier reportDate position markPrice positionValue "
        "costBasisMoney levelOfDetail",
    ),
    _need("CashReport", "accountId currency toDate endingCash"),
)
"""What the same holdings as by positions are made of (FUT-08)."""

CASH_NEEDS: tuple[Need, ...] = (
    _need("CashReport", "accountId currency fromDate toDate startingCash endingCash"),
    _need(
        "CashTransactions",
        "accountId currency fxRateToBase type amount dateTime settleDate reportDate transactionID description "
        "levelOfDetail",
    ),
)

HISTORY_NEEDS: tuple[Need, ...] = (
    *HOLDINGS_NEEDS,
    _need(
        "Trades",
        "accountId currency fxRateToBase assetCategory symbol conid multiplier tradeID transactionID dateTime "
        "tradeDate settleDateTarget buySell quantity tradePrice proceeds taxes ibCommission ibCommissionCurrency "
        "netCash fifoPnlRealized transactionType notes levelOfDetail",
    ),
    *CASH_NEEDS[1:],
    _need("CorporateActions", "accountId currency conid type dateTime reportDate quantity proceeds actionID"),
    _need("OptionEAE", "accountId currency conid transactionType date quantity tradeID"),
    _need("Transfers", "accountId currency conid direction date quantity cashTransfer transactionID"),
    _need("ConversionRates", "reportDate fromCurrency toCurrency rate"),
)
"""What a ledger of trades, cash and holdings is made of."""


@dataclass(frozen=True, slots=True)
class Missing:
    """attributes: not switched on; unread: there, but with values that are none of their kind. Both empty: all of it.

    level: the level of detail that has no rows although the section has. where: the place that switches it on.
    """

    section: str
    attributes: tuple[str, ...] = ()
    unread: tuple[str, ...] = ()
    level: str | None = None
    where: str = ""

    def __str__(self) -> str:
        if self.level:
            return f"{self.section}: level of detail {self.level}"
        if self.unread:
            return f"{self.section}: cannot be read: {', '.join(self.unread)}"
        return f"{self.section}: {', '.join(self.attributes)}" if self.attributes else self.section


@dataclass(slots=True)
class _Seen:
    attributes: set[str] = field(default_factory=set)
    levels: set[str] = field(default_factory=set)
    unread: set[str] = field(default_factory=set)
    rows: int = 0
    counted: int = 0


class Checklist:
    """Listens to a statement's events, also to one that is never whole in memory."""

    def __init__(self) -> None:
        self._seen: dict[str, _Seen] = {}

    def saw(self, event: FlexEvent) -> None:
        if isinstance(event, SectionStart):
            self._seen.setdefault(event.section, _Seen())
        elif isinstance(event, RowRead):
            self.saw_row(event.section, event.row)

    def saw_row(self, section: str, row: FlexRow) -> None:
        seen = self._seen.setdefault(section, _Seen())
        seen.rows += 1
        if row.levelOfDetail:
            seen.levels.add(row.levelOfDetail)
        if counts(section, row):
            seen.counted += 1
        if counts(section, row) or seen.counted == 0:
            seen.attributes.update(row.raw)
        seen.unread.update(row.unread)

    def missing(self, needed: Sequence[Need]) -> list[Missing]:
        """One for each thing that is missing, in the order of `needed`; an empty section shows no attributes."""
        return [each for need in needed for each in self._missing(need)]

    def _missing(self, need: Need) -> Iterable[Missing]:
        name = _IN_PORTAL.get(need.section, need.section)
        seen = self._seen.get(need.section)
        if seen is None:
            yield Missing(need.section, where=f"{_PLACE}, section {name}")
            return
        if not seen.rows:
            return
        level = need.level or COUNTED_LEVEL.get(need.section)
        if level is not None and not (level in seen.levels if need.level else seen.counted):
            option = _LEVEL_IN_PORTAL.get(level, level)
            yield Missing(need.section, level=level, where=f"{_PLACE}, section {name}, option {option}")
        absent = tuple(sorted(need.attributes - seen.attributes))
        if absent:
            yield Missing(need.section, absent, where=f"{_PLACE}, section {name}, fields of these names")
        unread = tuple(sorted(need.attributes & seen.unread))
        if unread:
            yield Missing(
                need.section,
                unread=unread,
                where=f"{_PLACE}, Date/Time Configuration: yyyyMMdd and HHmmss, with a semicolon between",
            )


def missing_sections(statement: FlexStatement | FlexQuery, needed: Sequence[Need] = HOLDINGS_NEEDS) -> list[Missing]:
    """What a statement, or all of an answer together, does not have of what is needed."""
    checklist = Checklist()
    for each in statement.statements if isinstance(statement, FlexQuery) else (statement,):
        for section, rows in each.sections.items():
            checklist.saw(SectionStart(section=section))
            for row in rows:
                checklist.saw_row(section, row)
    return checklist.missing(needed)


def require_sections(statement: FlexStatement | FlexQuery, needed: Sequence[Need] = HOLDINGS_NEEDS) -> None:
    """Raises ConfigError (E-FLEX-SECTIONS) that names each missing thing and where it is switched on."""
    missing = missing_sections(statement, needed)
    if missing:
        raise ConfigError(
            code="E-FLEX-SECTIONS",
            details={"missing": "; ".join(map(str, missing))},
            remedy="; ".join(dict.fromkeys(each.where for each in missing)) + ". Then fetch again.",
        )
