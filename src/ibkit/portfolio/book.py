"""A user's books: portfolios of accounts, what is held in them, and the securities by name.

Units are exact decimals, signed (a short position is negative). Money stands in the currency that is named beside it.
Source: requirements SYN-01, SYN-04, SYN-07, SYN-11.
"""

from __future__ import annotations

import enum
import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal
from typing import Final

from ibkit.errors import ConfigError
from ibkit.portfolio.kinds import SecurityKind

__all__ = [
    "LONGEST_NAME",
    "LONGEST_SYMBOL",
    "MOST_ACCOUNTS",
    "MOST_HOLDINGS",
    "Holding",
    "HoldingSource",
    "Link",
    "LinkedAccount",
    "Portfolio",
    "PortfolioAccount",
    "PortfolioSummary",
    "Security",
    "SyncError",
    "SyncStatus",
    "check_currency",
    "check_name",
    "check_portfolio",
    "check_symbol",
    "seen_of",
]

LONGEST_NAME: Final = 200
LONGEST_SYMBOL: Final = 200
MOST_ACCOUNTS: Final = 1_000
MOST_HOLDINGS: Final = 20_000
"""Of an account. IBKR's largest page walk has fewer."""
MOST_TAGS: Final = 50
_CURRENCY = re.compile(r"[A-Z]{3,5}")
_UNSEEN = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069\ufeff]")
_LARGEST = Decimal(10) ** 24


class HoldingSource(enum.Enum):
    MANUAL = "manual"
    IBKR = "ibkr"


class SyncStatus(enum.Enum):
    IDLE = "idle"
    SYNCING = "syncing"
    SUCCESS = "success"
    ERROR = "error"


@dataclass(frozen=True, slots=True, kw_only=True)
class Security:
    """One thing by its symbol, as the user calls it.

    conid:      IBKR's number, None for what it does not know; two listings of one ticker are two securities.
    identifier: what names it elsewhere (ISIN, or the full description of a derivative), "" where there is none.
    unit_price: of one unit in `currency`, None where nobody said.
    """

    symbol: str
    name: str = ""
    kind: SecurityKind = SecurityKind.OTHER
    currency: str = "USD"
    tags: tuple[str, ...] = ()
    unit_price: Decimal | None = None
    conid: int | None = None
    identifier: str = ""
    exchange: str = ""
    sector: str = ""

    @property
    def key(self) -> tuple[str, int]:
        return self.symbol, self.conid or 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Holding:
    """So many units of a security. `multiplier` units of the underlying in one; figures None where nobody said.

    average_cost: of one unit with its commissions (of an option: of one contract). market_value: signed, all of it.
    """

    symbol: str
    units: Decimal
    conid: int | None = None
    source: HoldingSource = HoldingSource.MANUAL
    currency: str = ""
    kind: SecurityKind | None = None
    average_cost: Decimal | None = None
    market_price: Decimal | None = None
    market_value: Decimal | None = None
    unrealized_pnl: Decimal | None = None
    realized_pnl: Decimal | None = None
    asset_class: str = ""
    exchange: str = ""
    multiplier: Decimal = Decimal(1)
    expiry: date | None = None
    strike: Decimal | None = None
    right: str = ""
    underlying_conid: int | None = None
    model: str = ""
    synced_at: datetime | None = None

    @property
    def key(self) -> tuple[str, int, str]:
        """What makes it one holding of its account: symbol, conid, model."""
        return self.symbol, self.conid or 0, self.model


@dataclass(frozen=True, slots=True, kw_only=True)
class SyncError:
    code: str
    message: str
    remedy: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Link:
    """What connects an account of ours to one at IBKR.

    username:  the user name that its gateway must be logged in as, "" for whichever (SYN-05).
    last_sync: when the last good one ended; a failed one leaves it.
    failures:  in a row, up to now.
    """

    account_id: str
    connection_id: str
    username: str = ""
    sync_enabled: bool = True
    read_only: bool = True
    keep_manual: bool = False
    currency: str = ""
    total_value: Decimal | None = None
    status: SyncStatus = SyncStatus.IDLE
    last_sync: datetime | None = None
    error: SyncError | None = None
    failures: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class PortfolioAccount:
    """link: None for one kept by hand. set_aside: manual holdings of before the connection are kept (SYN-14)."""

    name: str
    holdings: tuple[Holding, ...] = ()
    link: Link | None = None
    set_aside: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Portfolio:
    """version: counts the changes; whoever changes it may say which one they saw."""

    portfolio_id: str
    user_id: str
    name: str
    currency: str
    accounts: tuple[PortfolioAccount, ...] = ()
    securities: tuple[Security, ...] = ()
    version: int = 1
    created_at: datetime
    updated_at: datetime

    def account(self, name: str) -> PortfolioAccount | None:
        return next((each for each in self.accounts if each.name == name), None)


@dataclass(frozen=True, slots=True, kw_only=True)
class PortfolioSummary:
    """accounts, holdings: how many."""

    portfolio_id: str
    name: str
    currency: str
    accounts: int
    holdings: int
    version: int
    updated_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class LinkedAccount:
    """portfolio, account: their names."""

    user_id: str
    portfolio_id: str
    portfolio: str
    account: str
    link: Link


def check_name(name: str, field: str = "name") -> str:
    """Without blanks around it. ConfigError (E-VALIDATION): 1 to 200 characters, none of them unseen."""
    found = name.strip()
    if not found or len(found) > LONGEST_NAME or _UNSEEN.search(found):
        raise _invalid(field, f"a name has 1 to {LONGEST_NAME} visible characters")
    return found


def seen_of(text: str) -> str:
    """Without characters that nobody sees: control characters, and those that turn the direction of a text."""
    return _UNSEEN.sub("", text)


def check_symbol(symbol: str, field: str = "symbol") -> str:
    found = symbol.strip()
    if not found or len(found) > LONGEST_SYMBOL or _UNSEEN.search(found):
        raise _invalid(field, f"a symbol has 1 to {LONGEST_SYMBOL} visible characters")
    return found


def check_currency(currency: str, field: str = "currency") -> str:
    found = currency.strip().upper()
    if not _CURRENCY.fullmatch(found):
        raise _invalid(field, "a currency is a code like USD")
    return found


def check_portfolio(portfolio: Portfolio) -> Portfolio:
    """ConfigError (E-VALIDATION) naming what does not fit together."""
    check_name(portfolio.name)
    check_currency(portfolio.currency)
    if len(portfolio.accounts) > MOST_ACCOUNTS:
        raise _invalid("accounts", f"at most {MOST_ACCOUNTS}")
    _once([account.name for account in portfolio.accounts], "accounts", "an account")
    securities = [security.key for security in portfolio.securities]
    _once([f"{symbol} {conid}" if conid else symbol for symbol, conid in securities], "securities", "a security")
    for security in portfolio.securities:
        _check_security(security)
    for account in portfolio.accounts:
        _check_account(account)
    return portfolio


def _check_security(security: Security) -> None:
    where = f"securities.{security.symbol}"
    check_symbol(security.symbol, where)
    check_currency(security.currency, f"{where}.currency")
    if len(security.name) > LONGEST_NAME or _UNSEEN.search(security.name):
        raise _invalid(f"{where}.name", f"a name has at most {LONGEST_NAME} visible characters")
    if len(security.tags) > MOST_TAGS:
        raise _invalid(f"{where}.tags", f"at most {MOST_TAGS}")
    for tag in security.tags:
        check_name(tag, f"{where}.tags")
    price = security.unit_price
    if price is not None and not (price.is_finite() and abs(price) < _LARGEST):
        raise _invalid(f"{where}.unit_price", "it is a number below 10^24")


def _check_account(account: PortfolioAccount) -> None:
    check_name(account.name, "accounts.name")
    where = f"accounts.{account.name}.holdings"
    if len(account.holdings) > MOST_HOLDINGS:
        raise _invalid(where, f"at most {MOST_HOLDINGS}")
    labels = [f"{each.symbol} {each.conid or ''} {each.model}".strip() for each in account.holdings]
    _once(labels, where, "a holding")
    for holding in account.holdings:
        check_symbol(holding.symbol, f"{where}.symbol")
        if not holding.units.is_finite() or abs(holding.units) >= _LARGEST:
            raise _invalid(f"{where}.{holding.symbol}.units", "it is a number below 10^24")
        if holding.currency:
            check_currency(holding.currency, f"{where}.{holding.symbol}.currency")


def _once(names: Sequence[str], field: str, what: str) -> None:
    seen: set[str] = set()
    for name in names:
        if name in seen:
            raise _invalid(field, f"{what} {name!r} stands twice")
        seen.add(name)


def _invalid(field: str, why: str) -> ConfigError:
    return ConfigError(
        f"Invalid request: {field}: {why}",
        code="E-VALIDATION",
        remedy="Correct the field named; nothing was changed.",
        details={"errors": [{"field": field, "message": why}]},
    )
