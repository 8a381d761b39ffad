"""The price grid of what an order names, also of a combination."""

from __future__ import annotations

from functools import reduce

from ibkit.model import Contract, Increments, Side
from ibkit.trading.ports import Broker

__all__ = ["coarser", "grid_of"]


async def grid_of(broker: Broker, contract: Contract, *, side: Side) -> Increments:
    """side: of an order on the whole; a leg of negative ratio is traded the other way."""
    if not contract.legs:
        return await broker.increments(contract, side=side)
    grids = [
        await broker.increments(leg.contract, side=side if leg.ratio > 0 else side.opposite) for leg in contract.legs
    ]
    return reduce(coarser, grids)


def coarser(one: Increments, other: Increments) -> Increments:
    """A grid on which both have their prices: at each edge the larger step.

    Assumed for combinations: IBKR's rules are read by contract, and a combination has none of its own. A price that
    fits both legs is the safest guess; a refusal would say that it does not conform (docs/facts/orders.md §12.1).
    """
    edges = sorted({edge for grid in (one, other) for edge, _ in grid.steps})
    return Increments(tuple((edge, max(one.at(edge), other.at(edge))) for edge in edges))
