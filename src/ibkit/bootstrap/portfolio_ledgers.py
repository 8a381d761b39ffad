"""The ledgers of a portfolio's accounts, for what is made of them: reports, and files for accountants.

`PortfolioDesk.ledger_of` is the one door to them; an account without one is named with the reason, and what is made of
it falls back to what it holds.
"""

from __future__ import annotations

from datetime import date
from typing import Protocol, runtime_checkable

from ibkit.errors import IbkitError
from ibkit.portfolio.book import Portfolio
from ibkit.portfolio.ledger import Ledger

__all__ = ["NOT_KEPT", "KeepsLedgers", "ledgers_of"]

NOT_KEPT = "no transactions are kept of it: this version of ibkit does not store statements"


@runtime_checkable
class KeepsLedgers(Protocol):
    async def ledger_of(
        self, user_id: str, portfolio_id: str, account_name: str, *, as_of: date | None = None
    ) -> Ledger: ...


async def ledgers_of(
    desk: object, user_id: str, portfolio: Portfolio, *, as_of: date | None = None
) -> tuple[dict[str, Ledger], dict[str, str]]:
    """By account's name; and of each account without one, why there is none."""
    found: dict[str, Ledger] = {}
    without: dict[str, str] = {}
    for account in portfolio.accounts:
        if not isinstance(desk, KeepsLedgers):
            without[account.name] = NOT_KEPT
            continue
        try:
            ledger = await desk.ledger_of(user_id, portfolio.portfolio_id, account.name, as_of=as_of)
        except IbkitError as error:  # what lacks of one account does not keep the others from being told
            without[account.name] = error.message
            continue
        if ledger.transactions:
            found[account.name] = ledger
        else:
            without[account.name] = "no transaction of it is known"
    return found, without
