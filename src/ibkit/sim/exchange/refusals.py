"""Why an order is refused, in IBKR's words; None where it is not.

Source: docs/facts/orders.md §2 item 3, §12; the texts of scenarios say where they come from.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from ibkit.sim.exchange.books import commission
from ibkit.sim.exchange.tickets import SimTicket

if TYPE_CHECKING:
    from ibkit.sim.market.market import MarketQuote
    from ibkit.sim.world import World

__all__ = [
    "FRACTION",
    "PERMISSION",
    "far_from_reference",
    "for_request",
    "for_ticket",
    "margin",
    "planned_trade",
    "terms",
]

OFF_GRID = "The price does not conform to the minimum price variation for this contract."
FRACTION = "This order doesn't support fractional quantity trading"
CLOSING_ONLY = "Only closing orders are permitted in this instrument."
UNAVAILABLE = "The security is not available or allowed for this account."
PERMISSION = f"{UNAVAILABLE} No trading permissions."
"""§12.2 row permission, and TWS's code 460 (assumed to be worded alike here)."""
_BOTH_SIDES = "You cannot have both sides"
_STOPS_REFUSED = "Order couldn't be submitted: stop orders are refused (scenario stop-reject)"
_ZERO = Decimal(0)
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
    return margin(world, account, own, now) if world.quirks.margin_refusal == "at_once" else None


def for_ticket(world: World, account: str, ticket: SimTicket, now: datetime) -> str | None:
    """Why this one ticket is refused, margin aside."""
    if world.faults.on("stop-reject") and ticket.is_stop:
        return _STOPS_REFUSED
    instrument = ticket.instrument
    if expired(world, ticket, now) or not instrument.quoted:
        return UNAVAILABLE
    if instrument.sec_type == "OPT" and ticket.quantity % 1 != 0:
        return FRACTION
    if ticket.quantity % _STOCK_DIGITS != 0 or ticket.quantity <= 0:
        return FRACTION
    for price in (ticket.limit, ticket.stop):
        if price is not None and not instrument.increments.fits(price):
            return OFF_GRID
    return _too_far(ticket, world.market.quote(ticket.conid, now), world.quirks.price_refusal_pct)


def expired(world: World, ticket: SimTicket, now: datetime) -> bool:
    """Whether the contract's last trading day has closed."""
    expiry = ticket.instrument.expiry
    if expiry is None:
        return False
    session = world.calendar.session(expiry)
    return session is None or now >= session[1]


def _too_far(ticket: SimTicket, quote: MarketQuote, per_cent: Decimal) -> str | None:
    """A marketable limit too far through the market (§2 item 3)."""
    if ticket.order_type != "LMT" or ticket.limit is None or not quote.bid or not quote.ask or per_cent <= 0:
        return None
    buy = ticket.side == "BUY"
    limit_far = (
        ticket.limit * 100 > quote.ask * (100 + per_cent) if buy else ticket.limit * 100 < quote.bid * (100 - per_cent)
    )
    # An option worth cents moves by many per cent in a tick: only a distance that is money counts.
    if not limit_far or abs(ticket.limit - (quote.ask if buy else quote.bid)) < 1:
        return None
    market = quote.last or quote.mark
    return (
        "We cannot accept an order at the limit price you selected. Please submit your order using a limit price that "
        f"is closer to the current market price of {market}. Alternatively, you can convert your order to an "
        "Algorithmic Order (IBALGO)."
    )


def far_from_reference(world: World, ticket: SimTicket, now: datetime) -> bool:
    """Whether a limit is more than `price_algo_pct` off the market, either way (§15 row 15)."""
    quote = world.market.quote(ticket.conid, now)
    market = quote.mark or quote.last
    if ticket.order_type != "LMT" or ticket.limit is None or not market:
        return False
    return abs(ticket.limit - market) * 100 > market * world.quirks.price_algo_pct


def margin(world: World, account: str, tickets: Sequence[SimTicket], now: datetime) -> str | None:
    """The refusal for want of margin: equity with loan would not cover the new requirement (§12.2, §12.4)."""
    trades = [planned_trade(world, ticket, now) for ticket in tickets]
    _, before, equity, after = world.books.margin_with(account, now, trades)
    if equity >= after or after <= before:
        return None
    return (
        "We are unable to accept your order. Your Available Funds are in sufficient to cover the change in the "
        "account's margin requirements if this order executes. In order to obtain the desired position your Equity "
        f"with Loan Value [{equity:,.2f} USD] must exceed the new total Initial Margin of [{after:,.2f} USD]."
    )


def planned_trade(world: World, ticket: SimTicket, now: datetime) -> tuple[Any, Decimal, Decimal, Decimal]:
    """What filling a ticket would book: instrument, signed quantity, price, fee."""
    quote = world.market.quote(ticket.conid, now)
    touch = quote.ask if ticket.side == "BUY" else quote.bid
    price = ticket.limit if ticket.limit is not None else ticket.stop if ticket.stop is not None else touch
    signed = ticket.quantity if ticket.side == "BUY" else -ticket.quantity
    fee = commission(ticket.instrument.sec_type, ticket.quantity)
    return ticket.instrument, signed, price or quote.mark or _ZERO, fee


def terms(ticket: SimTicket) -> dict[str, Any]:
    """A ticket for the ledger."""
    return {
        "side": ticket.side,
        "order_type": ticket.order_type,
        "tif": ticket.tif,
        "quantity": ticket.quantity,
        "limit": ticket.limit,
        "stop": ticket.stop,
    }
