"""How the stop of a trailing order follows the market. Pure: at one quote, or over a run of ticks.

A sell's stop stays `trail` below the best price seen, a buy's above the lowest; it never moves against the order. It is
kept in whole cents, rounded away from the market. [sim]

Source: docs/facts/orders.md §1.2, §1.3 (fields); which price it follows is the quirk `trail_follows`.
"""

from __future__ import annotations

from decimal import Decimal
from typing import TYPE_CHECKING

import numpy as np

from ibkit.sim.exchange.tickets import Trail
from ibkit.sim.market.quotes import NOBODY

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Ints = NDArray[np.int64]
    Flags = NDArray[np.bool_]

__all__ = ["follow", "stops_over"]

_PER_CENT_UNITS = 1_000_000
"""One hundred per cent in ten-thousandths of a per cent, so that no binary fraction decides on a cent."""


def follow(stop: Decimal | None, trail: Trail, price: Decimal, *, buys: bool) -> Decimal:
    """Where a stop stands after the market has been at `price`."""
    cents = np.array([int(price * 100)])
    over = stops_over(stop, trail, cents, np.array([True]), buys=buys)
    return Decimal(int(over[0])).scaleb(-2)


def stops_over(stop: Decimal | None, trail: Trail, cents: Ints, there: Flags, *, buys: bool) -> Ints:
    """Where it stands at each of a run of prices (cents), these included; `there` is False where there is no price.

    Before the first price a stop that has not been set stands out of reach, at `NOBODY`.
    """
    if trail.per_cent:
        share = int(trail.amount * 10_000)
        size = np.abs(cents)
        distance = -((-size * share) // _PER_CENT_UNITS)
    else:
        distance = np.full_like(cents, int(trail.amount * 100))
    reach = NOBODY if buys else -NOBODY
    aims = np.where(there, cents + distance if buys else cents - distance, reach)
    first = reach if stop is None else int(stop * 100)
    if buys:
        return np.minimum(np.minimum.accumulate(aims), first)
    return np.maximum(np.maximum.accumulate(aims), first)
