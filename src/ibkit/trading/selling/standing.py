"""How a sold position stands after its exits: a stop, alone or in one group with a limit order that takes profits.

Of a group the broker cancels the other when one fills (docs/facts/orders.md §1.7 items 8 and 9); what it did is read,
never assumed, and as long as both could fill nothing else is sent.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass
from decimal import Decimal

from ibkit.model import average_price
from ibkit.trading.intent import Intent, IntentState
from ibkit.trading.selling.trade import ExitReason, OrderRole
from ibkit.trading.tracking import is_working_or_final

__all__ = ["Exits", "Standing", "exit_reason_of", "role_of", "standing_of", "worst"]


class Standing(enum.Enum):
    """How the position stands after the attempt to protect it."""

    PROTECTED = "protected"
    STOPPED_OUT = "stopped out"
    PROFIT_TAKEN = "profit taken"
    BOUGHT_BACK = "bought back"
    CLOSED_BY_HAND = "closed by hand"
    UNPROTECTED = "unprotected"
    UNSURE = "unsure"


_BADNESS = tuple(
    Standing[name]
    for name in (
        "PROFIT_TAKEN",
        "STOPPED_OUT",
        "CLOSED_BY_HAND",
        "BOUGHT_BACK",
        "PROTECTED",
        "UNPROTECTED",
        "UNSURE",
    )
)


def worst(*standings: Standing) -> Standing:
    return max(standings, key=_BADNESS.index)


@dataclass(frozen=True, slots=True)
class Exits:
    """What stands for one part of a position: the stop and, where there is one, the order that takes profits."""

    stop: Intent
    profit: Intent | None = None

    @property
    def quantity(self) -> Decimal:
        return self.stop.ticket.quantity

    @property
    def members(self) -> tuple[Intent, ...]:
        return (self.stop,) if self.profit is None else (self.stop, self.profit)

    @property
    def filled(self) -> Decimal:
        return sum((each.filled for each in self.members), Decimal(0))

    @property
    def average(self) -> Decimal | None:
        """What the position was bought back at, over both."""
        return average_price(
            tuple((each.average_price, each.filled) for each in self.members if each.average_price is not None)
        )

    @property
    def group_unseen(self) -> bool:
        """It is a group that was taken, whose other order nobody has found yet."""
        return self.stop.group_open


def standing_of(exits: Exits) -> Standing | None:
    """What the exits say of the position; None where they surely came to nothing and may be tried anew."""
    stop, profit = exits.stop, exits.profit
    alive = [each for each in exits.members if not each.final]
    by_stop = _standing_of_stop(stop)
    if profit is not None and profit.state is IntentState.FILLED:
        return Standing.UNSURE if alive or stop.filled else Standing.PROFIT_TAKEN
    if by_stop is Standing.STOPPED_OUT:
        return Standing.UNSURE if alive else Standing.STOPPED_OUT
    if by_stop is None and (exits.group_unseen or alive or exits.filled):
        return Standing.UNSURE
    return by_stop


def _standing_of_stop(stop: Intent) -> Standing | None:
    match stop.state:
        case IntentState.FILLED:
            return Standing.STOPPED_OUT
        case IntentState.ACKED:
            return Standing.PROTECTED if is_working_or_final(stop) else Standing.UNSURE
        case IntentState.UNKNOWN_NEEDS_HUMAN:
            return Standing.UNSURE
        case IntentState.CANCELLED | IntentState.REJECTED_LATE:
            return Standing.UNSURE if stop.filled else None
        case state if state.may_have_left:
            return Standing.UNSURE
        case _:
            return None


def role_of(intent: Intent) -> OrderRole:
    """What an order does for its trade. The orders of one exit group share their purpose, so their kind tells them."""
    match intent.planned.purpose:
        case "entry":
            return OrderRole.ENTRY
        case "stop" | "take profit":
            return OrderRole.STOP if intent.ticket.order_type.waits else OrderRole.PROFIT
        case _:
            return OrderRole.CLOSE


def exit_reason_of(intent: Intent) -> ExitReason:
    """Why a trade ended with the fill of `intent`."""
    match role_of(intent):
        case OrderRole.STOP:
            return ExitReason.STOPPED_OUT
        case OrderRole.PROFIT:
            return ExitReason.TAKE_PROFIT
        case _:
            return ExitReason.MANUAL
