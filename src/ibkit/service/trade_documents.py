"""What the routes of trades give: the columns of `ibkit trades`, values as they are known, null where they are not."""

from __future__ import annotations

from datetime import date, datetime
from decimal import Decimal
from typing import Literal

import msgspec

from ibkit.model import Right
from ibkit.trading.selling.exits import ExitPlan
from ibkit.trading.selling.performance import Performance
from ibkit.trading.selling.trade import Trade

__all__ = [
    "DayResult",
    "TradeExecution",
    "TradeInfo",
    "TradeLegInfo",
    "TradeList",
    "TradeOrder",
    "TradePerformance",
    "TradePerformanceAnswer",
    "TradePlan",
    "performance_answer",
    "trade_info",
]

_Right = Literal["P", "C"]


class TradePlan(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How it is to end. trail: how far a trailing stop follows, in words. take_profit: part of the entry price."""

    stop_multiple: Decimal | None
    trail: str | None
    take_profit: Decimal | None
    exit_at: datetime | None
    stop_missing: str


class TradeLegInfo(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """ratio: +1 what a sale sells, -1 what it buys."""

    conid: int
    strike: Decimal
    right: _Right
    ratio: int


class TradeOrder(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """order_id: the broker's number."""

    role: Literal["entry", "stop", "profit", "close"]
    order_id: str | None


class TradeExecution(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    execution_id: str
    side: Literal["BUY", "SELL"]
    quantity: Decimal
    price: Decimal
    fee: Decimal | None
    at: datetime


class TradeInfo(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One sale of the option seller, prices per unit.

    Of a spread prices are the combination's, strike_price and option_type the sold leg's.
    option: symbol, expiry, strikes and side in a few words. plan: null where none was kept.
    """

    trade_id: str
    account_id: str
    environment: str
    option: str
    symbol: str
    conid: int
    strike_price: Decimal
    option_type: Literal["PUT", "CALL"]
    expiration: date
    multiplier: Decimal
    quantity: Decimal
    status: Literal["open", "closed"]
    record_state: Literal["pending", "complete", "failed"]
    entry_time: datetime | None
    entry_price: Decimal | None
    entry_commission: Decimal | None
    stop_loss_order_id: str | None
    stop_loss_price: Decimal | None
    take_profit_order_id: str | None
    take_profit_price: Decimal | None
    exit_time: datetime | None
    exit_price: Decimal | None
    exit_commission: Decimal | None
    exit_reason: Literal["expired", "stopped_out", "take_profit", "manual", "assigned"] | None
    realized_pnl: Decimal | None
    plan: TradePlan | None
    legs: list[TradeLegInfo]
    orders: list[TradeOrder]
    executions: list[TradeExecution]
    created_at: datetime
    updated_at: datetime


class TradeList(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Newest first. more: whether there are older ones than `limit` let in."""

    data: list[TradeInfo]
    more: bool


class DayResult(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """day: New York's, of the exits."""

    day: date
    total: Decimal


class TradePerformance(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Closed trades as a whole, in the contracts' currency. win_rate: in per cent.

    without_result: closed trades whose result is not known, which count in nothing else.
    """

    trades: int
    wins: int
    losses: int
    win_rate: Decimal | None
    total: Decimal
    average_day: Decimal | None
    best_day: DayResult | None
    worst_day: DayResult | None
    without_result: int


class TradePerformanceAnswer(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    data: TradePerformance


def trade_info(trade: Trade) -> TradeInfo:
    return TradeInfo(
        trade_id=trade.trade_id,
        account_id=trade.account_id,
        environment=trade.environment.value,
        option=trade.label,
        symbol=trade.symbol,
        conid=trade.conid,
        strike_price=trade.strike_price,
        option_type="PUT" if trade.right is Right.PUT else "CALL",
        expiration=trade.expiration,
        multiplier=trade.multiplier,
        quantity=trade.quantity,
        status=trade.status.value,
        record_state=trade.record_state.value,
        entry_time=trade.entry_time,
        entry_price=trade.entry_price,
        entry_commission=trade.entry_commission,
        stop_loss_order_id=trade.stop_loss_order_id,
        stop_loss_price=trade.stop_loss_price,
        take_profit_order_id=trade.take_profit_order_id,
        take_profit_price=trade.take_profit_price,
        exit_time=trade.exit_time,
        exit_price=trade.exit_price,
        exit_commission=trade.exit_commission,
        exit_reason=None if trade.exit_reason is None else trade.exit_reason.value,
        realized_pnl=trade.realized_pnl,
        plan=None if trade.exit_plan is None else _plan(trade.exit_plan),
        legs=[
            TradeLegInfo(conid=leg.conid, strike=leg.strike, right=leg.right.value, ratio=leg.ratio)
            for leg in trade.legs
        ],
        orders=[TradeOrder(role=link.role.value, order_id=link.order_id) for link in trade.links],
        executions=[
            TradeExecution(
                execution_id=fill.execution_id,
                side=fill.side.value,
                quantity=fill.quantity,
                price=fill.price,
                fee=fill.fee,
                at=fill.at,
            )
            for fill in trade.fills
        ],
        created_at=trade.created_at,
        updated_at=trade.updated_at,
    )


def _plan(plan: ExitPlan) -> TradePlan:
    return TradePlan(
        stop_multiple=plan.stop_multiple,
        trail=None if plan.trail is None else plan.trail.label,
        take_profit=plan.take_profit,
        exit_at=plan.exit_at,
        stop_missing=plan.on_missing.value,
    )


def performance_answer(found: Performance) -> TradePerformanceAnswer:
    return TradePerformanceAnswer(
        data=TradePerformance(
            trades=found.trades,
            wins=found.wins,
            losses=found.losses,
            win_rate=found.win_rate,
            total=found.total,
            average_day=found.average_day,
            best_day=_day(found.best_day),
            worst_day=_day(found.worst_day),
            without_result=found.without_result,
        )
    )


def _day(found: tuple[date, Decimal] | None) -> DayResult | None:
    return None if found is None else DayResult(day=found[0], total=found[1])
