"""What becomes of options at their end: exercised, assigned, paid in cash, or worthless.

At the close of its last trading day a long option at least 0.01 in the money is exercised and a short one assigned: the
stock changes hands at the strike, the option leaves the books at zero. Index options are paid the difference in cash;
those of trading class SPX settle at the next morning's open.
Source: the exchanges' public rules (exercise by exception at 0.01, cash settlement of index options); what IBKR's API
shows of it is on no facts page, so trades show nothing; a Flex statement does (accounts-and-portfolio.md §6.4). That it
costs no fee is [sim].
"""

from __future__ import annotations

from datetime import datetime
from decimal import Decimal
from typing import TYPE_CHECKING

from ibkit.sim.exchange.books import AccountBook, Holding, trade_day
from ibkit.sim.exchange.history import Ending, Traded

if TYPE_CHECKING:
    from ibkit.sim.exchange.tickets import Side
    from ibkit.sim.market.instruments import Instrument
    from ibkit.sim.world import World

__all__ = ["end_early", "settle_at_close", "settle_at_open"]

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


def end_early(world: World, account: str, conid: int, quantity: Decimal, at: datetime) -> None:
    """Exercise a long option, or have a short one assigned, before its end and whatever it is worth.

    Raises ValueError for what the account does not hold so much of, and for options on an index (European).
    """
    book = world.books[account]
    holding = book.holdings.get(conid)
    if holding is None or not holding.instrument.is_option or not 0 < quantity <= abs(holding.quantity):
        raise ValueError(f"{account} does not hold {quantity} of an option {conid}")
    if _underlying(world, holding.instrument).sec_type == "IND":
        raise ValueError("options on an index end on their day only")
    _deliver(world, book, holding, quantity, at)
    world.books.invalidate(account)


def _settle(world: World, book: AccountBook, holding: Holding, at: datetime) -> None:
    instrument, quantity = holding.instrument, holding.quantity
    underlying = _underlying(world, instrument)
    assert instrument.strike is not None, "an option has a strike"
    price = _level(world, underlying, at)
    put = instrument.right == "P"
    worth = max(_ZERO, instrument.strike - price if put else price - instrument.strike)
    if underlying.sec_type == "IND":
        _end(world, book, holding, abs(quantity), worth, "Cash Settlement" if worth else "Expiration", at)
    elif worth >= _AUTOMATIC:
        _deliver(world, book, holding, abs(quantity), at)
    else:
        _end(world, book, holding, abs(quantity), _ZERO, "Expiration", at)
    world.books.invalidate(book.id)


def _deliver(world: World, book: AccountBook, holding: Holding, size: Decimal, at: datetime) -> None:
    """The stock changes hands at the strike. The holder of a put sells it, the holder of a call buys it; the writer
    does the opposite."""
    instrument = holding.instrument
    long = holding.quantity > 0
    side: Side = "SELL" if (instrument.right == "P") == long else "BUY"
    ended = _end(world, book, holding, size, _ZERO, "Exercise" if long else "Assignment", at)
    assert instrument.strike is not None, "an option has a strike"
    underlying, shares = _underlying(world, instrument), size * instrument.multiplier
    book.trade(underlying, side, shares, instrument.strike, _ZERO, trade_day(at))
    book.history.append(
        Traded(
            number=world.books.next_number(),
            account=book.id,
            at=at,
            instrument=underlying,
            side=side,
            quantity=shares,
            price=instrument.strike,
            related=ended,
        )
    )


def _end(
    world: World, book: AccountBook, holding: Holding, size: Decimal, paid: Decimal, ending: Ending, at: datetime
) -> int:
    """The option leaves the books; gives the number of its entry."""
    side: Side = "SELL" if holding.quantity > 0 else "BUY"
    book.trade(holding.instrument, side, size, paid, _ZERO, trade_day(at))
    number = world.books.next_number()
    book.history.append(
        Traded(
            number=number,
            account=book.id,
            at=at,
            instrument=holding.instrument,
            side=side,
            quantity=size,
            price=paid,
            ending=ending,
        )
    )
    return number


def _underlying(world: World, option: Instrument) -> Instrument:
    underlying = world.instruments.get(option.underlying_conid or 0)
    assert underlying is not None, "an option has an underlying"
    return underlying


def _level(world: World, underlying: Instrument, at: datetime) -> Decimal:
    quote = world.market.quote(underlying.conid, at)
    return quote.last or quote.mark or _ZERO
