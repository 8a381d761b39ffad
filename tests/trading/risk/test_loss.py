"""RC-16 and RC-17: what a day may cost, and move."""

from __future__ import annotations

import dataclasses
from datetime import UTC, datetime, timedelta, timezone
from decimal import Decimal

import pytest

from fakes import SPY, stock_ticket
from ibkit.model import Environment
from ibkit.trading.events import Stage
from ibkit.trading.risk import PAPER_LIMITS, HaltMode, State, Usage, check
from ibkit.trading.risk.bookkeeping import day_start
from ibkit.trading.risk.loss import next_day
from risk_cases import LIVE, NOW, case, left, limit_order, read, state_of

pytestmark = pytest.mark.requirement("TRD-18")


@pytest.mark.parametrize(
    ("pnl", "limits", "state"),
    [
        ("5000", PAPER_LIMITS, State.OK),
        ("-99999.99", PAPER_LIMITS, State.OK),
        ("-100000", PAPER_LIMITS, State.OK),
        ("-100000.01", PAPER_LIMITS, State.REFUSES),
        ("-19999.99", LIVE, State.OK),
        ("-20000", LIVE, State.OK),
        ("-20000.01", LIVE, State.REFUSES),
    ],
)
def test_the_loss_of_a_day(pnl, limits, state):
    reading = read("RC-16", case(limits=limits, daily_pnl=Decimal(pnl)))

    assert (reading.name, reading.state) == ("daily_loss", state)
    most = Decimal(100_000 if limits is PAPER_LIMITS else 20_000)
    assert reading.headroom == most - max(-Decimal(pnl), Decimal(0))


@pytest.mark.parametrize(
    ("nlv", "pnl", "state"),
    [("0", "0", State.OK), ("0", "-0.01", State.REFUSES), ("-100", "-1", State.REFUSES), ("-100", "1", State.OK)],
)
def test_an_account_without_net_liquidation_may_lose_nothing(nlv, pnl, state):
    assert state_of("RC-16", case(net_liquidation=Decimal(nlv), daily_pnl=Decimal(pnl))) is state


@pytest.mark.parametrize("missing", ["daily_pnl", "net_liquidation", "pnl_at"])
def test_a_loss_that_is_not_known_refuses(missing):
    assert state_of("RC-16", case(**{missing: None})) is State.NOT_KNOWN
    off = dataclasses.replace(PAPER_LIMITS, max_daily_loss_pct=None)
    assert state_of("RC-16", case(limits=off, **{missing: None})) is State.OFF


@pytest.mark.parametrize(
    ("age_s", "stage", "state"),
    [
        (59.9, Stage.SEND, State.OK),
        (60, Stage.SEND, State.OK),
        (60.1, Stage.SEND, State.NOT_KNOWN),
        (95, Stage.CONFIRM, State.OK),
        (95.1, Stage.CONFIRM, State.NOT_KNOWN),
    ],
)
def test_profit_and_loss_is_a_minute_old_at_most(age_s, stage, state):
    assert state_of("RC-16", case(pnl_at=NOW - timedelta(seconds=age_s), stage=stage)) is state


def test_too_much_lost_lets_the_account_only_reduce_until_the_next_day():
    halt = check(case(limits=LIVE, daily_pnl=Decimal(-30_000))).halts[0]

    assert (halt.mode, halt.account_id, halt.symbol, halt.tenant) == (HaltMode.REDUCE_ONLY, "U1234567", "", "")
    assert (halt.environment, halt.control, halt.by) == (Environment.LIVE, "RC-16", "breaker")
    assert (halt.at, halt.until) == (NOW, datetime(2026, 11, 21, 5, tzinfo=UTC))
    assert halt.note == "daily loss 30000.00 > 20000.00"
    assert read("RC-16", case(daily_pnl=Decimal(-1))).halt is None


@pytest.mark.parametrize(
    ("now", "begins", "ends"),
    [
        # Winter, summer, and the two nights in which New York's clocks change: days of 23 and 25 hours.
        ("2026-11-20T04:59:59", "2026-11-19T05", "2026-11-20T05"),
        ("2026-11-20T05:00:00", "2026-11-20T05", "2026-11-21T05"),
        ("2026-07-01T03:59:00", "2026-06-30T04", "2026-07-01T04"),
        ("2026-03-08T12:00:00", "2026-03-08T05", "2026-03-09T04"),
        ("2026-11-01T12:00:00", "2026-11-01T04", "2026-11-02T05"),
    ],
)
def test_the_day_is_new_yorks(now, begins, ends):
    moment, first, last = (datetime.fromisoformat(text).replace(tzinfo=UTC) for text in (now, begins, ends))

    assert (day_start(moment), next_day(moment)) == (first, last)
    asked = moment.astimezone(timezone(timedelta(hours=9)))
    assert (day_start(asked), next_day(asked)) == (first, last)
    assert {day_start(asked).utcoffset(), next_day(asked).utcoffset()} == {timedelta(hours=9)}  # told as it was asked


# -- RC-17 -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("before", "limits", "state"),
    [
        ("9998999", PAPER_LIMITS, State.OK),
        ("9999000", PAPER_LIMITS, State.OK),
        ("9999000.01", PAPER_LIMITS, State.REFUSES),
        ("248999", LIVE, State.OK),
        ("249000", LIVE, State.OK),
        ("249000.01", LIVE, State.REFUSES),
    ],
)
def test_the_value_of_a_day(before, limits, state):
    given = case(limit_order("100", "10"), limits=limits, usage=Usage(value_today=Decimal(before)))

    assert (read("RC-17", given).name, state_of("RC-17", given)) == ("daily_notional", state)


def test_a_value_that_is_not_known_refuses():
    off = dataclasses.replace(PAPER_LIMITS, max_daily_value=None)

    assert state_of("RC-17", case(usage=Usage(value_today=None))) is State.NOT_KNOWN
    assert state_of("RC-17", case(stock_ticket("1"), quote=None)) is State.NOT_KNOWN
    assert state_of("RC-17", case(usage=Usage(value_today=None), limits=off)) is State.OFF


def test_a_question_to_an_order_does_not_count_it_twice():
    sent = (left(name="ib-this", value="1000"), left(name="ib-other", value="500"))
    usage = Usage(sent=sent, sent_today=2, value_today=Decimal("9999500"))

    assert read("RC-17", case(limit_order("100", "10"), usage=usage)).value == "9999500"
    assert state_of("RC-17", case(limit_order("100", "15"), usage=usage)) is State.OK
    assert state_of("RC-17", case(limit_order("100", "15.01"), usage=usage)) is State.REFUSES


def test_other_money_counts_in_dollars():
    contract = dataclasses.replace(SPY, currency="GBP")
    usage = Usage(value_today=Decimal("9998750"))
    rates = {"GBP": Decimal("1.25")}

    assert state_of("RC-17", case(limit_order("100", "10", contract=contract), usage=usage, rates=rates)) is State.OK
    more = case(limit_order("100", "10.01", contract=contract), usage=usage, rates=rates)
    assert state_of("RC-17", more) is State.REFUSES
