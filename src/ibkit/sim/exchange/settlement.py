"""What becomes of options at their end: exercised, assigned, paid in cash, or worthless.

At the close of its last trading day a long option at least 0.01 in the money is exercised and a short one assigned: the
stock changes hands at the strike, the option leaves the books at zero. Index options are paid the difference in cash;
those of trading class SPX settle at the next morning's open.
Source: the exchanges' public rules (exercise by exception at 0.01, cash settlement of index options); what IBKR's API
shows of it is on no facts page, so trades show nothing. That it costs no fee is [sim].
"""

from __future__ import annotations

from datetime import datetime
from decimal import Decimal
from typing import TYPE_CHECKING

from ibkit.sim.exchange.books import AccountBook, Holding, trade_day

if TYPE_CHECKING:
    from ibkit.sim.exchange.tickets import Side
    from ibkit.sim.market.instruments import Instrument
    from ibkit.sim.world import World

__all__ = ["settle_at_close", "settle_at_open"]

_AUTOMATIC = Decimal("0.01")
_ZERO = Decimal(0)


def settle_at_close(world: World, at: datetime) -> None:
    """Options whose last trading day ends now."""
    today = trade_day(at)
    for book in world.books.accounts.values():
        for holding in list(book.holdings.values()):
            instrument = holding.instrument
            if holding.quantity != 0 and instrument.expiry == today and not instrument.am_settled:
                _settle(world, book, holding, at)
    for order in list(world.exchange.orders.values()):
        last_day = order.ticket.instrument.last_day
        if order.working and last_day is not None and last_day <= today:
            world.exchange.end(order, "cancelled", at)


def settle_at_open(world: World, at: datetime) -> None:
    """Morning-settled index options whose last trading day was before today."""
    today = trade_day(at)
    for book in world.books.accounts.values():
        for holding in list(book.holdings.values()):
            instrument = holding.instrument
            if holding.quantity != 0 and instrument.am_settled and instrument.settles_on == today:
                _settle(world, book, holding, at)


def _settle(world: World, book: AccountBook, holding: Holding, at: datetime) -> None:
    instrument, quantity = holding.instrument, holding.quantity
    underlying = world.instruments.get(instrument.underlying_conid or 0)
    assert underlying is not None, "an option has an underlying"
    assert instrument.strike is not None, "an option has a strike"
    price = _level(world, underlying, at)
    put = instrument.right == "P"
    worth = max(_ZERO, instrument.strike - price if put else price - instrument.strike)
    day = trade_day(at)
    paid = worth if underlying.sec_type == "IND" else _ZERO
    size = abs(quantity)
    book.trade(instrument, "SELL" if quantity > 0 else "BUY", size, paid, _ZERO, day)
    if underlying.sec_type != "IND" and worth >= _AUTOMATIC:
        # The holder of a put sells the stock, the holder of a call buys it; the writer does the opposite.
        side: Side = "SELL" if put == (quantity > 0) else "BUY"
        book.trade(underlying, side, size * instrument.multiplier, instrument.strike, _ZERO, day)
    world.books.invalidate(book.id)


def _level(world: World, underlying: Instrument, at: datetime) -> Decimal:
    quote = world.market.quote(underlying.conid, at)
    return quote.last or quote.mark or _ZERO
