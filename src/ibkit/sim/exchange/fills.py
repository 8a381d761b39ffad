"""Executions: what a fill costs and books, in one contract or in each leg of a combo.

A combo fills as a whole. Its legs go at prices that come to the net price (`combos.leg_prices`), each leg is booked as
a trade of its own, and the commission is that of all the contracts together. Source: docs/facts/orders.md §1.6, §11;
what the trade list shows of it is the quirk `combo_executions`.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from decimal import Decimal
from typing import TYPE_CHECKING

from ibkit.model import portion
from ibkit.sim.exchange.books import commission, trade_day
from ibkit.sim.exchange.combo_positions import remember
from ibkit.sim.exchange.history import Traded
from ibkit.sim.exchange.order import Execution, SimOrder
from ibkit.sim.market.combos import leg_prices

if TYPE_CHECKING:
    from ibkit.sim.exchange.tickets import Side, SimTicket
    from ibkit.sim.market.instruments import Instrument
    from ibkit.sim.market.quotes import MarketQuote
    from ibkit.sim.world import World

__all__ = ["Fills", "leg_side", "net_price", "shown", "touches"]

_ZERO = Decimal(0)
_VENUES = {"OPT": ("CBOE2", "PHLX", "ISE", "AMEX"), "STK": ("ARCA", "ISLAND", "NYSE", "BATS")}


class Fills:
    """Makes and books executions; it counts them."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._number = 0

    def execute(self, order: SimOrder, at: datetime, price: Decimal, quantity: Decimal) -> Execution:
        """Fill `quantity` of an order at a (net) price, in its account's books as well.

        Raises ValueError, before anything is booked, where a combo's legs cannot come to the price.
        """
        instrument = order.ticket.instrument
        prices: list[Decimal] = []
        if instrument.legs:
            ratios = [leg.ratio for leg in instrument.legs]
            prices = leg_prices(ratios, touches(self._world, order.ticket, at), price)
            price = sum((ratio * part for ratio, part in zip(ratios, prices, strict=True)), _ZERO)
        fee = commission(instrument, order.filled + quantity) - order.commission
        random = self._world.rng("executions")
        head = f"{random.getrandbits(32):08x}.{int(at.timestamp()):08x}"
        venues = _VENUES["STK" if instrument.multiplier == 1 else "OPT"]
        venue = venues[random.randrange(len(venues))]
        execution = Execution(
            id=self._id(head),
            order=order,
            at=at,
            instrument=instrument,
            side=order.ticket.side,
            price=price,
            quantity=quantity,
            commission=fee,
            exchange=venue,
            legs=tuple(self._legs(order, at, prices, quantity, fee, head, venue)),
        )
        for part in execution.legs or (execution,):
            book = self._world.books[order.account]
            book.trade(part.instrument, part.side, part.quantity, part.price, part.commission, trade_day(at))
            book.history.append(self._entry(part))
        if instrument.legs:
            remember(self._world.books[order.account], instrument, quantity if order.ticket.buys else -quantity)
        return execution

    def _entry(self, part: Execution) -> Traded:
        order = part.order
        return Traded(
            number=self._world.books.next_number(),
            account=order.account,
            at=part.at,
            instrument=part.instrument,
            side=part.side,
            quantity=part.quantity,
            price=part.price,
            fee=part.commission,
            execution_id=part.id,
            order_id=order.id,
            ref=order.ref,
            order_type=order.ticket.order_type,
            ordered_at=order.placed_at,
            exchange=part.exchange,
        )

    def _id(self, head: str) -> str:
        self._number += 1
        return f"{head}.{self._number:02x}.01"

    def _legs(
        self,
        order: SimOrder,
        at: datetime,
        prices: list[Decimal],
        quantity: Decimal,
        fee: Decimal,
        head: str,
        venue: str,
    ) -> Iterator[Execution]:
        legs = order.ticket.instrument.legs
        contracts = Decimal(sum(abs(leg.ratio) for leg in legs))
        left = fee
        for index, leg in enumerate(legs):
            # The last one takes what rounding leaves, so that the parts are the whole.
            share = left if index == len(legs) - 1 else portion(fee, Decimal(abs(leg.ratio)), contracts)
            left -= share
            yield Execution(
                id=self._id(head),
                order=order,
                at=at,
                instrument=leg.instrument,
                side=leg_side(order.ticket.side, leg.ratio),
                price=prices[index],
                quantity=quantity * abs(leg.ratio),
                commission=share,
                exchange=venue,
            )


def leg_side(side: Side, ratio: int) -> Side:
    """What is done in a leg; SELL reverses all of them. Source: docs/facts/orders.md §1.6."""
    return "BUY" if (side == "BUY") == (ratio > 0) else "SELL"


def touches(world: World, ticket: SimTicket, at: datetime) -> list[Decimal]:
    """What each leg of a combo would trade at now; its mark where there is no quote, nothing where nobody bids."""
    found: list[Decimal] = []
    for leg in ticket.instrument.legs:
        quote = world.market.quote(leg.instrument.conid, at)
        buys = leg_side(ticket.side, leg.ratio) == "BUY"
        found.append(_touch(quote, buys=buys))
    return found


def _touch(quote: MarketQuote, *, buys: bool) -> Decimal:
    price = quote.ask if buys else quote.bid
    if price is None and (buys or quote.ask is None):
        price = quote.mark
    return price or _ZERO


def net_price(instrument: Instrument, prices: list[Decimal]) -> Decimal:
    """What leg prices come to."""
    return sum((leg.ratio * price for leg, price in zip(instrument.legs, prices, strict=True)), _ZERO)


def shown(world: World, execution: Execution) -> tuple[Execution, ...]:
    """The rows that one fill is in the trade list: itself, or of a combo its legs."""
    if not execution.legs:
        return (execution,)
    return (execution, *execution.legs) if world.quirks.combo_executions == "combo_and_legs" else execution.legs
