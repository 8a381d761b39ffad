"""The tables of the trades as the present code knows them, and trades to and from their rows."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from decimal import Decimal
from typing import Any

import msgspec
from sqlalchemy import JSON, BigInteger, Column, Date, Integer, MetaData, String, Table

from ibkit.model import AccountId, Conid, Environment, Fill, Key, OrderId, Ref, Right, Side
from ibkit.store.columns import Exact, Instant
from ibkit.store.database import SCHEMA
from ibkit.trading.selling.exits import ExitPlan
from ibkit.trading.selling.trade import ExitReason, OrderLink, OrderRole, RecordState, Trade, TradeLeg, TradeStatus

__all__ = ["EXECUTIONS", "LINKS", "TRADES", "execution_rows", "link_rows", "trade_from_rows", "trade_row"]

_METADATA = MetaData(schema=SCHEMA)

TRADES = Table(
    "trades",
    _METADATA,
    Column("trade_id", String, primary_key=True),
    *(Column(name, String) for name in ("ibkr_order_id", "ibkr_exec_id", "ibkr_perm_id", "symbol")),
    Column("strike_price", Exact),
    Column("option_type", String),
    Column("expiration", Date),
    Column("quantity", Integer),
    Column("entry_time", Instant),
    Column("entry_price", Exact),
    Column("entry_commission", Exact),
    Column("exit_time", Instant),
    Column("exit_price", Exact),
    Column("exit_commission", Exact),
    Column("exit_reason", String),
    Column("stop_loss_order_id", String),
    Column("stop_loss_price", Exact),
    Column("take_profit_order_id", String),
    Column("take_profit_price", Exact),
    Column("realized_pnl", Exact),
    *(Column(name, String) for name in ("status", "record_state")),
    Column("market_snapshot", JSON),
    *(Column(name, String) for name in ("account_id", "environment")),
    Column("conid", BigInteger),
    Column("multiplier", Exact),
    Column("created_at", Instant),
    Column("updated_at", Instant),
    Column("exit_plan", JSON(none_as_null=True)),
    Column("legs", JSON(none_as_null=True)),
)
EXECUTIONS = Table(
    "executions",
    _METADATA,
    Column("execution_id", String, primary_key=True),
    *(Column(name, String) for name in ("trade_id", "order_id", "account_id")),
    Column("conid", BigInteger),
    Column("side", String),
    Column("quantity", Exact),
    Column("price", Exact),
    Column("commission", Exact),
    Column("executed_at", Instant),
    Column("order_ref", String),
)
LINKS = Table(
    "order_links",
    _METADATA,
    Column("trade_id", String, primary_key=True),
    Column("intent_key", String, primary_key=True),
    Column("position", Integer),
    *(Column(name, String) for name in ("role", "order_ref", "ibkr_order_id")),
)

_SAME = (
    "trade_id",
    "ibkr_order_id",
    "ibkr_exec_id",
    "ibkr_perm_id",
    "symbol",
    "strike_price",
    "expiration",
    "entry_time",
    "entry_price",
    "entry_commission",
    "exit_time",
    "exit_price",
    "exit_commission",
    "stop_loss_order_id",
    "stop_loss_price",
    "take_profit_order_id",
    "take_profit_price",
    "realized_pnl",
    "account_id",
    "conid",
    "multiplier",
    "created_at",
    "updated_at",
)
"""Columns that hold a field of the same name as it is."""


def trade_row(trade: Trade) -> dict[str, Any]:
    assert trade.quantity == trade.quantity.to_integral_value(), "contracts are whole"
    return {
        **{name: getattr(trade, name) for name in _SAME},
        "option_type": trade.option_type,
        "quantity": int(trade.quantity),
        "exit_reason": None if trade.exit_reason is None else trade.exit_reason.value,
        "status": trade.status.value,
        "record_state": trade.record_state.value,
        "market_snapshot": dict(trade.market_snapshot),
        "environment": trade.environment.value,
        "exit_plan": None if trade.exit_plan is None else msgspec.to_builtins(trade.exit_plan),
        "legs": msgspec.to_builtins(trade.legs) if trade.legs else None,
    }


def execution_rows(trade: Trade) -> list[dict[str, Any]]:
    return [
        {
            "execution_id": fill.execution_id,
            "trade_id": trade.trade_id,
            "order_id": fill.order_id,
            "account_id": fill.account_id,
            "conid": fill.conid,
            "side": fill.side.value,
            "quantity": fill.quantity,
            "price": fill.price,
            "commission": fill.fee,
            "executed_at": fill.at,
            "order_ref": fill.ref,
        }
        for fill in trade.fills
    ]


def link_rows(trade: Trade) -> list[dict[str, Any]]:
    return [
        {
            "trade_id": trade.trade_id,
            "intent_key": link.key,
            "position": position,
            "role": link.role.value,
            "order_ref": link.ref,
            "ibkr_order_id": link.order_id,
        }
        for position, link in enumerate(trade.links)
    ]


def trade_from_rows(
    row: Mapping[str, Any], executions: Iterable[Mapping[str, Any]], links: Iterable[Mapping[str, Any]]
) -> Trade:
    """links in their order (`position`), executions in the order of their time."""
    reason, plan = row["exit_reason"], row["exit_plan"]
    return Trade(
        **{name: row[name] for name in _SAME},
        right=Right.PUT if row["option_type"] == "PUT" else Right.CALL,
        quantity=Decimal(row["quantity"]),
        exit_reason=None if reason is None else ExitReason(reason),
        status=TradeStatus(row["status"]),
        record_state=RecordState(row["record_state"]),
        market_snapshot=row["market_snapshot"],
        environment=Environment(row["environment"]),
        links=tuple(_link(link) for link in links),
        fills=tuple(_fill(execution) for execution in executions),
        exit_plan=None if plan is None else msgspec.convert(plan, ExitPlan),
        legs=msgspec.convert(row["legs"] or (), tuple[TradeLeg, ...]),
    )


def _link(row: Mapping[str, Any]) -> OrderLink:
    order_id = row["ibkr_order_id"]
    return OrderLink(
        role=OrderRole(row["role"]),
        key=Key(row["intent_key"]),
        ref=Ref(row["order_ref"]),
        order_id=None if order_id is None else OrderId(order_id),
    )


def _fill(row: Mapping[str, Any]) -> Fill:
    return Fill(
        execution_id=row["execution_id"],
        order_id=None if row["order_id"] is None else OrderId(row["order_id"]),
        account_id=AccountId(row["account_id"]),
        conid=Conid(row["conid"]),
        side=Side(row["side"]),
        quantity=row["quantity"],
        price=row["price"],
        fee=row["commission"],
        at=row["executed_at"],
        ref=None if row["order_ref"] is None else Ref(row["order_ref"]),
    )
