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

from ibkit.model import Increments, OrderTicket, OrderType, Rounding, Side, TimeInForce, Trail, TrailKind, round_price

__all__ = [
    "ExitPlan",
    "ExitPrices",
    "OnMissing",
    "exit_prices",
    "exit_tickets",
    "profit_price",
    "stop_price",
    "stop_ticket",
]


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


def stop_price(entry: Decimal, multiple: Decimal, increments: Increments) -> Decimal:
    """Average fill x multiple, upwards to the grid: a stop to buy must not be nearer than asked.

    >>> grid = Increments(((Decimal(0), Decimal("0.05")),))
    >>> stop_price(Decimal("0.62"), Decimal(5), grid)
    Decimal('3.10')
    """
    return round_price(entry * multiple, increments, Rounding.UP)


@dataclass(frozen=True, slots=True, kw_only=True)
class ExitPrices:
    """What a plan comes to for one average entry price, on the grid.

    stop:   where it buys back at a loss; of a trail where it begins.
    profit: where it buys back with gain; None where the plan has none, or the entry leaves no room for one.
    """

    stop: Decimal
    trail: Trail | None = None
    profit: Decimal | None = None


def exit_prices(
    plan: ExitPlan, entry: Decimal, increments: Increments, *, most: Decimal | None = None
) -> ExitPrices | None:
    """The prices of `plan` after an entry at `entry` on average; None for a plan without a stop, or where none follows.

    A sale that brought nothing, or cost something (a spread that slipped), has no multiple: a stop at or below the
    entry would buy back at once, at whatever price.

    most: what the thing can cost at most (the width of a vertical). A stop there could never trigger, so it is set one
          step below, where that is still above the entry.
    """
    trail = plan.trail
    if entry <= 0:
        return None
    if plan.stop_multiple is not None:
        stop = stop_price(entry, plan.stop_multiple, increments)
    elif trail is not None and trail.kind is TrailKind.PERCENT:
        stop = round_price(entry * (100 + trail.amount) / 100, increments, Rounding.UP)
    elif trail is not None:
        # Assumed: the amount must be a step of the grid, as prices must (docs/facts/orders.md §1.3 does not say).
        trail = Trail(round_price(trail.amount, increments, Rounding.UP))
        stop = round_price(entry + trail.amount, increments, Rounding.UP)
    else:
        return None
    if most is not None and stop >= most:
        below = round_price(most - increments.at(most), increments, Rounding.DOWN)
        stop = max(below, round_price(entry + increments.at(entry), increments, Rounding.UP))
    profit = None if plan.take_profit is None else profit_price(entry, plan.take_profit, increments)
    return ExitPrices(stop=stop, trail=trail, profit=profit if profit is not None and profit < entry else None)


def stop_ticket(entry: OrderTicket, *, quantity: Decimal, prices: ExitPrices) -> OrderTicket:
    """The protective order of what `entry` sold: BUY STP or TRAIL, good till cancelled, so that it outlives the day.

    Of a combination the stop is on the same combination: its net price is what a stop compares (assumed: one client
    attaches such a stop, docs/facts/orders.md §1.6; a paper account would tell whether IBKR elects it).
    """
    return OrderTicket(
        account_id=entry.account_id,
        contract=entry.contract,
        side=Side.BUY,
        order_type=OrderType.STOP if prices.trail is None else OrderType.TRAIL,
        quantity=quantity,
        stop_price=prices.stop,
        trail=prices.trail,
        tif=TimeInForce.GTC,
    )


def exit_tickets(
    entry: OrderTicket, *, quantity: Decimal, prices: ExitPrices
) -> tuple[OrderTicket, OrderTicket | None]:
    """The stop and, where the plan takes profits, the limit order beside it, each for the whole quantity."""
    stop = stop_ticket(entry, quantity=quantity, prices=prices)
    if prices.profit is None:
        return stop, None
    profit = OrderTicket(
        account_id=entry.account_id,
        contract=entry.contract,
        side=Side.BUY,
        order_type=OrderType.LIMIT,
        quantity=quantity,
        limit_price=prices.profit,
        tif=TimeInForce.GTC,
    )
    return stop, profit
