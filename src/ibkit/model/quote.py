"""A look at the market."""

from __future__ import annotations

import enum
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal

from ibkit.model.identity import Conid

__all__ = ["Availability", "Greeks", "Quote"]


class Availability(enum.Enum):
    """First character of IBKR's field 6509. Source: docs/facts/contracts-and-market-data.md §2.3."""

    REAL_TIME = "R"
    DELAYED = "D"
    FROZEN = "Z"
    FROZEN_DELAYED = "Y"
    NOT_SUBSCRIBED = "N"
    NO_ACKNOWLEDGEMENT = "O"
    INCOMPLETE = "i"
    EXEMPT = "v"
    UNKNOWN = "?"


@dataclass(frozen=True, slots=True, kw_only=True)
class Quote:
    """Prices per unit. None means no value was sent; zero and crossed quotes are kept as they came.

    last_is_close, halted: the last price carried the prefix C (yesterday's close) or H (halted).
    delta: an estimate, a float on purpose.
    """

    conid: Conid
    bid: Decimal | None = None
    ask: Decimal | None = None
    last: Decimal | None = None
    bid_size: Decimal | None = None
    ask_size: Decimal | None = None
    mark: Decimal | None = None
    availability: Availability = Availability.UNKNOWN
    last_is_close: bool = False
    halted: bool = False
    at: datetime | None = None
    delta: float | None = None
    implied_volatility: float | None = None

    @property
    def usable(self) -> bool:
        """Both sides there, positive and not crossed."""
        return self.bid is not None and self.ask is not None and 0 < self.bid <= self.ask

    @property
    def mid(self) -> Decimal | None:
        if self.bid is None or self.ask is None:
            return None
        return (self.bid + self.ask) / 2

    @property
    def best(self) -> Decimal | None:
        """Last, else mark, else mid: the price of things that have no bid and ask (a cash index)."""
        return next((p for p in (self.last, self.mark, self.mid) if p is not None), None)


@dataclass(frozen=True, slots=True, kw_only=True)
class Greeks:
    """What is computed of an option: estimates, floats on purpose. theta: for a day; vega: for a point of volatility.

    delta and implied volatility stand in the `Quote`. open_interest: contracts, which IBKR may round to thousands.
    """

    gamma: float | None = None
    theta: float | None = None
    vega: float | None = None
    open_interest: Decimal | None = None
