"""Returns of a series of days: time- and money-weighted, drawdown, volatility, beside a benchmark. Floats.

A flow counts at the end of its day: what came in that day earned nothing yet.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from itertools import pairwise
from typing import Final

__all__ = [
    "DAYS_OF_YEAR",
    "TRADING_DAYS",
    "Comparison",
    "DayReturn",
    "Drawdown",
    "Irr",
    "Point",
    "compared",
    "day_returns",
    "drawdown",
    "linked",
    "volatility",
    "xirr",
    "yearly",
]

DAYS_OF_YEAR: Final = 365.0
TRADING_DAYS: Final = 252
LONGEST_STEP: Final = 5
"""Days between two points that still count as one trading day: a long weekend."""
FEWEST_RETURNS: Final = 20
"""Of which a deviation is told."""
_REACH: Final = 14.0
"""Logarithm of what one unit becomes at the most, in a year or in the whole time, if shorter: about a million."""
_GRID: Final = 560
_CLOSE: Final = 1e-13


@dataclass(frozen=True, slots=True, kw_only=True)
class Point:
    """value: at the end of `day`. flow: what came in since the point before (it is in `value`); None: not known."""

    day: date
    value: float
    flow: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class DayReturn:
    """From `since` to `day`, as a fraction: 0.01 is one percent."""

    since: date
    day: date
    rate: float

    @property
    def is_daily(self) -> bool:
        return (self.day - self.since).days <= LONGEST_STEP


@dataclass(frozen=True, slots=True, kw_only=True)
class Irr:
    """rate: for a year. period: for the whole time. None where there is none; then `reason` says why.

    several: other rates solve it as well.
    """

    rate: float | None
    reason: str = ""
    period: float | None = None
    several: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Drawdown:
    """depth: the largest loss from a height, a fraction, 0 for none. recovered: None while it is not made good."""

    depth: float
    peak: date
    trough: date
    recovered: date | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """Over the days that both have. excess: own return less the benchmark's. tracking_error: for a year.

    beta, correlation, tracking_error: None below twenty common daily returns, or where the benchmark did not move.
    """

    since: date
    until: date
    own: float
    benchmark: float
    excess: float
    tracking_error: float | None
    beta: float | None
    correlation: float | None


def day_returns(points: Sequence[Point]) -> tuple[tuple[DayReturn, ...], str]:
    """From each point to the next, and "" or why there are none: an unknown flow, or a worth of nothing before one."""
    found = []
    for before, after in pairwise(points):
        if after.flow is None:
            return (), f"what came in and went out from {before.day} to {after.day} is not known"
        if before.value <= 0:
            return (), f"on {before.day} it was worth nothing or less"
        rate = (after.value - after.flow) / before.value - 1
        found.append(DayReturn(since=before.day, day=after.day, rate=rate))
    return tuple(found), "" if found else "there are fewer than two days"


def linked(returns: Sequence[DayReturn]) -> float:
    """The time-weighted return of all of them."""
    return math.prod(1 + each.rate for each in returns) - 1


def yearly(total: float, days: int) -> float | None:
    """What a return of so many days is for a year; None below a year, of which a year's says nothing, or after ruin."""
    if days < DAYS_OF_YEAR or total <= -1:
        return None
    return float((1 + total) ** (DAYS_OF_YEAR / days)) - 1


def drawdown(returns: Sequence[DayReturn]) -> Drawdown | None:
    """Of the time-weighted index, so that money that is taken out is no loss. None without returns."""
    if not returns:
        return None
    index = height = 1.0
    peak = returns[0].since
    worst = Drawdown(depth=0.0, peak=peak, trough=peak, recovered=peak)
    to_beat = height
    for each in returns:
        index *= 1 + each.rate
        if worst.recovered is None and index >= to_beat:
            worst = Drawdown(depth=worst.depth, peak=worst.peak, trough=worst.trough, recovered=each.day)
        if index >= height:
            height, peak = index, each.day
        elif 1 - index / height > worst.depth:
            worst = Drawdown(depth=1 - index / height, peak=peak, trough=each.day, recovered=None)
            to_beat = height
    return worst


def volatility(returns: Sequence[DayReturn]) -> float | None:
    """Deviation of the daily returns (of a sample), times the root of 252; None below twenty of them.

    A return over more days than a long weekend is none of a day, and is left out.
    """
    daily = [each.rate for each in returns if each.is_daily]
    return statistics.stdev(daily) * math.sqrt(TRADING_DAYS) if len(daily) >= FEWEST_RETURNS else None


def xirr(flows: Sequence[tuple[date, float]]) -> Irr:
    """The money-weighted rate for a year: at it, all that was paid in (negative) and out is worth nothing today.

    Bisection between two rates of opposite sign, so it ends and never runs off. Where signs change once there is one
    rate at most; where they change more often the one next to zero is told, and that there are several.
    """
    given = [(day, amount) for day, amount in sorted(flows) if amount]
    signs = [amount > 0 for _, amount in given]
    if len(set(signs)) < 2:
        return Irr(rate=None, reason="money went one way only")
    if given[0][0] == given[-1][0]:
        return Irr(rate=None, reason="it all happened on one day")
    times = [(day - given[0][0]).days / DAYS_OF_YEAR for day, _ in given]
    amounts = [amount for _, amount in given]
    changes = sum(one != two for one, two in pairwise(signs))
    steps = 1 if changes == 1 else _GRID
    reach = _REACH * max(1.0, 1 / times[-1])
    grid = [reach * (2 * step / steps - 1) for step in range(steps + 1)]
    values = [_present(times, amounts, each) for each in grid]
    roots = [
        _bisected(times, amounts, low, high)
        for low, high, at_low, at_high in zip(grid, grid[1:], values, values[1:], strict=False)
        if (at_low < 0) != (at_high < 0)
    ]
    if not roots:
        return Irr(rate=None, reason="no rate between a loss of nearly all and a gain of a million times solves it")
    best, several = min(roots, key=abs), len(roots) > 1
    period = math.expm1(best * times[-1])
    if abs(best) > _REACH:
        return Irr(rate=None, reason="over so short a time no rate for a year tells it", period=period, several=several)
    return Irr(rate=math.expm1(best), period=period, several=several)


def _present(times: Sequence[float], amounts: Sequence[float], log_rate: float) -> float:
    """Of the sign of the present value: scaled, so that nothing overflows."""
    powers = [-log_rate * at for at in times]
    largest = max(powers)
    return math.fsum(amount * math.exp(power - largest) for amount, power in zip(amounts, powers, strict=True))


def _bisected(times: Sequence[float], amounts: Sequence[float], low: float, high: float) -> float:
    below = _present(times, amounts, low) < 0
    while high - low > _CLOSE:
        middle = (low + high) / 2
        if middle in (low, high):
            break
        if (_present(times, amounts, middle) < 0) == below:
            low = middle
        else:
            high = middle
    return (low + high) / 2


def compared(returns: Sequence[DayReturn], benchmark: Mapping[date, float]) -> Comparison | None:
    """benchmark: its level by day, positive. None where fewer than two days are common."""
    if not returns:
        return None
    index, levels = 1.0, {returns[0].since: 1.0}
    for each in returns:
        index *= 1 + each.rate
        levels[each.day] = index
    common = [day for day in sorted(levels) if benchmark.get(day, 0) > 0 and levels[day] > 0]
    if len(common) < 2:
        return None
    pairs = [
        (levels[day] / levels[before] - 1, benchmark[day] / benchmark[before] - 1)
        for before, day in pairwise(common)
        if (day - before).days <= LONGEST_STEP
    ]
    own = levels[common[-1]] / levels[common[0]] - 1
    other = benchmark[common[-1]] / benchmark[common[0]] - 1
    error = beta = correlation = None
    if len(pairs) >= FEWEST_RETURNS:
        mine, theirs = [one for one, _ in pairs], [two for _, two in pairs]
        error = statistics.stdev(one - two for one, two in pairs) * math.sqrt(TRADING_DAYS)
        spread = statistics.variance(theirs)
        if spread > 0:
            beta = statistics.covariance(mine, theirs) / spread
            if statistics.variance(mine) > 0:
                correlation = statistics.correlation(mine, theirs)
    return Comparison(
        since=common[0],
        until=common[-1],
        own=own,
        benchmark=other,
        excess=own - other,
        tracking_error=error,
        beta=beta,
        correlation=correlation,
    )
