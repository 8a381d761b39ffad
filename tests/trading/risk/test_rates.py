"""RC-18 to RC-20: rate, repeats, refusals. What left counts, not what was asked."""

from __future__ import annotations

import dataclasses
from datetime import timedelta
from decimal import Decimal

import pytest

from fakes import SPY, option, stock_ticket
from ibkit.model import Conid, Side
from ibkit.trading.events import Operation
from ibkit.trading.risk import PAPER_LIMITS, HaltMode, State, Usage, check
from risk_cases import LIVE, NOW, bracket, case, left, limit_order, oca, ours, read, state_of, stop_order

pytestmark = pytest.mark.requirement("TRD-18")
QQQ = dataclasses.replace(SPY, symbol="QQQ", conid=Conid(320227571))


def sent(*ages: float, today: int | None = None, **more: object) -> Usage:
    rows = tuple(left(ago_s=age, name=f"ib-{n}", **more) for n, age in enumerate(ages))
    return Usage(sent=rows, sent_today=len(rows) if today is None else today)


@pytest.mark.parametrize(
    ("usage", "limits", "state"),
    [
        (sent(*[0.5] * 3), PAPER_LIMITS, State.OK),
        (sent(*[0.5] * 4), PAPER_LIMITS, State.OK),
        (sent(*[0.5] * 5), PAPER_LIMITS, State.REFUSES),
        (sent(*[1.0] * 5), PAPER_LIMITS, State.OK),
        (sent(*[0.999] * 5), PAPER_LIMITS, State.REFUSES),
        (sent(*[30] * 118), PAPER_LIMITS, State.OK),
        (sent(*[30] * 119), PAPER_LIMITS, State.OK),
        (sent(*[30] * 120), PAPER_LIMITS, State.REFUSES),
        (sent(*[60.0] * 120), PAPER_LIMITS, State.OK),
        (sent(*[59.999] * 120), PAPER_LIMITS, State.REFUSES),
        (sent(today=100_000), PAPER_LIMITS, State.OK),
        (sent(0.5), LIVE, State.OK),
        (sent(0.5, 0.5), LIVE, State.REFUSES),
        (sent(*[30] * 29), LIVE, State.OK),
        (sent(*[30] * 30), LIVE, State.REFUSES),
        (sent(today=498), LIVE, State.OK),
        (sent(today=499), LIVE, State.OK),
        (sent(today=500), LIVE, State.REFUSES),
    ],
)
def test_orders_in_a_second_a_minute_a_day(usage, limits, state):
    reading = read("RC-18", case(usage=usage, limits=limits))

    assert (reading.name, reading.state) == ("order_rate", state)
    assert (reading.headroom < 0) is (state is State.REFUSES)


def test_the_tightest_of_the_windows_is_shown():
    assert read("RC-18", case(usage=sent(*[30] * 118))).value == "119 in a minute"
    assert read("RC-18", case(usage=sent(today=499), limits=LIVE)).value == "500 in a day"
    assert read("RC-18", case()).value == "1 in a second"
    assert read("RC-18", case(usage=sent(*[0.5] * 5))).objection.text == (
        "Order exceeds limit order_rate: 6 in a second > 5 in a second"
    )


def test_sends_from_the_future_count_when_the_clock_went_back():
    assert state_of("RC-18", case(usage=sent(*[-3600] * 5))) is State.REFUSES


def test_orders_of_a_group_count_each_and_the_own_send_not():
    own = Usage(sent=(left(name="ib-this"),) * 5, sent_today=500)

    assert state_of("RC-18", oca(limit_order("1"), limit_order("2"), usage=sent(*[0.5] * 3))) is State.OK
    assert state_of("RC-18", oca(limit_order("1"), limit_order("2"), usage=sent(*[0.5] * 4))) is State.REFUSES
    assert state_of("RC-18", case(usage=own)) is State.OK
    assert read("RC-18", case(usage=own, limits=LIVE)).state is State.OK


def test_rates_can_be_off_or_nought():
    off = dataclasses.replace(PAPER_LIMITS, orders_per_second=None, orders_per_minute=None)
    nought = dataclasses.replace(PAPER_LIMITS, orders_per_day=0)

    assert state_of("RC-18", case(usage=sent(*[0.1] * 500), limits=off)) is State.OFF
    assert state_of("RC-18", case(limits=nought)) is State.REFUSES
    no_second = dataclasses.replace(PAPER_LIMITS, orders_per_second=None)  # the minute holds all the same
    assert state_of("RC-18", case(usage=sent(*[0.1] * 119), limits=no_second)) is State.OK
    assert state_of("RC-18", case(usage=sent(*[0.1] * 120), limits=no_second)) is State.REFUSES


# -- RC-19 -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("count", "state"), [(3, State.OK), (4, State.OK), (5, State.REFUSES), (9, State.REFUSES)])
@pytest.mark.parametrize("limits", [PAPER_LIMITS, LIVE], ids=["paper", "live"])
def test_the_same_contract_and_side_more_than_five_times_in_a_minute(count, state, limits):
    reading = read("RC-19", case(usage=sent(*[59.999] * count), limits=limits))

    assert (reading.name, reading.state) == ("repeat_breaker", state)


def test_other_contracts_sides_changes_and_older_sends_are_no_repeats():
    many = [30.0] * 9
    for usage in (
        sent(*many, ticket=stock_ticket("10", side=Side.SELL)),
        sent(*many, ticket=stock_ticket("10", contract=option())),
        sent(*many, operation=Operation.MODIFY),
        sent(*[60.0] * 9),
    ):
        assert read("RC-19", case(usage=usage)).value == "1 in a minute"
    assert read("RC-19", case(usage=sent(30, 40))).headroom == 2


def test_a_change_is_not_counted_as_one_more():
    assert state_of("RC-19", case(usage=sent(*[30] * 5), operation=Operation.MODIFY)) is State.OK
    assert state_of("RC-19", case(usage=sent(*[30] * 6), operation=Operation.MODIFY)) is State.REFUSES
    assert read("RC-19", case(operation=Operation.MODIFY)).value == "0 in a minute"


def test_the_symbol_is_halted_until_somebody_looks():
    verdict = check(case(usage=sent(*[30] * 5)))
    halt = verdict.halts[0]

    assert (halt.mode, halt.account_id, halt.symbol, halt.until) == (HaltMode.BLOCK_NEW, "DU1234567", "SPY", None)
    assert (halt.control, halt.at, halt.by) == ("RC-19", NOW, "breaker")
    assert halt.note == "6 orders to BUY SPY within a minute"
    assert verdict.objection.text == ("Too many of the same order: 6 orders to BUY SPY within a minute; SPY is halted")


@pytest.mark.parametrize(("times", "state"), [("20", State.OK), ("30", State.OK), ("30.01", State.REFUSES)])
def test_an_open_order_that_left_more_than_three_times_is_a_loop(times, state):
    usage = Usage(open=(ours(limit_order("50", "10"), sent=Decimal(times)),))
    reading = read("RC-19", case(usage=usage))

    assert reading.state is state
    if state is State.REFUSES:
        assert reading.halt.note == "30.01 of SPY left, 10 were wanted"
        assert (reading.value, reading.limit) == ("30.01", "30")


def test_loops_are_looked_for_in_the_contract_and_side_of_the_order():
    looping = {"sent": Decimal(99)}
    others = (
        ours(limit_order("50", "10", side=Side.SELL), "ib-1", **looping),
        ours(limit_order("50", "10", contract=QQQ), "ib-2", **looping),
        ours(limit_order("50", "10"), "ib-3", ended=True, **looping),
        ours(limit_order("50", "10"), "ib-this", **looping),
    )

    assert state_of("RC-19", case(usage=Usage(open=others))) is State.OK
    calm = (*others, ours(limit_order("50", "50"), "ib-4"), ours(limit_order("50", "10"), "ib-5", **looping))
    assert state_of("RC-19", case(usage=Usage(open=calm))) is State.OK  # 149 of 60 wanted: less than three times


def test_of_a_group_each_contract_and_side_is_looked_at():
    given = oca(limit_order("1", contract=QQQ), limit_order("1"), usage=sent(*[30] * 5))
    twice = oca(limit_order("1"), limit_order("2"), usage=sent(*[30] * 4))
    children = bracket(limit_order("1"), stop_order("2", side=Side.SELL), usage=sent(*[30] * 4))

    assert read("RC-19", given).halt.symbol == "SPY"
    assert state_of("RC-19", twice) is State.REFUSES
    assert state_of("RC-19", children) is State.OK


def test_the_repeat_breaker_can_be_off():
    off = dataclasses.replace(PAPER_LIMITS, repeat_breaker=None)

    assert state_of("RC-19", case(usage=sent(*[30] * 50), limits=off)) is State.OFF


# -- RC-20 -----------------------------------------------------------------------------------------------------------


def refused(*ages: float) -> Usage:
    return Usage(rejects=tuple(NOW - timedelta(seconds=age) for age in ages))


@pytest.mark.parametrize(
    ("ages", "state"),
    [
        ((), State.OK),
        ((1, 2, 3, 4), State.OK),
        ((1, 2, 3, 4, 5), State.REFUSES),
        ((1, 2, 3, 4, 61), State.REFUSES),  # exactly a minute between the first and the last
        ((1, 2, 3, 4, 61.001), State.OK),
        ((299, 300, 301, 302, 303), State.REFUSES),
        ((299.999, 300, 301, 302, 303), State.REFUSES),
        ((300, 301, 302, 303, 304), State.OK),  # five minutes are over
        ((1, 301, 302, 303, 304, 305), State.OK),
    ],
)
@pytest.mark.parametrize("limits", [PAPER_LIMITS, LIVE], ids=["paper", "live"])
def test_five_refusals_within_a_minute_halt_the_account_for_five(ages, state, limits):
    reading = read("RC-20", case(usage=refused(*ages), limits=limits))

    assert (reading.name, reading.state) == ("reject_breaker", state)


def test_the_halt_runs_from_the_last_of_the_refusals():
    verdict = check(case(usage=refused(10, 20, 30, 40, 50)))
    halt = verdict.halts[0]

    assert (halt.mode, halt.account_id, halt.symbol) == (HaltMode.BLOCK_NEW, "DU1234567", "")
    assert (halt.until, halt.control, halt.by) == (NOW + timedelta(seconds=290), "RC-20", "breaker")
    assert halt.note == "5 refusals by the broker within a minute"
    assert verdict.objection.text == "The broker refused 5 orders within a minute; nothing new until 15:34:50 UTC"


def test_refusals_of_the_last_minute_are_shown_and_the_breaker_can_be_changed():
    three = dataclasses.replace(PAPER_LIMITS, reject_breaker=3)
    off = dataclasses.replace(PAPER_LIMITS, reject_breaker=None)
    reading = read("RC-20", case(usage=refused(1, 59.9, 60, 200)))

    assert (reading.value, reading.headroom) == ("2 in a minute", 3)
    assert state_of("RC-20", case(usage=refused(1, 2, 3), limits=three)) is State.REFUSES
    assert state_of("RC-20", case(usage=refused(1, 2), limits=three)) is State.OK
    assert state_of("RC-20", case(usage=refused(1, 2, 3, 4, 5), limits=off)) is State.OFF


def test_refusals_may_be_told_in_any_order():
    assert state_of("RC-20", case(usage=refused(250, 1, 3, 2, 4, 5))) is State.REFUSES
