"""A trading room whose market has a price for each strike, so that spreads bring something."""

from __future__ import annotations

import dataclasses
from decimal import Decimal

from fakes import SPY, option, quote
from ibkit.model import Right, Side
from trading_room import Room, make_room

KEY = "sale-0123456789abcdef"
NET = Decimal("0.40")
"""What a spread of the room brings: its fills are net."""


def make_spread_room(**changes: object) -> Room:
    """SPY at 630; the 629 put at 0.62, each strike beyond five cents cheaper; a spread fills at 0.40."""
    room = make_room(**changes)
    prices = {
        option(str(strike), right).conid: max(Decimal("0.62") - abs(strike - 629) * Decimal("0.05"), Decimal("0.01"))
        for strike in range(600, 660)
        for right in Right
    }

    def quote_of(conid):
        if conid == SPY.conid:
            return quote(conid, "630.00", "630.02")
        price = prices[conid]
        return dataclasses.replace(quote(conid, f"{price}", f"{price + Decimal('0.01')}"), delta=-float(price) / 4)

    room.broker.quote_of = quote_of
    room.broker.fill_price = NET
    return room


async def sell(room, **changes):
    asked = {"stop_multiple": 5, "quantity": 3, "expiry": "20261120", "key": KEY, "width": 5, **changes}
    strike = asked.pop("strike", 629)
    right = asked.pop("right", "P")
    return await room.seller.sell_option_with_stop("SPY", strike, right, **asked)


def placed(room, side=Side.BUY, kind=None):
    """What the broker took, oldest first."""
    return [
        held
        for held in room.broker.accepted
        if held.ticket.side is side and (kind is None or held.ticket.order_type is kind)
    ]


def short(room, conid):
    """The signed position that truly is at the broker."""
    total = Decimal(0)
    for held in room.broker.accepted:
        signed = held.filled if held.ticket.side is Side.BUY else -held.filled
        for part, ratio in [(leg.contract, leg.ratio) for leg in held.ticket.contract.legs] or [
            (held.ticket.contract, 1)
        ]:
            total += signed * ratio if part.conid == conid else Decimal(0)
    return total
