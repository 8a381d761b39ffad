"""Portfolio accounts, summary, ledger, allocation and positions as IBKR displays them.

Source: docs/facts/accounts-and-portfolio.md §2, §3.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from datetime import datetime
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from ibkit.sim.exchange.books import Portfolio, PositionView
from ibkit.sim.market.names import contract_line, long_contract, name_of, osi_contract, plain

if TYPE_CHECKING:
    from ibkit.sim.logins.logins import SimAccount
    from ibkit.sim.world import World

__all__ = [
    "PAGE",
    "account_row",
    "allocation_rows",
    "enriched_row",
    "ledger_rows",
    "live_position_row",
    "sparse_row",
    "summary_rows",
]

PAGE = 100
_OPENED_MS = 1769922000000
_ZERO = Decimal(0)
_TEXTS: dict[str, str] = {
    "accountready": "true",
    "accounttype": "INDIVIDUAL",
    "daytradesremaining": "-1",
    "daytradesremainingt+1": "-1",
    "daytradesremainingt+2": "-1",
    "daytradesremainingt+3": "-1",
    "daytradesremainingt+4": "-1",
    "depositoncredithold": "0",
    "nlvandmargininreview": "false",
    "segmenttitle-c": "US Commodities",
    "segmenttitle-s": "US Securities",
    "tradingtype-s": "STKNOPT",
    "whatifpmenabled": "true",
    "daytradingstatus-s": "",
    "columnprio-c": "2",
    "columnprio-s": "1",
    "highestseverity": "0",
}


def account_row(account: SimAccount, *, brokerage_access: bool) -> dict[str, Any]:
    """An account of the portfolio family (§2.1); `brokerageAccess` is true in /portfolio/accounts alone."""
    return {
        "id": account.id,
        "PrepaidCrypto-Z": False,
        "PrepaidCrypto-P": False,
        "brokerageAccess": brokerage_access,
        "accountId": account.id,
        "accountVan": account.id,
        "accountTitle": account.title,
        "displayName": account.title,
        "accountAlias": None,
        "accountStatus": _OPENED_MS,
        "currency": account.currency,
        "type": account.type,
        "tradingType": "STKNOPT",
        "businessType": "INDEPENDENT",
        "category": "",
        "ibEntity": "IBLLC-US",
        "faclient": False,
        "clearingStatus": "O",
        "covestor": False,
        "noClientTrading": False,
        "trackVirtualFXPortfolio": False,
        "acctCustType": "INDIVIDUAL",
        "parent": {"mmc": [], "accountId": "", "isMParent": False, "isMChild": False, "isMultiplex": False},
        "desc": account.id,
    }


def summary_rows(seen: Portfolio) -> dict[str, Any]:
    """GET /portfolio/{A}/summary: each figure bare, for securities (-s) and commodities (-c) (§2.3)."""
    stamp = int(seen.at.timestamp()) * 1000
    rows: dict[str, Any] = {}
    for name, amount in _figures(seen).items():
        for suffix, value in (("", amount), ("-s", amount), ("-c", _ZERO)):
            rows[name + suffix] = _entry(stamp, amount=value, currency=seen.currency, value=plain(value))
    net = seen.values.net_liquidation
    gross = seen.values.gross_position_value
    texts = {
        **_TEXTS,
        "accountcode": seen.account,
        "cushion": f"{seen.values.available_funds / net:.6f}" if net > 0 else "0",
        "leverage-s": f"{gross / net:.2f}" if net > 0 else "n/a",
        "lookaheadnextchange": str(int(seen.at.timestamp())),
    }
    rows |= {name: _entry(stamp, amount=_ZERO, currency=None, value=text) for name, text in texts.items()}
    return dict(sorted(rows.items()))


def _entry(stamp: int, *, amount: Decimal, currency: str | None, value: str) -> dict[str, Any]:
    return {
        "amount": float(amount),
        "currency": currency,
        "isNull": False,
        "timestamp": stamp,
        "value": value,
        "severity": 0,
    }


def _figures(seen: Portfolio) -> dict[str, Decimal]:
    values = seen.values
    net, margin, available = values.net_liquidation, values.margin, values.available_funds
    zero = (
        *("accruedcash", "accrueddividend", "billable", "guarantee", "indianstockhaircut", "netliquidationuncertainty"),
        *("pasharesvalue", "physicalcertificatevalue", "postexpirationexcess", "postexpirationmargin", "regtmargin"),
        "totaldebitcardpendingcharges",
    )
    return {
        **dict.fromkeys(zero, _ZERO),
        **dict.fromkeys(("netliquidation", "equitywithloanvalue", "regtequity"), net),
        **dict.fromkeys(("initmarginreq", "maintmarginreq", "fullinitmarginreq", "fullmaintmarginreq"), margin),
        **dict.fromkeys(("lookaheadinitmarginreq", "lookaheadmaintmarginreq"), margin),
        **dict.fromkeys(("availablefunds", "excessliquidity", "fullavailablefunds", "fullexcessliquidity"), available),
        **dict.fromkeys(("lookaheadavailablefunds", "lookaheadexcessliquidity", "sma"), available),
        **dict.fromkeys(("availabletotrade", "availabletowithdraw"), available),
        "previousdayequitywithloanvalue": values.previous_equity,
        "buyingpower": values.buying_power,
        "grosspositionvalue": values.gross_position_value,
        "totalcashvalue": values.cash,
    }


def ledger_rows(seen: Portfolio) -> dict[str, Any]:
    """GET /portfolio/{A}/ledger: each currency with cash, the account's own first, and BASE (§2.4)."""
    values = seen.values
    zero = (
        *("commoditymarketvalue", "futuremarketvalue", "corporatebondsmarketvalue", "warrantsmarketvalue", "interest"),
        *("moneyfunds", "funds", "issueroptionsmarketvalue", "futuresonlypnl", "tbondsmarketvalue"),
        *("futureoptionmarketvalue", "cashbalancefxsegment", "tbillsmarketvalue", "dividends", "cryptocurrencyvalue"),
    )
    row: dict[str, Any] = {
        **dict.fromkeys(zero, 0.0),
        "settledcash": float(values.cash),
        "exchangerate": 1,
        "sessionid": 1,
        "cashbalance": float(values.cash),
        "netliquidationvalue": float(values.net_liquidation),
        "unrealizedpnl": float(values.unrealized),
        "stockmarketvalue": float(values.stock_value),
        "realizedpnl": float(values.realized),
        "acctcode": seen.account,
        "key": "LedgerList",
        "timestamp": int(seen.at.timestamp()),
        "severity": 0,
        "stockoptionmarketvalue": float(values.option_value),
        "endofbundle": 1,
    }
    if len(seen.balances) < 2:
        own, others = row, {}
    else:
        cash = seen.balances[0].cash
        value = values.net_liquidation - values.cash + cash
        own = {**row, "cashbalance": float(cash), "settledcash": float(cash), "netliquidationvalue": float(value)}
        others = {
            balance.currency: {
                **dict.fromkeys((key for key, value in row.items() if isinstance(value, float)), 0.0),
                **{key: value for key, value in row.items() if not isinstance(value, float)},
                "cashbalance": float(balance.cash),
                "settledcash": float(balance.cash),
                "netliquidationvalue": float(balance.cash),
                "exchangerate": float(balance.rate),
                "currency": balance.currency,
                "secondkey": balance.currency,
            }
            for balance in seen.balances[1:]
        }
    return {
        seen.currency: {**own, "currency": seen.currency, "secondkey": seen.currency},
        **others,
        "BASE": {**row, "currency": "BASE", "secondkey": "BASE"},
    }


def allocation_rows(portfolios: list[Portfolio]) -> dict[str, Any]:
    """Market value by class, sector and group, long and short apart; an empty account gives empty maps (§2.5)."""
    tables: dict[str, dict[str, defaultdict[str, Decimal]]] = {
        kind: {"long": defaultdict(Decimal), "short": defaultdict(Decimal)}
        for kind in ("assetClass", "sector", "group")
    }
    for seen in portfolios:
        for view in seen.positions:
            direction = "long" if view.quantity > 0 else "short"
            sector, group = _sector(view)
            for kind, key in (("assetClass", view.instrument.sec_type), ("sector", sector), ("group", group)):
                tables[kind][direction][key or "Others"] += view.market_value
        if seen.positions and seen.values.cash:
            tables["assetClass"]["long" if seen.values.cash > 0 else "short"]["CASH"] += seen.values.cash
    return {
        kind: {direction: {key: float(value) for key, value in rows.items()} for direction, rows in table.items()}
        for kind, table in tables.items()
    }


def sparse_row(seen: Portfolio, view: PositionView) -> dict[str, Any]:
    """A position as the first read of a session shows it: 21 keys (§3.1)."""
    instrument = view.instrument
    return {
        "acctId": seen.account,
        "conid": instrument.conid,
        "contractDesc": osi_contract(instrument),
        "position": float(view.quantity),
        "mktPrice": float(view.mark),
        "mktValue": float(view.market_value),
        "currency": instrument.currency,
        "avgCost": float(view.average_cost),
        "avgPrice": float(view.average_price),
        "realizedPnl": float(view.realized),
        "unrealizedPnl": float(view.unrealized),
        "exchs": None,
        "expiry": None,
        "putOrCall": None,
        "multiplier": None,
        "strike": 0.0,
        "exerciseStyle": None,
        "conExchMap": [],
        "assetClass": instrument.sec_type,
        "undConid": 0,
        "model": "",
    }


def terms_row(seen: Portfolio, view: PositionView) -> dict[str, Any]:
    """The sparse row with the contract's terms filled in, as /portfolio/positions/{conid} shows it (§3.2, recorded)."""
    instrument = view.instrument
    option = instrument.sec_type == "OPT"
    return sparse_row(seen, view) | {
        "expiry": instrument.expiry.strftime("%Y%m%d") if instrument.expiry else None,
        "putOrCall": instrument.right if option else None,
        "multiplier": float(instrument.multiplier) if option else 0.0,
        "strike": plain(instrument.strike) if instrument.strike is not None else "0",
        "undConid": instrument.underlying_conid or 0,
    }


def enriched_row(world: World, seen: Portfolio, view: PositionView) -> dict[str, Any]:
    """A position with names and rules (§3.1)."""
    instrument = view.instrument
    option = instrument.sec_type == "OPT"
    sector, group = _sector(view)
    row = terms_row(seen, view)
    steps = [{"lowerEdge": float(edge), "increment": float(step)} for edge, step in instrument.increments.steps]
    digits = max(-int(step.normalize().as_tuple().exponent) for _, step in instrument.increments.steps)
    row |= {
        "baseMktValue": row["mktValue"],
        "baseMktPrice": row["mktPrice"],
        "baseAvgCost": row["avgCost"],
        "baseAvgPrice": row["avgPrice"],
        "baseRealizedPnl": row["realizedPnl"],
        "baseUnrealizedPnl": row["unrealizedPnl"],
        "incrementRules": steps,
        "displayRule": {
            "magnification": 0,
            "displayRuleStep": [{"decimalDigits": max(digits, 0), "lowerEdge": 0.0, "wholeDigits": 4}],
        },
        "time": 4,
        "chineseName": None,
        "allExchanges": _exchanges(instrument.valid_exchanges),
        "listingExchange": None if option else instrument.listing_exchange,
        "countryCode": "US",
        "name": name_of(world, instrument),
        "lastTradingDay": instrument.expiry.strftime("%Y%m%d") if instrument.expiry else None,
        "group": None if option else group,
        "sector": None if option else sector,
        "sectorGroup": None,
        "ticker": instrument.symbol,
        "type": view.instrument.listing.kind,
        "undComp": None,
        "undSym": instrument.symbol,
        "hasOptions": True,
        "fullName": long_contract(instrument),
        "isUS": True,
        "isEventContract": False,
        "crossCurrency": False,
        "pageSize": PAGE,
    }
    return row


def live_position_row(view: PositionView, at: datetime) -> dict[str, Any]:
    """A row of /portfolio2: conid as text, prices unrounded under their own names (§3.2)."""
    instrument = view.instrument
    sector, group = _sector(view)
    value = view.exact_value
    return {
        "position": float(view.quantity),
        "conid": str(instrument.conid),
        "avgCost": float(view.average_cost),
        "avgPrice": float(view.average_price),
        "currency": instrument.currency,
        "description": contract_line(instrument),
        "isLastToLoq": False,
        "marketPrice": float(view.mark),
        "marketValue": float(value),
        "realizedPnl": float(view.realized),
        "secType": instrument.sec_type,
        "timestamp": int(at.timestamp()),
        "unrealizedPnl": float(value - view.cost),
        "assetClass": instrument.sec_type,
        "sector": sector,
        "group": group,
        "model": "",
    }


def _sector(view: PositionView) -> tuple[str | None, str | None]:
    """Sector and group; a fund has none."""
    listing = view.instrument.listing
    return (None, None) if listing.kind == "ETF" else (listing.industry, listing.category)


def _exchanges(valid: Iterable[str]) -> str:
    return ",".join(name for name in valid if name != "SMART")
