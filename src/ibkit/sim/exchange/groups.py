"""Orders that reduce or cancel each other: bracket siblings and explicit OCA groups.

Source: docs/facts/orders.md §1.7 items 7-9, docs/facts/orders.md §10 (`ReduceOnFillNonBlock`).
"""

from __future__ import annotations

from datetime import datetime
from decimal import Decimal
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ibkit.sim.exchange.exchange import Exchange
    from ibkit.sim.exchange.order import SimOrder
    from ibkit.sim.world import World

__all__ = ["cancelled_along", "group_of", "reduce_group"]


def group_of(exchange: Exchange, order: SimOrder) -> list[SimOrder]:
    """The orders that share a group with this one."""
    if order.group is None:
        return []
    return [
        o for o in exchange.orders.values() if o is not order and (o.account, o.group) == (order.account, order.group)
    ]


def reduce_group(world: World, order: SimOrder, quantity: Decimal, at: datetime) -> None:
    """Siblings shrink by what one of them filled, down to nothing.

    Scenario oca-sibling-stays: they do not. Scenario oca-both-fill: they are filled as well, as in a fast market.
    """
    exchange = world.exchange
    others = [other for other in group_of(exchange, order) if other.working]
    if not others or world.faults.take("oca-sibling-stays"):
        return
    rush = world.faults.take("oca-both-fill")
    for other in others:
        if rush and exchange.active_quantity(other) > 0:
            exchange.fill_in_a_rush(other, at)
            continue
        if not other.working:
            continue
        size = max(other.filled, other.total - quantity)
        if size == other.filled:
            exchange.end(other, "cancelled", at)
        else:
            other.ticket = other.ticket.with_quantity(size)


def cancelled_along(world: World, order: SimOrder) -> list[SimOrder]:
    """Siblings that a cancel of this order takes along: of a bracket, and by a quirk of an explicit group."""
    if order.parent is None and world.quirks.oca_cancel == "alone":
        return []
    return [sibling for sibling in group_of(world.exchange, order) if sibling.state == "live"]
