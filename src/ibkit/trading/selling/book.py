"""From the intents of a sale to the record of the trade: what the table `trades` will say."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from datetime import datetime
from decimal import Decimal

from ibkit.model import Contract, Environment, Fill, Key, OrderId, OrderTicket, Ref
from ibkit.trading.intent import Intent
from ibkit.trading.selling.exits import ExitPlan
from ibkit.trading.selling.sale import trade_id_of
from ibkit.trading.selling.trade import ExitReason, OrderLink, OrderRole, RecordState, Trade, TradeLeg, TradeStatus

__all__ = ["closed", "failed", "link_of", "new_trade", "realized_pnl", "sold", "with_exits", "with_fills", "with_links"]


def new_trade(
    ticket: OrderTicket,
    *,
    key: Key,
    ref: Ref,
    environment: Environment,
    snapshot: Mapping[str, str],
    at: datetime,
    plan: ExitPlan | None = None,
) -> Trade:
    """The record before the entry order `ticket` leaves: pending, with nothing sold."""
    contract = _sold_leg(ticket.contract)
    assert contract.strike is not None, "an option has a strike"
    assert contract.right is not None, "an option has a right"
    assert contract.expiry is not None, "an option has an expiry"
    return Trade(
        trade_id=trade_id_of(ref),
        account_id=ticket.account_id,
        environment=environment,
        symbol=contract.symbol,
        conid=contract.conid,
        multiplier=contract.multiplier,
        strike_price=contract.strike,
        right=contract.right,
        expiration=contract.expiry,
        quantity=ticket.quantity,
        created_at=at,
        updated_at=at,
        market_snapshot=dict(snapshot),
        links=(OrderLink(role=OrderRole.ENTRY, key=key, ref=ref),),
        exit_plan=plan,
        legs=tuple(_leg(leg.contract, leg.ratio) for leg in ticket.contract.legs),
    )


def _sold_leg(contract: Contract) -> Contract:
    return next((leg.contract for leg in contract.legs if leg.ratio > 0), contract)


def _leg(contract: Contract, ratio: int) -> TradeLeg:
    assert contract.strike is not None, "an option has a strike"
    assert contract.right is not None, "an option has a right"
    return TradeLeg(conid=contract.conid, strike=contract.strike, right=contract.right, ratio=ratio)


def sold(
    trade: Trade,
    entry: Intent,
    *,
    at: datetime,
    stop: Intent | None,
    stop_loss: Decimal | None,
    profit: Intent | None = None,
) -> Trade:
    """The record after the fill: what was sold at which average, and its exits where there are any."""
    return dataclasses.replace(
        trade,
        record_state=RecordState.COMPLETE,
        status=TradeStatus.OPEN,
        quantity=entry.filled,
        ibkr_order_id=entry.order_id,
        entry_time=trade.entry_time or at,
        entry_price=entry.average_price,
        stop_loss_order_id=None if stop is None else stop.order_id,
        stop_loss_price=stop_loss,
        take_profit_order_id=None if profit is None else profit.order_id,
        take_profit_price=None if profit is None else profit.ticket.limit_price,
        updated_at=at,
    )


def with_exits(trade: Trade, stop: Intent, profit: Intent | None, *, at: datetime) -> Trade:
    """The record with `stop` as the stop that protects it now, and `profit` as the order beside it."""
    return dataclasses.replace(
        trade,
        stop_loss_order_id=stop.order_id,
        stop_loss_price=stop.ticket.stop_price,
        take_profit_order_id=None if profit is None else profit.order_id,
        take_profit_price=None if profit is None else profit.ticket.limit_price,
        updated_at=at,
    )


def failed(trade: Trade, *, at: datetime) -> Trade:
    """The record of a sale that sold nothing."""
    return dataclasses.replace(trade, record_state=RecordState.FAILED, status=TradeStatus.CLOSED, updated_at=at)


def closed(trade: Trade, *, at: datetime, price: Decimal | None, reason: ExitReason) -> Trade:
    """The record after the exit at `price` (per unit); commissions count as far as they are known."""
    ended = dataclasses.replace(
        trade,
        status=TradeStatus.CLOSED,
        exit_time=trade.exit_time or at,
        exit_price=price,
        exit_reason=reason,
        updated_at=at,
    )
    return dataclasses.replace(ended, realized_pnl=realized_pnl(ended))


def realized_pnl(trade: Trade) -> Decimal | None:
    """(entry - exit) x multiplier x quantity - commissions, for a sold option; None where a price is missing."""
    if trade.status is not TradeStatus.CLOSED or trade.entry_price is None or trade.exit_price is None:
        return None
    gross = (trade.entry_price - trade.exit_price) * trade.multiplier * trade.quantity
    return gross - (trade.entry_commission or Decimal(0)) - (trade.exit_commission or Decimal(0))


def with_links(trade: Trade, *links: OrderLink) -> Trade:
    """The record with its orders; a link of the same key replaces the older one."""
    merged: dict[str, OrderLink] = {link.key: link for link in (*trade.links, *links)}
    return dataclasses.replace(trade, links=tuple(merged.values()))


def link_of(intent: Intent, role: OrderRole) -> OrderLink:
    return OrderLink(role=role, key=intent.key, ref=intent.ref, order_id=intent.order_id)


def with_fills(trade: Trade, fills: tuple[Fill, ...], *, at: datetime) -> Trade:
    """The record with the executions of its orders, each once, and what follows from them.

    Executions are known by their id; a correction has a new one with a higher last part
    (docs/facts/orders.md §11) and replaces what it corrects.
    """
    orders: Mapping[OrderId, OrderRole] = {link.order_id: link.role for link in trade.links if link.order_id}
    ours = [fill for fill in fills if fill.order_id in orders]
    known = {_execution(fill): fill for fill in (*trade.fills, *sorted(ours, key=lambda fill: fill.execution_id))}
    merged = tuple(known.values())
    entries = tuple(fill for fill in merged if orders.get(fill.order_id or OrderId("")) is OrderRole.ENTRY)
    exits = tuple(fill for fill in merged if fill not in entries)
    updated = dataclasses.replace(
        trade,
        fills=merged,
        ibkr_exec_id=entries[0].execution_id if entries else trade.ibkr_exec_id,
        entry_time=min((fill.at for fill in entries), default=trade.entry_time),
        entry_commission=_fees(entries, trade.entry_commission),
        exit_commission=_fees(exits, trade.exit_commission),
        updated_at=at,
    )
    return dataclasses.replace(updated, realized_pnl=realized_pnl(updated))


def _execution(fill: Fill) -> str:
    """The execution's id without the number of its correction: `….01.02` corrects `….01.01`."""
    return fill.execution_id.rpartition(".")[0] or fill.execution_id


def _fees(fills: tuple[Fill, ...], before: Decimal | None) -> Decimal | None:
    """The sum, or what was known before where one of them has not been said yet."""
    fees = [fill.fee for fill in fills if fill.fee is not None]
    return sum(fees, Decimal(0)) if fills and len(fees) == len(fills) else before
