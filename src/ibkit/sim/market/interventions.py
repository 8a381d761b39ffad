"""What was done to the market by hand, and from when on: prices moved, quotes held, stocks halted.

Each is a list of (moment, what holds from then on); a later entry at the same or an earlier moment replaces what
follows it.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, TypeVar

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Ints = NDArray[np.int64]
    Floats = NDArray[np.float64]

__all__ = ["Interventions", "Pin", "Sides"]

_T = TypeVar("_T")
_ALWAYS = -(2**62)


@dataclass(frozen=True, slots=True)
class Pin:
    """A quote that is held: cents, 0 where nobody bids or offers."""

    bid: int
    ask: int
    bid_size: int
    ask_size: int


@dataclass(frozen=True, slots=True)
class Sides:
    """Bid, ask (cents, 0 for none) and sizes at a number of seconds."""

    bid: Ints
    ask: Ints
    bid_size: Ints
    ask_size: Ints


class Interventions:
    """`at` is in whole seconds; moments are epoch seconds."""

    def __init__(self) -> None:
        self._shifts: dict[str, list[tuple[int, float]]] = {}
        self._pins: dict[int, list[tuple[int, Pin | None]]] = {}
        self._halts: dict[str, list[tuple[int, bool]]] = {}

    def shift(self, symbol: str, at: datetime, factor: float) -> None:
        """From `at` on the symbol's natural price is multiplied by `factor`, in place of any earlier one."""
        self._shifts[symbol] = _with(self._shifts.get(symbol, []), at, factor)

    def pin(self, conid: int, at: datetime, pin: Pin | None) -> None:
        self._pins[conid] = _with(self._pins.get(conid, []), at, pin)

    def halt(self, symbol: str, at: datetime, halted: bool) -> None:
        self._halts[symbol] = _with(self._halts.get(symbol, []), at, halted)

    def has_shifts(self, symbol: str) -> bool:
        return symbol in self._shifts

    def has_pins(self, conid: int) -> bool:
        return conid in self._pins

    def factors(self, symbol: str, moments: Ints) -> Floats | float:
        rows = self._shifts.get(symbol)
        if rows is None:
            return 1.0
        return np.array([1.0, *(factor for _, factor in rows)])[_which(rows, moments)]

    def pinned(self, conid: int, sides: Sides, moments: Ints) -> Sides:
        """`sides` with what is held in its place; the same object where nothing ever was."""
        rows = self._pins.get(conid)
        if rows is None:
            return sides
        at = _which(rows, moments)
        columns = [sides.bid, sides.ask, sides.bid_size, sides.ask_size]
        for index, (_, pin) in enumerate(rows, start=1):
            if pin is not None:
                values = (pin.bid, pin.ask, pin.bid_size, pin.ask_size)
                columns = [np.where(at == index, value, old) for value, old in zip(values, columns, strict=True)]
        return Sides(*columns)

    def halted(self, symbol: str, moments: Ints) -> NDArray[np.bool_]:
        rows = self._halts.get(symbol, [])
        return np.array([False, *(halted for _, halted in rows)])[_which(rows, moments)]

    def halted_since(self, symbol: str, at: datetime) -> datetime | None:
        """When the halt began that lasts at `at`."""
        rows = [row for row in self._halts.get(symbol, []) if row[0] <= at.timestamp()]
        return datetime.fromtimestamp(rows[-1][0], UTC) if rows and rows[-1][1] else None


def _with(rows: list[tuple[int, _T]], at: datetime, what: _T) -> list[tuple[int, _T]]:
    moment = int(at.timestamp())
    return [*(row for row in rows if row[0] < moment), (moment, what)]


def _which(rows: list[tuple[int, _T]], moments: Ints) -> NDArray[np.intp]:
    """For each moment how many entries have begun: 0 is the state before the first."""
    starts = np.array([_ALWAYS, *(moment for moment, _ in rows)])
    return np.searchsorted(starts, moments, side="right") - 1
