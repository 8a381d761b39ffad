"""Rounding to what an exchange accepts. Rounding and division of money happen in this module alone."""

from __future__ import annotations

import enum
from dataclasses import dataclass
from decimal import ROUND_CEILING, ROUND_FLOOR, ROUND_HALF_EVEN, Decimal

__all__ = ["CENT", "Increments", "Rounding", "average_price", "portion", "round_price", "to_cents"]

CENT = Decimal("0.01")


class Rounding(enum.Enum):
    """Which way an off-grid price goes: stops to buy UP, sell limits and sell stops DOWN."""

    UP = "up"
    DOWN = "down"


@dataclass(frozen=True, slots=True)
class Increments:
    """A contract's price grid: `steps` are (lower edge, increment), ascending by edge; the first edge is 0.

    Source: docs/facts/orders.md §12.1 (`incrementRules`: for prices >= lowerEdge use increment).
    """

    steps: tuple[tuple[Decimal, Decimal], ...]

    def __post_init__(self) -> None:
        if not self.steps or any(increment <= 0 for _, increment in self.steps):
            raise ValueError(f"increments must be positive and not empty: {self.steps}")
        if list(self.steps) != sorted(self.steps):
            raise ValueError(f"increments must ascend by lower edge: {self.steps}")

    def at(self, price: Decimal) -> Decimal:
        """The increment that holds at `price`; its sign does not matter."""
        size = abs(price)
        found = self.steps[0][1]
        for edge, increment in self.steps:
            if size >= edge:
                found = increment
        return found

    def fits(self, price: Decimal) -> bool:
        return price % self.at(price) == 0


def round_price(price: Decimal, increments: Increments, rounding: Rounding) -> Decimal:
    """`price` moved to the grid in the named direction; a price on the grid stays.

    >>> grid = Increments(((Decimal(0), Decimal("0.01")), (Decimal(3), Decimal("0.05"))))
    >>> round_price(Decimal("2.987"), grid, Rounding.UP), round_price(Decimal("3.02"), grid, Rounding.UP)
    (Decimal('2.99'), Decimal('3.05'))
    """
    increment = increments.at(price)
    mode = ROUND_CEILING if rounding is Rounding.UP else ROUND_FLOOR
    rounded = (price / increment).to_integral_value(rounding=mode) * increment
    # Crossing an edge can land on a coarser grid (2.999 -> 3.00 fits; 2.98 on a 0.07 grid might not): settle there.
    if not increments.fits(rounded):
        increment = increments.at(rounded)
        rounded = (rounded / increment).to_integral_value(rounding=mode) * increment
    return rounded.quantize(increment)


def to_cents(amount: Decimal) -> Decimal:
    """Half-even to the cent, for amounts of money."""
    return amount.quantize(CENT, rounding=ROUND_HALF_EVEN)


def average_price(fills: tuple[tuple[Decimal, Decimal], ...]) -> Decimal | None:
    """The quantity-weighted mean of (price, quantity) pairs, None where nothing was filled."""
    quantity = sum((q for _, q in fills), Decimal(0))
    if quantity == 0:
        return None
    return sum((p * q for p, q in fills), Decimal(0)) / quantity


def portion(amount: Decimal, part: Decimal, whole: Decimal) -> Decimal:
    """`amount` x `part` / `whole`, to eight digits: what of a cost belongs to a part of a position."""
    if part == whole:
        return amount
    return (amount * part / whole).quantize(Decimal("0.00000001"), rounding=ROUND_HALF_EVEN)
