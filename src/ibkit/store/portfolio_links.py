"""What connects an account of ours to one at IBKR, within a transaction that may write more. Source: SYN-04, SYN-14."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import Connection, update

from ibkit.portfolio.book import Link
from ibkit.store.portfolio_rows import (
    PORTFOLIOS,
    AccountRow,
    accounts_of,
    conflict,
    holdings_by_account,
    holdings_from_json,
    holdings_to_json,
    link_values,
    update_account,
)

__all__ = ["connect_account", "touch_portfolio"]


def connect_account(connection: Connection, row: AccountRow, link: Link, *, at: datetime, now: datetime) -> None:
    """Holdings by hand are kept aside; the first sync decides which of them stay. Of a portfolio that is locked.

    at: what the portfolio says of its change; now: by which clock syncs run. ConfigError (E-CONFLICT) where it is
    connected, or the account at IBKR is linked in this portfolio.
    """
    if row.link is not None:
        raise conflict(f"account {row.name} is connected to {row.link.account_id} already", "Disconnect it first.")
    for other in accounts_of(connection, row.portfolio_id, now):
        if other.link is not None and other.link.account_id == link.account_id:
            raise conflict(
                f"IBKR account {link.account_id} is linked to account {other.name} of this portfolio already",
                "Disconnect that one first.",
            )
    held = holdings_by_account(connection, [row.account_key]).get(row.account_key, [])
    # The user's own: what no sync told, and what was put aside once and never brought back.
    own = {each.key: each for each in holdings_from_json(row.set_aside or ())}
    own |= {each.key: each for each in held if each.synced_at is None}
    values = link_values(link) | {"set_aside": holdings_to_json(own.values()) or None}
    update_account(connection, row, values)
    touch_portfolio(connection, row.portfolio_id, at)


def touch_portfolio(connection: Connection, portfolio_id: str, at: datetime) -> None:
    """One more version of it."""
    values = {"version": PORTFOLIOS.c.version + 1, "updated_at": at}
    connection.execute(update(PORTFOLIOS).where(PORTFOLIOS.c.portfolio_id == portfolio_id).values(values))
