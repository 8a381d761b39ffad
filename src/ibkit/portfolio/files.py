"""A portfolio as a file, and back: JSON, YAML and CSV. Numbers are texts there, so that no reader makes floats of them.

A file is read whole or not at all; what is wrong with it is told with its place. What connects an account to IBKR is
no part of it: a copy of a portfolio is kept by hand until it is connected. Source: requirement SYN-01.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from datetime import datetime
from decimal import Decimal, InvalidOperation
from typing import Any, Final

import msgspec

from ibkit.errors import ConfigError
from ibkit.portfolio.book import (
    Holding,
    Portfolio,
    PortfolioAccount,
    Security,
    check_currency,
    check_name,
    check_portfolio,
    check_symbol,
)
from ibkit.portfolio.kinds import SecurityKind

__all__ = [
    "FORMATS",
    "LARGEST_FILE",
    "csv_of",
    "inert",
    "json_of",
    "plain_of",
    "portfolio_from",
    "read_csv",
    "read_json",
]

FORMATS: Final = ("json", "yaml", "csv")
LARGEST_FILE: Final = 8 * 1024 * 1024
_FORMAT, _VERSION = "ibkit-portfolio", 1
_COLUMNS: Final = (
    "account",
    "symbol",
    "units",
    "currency",
    "type",
    "name",
    "conid",
    "avg_cost",
    "market_price",
    "market_value",
    "unit_price",
    "tags",
)
_FORMULA: Final = ("=", "+", "-", "@", "\t")
"""A text that begins so is carried out by a spreadsheet: it gets an apostrophe before it, which reading takes away."""


# -- written ----------------------------------------------------------------------------------------------------------


def plain_of(portfolio: Portfolio) -> dict[str, Any]:
    """The whole of it in maps, lists and texts."""
    return {
        "format": _FORMAT,
        "version": _VERSION,
        "name": portfolio.name,
        "currency": portfolio.currency,
        "accounts": [
            {"name": account.name, "holdings": [_plain_holding(each) for each in account.holdings]}
            for account in portfolio.accounts
        ],
        "securities": [_plain_security(each) for each in portfolio.securities],
    }


def _plain_holding(holding: Holding) -> dict[str, Any]:
    figures = {
        "avg_cost": holding.average_cost,
        "market_price": holding.market_price,
        "market_value": holding.market_value,
    }
    told = {name: f"{figure:f}" for name, figure in figures.items() if figure is not None}
    named = {"currency": holding.currency, "type": holding.kind.value if holding.kind else "", "conid": holding.conid}
    return {"symbol": holding.symbol, "units": f"{holding.units:f}", **_said(named), **told}


def _plain_security(security: Security) -> dict[str, Any]:
    price = None if security.unit_price is None else f"{security.unit_price:f}"
    optional = {
        "name": security.name,
        "conid": security.conid,
        "unit_price": price,
        "tags": list(security.tags),
        "identifier": security.identifier,
        "exchange": security.exchange,
        "sector": security.sector,
    }
    return {
        "symbol": security.symbol,
        "type": security.kind.value,
        "currency": security.currency,
        **_said(optional),
    }


def _said(values: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in values.items() if value not in (None, "", [])}


def json_of(portfolio: Portfolio) -> bytes:
    return msgspec.json.format(msgspec.json.encode(plain_of(portfolio)), indent=2) + b"\n"


def csv_of(portfolio: Portfolio) -> bytes:
    """A line for each holding, with what is known of its security; UTF-8, commas, a head. Empty accounts have none."""
    known = {security.key: security for security in portfolio.securities}
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\r\n")
    writer.writerow(_COLUMNS)
    for account in portfolio.accounts:
        for holding in account.holdings:
            security = known.get(holding.key[:2])
            kind = holding.kind or (None if security is None else security.kind)
            price = None if security is None else security.unit_price
            writer.writerow(
                [
                    inert(account.name),
                    inert(holding.symbol),
                    f"{holding.units:f}",
                    holding.currency,
                    kind.value if kind else "",
                    inert(security.name) if security else "",
                    holding.conid or "",
                    *(_text(f) for f in (holding.average_cost, holding.market_price, holding.market_value, price)),
                    inert(";".join(security.tags)) if security else "",
                ]
            )
    return out.getvalue().encode()


def _text(figure: Decimal | None) -> str:
    return "" if figure is None else f"{figure:f}"


def inert(text: str) -> str:
    """So written that no spreadsheet carries it out."""
    return f"'{text}" if text.startswith((*_FORMULA, "'")) else text


# -- read -------------------------------------------------------------------------------------------------------------


def read_json(body: bytes) -> Any:
    """ConfigError (E-VALIDATION) with the place where it breaks off."""
    try:
        return msgspec.json.Decoder(float_hook=Decimal).decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise _wrong("file", f"it is no JSON ({error})") from None


def portfolio_from(plain: Any, *, portfolio_id: str, user_id: str, at: datetime) -> Portfolio:
    """A new portfolio of what `plain_of` gave, or somebody wrote alike. ConfigError (E-VALIDATION) naming the place."""
    book = _map("file", plain, ("format", "version", "name", "currency", "accounts", "securities"))
    if book.get("format", _FORMAT) != _FORMAT or book.get("version", _VERSION) != _VERSION:
        raise _wrong("format", f"it is {_FORMAT}, version {_VERSION}")
    securities = _each("securities", book.get("securities", []), _security)
    return check_portfolio(
        Portfolio(
            portfolio_id=portfolio_id,
            user_id=user_id,
            name=check_name(_str("name", book.get("name"))),
            currency=check_currency(_str("currency", book.get("currency", "USD"))),
            accounts=_each("accounts", book.get("accounts", []), _account),
            securities=tuple(sorted(securities, key=lambda security: security.key)),
            created_at=at,
            updated_at=at,
        )
    )


def read_csv(body: bytes, *, name: str, currency: str, portfolio_id: str, user_id: str, at: datetime) -> Portfolio:
    """name, currency: of the portfolio, which a table has no place for. ConfigError (E-VALIDATION) naming the line."""
    try:
        text = body.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise _wrong("file", f"it is not UTF-8 (byte {error.start})") from None
    try:
        lines = list(csv.reader(io.StringIO(text, newline=""), strict=True))
    except csv.Error as error:
        raise _wrong("file", f"it is no CSV ({error})") from None
    head = [column.strip().lower() for column in lines[0]] if lines else []
    missing = [column for column in _COLUMNS[:3] if column not in head]
    unknown = [column for column in head if column not in _COLUMNS]
    if missing or unknown or len(set(head)) != len(head):
        why = f"its columns are {', '.join(_COLUMNS)}; at least the first three, each once"
        raise _wrong("line 1", why + (f"; there is no {unknown[0][:40]}" if unknown else ""))
    holdings: dict[str, list[Holding]] = {}
    securities: dict[tuple[str, int], Security] = {}
    for number, line in enumerate(lines[1:], start=2):
        if not any(line):
            continue
        where = f"line {number}"
        if len(line) != len(head):
            raise _wrong(where, f"it has {len(line)} cells, the head {len(head)}")
        cell = dict(zip(head, (_active(each.strip()) for each in line), strict=True))
        holding = _holding(where, {key: cell[key] for key in _OF_HOLDING if cell.get(key)})
        holdings.setdefault(check_name(cell["account"], f"{where}.account"), []).append(holding)
        about = {
            key: cell[key] for key in ("symbol", "name", "type", "currency", "conid", "unit_price") if cell.get(key)
        }
        tags = [tag.strip() for tag in cell.get("tags", "").split(";") if tag.strip()]
        security = replace(_security(where, about), tags=tuple(tags))
        securities.setdefault(security.key, security)
    return check_portfolio(
        Portfolio(
            portfolio_id=portfolio_id,
            user_id=user_id,
            name=check_name(name),
            currency=check_currency(currency),
            accounts=tuple(PortfolioAccount(name=each, holdings=_sorted(found)) for each, found in holdings.items()),
            securities=tuple(securities[key] for key in sorted(securities)),
            created_at=at,
            updated_at=at,
        )
    )


_OF_HOLDING: Final = ("symbol", "units", "currency", "type", "conid", "avg_cost", "market_price", "market_value")
_OF_SECURITY: Final = (
    "symbol",
    "name",
    "type",
    "currency",
    "tags",
    "unit_price",
    "conid",
    "identifier",
    "exchange",
    "sector",
)


def _account(where: str, value: Any) -> PortfolioAccount:
    found = _map(where, value, ("name", "holdings"))
    holdings = _each(f"{where}.holdings", found.get("holdings", []), _holding)
    return PortfolioAccount(name=check_name(_str(f"{where}.name", found.get("name"))), holdings=_sorted(holdings))


def _sorted(holdings: Iterable[Holding]) -> tuple[Holding, ...]:
    return tuple(sorted(holdings, key=lambda holding: holding.key))


def _holding(where: str, value: Any) -> Holding:
    found = _map(where, value, _OF_HOLDING)
    if "units" not in found:
        raise _wrong(f"{where}.units", "it is missing")
    return Holding(
        symbol=check_symbol(_str(f"{where}.symbol", found.get("symbol")), f"{where}.symbol"),
        units=_number(f"{where}.units", found["units"]),
        currency=check_currency(_str(where, found["currency"]), f"{where}.currency") if "currency" in found else "",
        kind=_kind(f"{where}.type", found["type"]) if "type" in found else None,
        conid=_conid(f"{where}.conid", found.get("conid")),
        average_cost=_maybe(f"{where}.avg_cost", found.get("avg_cost")),
        market_price=_maybe(f"{where}.market_price", found.get("market_price")),
        market_value=_maybe(f"{where}.market_value", found.get("market_value")),
    )


def _security(where: str, value: Any) -> Security:
    found = _map(where, value, _OF_SECURITY)
    return Security(
        symbol=check_symbol(_str(f"{where}.symbol", found.get("symbol")), f"{where}.symbol"),
        name=_str(f"{where}.name", found.get("name", "")),
        kind=_kind(f"{where}.type", found.get("type", "other")),
        currency=check_currency(_str(where, found.get("currency", "USD")), f"{where}.currency"),
        tags=_each(f"{where}.tags", found.get("tags", []), _str),
        unit_price=_maybe(f"{where}.unit_price", found.get("unit_price")),
        conid=_conid(f"{where}.conid", found.get("conid")),
        identifier=_str(f"{where}.identifier", found.get("identifier", ""))[:300],
        exchange=_str(f"{where}.exchange", found.get("exchange", ""))[:32],
        sector=_str(f"{where}.sector", found.get("sector", ""))[:100],
    )


def _each(where: str, value: Any, read: Callable[[str, Any], Any]) -> tuple[Any, ...]:
    if not isinstance(value, list):
        raise _wrong(where, "it is a list")
    return tuple(read(f"{where}[{number}]", each) for number, each in enumerate(value, start=1))


def _map(where: str, value: Any, known: tuple[str, ...]) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise _wrong(where, f"it is a map of {', '.join(known)}")
    for name in value:
        if name not in known:
            raise _wrong(where, f"there is no {str(name)[:40]!r}; there are {', '.join(known)}")
    return {name: each for name, each in value.items() if each is not None}


def _str(where: str, value: Any) -> str:
    if not isinstance(value, str):
        raise _wrong(where, "it is missing" if value is None else "it is a text")
    return value


def _number(where: str, value: Any) -> Decimal:
    """Of a number or a text; a float of a foreign reader is taken by the digits that it is written with."""
    if isinstance(value, bool) or not isinstance(value, int | float | str | Decimal):
        raise _wrong(where, "it is a number")
    try:
        found = Decimal(str(value).strip())
    except InvalidOperation:
        raise _wrong(where, f"{str(value)[:40]!r} is no number (the point divides, nothing groups)") from None
    if not found.is_finite():
        raise _wrong(where, "it is a finite number")
    return found


def _maybe(where: str, value: Any) -> Decimal | None:
    return None if value is None else _number(where, value)


def _conid(where: str, value: Any) -> int | None:
    if value is None:
        return None
    found = _number(where, value)
    if found != found.to_integral_value() or not 0 < found < 2**31:
        raise _wrong(where, "it is a whole number from 1 to 2147483647")
    return int(found)


def _kind(where: str, value: Any) -> SecurityKind:
    try:
        return SecurityKind(value)
    except ValueError:
        kinds = ", ".join(kind.value for kind in SecurityKind)
        raise _wrong(where, f"{str(value)[:40]!r} is none of {kinds}") from None


def _active(cell: str) -> str:
    return cell[1:] if cell.startswith("'") else cell


def _wrong(where: str, why: str) -> ConfigError:
    return ConfigError(
        f"Invalid request: {where}: {why}",
        code="E-VALIDATION",
        remedy="Correct the place named; nothing was read in.",
        details={"errors": [{"field": where, "message": why}]},
    )
