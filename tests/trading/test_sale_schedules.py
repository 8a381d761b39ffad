"""Sales under schedules of faults, cut short anywhere and repeated with their key: what may never happen, does not."""

from __future__ import annotations

from decimal import Decimal

import anyio
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fakes import Plan
from ibkit.model import OrderStatus, OrderType, Side
from spread_room import make_spread_room

KEY = "sale-0123456789abcdef"
ASKS = [(), (("o10331",),), (("o10331",), ("o163",)), (("o99999",),), (("o10331",), ("o99999",))]

faults = st.sampled_from(
    ["ok"] * 4 + ["reject", "unsent", "lost_before", "lost_after", "s400_but_placed", "late", "inactive"]
)
plans = st.lists(
    st.builds(Plan, faults, st.sampled_from(ASKS), refuse_legs=st.sampled_from([(), (), (1,)])), max_size=8
)
schedules = st.fixed_dictionaries(
    {
        "plans": plans,
        "reply_faults": st.lists(st.sampled_from(["ok", "ok", "lost_before", "lost_after", "unsent"]), max_size=4),
        "cancel_faults": st.lists(st.sampled_from(["ok", "lost_before", "lost_after"]), max_size=4),
        "read_faults": st.lists(st.booleans(), max_size=6),
        "waits": st.lists(st.sampled_from([0.0, 0.0, 1.0, 3.0]), max_size=6),
        "filled": st.sampled_from([None, Decimal(1), Decimal(2), Decimal(0)]),
        "later": st.sampled_from([Decimal(0), Decimal(1)]),
        "dies_late": st.booleans(),
        "width": st.sampled_from([None, None, 5]),
        "take_profit": st.sampled_from([None, "0.5"]),
        "fills_late": st.sampled_from([None, None, OrderType.STOP, OrderType.LIMIT]),
        "killed_at": st.lists(st.integers(1, 40), max_size=3),
    }
)


class Killed(BaseException):
    pass


def kill(room, at):
    """The process ends at its `at`-th call to the broker, before or after the broker has done its part."""
    count = [0]
    broker = room.broker

    def wrapped(method):
        async def call(*args, **named):
            count[0] += 1
            if count[0] == at and at % 2:
                raise Killed
            answer = await method(*args, **named)
            if count[0] == at:
                raise Killed
            return answer

        return call

    names = ("place", "reply", "cancel", "order", "read_orders", "read_fills", "increments", "positions")
    for name in names:
        broker.__dict__.pop(name, None)
    for name in names:
        setattr(broker, name, wrapped(getattr(broker, name)))
    return lambda: [broker.__dict__.pop(name, None) for name in names]


async def sell(room, schedule):
    await room.gateway.recover()
    return await room.seller.sell_option_with_stop(
        "SPY", 629, "P", 5, 3, "20261120", key=KEY, width=schedule["width"], take_profit=schedule["take_profit"]
    )


def may_buy(buys):
    """What these orders have bought or may yet buy: of a group that ends itself the largest."""
    waiting = {}
    for held in buys:
        if held.status.working:
            group = held.group or held.order_id
            waiting[group] = max(waiting.get(group, Decimal(0)), held.ticket.quantity - held.filled)
    return sum((held.filled for held in buys), Decimal(0)) + sum(waiting.values(), Decimal(0))


def check(room, result):
    entries = [held for held in room.broker.accepted if held.ticket.side is Side.SELL]
    buys = [held for held in room.broker.accepted if held.ticket.side is Side.BUY]
    assert len(entries) <= 1, "sold twice"
    sold = sum((held.filled for held in entries), Decimal(0))
    alive = [held for held in buys if held.status.working]
    assert may_buy(buys) <= sold, "the stops and the buy-back could turn the position round"
    if result is None:
        return
    bought = sum((held.filled for held in buys), Decimal(0))
    covered = sum((held.ticket.quantity for held in alive if held.ticket.order_type is OrderType.STOP), Decimal(0))
    naked = sold - bought - covered
    working = [held for held in entries if held.status.working]
    assert not (result.success and (naked or working)), "told as protected, but it is not"
    if naked or working:
        assert result.critical, ("naked and not critical", result)
    if result.closed:
        assert bought == sold


@pytest.mark.requirement("TRD-13", "TRD-14", "TRD-22", "OPT-01")
@settings(max_examples=150, deadline=None)
@given(schedule=schedules)
def test_no_schedule_sells_twice_buys_back_too_much_or_leaves_a_short_option_in_silence(schedule):
    room = make_spread_room()
    broker = room.broker
    broker.plans.extend(schedule["plans"])
    for name in ("reply_faults", "cancel_faults", "read_faults", "waits"):
        getattr(broker, name).extend(schedule[name])
    broker.fill_part = schedule["filled"] or None
    broker.fills = schedule["filled"] != 0

    async def run(at):
        undo = kill(room, at) if at else lambda: None
        results = []
        try:
            results.append(await sell(room, schedule))
        except* Killed:
            results.append(None)
        finally:
            undo()
            room.restart()
        return results[0]

    async def story():
        for at in schedule["killed_at"]:
            check(room, await run(at))
            for held in broker.accepted:
                if held.ticket.side is Side.SELL and held.status.working and schedule["later"]:
                    left = held.ticket.quantity - held.filled
                    broker.fill(held.order_id, min(schedule["later"], left), Decimal("0.80"))
                elif held.ticket.order_type is OrderType.STOP and schedule["dies_late"] and held.status.working:
                    held.status = OrderStatus.CANCELLED
                elif held.ticket.order_type is schedule["fills_late"] and held.status.working:
                    broker.fill(held.order_id, held.ticket.quantity, Decimal("0.20"))
        last = await run(0)
        check(room, last)
        check(room, await run(0))

    anyio.run(story)
