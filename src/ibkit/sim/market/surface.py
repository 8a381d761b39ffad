"""What options are worth: Black-Scholes-Merton on arrays, and one surface of implied volatilities.

Time is counted in trading years: 252 sessions, of whose variance a quarter falls between close and open. So an option
that expires today still has most of a day's worth in the morning, and none at the close.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from scipy.special import ndtr

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

    Floats = NDArray[np.float64]

__all__ = ["OVERNIGHT", "RATE", "SESSIONS_PER_YEAR", "Valuation", "black_scholes", "implied_volatility"]

RATE = 0.04
"""The interest rate of the simulated world, continuous and constant."""
SESSIONS_PER_YEAR = 252.0
OVERNIGHT = 0.25
"""Share of a day's variance that falls between a close and the next opening."""
_SKEW, _SMILE, _WINGS = -0.075, 0.018, 4.0


@dataclass(frozen=True, slots=True)
class Valuation:
    """Per unit. theta: per year; vega: per 1.00 of volatility; gamma: per 1 of the underlying."""

    price: Floats
    delta: Floats
    gamma: Floats
    theta: Floats
    vega: Floats


def black_scholes(
    spot: ArrayLike,
    strike: float,
    years: ArrayLike,
    volatility: ArrayLike,
    *,
    call: bool,
    rate: float = RATE,
    dividend: float = 0.0,
) -> Valuation:
    """European value and greeks; all arguments broadcast. At zero time it is the intrinsic value.

    Source: Black and Scholes (1973), Merton (1973); Hull, Options, Futures and Other Derivatives, ch. 17 and 19.
    """
    s, t, v = (np.asarray(value, dtype=np.float64) for value in (spot, years, volatility))
    sign = 1.0 if call else -1.0
    alive = t > 0
    t = np.where(alive, t, 1e-12)
    root = np.sqrt(t)
    d1 = (np.log(s / strike) + (rate - dividend + 0.5 * v * v) * t) / (v * root)
    d2 = d1 - v * root
    carry, discount = np.exp(-dividend * t), np.exp(-rate * t)
    density = np.exp(-0.5 * d1 * d1) / np.sqrt(2 * np.pi)
    in_1, in_2 = ndtr(sign * d1), ndtr(sign * d2)
    price = sign * (s * carry * in_1 - strike * discount * in_2)
    theta = -s * carry * density * v / (2 * root) - sign * (
        rate * strike * discount * in_2 - dividend * s * carry * in_1
    )
    return Valuation(
        price=np.where(alive, np.maximum(price, 0.0), np.maximum(sign * (s - strike), 0.0)),
        delta=np.where(alive, sign * carry * in_1, sign * (sign * (s - strike) > 0)),
        gamma=np.where(alive, carry * density / (s * v * root), 0.0),
        theta=np.where(alive, theta, 0.0),
        vega=np.where(alive, s * carry * density * root, 0.0),
    )


def implied_volatility(forward: ArrayLike, strike: float, years: ArrayLike, at_the_money: float) -> Floats:
    """The surface: a smile in standard deviations from the forward, puts dearer than calls.

    The same for the call and the put of a strike, so that put-call parity holds.
    """
    f, t = np.asarray(forward, dtype=np.float64), np.asarray(years, dtype=np.float64)
    width = at_the_money * np.sqrt(np.maximum(t, OVERNIGHT / SESSIONS_PER_YEAR))
    z = np.clip(np.log(strike / f) / width, -_WINGS, _WINGS)
    # A little dearer in the near term than in the far one.
    level = at_the_money * (1.0 + 0.10 * np.exp(-t * 12.0))
    return np.asarray(level * (1.0 + _SKEW * z + _SMILE * z * z))
