"""The ledgers of a portfolio's accounts, for what is made of them: reports, and files for accountants.

An account without one is named with the reason, and what is made of it falls back to what it holds.
"""

from __future__ import annotations

from datetime import date
from typing import TYPE_CHECKING, Final

from ibkit.portfolio.book import Portfolio
from ibkit.portfolio.ledger import Ledger

if TYPE_CHECKING:
    from ibkit.bootstrap.portfolios import PortfolioDesk

__all__ = ["NOTHING_KNOWN", "ledgers_of"]

NOTHING_KNOWN: Final = "no transaction of it is known"


async def ledgers_of(
    desk: PortfolioDesk, user_id: str, portfolio: Portfolio, *, as_of: date | None = None
) -> tuple[dict[str, Ledger], dict[str, str]]:
    """By account's name; and of each account without one, why there is none."""
    found: dict[str, Ledger] = {}
    without: dict[str, str] = {}
    for account in portfolio.accounts:
        ledger = await desk.ledger_of(user_id, portfolio.portfolio_id, account.name, as_of=as_of)
        if ledger.transactions:
            found[account.name] = ledger
        else:
            without[account.name] = NOTHING_KNOWN
    return found, without
