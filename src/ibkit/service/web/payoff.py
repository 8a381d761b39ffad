"""What options come to at their expiry, for every price of the underlying. Straight lines between the strikes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from itertools import pairwise

__all__ = ["Drawing", "PayoffLeg", "draw", "payoff"]

_WIDTH, _HEIGHT, _EDGE = 640, 220, 28
_AROUND = Decimal("0.04")


@dataclass(frozen=True, slots=True)
class PayoffLeg:
    """quantity: signed, of contracts. price: what one unit was sold or bought for. right: P, C, or empty of a stock."""

    right: str
    strike: Decimal
    quantity: Decimal
    price: Decimal
    multiplier: Decimal = Decimal(100)

    def at(self, underlying: Decimal) -> Decimal:
        """The result in the contract's currency."""
        if self.right == "C":
            worth = max(underlying - self.strike, Decimal(0))
        elif self.right == "P":
            worth = max(self.strike - underlying, Decimal(0))
        else:
            worth = underlying
        return (worth - self.price) * self.quantity * self.multiplier


def payoff(legs: Sequence[PayoffLeg], around: Decimal | None = None) -> list[tuple[Decimal, Decimal]]:
    """(price, result) at the corners, from some percent below the lowest strike to as much above the highest."""
    strikes = sorted({leg.strike for leg in legs if leg.right} | ({around} if around is not None else set()))
    if not strikes:
        return []
    low, high = strikes[0] * (1 - _AROUND), strikes[-1] * (1 + _AROUND)
    prices = [low, *[each for each in strikes if low < each < high], high]
    return [(price, sum((leg.at(price) for leg in legs), Decimal(0))) for price in prices]


@dataclass(frozen=True, slots=True)
class Drawing:
    """line: SVG points. zero: the height of no result. marks: (x, price) of the corners. now: x of today's price."""

    width: int
    height: int
    line: str
    zero: float
    marks: tuple[tuple[float, Decimal], ...]
    now: float | None
    most: Decimal
    least: Decimal
    break_even: tuple[Decimal, ...]


def draw(points: Sequence[tuple[Decimal, Decimal]], now: Decimal | None = None) -> Drawing | None:
    """None where there is nothing to draw."""
    if len(points) < 2:
        return None
    prices, results = [x for x, _ in points], [y for _, y in points]
    low, high = min(*results, Decimal(0)), max(*results, Decimal(0))
    wide, tall = prices[-1] - prices[0] or Decimal(1), high - low or Decimal(1)

    def x(price: Decimal) -> float:
        return round(float((price - prices[0]) / wide) * (_WIDTH - 2 * _EDGE) + _EDGE, 1)

    def y(result: Decimal) -> float:
        return round(float((high - result) / tall) * (_HEIGHT - 2 * _EDGE) + _EDGE, 1)

    return Drawing(
        width=_WIDTH,
        height=_HEIGHT,
        line=" ".join(f"{x(price)},{y(result)}" for price, result in points),
        zero=y(Decimal(0)),
        marks=tuple((x(price), price) for price in prices[1:-1]),
        now=x(now) if now is not None and prices[0] <= now <= prices[-1] else None,
        most=high,
        least=low,
        break_even=tuple(_crossings(points)),
    )


def _crossings(points: Sequence[tuple[Decimal, Decimal]]) -> list[Decimal]:
    found: list[Decimal] = []
    for (x1, y1), (x2, y2) in pairwise(points):
        if (y1 < 0 < y2) or (y2 < 0 < y1):
            found.append(x1 + (x2 - x1) * (-y1) / (y2 - y1))
    return found
