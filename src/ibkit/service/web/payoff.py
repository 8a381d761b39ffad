"""What options come to at their expiry, for every price of the underlying. Straight lines between the strikes.

What is told (most, least, break even) is of every price from zero up, without end; what is drawn is the part around the
strikes and the break-evens, for a line to zero would show nothing of them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from itertools import pairwise
from typing import Any

__all__ = ["Drawing", "PayoffLeg", "draw"]

_WIDTH, _HEIGHT, _EDGE = 640, 220, 28
_AROUND = Decimal("0.04")


@dataclass(frozen=True, slots=True, kw_only=True)
class PayoffLeg:
    """quantity: signed, of contracts. price: what one unit was sold or bought for. right: P or C.

    multiplier: units in one contract.
    """

    right: str
    strike: Decimal
    quantity: Decimal
    price: Decimal
    multiplier: Decimal

    def at(self, underlying: Decimal) -> Decimal:
        """The result in the contract's currency."""
        above = underlying - self.strike
        worth = max(above if self.right == "C" else -above, Decimal(0))
        return (worth - self.price) * self.quantity * self.multiplier

    @property
    def slope(self) -> Decimal:
        """What a unit more of the underlying changes, far above the strike."""
        return self.quantity * self.multiplier if self.right == "C" else Decimal(0)


@dataclass(frozen=True, slots=True)
class Drawing:
    """line: SVG points. zero: the height of no result. marks: (x, price) of the strikes. top, bottom: of what is drawn.

    most, least: of every price; None: nothing bounds it. break_even: every one, ascending.
    """

    width: int
    height: int
    line: str
    zero: float
    marks: tuple[tuple[float, Decimal], ...]
    top: Decimal
    bottom: Decimal
    most: Decimal | None
    least: Decimal | None
    break_even: tuple[Decimal, ...]


def draw(legs: Sequence[PayoffLeg]) -> Drawing | None:
    """None where there is nothing to draw."""
    strikes = sorted({leg.strike for leg in legs})
    if not strikes:
        return None
    slope = sum((leg.slope for leg in legs), Decimal(0))
    corners = [(price, _at(legs, price)) for price in (Decimal(0), *strikes)]
    break_even = tuple(_crossings(corners, slope))
    shown = sorted({*strikes, *break_even})
    points = [shown[0] * (1 - _AROUND), *strikes, shown[-1] * (1 + _AROUND)]
    results = [result for _, result in corners]
    return Drawing(
        **_lines([(price, _at(legs, price)) for price in points]),
        most=None if slope > 0 else max(results),
        least=None if slope < 0 else min(results),
        break_even=break_even,
    )


def _at(legs: Sequence[PayoffLeg], price: Decimal) -> Decimal:
    return sum((leg.at(price) for leg in legs), Decimal(0))


def _lines(points: Sequence[tuple[Decimal, Decimal]]) -> dict[str, Any]:
    """What of a drawing is where."""
    prices, results = [x for x, _ in points], [y for _, y in points]
    low, high = min(*results, Decimal(0)), max(*results, Decimal(0))
    wide, tall = prices[-1] - prices[0] or Decimal(1), high - low or Decimal(1)

    def x(price: Decimal) -> float:
        return round(float((price - prices[0]) / wide) * (_WIDTH - 2 * _EDGE) + _EDGE, 1)

    def y(result: Decimal) -> float:
        return round(float((high - result) / tall) * (_HEIGHT - 2 * _EDGE) + _EDGE, 1)

    return {
        "width": _WIDTH,
        "height": _HEIGHT,
        "line": " ".join(f"{x(price)},{y(result)}" for price, result in points),
        "zero": y(Decimal(0)),
        "marks": tuple((x(price), price) for price in prices[1:-1]),
        "top": high,
        "bottom": low,
    }


def _crossings(corners: Sequence[tuple[Decimal, Decimal]], slope: Decimal) -> list[Decimal]:
    """Where the line meets zero; beyond the last corner it goes on by `slope`."""
    found: list[Decimal] = []
    for (x1, y1), (x2, y2) in pairwise(corners):
        if (y1 < 0 < y2) or (y2 < 0 < y1):
            found.append(x1 + (x2 - x1) * (-y1) / (y2 - y1))
    last, result = corners[-1]
    if slope and result and (result > 0) is (slope < 0):
        found.append(last - result / slope)
    return found
