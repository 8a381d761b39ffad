"""When and at what price an order trades, given the market's ticks. Pure: nothing here changes an order.

MKT         at once while the market is open, at the touch.
LMT         at the touch where it is marketable on arrival; later at its own price, when the market comes to it.
stop, OPT   elects on double bid/ask: a buy on two bids in a row at or above the stop, a sell on two asks at or below;
            a second one of the same price must show a larger size.
stop, STK   elects on a last price through the stop that is within the quote or at most 0.5 % outside.

Source: docs/facts/orders.md §1.3, §1.8.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from typing import TYPE_CHECKING, Literal

import numpy as np

from ibkit.sim.exchange.order import Reading, SimOrder

if TYPE_CHECKING:
    from ibkit.sim.market.quotes import MarketQuote, Ticks

__all__ = ["Hit", "confirms", "last_look", "next_hit", "reading", "touch_price"]

_OUTSIDE = Decimal("0.005")


@dataclass(frozen=True, slots=True)
class Hit:
    """The next thing that the market does to an order. price: of a resting limit; None means the touch."""

    at: datetime
    kind: Literal["trade", "elect"]
    price: Decimal | None = None


def touch_price(order: SimOrder, quote: MarketQuote) -> Decimal | None:
    """What an order that waits for no stop gets at this very quote; None if it cannot trade now."""
    buy, limit = _buys(order), order.ticket.limit
    price = quote.ask if buy else quote.bid
    if price is None or price <= 0:
        return None
    if limit is not None and (price > limit if buy else price < limit):
        return None
    return price


def reading(order: SimOrder, quote: MarketQuote) -> Reading | None:
    """What a stop sees at this quote if it is through the stop: price and size; else None."""
    buy, stop = _buys(order), _stop(order)
    if order.ticket.instrument.sec_type == "OPT":
        price, size = (quote.bid, quote.bid_size) if buy else (quote.ask, quote.ask_size)
    else:
        price, size = quote.last, 0
        if price is not None and quote.bid and quote.ask:
            price = price if quote.bid * (1 - _OUTSIDE) <= price <= quote.ask * (1 + _OUTSIDE) else None
    if price is None or price <= 0 or (price < stop if buy else price > stop):
        return None
    return price, Decimal(size)


def confirms(first: Reading | None, second: Reading, *, single: bool, need_size: bool) -> bool:
    """Whether a look through the stop elects it, after the look before.

    single: one look is enough. need_size: a second look at the same price must be larger.
    """
    if single:
        return True
    if first is None:
        return False
    return not need_size or second[0] != first[0] or second[1] > first[1]


def next_hit(order: SimOrder, ticks: Ticks, *, single: bool, need_size: bool) -> Hit | None:
    """The first tick after `order.since` that trades or elects the order, or None. Flags as in `confirms`."""
    start = _start(order, ticks)
    if order.waits_for_stop:
        option = order.ticket.instrument.sec_type == "OPT"
        find = _option_election if option else _stock_election
        index = find(order, ticks, start, single, need_size)
        return None if index is None else Hit(_at(ticks, index), "elect")
    buy, limit = _buys(order), order.ticket.limit
    if limit is None:
        side = (ticks.ask_cents if buy else ticks.bid_cents)[start:] > 0
        index = start + int(np.argmax(side)) if side.any() else None
    elif buy:
        index = ticks.first_ask_at_most(limit, start)
    else:
        index = ticks.first_bid_at_least(limit, start)
    return None if index is None else Hit(_at(ticks, index), "trade", limit)


def last_look(order: SimOrder, ticks: Ticks) -> Reading | None:
    """What a waiting option stop saw on the last of these ticks; the first of the next ones may confirm it."""
    if _start(order, ticks) >= len(ticks):
        return order.last_hit
    buy, stop = _buys(order), int(_stop(order) * 100)
    price = int((ticks.bid_cents if buy else ticks.ask_cents)[-1])
    size = int((ticks.bid_size if buy else ticks.ask_size)[-1])
    if price <= 0 or (price < stop if buy else price > stop):
        return None
    return Decimal(price).scaleb(-2), Decimal(size)


def _option_election(order: SimOrder, ticks: Ticks, start: int, single: bool, need_size: bool) -> int | None:
    buy = _buys(order)
    prices = (ticks.bid_cents if buy else ticks.ask_cents)[start:]
    sizes = (ticks.bid_size if buy else ticks.ask_size)[start:]
    stop = int(_stop(order) * 100)
    first_price, first_size = (int(order.last_hit[0] * 100), int(order.last_hit[1])) if order.last_hit else (0, 0)
    before_prices = np.concatenate(([first_price], prices[:-1])) if len(prices) else prices
    before_sizes = np.concatenate(([first_size], sizes[:-1])) if len(sizes) else sizes

    through = (prices > 0) & ((prices >= stop) if buy else (prices <= stop))
    if not single:
        through &= (before_prices > 0) & ((before_prices >= stop) if buy else (before_prices <= stop))
        if need_size:
            through &= (prices != before_prices) | (sizes > before_sizes)
    return start + int(np.argmax(through)) if through.any() else None


def _stock_election(order: SimOrder, ticks: Ticks, start: int, _single: bool, _need_size: bool) -> int | None:
    buy = _buys(order)
    last, bid, ask = ticks.last_cents[start:], ticks.bid_cents[start:], ticks.ask_cents[start:]
    stop = int(_stop(order) * 100)
    through = (last > 0) & ((last >= stop) if buy else (last <= stop))
    outside = float(_OUTSIDE)
    through &= ((bid <= 0) | (last >= bid * (1 - outside))) & ((ask <= 0) | (last <= ask * (1 + outside)))
    return start + int(np.argmax(through)) if through.any() else None


def _start(order: SimOrder, ticks: Ticks) -> int:
    """Index of the first tick after the order's last change."""
    return int(np.searchsorted(ticks.seconds, order.since.timestamp(), side="right"))


def _at(ticks: Ticks, index: int) -> datetime:
    return datetime.fromtimestamp(int(ticks.seconds[index]), UTC)


def _buys(order: SimOrder) -> bool:
    return order.ticket.side == "BUY"


def _stop(order: SimOrder) -> Decimal:
    assert order.ticket.stop is not None, "only stops are watched"
    return order.ticket.stop
