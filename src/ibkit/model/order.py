"""What a user asks for (ticket), what the broker holds (order), what came of it (fill), and what the broker answers."""

from __future__ import annotations

import enum
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from typing import TypeAlias

from ibkit.model.contract import Contract
from ibkit.model.identity import AccountId, Conid, OrderId, QuestionId, Ref

__all__ = [
    "Accepted",
    "AlreadyRegistered",
    "Answer",
    "Asked",
    "CancelAck",
    "Fill",
    "Order",
    "OrderStatus",
    "OrderTicket",
    "OrderType",
    "Preview",
    "Question",
    "Rejected",
    "Side",
    "TimeInForce",
]


class Side(enum.Enum):
    BUY = "BUY"
    SELL = "SELL"

    @property
    def opposite(self) -> Side:
        return Side.SELL if self is Side.BUY else Side.BUY


class OrderType(enum.Enum):
    MARKET = "MKT"
    LIMIT = "LMT"
    STOP = "STP"
    STOP_LIMIT = "STOP_LIMIT"


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

    limit_price: set for LMT and STOP_LIMIT. stop_price: set for STP and STOP_LIMIT.
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

    def __post_init__(self) -> None:
        if not self.quantity.is_finite() or self.quantity <= 0:
            raise ValueError(f"quantity must be positive: {self.quantity}")
        for name, price, needed in (
            ("limit_price", self.limit_price, self.order_type in (OrderType.LIMIT, OrderType.STOP_LIMIT)),
            ("stop_price", self.stop_price, self.order_type in (OrderType.STOP, OrderType.STOP_LIMIT)),
        ):
            if needed and price is None:
                raise ValueError(f"{name} is needed for {self.order_type.value}")
            if not needed and price is not None:
                raise ValueError(f"{name} does not belong to {self.order_type.value}")
            if price is not None and not price.is_finite():
                raise ValueError(f"{name} must be a finite number")

    @property
    def label(self) -> str:
        """`SELL 3 SPY 20261120 629 P MKT DAY`."""
        price = "".join(
            f" {word} {value}"
            for word, value in (("stop", self.stop_price), ("@", self.limit_price))
            if value is not None
        )
        quantity = format(self.quantity.normalize(), "f")
        return f"{self.side.value} {quantity} {self.contract.label} {self.order_type.value}{price} {self.tif.value}"


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
class Accepted:
    """The broker took the order under `order_id`; `status` is its first word on it."""

    order_id: OrderId
    status: OrderStatus
    ref: Ref | None = None
    raw: str = ""


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
