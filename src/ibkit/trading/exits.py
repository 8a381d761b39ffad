"""How a sold option, or spread, is to end: the plan that a sale makes and the watchdog keeps.

    stop          BUY STP at average entry x multiple                   at the broker
    trail         BUY TRAIL instead: it follows the price down          at the broker
    take profit   BUY LMT at a part of the entry, OCA with the stop     at the broker
    exit at       bought back at market at that moment                  by whoever watches (`ibkit worker`)
    on missing    what to do when a demanded stop is not there          by whoever watches

Source: requirements TRD-13 to TRD-15, TRD-19; docs/facts/orders.md §1.3, §1.7, §1.8.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal

from ibkit.model import Increments, Rounding, Trail, round_price

__all__ = ["ExitPlan", "OnMissing", "profit_price"]


class OnMissing(enum.Enum):
    """place: place the stop again, from the plan. close: buy the position back. alert: tell a person."""

    PLACE = "place"
    CLOSE = "close"
    ALERT = "alert"


@dataclass(frozen=True, slots=True, kw_only=True)
class ExitPlan:
    """stop_multiple: of the average entry price, above 1; None: no fixed stop (then trail is set, or nothing protects).

    take_profit: the part of the entry price at which it is bought back with gain, between 0 and 1.
    exit_at:     an instant, aware.
    """

    stop_multiple: Decimal | None = None
    trail: Trail | None = None
    take_profit: Decimal | None = None
    exit_at: datetime | None = None
    on_missing: OnMissing = OnMissing.PLACE

    def __post_init__(self) -> None:
        if self.stop_multiple is not None and self.stop_multiple <= 1:
            raise ValueError(f"stop_multiple must be above 1: {self.stop_multiple}")
        if self.stop_multiple is not None and self.trail is not None:
            raise ValueError("a stop either stands or trails")
        if self.take_profit is not None and not 0 < self.take_profit < 1:
            raise ValueError(f"take_profit must lie between 0 and 1: {self.take_profit}")
        if self.exit_at is not None and self.exit_at.tzinfo is None:
            raise ValueError("exit_at needs a time zone")

    @property
    def protects(self) -> bool:
        """It demands a stop of some kind at the broker."""
        return self.stop_multiple is not None or self.trail is not None


def profit_price(entry: Decimal, part: Decimal, increments: Increments) -> Decimal:
    """Where a sold option is bought back with gain: `part` of the entry, down to the grid, one step at least.

    >>> grid = Increments(((Decimal(0), Decimal("0.05")),))
    >>> profit_price(Decimal("0.62"), Decimal("0.5"), grid)
    Decimal('0.30')
    """
    return max(round_price(entry * part, increments, Rounding.DOWN), increments.at(Decimal(0)))
