"""Brokerage accounts and their summaries as IBKR displays them.

Source: docs/facts/accounts-and-portfolio.md §1.
"""

from __future__ import annotations

import zlib
from datetime import UTC
from decimal import ROUND_HALF_EVEN, Decimal
from typing import TYPE_CHECKING, Any

from ibkit.sim.exchange.books import AccountValues, Portfolio

if TYPE_CHECKING:
    from ibkit.sim.logins.logins import Brokerage, User

__all__ = ["PARTS", "accounts_row", "pnl_row", "summary_part", "summary_row"]

_ZERO = Decimal(0)
_CHARTS = {
    name: (["2h", "1d", "2d", "1w", "1m"] if name in ("OPT", "FOP") else ["*"])
    for name in (
        *("STK", "CFD", "OPT", "FOP", "WAR", "IOPT", "FUT", "CASH", "IND", "BOND", "FUND", "CMDTY", "PHYSS", "CRYPTO"),
    )
}
_FEATURES: dict[str, Any] = {
    "showGFIS": True,
    "showEUCostReport": False,
    "allowEventContract": True,
    "allowFXConv": True,
    "allowFinancialLens": False,
    "allowMTA": True,
    "allowTypeAhead": True,
    "allowEventTrading": True,
    "snapshotRefreshTimeout": 30,
    "liteUser": False,
    "showWebNews": True,
    "research": True,
    "debugPnl": True,
    "showTaxOpt": True,
    "showImpactDashboard": True,
    "allowDynAccount": False,
    "allowCrypto": True,
    "allowFA": False,
    "allowLiteUnderPro": False,
    "allowedAssetTypes": (
        "STK,CFD,OPT,FOP,WAR,FUT,BAG,PDC,CASH,IND,BOND,BILL,FUND,SLB,News,CMDTY,IOPT,ICU,ICS,PHYSS,CRYPTO"
    ),
    "restrictTradeSubscription": False,
    "showUkUserLabels": False,
    "sideBySide": True,
}
_PROPERTIES = {
    "hasChildAccounts": False,
    "supportsCashQty": True,
    "liteUnderPro": False,
    "noFXConv": False,
    "isProp": False,
    "supportsFractions": True,
    "allowCustomerTime": False,
    "autoFx": False,
}
_SERVER = {"serverName": "SimA7", "serverVersion": "Build 10.44.1d, Mar 3, 2026 1:55:32 PM"}


def accounts_row(user: User, brokerage: Brokerage) -> dict[str, Any]:
    """GET /iserver/accounts (§1.1)."""
    ids = [account.id for account in user.accounts]
    opened = int(brokerage.opened_at.astimezone(UTC).timestamp())
    return {
        "accounts": ids,
        "acctProps": {account_id: dict(_PROPERTIES) for account_id in ids},
        "aliases": {account_id: account_id for account_id in ids},
        "allowFeatures": dict(_FEATURES),
        "chartPeriods": dict(_CHARTS),
        "groups": [],
        "profiles": [],
        "selectedAccount": brokerage.selected_account or (ids[0] if ids else ""),
        "serverInfo": dict(_SERVER),
        "sessionId": f"{opened:08x}.{zlib.crc32(brokerage.id.encode()) & 0xFFFF:08x}",
        "isFT": False,
        "isPaper": user.is_paper,
    }


def summary_row(seen: Portfolio) -> dict[str, Any]:
    """GET /iserver/account/{A}/summary: floats in whole units (§1.4)."""
    values = seen.values
    cash, available = _whole(values.cash), _whole(values.available_funds)
    named = [(balance.currency, _whole(balance.cash)) for balance in seen.balances] or [(seen.currency, cash)]
    balances = [
        {"currency": name, "balance": amount, "settledCash": amount}
        for name, amount in (*named, (f"Total (in {seen.currency})", cash))
    ]
    return {
        "accountType": "",
        "status": "",
        "balance": available,
        "SMA": available,
        "buyingPower": _whole(values.buying_power),
        "availableFunds": available,
        "excessLiquidity": available,
        "netLiquidationValue": _whole(values.net_liquidation),
        "equityWithLoanValue": _whole(values.net_liquidation),
        "regTLoan": 0.0,
        "securitiesGVP": _whole(values.gross_position_value),
        "totalCashValue": cash,
        "accruedInterest": 0.0,
        "regTMargin": 0.0,
        "initialMargin": _whole(values.margin),
        "maintenanceMargin": _whole(values.margin),
        "cashBalances": balances,
    }


def pnl_row(seen: Portfolio) -> dict[str, Any]:
    """One entry of GET /iserver/account/pnl/partitioned, with both spellings of excess liquidity (§1.6)."""
    values = seen.values
    excess = float(values.available_funds)
    return {
        "rowType": 1,
        "dpl": float(values.day_pnl),
        "nl": float(values.net_liquidation),
        "upl": float(values.unrealized),
        "uel": excess,
        "el": excess,
        "mv": float(values.stock_value + values.option_value),
    }


def _available(values: AccountValues) -> dict[str, Decimal | str]:
    funds = values.available_funds
    return {
        "current_available": funds,
        "current_excess": funds,
        "Prdctd Pst-xpry Excss": _ZERO,
        "SMA": funds,
        "Lk Ahd Avlbl Fnds": funds,
        "look_ahead_available": funds,
        "Lk Ahd Excss Lqdty": funds,
        "look_ahead_excess": funds,
        "overnight_available": funds,
        "overnight_excess": funds,
        "buying_power": values.buying_power,
        "Lk Ahd Nxt Chng": "@ 16:00:00",
        "day_trades_left": "Unlimited",
        "leverage": _leverage(values),
    }


def _balances(values: AccountValues) -> dict[str, Decimal | str]:
    return {
        "net_liquidation": values.net_liquidation,
        "Nt Lqdtn Uncrtnty": _ZERO,
        "equity_with_loan": values.net_liquidation,
        "Prvs Dy Eqty Wth Ln Vl": values.previous_equity,
        "previous_day_equity_with_loan": values.previous_equity,
        "Rg T Eqty Wth Ln Vl": values.net_liquidation,
        "sec_gross_pos_val": values.gross_position_value,
        "cash": values.cash,
        "MTD Interest": _ZERO,
        "Pndng Dbt Crd Chrgs": _ZERO,
    }


def _margins(values: AccountValues) -> dict[str, Decimal | str]:
    names = (
        "current_initial",
        "Prdctd Pst-xpry Mrgn @ Opn",
        "current_maint",
        "projected_liquidity_inital_margin",
        "look_ahead_initial",
        "Prjctd Lk Ahd Mntnnc Mrgn",
        "look_ahead_maint",
        "projected_overnight_initial_margin",
        "Prjctd Ovrnght Mntnnc Mrgn",
    )
    return {"RegT Margin": _ZERO, **dict.fromkeys(names, values.margin), "Prdctd Pst-xpry Mrgn @ Opn": _ZERO}


_PARTS = {"available_funds": _available, "balances": _balances, "margins": _margins}
PARTS = frozenset({*_PARTS, "market_value"})
_NOTHING = AccountValues(**dict.fromkeys(AccountValues.__slots__, _ZERO))


def summary_part(seen: Portfolio, part: str) -> dict[str, Any]:
    """One of the four detail summaries: texts with thousands marks, the published keys and their twins (§1.5)."""
    if part == "market_value":
        row = _market_value(seen.values)
        return {seen.currency: row, f"Total (in {seen.currency})": dict(row)}
    filled, empty = _PARTS[part](seen.values), _PARTS[part](_NOTHING)
    segments = {"total": filled, "Crypto at Paxos": empty, "commodities": empty, "securities": filled}
    return {
        segment: {
            key: value if isinstance(value, str) else f"{_thousands(value)} {seen.currency}"
            for key, value in row.items()
        }
        for segment, row in segments.items()
    }


def _market_value(values: AccountValues) -> dict[str, str]:
    empty = (
        *("futures", "future_options", "funds", "dividends_receivable", "mutual_funds", "money_market", "bonds"),
        *("Govt Bonds", "t_bills", "warrants", "issuer_option", "commodity", "Notional CFD", "cfd", "Cryptocurrency"),
    )
    return {
        "total_cash": _thousands(values.cash),
        "settled_cash": _thousands(values.cash),
        "MTD Interest": "0",
        "stock": _thousands(values.stock_value),
        "options": _thousands(values.option_value),
        **dict.fromkeys(empty, "0"),
        "net_liquidation": _thousands(values.net_liquidation),
        "unrealized_pnl": _thousands(values.unrealized),
        "realized_pnl": _thousands(values.realized),
        "Exchange Rate": "1.00",
    }


def _leverage(values: AccountValues) -> str:
    if values.net_liquidation <= 0:
        return "n/a"
    return f"{values.gross_position_value / values.net_liquidation:.2f}"


def _whole(amount: Decimal) -> float:
    return float(amount.to_integral_value(rounding=ROUND_HALF_EVEN))


def _thousands(amount: Decimal) -> str:
    return f"{amount:,.0f}"
