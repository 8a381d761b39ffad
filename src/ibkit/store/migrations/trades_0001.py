"""Trades with the column names of requirement OPT-07, their executions and orders; SQLite and PostgreSQL."""

from __future__ import annotations

from sqlalchemy import (
    JSON,
    BigInteger,
    CheckConstraint,
    Column,
    Connection,
    Date,
    ForeignKey,
    Index,
    Integer,
    MetaData,
    String,
    Table,
)

from ibkit.store.columns import Exact, Instant
from ibkit.store.database import SCHEMA

__all__ = ["upgrade"]

_METADATA = MetaData(schema=SCHEMA)

_TRADES = Table(
    "trades",
    _METADATA,
    Column("trade_id", String(36), primary_key=True),
    Column("ibkr_order_id", String(32)),
    Column("ibkr_exec_id", String(64)),
    Column("ibkr_perm_id", String(32)),
    Column("symbol", String(12), nullable=False),
    Column("strike_price", Exact, nullable=False),
    Column("option_type", String(4), nullable=False),
    Column("expiration", Date, nullable=False),
    Column("quantity", Integer, nullable=False),
    Column("entry_time", Instant),
    Column("entry_price", Exact),
    Column("entry_commission", Exact),
    Column("exit_time", Instant),
    Column("exit_price", Exact),
    Column("exit_commission", Exact),
    Column("exit_reason", String(16)),
    Column("stop_loss_order_id", String(32)),
    Column("stop_loss_price", Exact),
    Column("take_profit_order_id", String(32)),
    Column("take_profit_price", Exact),
    Column("realized_pnl", Exact),
    Column("status", String(8), nullable=False),
    Column("record_state", String(8), nullable=False),
    Column("market_snapshot", JSON, nullable=False),
    Column("account_id", String(32), nullable=False),
    Column("environment", String(8), nullable=False),
    Column("conid", BigInteger, nullable=False),
    Column("multiplier", Exact, nullable=False),
    Column("created_at", Instant, nullable=False),
    Column("updated_at", Instant, nullable=False),
    CheckConstraint("option_type IN ('PUT', 'CALL')", name="trades_option_type"),
    CheckConstraint("status IN ('open', 'closed')", name="trades_status"),
    CheckConstraint("record_state IN ('pending', 'complete', 'failed')", name="trades_record_state"),
    CheckConstraint(
        "exit_reason IN ('expired', 'stopped_out', 'take_profit', 'manual', 'assigned')", name="trades_exit_reason"
    ),
)
Index("trades_open", _TRADES.c.account_id, _TRADES.c.status)
Index("trades_created", _TRADES.c.created_at)

_EXECUTIONS = Table(
    "executions",
    _METADATA,
    Column("execution_id", String(64), primary_key=True),
    Column("trade_id", ForeignKey(f"{SCHEMA}.trades.trade_id"), nullable=False),
    Column("order_id", String(32)),
    Column("account_id", String(32), nullable=False),
    Column("conid", BigInteger, nullable=False),
    Column("side", String(4), nullable=False),
    Column("quantity", Exact, nullable=False),
    Column("price", Exact, nullable=False),
    Column("commission", Exact),
    Column("executed_at", Instant, nullable=False),
    Column("order_ref", String(64)),
)
Index("executions_trade", _EXECUTIONS.c.trade_id)

Table(
    "order_links",
    _METADATA,
    Column("trade_id", ForeignKey(f"{SCHEMA}.trades.trade_id"), primary_key=True),
    Column("intent_key", String(128), primary_key=True),
    Column("position", Integer, nullable=False),
    Column("role", String(8), nullable=False),
    Column("order_ref", String(64), nullable=False),
    Column("ibkr_order_id", String(32)),
)


def upgrade(connection: Connection) -> None:
    _METADATA.create_all(connection)
