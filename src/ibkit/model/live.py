"""What happens while one watches: changes of orders, fills, profit and loss, and how the line itself is doing.

Data and line are told apart: no data event says that the line broke, no lifecycle event carries a price.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import TypeAlias

from ibkit.model.identity import AccountId, OrderId
from ibkit.model.order import Fill, Order

__all__ = [
    "Complained",
    "Connecting",
    "Down",
    "FillUpdate",
    "Fresh",
    "Lifecycle",
    "Live",
    "Notice",
    "OrderUpdate",
    "PnlUpdate",
    "SessionLost",
    "Source",
    "Stale",
    "Unread",
]


class Source(enum.Enum):
    """Where we have it from: the stream, or a read that closed a gap."""

    STREAM = "stream"
    READ = "read"


@dataclass(frozen=True, slots=True)
class OrderUpdate:
    """An order is not what it was. before: what was told last, None for an order not told of yet."""

    order: Order
    before: Order | None
    source: Source

    @property
    def ended(self) -> bool:
        """Filled or cancelled just now; true for one update of an order and no more."""
        return self.order.status.terminal and (self.before is None or not self.before.status.terminal)


@dataclass(frozen=True, slots=True)
class FillUpdate:
    """One execution. before: None the first time; the broker tells commission and order id a moment later."""

    fill: Fill
    before: Fill | None
    source: Source

    @property
    def is_new(self) -> bool:
        return self.before is None


@dataclass(frozen=True, slots=True)
class PnlUpdate:
    """Profit and loss of one account in its currency; None where IBKR did not say."""

    account_id: AccountId
    daily: Decimal | None
    unrealized: Decimal | None
    net_liquidation: Decimal | None
    excess_liquidity: Decimal | None
    market_value: Decimal | None


@dataclass(frozen=True, slots=True)
class Notice:
    """What IBKR says to a person. options: it waits for one of these, about `order_id`."""

    text: str
    id: str | None
    order_id: OrderId | None
    request_id: str | None
    options: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Connecting:
    """attempt: 1 for the first since the line was live."""

    attempt: int


@dataclass(frozen=True, slots=True)
class Live:
    """From here on everything is told as it happens. gap_s: how long nothing was; what happened then is told by now."""

    at: datetime
    gap_s: float | None = None


@dataclass(frozen=True, slots=True)
class Down:
    """The line is gone; it will be tried again."""

    reason: str
    retry_in_s: float


@dataclass(frozen=True, slots=True)
class SessionLost:
    """The brokerage session ended. competing: another login of this user name has it."""

    competing: bool


@dataclass(frozen=True, slots=True)
class Stale:
    """Nothing came for a subscription (`smd+756733`, `spl`) though the line stands: what it told is old."""

    topic: str
    silent_s: float


@dataclass(frozen=True, slots=True)
class Fresh:
    """A stale subscription tells again."""

    topic: str


@dataclass(frozen=True, slots=True)
class Complained:
    """IBKR refused something that we sent."""

    text: str


@dataclass(frozen=True, slots=True)
class Unread:
    """A frame that could not be read was skipped; orders and fills are read anew because of it."""

    why: str


Lifecycle: TypeAlias = Connecting | Live | Down | SessionLost | Stale | Fresh | Complained | Unread
