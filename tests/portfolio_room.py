"""Positions, pictures and portfolios for tests."""

from __future__ import annotations

from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

from ibkit.model import AccountId, CashBalance, Conid, Contract, Position, SecType
from ibkit.portfolio.book import Portfolio, PortfolioAccount
from ibkit.portfolio.picture import Picture

__all__ = ["ACCOUNT", "NOW", "make_cash", "make_picture", "make_portfolio", "make_position"]

NOW = datetime(2026, 11, 20, 15, 30, tzinfo=UTC)
ACCOUNT = AccountId("DU1000001")


def make_position(symbol: str = "AAPL", quantity: str = "10", *, conid: int = 265598, **given: Any) -> Position:
    """given: fields of the position, and of its contract with `contract_` before them."""
    contract = {"symbol": symbol, "sec_type": SecType.STOCK, "currency": "USD"}
    contract |= {
        name.removeprefix("contract_"): given.pop(name) for name in tuple(given) if name.startswith("contract_")
    }
    fields: dict[str, Any] = {
        "account_id": ACCOUNT,
        "quantity": Decimal(quantity),
        "average_price": Decimal("100.5"),
        "market_price": Decimal("110.25"),
        "market_value": Decimal("110.25") * Decimal(quantity),
        "realized_pnl": Decimal(0),
        "unrealized_pnl": Decimal("9.75") * Decimal(quantity),
        "asset_class": "STK",
        "kind": "COMMON",
        "name": f"{symbol} INC",
        "ticker": symbol,
        "exchange": "NASDAQ",
    }
    return Position(contract=Contract(Conid(conid), **contract), **(fields | given))


def make_cash(currency: str = "USD", cash: str = "1000") -> CashBalance:
    return CashBalance(currency=currency, cash=Decimal(cash), settled=Decimal(cash), exchange_rate=Decimal(1))


def make_picture(*positions: Position, cash: tuple[CashBalance, ...] = (), **given: Any) -> Picture:
    fields: dict[str, Any] = {
        "account_id": ACCOUNT,
        "currency": "USD",
        "net_liquidation": Decimal("2102.5"),
        "position_value": sum((each.market_value or Decimal(0) for each in positions), Decimal(0)),
        "taken_at": NOW,
    }
    return Picture(positions=positions, cash=cash, **(fields | given))


def make_portfolio(*accounts: PortfolioAccount, **given: Any) -> Portfolio:
    fields: dict[str, Any] = {
        "portfolio_id": "0" * 31 + "1",
        "user_id": "ada",
        "name": "Savings",
        "currency": "USD",
        "created_at": NOW,
        "updated_at": NOW,
    }
    return Portfolio(accounts=accounts, **(fields | given))
