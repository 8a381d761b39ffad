"""Returns, drawdown and volatility against values computed by hand, and against numpy and scipy."""

from __future__ import annotations

import math
import random
from datetime import date, timedelta
from itertools import pairwise

import numpy
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.optimize import brentq

from ibkit.portfolio.analytics.returns import (
    DayReturn,
    Point,
    compared,
    day_returns,
    drawdown,
    linked,
    volatility,
    xirr,
    yearly,
)

FIRST = date(2025, 1, 1)
pytestmark = pytest.mark.requirement("FUT-05")


def day(number: int) -> date:
    return FIRST + timedelta(days=number)


def points(*given: tuple[int, float, float | None]) -> list[Point]:
    return [Point(day=day(number), value=value, flow=flow) for number, value, flow in given]


def walk(count: int, seed: int = 17) -> list[DayReturn]:
    chance = random.Random(seed)
    return [DayReturn(since=day(n), day=day(n + 1), rate=chance.gauss(0.0004, 0.011)) for n in range(count)]


def test_time_weighted_takes_deposits_out() -> None:
    # 100 → 110 (+10 %); then 90 come in and it ends at 220 after the day: (220 - 90) / 110 = +18.18 %; then -50 %.
    returns, why = day_returns(points((0, 100, None), (1, 110, 0), (2, 220, 90), (3, 110, 0)))
    assert why == ""
    assert [round(each.rate, 6) for each in returns] == [0.1, 0.181818, -0.5]
    assert linked(returns) == pytest.approx(1.1 * (130 / 110) * 0.5 - 1)


def test_an_unknown_flow_or_a_worth_of_nothing_gives_no_return() -> None:
    assert day_returns(points((0, 100, None), (1, 110, None)))[1].startswith(
        "what came in and went out from 2025-01-01"
    )
    assert day_returns(points((0, 0, None), (1, 110, 110)))[1] == "on 2025-01-01 it was worth nothing or less"
    assert day_returns(points((0, 100, None))) == ((), "there are fewer than two days")


def test_a_year_of_it() -> None:
    assert yearly(0.21, 730) == pytest.approx(0.1)
    assert yearly(0.21, 364) is None
    assert yearly(-1.0, 730) is None


def test_money_weighted_by_hand() -> None:
    found = xirr([(day(0), -100.0), (day(365), 110.0)])
    assert found.rate == pytest.approx(0.1, abs=1e-10)
    # -100 now, -100 in a year, 231 after two: 1.1 solves 100 x² + 100 x = 231.
    assert xirr([(day(0), -100.0), (day(365), -100.0), (day(730), 231.0)]).rate == pytest.approx(0.1, abs=1e-10)
    assert xirr([(day(0), -100.0), (day(365), 1.0)]).rate == pytest.approx(-0.99, abs=1e-10)
    # The published example of spreadsheet XIRR.
    sheet = [
        (date(2008, 1, 1), -10_000.0),
        (date(2008, 3, 1), 2_750.0),
        (date(2008, 10, 30), 4_250.0),
        (date(2009, 2, 15), 3_250.0),
        (date(2009, 4, 1), 2_750.0),
    ]
    assert xirr(sheet).rate == pytest.approx(0.373362535, abs=1e-8)


def test_where_there_is_no_rate_it_says_so() -> None:
    assert xirr([(day(0), -100.0), (day(9), -1.0)]).reason == "money went one way only"
    assert xirr([]).reason == "money went one way only"
    assert xirr([(day(0), -100.0), (day(0), 110.0)]).reason == "it all happened on one day"
    none = xirr([(day(0), 100.0), (day(365), -100.0), (day(730), 100.0)])  # 1 - x + x² has no root
    assert (none.rate, none.several) == (None, False)
    assert none.reason.startswith("no rate between")
    assert xirr([(day(0), -1.0), (day(1), 1e12)]).period is None
    short = xirr([(day(0), -100.0), (day(5), 150.0)])
    assert (short.rate, short.period) == (None, pytest.approx(0.5))


def test_where_several_rates_solve_it_the_one_next_to_zero_is_told() -> None:
    # -100 + 230 v - 132 v²: 10 % and 20 %.
    found = xirr([(day(0), -100.0), (day(365), 230.0), (day(730), -132.0)])
    assert (found.rate, found.several) == (pytest.approx(0.1, abs=1e-9), True)


@given(
    st.lists(st.tuples(st.integers(1, 9_000), st.floats(-500, 500)), max_size=12),
    st.floats(1, 1e6),
    st.floats(1, 1e6),
)
def test_a_rate_that_is_told_solves_it(given: list[tuple[int, float]], start: float, end: float) -> None:
    flows = [(day(0), -start), *((day(number), amount) for number, amount in given), (day(9_125), end)]
    found = xirr(flows)
    if found.rate is None:
        assert found.reason
        return
    terms = [amount * (1 + found.rate) ** (-(when - day(0)).days / 365) for when, amount in flows]
    assert abs(math.fsum(terms)) <= 1e-7 * max(abs(each) for each in terms)


@pytest.mark.parametrize("seed", range(20))
def test_money_weighted_as_scipy_finds_it(seed: int) -> None:
    chance = random.Random(seed)
    flows = [(day(30 * number), -chance.uniform(1, 500)) for number in range(40)]
    flows.append((day(1_300), -sum(amount for _, amount in flows) * chance.uniform(0.6, 2.0)))

    def worth(rate: float) -> float:
        return sum(amount * (1 + rate) ** (-(when - day(0)).days / 365) for when, amount in flows)

    assert xirr(flows).rate == pytest.approx(brentq(worth, -0.99, 10), abs=1e-9)


def test_drawdown_by_hand_and_when_it_was_made_good() -> None:
    rates = (0.1, -0.2, 0.1, 0.2, -0.1)  # 1.1, 0.88, 0.968, 1.1616, 1.04544
    returns = [DayReturn(since=day(n), day=day(n + 1), rate=rate) for n, rate in enumerate(rates)]
    found = drawdown(returns)
    assert found is not None
    assert found.depth == pytest.approx(0.2)
    assert (found.peak, found.trough, found.recovered) == (day(1), day(2), day(4))
    short = drawdown(returns[:3])
    assert short is not None
    assert short.recovered is None
    rising = drawdown(returns[:1])
    assert rising is not None
    assert rising.depth == 0
    assert drawdown([]) is None


def test_drawdown_and_volatility_as_numpy_finds_them() -> None:
    returns = walk(500)
    rates = numpy.array([each.rate for each in returns])
    index = numpy.concatenate([[1.0], numpy.cumprod(1 + rates)])
    found = drawdown(returns)
    assert found is not None
    assert found.depth == pytest.approx(float(numpy.max(1 - index / numpy.maximum.accumulate(index))))
    assert linked(returns) == pytest.approx(float(index[-1] - 1))
    assert volatility(returns) == pytest.approx(float(numpy.std(rates, ddof=1) * math.sqrt(252)))


def test_volatility_needs_twenty_daily_returns_and_takes_no_longer_ones() -> None:
    assert volatility(walk(19)) is None
    returns = walk(20)
    there = volatility(returns)
    gap = DayReturn(since=day(100), day=day(106), rate=0.5)
    assert volatility([*returns, gap]) == there


def test_beside_a_benchmark_as_numpy_finds_it() -> None:
    returns = walk(60)
    chance = random.Random(5)
    levels = {day(0): 400.0}
    for each in returns:
        levels[each.day] = levels[each.since] * (1 + 0.5 * each.rate + chance.gauss(0, 0.004))
    found = compared(returns, levels)
    assert found is not None
    mine = numpy.array([each.rate for each in returns])
    theirs = numpy.array([levels[b] / levels[a] - 1 for a, b in pairwise(sorted(levels))])
    assert found.beta == pytest.approx(float(numpy.cov(mine, theirs)[0, 1] / numpy.var(theirs, ddof=1)))
    assert found.correlation == pytest.approx(float(numpy.corrcoef(mine, theirs)[0, 1]))
    assert found.tracking_error == pytest.approx(float(numpy.std(mine - theirs, ddof=1) * math.sqrt(252)))
    assert found.benchmark == pytest.approx(levels[day(60)] / 400 - 1)
    assert found.excess == pytest.approx(linked(returns) - found.benchmark)
    flat = compared(returns, dict.fromkeys(levels, 1.0))
    assert flat is not None
    assert (flat.beta, flat.correlation) == (None, None)
    assert compared(returns, {day(3): 1.0}) is None
