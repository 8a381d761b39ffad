"""What is held, a table for each account, in the currency of each holding."""

from __future__ import annotations

from typing import Final

from ibkit.portfolio.analytics.figures import value_of
from ibkit.portfolio.book import Holding, PortfolioAccount, Security
from ibkit.portfolio.kinds import SecurityKind
from ibkit.portfolio.report.material import Material
from ibkit.portfolio.report.parts import Block, Column, Notes, Table
from ibkit.portfolio.report.words import change, kind_named, money, price, units

__all__ = ["MOST_ROWS", "holdings_of"]

MOST_ROWS: Final = 2_000
"""Of all accounts together; of more the number is told."""
_COLUMNS: Final = (
    Column(title="Holding", wide=True),
    Column(title="Type"),
    Column(title="Units", right=True),
    Column(title="Cost of one", right=True),
    Column(title="Price", right=True),
    Column(title="Value", right=True),
    Column(title="Unrealised", right=True),
    Column(title=""),
)


def holdings_of(material: Material) -> tuple[Block, ...]:
    known = {security.key: security for security in material.portfolio.securities}
    blocks: list[Block] = []
    left = MOST_ROWS
    for account in material.portfolio.accounts:
        if left > 0 or not account.holdings:
            blocks.append(_table(account, known, left))
        left -= len(account.holdings)
    if left < 0:
        blocks.append(Notes(lines=(f"And {-left} more holdings, which are not listed here.",)))
    return tuple(blocks) or (Notes(lines=("There is no account.",)),)


def _table(account: PortfolioAccount, known: dict[tuple[str, int], Security], most: int) -> Table:
    rows = tuple(_row(each, known.get((each.symbol, each.conid or 0))) for each in account.holdings[: max(most, 0)])
    return Table(title=account.name, columns=_COLUMNS, rows=rows, empty="Nothing is held.")


def _row(holding: Holding, security: Security | None) -> tuple[str, ...]:
    kind = security.kind if security is not None else holding.kind or SecurityKind.OTHER
    name = "" if security is None or security.name.casefold() == holding.symbol.casefold() else security.name
    # What the user keeps a price of has no other one.
    at = holding.market_price
    if at is None and security is not None and holding.market_value is None:
        at = security.unit_price
    is_cash = kind is SecurityKind.CASH
    return (
        f"{holding.symbol} · {name}" if name else holding.symbol,
        kind_named(kind.value),
        units(holding.units),
        "" if is_cash else price(holding.average_cost),
        "" if is_cash else price(at),
        money(value_of(holding, security, kind)),
        "" if is_cash else change(holding.unrealized_pnl),
        holding.currency or ("" if security is None else security.currency),
    )
