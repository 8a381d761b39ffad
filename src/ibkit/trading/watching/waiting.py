"""Sold options whose stop nobody has seen at the broker, by our own books alone: what a pause of all calls leaves open.

Source: requirement LIM-03.
"""

from __future__ import annotations

from collections.abc import Collection

from ibkit.trading.alert import AlertKind
from ibkit.trading.ports import Alerts
from ibkit.trading.selling.ports import Trades
from ibkit.trading.selling.trade import RecordState, Trade, TradeStatus

__all__ = ["waiting_positions"]


async def waiting_positions(trades: Trades, alerts: Alerts, accounts: Collection[str]) -> tuple[str, ...]:
    """In words, oldest first: what demands a stop and has none on record, or whose alert says so. StorageError."""
    if not accounts:
        return ()
    unprotected = {alert.subject for alert in await alerts.open(kind=AlertKind.UNPROTECTED)}
    found = [
        trade
        for trade in await trades.trades(status=TradeStatus.OPEN)
        if trade.account_id in accounts and (trade.trade_id in unprotected or _has_no_stop(trade))
    ]
    found.sort(key=lambda trade: trade.created_at)
    return tuple(f"{trade.quantity.normalize():f} sold {trade.contract.label}" for trade in found)


def _has_no_stop(trade: Trade) -> bool:
    """Sold, its plan demands a stop, and none was ever acknowledged."""
    if trade.record_state is not RecordState.COMPLETE or trade.stop_loss_order_id is not None:
        return False
    return trade.stop_loss_price is not None if trade.exit_plan is None else trade.exit_plan.protects
