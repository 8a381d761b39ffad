"""A sold option from entry to exit, as the table `trades` keeps it, and what the seller hands back."""

from __future__ import annotations

import enum
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date, datetime
from decimal import Decimal

from ibkit.model import AccountId, Conid, Environment, Fill, Key, OrderId, Ref, Right
from ibkit.trading.exits import ExitPlan

__all__ = ["ExitReason", "OrderLink", "OrderRole", "RecordState", "Trade", "TradeResult", "TradeStatus"]


class TradeStatus(enum.Enum):
    OPEN = "open"
    CLOSED = "closed"


class RecordState(enum.Enum):
    """pending: written before the entry order. complete: filled. failed: nothing was sold."""

    PENDING = "pending"
    COMPLETE = "complete"
    FAILED = "failed"


class ExitReason(enum.Enum):
    EXPIRED = "expired"
    STOPPED_OUT = "stopped_out"
    TAKE_PROFIT = "take_profit"
    MANUAL = "manual"
    ASSIGNED = "assigned"


class OrderRole(enum.Enum):
    ENTRY = "entry"
    STOP = "stop"
    CLOSE = "close"


@dataclass(frozen=True, slots=True, kw_only=True)
class OrderLink:
    """One order of a trade; `key` names its intent in the journal."""

    role: OrderRole
    key: Key
    ref: Ref
    order_id: OrderId | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Trade:
    """Prices per unit, commissions positive and in total. Columns of requirement OPT-07; None: not known (yet)."""

    trade_id: str
    account_id: AccountId
    environment: Environment
    symbol: str
    conid: Conid
    multiplier: Decimal
    strike_price: Decimal
    right: Right
    expiration: date
    quantity: Decimal
    created_at: datetime
    updated_at: datetime
    record_state: RecordState = RecordState.PENDING
    status: TradeStatus = TradeStatus.OPEN
    ibkr_order_id: OrderId | None = None
    ibkr_exec_id: str | None = None
    ibkr_perm_id: str | None = None
    entry_time: datetime | None = None
    entry_price: Decimal | None = None
    entry_commission: Decimal | None = None
    exit_time: datetime | None = None
    exit_price: Decimal | None = None
    exit_commission: Decimal | None = None
    exit_reason: ExitReason | None = None
    stop_loss_order_id: OrderId | None = None
    stop_loss_price: Decimal | None = None
    take_profit_order_id: OrderId | None = None
    take_profit_price: Decimal | None = None
    realized_pnl: Decimal | None = None
    market_snapshot: Mapping[str, str] = field(default_factory=dict)
    exit_plan: ExitPlan | None = None
    links: tuple[OrderLink, ...] = ()
    fills: tuple[Fill, ...] = ()

    @property
    def option_type(self) -> str:
        return "PUT" if self.right is Right.PUT else "CALL"

    @property
    def label(self) -> str:
        """`SPY 20261120 629 P`."""
        return f"{self.symbol} {self.expiration:%Y%m%d} {self.strike_price.normalize():f} {self.right.value}"


@dataclass(frozen=True, slots=True, kw_only=True)
class TradeResult:
    """What `sell_option_with_stop` did. Prices per unit; credit and max_risk in the contract's currency.

    success: sold and protected (or, for a dry run, everything up to the order went well).
    code:    of the error catalogue; empty with success.
    unsure:  whether an order of it is in an unknown state, or the position stands without a stop (exit code 7).
    """

    success: bool
    symbol: str
    strike: Decimal
    right: str
    entry_price: Decimal | None = None
    stop_loss: Decimal | None = None
    credit: Decimal | None = None
    max_risk: Decimal | None = None
    message: str = ""
    order_id: OrderId | None = None
    contract_id: Conid | None = None
    stop_order_id: OrderId | None = None
    filled_quantity: Decimal = Decimal(0)
    code: str = ""
    remedy: str = ""
    key: Key | None = None
    trade_id: str | None = None
    expiry: date | None = None
    dry_run: bool = False
    unsure: bool = False
    closed: bool = False
    """The sold quantity was bought back because no stop could be placed."""
    warnings: tuple[str, ...] = ()
    details: Mapping[str, str] = field(default_factory=dict)
    """Facts for machines: bid, ask, underlying price, margin effect of a dry run."""

    @property
    def sold(self) -> bool:
        return self.filled_quantity > 0

    @property
    def critical(self) -> bool:
        return self.unsure or self.message.startswith("CRITICAL")
