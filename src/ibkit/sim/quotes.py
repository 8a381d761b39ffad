"""What the market says: one quote at an instant, and the run of ticks between two."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Ints = NDArray[np.int64]

__all__ = ["ASK_SIZE", "BID_SIZE", "MarketQuote", "Tick", "Ticks", "price_of"]

BID_SIZE, ASK_SIZE = 40, 25
"""Displayed sizes of a quote that is set by hand. Source: docs/requirements TRD-07 (the simulator's numbers)."""


def price_of(cents: int) -> Decimal:
    """Two decimals, as all grids of the simulated exchanges have them."""
    return Decimal(int(cents)).scaleb(-2)


@dataclass(frozen=True, slots=True, kw_only=True)
class MarketQuote:
    """Prices per unit on the contract's grid; None where there is none (an index has no bid and ask).

    at:           the tick it stands for; outside regular hours the last one of the session before.
    last:         the last trade, or the prior close until the first trade of the day (then `traded_today` is False).
    prior_close:  close of the session before the current one.
    mark:         ask if below last, bid if above it, else last.
    iv, delta, gamma, theta, vega: options only. iv 0.15 is 15 %; theta per day; vega per volatility point.
    """

    conid: int
    at: datetime
    open: bool
    bid: Decimal | None = None
    ask: Decimal | None = None
    last: Decimal | None = None
    mark: Decimal | None = None
    prior_close: Decimal | None = None
    bid_size: int = 0
    ask_size: int = 0
    last_size: int = 0
    volume: int = 0
    traded_today: bool = False
    iv: float | None = None
    delta: float | None = None
    gamma: float | None = None
    theta: float | None = None
    vega: float | None = None


class Tick(NamedTuple):
    """One second of one contract. bid and ask are None where nobody bids or offers."""

    at: datetime
    bid: Decimal | None
    ask: Decimal | None
    last: Decimal | None
    bid_size: int
    ask_size: int


@dataclass(frozen=True, slots=True, eq=False)
class Ticks:
    """A run of ticks, as arrays: iterate for `Tick`s, or search the arrays, which is a thousand times faster.

    seconds: epoch. Prices in cents, 0 for none.
    """

    seconds: Ints
    bid_cents: Ints
    ask_cents: Ints
    last_cents: Ints
    bid_size: Ints
    ask_size: Ints

    def __len__(self) -> int:
        return len(self.seconds)

    def __getitem__(self, index: int) -> Tick:
        bid, ask, last = (int(row[index]) for row in (self.bid_cents, self.ask_cents, self.last_cents))
        return Tick(
            at=datetime.fromtimestamp(int(self.seconds[index]), UTC),
            bid=price_of(bid) if bid > 0 else None,
            ask=price_of(ask) if ask > 0 else None,
            last=price_of(last) if last > 0 else None,
            bid_size=int(self.bid_size[index]),
            ask_size=int(self.ask_size[index]),
        )

    def __iter__(self) -> Iterator[Tick]:
        return (self[index] for index in range(len(self)))

    def first_bid_at_least(self, price: Decimal, start: int = 0) -> int | None:
        """Index of the first tick from `start` on whose bid is at or above a price."""
        return _first(self.bid_cents[start:] >= _cents_up(price), start)

    def first_ask_at_most(self, price: Decimal, start: int = 0) -> int | None:
        """Index of the first tick from `start` on with an ask at or below a price."""
        asks = self.ask_cents[start:]
        return _first((asks > 0) & (asks <= _cents_down(price)), start)

    def first_last_at_least(self, price: Decimal, start: int = 0) -> int | None:
        return _first(self.last_cents[start:] >= _cents_up(price), start)

    def first_last_at_most(self, price: Decimal, start: int = 0) -> int | None:
        lasts = self.last_cents[start:]
        return _first((lasts > 0) & (lasts <= _cents_down(price)), start)

    @classmethod
    def joined(cls, parts: list[Ticks]) -> Ticks:
        def column(name: str) -> Ints:
            rows = [getattr(part, name) for part in parts]
            return np.concatenate(rows) if rows else np.empty(0, dtype=np.int64)

        return cls(
            seconds=column("seconds"),
            bid_cents=column("bid_cents"),
            ask_cents=column("ask_cents"),
            last_cents=column("last_cents"),
            bid_size=column("bid_size"),
            ask_size=column("ask_size"),
        )


def _first(found: NDArray[np.bool_], start: int) -> int | None:
    return start + int(np.argmax(found)) if found.any() else None


def _cents_up(price: Decimal) -> int:
    return -int(-price * 100 // 1)


def _cents_down(price: Decimal) -> int:
    return int(price * 100 // 1)
