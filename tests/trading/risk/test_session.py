"""RC-24 to RC-27: hours, reset window, age, health of the session."""

from __future__ import annotations

import dataclasses
from datetime import timedelta
from decimal import Decimal

import pytest

from fakes import START, stock_ticket
from ibkit.model import OrderType, Right, Side
from ibkit.trading.events import Stage
from ibkit.trading.risk import PAPER_LIMITS, State, check_age
from risk_cases import (
    HEALTH,
    HOURS,
    LIVE,
    NOW,
    case,
    holding,
    limit_order,
    markets,
    oca,
    read,
    spread,
    spread_order,
    state_of,
    stop_order,
)

pytestmark = pytest.mark.requirement("TRD-18")
OPENS, CLOSES = HOURS.regular[0]
EARLY, LATE = HOURS.extended[0]
TICK = timedelta(microseconds=1)


@pytest.mark.parametrize(
    ("now", "state"),
    [
        (OPENS - TICK, State.REFUSES),
        (OPENS, State.OK),
        (OPENS + TICK, State.OK),
        (CLOSES - TICK, State.OK),
        (CLOSES, State.REFUSES),
        (CLOSES + TICK, State.REFUSES),
    ],
)
def test_regular_hours_are_kept_on_live(now, state):
    assert state_of("RC-24", case(limits=LIVE, now=now)) is state
    assert state_of("RC-24", case(now=now)) is State.OFF


@pytest.mark.parametrize(
    ("now", "state"),
    [(EARLY - TICK, State.REFUSES), (EARLY, State.OK), (LATE - TICK, State.OK), (LATE, State.REFUSES)],
)
def test_outside_of_them_an_order_says_so_and_has_a_limit(now, state):
    wide = limit_order("100", outside_rth=True)

    assert state_of("RC-24", case(wide, limits=LIVE, now=now)) is state
    assert state_of("RC-24", case(stock_ticket("1", outside_rth=True), limits=LIVE, now=now)) is State.REFUSES
    assert state_of("RC-24", case(limit_order("100"), limits=LIVE, now=CLOSES)) is State.REFUSES


@pytest.mark.parametrize("kind", [OrderType.LIMIT, OrderType.STOP_LIMIT, OrderType.STOP, OrderType.MARKET])
def test_only_orders_with_a_limit_may_trade_outside_regular_hours(kind):
    ticket = stock_ticket(
        "1",
        order_type=kind,
        outside_rth=True,
        limit_price=Decimal(100) if kind in (OrderType.LIMIT, OrderType.STOP_LIMIT) else None,
        stop_price=Decimal(100) if kind in (OrderType.STOP, OrderType.STOP_LIMIT) else None,
    )
    given = case(ticket, limits=LIVE)

    limited = kind in (OrderType.LIMIT, OrderType.STOP_LIMIT)
    assert (state_of("RC-24", given) is State.OK) is limited
    if not limited:
        assert read("RC-24", given).objection.text == (
            f"Outside regular hours only orders with a limit are allowed, not {kind.value}"
        )


@pytest.mark.parametrize("hours", [None, dataclasses.replace(HOURS, until=NOW)])
def test_hours_that_are_not_known_refuse(hours):
    reading = read("RC-24", case(limits=LIVE, hours=hours))

    assert (reading.state, reading.objection.name) == (State.NOT_KNOWN, "outside_hours")
    assert state_of("RC-24", case(limits=LIVE, hours=dataclasses.replace(HOURS, until=NOW + TICK))) is State.OK


def test_the_legs_of_a_combination_must_trade():
    legs = spread(("629", 1, Right.PUT), ("624", -1, Right.PUT))
    known = markets(legs, ("1.00", "1.02"), ("0.50", "0.52"))
    second = legs.legs[1].contract.conid
    shut = {**known, second: dataclasses.replace(known[second], hours=dataclasses.replace(HOURS, regular=()))}

    assert state_of("RC-24", case(spread_order(legs, "0.50"), limits=LIVE, markets=known)) is State.OK
    assert state_of("RC-24", case(spread_order(legs, "0.50"), limits=LIVE, markets=shut)) is State.REFUSES


def test_the_refusal_says_which_hours():
    outside = read("RC-24", case(limits=LIVE, now=CLOSES)).objection.text
    night = read("RC-24", case(limit_order("1", outside_rth=True), limits=LIVE, now=LATE)).objection.text

    assert (outside, night) == ("SPY is outside its regular trading hours", "SPY is outside its trading hours")


# -- RC-25 -----------------------------------------------------------------------------------------------------------

RESET = dataclasses.replace(HEALTH, reset_from=NOW, reset_until=NOW + timedelta(minutes=15))


@pytest.mark.parametrize(
    ("offset", "state"),
    [
        (timedelta(minutes=-5) - TICK, State.OK),
        (timedelta(minutes=-5), State.REFUSES),
        (timedelta(minutes=-5) + TICK, State.REFUSES),
        (timedelta(0), State.REFUSES),
        (timedelta(minutes=20) - TICK, State.REFUSES),
        (timedelta(minutes=20), State.OK),
        (timedelta(minutes=20) + TICK, State.OK),
    ],
)
@pytest.mark.parametrize("limits", [PAPER_LIMITS, LIVE], ids=["paper", "live"])
def test_five_minutes_around_the_reset_are_kept_clear(offset, state, limits):
    reading = read("RC-25", case(limits=limits, health=RESET, now=NOW + offset))

    assert (reading.name, reading.state) == ("session_window", state)


@pytest.mark.parametrize("margin_s", [0.0, 60.0])
def test_the_margin_can_be_changed(margin_s):
    limits = dataclasses.replace(PAPER_LIMITS, reset_margin_s=margin_s)
    before = NOW - timedelta(seconds=margin_s)

    assert state_of("RC-25", case(limits=limits, health=RESET, now=before)) is State.REFUSES
    assert state_of("RC-25", case(limits=limits, health=RESET, now=before - TICK)) is State.OK


def test_what_is_known_of_the_next_reset_is_shown():
    reading = read("RC-25", case(health=RESET, now=NOW - timedelta(minutes=7)))
    after = read("RC-25", case(health=RESET, now=NOW + timedelta(hours=1)))
    text = read("RC-25", case(health=RESET)).objection.text

    assert (reading.value, reading.limit, reading.headroom) == ("15:30 UTC", "300 s", Decimal(120))
    assert after.headroom is None
    assert text == "IBKR resets from 15:30 to 15:45 UTC; 5 minutes around are kept clear"


@pytest.mark.parametrize("missing", [{"reset_from": None}, {"reset_until": None}])
def test_without_a_reset_ahead_nothing_is_kept_clear(missing):
    assert state_of("RC-25", case(health=dataclasses.replace(RESET, **missing))) is State.OK


@pytest.mark.parametrize("control", ["RC-25", "RC-27"])
def test_a_session_of_which_nothing_is_known_refuses(control):
    reading = read(control, case(health=None))

    assert (reading.state, reading.objection.control) == (State.NOT_KNOWN, control)


# -- RC-26 -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("age_s", "state"), [(29.999, State.OK), (30, State.OK), (30.001, State.REFUSES)])
def test_an_old_wish_is_not_carried_out(age_s, state):
    given = case(now=START + timedelta(seconds=age_s))

    assert (read("RC-26", given).name, state_of("RC-26", given)) == ("intent_expired", state)
    confirming = dataclasses.replace(given, stage=Stage.CONFIRM)
    assert state_of("RC-26", confirming) is State.OK


@pytest.mark.parametrize(("ahead_s", "state"), [(60, State.OK), (60.001, State.REFUSES), (3600, State.REFUSES)])
def test_a_wish_of_a_clock_that_was_ahead_is_of_unknown_age(ahead_s, state):
    ahead = timedelta(seconds=ahead_s)
    given = case(made_at=START + ahead, expires_at=START + ahead + timedelta(seconds=30), now=START)

    assert state_of("RC-26", given) is state
    if state is State.REFUSES:
        told = read("RC-26", given).objection.text
        assert told == f"Order exceeds limit intent_expired: of a clock {ahead_s:.0f} s ahead, so of unknown age > 30 s"


def test_live_wishes_live_ten_seconds():
    assert state_of("RC-26", case(limits=LIVE, now=START + timedelta(seconds=10))) is State.OK
    assert state_of("RC-26", case(limits=LIVE, now=START + timedelta(seconds=10.001))) is State.REFUSES


def test_the_age_is_told():
    objection = check_age(START + timedelta(seconds=3), START - timedelta(seconds=30), START, 30.0)

    assert objection.control == "RC-26"
    assert objection.text == "Order exceeds limit intent_expired: 33 s old > 30 s"
    reading = read("RC-26", case(now=START + timedelta(seconds=12.5)))
    assert (reading.value, reading.limit, reading.headroom) == ("12.500 s", "30 s", Decimal("17.5"))


# -- RC-27 -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        ({}, ""),
        ({"authenticated": False}, "the brokerage session is not open"),
        ({"competing": True}, "another login competes for the brokerage session"),
        ({"skew_s": 59.9}, ""),
        ({"skew_s": -59.9}, ""),
        ({"skew_s": 60.0}, "our clock and IBKR's differ by 60 s"),
        ({"skew_s": -60.0}, "our clock and IBKR's differ by -60 s"),
        ({"skew_s": 61.0}, "our clock and IBKR's differ by 61 s"),
        ({"skew_s": None}, ""),
        ({"stream_stale": False}, ""),
        ({"stream_stale": True}, "the stream of quotes is silent"),
    ],
)
def test_the_session_is_signed_in_alone_and_in_time(changes, problem):
    reading = read("RC-27", case(health=dataclasses.replace(HEALTH, **changes)))

    assert (reading.name, reading.state is State.OK) == ("session_not_ready", not problem)
    if problem:
        assert reading.objection.text == f"The session is not ready: {problem}"


@pytest.mark.parametrize(
    ("age_s", "stage", "state"),
    [
        (89.9, Stage.SEND, State.OK),
        (90, Stage.SEND, State.OK),
        (90.1, Stage.SEND, State.NOT_KNOWN),
        (125, Stage.CONFIRM, State.OK),
        (125.1, Stage.CONFIRM, State.NOT_KNOWN),
    ],
)
def test_an_old_word_on_the_session_is_none(age_s, stage, state):
    given = case(health=dataclasses.replace(HEALTH, at=NOW - timedelta(seconds=age_s)), stage=stage)

    assert state_of("RC-27", given) is state


def test_the_skew_is_shown():
    assert read("RC-27", case()).value == "skew 0.5 s"
    assert read("RC-27", case(health=dataclasses.replace(HEALTH, skew_s=None))).value == "skew not known"


def test_a_group_is_open_only_if_all_of_it_is():
    second = limit_order("100", outside_rth=True)

    assert state_of("RC-24", oca(limit_order("100"), second, limits=LIVE, now=CLOSES)) is State.REFUSES
    closing = case(stop_order("90", "5", side=Side.SELL), limits=LIVE, now=CLOSES, positions=holding("5"))
    assert closing.exits
