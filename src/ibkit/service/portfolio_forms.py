"""What the routes of portfolios take, and what it makes of a portfolio. Names are those of requirement SYN-01."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal
from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from ibkit.portfolio.book import (
    Holding,
    HoldingSource,
    Portfolio,
    PortfolioAccount,
    Security,
    check_currency,
    check_name,
    check_symbol,
)
from ibkit.portfolio.kinds import SecurityKind
from ibkit.service.refusals import invalid

__all__ = [
    "AccountForm",
    "ConnectForm",
    "HoldingForm",
    "PortfolioForm",
    "SecurityForm",
    "account_of",
    "edited",
]

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
        return replace(
            there,
            units=holding.units,
            currency=holding.currency or there.currency,
            market_value=None,
            unrealized_pnl=None,
            synced_at=None,
        )
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
