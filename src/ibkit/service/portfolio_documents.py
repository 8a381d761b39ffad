"""Portfolios as the interface tells them. Names are those of requirements SYN-01 to SYN-14."""

from __future__ import annotations

from datetime import date, datetime, timedelta
from decimal import Decimal
from typing import Literal

import msgspec

from ibkit.model import Account
from ibkit.portfolio import book
from ibkit.portfolio.book import Holding, HoldingSource, Link, Portfolio, PortfolioAccount
from ibkit.portfolio.ports import SyncOutcome
from ibkit.portfolio.schedule import next_sync
from ibkit.wire import maintenance_until

__all__ = [
    "AccountInfo",
    "BrokerAccount",
    "BrokerAccounts",
    "ConnectionProblem",
    "ConnectionTestAnswer",
    "ConnectionTestResult",
    "DeletedPortfolio",
    "HoldingInfo",
    "LinkInfo",
    "LinkedTo",
    "PortfolioInfo",
    "PortfolioList",
    "PortfolioSummary",
    "SecurityInfo",
    "SyncAnswer",
    "SyncErrorInfo",
    "SyncStatusInfo",
    "account_info",
    "broker_account",
    "link_info",
    "portfolio_info",
    "summary_of",
    "sync_answer",
]

PROVIDER: Literal["interactive_brokers"] = "interactive_brokers"
STALE_AFTER = timedelta(hours=24)


class HoldingInfo(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Figures are null where nobody said them, never zero. avg_cost: of one unit (of a contract, of an option)."""

    symbol: str
    units: Decimal
    source: Literal["manual", "ibkr"]
    currency: str | None
    type: str | None
    conid: int | None
    avg_cost: Decimal | None
    market_price: Decimal | None
    market_value: Decimal | None
    unrealized_pnl: Decimal | None
    realized_pnl: Decimal | None
    asset_class: str | None
    exchange: str | None
    multiplier: Decimal
    expiry: date | None
    strike: Decimal | None
    right: Literal["P", "C"] | None
    synced_at: datetime | None


class SyncErrorInfo(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    code: str
    message: str
    remedy: str


class LinkInfo(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """last_sync: when the last good one ended. next_sync: null where none is planned. stale: older than 24 hours."""

    provider: Literal["interactive_brokers"]
    account_id: str
    connection_id: str | None
    username: str | None
    sync_enabled: bool
    read_only: bool
    keep_manual: bool
    sync_status: Literal["idle", "syncing", "success", "error"]
    last_sync: datetime | None
    next_sync: datetime | None
    sync_error: SyncErrorInfo | None
    failures: int
    stale: bool
    total_value: Decimal | None
    currency: str | None


class AccountInfo(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """connection: null for one that is kept by hand. restorable: holdings of before it was connected are kept."""

    name: str
    holdings: list[HoldingInfo]
    connection: LinkInfo | None
    restorable: bool


class SecurityInfo(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    symbol: str
    name: str
    type: str
    currency: str
    tags: list[str]
    unit_price: Decimal | None
    conid: int | None
    identifier: str | None
    exchange: str | None
    sector: str | None


class PortfolioInfo(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    id: str
    name: str
    currency: str
    accounts: list[AccountInfo]
    securities: list[SecurityInfo]
    version: int
    created_at: datetime
    updated_at: datetime


class PortfolioSummary(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    id: str
    name: str
    currency: str
    accounts: int
    holdings: int
    version: int
    updated_at: datetime


class PortfolioList(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    portfolios: list[PortfolioSummary]


class DeletedPortfolio(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    id: str
    deleted: bool


class SyncStatusInfo(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    name: str
    connection: LinkInfo


class SyncAnswer(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """incomplete: conids of positions of which IBKR told the size but not all else.

    unbooked: executions of the last days that the ledger does not have, and why.
    """

    success: bool
    message: str
    holdings_count: int
    added: int
    changed: int
    removed: int
    new_securities: int
    total_value: Decimal | None
    currency: str
    last_sync: datetime
    incomplete: list[int]
    unbooked: list[str] = []


class ConnectionTestResult(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    success: bool
    authenticated: bool
    accounts_accessible: bool
    positions_accessible: bool
    accounts_found: int
    positions_count: int
    error: str | None
    code: str | None
    remedy: list[str]


class ConnectionTestAnswer(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    connection_test: ConnectionTestResult


class LinkedTo(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    portfolio_id: str
    portfolio: str
    account: str


class BrokerAccount(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """linked_to: the account of a portfolio of yours that uses it, null where none does."""

    id: str
    account_id: str = msgspec.field(name="accountId")
    display_name: str = msgspec.field(name="displayName")
    currency: str | None
    type: str | None
    environment: str
    connection_id: str
    linked_to: LinkedTo | None


class ConnectionProblem(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    connection_id: str
    code: str
    message: str
    remedy: str


class BrokerAccounts(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """problems: connections of yours that could not be asked."""

    accounts: list[BrokerAccount]
    problems: list[ConnectionProblem]


def _holding_info(holding: Holding) -> HoldingInfo:
    return HoldingInfo(
        symbol=holding.symbol,
        units=holding.units,
        source="ibkr" if holding.source is HoldingSource.IBKR else "manual",
        currency=holding.currency or None,
        type=None if holding.kind is None else holding.kind.value,
        conid=holding.conid,
        avg_cost=holding.average_cost,
        market_price=holding.market_price,
        market_value=holding.market_value,
        unrealized_pnl=holding.unrealized_pnl,
        realized_pnl=holding.realized_pnl,
        asset_class=holding.asset_class or None,
        exchange=holding.exchange or None,
        multiplier=holding.multiplier,
        expiry=holding.expiry,
        strike=holding.strike,
        right=holding.right if holding.right in ("P", "C") else None,  # type: ignore[arg-type]
        synced_at=holding.synced_at,
    )


def link_info(link: Link, *, now: datetime, every: timedelta | None) -> LinkInfo:
    """every: between two syncs by the clock; None where there are none."""
    planned = None if every is None else next_sync(link, now, every, maintenance_until)
    error = link.error
    return LinkInfo(
        provider=PROVIDER,
        account_id=link.account_id,
        connection_id=link.connection_id or None,
        username=link.username or None,
        sync_enabled=link.sync_enabled,
        read_only=link.read_only,
        keep_manual=link.keep_manual,
        sync_status=link.status.value,
        last_sync=link.last_sync,
        next_sync=planned,
        sync_error=None
        if error is None
        else SyncErrorInfo(code=error.code, message=error.message, remedy=error.remedy),
        failures=link.failures,
        stale=link.last_sync is None or now - link.last_sync > STALE_AFTER,
        total_value=link.total_value,
        currency=link.currency or None,
    )


def account_info(account: PortfolioAccount, *, now: datetime, every: timedelta | None) -> AccountInfo:
    return AccountInfo(
        name=account.name,
        holdings=[_holding_info(each) for each in account.holdings],
        connection=None if account.link is None else link_info(account.link, now=now, every=every),
        restorable=account.set_aside,
    )


def portfolio_info(portfolio: Portfolio, *, now: datetime, every: timedelta | None) -> PortfolioInfo:
    return PortfolioInfo(
        id=portfolio.portfolio_id,
        name=portfolio.name,
        currency=portfolio.currency,
        accounts=[account_info(each, now=now, every=every) for each in portfolio.accounts],
        securities=[
            SecurityInfo(
                symbol=each.symbol,
                name=each.name,
                type=each.kind.value,
                currency=each.currency,
                tags=list(each.tags),
                unit_price=each.unit_price,
                conid=each.conid,
                identifier=each.identifier or None,
                exchange=each.exchange or None,
                sector=each.sector or None,
            )
            for each in portfolio.securities
        ],
        version=portfolio.version,
        created_at=portfolio.created_at,
        updated_at=portfolio.updated_at,
    )


def summary_of(there: book.PortfolioSummary) -> PortfolioSummary:
    return PortfolioSummary(
        id=there.portfolio_id,
        name=there.name,
        currency=there.currency,
        accounts=there.accounts,
        holdings=there.holdings,
        version=there.version,
        updated_at=there.updated_at,
    )


def sync_answer(outcome: SyncOutcome) -> SyncAnswer:
    changes = (("added", outcome.added), ("changed", outcome.changed), ("removed", outcome.removed))
    told = ", ".join(f"{count} {word}" for word, count in changes if count) or "nothing changed"
    if outcome.unbooked:
        told += f". Not in the ledger: {'; '.join(outcome.unbooked)}"
    return SyncAnswer(
        success=True,
        message=f"{outcome.holdings_count} holdings: {told}",
        holdings_count=outcome.holdings_count,
        added=outcome.added,
        changed=outcome.changed,
        removed=outcome.removed,
        new_securities=outcome.new_securities,
        total_value=outcome.total_value,
        currency=outcome.currency,
        last_sync=outcome.last_sync,
        incomplete=list(outcome.incomplete),
        unbooked=list(outcome.unbooked),
    )


def broker_account(account: Account, connection_id: str, linked: book.LinkedAccount | None) -> BrokerAccount:
    to = None
    if linked is not None:
        to = LinkedTo(portfolio_id=linked.portfolio_id, portfolio=linked.portfolio, account=linked.account)
    return BrokerAccount(
        id=account.account_id,
        account_id=account.account_id,
        display_name=account.display_name,
        currency=account.currency or None,
        type=account.kind or None,
        environment=account.environment.value,
        connection_id=connection_id,
        linked_to=to,
    )
