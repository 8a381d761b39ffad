"""What the routes of portfolios take and give. Names are those of requirements SYN-01 to SYN-14."""

from __future__ import annotations

from dataclasses import replace
from datetime import date, datetime, timedelta
from decimal import Decimal
from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from ibkit.model import Account
from ibkit.portfolio.book import (
    Holding,
    HoldingSource,
    Link,
    Portfolio,
    PortfolioAccount,
    Security,
    check_currency,
    check_name,
    check_symbol,
)
from ibkit.portfolio.kinds import SecurityKind
from ibkit.portfolio.ports import SyncOutcome
from ibkit.service.refusals import invalid

__all__ = [
    "AccountForm",
    "AccountInfo",
    "BrokerAccount",
    "BrokerAccounts",
    "ConnectForm",
    "ConnectionProblem",
    "ConnectionTestAnswer",
    "ConnectionTestResult",
    "DeletedPortfolio",
    "HoldingForm",
    "HoldingInfo",
    "LinkInfo",
    "PortfolioForm",
    "PortfolioInfo",
    "PortfolioList",
    "PortfolioSummary",
    "SecurityForm",
    "SecurityInfo",
    "SyncAnswer",
    "SyncStatusInfo",
    "account_info",
    "account_of",
    "broker_account",
    "edited",
    "link_info",
    "portfolio_info",
    "summary_of",
    "sync_answer",
]

PROVIDER: Literal["interactive_brokers"] = "interactive_brokers"
STALE_AFTER = timedelta(hours=24)

_Name = Annotated[str, Meta(min_length=1, max_length=200)]
_Currency = Annotated[str, Meta(pattern=r"^[A-Za-z]{3,5}$")]
_Kind = Literal[
    "stock",
    "etf",
    "option",
    "future",
    "future-option",
    "bond",
    "fund",
    "cash",
    "forex",
    "crypto",
    "warrant",
    "cfd",
    "index",
    "commodity",
    "other",
]


class HoldingForm(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """units: signed. conid: of one of several listings of a ticker."""

    symbol: _Name
    units: Decimal
    currency: _Currency | None = None
    conid: Annotated[int, Meta(ge=1, le=2**31 - 1)] | None = None


class SecurityForm(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    symbol: _Name
    name: Annotated[str, Meta(max_length=200)] = ""
    type: _Kind = "other"
    currency: _Currency = "USD"
    tags: Annotated[list[_Name], Meta(max_length=50)] = []
    unit_price: Decimal | None = None
    conid: Annotated[int, Meta(ge=1, le=2**31 - 1)] | None = None


class AccountForm(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """holdings: left out, those there are stay. version: of the portfolio that you changed."""

    name: _Name | None = None
    holdings: list[HoldingForm] | None = None
    version: int | None = None


class PortfolioForm(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """accounts, securities: left out, those there are stay; else they are all there is.

    version: that you saw; where somebody changed the portfolio since, nothing is changed (409).
    """

    name: _Name
    currency: _Currency = "USD"
    accounts: list[AccountForm] | None = None
    securities: list[SecurityForm] | None = None
    version: int | None = None


class ConnectForm(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """username: the user name that the gateway must be logged in as. sync_now: with the first sync at once.

    keep_manual: holdings by hand that the broker does not have stay beside its own.
    """

    account_id: Annotated[str, Meta(pattern=r"^[A-Za-z0-9]{1,20}$")]
    username: Annotated[str, Meta(max_length=64)] = ""
    connection_id: Annotated[str, Meta(max_length=64)] | None = None
    sync_enabled: bool = True
    read_only: bool = True
    keep_manual: bool = False
    sync_now: bool = True


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
    """incomplete: conids of positions of which IBKR told the size but not all else."""

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


# -- from forms -------------------------------------------------------------------------------------------------------


def _holding(form: HoldingForm) -> Holding:
    return Holding(
        symbol=check_symbol(form.symbol),
        units=form.units,
        currency=check_currency(form.currency) if form.currency else "",
        conid=form.conid,
    )


def _security(form: SecurityForm, there: Security | None) -> Security:
    """Of one that is there what IBKR told stays: its exchange, sector and description."""
    given = Security(
        symbol=check_symbol(form.symbol),
        name=form.name.strip(),
        kind=SecurityKind(form.type),
        currency=check_currency(form.currency),
        tags=tuple(form.tags),
        unit_price=form.unit_price,
        conid=form.conid,
    )
    if there is None:
        return given
    return replace(given, identifier=there.identifier, exchange=there.exchange, sector=there.sector)


def account_of(form: AccountForm, there: PortfolioAccount | None = None) -> PortfolioAccount:
    """Holdings that say the same as those that are there are those, with all that a sync told of them."""
    if form.name is None:
        raise invalid(("name", "it is missing"))
    old = {holding.key[:2]: holding for holding in there.holdings} if there is not None else {}
    account = there or PortfolioAccount(name=check_name(form.name))
    if form.holdings is None:
        return account
    return replace(account, holdings=tuple(_same_or_new(each, old) for each in form.holdings))


def _same_or_new(form: HoldingForm, old: dict[tuple[str, int], Holding]) -> Holding:
    holding = _holding(form)
    there = old.get(holding.key[:2])
    if there is None and form.conid is None:
        there = next((each for (symbol, _), each in old.items() if symbol == holding.symbol), None)
    if there is None:
        return holding
    if there.units == holding.units and holding.currency in ("", there.currency):
        return there
    if there.source is HoldingSource.MANUAL:
        return replace(there, units=holding.units, currency=holding.currency or there.currency, market_value=None)
    return replace(holding, conid=there.conid)


def edited(portfolio: Portfolio, form: PortfolioForm) -> Portfolio:
    known = {security.key: security for security in portfolio.securities}
    accounts = portfolio.accounts
    if form.accounts is not None:
        by_name = {account.name: account for account in portfolio.accounts}
        accounts = tuple(account_of(each, by_name.get((each.name or "").strip())) for each in form.accounts)
    securities = portfolio.securities
    if form.securities is not None:
        securities = tuple(
            _security(each, known.get((each.symbol.strip(), each.conid or 0))) for each in form.securities
        )
    return replace(
        portfolio,
        name=check_name(form.name),
        currency=check_currency(form.currency),
        accounts=accounts,
        securities=securities,
    )


# -- to documents -----------------------------------------------------------------------------------------------------


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
    """every: between two syncs by the clock; None where they are off."""
    planned = None
    if link.sync_enabled and every is not None:
        planned = now if link.last_sync is None else max(now, link.last_sync + every)
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


def summary_of(portfolio: Portfolio) -> PortfolioSummary:
    return PortfolioSummary(
        id=portfolio.portfolio_id,
        name=portfolio.name,
        currency=portfolio.currency,
        accounts=len(portfolio.accounts),
        holdings=sum(len(account.holdings) for account in portfolio.accounts),
        version=portfolio.version,
        updated_at=portfolio.updated_at,
    )


def sync_answer(outcome: SyncOutcome) -> SyncAnswer:
    changes = (("added", outcome.added), ("changed", outcome.changed), ("removed", outcome.removed))
    told = ", ".join(f"{count} {word}" for word, count in changes if count) or "nothing changed"
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
    )


def broker_account(
    account: Account, connection_id: str, linked: tuple[Portfolio, PortfolioAccount] | None
) -> BrokerAccount:
    to = None
    if linked is not None:
        portfolio, own = linked
        to = LinkedTo(portfolio_id=portfolio.portfolio_id, portfolio=portfolio.name, account=own.name)
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
