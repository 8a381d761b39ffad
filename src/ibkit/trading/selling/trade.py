"""A sold option from entry to exit, as the table `trades` keeps it, and what the seller hands back."""

from __future__ import annotations

import enum
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date, datetime
from decimal import Decimal

from ibkit.model import (
    AccountId,
    Conid,
    Contract,
    Environment,
    Fill,
    Key,
    OrderId,
    Ref,
    Right,
    SecType,
    Trail,
    combo_of,
)
from ibkit.trading.selling.exits import ExitPlan
from ibkit.trading.selling.preview import SalePreview

__all__ = ["ExitReason", "OrderLink", "OrderRole", "RecordState", "Trade", "TradeLeg", "TradeResult", "TradeStatus"]


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
    PROFIT = "profit"
    CLOSE = "close"


@dataclass(frozen=True, slots=True, kw_only=True)
class OrderLink:
    """One order of a trade; `key` names its intent in the journal."""

    role: OrderRole
    key: Key
    ref: Ref
    order_id: OrderId | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class TradeLeg:
    """One option of a spread. ratio: as in the combination, +1 what a sale sells, -1 what it buys."""

    conid: Conid
    strike: Decimal
    right: Right
    ratio: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Trade:
    """Prices per unit, commissions positive and in total. Columns of requirement OPT-07; None: not known (yet).

    Of a spread `conid`, `strike_price` and `right` are those of the sold leg, prices are of the combination, and `legs`
    has both. exit_plan: how it is to end; None for trades from before plans were kept: their stop price tells.
    """

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
    links: tuple[OrderLink, ...] = ()
    fills: tuple[Fill, ...] = ()
    exit_plan: ExitPlan | None = None
    legs: tuple[TradeLeg, ...] = ()

    @property
    def contract(self) -> Contract:
        """What an order on this trade names: the option, or the combination of its legs."""
        if not self.legs:
            return self._option(self.conid, self.strike_price, self.right)
        return combo_of([(self._option(leg.conid, leg.strike, leg.right), leg.ratio) for leg in self.legs])

    def _option(self, conid: Conid, strike: Decimal, right: Right) -> Contract:
        return Contract(
            conid=conid,
            symbol=self.symbol,
            sec_type=SecType.OPTION,
            multiplier=self.multiplier,
            expiry=self.expiration,
            strike=strike,
            right=right,
        )

    @property
    def width(self) -> Decimal | None:
        """Between the strikes of a spread."""
        strikes = [leg.strike for leg in self.legs]
        return max(strikes) - min(strikes) if strikes else None

    @property
    def option_type(self) -> str:
        return "PUT" if self.right is Right.PUT else "CALL"

    @property
    def label(self) -> str:
        """`SPY 20261120 629 P`, of a spread `SPY 20261120 629/624 P`."""
        strikes = "/".join(f"{leg.strike.normalize():f}" for leg in self.legs) or f"{self.strike_price.normalize():f}"
        return f"{self.symbol} {self.expiration:%Y%m%d} {strikes} {self.right.value}"


@dataclass(frozen=True, slots=True, kw_only=True)
class TradeResult:
    """What `sell_option_with_stop` did. Prices per unit; credit, max_risk and max_loss in the contract's currency.

    max_risk: what is lost when the stop buys back at its price. max_loss: at expiry without it; None: unbounded.
    strike:   of the sold leg. long_strike: of the bought leg of a spread.

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
    """Nothing of it is open any more: bought back for want of a stop, stopped out, profit taken, or closed by hand."""
    long_strike: Decimal | None = None
    trail: Trail | None = None
    take_profit: Decimal | None = None
    take_profit_order_id: OrderId | None = None
    exit_at: datetime | None = None
    max_loss: Decimal | None = None
    preview: SalePreview | None = None
    """Of a dry run."""
    warnings: tuple[str, ...] = ()
    details: Mapping[str, str] = field(default_factory=dict)
    """Facts for machines: bid, ask, underlying price, margin effect of a dry run."""

    @property
    def sold(self) -> bool:
        return self.filled_quantity > 0

    @property
    def critical(self) -> bool:
        return self.unsure or self.message.startswith("CRITICAL")
