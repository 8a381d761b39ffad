"""The price grid of what an order names, also of a combination."""

from __future__ import annotations

from functools import reduce

from ibkit.model import Contract, Increments, Side
from ibkit.trading.ports import Broker
from ibkit.trading.structure import coarser

__all__ = ["grid_of"]


async def grid_of(broker: Broker, contract: Contract, *, side: Side) -> Increments:
    """side: of an order on the whole; a leg of negative ratio is traded the other way."""
    if not contract.legs:
        return await broker.increments(contract, side=side)
    grids = [
        await broker.increments(leg.contract, side=side if leg.ratio > 0 else side.opposite) for leg in contract.legs
    ]
    return reduce(coarser, grids)
