"""Rolling: closed, then sold anew with the same plan, under one key, and resumable after a crash at every step."""

from __future__ import annotations

import dataclasses
from datetime import UTC, date, datetime
from decimal import Decimal

import pytest

from fakes import option
from ibkit.model import Environment, Key, OrderStatus, OrderType, Side, Trail, TrailKind
from ibkit.trading.closing.roll import PositionRoller, RollTo, plan_for
from ibkit.trading.risk import Halt, HaltMode
from ibkit.trading.selling.exits import ExitPlan, OnMissing
from ibkit.trading.selling.trade import ExitReason, TradeStatus
from spread_room import make_spread_room, placed, sell, short

D = Decimal
ROLL = Key("roll-0123456789abcdef")
NEXT = RollTo(strike=D(627), expiry=date(2026, 11, 20))

pytestmark = pytest.mark.anyio


class Killed(BaseException):
    """The process dies."""


@pytest.fixture
def room():
    return make_spread_room()


def roller(room):
    return PositionRoller(gateway=room.gateway, closer=room.closer, seller=room.seller)


async def only_trade(room):
    (trade,) = await room.trades.trades()
    return trade


async def roll(room, trade, to=NEXT):
    return await roller(room).roll(trade, to, key=ROLL)


@pytest.mark.requirement("TRD-19", "OPT-07")
@pytest.mark.parametrize("width", [None, 5])
async def test_a_roll_closes_and_sells_anew_with_the_same_plan(room, width):
    await sell(room, width=width, take_profit="0.5")
    old = await only_trade(room)

    to = dataclasses.replace(NEXT, width=None if width is None else D(width))
    result = await roll(room, old, to)

    assert result.success, result.message
    assert (result.net, result.net_amount) == (D("0.00"), D("0.00"))
    assert short(room, option("629").conid) == 0
    assert short(room, option("627").conid) == -3
    new, closed = await room.trades.trades()
    assert (closed.status, closed.exit_reason) == (TradeStatus.CLOSED, ExitReason.MANUAL)
    assert (new.status, new.strike_price, new.exit_plan) == (TradeStatus.OPEN, D(627), old.exit_plan)
    assert new.width == to.width
    working = [held.ticket.order_type for held in placed(room) if held.status.working]
    assert working == [OrderType.STOP, OrderType.LIMIT]


@pytest.mark.requirement("TRD-19")
async def test_a_new_sale_that_is_not_possible_leaves_the_old_one_as_it_is(room):
    await sell(room, width=None)
    old = await only_trade(room)

    result = await roll(room, old, RollTo(strike=D("627.5"), expiry=date(2026, 11, 20)))

    assert (result.success, result.code, result.unsure) == (False, "E-CONTRACT", False)
    assert "nothing was touched" in result.message
    assert room.broker.sent("cancel") == 0
    assert placed(room)[0].status.working


@pytest.mark.requirement("TRD-19")
async def test_a_close_that_fails_puts_the_exits_back_and_sells_nothing(room):
    await sell(room, width=None, take_profit="0.5")
    old = await only_trade(room)
    room.plan("reject")

    result = await roll(room, old)

    assert (result.success, result.unsure) == (False, False), result.message
    assert result.close.stop_restored
    working = [held.ticket.order_type for held in placed(room) if held.status.working]
    assert working == [OrderType.STOP, OrderType.LIMIT]
    assert len(placed(room, Side.SELL)) == 1
    (trade,) = await room.trades.trades()
    assert trade.stop_loss_order_id == placed(room, Side.BUY, OrderType.STOP)[-1].order_id
    assert trade.take_profit_order_id == placed(room, Side.BUY, OrderType.LIMIT)[-1].order_id
    again = await roll(room, old)
    assert not again.success
    assert [held.ticket.order_type for held in placed(room) if held.status.working] == working


@pytest.mark.requirement("TRD-19")
async def test_a_sale_that_fails_after_the_close_leaves_nothing_open_and_says_so(room):
    await sell(room, width=None)
    old = await only_trade(room)
    room.plan("ok", "reject")

    result = await roll(room, old)

    assert (result.success, result.flat, result.unsure) == (False, True, False), result.message
    assert short(room, option("629").conid) == short(room, option("627").conid) == 0
    assert not [held for held in room.broker.accepted if held.status.working]


@pytest.mark.requirement("TRD-19")
@pytest.mark.parametrize("kind", [OrderType.STOP, OrderType.LIMIT])
async def test_an_exit_that_wins_the_race_ends_the_roll(room, kind):
    await sell(room, width=None, take_profit="0.5")
    old = await only_trade(room)
    (exit_,) = placed(room, Side.BUY, kind)
    room.broker.fill(exit_.order_id, D(3), D("0.20"))

    result = await roll(room, old)

    assert (result.success, result.flat) == (False, True), result.message
    assert len(placed(room, Side.SELL)) == 1
    (trade,) = await room.trades.trades()
    assert trade.exit_reason is (ExitReason.STOPPED_OUT if kind is OrderType.STOP else ExitReason.TAKE_PROFIT)


@pytest.mark.requirement("TRD-19", "TRD-22")
@pytest.mark.parametrize("width", [None, 5])
@pytest.mark.parametrize("at", range(1, 40))
async def test_a_roll_that_dies_anywhere_goes_on_with_its_key(at, width):
    """At each call to the broker, before it or after it has done its part."""
    room = make_spread_room()
    await sell(room, width=width, take_profit="0.5")
    old = await only_trade(room)
    to = dataclasses.replace(NEXT, width=None if width is None else D(width))
    undo, calls = dying(room, at)
    died = False
    try:
        await roll(room, old, to)
    except* Killed:
        died = True
    undo()
    room.restart()
    check(room)
    assert died or calls[0] < at

    await room.gateway.recover()
    result = await roll(room, old, to)

    assert result.success, result.message
    assert (short(room, option("629").conid), short(room, option("627").conid)) == (0, -3)
    assert [held.ticket.quantity for held in placed(room, Side.SELL)] == [3, 3]
    covered = [held for held in placed(room) if held.status.working and held.ticket.order_type is OrderType.STOP]
    assert [held.ticket.quantity for held in covered] == [3]


def check(room):
    """Whatever the moment: nothing was sold twice, and no order could turn a position round."""
    for strike in ("629", "627"):
        conid = option(strike).conid
        sold = sum(h.filled for h in placed(room, Side.SELL) if conid in parts(h))
        waiting = {}
        for held in placed(room):
            if conid in parts(held) and held.status.working:
                group = held.group or held.order_id
                waiting[group] = max(waiting.get(group, 0), held.ticket.quantity - held.filled)
        bought = sum(h.filled for h in placed(room) if conid in parts(h))
        assert sold <= 3
        assert bought + sum(waiting.values()) <= sold


def parts(held):
    legs = held.ticket.contract.legs
    return [leg.contract.conid for leg in legs if leg.ratio > 0] or [held.ticket.contract.conid]


def dying(room, at):
    count = [0]
    names = ("place", "cancel", "order", "read_orders", "read_fills", "increments", "positions", "quote", "quotes")

    def wrapped(method):
        async def call(*args, **named):
            count[0] += 1
            number = count[0]
            if number == at and at % 2:
                raise Killed
            answer = await method(*args, **named)
            if number == at:
                raise Killed
            return answer

        return call

    for name in names:
        setattr(room.broker, name, wrapped(getattr(room.broker, name)))
    return lambda: [room.broker.__dict__.pop(name, None) for name in names], count


@pytest.mark.requirement("TRD-19")
async def test_what_is_over_cannot_be_rolled(room):
    await sell(room, width=None)
    room.broker.fill(placed(room)[0].order_id, D(3), D("2.05"))
    await room.guard.check()

    result = await roll(room, await only_trade(room))

    assert (result.success, result.code) == (False, "E-NOT-FOUND")
    assert "stopped out" in result.message


@pytest.mark.requirement("TRD-19")
async def test_a_time_exit_keeps_its_hour_and_its_distance_from_the_expiry(room):
    """15:45 in New York on the last day, also across the change of clocks."""
    await sell(room, width=None, exit_at=datetime(2026, 11, 20, 20, 45, tzinfo=UTC))
    trade = dataclasses.replace(await only_trade(room))

    later = plan_for(trade, date(2027, 3, 19))

    assert later.exit_at.astimezone(UTC) == datetime(2027, 3, 19, 19, 45, tzinfo=UTC)
    assert later.stop_multiple == 5


@pytest.mark.requirement("TRD-19")
async def test_a_trade_from_before_plans_is_rolled_with_the_multiple_of_its_stop(room):
    await sell(room, width=None)
    trade = dataclasses.replace(await only_trade(room), exit_plan=None)

    assert plan_for(trade, trade.expiration) == ExitPlan(stop_multiple=D(5))


@pytest.mark.requirement("TRD-19")
async def test_a_trailing_plan_is_kept(room):
    trail = Trail(D(50), TrailKind.PERCENT)
    await sell(room, width=None, trail=trail)

    result = await roll(room, await only_trade(room))

    assert result.success, result.message
    assert placed(room, Side.BUY, OrderType.TRAIL)[-1].ticket.trail == trail
    assert placed(room, Side.BUY, OrderType.TRAIL)[0].status is OrderStatus.CANCELLED


@pytest.mark.requirement("TRD-19", "TRD-14")
async def test_a_roll_keeps_what_is_to_be_done_without_a_stop(room):
    await sell(room, width=None, on_stop_failure="alert")

    result = await roll(room, await only_trade(room))

    assert result.success, result.message
    new, old = await room.trades.trades()
    assert new.exit_plan == old.exit_plan
    assert new.exit_plan.on_missing is OnMissing.ALERT


@pytest.mark.requirement("TRD-19", "TRD-18")
async def test_a_roll_whose_sale_the_limits_would_refuse_touches_nothing(room):
    await sell(room, width=None)
    halt = Halt(environment=Environment.PAPER, mode=HaltMode.BLOCK_NEW, by="ann", note="", at=room.clock.now())
    await room.journal.risk.halt(halt)

    result = await roll(room, await only_trade(room))

    assert (result.success, result.code) == (False, "E-RISK")
    assert "nothing was touched" in result.message
    assert "ibkit kill --release" in result.remedy
    assert short(room, option("629").conid) == -3
    assert [held.status.working for held in placed(room)] == [True]


@pytest.mark.requirement("TRD-19", "TRD-18")
async def test_a_roll_is_not_refused_for_what_its_own_close_makes_room_for(room):
    """All open short options that are allowed are the very ones that it closes."""
    await sell(room, width=None)
    room.clock.advance(120)
    room.limits = dataclasses.replace(room.limits, max_open_short_options=D(3))
    room.restart()

    result = await roll(room, await only_trade(room))

    assert result.success, result.message
