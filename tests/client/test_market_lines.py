"""Lines of market data: merged, renewed, watched, given up; without a clock and without a socket."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest

from ibkit.client.market_lines import MarketLines
from ibkit.model import Conid
from ibkit.wire.stream import Market

pytestmark = pytest.mark.requirement("FUT-02")

SPY = Conid(756733)
ASK = 'smd+756733+{"fields":["84","86"]}'


def frame(updated_ms: int | None, conid: int = SPY, **fields: Any) -> Market:
    return Market(str(conid), Conid(conid), updated_ms, {name.strip("_"): value for name, value in fields.items()})


def lines() -> MarketLines:
    made = MarketLines()
    assert made.want(SPY, ("84", "86"))
    assert made.due(0.0, {SPY}) == [ASK]
    return made


def test_deltas_are_merged_and_null_says_nothing() -> None:
    made = lines()
    made.hear(frame(1000, _84="1.00", _86="1.10"), 1)
    quote = made.hear(frame(1500, _84="1.05", _86=None), 2).quote
    assert quote is not None
    assert (quote.bid, quote.ask) == (Decimal("1.05"), Decimal("1.10"))
    assert made.hear(frame(2000), 3).quote is None, "an empty frame is no news"


def test_an_older_frame_never_overwrites() -> None:
    made = lines()
    made.hear(frame(2000, _84="1.00"), 1)
    assert made.hear(frame(1500, _84="0.50"), 2).quote is None
    assert made.known({SPY})[0].bid == Decimal("1.00")


def test_data_for_a_contract_nobody_wants_is_dropped() -> None:
    assert lines().hear(frame(1, conid=1, _84="1"), 1).quote is None


def test_a_number_that_is_none_counts_for_nothing() -> None:
    made = lines()
    made.hear(frame(1000, _84="1.00"), 1)
    with pytest.raises(ValueError):
        made.hear(frame(2000, _84="abc"), 2)
    assert made.hear(frame(1500, _84="1.01"), 3).quote is not None


@pytest.mark.parametrize(("text", "close", "halted"), [("C187.2", True, False), ("H12", False, True)])
def test_prefixed_prices_are_known_as_such(text: str, close: bool, halted: bool) -> None:
    quote = lines().hear(frame(1000, _31=text), 1).quote
    assert quote is not None
    assert (quote.last_is_close, quote.halted) == (close, halted)


def test_a_line_is_renewed_every_nine_minutes() -> None:
    made = lines()
    for second in range(0, 540, 10):
        made.hear(frame(second, _84=str(second)), second)
        assert made.due(second, {SPY}) == []
    assert made.due(540.0, {SPY}) == [ASK]
    assert made.gone_stale(540.0) == []


def test_f79_a_silent_line_is_asked_for_three_times_more_and_told_once() -> None:
    made = lines()
    made.hear(frame(1000, _84="1"), 0)
    asked, stale = [], []
    for second in range(300):
        asked += [second for _ in made.due(second, {SPY})]
        stale += made.gone_stale(second)
        at = made.next_at()
        assert at is not None
        assert at > second, "no busy waiting"
    assert asked == [22, 44, 66]
    assert stale == [("smd+756733", 29)]
    assert made.hear(frame(2000, _84="2"), 300).was_stale
    assert not made.hear(frame(3000, _84="2"), 301).was_stale


def test_f79_a_quiet_market_is_no_silent_line() -> None:
    """Nothing changes for minutes, but each time it is asked for the line answers."""
    made = lines()
    for second in range(300):
        if made.due(second, {SPY}):
            assert not made.hear(frame(second, _84="1"), second + 0.5).was_stale
        assert made.gone_stale(second) == []


def test_f79_the_moments_told_are_those_at_which_something_is_due() -> None:
    made = lines()
    assert made.next_at() == 22
    assert made.due(22, {SPY}) == [ASK]
    assert made.next_at() == 29
    assert made.gone_stale(28.9) == []
    assert made.gone_stale(29) == [("smd+756733", 29)]
    assert made.next_at() == 44


def test_f79_a_process_that_slept_asks_before_it_calls_a_line_silent() -> None:
    made = lines()
    assert made.due(500, {SPY}) == [ASK]
    assert made.gone_stale(500) == []
    assert made.gone_stale(507) == [("smd+756733", 507)]


def test_a_new_connection_mixes_nothing_old_into_what_comes() -> None:
    made = lines()
    made.hear(frame(1000, _84="1.00", _86="1.10"), 1)
    made.restart()
    assert made.due(2.0, {SPY}) == [ASK]
    quote = made.hear(frame(2000, _84="1.20"), 3).quote
    assert quote is not None
    assert (quote.bid, quote.ask) == (Decimal("1.20"), None)


def test_what_nobody_wants_any_more_is_ended() -> None:
    made = lines()
    assert made.due(1.0, set()) == ["umd+756733+{}"]
    assert made.next_at() is None
