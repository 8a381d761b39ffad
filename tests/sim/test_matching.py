"""When an order trades, tick by tick. Source of the rules: docs/facts/orders.md §1.3, §1.8."""

from __future__ import annotations

from datetime import timedelta
from decimal import Decimal
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from ibkit.sim.exchange.matching import Hit, carried, next_hit, reading
from ibkit.sim.exchange.order import SimOrder
from ibkit.sim.exchange.tickets import SimTicket
from ibkit.sim.market.quotes import Ticks
from ibkit.sim.quirks import Quirks
from ibkit.sim.serving.inprocess import TRADING_MOMENT

pytestmark = pytest.mark.requirement("TST-01", "TRD-12")
START = TRADING_MOMENT


def order(kind: str, side: str, *, sec_type: str = "OPT", **prices: str) -> SimOrder:
    instrument: Any = SimpleNamespace(sec_type=sec_type, conid=1, multiplier=Decimal(100))
    ticket = SimTicket(
        instrument=instrument,
        side=side,  # type: ignore[arg-type]
        order_type=kind,  # type: ignore[arg-type]
        tif="DAY",
        quantity=Decimal(1),
        **{name: Decimal(price) for name, price in prices.items()},  # type: ignore[arg-type]
    )
    return SimOrder(
        id=1, account="DU1", username="u", ticket=ticket, placed_at=START, request_id=1, state="live", since=START
    )


def ticks(*rows: tuple[float, float, float, int, int]) -> Ticks:
    """bid, ask, last, bid size, ask size; one a second from START + 1 s."""
    columns = list(zip(*rows, strict=True))
    seconds = int(START.timestamp()) + 1 + np.arange(len(rows))
    cents = [np.array([round(value * 100) for value in column]) for column in columns[:3]]
    return Ticks(seconds, *cents, *(np.array(column) for column in columns[3:]))


def quiet(bid: float, ask: float, size: int = 10) -> tuple[float, float, float, int, int]:
    return bid, ask, bid, size, size


def hit(found: Hit | None) -> tuple[float, str, Decimal | None] | None:
    return None if found is None else ((found.at - START).total_seconds(), found.kind, found.price)


def look(subject: SimOrder, run: Ticks, *, single: bool = False, need_size: bool = True, **more: Any) -> Any:
    quirks = Quirks(option_trigger="bid_ask" if single else "double_bid_ask", same_price_needs_size=need_size, **more)
    return hit(next_hit(subject, run, quirks))


def test_a_buy_stop_on_an_option_elects_on_two_bids_in_a_row_not_on_the_ask() -> None:
    run = ticks(quiet(2.5, 9.0), quiet(7.5, 9.0), quiet(2.5, 9.0), quiet(7.6, 9.0), quiet(7.7, 9.0))
    assert look(order("STP", "BUY", stop="7.50"), run) == (5, "elect", None)


def test_a_sell_stop_on_an_option_elects_on_two_asks_in_a_row_not_on_the_bid() -> None:
    run = ticks(quiet(1.0, 2.1), quiet(1.0, 2.0), quiet(1.0, 2.1), quiet(1.0, 1.95), quiet(1.0, 1.9))
    assert look(order("STP", "SELL", stop="2.00"), run) == (5, "elect", None)


def test_a_second_bid_of_the_same_price_elects_only_with_a_larger_size() -> None:
    run = ticks(quiet(7.5, 9.0, 10), quiet(7.5, 9.0, 10), quiet(7.5, 9.0, 9), quiet(7.5, 9.0, 11))
    assert look(order("STP", "BUY", stop="7.50"), run) == (4, "elect", None)
    assert look(order("STP", "BUY", stop="7.50"), run, need_size=False) == (2, "elect", None)
    assert look(order("STP", "BUY", stop="7.50"), run, single=True) == (1, "elect", None)


def test_the_first_of_the_two_bids_may_lie_in_an_earlier_stretch_of_time() -> None:
    stop = order("STP", "BUY", stop="7.50")
    first = ticks(quiet(2.5, 9.0), quiet(7.5, 9.0))
    assert look(stop, first) is None
    stop.last_hit = carried(stop, first, Quirks()).last_hit
    stop.since = START + timedelta(seconds=2)
    assert stop.last_hit == (Decimal("7.50"), Decimal(10))
    later = ticks(quiet(2.5, 9.0), quiet(7.5, 9.0), quiet(7.6, 9.0))
    assert look(stop, later) == (3, "elect", None)


def test_a_stock_stop_elects_on_the_last_price_alone() -> None:
    run = ticks((101, 102, 100, 1, 1), (99, 100, 99.9, 1, 1), (99, 101, 101, 1, 1))
    assert look(order("STP", "BUY", sec_type="STK", stop="101"), run) == (3, "elect", None)
    assert look(order("STP", "SELL", sec_type="STK", stop="99.90"), run) == (2, "elect", None)


def test_a_last_price_far_outside_the_quote_does_not_count() -> None:
    run = ticks((99, 100, 105, 1, 1), (99, 100, 100.4, 1, 1))
    assert look(order("STP", "BUY", sec_type="STK", stop="100.40"), run) == (2, "elect", None)


def test_a_resting_limit_trades_at_its_own_price_when_the_market_comes_to_it() -> None:
    run = ticks(quiet(2.0, 2.2), quiet(1.8, 2.0), quiet(1.7, 1.9))
    assert look(order("LMT", "BUY", limit="2.00"), run) == (2, "trade", Decimal("2.00"))
    assert look(order("LMT", "SELL", limit="2.10"), run) is None


def test_a_market_order_waits_for_a_side_that_is_quoted() -> None:
    run = ticks(quiet(1.0, 0), quiet(1.0, 1.1))
    assert look(order("MKT", "BUY"), run) == (2, "trade", None)


def test_ticks_before_the_orders_last_change_are_past() -> None:
    subject = order("MKT", "SELL")
    subject.since = START + timedelta(seconds=1)
    assert look(subject, ticks(quiet(1.0, 1.1), quiet(1.0, 1.1))) == (2, "trade", None)


def test_an_elected_stop_limit_obeys_its_limit() -> None:
    subject = order("STOP_LIMIT", "BUY", stop="7.50", limit="8.00")
    subject.elected_at = START
    run = ticks(quiet(7.9, 8.1), quiet(7.8, 8.0))
    assert look(subject, run) == (2, "trade", Decimal("8.00"))


def test_a_quote_read_at_once_and_a_tick_agree() -> None:
    quote: Any = SimpleNamespace(bid=Decimal("7.50"), ask=Decimal("9.00"), last=Decimal(8), bid_size=3, ask_size=4)

    def read(side: str, stop: str) -> Any:
        return reading(order("STP", side, stop=stop).ticket, Decimal(stop), quote, Quirks())

    assert read("BUY", "7.50") == (Decimal("7.50"), Decimal(3))
    assert read("BUY", "7.55") is None
    assert read("SELL", "9.00") == (Decimal("9.00"), Decimal(4))
