"""A stop and a take profit as one group: which of them ends the other, and what is done where one is missing."""

from __future__ import annotations

import dataclasses
from decimal import Decimal

import pytest

from fakes import Plan
from ibkit.errors import Unreachable
from ibkit.model import OrderStatus, OrderType, Side, Trail, TrailKind
from ibkit.trading.alert import AlertKind
from ibkit.trading.selling.trade import ExitReason, OrderRole, TradeStatus
from spread_room import make_spread_room, placed, sell

D = Decimal

pytestmark = pytest.mark.anyio


@pytest.fixture(params=[None, 5], ids=["single", "spread"])
def width(request):
    return request.param


@pytest.fixture
def room():
    return make_spread_room()


def the(room, kind):
    (held,) = placed(room, Side.BUY, kind)
    return held


def bought(room):
    return sum(held.filled for held in placed(room))


@pytest.mark.requirement("TRD-13", "TRD-14", "OPT-07")
async def test_stop_and_take_profit_leave_in_one_request_and_are_recorded(room, width):
    result = await sell(room, width=width, take_profit="0.5")

    assert result.success, result.message
    stop, profit = the(room, OrderType.STOP), the(room, OrderType.LIMIT)
    assert stop.group == profit.group != ""
    assert (stop.ticket.quantity, profit.ticket.quantity) == (3, 3)
    assert profit.ticket.limit_price == result.take_profit == D("0.20")
    assert (result.stop_order_id, result.take_profit_order_id) == (stop.order_id, profit.order_id)
    assert room.broker.sent("place") == 2
    (trade,) = room.trades.rows.values()
    assert (trade.take_profit_order_id, trade.take_profit_price) == (profit.order_id, D("0.20"))
    assert [link.role for link in trade.links] == [OrderRole.ENTRY, OrderRole.STOP, OrderRole.PROFIT]
    assert trade.exit_plan.take_profit == D("0.5")


@pytest.mark.requirement("TRD-14")
async def test_a_trailing_stop_begins_from_the_fill(room, width):
    result = await sell(room, width=width, trail=Trail(D(50), TrailKind.PERCENT))

    assert result.success, result.message
    stop = the(room, OrderType.TRAIL)
    assert (stop.ticket.stop_price, stop.ticket.trail) == (D("0.60"), Trail(D(50), TrailKind.PERCENT))
    assert "trailing by 50%" in result.message


@pytest.mark.requirement("TRD-14")
@pytest.mark.parametrize("fault", ["reject", "inactive"])
async def test_a_group_that_is_refused_leaves_the_stop_alone(room, width, fault):
    room.plan("ok", fault)

    result = await sell(room, width=width, take_profit="0.5")

    assert result.success, result.message
    working = [held for held in placed(room) if held.status.working]
    assert [held.ticket.order_type for held in working] == [OrderType.STOP]
    assert result.take_profit is None
    assert "without its take profit" in result.warnings[-1]


@pytest.mark.requirement("TRD-14")
async def test_a_group_that_is_refused_and_three_stops_too_end_in_a_buy_back(room, width):
    room.plan("ok", "reject")
    room.broker.reject_stops = 3

    result = await sell(room, width=width, take_profit="0.5")

    assert (result.code, result.closed) == ("E-STOP-FAILED", True)
    assert result.message.startswith("CRITICAL")
    assert bought(room) == 3


@pytest.mark.requirement("TRD-14")
async def test_a_stop_whose_take_profit_was_refused_protects_and_says_so(room, width):
    room.broker.plans.extend([Plan(), Plan(refuse_legs=(1,))])

    result = await sell(room, width=width, take_profit="0.5")

    assert result.success, result.message
    assert "without its take profit" in result.warnings[-1]
    assert len(placed(room)) == 1
    assert [alert.kind for alert in await room.journal.alerts.open()] == [AlertKind.BROKEN_GROUP]


@pytest.mark.requirement("TRD-14", "OPT-07")
@pytest.mark.parametrize(
    ("kind", "reason", "price"),
    [(OrderType.LIMIT, ExitReason.TAKE_PROFIT, "0.20"), (OrderType.STOP, ExitReason.STOPPED_OUT, "2.05")],
)
async def test_the_exit_that_fills_ends_the_other_and_the_record_says_which(room, width, kind, reason, price):
    await sell(room, width=width, take_profit="0.5")
    room.broker.fill(the(room, kind).order_id, D(3), D(price))
    other = OrderType.STOP if kind is OrderType.LIMIT else OrderType.LIMIT
    assert the(room, other).status is OrderStatus.CANCELLED
    room.restart()

    again = await sell(room, width=width, take_profit="0.5")

    assert (again.success, again.closed) == (True, True), again.message
    assert len(placed(room)) == 2
    (trade,) = room.trades.rows.values()
    assert (trade.status, trade.exit_reason, trade.exit_price) == (TradeStatus.CLOSED, reason, D(price))
    assert trade.realized_pnl == (D("0.40") - D(price)) * 300 - trade.entry_commission - trade.exit_commission


@pytest.mark.requirement("TRD-14")
async def test_the_guard_writes_down_a_take_profit_that_filled(room):
    await sell(room, take_profit="0.5")
    room.broker.fill(the(room, OrderType.LIMIT).order_id, D(3), D("0.20"))
    room.restart()

    assert await room.guard.check() == ()

    (trade,) = room.trades.rows.values()
    assert (trade.exit_reason, trade.exit_price) == (ExitReason.TAKE_PROFIT, D("0.20"))


@pytest.mark.requirement("TRD-14")
async def test_a_take_profit_alone_is_no_protection(room, width):
    """The stop dies, the limit order lives: it is taken off before a stop of its own is placed."""
    await sell(room, width=width, take_profit="0.5")
    the(room, OrderType.STOP).status = OrderStatus.CANCELLED
    assert len(await room.guard.check()) == 1
    room.restart()

    again = await sell(room, width=width, take_profit="0.5")

    assert again.success, again.message
    assert the(room, OrderType.LIMIT).status is OrderStatus.CANCELLED
    assert [held.status.working for held in placed(room, Side.BUY, OrderType.STOP)] == [False, True]


@pytest.mark.requirement("TRD-14")
async def test_beside_a_take_profit_that_cannot_be_cancelled_nothing_is_sent(room, width):
    await sell(room, width=width, take_profit="0.5")
    the(room, OrderType.STOP).status = OrderStatus.CANCELLED
    room.broker.cancel_faults.extend(["lost_before"] * 50)
    room.restart()

    again = await sell(room, width=width, take_profit="0.5")

    assert (again.unsure, again.code) == (True, "E-ORD-UNKNOWN")
    assert len(placed(room)) == 2


@pytest.mark.requirement("TRD-14", "TRD-22")
async def test_a_group_of_which_only_the_take_profit_arrived_is_not_doubled(room, width):
    """The answer is lost, and only the order that takes profits is at IBKR: it goes before a stop is placed."""
    room.plan("ok", "lost_before")
    place = room.broker.place

    async def torn(ticket, **named):
        try:
            return await place(ticket, **named)
        finally:
            if named.get("group") is not None:
                room.broker._accept(named["others"][0], f"{named['ref']}-1", Plan())

    room.broker.place = torn

    result = await sell(room, width=width, take_profit="0.5")

    assert result.success, result.message
    assert the(room, OrderType.LIMIT).status is OrderStatus.CANCELLED
    assert the(room, OrderType.STOP).order_id == result.stop_order_id
    assert result.take_profit is None


@pytest.mark.requirement("TRD-14", "TRD-22")
async def test_a_group_whose_answer_was_lost_is_found_with_both_orders(room, width):
    room.plan("ok", "lost_after")

    result = await sell(room, width=width, take_profit="0.5")

    assert result.success, result.message
    assert result.take_profit_order_id == the(room, OrderType.LIMIT).order_id
    assert len(placed(room)) == 2


@pytest.mark.requirement("TRD-14")
async def test_what_fills_late_gets_a_stop_beside_the_group(room):
    """The rest of the entry fills after all: the group covers the first part once, not twice."""
    room.broker.fill_part = D(2)
    room.broker.cancel_faults.extend(["lost_before"] * 20)
    first = await sell(room, width=None, take_profit="0.5")
    assert first.critical
    entry = room.broker.accepted[0]
    room.broker.cancel_faults.clear()
    room.broker.fill(entry.order_id, D(1), D("0.40"))
    room.restart()

    again = await sell(room, width=None, take_profit="0.5")

    assert again.success, again.message
    stops = [held.ticket.quantity for held in placed(room, Side.BUY, OrderType.STOP)]
    assert stops == [2, 1]


@pytest.mark.requirement("TRD-14")
async def test_both_filled_is_told(room):
    """A fast market fills both: three bought too many, and a person must look."""
    await sell(room, take_profit="0.5")
    stop, profit = the(room, OrderType.STOP), the(room, OrderType.LIMIT)
    room.broker.fill(stop.order_id, D(3), D("2.05"))
    profit.status = OrderStatus.SUBMITTED
    room.broker.fill(profit.order_id, D(3), D("0.20"))
    stop.status = OrderStatus.FILLED
    room.restart()

    again = await sell(room, take_profit="0.5")

    assert (again.success, again.unsure) == (False, True)


@pytest.mark.requirement("TRD-14", "TRD-22")
async def test_a_group_that_could_not_leave_is_followed_by_the_stop(room, width):
    place = room.broker.place

    async def once(ticket, **named):
        if named.get("group") is not None:
            raise Unreachable("connection refused")
        return await place(ticket, **named)

    room.broker.place = once

    result = await sell(room, width=width, take_profit="0.5")

    assert result.success, result.message
    assert [held.ticket.order_type for held in placed(room)] == [OrderType.STOP]
    assert dataclasses.asdict(result)["take_profit"] is None
