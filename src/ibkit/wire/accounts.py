"""Brokerage accounts and the portfolio family.

Source: docs/facts/accounts-and-portfolio.md §1-3.
"""

from __future__ import annotations

import re
from dataclasses import replace
from datetime import date
from decimal import Decimal
from typing import Any

import msgspec

from ibkit.model import (
    Account,
    AccountId,
    AccountSummary,
    CashBalance,
    Conid,
    Contract,
    Position,
    Right,
    SecType,
    environment_of,
)
from ibkit.wire.endpoint import Endpoint, Lane, Limit, Needs
from ibkit.wire.numbers import figure, whole

__all__ = [
    "POSITIONS_PAGE_ROWS",
    "BrokerageAccounts",
    "LedgerRow",
    "PortfolioAccount",
    "PositionRow",
    "SwitchAccount",
    "account_from_wire",
    "ledger_from_wire",
    "position_from_wire",
    "summary_from_wire",
]

_FACTS = "docs/facts/accounts-and-portfolio.md"
POSITIONS_PAGE_ROWS = 100
"""Source: §3.1."""


class BrokerageAccounts(msgspec.Struct):
    """Source: §1.1. The key set grows; the rest is left alone."""

    accounts: list[str] = []
    selectedAccount: str | None = None
    sessionId: str | None = None
    isPaper: bool | None = None
    isFT: bool | None = None
    aliases: dict[str, str] = {}
    acctProps: dict[str, Any] = {}
    allowFeatures: dict[str, Any] = {}
    groups: list[Any] = []


class SwitchAccount(msgspec.Struct):
    acctId: str


class PortfolioAccount(msgspec.Struct):
    """Source: §2.1."""

    id: str | None = None
    accountId: str | None = None
    displayName: str | None = None
    accountTitle: str | None = None
    accountAlias: str | None = None
    currency: str | None = None
    type: str | None = None
    tradingType: str | None = None
    brokerageAccess: bool | None = None
    clearingStatus: str | None = None


class SummaryValue(msgspec.Struct):
    """Source: §2.3. Numeric keys use `amount`, text keys `value`."""

    amount: Any = None
    currency: str | None = None
    isNull: bool | None = None
    timestamp: Any = None
    value: Any = None
    severity: Any = None


class LedgerRow(msgspec.Struct):
    """One currency, or BASE. Source: §2.4; `exchangerate` is units of base per unit."""

    currency: str | None = None
    secondkey: str | None = None
    acctcode: str | None = None
    cashbalance: Decimal | None = None
    settledcash: Decimal | None = None
    exchangerate: Decimal | None = None
    netliquidationvalue: Decimal | None = None
    stockmarketvalue: Decimal | None = None
    stockoptionmarketvalue: Decimal | None = None
    realizedpnl: Decimal | None = None
    unrealizedpnl: Decimal | None = None
    interest: Decimal | None = None
    dividends: Decimal | None = None
    timestamp: int | None = None


class PositionRow(msgspec.Struct):
    """A row of both position families: portfolio2 spells price and value otherwise. Source: §3.1, §3.2."""

    acctId: str | None = None
    conid: Any = None
    contractDesc: str | None = None
    description: str | None = None
    position: Decimal | None = None
    mktPrice: Any = None
    marketPrice: Any = None
    mktValue: Any = None
    marketValue: Any = None
    currency: str | None = None
    avgCost: Any = None
    avgPrice: Any = None
    realizedPnl: Any = None
    unrealizedPnl: Any = None
    expiry: str | None = None
    putOrCall: str | None = None
    multiplier: Any = None
    strike: Any = None
    assetClass: str | None = None
    secType: str | None = None
    undConid: Any = None
    undSym: str | None = None
    ticker: str | None = None
    name: str | None = None
    fullName: str | None = None
    listingExchange: str | None = None
    lastTradingDay: str | None = None
    timestamp: int | None = None
    type: str | None = None
    sector: str | None = None
    model: str | None = None


class Invalidated(msgspec.Struct):
    message: str | None = None


ACCOUNTS = Endpoint("GET", "/iserver/accounts", lane=Lane.SESSION, gives=BrokerageAccounts, source=f"{_FACTS} §1.1")
SWITCH_ACCOUNT = Endpoint(
    "POST", "/iserver/account", takes=SwitchAccount, gives=dict[str, Any], source=f"{_FACTS} §1.2"
)
ACCOUNT_SUMMARY = Endpoint(
    "GET",
    "/iserver/account/{account_id}/summary",
    needs=Needs.PRIMED_ACCOUNTS,
    gives=dict[str, Any],
    source=f"{_FACTS} §1.4",
)
PNL_PARTITIONED = Endpoint(
    "GET", "/iserver/account/pnl/partitioned", limit=Limit(1, 5.0), gives=dict[str, Any], source=f"{_FACTS} §1.6"
)
PORTFOLIO_ACCOUNTS = Endpoint(
    "GET",
    "/portfolio/accounts",
    needs=Needs.OUTER_SESSION,
    limit=Limit(1, 5.0),
    gives=list[PortfolioAccount],
    source=f"{_FACTS} §2.1",
)
PORTFOLIO_SUBACCOUNTS = Endpoint(
    "GET",
    "/portfolio/subaccounts",
    needs=Needs.OUTER_SESSION,
    limit=Limit(1, 5.0),
    gives=list[PortfolioAccount],
    source=f"{_FACTS} §2.2",
)
PORTFOLIO_META = Endpoint(
    "GET",
    "/portfolio/{account_id}/meta",
    needs=Needs.OUTER_SESSION,
    quiet_401=True,
    gives=PortfolioAccount,
    source=f"{_FACTS} §2.2",
)
PORTFOLIO_SUMMARY = Endpoint(
    "GET",
    "/portfolio/{account_id}/summary",
    needs=Needs.OUTER_SESSION,
    quiet_401=True,
    gives=dict[str, SummaryValue],
    source=f"{_FACTS} §2.3",
)
LEDGER = Endpoint(
    "GET",
    "/portfolio/{account_id}/ledger",
    needs=Needs.OUTER_SESSION,
    quiet_401=True,
    gives=dict[str, LedgerRow],
    source=f"{_FACTS} §2.4",
)
ALLOCATION = Endpoint(
    "GET",
    "/portfolio/{account_id}/allocation",
    needs=Needs.OUTER_SESSION,
    quiet_401=True,
    gives=dict[str, Any],
    source=f"{_FACTS} §2.5",
)
POSITIONS = Endpoint(
    "GET",
    "/portfolio/{account_id}/positions/{page}",
    needs=Needs.OUTER_SESSION,
    quiet_401=True,
    gives=list[PositionRow],
    source=f"{_FACTS} §3.1",
)
POSITION = Endpoint(
    "GET",
    "/portfolio/{account_id}/position/{conid}",
    needs=Needs.OUTER_SESSION,
    quiet_401=True,
    gives=list[PositionRow],
    source=f"{_FACTS} §3.2",
)
POSITIONS_OF_CONID = Endpoint(
    "GET",
    "/portfolio/positions/{conid}",
    needs=Needs.OUTER_SESSION,
    gives=dict[str, list[PositionRow]],
    source=f"{_FACTS} §3.2",
)
POSITIONS_NOW = Endpoint(
    "GET",
    "/portfolio2/{account_id}/positions",
    needs=Needs.OUTER_SESSION,
    quiet_401=True,
    gives=list[PositionRow],
    source=f"{_FACTS} §3.2",
)
INVALIDATE_POSITIONS = Endpoint(
    "POST",
    "/portfolio/{account_id}/positions/invalidate",
    needs=Needs.OUTER_SESSION,
    quiet_401=True,
    gives=Invalidated,
    source=f"{_FACTS} §3.2",
)


def account_from_wire(row: PortfolioAccount) -> Account:
    account_id = AccountId(row.accountId or row.id or "")
    return Account(
        account_id=account_id,
        display_name=row.displayName or row.accountTitle or row.accountAlias or account_id,
        currency=row.currency or "",
        kind=row.type or row.tradingType or "",
        environment=environment_of(account_id),
    )


def summary_from_wire(account_id: AccountId, values: dict[str, SummaryValue]) -> AccountSummary:
    """Missing and null values stay None. Source: §2.3."""

    def money(key: str) -> Decimal | None:
        found = values.get(key)
        if found is None or found.isNull:
            return None
        return figure(found.amount)

    currency = next(
        (row.currency for key in ("netliquidation", "totalcashvalue") if (row := values.get(key)) and row.currency),
        None,
    )
    return AccountSummary(
        account_id=account_id,
        currency=currency,
        net_liquidation=money("netliquidation"),
        total_cash_value=money("totalcashvalue"),
        available_funds=money("availablefunds"),
        buying_power=money("buyingpower"),
        initial_margin=money("initmarginreq"),
        maintenance_margin=money("maintmarginreq"),
        raw={key: msgspec.structs.asdict(value) for key, value in values.items()},
    )


def ledger_from_wire(rows: dict[str, LedgerRow]) -> tuple[CashBalance, ...]:
    """Cash by currency; the BASE entry repeats them in sum and is left out. Source: §2.4."""
    return tuple(
        CashBalance(
            currency=row.currency or key,
            cash=row.cashbalance,
            settled=row.settledcash,
            exchange_rate=row.exchangerate,
        )
        for key, row in sorted(rows.items())
        if key != "BASE" and row.cashbalance is not None
    )


_WITH_TERMS = frozenset({"FUT", "FOP", "WAR", "IOPT", "BOND", "BILL"})
_OSI = re.compile(r"\[?([A-Z0-9./ ]{1,6}?)\s*(\d{6})([CP])(\d{8})(?:\s+(\d+))?\]?")


def position_from_wire(row: PositionRow, account_id: AccountId) -> Position:
    """A position of either family, sparse or enriched.

    Raises ValueError where the row lacks its conid or size: a position that cannot be read is no position of zero.
    """
    conid = whole(row.conid)
    if conid is None or row.position is None:
        raise ValueError("a position row without conid or position")
    return Position(
        account_id=AccountId(row.acctId or account_id),
        contract=_contract_of(row, Conid(conid)),
        quantity=row.position,
        average_price=figure(row.avgPrice),
        market_price=_first(row.mktPrice, row.marketPrice),
        market_value=_first(row.mktValue, row.marketValue),
        realized_pnl=figure(row.realizedPnl),
        unrealized_pnl=figure(row.unrealizedPnl),
        asset_class=row.assetClass or row.secType or "",
        kind=row.type or "",
        name=row.name or "",
        ticker=row.ticker or "",
        terms=row.contractDesc or row.description or "",
        exchange=row.listingExchange or "",
        sector=row.sector or "",
        model=row.model or "",
    )


def _first(*values: Any) -> Decimal | None:
    return next((number for value in values if (number := figure(value)) is not None), None)


def _contract_of(row: PositionRow, conid: Conid) -> Contract:
    described = row.contractDesc or row.description or ""
    kind = row.assetClass or row.secType or ""
    try:
        sec_type = SecType(kind)
    except ValueError:
        sec_type = SecType.OTHER
    und_conid = whole(row.undConid)
    multiplier = figure(row.multiplier)
    contract = Contract(
        conid=conid,
        symbol=row.undSym or row.ticker or described.split(" ")[0],
        sec_type=sec_type,
        currency=row.currency or "",
        # 0 for stocks and null in sparse rows both mean one. Source: §3.1.
        multiplier=multiplier if multiplier else Decimal(1),
        description=row.fullName or described,
        underlying_conid=Conid(und_conid) if und_conid else None,
    )
    if sec_type is SecType.OPTION:
        return _option_of(row, contract, described)
    if kind in _WITH_TERMS:
        right = row.putOrCall
        return replace(
            contract,
            expiry=_day(row.expiry or row.lastTradingDay),
            strike=figure(row.strike) or None,
            right=Right(right) if right in ("P", "C") else None,
        )
    return contract


def _option_of(row: PositionRow, contract: Contract, described: str) -> Contract:
    strike, right, expiry = figure(row.strike) or None, row.putOrCall, row.expiry or row.lastTradingDay
    symbol, multiplier, trading_class = contract.symbol, figure(row.multiplier) or None, None
    if osi := _OSI.search(described):
        # Sparse rows carry the terms only in the description's OSI symbol.
        trading_class = osi[1].strip()
        expiry = expiry or f"20{osi[2]}"
        right = right or osi[3]
        strike = strike or Decimal(osi[4]) / 1000
        multiplier = multiplier or (Decimal(osi[5]) if osi[5] else None)
        symbol = row.undSym or row.ticker or described.split(" ")[0]
    return replace(
        contract,
        symbol=symbol,
        expiry=_day(expiry),
        strike=strike,
        right=Right(right) if right in ("P", "C") else None,
        multiplier=multiplier or Decimal(100),
        trading_class=trading_class,
    )


def _day(text: str | None) -> date | None:
    return date.fromisoformat(text) if text and len(text) == 8 and text.isdigit() else None


ACCOUNT_SUMMARY_PART = Endpoint(
    "GET",
    "/iserver/account/{account_id}/summary/{part}",
    needs=Needs.PRIMED_ACCOUNTS,
    source=f"{_FACTS} §1.5",
)
"""part: available_funds, balances, margins, market_value."""
PORTFOLIO_SUBACCOUNTS_PAGED = Endpoint(
    "GET", "/portfolio/subaccounts2", needs=Needs.OUTER_SESSION, source=f"{_FACTS} §2.2"
)
ALLOCATION_OF_ACCOUNTS = Endpoint(
    "POST", "/portfolio/allocation", needs=Needs.OUTER_SESSION, also=("GET",), source=f"{_FACTS} §2.5"
)
COMBO_POSITIONS = Endpoint(
    "GET",
    "/portfolio/{account_id}/combo/positions",
    needs=Needs.OUTER_SESSION,
    quiet_401=True,
    source=f"{_FACTS} §3.2",
)
