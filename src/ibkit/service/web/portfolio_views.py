"""What the portfolio's pages show, worked out of what the interface told: rows, groups, bars and the points of a chart.

Plain functions over plain values; nothing is asked here. An unknown value stays None and is shown as a dash.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import date, timedelta
from decimal import Decimal
from typing import Any, Final
from urllib.parse import quote, urlencode

__all__ = [
    "GROUPINGS",
    "MOST_LIVE",
    "PERIODS",
    "account_address",
    "bars",
    "chart_of",
    "groups_of",
    "known_worth",
    "listens_to",
    "missing_of",
    "period_start",
    "portfolio_address",
    "prices_of",
    "row_address",
    "rows_of",
    "security_form",
]

Told = Mapping[str, Any]
MOST_LIVE: Final = 30
"""Prices that a page listens to: one user has as many lines."""
GROUPINGS: Final = ("account", "type", "currency")
PERIODS: Final = ("1m", "3m", "ytd", "1y", "all")
_LONGEST_TABLE: Final = 60


def portfolio_address(portfolio_id: str, tail: str = "") -> str:
    """Of its page; with `tail` of one below."""
    return f"/portfolios/{quote(portfolio_id, safe='')}" + (f"/{tail}" if tail else "")


def account_address(portfolio_id: str, name: str, tail: str = "", *, inside: bool = False) -> str:
    """Of an account's page, whatever its name holds. inside: of our own interface.

    >>> account_address("7d1f", "My IRA/1", "edit")
    '/portfolios/7d1f/accounts/My%20IRA%2F1/edit'
    """
    room = "portfolio" if inside else "portfolios"
    found = f"/{room}/{quote(portfolio_id, safe='')}/accounts/{quote(name, safe='')}"
    return f"{found}/{tail}" if tail else found


def row_address(portfolio_id: str, source: Told | None) -> str:
    """Of the page of a raw row; "" where none told it."""
    if source is None:
        return ""
    query = {name: source[name] for name in ("statement", "section", "row")}
    return f"{portfolio_address(portfolio_id)}/raw/{quote(str(source['digest']), safe='')}?{urlencode(query)}"


def rows_of(
    portfolio: Told, accounts: Iterable[Told] | None = None, rates: Mapping[str, Decimal] | None = None
) -> list[dict[str, Any]]:
    """Every holding with its security's name, type and price.

    rates: by currency, into the portfolio's own; what a live price adds to the whole worth is told by them.
    """
    known = {(each["symbol"], each["conid"] or 0): each for each in portfolio["securities"]}
    found = []
    for account in portfolio["accounts"] if accounts is None else accounts:
        for number, holding in enumerate(account["holdings"]):
            security = known.get((holding["symbol"], holding["conid"] or 0)) or known.get((holding["symbol"], 0)) or {}
            found.append(_row(portfolio, account, number, holding, security, rates or {}))
    return found


def _row(
    portfolio: Told, account: Told, number: int, holding: Told, security: Told, rates: Mapping[str, Decimal]
) -> dict[str, Any]:
    kind = security.get("type") or holding["type"] or "other"
    currency = holding["currency"] or security.get("currency") or portfolio["currency"]
    price, value = holding["market_price"], holding["market_value"]
    if price is None:
        price = security.get("unit_price")
    if value is None:
        value = holding["units"] if kind == "cash" else _product(holding["units"], price, holding["multiplier"])
    name = security.get("name") or ""
    return {
        **holding,
        "number": number,
        "account": account["name"],
        "href": account_address(portfolio["id"], account["name"]),
        "name": name if name != holding["symbol"] else "",
        "type": kind,
        "currency": currency,
        "price": price,
        "value": value,
        "rate": Decimal(1) if currency == portfolio["currency"] else rates.get(currency),
        "live": holding["conid"] is not None and kind != "cash",
        "moves": _moves(holding),
    }


def listens_to(rows: Iterable[Told]) -> list[int]:
    """The contracts whose prices a page listens to: what a price moves first, then the largest."""
    live = [each for each in rows if each["live"]]
    live.sort(key=lambda each: (each["moves"], abs(each["value"] or 0)), reverse=True)
    return list(dict.fromkeys(each["conid"] for each in live))[:MOST_LIVE]


def prices_of(portfolio: Told) -> list[dict[str, Any]]:
    """Of each holding of IBKR's that has a price and a worth, in its account."""
    return [
        {
            "account": account["name"],
            "conid": each["conid"],
            "price": each["market_price"],
            "value": each["market_value"],
            "at": each["synced_at"],
        }
        for account in portfolio["accounts"]
        for each in account["holdings"]
        if None not in (each["conid"], each["market_price"], each["market_value"], each["synced_at"])
    ]


def _moves(holding: Told) -> bool:
    """Whether a price alone tells its worth, as the service judges it (`bootstrap.account_reader.repriced`)."""
    price, value = holding["market_price"], holding["market_value"]
    if price is None or value is None or not holding["currency"]:
        return False
    product = Decimal(holding["units"]) * Decimal(price) * Decimal(holding["multiplier"])
    return abs(Decimal(value) - product) <= abs(product) / 100


def _product(units: Any, price: Any, multiplier: Any) -> Decimal | None:
    return None if price is None else Decimal(units) * Decimal(price) * Decimal(multiplier)


def groups_of(rows: Sequence[Told], by: str, slices: Iterable[Told]) -> list[dict[str, Any]]:
    """The rows by account, type or currency, in their order. net: of the slice of that name, None where none is."""
    net = {each["name"]: each["net"] for each in slices}
    found: dict[str, list[Told]] = {}
    for row in rows:
        found.setdefault(row[by], []).append(row)
    return [
        {"name": name, "rows": these, "net": net.get(name), "href": these[0]["href"] if by == "account" else ""}
        for name, these in found.items()
    ]


def known_worth(figures: Told) -> tuple[Decimal | None, bool]:
    """What the holdings are worth, and whether that is all of them: of some nobody told what they are worth."""
    if figures["value"] is not None:
        return figures["value"], True
    if figures["net_liquidation"] is not None:
        return figures["net_liquidation"], True
    slices = figures["by_account"]
    return (sum((each["net"] for each in slices), Decimal(0)) if slices else None), False


def missing_of(figures: Told) -> list[tuple[str, list[str]]]:
    """Each reason, with the figures that are not known for it. No benchmark is given on this page: none is missing."""
    found: dict[str, list[str]] = {}
    for each in figures["missing"]:
        if each["figure"] != "performance.benchmark":
            found.setdefault(each["why"], []).append(each["figure"])
    return list(found.items())


def bars(slices: Iterable[Told], most: int = 8) -> list[dict[str, Any]]:
    """The largest, and the rest as one (its name None). width: of its bar, in percent of the widest."""
    ordered = sorted(slices, key=lambda each: each["gross"], reverse=True)
    shown = [
        {"name": each["name"], "net": each["net"], "gross": each["gross"], "share": each["gross_share"]}
        for each in ordered[:most]
    ]
    rest = ordered[most:]
    if rest:
        parts = {key: [each[key] for each in rest] for key in ("net", "gross", "gross_share")}
        shares = parts["gross_share"]
        whole = None if any(each is None for each in shares) else sum(shares, Decimal(0))
        shown.append({"name": None, "net": sum(parts["net"]), "gross": sum(parts["gross"]), "share": whole})
    widest = max((each["gross"] for each in shown), default=0)
    for each in shown:
        each["width"] = round(float(each["gross"] / widest) * 100, 1) if widest else 0.0
        each["fraction"] = None if each["share"] is None else Decimal(each["share"]) / 100
    return shown


def period_start(period: str, today: date) -> date | None:
    match period:
        case "1m":
            return today - timedelta(days=31)
        case "3m":
            return today - timedelta(days=92)
        case "ytd":
            return date(today.year - 1, 12, 31)
        case "1y":
            return today - timedelta(days=366)
        case _:
            return None


def chart_of(performance: Told | None) -> dict[str, Any] | None:
    """Points for the chart, which are estimates by their nature, and the newest days as a table."""
    if performance is None or len(performance["steps"]) < 2:
        return None
    steps = performance["steps"]
    points = {"days": [str(each["day"]) for each in steps], "values": [float(each["value"]) for each in steps]}
    return {"points": points, "table": list(reversed(steps[-_LONGEST_TABLE:])), "all": len(steps) <= _LONGEST_TABLE}


def security_form(security: Told) -> dict[str, Any]:
    """As the interface takes it back: without what IBKR alone tells."""
    names = ("symbol", "name", "type", "currency", "tags", "unit_price", "conid")
    return {name: security[name] for name in names}
