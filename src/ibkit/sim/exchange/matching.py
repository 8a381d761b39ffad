"""When and at what price an order trades, given the market's ticks. Pure: nothing here changes an order.

MKT         at once while the market is open, at the touch.
LMT         at the touch where it is marketable on arrival; later at its own price, when the market comes to it.
stop, OPT   elects on double bid/ask: a buy on two bids in a row at or above the stop, a sell on two asks at or below;
            a second one of the same price must show a larger size.
stop, STK   elects on a last price through the stop that is within the quote or at most 0.5 % outside.
stop, BAG   elects on the combo's bid (a buy) or ask (a sell). [sim]
TRAIL...    the same, with a stop that has followed the price it watches (`trailing.py`).
MIT, LIT    touched by a price as good as the trigger: the last of a stock, else the ask (a buy) or the bid. [sim]
REL         rests at the best price of its own side, better by its offset, no worse than its limit; it trades when the
            other side comes to where it rested a tick ago. [sim]
MIDPRICE    at the middle of the next tick whose middle is within its cap. [sim]

Source: docs/facts/orders.md §1.3, §1.8; quirks say where another reading is possible.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from typing import TYPE_CHECKING, Literal

import numpy as np

from ibkit.sim.exchange.order import Reading, SimOrder
from ibkit.sim.exchange.trailing import follow, stops_over
from ibkit.sim.market.quotes import NOBODY

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from ibkit.sim.exchange.tickets import SimTicket
    from ibkit.sim.market.quotes import MarketQuote, Ticks
    from ibkit.sim.quirks import Quirks

    Ints = NDArray[np.int64]
    Flags = NDArray[np.bool_]

__all__ = ["Carried", "Hit", "carried", "confirms", "first_stop", "next_hit", "reading", "touch_price", "trailed"]

_OUTSIDE = Decimal("0.005")


@dataclass(frozen=True, slots=True)
class Hit:
    """The next thing that the market does to an order. price: of a resting limit; None means the touch.

    stop: where the stop of a trailing order stood when it elected.
    """

    at: datetime
    kind: Literal["trade", "elect"]
    price: Decimal | None = None
    stop: Decimal | None = None


@dataclass(frozen=True, slots=True)
class Carried:
    """What a run of ticks leaves behind in an order that went through it unharmed, for the next run."""

    last_hit: Reading | None = None
    stop: Decimal | None = None
    limit: Decimal | None = None


# --- one quote -----------------------------------------------------------------------------------------------------


def touch_price(order: SimOrder, quote: MarketQuote) -> Decimal | None:
    """What an order that waits for nothing gets at this very quote; None if it cannot trade now."""
    ticket = order.ticket
    if ticket.order_type == "MIDPRICE":
        return _middle(ticket, quote)
    limit = _pegged(ticket, quote) if ticket.order_type == "REL" else order.limit
    price = quote.ask if ticket.buys else quote.bid
    if not _there(ticket, price):
        return None
    assert price is not None
    if limit is not None and (price > limit if ticket.buys else price < limit):
        return None
    return None if ticket.order_type == "REL" and limit is None else price


def _there(ticket: SimTicket, price: Decimal | None) -> bool:
    return price is not None and (price > 0 or ticket.instrument.sec_type == "BAG")


def _middle(ticket: SimTicket, quote: MarketQuote) -> Decimal | None:
    if not quote.bid or not quote.ask:
        return None
    middle = (quote.bid + quote.ask) / 2
    cap = ticket.limit
    return None if cap is not None and (middle > cap if ticket.buys else middle < cap) else middle


def _pegged(ticket: SimTicket, quote: MarketQuote) -> Decimal | None:
    """Where a relative order rests at this quote."""
    base = quote.bid if ticket.buys else quote.ask
    if not base or ticket.offset is None or ticket.limit is None:
        return None
    return min(base + ticket.offset, ticket.limit) if ticket.buys else max(base - ticket.offset, ticket.limit)


def reading(ticket: SimTicket, stop: Decimal | None, quote: MarketQuote, quirks: Quirks) -> Reading | None:
    """What an order that waits sees at this quote if it is through its stop or trigger: price and size; else None."""
    price, size = _watched(ticket, quote, quirks)
    if price is None or stop is None or not _there(ticket, price):
        return None
    rises = ticket.buys == (ticket.kind.waits == "stop")
    if price < stop if rises else price > stop:
        return None
    return price, Decimal(size)


def _watched(ticket: SimTicket, quote: MarketQuote, quirks: Quirks) -> tuple[Decimal | None, int]:
    """The price that elects, and its size; no last price that is too far outside the quote."""
    if _by_sides(ticket, quirks):
        bid = ticket.buys == (ticket.kind.waits == "stop")
        return (quote.bid, quote.bid_size) if bid else (quote.ask, quote.ask_size)
    price = quote.last
    if price is not None and quote.bid and quote.ask:
        price = price if quote.bid * (1 - _OUTSIDE) <= price <= quote.ask * (1 + _OUTSIDE) else None
    return price, 0


def _by_sides(ticket: SimTicket, quirks: Quirks) -> bool:
    """Whether it watches bid or ask, not the last price."""
    if ticket.instrument.sec_type != "STK":
        return True
    return ticket.kind.waits == "touch" and quirks.touch_trigger == "bid_ask"


def trailed(order: SimOrder, quote: MarketQuote, quirks: Quirks) -> Decimal | None:
    """Where the stop of a trailing order stands after this quote."""
    return _followed(order.ticket, order.stop_now, quote, quirks)


def first_stop(ticket: SimTicket, quote: MarketQuote, quirks: Quirks) -> Decimal | None:
    """Where the stop of an order stands that comes in at this quote; None where it has none yet."""
    return _followed(ticket, ticket.stop, quote, quirks) if ticket.trail is not None else ticket.stop


def _followed(ticket: SimTicket, stop: Decimal | None, quote: MarketQuote, quirks: Quirks) -> Decimal | None:
    assert ticket.trail is not None, "only trailing orders follow"
    price, _ = _watched(ticket, quote, quirks)
    if quirks.trail_follows == "midpoint":
        both = quote.bid is not None and quote.ask is not None
        price = (quote.bid + quote.ask) / 2 if both else None  # type: ignore[operator]  # neither is None
    if price is None or not _there(ticket, price):
        return stop
    return follow(stop, ticket.trail, price, buys=ticket.buys)


def confirms(ticket: SimTicket, first: Reading | None, second: Reading, quirks: Quirks) -> bool:
    """Whether a look through the stop elects it, after the look before."""
    if not _needs_two(ticket, quirks):
        return True
    if first is None:
        return False
    return not quirks.same_price_needs_size or second[0] != first[0] or second[1] > first[1]


def _needs_two(ticket: SimTicket, quirks: Quirks) -> bool:
    if ticket.kind.waits == "touch":
        return False
    trigger = {"OPT": quirks.option_trigger, "BAG": quirks.combo_trigger}.get(ticket.instrument.sec_type)
    return trigger == "double_bid_ask"


# --- a run of ticks ------------------------------------------------------------------------------------------------


def next_hit(order: SimOrder, ticks: Ticks, quirks: Quirks) -> Hit | None:
    """The first tick after `order.since` that trades or elects the order, or None."""
    start = _start(order, ticks)
    if order.waits:
        return _election(order, ticks, start, quirks)
    ticket = order.ticket
    limit = order.limit
    if ticket.order_type == "REL":
        return _relative_hit(order, ticks, start)
    if ticket.order_type == "MIDPRICE":
        return _middle_hit(order, ticks, start)
    if limit is None:
        index = _first((ticks.has_ask if ticket.buys else ticks.has_bid)[start:])
        index = None if index is None else start + index
    elif ticket.buys:
        index = ticks.first_ask_at_most(limit, start)
    else:
        index = ticks.first_bid_at_least(limit, start)
    return None if index is None else Hit(_at(ticks, index), "trade", limit)


def carried(order: SimOrder, ticks: Ticks, quirks: Quirks, until: datetime | None = None) -> Carried:
    """What the order has seen after these ticks, or after those up to `until`, that the next ones build on."""
    start = _start(order, ticks)
    end = len(ticks) if until is None else int(np.searchsorted(ticks.seconds, until.timestamp(), side="right"))
    if start >= end:
        return Carried(order.last_hit, order.stop_now, order.limit_now)
    if order.ticket.order_type == "REL":
        rest = _rests(order, ticks, start)[end - start - 1]
        return Carried(None, None, None if abs(rest) >= NOBODY else _price(rest))
    if not order.waits:
        return Carried(None, order.stop_now, order.limit_now)
    stops, looks = _looks(order, ticks, start, quirks)
    last = end - start - 1
    stop = _price(stops[last]) if order.ticket.kind.trails and abs(stops[last]) < NOBODY else order.stop_now
    if not looks.through[last]:
        return Carried(None, stop, order.limit_now)
    return Carried((_price(looks.prices[last]), Decimal(int(looks.sizes[last]))), stop, order.limit_now)


@dataclass(frozen=True, slots=True)
class _Looks:
    """What an order that waits sees at each tick: price and size of what it watches, and whether that is through."""

    prices: Ints
    sizes: Ints
    through: Flags


def _looks(order: SimOrder, ticks: Ticks, start: int, quirks: Quirks) -> tuple[Ints, _Looks]:
    """Where its stop stands at each tick from `start` on, and what it sees there."""
    ticket = order.ticket
    if _by_sides(ticket, quirks):
        bid = ticket.buys == (ticket.kind.waits == "stop")
        prices = (ticks.bid_cents if bid else ticks.ask_cents)[start:]
        sizes = (ticks.bid_size if bid else ticks.ask_size)[start:]
        there = (ticks.has_bid if bid else ticks.has_ask)[start:]
    else:
        prices, sizes = ticks.last_cents[start:], np.zeros(len(ticks) - start, dtype=np.int64)
        there = ticks.has_last[start:] & _near_quote(prices, ticks, start)
    if ticket.trail is None:
        assert ticket.stop is not None, "what waits has a price to wait for"
        stops: Ints = np.asarray(int(ticket.stop * 100))
    else:
        seen, known = prices, there
        if quirks.trail_follows == "midpoint":
            seen = (ticks.bid_cents + ticks.ask_cents)[start:] // 2
            known = (ticks.has_bid & ticks.has_ask)[start:]
        stops = stops_over(order.stop_now, ticket.trail, seen, known, buys=ticket.buys)
    rises = ticket.buys == (ticket.kind.waits == "stop")
    return stops, _Looks(prices, sizes, there & ((prices >= stops) if rises else (prices <= stops)))


def _near_quote(last: Ints, ticks: Ticks, start: int) -> Flags:
    """A last price counts within the quote, or at most 0.5 % outside. Source: docs/facts/orders.md §1.8."""
    bid, ask, outside = ticks.bid_cents[start:], ticks.ask_cents[start:], float(_OUTSIDE)
    return np.asarray(((bid <= 0) | (last >= bid * (1 - outside))) & ((ask <= 0) | (last <= ask * (1 + outside))))


def _election(order: SimOrder, ticks: Ticks, start: int, quirks: Quirks) -> Hit | None:
    if start >= len(ticks):
        return None
    stops, looks = _looks(order, ticks, start, quirks)
    found = looks.through
    if _needs_two(order.ticket, quirks):
        first = order.last_hit
        price, size = (int(first[0] * 100), int(first[1])) if first else (0, 0)
        found = found & np.concatenate(([first is not None], looks.through[:-1]))
        if quirks.same_price_needs_size:
            same = looks.prices == np.concatenate(([price], looks.prices[:-1]))
            found &= ~same | (looks.sizes > np.concatenate(([size], looks.sizes[:-1])))
    index = _first(found)
    if index is None:
        return None
    return Hit(_at(ticks, start + index), "elect", stop=_price(stops[index]) if order.ticket.kind.trails else None)


def _rests(order: SimOrder, ticks: Ticks, start: int) -> Ints:
    """Where a relative order rests at each tick from `start` on, in cents; out of reach where nobody quotes."""
    ticket = order.ticket
    assert ticket.offset is not None, "a relative order has an offset"
    assert ticket.limit is not None, "and a limit"
    offset, limit = int(ticket.offset * 100), int(ticket.limit * 100)
    if ticket.buys:
        return np.where(ticks.has_bid[start:], np.minimum(ticks.bid_cents[start:] + offset, limit), -NOBODY)
    return np.where(ticks.has_ask[start:], np.maximum(ticks.ask_cents[start:] - offset, limit), NOBODY)


def _relative_hit(order: SimOrder, ticks: Ticks, start: int) -> Hit | None:
    if start >= len(ticks):
        return None
    buys, reach = order.ticket.buys, -NOBODY if order.ticket.buys else NOBODY
    rests = _rests(order, ticks, start)
    before = np.concatenate(([reach if order.limit_now is None else int(order.limit_now * 100)], rests[:-1]))
    other = (ticks.ask_cents if buys else ticks.bid_cents)[start:]
    there = (ticks.has_ask if buys else ticks.has_bid)[start:]
    came = there & ((other <= before) if buys else (other >= before))
    index = _first(came | (there & ((other <= rests) if buys else (other >= rests))))
    if index is None:
        return None
    # Where it rested, if the market came to it; the touch, if it has just moved into the market.
    return Hit(_at(ticks, start + index), "trade", _price(before[index]) if came[index] else None)


def _middle_hit(order: SimOrder, ticks: Ticks, start: int) -> Hit | None:
    doubled, cap = (ticks.bid_cents + ticks.ask_cents)[start:], order.ticket.limit
    found = (ticks.has_bid & ticks.has_ask)[start:]
    if cap is not None:
        found = found & ((doubled <= int(cap * 200)) if order.ticket.buys else (doubled >= int(cap * 200)))
    index = _first(found)
    return None if index is None else Hit(_at(ticks, start + index), "trade")


def _first(found: Flags) -> int | None:
    return int(np.argmax(found)) if found.any() else None


def _start(order: SimOrder, ticks: Ticks) -> int:
    """Index of the first tick after the order's last change."""
    return int(np.searchsorted(ticks.seconds, order.since.timestamp(), side="right"))


def _at(ticks: Ticks, index: int) -> datetime:
    return datetime.fromtimestamp(int(ticks.seconds[index]), UTC)


def _price(cents: np.int64) -> Decimal:
    return Decimal(int(cents)).scaleb(-2)
