"""Contract look-up: search, strikes, info, rules, schedules, and the sessionless /trsrv family.

Source: docs/facts/contracts-and-market-data.md §1.
"""

from __future__ import annotations

from datetime import date
from decimal import Decimal
from typing import Any

import msgspec

from ibkit.model import Conid, Contract, Increments, Right, SecType
from ibkit.wire.endpoint import Endpoint, Needs
from ibkit.wire.numbers import figure, whole

__all__ = [
    "US_VENUES",
    "ContractInfo",
    "ContractRules",
    "RulesRequest",
    "SearchRequest",
    "SearchRow",
    "SecdefInfoRow",
    "Strikes",
    "TradingSchedule",
    "TrsrvSecdef",
    "increments_from_wire",
    "month_code",
    "option_from_wire",
    "underlying_from_wire",
]

_FACTS = "docs/facts/contracts-and-market-data.md"

US_VENUES = frozenset(
    {"NYSE", "NASDAQ", "ARCA", "AMEX", "BATS", "CBOE", "IEX", "NMS", "PINK", "NYSENAT", "ISLAND", "CME", "NASDAQ.NMS"}
)
"""Primary listings that count as American. Source: §1.1 (`description`), §1.6 (exchange names)."""

_MONTHS = ("JAN", "FEB", "MAR", "APR", "MAY", "JUN", "JUL", "AUG", "SEP", "OCT", "NOV", "DEC")


class Section(msgspec.Struct):
    secType: str | None = None
    months: str | None = None
    exchange: str | None = None
    conid: Any = None


class SearchRow(msgspec.Struct):
    """`description` is the primary listing exchange; `conid` is text. Source: §1.1."""

    conid: Any = None
    companyHeader: str | None = None
    companyName: str | None = None
    symbol: str | None = None
    description: str | None = None
    restricted: str | None = None
    sections: list[Section] = []

    def section(self, sec_type: str) -> Section | None:
        return next((section for section in self.sections if section.secType == sec_type), None)

    @property
    def option_months(self) -> tuple[str, ...]:
        """`("NOV26", "DEC26", …)`, nearest first."""
        found = self.section("OPT")
        return tuple(month for month in ((found and found.months) or "").split(";") if month)


class SearchRequest(msgspec.Struct, omit_defaults=True):
    symbol: str
    name: bool | None = None
    secType: str | None = None


class Strikes(msgspec.Struct):
    """The union over all expiries and classes of the month. Source: §1.2."""

    call: list[Decimal] = []
    put: list[Decimal] = []


class SecdefInfoRow(msgspec.Struct):
    """Source: §1.3; `maturityDate` is the last trading day."""

    conid: Any = None
    symbol: str | None = None
    ticker: str | None = None
    secType: str | None = None
    exchange: str | None = None
    listingExchange: str | None = None
    right: str | None = None
    strike: Any = None
    currency: str | None = None
    desc1: str | None = None
    desc2: str | None = None
    maturityDate: str | None = None
    multiplier: Any = None
    tradingClass: str | None = None
    validExchanges: str | None = None
    companyName: str | None = None


class IncrementRule(msgspec.Struct):
    lowerEdge: Decimal | None = None
    increment: Decimal | None = None


class ContractRules(msgspec.Struct):
    """Source: §1.13; every member is optional, and `error` may stand inside a 200."""

    orderTypes: list[str] = []
    tifTypes: list[str] = []
    incrementRules: list[IncrementRule] | None = None
    increment: Decimal | None = None
    incrementDigits: int | None = None
    incrementType: int | None = None
    sizeIncrement: Any = None
    defaultSize: Any = None
    negativeCapable: bool | None = None
    canTradeAcctIds: list[str] = []
    error: str | None = None


class RulesRequest(msgspec.Struct):
    conid: int
    exchange: str
    isBuy: bool


class ContractInfo(msgspec.Struct):
    """Source: §1.11."""

    con_id: int | None = None
    symbol: str | None = None
    instrument_type: str | None = None
    exchange: str | None = None
    currency: str | None = None
    multiplier: Any = None
    maturity_date: str | None = None
    strike: Any = None
    right: str | None = None
    trading_class: str | None = None
    local_symbol: str | None = None
    company_name: str | None = None
    text: str | None = None
    valid_exchanges: str | None = None
    underlying_con_id: int | None = None
    contract_month: str | None = None
    r_t_h: bool | None = None
    rules: ContractRules | None = None


class TrsrvSecdef(msgspec.Struct):
    secdef: list[dict[str, Any]] = []


class TrsrvContract(msgspec.Struct):
    conid: Any = None
    exchange: str | None = None
    isUS: bool | None = None


class TrsrvIssuer(msgspec.Struct):
    name: str | None = None
    assetClass: str | None = None
    contracts: list[TrsrvContract] = []


class TradingHours(msgspec.Struct):
    """Epoch seconds. Source: §1.10."""

    opening: int | None = None
    closing: int | None = None
    cancel_daily_orders: bool | None = None


class TradingDay(msgspec.Struct):
    liquid_hours: list[TradingHours] = []
    extended_hours: list[TradingHours] = []


class TradingSchedule(msgspec.Struct):
    exchange_time_zone: str | None = None
    schedules: dict[str, TradingDay] = {}


class Rate(msgspec.Struct):
    rate: Decimal | None = None


_Rows = list[dict[str, Any]]

SECDEF_SEARCH = Endpoint(
    "GET",
    "/iserver/secdef/search",
    takes=SearchRequest,
    gives=list[SearchRow],
    also=("POST",),
    source=f"{_FACTS} §1.1",
)
SECDEF_STRIKES = Endpoint("GET", "/iserver/secdef/strikes", gives=Strikes, source=f"{_FACTS} §1.2")
SECDEF_INFO = Endpoint("GET", "/iserver/secdef/info", gives=list[SecdefInfoRow], source=f"{_FACTS} §1.3")
TRSRV_SECDEF = Endpoint(
    "GET",
    "/trsrv/secdef",
    gives=TrsrvSecdef,
    needs=Needs.OUTER_SESSION,
    also=("POST",),
    source=f"{_FACTS} §1.5",
)
TRSRV_STOCKS = Endpoint(
    "GET",
    "/trsrv/stocks",
    gives=dict[str, list[TrsrvIssuer]],
    needs=Needs.OUTER_SESSION,
    source=f"{_FACTS} §1.6",
)
TRSRV_FUTURES = Endpoint(
    "GET", "/trsrv/futures", gives=dict[str, _Rows], needs=Needs.OUTER_SESSION, source=f"{_FACTS} §1.7"
)
TRSRV_ALL_CONIDS = Endpoint("GET", "/trsrv/all-conids", gives=_Rows, needs=Needs.OUTER_SESSION, source=f"{_FACTS} §1.8")
TRSRV_SCHEDULE = Endpoint(
    "GET", "/trsrv/secdef/schedule", gives=_Rows, needs=Needs.OUTER_SESSION, source=f"{_FACTS} §1.9"
)
TRADING_SCHEDULE = Endpoint(
    "GET",
    "/contract/trading-schedule",
    gives=TradingSchedule,
    needs=Needs.OUTER_SESSION,
    source=f"{_FACTS} §1.10",
)
CONTRACT_INFO = Endpoint("GET", "/iserver/contract/{conid}/info", gives=ContractInfo, source=f"{_FACTS} §1.11")
CONTRACT_INFO_AND_RULES = Endpoint(
    "GET", "/iserver/contract/{conid}/info-and-rules", gives=ContractInfo, source=f"{_FACTS} §1.12"
)
CONTRACT_RULES = Endpoint(
    "POST", "/iserver/contract/rules", takes=RulesRequest, gives=ContractRules, source=f"{_FACTS} §1.13"
)
CONTRACT_ALGOS = Endpoint("GET", "/iserver/contract/{conid}/algos", gives=dict[str, Any], source=f"{_FACTS} §1.14")
CURRENCY_PAIRS = Endpoint("GET", "/iserver/currency/pairs", gives=dict[str, _Rows], source=f"{_FACTS} §1.16")
EXCHANGE_RATE = Endpoint("GET", "/iserver/exchangerate", gives=Rate, source=f"{_FACTS} §1.16")


def month_code(day: date) -> str:
    """`NOV26`, as search, strikes and info spell a month.

    >>> month_code(date(2026, 11, 20))
    'NOV26'
    """
    return f"{_MONTHS[day.month - 1]}{day:%y}"


def underlying_from_wire(row: SearchRow) -> Contract:
    """The stock, ETF or index of a search row. Raises ValueError without a conid."""
    conid = whole(row.conid)
    if conid is None:
        raise ValueError("a search row without conid")
    index = row.restricted == "IND" or (row.section("IND") is not None and row.section("STK") is None)
    return Contract(
        conid=Conid(conid),
        symbol=row.symbol or "",
        sec_type=SecType.INDEX if index else SecType.STOCK,
        exchange=row.description or "SMART",
        description=row.companyName or row.companyHeader or "",
    )


def option_from_wire(row: SecdefInfoRow, underlying: Contract) -> Contract:
    """The option of an info row. Raises ValueError where a term is missing or not an option's."""
    conid, strike = whole(row.conid), figure(row.strike)
    if conid is None or strike is None or row.right not in ("P", "C") or not row.maturityDate:
        raise ValueError(f"not an option: {row.desc1} {row.desc2}")
    return Contract(
        conid=Conid(conid),
        symbol=row.symbol or underlying.symbol,
        sec_type=SecType.OPTION,
        exchange=row.exchange or "SMART",
        currency=row.currency or underlying.currency,
        multiplier=figure(row.multiplier) or Decimal(100),
        description=f"{row.desc1 or underlying.symbol} {row.desc2 or ''}".strip(),
        expiry=date.fromisoformat(row.maturityDate),
        strike=strike,
        right=Right(row.right),
        trading_class=row.tradingClass,
        underlying_conid=underlying.conid,
    )


def increments_from_wire(rules: ContractRules) -> Increments:
    """The price grid; a single `increment` where the table is missing. Raises ValueError where neither is there."""
    steps = sorted(
        (rule.lowerEdge or Decimal(0), rule.increment)
        for rule in rules.incrementRules or ()
        if rule.increment is not None and rule.increment > 0
    )
    if not steps and rules.increment is not None and rules.increment > 0:
        steps = [(Decimal(0), rules.increment)]
    if not steps:
        raise ValueError(rules.error or "the contract rules name no price increment")
    return Increments(tuple(steps))
