"""IBKR's questions before an order is taken: which ones an order raises, in IBKR's words, and those that are open.

Source: docs/facts/orders.md §3. Blanks before newlines stand in the original texts and are relied on (§2, ibind).
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import TYPE_CHECKING, Literal

from ibkit.sim.exchange.matching import first_stop, reading
from ibkit.sim.exchange.tickets import SimTicket
from ibkit.sim.market.names import contract_line
from ibkit.sim.quirks import Quirks

if TYPE_CHECKING:
    from ibkit.sim.exchange.order import SimOrder
    from ibkit.sim.market.market import MarketQuote

__all__ = ["SURE", "UNKNOWN_QUESTION", "Message", "OpenQuestion", "messages_for", "modify_messages"]

SURE = "\nAre you sure you want to submit this order?"


@dataclass(frozen=True, slots=True)
class Message:
    id: str
    text: str


UNKNOWN_QUESTION = Message("o99999", "Would you like to cancel all open orders and then place new closing order?")
"""IBKR asks this under an id that nobody has published (§3.3, last row); the number here is the simulator's."""

STOP_TYPES = Message(
    "o10331",
    "You are about to submit a stop order. Please be aware of the various stop order types available and the risks "
    "associated with each one." + SURE,
)
STOP_RISK = Message(
    "o10152",
    "A Stop Order - i.e. a Stop (Market) Order - is an instruction to buy or sell at the market price once your "
    'trigger ("stop") price is reached.' + SURE,
)
MARKET_RISK = Message("o10151", "A Market Order is an instruction to trade your order at any available price." + SURE)
NO_DATA = Message(
    "o354",
    "You are submitting an order without market data. We strongly recommend against this as it may result in erroneous "
    "and unexpected trades." + SURE,
)
TRIGGERS_NOW = Message("o403", "This order will most likely trigger and fill immediately." + SURE)
CASH_DETAILS = Message(
    "o10164",
    "Traders are responsible for understanding cash quantity details, which are provided on a best efforts basis only.",
)
CASH_CONFIRMATION = Message(
    "o10223",
    "<h4>Cash Quantity Order Confirmation</h4>Orders that express size using a monetary value (cash quantity) are "
    "provided on a non-guaranteed basis.",
)
NO_FRACTIONS_NOW = Message(
    "o2165", "This instrument does not support trading in fractions outside regular trading hours." + SURE
)


@dataclass(slots=True, eq=False, kw_only=True)
class OpenQuestion:
    """messages: asked now, under one id. rest: what comes once these are confirmed.

    orders: the orders parked behind it. new_ticket: set where a modification of the one order is asked about.
    failed: why other tickets of the same request were refused. voided: another submission came between; the reply
    will meet 503.
    """

    id: str
    username: str
    account: str
    asked_at: datetime
    messages: tuple[Message, ...]
    rest: tuple[tuple[Message, ...], ...]
    orders: tuple[SimOrder, ...]
    kind: Literal["place", "modify"] = "place"
    new_ticket: SimTicket | None = None
    failed: tuple[str, ...] = ()
    voided: bool = False


def messages_for(
    ticket: SimTicket, quote: MarketQuote, *, has_line: bool, market_open: bool, quirks: Quirks
) -> list[Message]:
    """What IBKR would ask about this ticket, in the order in which clients meet it (§3.1)."""
    found: list[Message] = []
    label = _label(ticket)
    if _outside_quote(ticket, quote, quirks.price_constraint_pct):
        text = (
            f'The following order "{label} @ {_plain_price(ticket.limit)}" price exceeds \n'
            f"the Percentage constraint of {quirks.price_constraint_pct.normalize():f}%.{SURE}"
        )
        found.append(Message("o163", text))
    if quirks.no_data_question and not has_line:
        found.append(NO_DATA)
    if ticket.cash_quantity is not None:
        found += [CASH_DETAILS, CASH_CONFIRMATION]
    if ticket.quantity > quirks.size_limit:
        text = f'The following order "{label}" size exceeds the Size Limit of {quirks.size_limit:,.0f}.{SURE}'
        found.append(Message("o383", text))
    value = estimate(ticket, quote)
    if value > quirks.value_limit:
        text = (
            f'The following order "{label}" value estimate of {value:,.2f} {ticket.instrument.currency} exceeds \n'
            f"the Total Value Limit of {quirks.value_limit:,.0f} {ticket.instrument.currency}.{SURE}"
        )
        found.append(Message("o451", text))
    if ticket.quantity % 1 != 0 and not market_open:
        found.append(NO_FRACTIONS_NOW)
    if ticket.order_type == "MKT" and ticket.instrument.sec_type != "STK" and quirks.market_question:
        found.append(MARKET_RISK)
    if ticket.kind.waits is not None and reading(ticket, first_stop(ticket, quote, quirks), quote, quirks) is not None:
        found.append(TRIGGERS_NOW)
    if ticket.is_stop:
        if quirks.stop_question:
            found.append(STOP_TYPES)
        if quirks.stop_risk_question:
            found.append(STOP_RISK)
    return found


def modify_messages(old: SimTicket, new: SimTicket, quirks: Quirks) -> list[Message]:
    """Questions of the modify kind alone; those about the new terms come from `messages_for`."""
    if new.quantity - old.quantity > quirks.modify_size_limit:
        return [Message("o10138", "The following order size modification exceeds the size modification limit." + SURE)]
    return []


def grouped(messages: list[Message], suppressed: Collection[str], style: str) -> list[tuple[Message, ...]]:
    """The questions to ask one after the other: each message once, suppressed ones left out."""
    wanted = [m for m in dict.fromkeys(messages) if m.id not in suppressed]
    if style == "together":
        return [tuple(wanted)] if wanted else []
    return [(message,) for message in wanted]


def estimate(ticket: SimTicket, quote: MarketQuote) -> Decimal:
    """The order's value at its own price, else at the price it would meet."""
    touch = quote.ask if ticket.buys else quote.bid
    price = ticket.limit if ticket.limit is not None else ticket.stop if ticket.stop is not None else touch
    return abs(price or Decimal(0)) * ticket.quantity * ticket.instrument.multiplier


def _outside_quote(ticket: SimTicket, quote: MarketQuote, per_cent: Decimal) -> bool:
    if ticket.order_type != "LMT" or ticket.limit is None or not quote.bid or not quote.ask:
        return False
    above, below = ticket.limit - quote.ask, quote.bid - ticket.limit
    return above * 100 > abs(quote.ask) * per_cent or below * 100 > abs(quote.bid) * per_cent


def _label(ticket: SimTicket) -> str:
    """`BUY 10 AAPL NASDAQ.NMS`, as the texts name an order."""
    instrument = ticket.instrument
    quantity = f"{ticket.quantity.normalize():f}"
    if instrument.legs:
        what = contract_line(instrument)
    elif instrument.sec_type == "OPT" and instrument.expiry is not None and instrument.strike is not None:
        strike = f"{instrument.strike.normalize():f}"
        right = "PUT" if instrument.right == "P" else "CALL"
        what = f"{instrument.symbol} {instrument.expiry:%b%d'%y} {strike} {right}"
    else:
        exchange = "NASDAQ.NMS" if instrument.listing_exchange == "NASDAQ" else instrument.listing_exchange
        what = f"{instrument.symbol} {exchange}"
    return f"{ticket.side} {quantity} {what}"


def _plain_price(price: Decimal | None) -> str:
    """`150.0`: at least one digit after the point, as in the recorded text."""
    text = f"{(price or Decimal(0)).normalize():f}"
    return text if "." in text else f"{text}.0"
