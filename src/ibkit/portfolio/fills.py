"""A live execution as a transaction, until a statement tells the same by its execution id."""

from __future__ import annotations

from datetime import date
from decimal import Decimal

from ibkit.model import Fill, Side
from ibkit.portfolio.transactions import Listed, Origin, RowSource, Traded

__all__ = ["execution_key", "trade_of_fill"]


def execution_key(execution_id: str) -> str:
    """Statements spell it the same. Source: docs/facts/accounts-and-portfolio.md §6.4, last line."""
    return f"exec:{execution_id}"


def trade_of_fill(fill: Fill, listed: Listed, *, day: date) -> Traded:
    """day: the trading day of it at its exchange."""
    signed = fill.quantity if fill.side is Side.BUY else -fill.quantity
    return Traded(
        account_id=str(fill.account_id),
        ids=(execution_key(fill.execution_id),),
        at=fill.at,
        day=day,
        booked_on=day,
        origin=Origin.LIVE,
        source=RowSource(digest="", section="execution"),
        listed=listed,
        quantity=signed,
        price=fill.price,
        proceeds=Decimal(0) - signed * fill.price * listed.multiplier,
        commission=None if fill.fee is None else -fill.fee,
        commission_currency=listed.currency,
        order_ref=str(fill.ref or ""),
    )
