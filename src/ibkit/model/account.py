"""Accounts, balances, positions."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from decimal import Decimal

from ibkit.model.contract import Contract
from ibkit.model.identity import AccountId, Environment

__all__ = ["Account", "AccountSummary", "CashBalance", "Position"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Account:
    account_id: AccountId
    display_name: str
    currency: str
    kind: str
    environment: Environment


@dataclass(frozen=True, slots=True, kw_only=True)
class AccountSummary:
    """Amounts in `currency`; None means IBKR did not say, never zero. `raw` is its answer as sent."""

    account_id: AccountId
    currency: str | None
    net_liquidation: Decimal | None
    total_cash_value: Decimal | None
    available_funds: Decimal | None
    buying_power: Decimal | None
    initial_margin: Decimal | None
    maintenance_margin: Decimal | None
    raw: Mapping[str, object] = field(repr=False)

    @property
    def totalcashvalue(self) -> Decimal | None:
        """`total_cash_value` by the name that the interface of SES-01 fixes."""
        return self.total_cash_value


@dataclass(frozen=True, slots=True, kw_only=True)
class CashBalance:
    """Cash of one currency; `exchange_rate` is units of base currency per unit."""

    currency: str
    cash: Decimal
    settled: Decimal | None
    exchange_rate: Decimal | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Position:
    """Signed `quantity`; prices per unit, `market_value` and the results in the contract's currency.

    asset_class: IBKR's own word (STK, CRYPTO, WAR), also where `contract.sec_type` has none for it.
    kind:        of a stock IBKR's further word (COMMON, ETF), "" where it did not say.
    terms:       the full local description of a derivative, as `SPY    AUG2026 540 P [SPY   260821P00540000 100]`.
    model:       the code of the model portfolio that holds it, "" where none does.
    """

    account_id: AccountId
    contract: Contract
    quantity: Decimal
    average_price: Decimal | None
    market_price: Decimal | None
    market_value: Decimal | None
    realized_pnl: Decimal | None
    unrealized_pnl: Decimal | None
    asset_class: str = ""
    kind: str = ""
    name: str = ""
    ticker: str = ""
    terms: str = ""
    exchange: str = ""
    sector: str = ""
    model: str = ""
