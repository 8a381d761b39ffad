"""Rate arithmetic. Source: docs/facts/auth-and-sessions.md §5."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ibkit.wire import LIVE_ORDERS, SNAPSHOT, TICKLE, Concurrent, Endpoint, Pacer

HISTORY = Endpoint("GET", "/history", "test", limit=Concurrent(5))


def run(pacer: Pacer, gaps: list[float]) -> list[float]:
    """When calls leave that are asked for after such gaps, each waiting as it is told."""
    now, left = 0.0, []
    for gap in gaps:
        now += gap
        while wait := pacer.take(now):
            now += wait
        left.append(now)
    return left


@pytest.mark.requirement("LIM-01")
@pytest.mark.parametrize("limit", [10, 50])
@given(gaps=st.lists(st.floats(0, 0.3), max_size=150))
@settings(max_examples=40, deadline=None)
def test_no_second_ever_holds_more_calls_than_allowed(limit, gaps) -> None:
    left = run(Pacer(calls_per_s=limit), gaps)
    for at in left:
        assert sum(at <= other < at + 1.0 for other in left) <= limit


@pytest.mark.requirement("LIM-02")
def test_the_order_list_is_asked_once_in_five_seconds() -> None:
    pacer = Pacer(calls_per_s=10)
    assert [round(pacer.reserve(LIVE_ORDERS, 0.0)) for _ in range(3)] == [0, 5, 10]


@pytest.mark.requirement("LIM-02")
def test_ten_snapshots_a_second_and_no_more() -> None:
    pacer = Pacer(calls_per_s=50)
    waits = [pacer.reserve(SNAPSHOT, 0.0) for _ in range(11)]
    assert waits[:10] == [0.0] * 10
    assert waits[10] > 1.0


@pytest.mark.requirement("LIM-02")
def test_at_most_five_of_one_kind_are_under_way() -> None:
    pacer = Pacer(calls_per_s=50)
    assert [pacer.begin(HISTORY) for _ in range(6)] == [True] * 5 + [False]
    pacer.end(HISTORY)
    assert pacer.begin(HISTORY)


@pytest.mark.requirement("LIM-03")
def test_a_429_slows_everything_down_by_a_fifth_for_a_minute() -> None:
    pacer = Pacer(calls_per_s=10)
    pacer.refused(SNAPSHOT, 0.0)
    assert [pacer.take(1.0) for _ in range(9)][7:] != [0.0, 0.0]
    later = Pacer(calls_per_s=10)
    later.refused(SNAPSHOT, 0.0)
    assert [later.take(61.0) for _ in range(10)] == [0.0] * 10


@pytest.mark.requirement("LIM-03")
def test_an_endpoint_pauses_after_its_429_twice_as_long_each_time() -> None:
    pacer = Pacer(calls_per_s=10)
    pacer.refused(TICKLE, 0.0)
    assert pacer.paused_for(TICKLE, 0.0) == 1.0
    pacer.refused(TICKLE, 1.0)
    assert pacer.paused_for(TICKLE, 1.0) == 2.0
    assert pacer.paused_for(SNAPSHOT, 1.0) == 0.0
    pacer.refused(SNAPSHOT, 300.0, retry_after_s=7.0)
    assert pacer.paused_for(SNAPSHOT, 300.0) == 7.0


@pytest.mark.requirement("LIM-03")
def test_what_another_run_of_the_login_asked_is_no_penalty_box() -> None:
    """A worker and a command both ask for the order list: neither may stop its own orders for ten minutes."""
    pacer = Pacer(calls_per_s=10)
    for at in (0.0, 5.0, 10.0, 15.0):
        pacer.refused(LIVE_ORDERS, at)
    assert pacer.boxed_for(15.0) == 0.0
    assert pacer.paused_for(LIVE_ORDERS, 15.0) > 0


@pytest.mark.requirement("LIM-03")
def test_three_429_in_a_minute_open_the_penalty_box_for_ten() -> None:
    pacer = Pacer(calls_per_s=10)
    for at in (0.0, 20.0):
        pacer.refused(TICKLE, at)
    assert pacer.boxed_for(20.0) == 0.0
    pacer.refused(SNAPSHOT, 40.0)
    assert pacer.boxed_for(40.0) == 600.0
    assert pacer.boxed_for(641.0) == 0.0


def test_three_429_spread_out_do_not() -> None:
    pacer = Pacer(calls_per_s=10)
    for at in (0.0, 40.0, 80.0):
        pacer.refused(TICKLE, at)
    assert pacer.boxed_for(80.0) == 0.0


def test_no_limit_means_none() -> None:
    assert set(run(Pacer(calls_per_s=0), [0.0] * 1000)) == {0.0}


@pytest.mark.requirement("LIM-01")
def test_a_call_that_was_held_up_moves_the_slot_behind_it() -> None:
    """Counted from its reservation, the next call would leave too early for the broker's window."""
    pacer = Pacer(calls_per_s=10)
    wait = pacer.reserve(LIVE_ORDERS, 100.0)
    assert wait == 0.0
    pacer.went(LIVE_ORDERS, 100.0, 100.5)
    assert pacer.reserve(LIVE_ORDERS, 102.0) == pytest.approx(100.5 + 5.03 - 102.0)
