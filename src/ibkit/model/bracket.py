"""The exits of a bracket from what a person says of them: a price, how far to trail, or a ticket.

Source: docs/facts/orders.md §1.7.
"""

from __future__ import annotations

import dataclasses
from decimal import Decimal
from typing import TypeAlias

from ibkit.model.order import OrderTicket, OrderType, Side, TimeInForce, Trail

__all__ = ["StopExit", "TakeProfit", "exits_of"]

TakeProfit: TypeAlias = Decimal | OrderTicket
StopExit: TypeAlias = Decimal | Trail | OrderTicket


def exits_of(
    entry: OrderTicket, *, take_profit: TakeProfit | None = None, stop: StopExit | None = None
) -> tuple[OrderTicket, ...]:
    """The children of `entry`: a limit at `take_profit`, and a stop at, or trailing by, `stop`. Full size, other side.

    From a price they are good till cancelled: a DAY child of a filled parent would end with the day and leave the
    position without its stop (§1.8). A ticket is taken as it is.

    Raises ValueError without any exit, and where the profit's price would not lie on the winning side of the stop's.
    """
    children = []
    if take_profit is not None:
        children.append(
            take_profit
            if isinstance(take_profit, OrderTicket)
            else _child(entry, OrderType.LIMIT, limit_price=take_profit)
        )
    match stop:
        case None:
            pass
        case OrderTicket():
            children.append(stop)
        case Trail():
            children.append(_child(entry, OrderType.TRAIL, trail=stop))
        case Decimal():
            children.append(_child(entry, OrderType.STOP, stop_price=stop))
    if not children:
        raise ValueError("a bracket has a take-profit, a stop, or both")
    if isinstance(take_profit, Decimal) and isinstance(stop, Decimal):
        wins = take_profit > stop if entry.side is Side.BUY else take_profit < stop
        if not wins:
            raise ValueError(f"take-profit {take_profit} is not on the winning side of stop {stop}")
    return tuple(children)


def _child(
    entry: OrderTicket,
    order_type: OrderType,
    *,
    limit_price: Decimal | None = None,
    stop_price: Decimal | None = None,
    trail: Trail | None = None,
) -> OrderTicket:
    return dataclasses.replace(
        entry,
        side=entry.side.opposite,
        order_type=order_type,
        limit_price=limit_price,
        stop_price=stop_price,
        trail=trail,
        offset=None,
        tif=TimeInForce.GTC,
        parent_id=None,
    )
