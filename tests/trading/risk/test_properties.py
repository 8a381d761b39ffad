"""No accepted sequence exceeds a limit, whatever is asked for and however it is mixed."""

from __future__ import annotations

import dataclasses
import os
from datetime import timedelta
from decimal import Decimal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ibkit.model import Side
from ibkit.trading.risk import PAPER_LIMITS, State, Usage, assess, check
from risk_cases import NOW, case, holding, left, limit_order, ours

pytestmark = pytest.mark.requirement("TRD-18")
EXAMPLES = int(os.environ.get("IBKIT_RISK_EXAMPLES", "300"))
LIMITS = dataclasses.replace(
    PAPER_LIMITS,
    max_daily_value=Decimal(50_000),
    max_position=Decimal(300),
    max_exposure=Decimal("0.04"),
    orders_per_second=3,
    orders_per_minute=20,
    orders_per_day=30,
    max_active_orders=8,
    repeat_breaker=12,
)
ORDERS = st.lists(
    st.tuples(
        st.sampled_from(list(Side)),
        st.integers(1, 200),
        st.integers(95, 105),
        st.floats(0, 20, allow_nan=False),
        st.sampled_from(["wait", "fill", "cancel"]),
    ),
    max_size=60,
)


@settings(max_examples=EXAMPLES, deadline=None)
@given(ORDERS)
def test_no_accepted_sequence_exceeds_a_limit(wishes):
    """What is accepted either waits, fills at once, or is cancelled; then the sums are taken by themselves."""
    now, held, sent, waiting, accepted = NOW, Decimal(0), [], [], []
    for number, (side, quantity, price, pause_s, fate) in enumerate(wishes):
        now += timedelta(seconds=pause_s)
        ticket = limit_order(str(price), str(quantity), side=side)
        value = sum((each.value_usd for each in sent), Decimal(0))
        asked = case(
            ticket,
            limits=LIMITS,
            now=now,
            expires_at=now,
            quote_at=now,
            pnl_at=now,
            health=dataclasses.replace(case().facts.health, at=now),
            positions=holding(str(held), str(abs(held) * 100)),
            usage=Usage(
                sent=tuple(each for each in sent if each.at > now - timedelta(seconds=60)),
                sent_today=len(sent),
                value_today=value,
                open=tuple(waiting),
            ),
        )
        verdict = check(asked)
        if verdict.objection is not None:
            continue
        row = dataclasses.replace(left(ticket, name=f"ib-{number}"), at=now, value_usd=verdict.value)
        sent.append(row)
        signed = Decimal(quantity if side is Side.BUY else -quantity)
        if fate == "fill":
            held += signed
        elif fate == "wait":
            waiting.append(ours(ticket, f"ib-{number}", value=str(verdict.value), reduces=asked.exits))
        if not asked.exits:
            accepted.append((now, verdict.value))
        longest = held + sum(o.ticket.quantity for o in waiting if o.ticket.side is Side.BUY)
        shortest = held - sum(o.ticket.quantity for o in waiting if o.ticket.side is Side.SELL)
        assert asked.exits or max(longest, -shortest) <= max(LIMITS.max_position, abs(held))
        for window, most in ((1, 3), (60, 20)):
            recent = [at for at, _ in accepted if at > now - timedelta(seconds=window)]
            assert asked.exits or len(recent) <= most
        assert sum(worth for _, worth in accepted) <= LIMITS.max_daily_value
        assert len(accepted) <= LIMITS.orders_per_day
        for one in Side:
            standing = sum(order.ticket.side is one for order in waiting)
            assert standing <= (20 if asked.exits else LIMITS.max_active_orders)


@settings(max_examples=EXAMPLES, deadline=None)
@given(
    st.sampled_from(list(Side)),
    st.decimals("0.01", "30000", places=2, allow_nan=False),
    st.decimals("0.01", "2000", places=2, allow_nan=False),
    st.decimals("-20000", "20000", places=0, allow_nan=False),
)
def test_check_and_assess_agree_and_never_fail(side, quantity, price, held):
    asked = case(limit_order(str(price), str(quantity), side=side), positions=holding(str(held)))
    readings = assess(asked)
    refusing = [reading for reading in readings if reading.objection is not None]

    verdict = check(asked)

    assert (verdict.objection is None) is (not refusing)
    assert verdict.objection in [None, *(reading.objection for reading in refusing)]
    assert all((r.state in (State.REFUSES, State.NOT_KNOWN)) is (r.objection is not None) for r in readings)
