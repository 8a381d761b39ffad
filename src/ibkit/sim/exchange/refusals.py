"""Why an order is refused, in IBKR's words; None where it is not.

Source: docs/facts/orders.md §2 item 3, §12; the texts of scenarios say where they come from.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from ibkit.sim.exchange import fills, matching
from ibkit.sim.exchange.books import commission
from ibkit.sim.exchange.tickets import SimTicket
from ibkit.sim.market.combos import leg_prices

if TYPE_CHECKING:
    from ibkit.sim.market.instruments import Instrument
    from ibkit.sim.market.market import MarketQuote
    from ibkit.sim.world import World

__all__ = [
    "CHILD_REFUSED",
    "FRACTION",
    "PERMISSION",
    "alternatives",
    "far_from_reference",
    "for_request",
    "for_ticket",
    "margin",
    "planned_price",
    "planned_trades",
    "terms",
]

OFF_GRID = "The price does not conform to the minimum price variation for this contract."
FRACTION = "This order doesn't support fractional quantity trading"
CLOSING_ONLY = "Only closing orders are permitted in this instrument."
UNAVAILABLE = "The security is not available or allowed for this account."
PERMISSION = f"{UNAVAILABLE} No trading permissions."
"""§12.2 row permission, and TWS's code 460 (assumed to be worded alike here)."""
_BOTH_SIDES = "You cannot have both sides"
CHILD_REFUSED = "Order couldn't be submitted: bracket children are refused"
_STOPS_REFUSED = "Order couldn't be submitted: stop orders are refused (scenario stop-reject)"
_ZERO = Decimal(0)
_CENT = Decimal("0.01")
_STOCK_DIGITS = Decimal("0.0001")


def for_request(world: World, account: str, tickets: Sequence[SimTicket], now: datetime) -> str | None:
    """Why the request as a whole is refused: by its orders that are no bracket children."""
    if world.faults.on("order-reject-200"):
        return CLOSING_ONLY
    if world.faults.on("order-no-permission"):
        return PERMISSION
    own = [ticket for ticket in tickets if ticket.parent is None]
    for ticket in own:
        text = for_ticket(world, account, ticket, now)
        if text is not None:
            return text
    group = [ticket for ticket in own if ticket.one_group and ticket.instrument.sec_type == "OPT"]
    if any(a.conid == b.conid and a.side != b.side for a in group for b in group):
        return _BOTH_SIDES
    if world.quirks.margin_refusal != "at_once":
        return None
    return next((text for some in alternatives(own) if (text := margin(world, account, some, now))), None)


def alternatives(tickets: Sequence[SimTicket]) -> list[list[SimTicket]]:
    """What can be filled together: of an explicit OCA group one ticket, and everything that is in none. [sim]"""
    grouped = [ticket for ticket in tickets if ticket.one_group]
    alone = [ticket for ticket in tickets if not ticket.one_group]
    return [[*alone, one] for one in grouped] or [alone]


def for_ticket(world: World, account: str, ticket: SimTicket, now: datetime) -> str | None:
    """Why this one ticket is refused, margin aside."""
    if world.faults.on("stop-reject") and ticket.is_stop:
        return _STOPS_REFUSED
    instrument = ticket.instrument
    if expired(world, ticket, now) or not instrument.quoted:
        return UNAVAILABLE
    if instrument.sec_type != "STK" and ticket.quantity % 1 != 0:
        return FRACTION
    if ticket.quantity % _STOCK_DIGITS != 0 or ticket.quantity <= 0:
        return FRACTION
    trailing = ticket.trail.amount if ticket.trail is not None and not ticket.trail.per_cent else None
    for price in (ticket.limit, ticket.stop, ticket.offset):
        if price is not None and not instrument.increments.fits(price):
            return OFF_GRID
    if trailing is not None and trailing % _CENT != 0:
        return OFF_GRID
    return _too_far(ticket, world.market.quote_of(instrument, now), world.quirks.price_refusal_pct)


def expired(world: World, ticket: SimTicket, now: datetime) -> bool:
    """Whether the contract's last trading day has closed."""
    last_day = ticket.instrument.last_day
    if last_day is None:
        return False
    session = world.calendar.session(last_day)
    return session is None or now >= session[1]


def _too_far(ticket: SimTicket, quote: MarketQuote, per_cent: Decimal) -> str | None:
    """A marketable limit too far through the market (§2 item 3)."""
    if ticket.order_type != "LMT" or ticket.limit is None or not quote.bid or not quote.ask or per_cent <= 0:
        return None
    touch = quote.ask if ticket.buys else quote.bid
    through = ticket.limit - touch if ticket.buys else touch - ticket.limit
    # An option worth cents moves by many per cent in a tick: only a distance that is money counts.
    if through * 100 <= abs(touch) * per_cent or through < 1:
        return None
    market = quote.last or quote.mark
    return (
        "We cannot accept an order at the limit price you selected. Please submit your order using a limit price that "
        f"is closer to the current market price of {market}. Alternatively, you can convert your order to an "
        "Algorithmic Order (IBALGO)."
    )


def far_from_reference(world: World, ticket: SimTicket, now: datetime) -> bool:
    """Whether a limit is more than `price_algo_pct` off the market, either way (§15 row 15)."""
    quote = world.market.quote_of(ticket.instrument, now)
    market = quote.mark or quote.last
    if ticket.order_type != "LMT" or ticket.limit is None or not market:
        return False
    return abs(ticket.limit - market) * 100 > abs(market) * world.quirks.price_algo_pct


def margin(world: World, account: str, tickets: Sequence[SimTicket], now: datetime) -> str | None:
    """The refusal for want of margin: equity with loan would not cover the new requirement (§12.2, §12.4)."""
    trades = [trade for ticket in tickets for trade in planned_trades(world, ticket, now)]
    _, before, equity, after = world.books.margin_with(account, now, trades)
    if equity >= after or after <= before:
        return None
    return (
        "We are unable to accept your order. Your Available Funds are in sufficient to cover the change in the "
        "account's margin requirements if this order executes. In order to obtain the desired position your Equity "
        f"with Loan Value [{equity:,.2f} USD] must exceed the new total Initial Margin of [{after:,.2f} USD]."
    )


def planned_price(world: World, ticket: SimTicket, now: datetime) -> Decimal:
    """At what an order would be filled, as far as one can say: its own price, else the touch."""
    quote = world.market.quote_of(ticket.instrument, now)
    if ticket.trail is not None and ticket.stop is None:
        return matching.first_stop(ticket, quote, world.quirks) or _ZERO
    touch = quote.ask if ticket.buys else quote.bid
    own = ticket.limit if ticket.limit is not None else ticket.stop
    return own if own is not None else touch if touch is not None else quote.mark or _ZERO


def planned_trades(
    world: World, ticket: SimTicket, now: datetime
) -> list[tuple[Instrument, Decimal, Decimal, Decimal]]:
    """What filling a ticket would book, in each leg of a combo: instrument, signed quantity, price, fee."""
    instrument, price = ticket.instrument, planned_price(world, ticket, now)
    signed = ticket.quantity if ticket.buys else -ticket.quantity
    fee = commission(instrument, ticket.quantity)
    if not instrument.legs:
        return [(instrument, signed, price, fee)]
    quoted = fills.touches(world, ticket, now)
    try:
        prices = leg_prices([leg.ratio for leg in instrument.legs], quoted, price)
    except ValueError:
        # A limit that no prices of the legs come to: it never fills, so what the market asks will do.
        prices = quoted
    return [
        (leg.instrument, signed * leg.ratio, leg_price, fee if index == 0 else _ZERO)
        for index, (leg, leg_price) in enumerate(zip(instrument.legs, prices, strict=True))
    ]


def terms(ticket: SimTicket) -> dict[str, Any]:
    """A ticket for the ledger."""
    return {
        "side": ticket.side,
        "order_type": ticket.order_type,
        "tif": ticket.tif,
        "quantity": ticket.quantity,
        "limit": ticket.limit,
        "stop": ticket.stop,
        **({"trailing": ticket.trail.amount, "trailing_type": ticket.trail.form} if ticket.trail else {}),
        **({"offset": ticket.offset} if ticket.offset is not None else {}),
    }
