"""What the market says: one quote at an instant, and the run of ticks between two."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from decimal import ROUND_CEILING, ROUND_FLOOR, Decimal
from typing import TYPE_CHECKING, NamedTuple, overload

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Ints = NDArray[np.int64]

__all__ = ["ASK_SIZE", "BID_SIZE", "NOBODY", "MarketQuote", "Tick", "Ticks", "price_of"]

_PIECE = 512
NOBODY = 2**40
"""An ask in cents that nobody offers at, and with a minus a bid that nobody bids, where 0 is a price like any other."""
BID_SIZE, ASK_SIZE = 40, 25
"""Displayed sizes of a quote that is set by hand. Source: requirement TRD-07 (the simulator's numbers)."""


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
    halted: bool = False
    iv: float | None = None
    delta: float | None = None
    gamma: float | None = None
    theta: float | None = None
    vega: float | None = None


class Tick(NamedTuple):
    """One second of one contract; a price of 0 says that nobody bids, offers or has traded."""

    at: datetime
    bid: Decimal
    ask: Decimal
    last: Decimal


@dataclass(frozen=True, eq=False)
class Ticks(Sequence[Tick]):
    """A run of ticks, kept as arrays: iterate for `Tick`s, or search the arrays, which is a hundred times faster.

    seconds: epoch. Prices in cents, 0 for none. signed: prices of a combo, which may be zero and below; then a side
    that is not quoted stands at `NOBODY`, where no limit reaches it.
    """

    seconds: Ints
    bid_cents: Ints
    ask_cents: Ints
    last_cents: Ints
    bid_size: Ints
    ask_size: Ints
    signed: bool = field(default=False, kw_only=True)

    @property
    def has_bid(self) -> NDArray[np.bool_]:
        return self.bid_cents > (-NOBODY if self.signed else 0)

    @property
    def has_ask(self) -> NDArray[np.bool_]:
        return self.ask_cents < NOBODY if self.signed else self.ask_cents > 0

    @property
    def has_last(self) -> NDArray[np.bool_]:
        return np.ones(len(self), dtype=bool) if self.signed else self.last_cents > 0

    def __len__(self) -> int:
        return len(self.seconds)

    @overload
    def __getitem__(self, index: int) -> Tick: ...

    @overload
    def __getitem__(self, index: slice) -> Ticks: ...

    def __getitem__(self, index: int | slice) -> Tick | Ticks:
        if isinstance(index, slice):
            return Ticks(*(row[index] for row in self._columns()), signed=self.signed)
        at, bid, ask, last = (int(row[index]) for row in self._columns()[:4])
        return Tick(datetime.fromtimestamp(at, UTC), price_of(bid), price_of(ask), price_of(last))

    def __iter__(self) -> Iterator[Tick]:
        # In pieces: most readers stop early, and a day has few different prices.
        for start in range(0, len(self), _PIECE):
            at, bid, ask, last = (row[start : start + _PIECE].tolist() for row in self._columns()[:4])
            price = {cents: price_of(cents) for cents in {*bid, *ask, *last}}
            for second, b, a, x in zip(at, bid, ask, last, strict=True):
                yield Tick(datetime.fromtimestamp(second, UTC), price[b], price[a], price[x])

    def where(self, mask: NDArray[np.bool_]) -> Ticks:
        """Those whose flag is set."""
        return Ticks(*(row[mask] for row in self._columns()), signed=self.signed)

    def _columns(self) -> tuple[Ints, ...]:
        return self.seconds, self.bid_cents, self.ask_cents, self.last_cents, self.bid_size, self.ask_size

    def first_bid_at_least(self, price: Decimal, start: int = 0) -> int | None:
        """Index of the first tick from `start` on whose bid is at or above a price."""
        return _first(self.has_bid[start:] & (self.bid_cents[start:] >= _cents_up(price)), start)

    def first_ask_at_most(self, price: Decimal, start: int = 0) -> int | None:
        """Index of the first tick from `start` on with an ask at or below a price."""
        return _first(self.has_ask[start:] & (self.ask_cents[start:] <= _cents_down(price)), start)

    def first_last_at_least(self, price: Decimal, start: int = 0) -> int | None:
        return _first(self.last_cents[start:] >= _cents_up(price), start)

    def first_last_at_most(self, price: Decimal, start: int = 0) -> int | None:
        lasts = self.last_cents[start:]
        return _first((lasts > 0) & (lasts <= _cents_down(price)), start)

    @classmethod
    def joined(cls, parts: Sequence[Ticks]) -> Ticks:
        columns = zip(*(part._columns() for part in parts), strict=True)
        return cls(*map(np.concatenate, columns)) if parts else cls(*[np.empty(0, dtype=np.int64)] * 6)


def _first(found: NDArray[np.bool_], start: int) -> int | None:
    return start + int(np.argmax(found)) if found.any() else None


def _cents_up(price: Decimal) -> int:
    return int((price * 100).to_integral_value(rounding=ROUND_CEILING))


def _cents_down(price: Decimal) -> int:
    return int((price * 100).to_integral_value(rounding=ROUND_FLOOR))
