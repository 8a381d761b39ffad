"""Trades by the beginning of their id, as people type them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ibkit.errors import NotFound

if TYPE_CHECKING:
    from ibkit.trading import Trade, Trades

__all__ = ["trade_named"]


async def trade_named(trades: Trades, trade_id: str) -> Trade:
    """The one trade whose id begins so. NotFound where there is none, or several."""
    trade = await trades.get(trade_id)
    if trade is not None:
        return trade
    near = [each for each in await trades.trades() if each.trade_id.startswith(trade_id)]
    if len(near) == 1:
        return near[0]
    raise NotFound(
        f"Trade {trade_id} not found" if not near else f"{len(near)} trades begin with {trade_id}",
        code="E-NOT-FOUND",
        remedy="`ibkit trades list --json` shows the ids in full.",
    )
