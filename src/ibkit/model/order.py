"""What a user asks for (ticket), what the broker holds (order), what came of it (fill), and what the broker answers."""

from __future__ import annotations

import enum
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from typing import TypeAlias

from ibkit.model.contract import Contract
from ibkit.model.identity import AccountId, Conid, OrderId, QuestionId, Ref

__all__ = [
    "Accepted",
    "AcceptedRow",
    "AlreadyRegistered",
    "Answer",
    "Asked",
    "CancelAck",
    "Fill",
    "GroupKind",
    "Order",
    "OrderStatus",
    "OrderTicket",
    "OrderType",
    "Preview",
    "Question",
    "Rejected",
    "Side",
    "TimeInForce",
    "Trail",
    "TrailKind",
]


class Side(enum.Enum):
    BUY = "BUY"
    SELL = "SELL"

    @property
    def opposite(self) -> Side:
        return Side.SELL if self is Side.BUY else Side.BUY


class OrderType(enum.Enum):
    """IBKR's words; what each needs stands in `_NEEDS`. Source: docs/facts/orders.md §1.3."""

    MARKET = "MKT"
    LIMIT = "LMT"
    STOP = "STP"
    STOP_LIMIT = "STOP_LIMIT"
    TRAIL = "TRAIL"
    TRAIL_LIMIT = "TRAILLMT"
    MIDPRICE = "MIDPRICE"
    MARKET_IF_TOUCHED = "MIT"
    LIMIT_IF_TOUCHED = "LIT"
    MARKET_ON_CLOSE = "MOC"
    LIMIT_ON_CLOSE = "LOC"
    RELATIVE = "REL"

    @property
    def waits(self) -> bool:
        """It rests until its trigger is met: a stop of any kind, or if touched."""
        return self in _WAITING


_WAITING = frozenset(
    {
        OrderType.STOP,
        OrderType.STOP_LIMIT,
        OrderType.TRAIL,
        OrderType.TRAIL_LIMIT,
        OrderType.MARKET_IF_TOUCHED,
        OrderType.LIMIT_IF_TOUCHED,
    }
)


class TrailKind(enum.Enum):
    """IBKR's words for `trailingType`."""

    AMOUNT = "amt"
    PERCENT = "%"


@dataclass(frozen=True, slots=True)
class Trail:
    """How far a trailing stop follows the market: in the price's unit, or in per cent of the price."""

    amount: Decimal
    kind: TrailKind = TrailKind.AMOUNT

    def __post_init__(self) -> None:
        if not self.amount.is_finite() or self.amount <= 0:
            raise ValueError(f"trail must be positive: {self.amount}")
        if self.kind is TrailKind.PERCENT and self.amount >= 100:
            raise ValueError(f"trail must be below 100 %: {self.amount}")

    @property
    def label(self) -> str:
        """`0.50`, `5%`."""
        return f"{self.amount.normalize():f}{'%' if self.kind is TrailKind.PERCENT else ''}"


class GroupKind(enum.Enum):
    """Several orders of one request. Source: docs/facts/orders.md §1.7."""

    BRACKET = "bracket"
    """A parent and its children, which wake as it fills; the children cancel each other."""
    OCA = "oca"
    """One cancels all."""


class TimeInForce(enum.Enum):
    DAY = "DAY"
    GTC = "GTC"
    IOC = "IOC"
    OPG = "OPG"


class OrderStatus(enum.Enum):
    """IBKR's words. PRE_SUBMITTED is the working state of a stop. Source: docs/facts/orders.md §8."""

    PENDING_SUBMIT = "PendingSubmit"
    PRE_SUBMITTED = "PreSubmitted"
    SUBMITTED = "Submitted"
    FILLED = "Filled"
    PENDING_CANCEL = "PendingCancel"
    PRE_CANCELLED = "PreCancelled"
    CANCELLED = "Cancelled"
    INACTIVE = "Inactive"
    WARN_STATE = "WarnState"
    UNKNOWN = "Unknown"
    """A word we do not know; never terminal. The raw word is in `Order.raw_status`."""

    @property
    def working(self) -> bool:
        return self in _WORKING

    @property
    def terminal(self) -> bool:
        """Filled or Cancelled; Inactive is not, because a parked order can still go live."""
        return self in (OrderStatus.FILLED, OrderStatus.CANCELLED)


_WORKING = frozenset(
    {OrderStatus.PENDING_SUBMIT, OrderStatus.PRE_SUBMITTED, OrderStatus.SUBMITTED, OrderStatus.WARN_STATE}
)


@dataclass(frozen=True, slots=True, kw_only=True)
class OrderTicket:
    """One order as asked for, before anything is sent. Prices are per unit, quantity is positive.

    limit_price: the limit; of MIDPRICE the cap, which may be left out. Of a combination it may be negative: what the
                 whole costs a buyer.
    stop_price:  the trigger: of stops, of if-touched orders; of TRAIL where it begins, which may be left out.
    trail:       of TRAIL and TRAILLMT. offset: of REL, how far inside the market's best price.
    parent_id:   the broker's id of the order this one hangs on (a child of a bracket), if any.
    """

    account_id: AccountId
    contract: Contract
    side: Side
    order_type: OrderType
    quantity: Decimal
    limit_price: Decimal | None = None
    stop_price: Decimal | None = None
    tif: TimeInForce = TimeInForce.DAY
    outside_rth: bool = False
    parent_id: OrderId | None = None
    trail: Trail | None = None
    offset: Decimal | None = None

    def __post_init__(self) -> None:
        if not self.quantity.is_finite() or self.quantity <= 0:
            raise ValueError(f"quantity must be positive: {self.quantity}")
        needs = _NEEDS[self.order_type]
        for name in ("limit_price", "stop_price", "trail", "offset"):
            value = getattr(self, name)
            if value is None and needs.get(name) is True:
                raise ValueError(f"{name} is needed for {self.order_type.value}")
            if value is not None and name not in needs:
                raise ValueError(f"{name} does not belong to {self.order_type.value}")
            if isinstance(value, Decimal) and not value.is_finite():
                raise ValueError(f"{name} must be a finite number")

    @property
    def label(self) -> str:
        """`SELL 3 SPY 20261120 629 P MKT DAY`."""
        words = (
            ("stop", self.stop_price),
            ("@", self.limit_price),
            ("trail", self.trail and self.trail.label),
            ("offset", self.offset),
        )
        price = "".join(f" {word} {value}" for word, value in words if value is not None)
        quantity = format(self.quantity.normalize(), "f")
        return f"{self.side.value} {quantity} {self.contract.label} {self.order_type.value}{price} {self.tif.value}"


_NEEDS: Mapping[OrderType, Mapping[str, bool]] = {
    OrderType.MARKET: {},
    OrderType.LIMIT: {"limit_price": True},
    OrderType.STOP: {"stop_price": True},
    OrderType.STOP_LIMIT: {"limit_price": True, "stop_price": True},
    OrderType.TRAIL: {"trail": True, "stop_price": False},
    OrderType.TRAIL_LIMIT: {"limit_price": True, "stop_price": True, "trail": True},
    OrderType.MIDPRICE: {"limit_price": False},
    OrderType.MARKET_IF_TOUCHED: {"stop_price": True},
    OrderType.LIMIT_IF_TOUCHED: {"limit_price": True, "stop_price": True},
    OrderType.MARKET_ON_CLOSE: {},
    OrderType.LIMIT_ON_CLOSE: {"limit_price": True},
    OrderType.RELATIVE: {"limit_price": True, "offset": True},
}
"""Which fields an order type takes, and whether it must have them. Source: docs/facts/orders.md §1.3."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    """What the broker holds, as one read of it shows."""

    order_id: OrderId
    account_id: AccountId
    conid: Conid
    side: Side
    order_type: str
    status: OrderStatus
    raw_status: str
    total: Decimal
    filled: Decimal
    remaining: Decimal
    average_price: Decimal | None = None
    limit_price: Decimal | None = None
    stop_price: Decimal | None = None
    tif: str = ""
    ref: Ref | None = None
    parent_id: OrderId | None = None
    group: str = ""
    """Orders of one OCA group or bracket share it."""
    conidex: str = ""
    """Of a combination: its legs, as IBKR writes them."""
    description: str = ""
    reason: str | None = None
    """Why the broker cancelled or refused it, in its words."""
    parked: bool = False
    """It waits behind a question (Inactive / Pending Submit); it may still go live."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Fill:
    """One execution. `fee` is the commission, positive; None where the broker has not said it yet."""

    execution_id: str
    order_id: OrderId | None
    account_id: AccountId
    conid: Conid
    side: Side
    quantity: Decimal
    price: Decimal
    fee: Decimal | None
    at: datetime
    ref: Ref | None = None


@dataclass(frozen=True, slots=True)
class Question:
    """IBKR asks before it takes an order. `message_ids` and `messages` are aligned.

    One reply answers all of its messages, so each must be understood before it is confirmed.
    """

    question_id: QuestionId
    message_ids: tuple[str, ...]
    messages: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class AcceptedRow:
    """What was said of one further order of the same request. order_id: None where this one was refused.

    parent_id: of a bracket's child.
    """

    order_id: OrderId | None
    status: OrderStatus
    ref: Ref | None = None
    parent_id: OrderId | None = None
    text: str = ""


@dataclass(frozen=True, slots=True)
class Accepted:
    """The broker took the order under `order_id`; `status` is its first word on it.

    others: the other orders of a group, in no particular order (docs/facts/orders.md §1.7 item 1).
    """

    order_id: OrderId
    status: OrderStatus
    ref: Ref | None = None
    raw: str = ""
    others: tuple[AcceptedRow, ...] = ()


@dataclass(frozen=True, slots=True)
class Asked:
    question: Question


@dataclass(frozen=True, slots=True)
class Rejected:
    """The broker refused, in its own words."""

    reason: str
    order_id: OrderId | None = None


@dataclass(frozen=True, slots=True)
class AlreadyRegistered:
    """Our ref is known there: an earlier send arrived. Never a refusal. Source: docs/facts/orders.md §4."""

    ref: Ref | None


Answer: TypeAlias = Accepted | Asked | Rejected | AlreadyRegistered


@dataclass(frozen=True, slots=True)
class CancelAck:
    """The broker took note of a cancel; only the order's status says whether it worked."""

    order_id: OrderId
    message: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Preview:
    """What an order would do (whatif), amounts in the account's currency; None where IBKR did not say."""

    amount: Decimal | None = None
    commission: Decimal | None = None
    initial_margin_change: Decimal | None = None
    initial_margin_after: Decimal | None = None
    maintenance_margin_change: Decimal | None = None
    maintenance_margin_after: Decimal | None = None
    equity_after: Decimal | None = None
    warnings: tuple[str, ...] = field(default=())
    error: str | None = None
