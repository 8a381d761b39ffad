"""What an order would do to its account: the answer of whatif. Nothing is booked.

Source: docs/facts/orders.md §5.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from ibkit.model import to_cents
from ibkit.sim.exchange import refusals
from ibkit.sim.exchange.desk import Caller
from ibkit.sim.exchange.tickets import SimTicket
from ibkit.sim.market.names import plain

if TYPE_CHECKING:
    from ibkit.sim.world import World

__all__ = ["preview_row"]

_ZERO = Decimal(0)


def preview_row(world: World, caller: Caller, tickets: Sequence[SimTicket], now: datetime) -> dict[str, Any]:
    """Figures as texts with thousands marks. Of a bracket only the orders that are no children count.

    Of an OCA group the one counts that needs the most margin. A combo has no position of its own: the member is left
    out, as it may be (§5). [sim]
    """
    every = [ticket for ticket in tickets if ticket.parent is None] or list(tickets)
    own, trades, margins = max(_planned(world, caller, every, now), key=lambda row: row[2][3])
    equity, margin, equity_after, margin_after = margins
    first = own[0]
    currency, unit = first.instrument.currency, "Shares" if first.instrument.multiplier == 1 else "Contracts"
    amount = sum((_value(world, ticket, now) for ticket in own), _ZERO)
    fee = sum((fee for *_, fee in trades), _ZERO)
    held = world.books[caller.account].quantity(first.conid)
    change = sum((signed for what, signed, _, _ in trades if what.conid == first.conid), _ZERO)
    size = sum((ticket.quantity for ticket in own if ticket.instrument.key == first.instrument.key), _ZERO)
    position = {"current": plain(held), "change": plain(change), "after": plain(held + change)}
    warns = [f"21/{text}" if "without market data" in text else text for text in _warnings(world, caller, every, now)]
    margin_row = _change(margin, margin_after)
    return {
        "amount": {
            "amount": f"{_money(amount)} {currency} ({plain(size)} {unit})",
            "commission": f"{_money(fee)} {currency}",
            "total": f"{_money(amount + fee)} {currency}",
        },
        "equity": _change(equity, equity_after),
        "initial": margin_row,
        "maintenance": dict(margin_row),
        **({} if first.instrument.legs else {"position": position}),
        "warn": warns[0] if warns else None,
        "warns": warns,
        "error": _error(world, caller, every, now),
    }


_Trades = list[tuple[Any, Decimal, Decimal, Decimal]]
_Margins = tuple[Decimal, Decimal, Decimal, Decimal]


def _planned(
    world: World, caller: Caller, tickets: Sequence[SimTicket], now: datetime
) -> list[tuple[list[SimTicket], _Trades, _Margins]]:
    """For each set of tickets that can be filled together: they, their trades, equity and margin before and after."""
    found: list[tuple[list[SimTicket], _Trades, _Margins]] = []
    for some in refusals.alternatives(tickets):
        trades = [trade for ticket in some for trade in refusals.planned_trades(world, ticket, now)]
        found.append((some, trades, world.books.margin_with(caller.account, now, trades)))
    return found


def _value(world: World, ticket: SimTicket, now: datetime) -> Decimal:
    return abs(refusals.planned_price(world, ticket, now)) * ticket.quantity * ticket.instrument.multiplier


def _warnings(world: World, caller: Caller, tickets: Sequence[SimTicket], now: datetime) -> list[str]:
    found = [text for ticket in tickets for text in world.exchange.desk.warnings(caller, ticket, now)]
    return list(dict.fromkeys(found))


def _error(world: World, caller: Caller, tickets: Sequence[SimTicket], now: datetime) -> str | None:
    for ticket in tickets:
        text = refusals.for_ticket(world, caller.account, ticket, now)
        if text is not None:
            return text
    some = refusals.alternatives(tickets)
    return next((text for own in some if (text := refusals.margin(world, caller.account, own, now))), None)


def _change(before: Decimal, after: Decimal) -> dict[str, str]:
    """Whole units, the change being that of the rounded figures."""
    old, new = before.to_integral_value(), after.to_integral_value()
    return {"current": f"{old:,.0f}", "change": f"{new - old:,.0f}", "after": f"{new:,.0f}"}


def _money(amount: Decimal) -> str:
    """`1` when whole, else two digits: `1,977.60`."""
    cents = to_cents(amount)
    return f"{cents:,.0f}" if cents == cents.to_integral_value() else f"{cents:,.2f}"
