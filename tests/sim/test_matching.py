"""When an order trades, tick by tick. Source of the rules: docs/facts/orders.md §1.3, §1.8."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from decimal import Decimal
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from ibkit.sim.exchange.matching import Hit, carried, next_hit, reading
from ibkit.sim.exchange.order import SimOrder
from ibkit.sim.exchange.tickets import SimTicket, Trail
from ibkit.sim.market.quotes import NOBODY, Ticks
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


# --- trails, touches, pegs and combos -------------------------------------------------------------------------------


def trail(
    side: str, amount: str, form: str = "amt", *, sec_type: str = "OPT", kind: str = "TRAIL", **prices: str
) -> Any:
    subject = order(kind, side, sec_type=sec_type, **prices)
    subject.ticket = replace(subject.ticket, trail=Trail(Decimal(amount), form == "%"))
    subject.stop_now = subject.ticket.stop
    return subject


def combo_ticks(*rows: tuple[float | None, float | None]) -> Ticks:
    """Bid and ask of a combo, None where nobody quotes."""
    seconds = int(START.timestamp()) + 1 + np.arange(len(rows))
    bid = np.array([-NOBODY if b is None else round(b * 100) for b, _ in rows])
    ask = np.array([NOBODY if a is None else round(a * 100) for _, a in rows])
    ones = np.ones(len(rows), dtype=np.int64)
    return Ticks(seconds, bid, ask, np.zeros(len(rows), dtype=np.int64), ones, ones, signed=True)


def test_a_trail_moves_with_the_ticks_and_elects_where_they_turn_back() -> None:
    run = ticks(*((b, b + 0.1, b, 9, 9) for b in (2.0, 1.5, 1.0, 1.3, 1.49, 1.5, 1.55)))
    assert look(trail("BUY", "0.50"), run) == (7, "elect", None), "two bids of at least 1.50"
    found = next_hit(trail("BUY", "0.50"), run, Quirks())
    assert found is not None
    assert found.stop == Decimal("1.50")
    assert look(trail("BUY", "0.50"), run, single=True) == (6, "elect", None)
    assert look(trail("BUY", "60", "%"), run) is None, "1.60 is never bid"
    assert look(trail("BUY", "0.50", stop="1.20"), run) == (2, "elect", None), "a first stop below the market"


def test_a_trail_on_a_stock_follows_the_last_price() -> None:
    run = ticks(*((p - 0.01, p + 0.01, p, 1, 1) for p in (100, 103, 102, 101.01, 101, 104)))
    assert look(trail("SELL", "2", sec_type="STK"), run) == (5, "elect", None)
    assert look(trail("SELL", "1", "%", sec_type="STK"), run) == (4, "elect", None), "1 % under 103 is 101.97"


def test_a_trail_is_carried_over_from_one_run_of_ticks_to_the_next() -> None:
    subject = trail("BUY", "0.50")
    first = ticks(quiet(2.0, 2.1), quiet(1.0, 1.1), quiet(1.4, 1.5))
    seen = carried(subject, first, Quirks())
    assert (seen.stop, seen.last_hit) == (Decimal("1.50"), None)
    half = carried(subject, first, Quirks(), START + timedelta(seconds=1))
    assert half.stop == Decimal("2.50"), "only as far as it was asked for"
    subject.stop_now, subject.since = seen.stop, START + timedelta(seconds=3)
    later = ticks(*[quiet(0.1, 0.2)] * 3, quiet(1.5, 1.6), quiet(1.51, 1.6))
    assert look(subject, later) == (5, "elect", None)


def test_without_a_price_a_trail_stands_still() -> None:
    run = ticks(quiet(0, 2.1), quiet(0, 0.1), quiet(2.0, 2.1))
    assert carried(trail("BUY", "0.50"), run, Quirks()).stop == Decimal("2.50")
    assert carried(trail("BUY", "0.50"), ticks(quiet(0, 2.1)), Quirks()).stop is None


def test_touched_orders_look_the_other_way_than_stops() -> None:
    run = ticks(quiet(2.0, 2.2), quiet(1.9, 2.1), quiet(2.3, 2.5))
    assert look(order("MIT", "BUY", stop="2.10"), run) == (2, "elect", None)
    assert look(order("MIT", "SELL", stop="2.30"), run) == (3, "elect", None)
    stock = ticks((1, 9, 2.2, 1, 1), (1, 9, 2.1, 1, 1), (1, 2.0, 2.1, 1, 1))
    assert look(order("LIT", "BUY", sec_type="STK", stop="2.10", limit="2"), stock) == (2, "elect", None)
    assert look(order("LIT", "BUY", sec_type="STK", stop="2.10", limit="2"), stock, touch_trigger="bid_ask") == (
        3,
        "elect",
        None,
    )


def test_a_relative_order_trades_where_it_rested_or_at_the_touch_that_it_moves_into() -> None:
    run = ticks(quiet(1.00, 1.20), quiet(1.10, 1.20), quiet(1.05, 1.12), quiet(1.00, 1.01))
    assert look(order("REL", "BUY", limit="1.50", offset="0.01"), run) == (4, "trade", Decimal("1.06"))
    assert look(order("REL", "BUY", limit="1.50", offset="0.02"), run) == (3, "trade", Decimal("1.12"))
    assert look(order("REL", "BUY", limit="1.03", offset="0.02"), run) == (4, "trade", Decimal("1.03"))
    assert look(order("REL", "SELL", limit="1.00", offset="0.05"), run) == (4, "trade", None)
    assert look(order("REL", "SELL", limit="1.15", offset="0.05"), run) is None
    assert carried(order("REL", "SELL", limit="1.00", offset="0.05"), run, Quirks()).limit == Decimal("1.00")


def test_a_midprice_order_trades_at_the_first_middle_within_its_cap() -> None:
    run = ticks(quiet(0, 1.20), quiet(1.00, 1.21), quiet(1.00, 1.10))
    assert look(order("MIDPRICE", "BUY"), run) == (2, "trade", None)
    assert look(order("MIDPRICE", "BUY", limit="1.10"), run) == (3, "trade", None)
    assert look(order("MIDPRICE", "SELL", limit="1.10"), run) == (2, "trade", None)


def test_prices_of_combos_may_be_zero_and_below() -> None:
    run = combo_ticks((None, None), (-1.10, -0.95), (-0.05, 0.0), (-0.20, -0.10))
    assert look(order("MKT", "BUY", sec_type="BAG"), run) == (2, "trade", None)
    assert look(order("LMT", "BUY", sec_type="BAG", limit="-1"), run) is None
    assert look(order("LMT", "SELL", sec_type="BAG", limit="-0.1"), run) == (3, "trade", Decimal("-0.1"))
    assert look(order("STP", "BUY", sec_type="BAG", stop="-0.05"), run) == (3, "elect", None)
    assert look(order("STP", "SELL", sec_type="BAG", stop="-0.95"), run) == (2, "elect", None)
    twice = look(order("STP", "SELL", sec_type="BAG", stop="0"), run, combo_trigger="double_bid_ask")
    assert twice == (3, "elect", None)
    assert carried(trail("SELL", "0.25", sec_type="BAG"), run, Quirks()).stop == Decimal("-0.25")
    assert carried(trail("SELL", "10", "%", sec_type="BAG"), combo_ticks((-1.1, -1.0)), Quirks()).stop == Decimal(
        "-1.10"
    )
