"""Closing trades and positions: exits off first, back where the close fails; whole accounts, one by one."""

from __future__ import annotations

import dataclasses
from decimal import Decimal

import pytest

from fakes import ACCOUNT, SPY, Plan, option, stock_ticket
from ibkit.model import Key, OrderStatus, OrderType, Right, Side
from ibkit.trading.closing.close_all import CloseAll
from ibkit.trading.selling.trade import ExitReason, TradeStatus
from spread_room import make_spread_room, placed, sell, short

D = Decimal
CLOSE = Key("close-0123456789abcdef")
SHORT, LONG = option("629").conid, option("624").conid

pytestmark = pytest.mark.anyio


@pytest.fixture
def room():
    return make_spread_room()


def working(room):
    return [(held.ticket.order_type, held.ticket.quantity) for held in placed(room) if held.status.working]


async def hold(room, contract, side, quantity):
    """A position that no trade of ours is in."""
    ticket = stock_ticket(str(quantity), contract=contract, side=side)
    room.broker._accept(ticket, None, Plan())


@pytest.mark.requirement("TRD-19")
@pytest.mark.parametrize("conid", [SHORT, LONG], ids=["sold leg", "bought leg"])
async def test_closing_a_leg_of_a_spread_closes_the_spread(room, conid):
    await sell(room, take_profit="0.5")

    result = await room.closer.close_position(conid, key=CLOSE)

    assert result.success, result.message
    assert result.message == "Closed 3 SPY 20261120 629/624 P at 0.40"
    assert (short(room, SHORT), short(room, LONG)) == (0, 0)
    assert len(placed(room, Side.BUY, OrderType.MARKET)) == 1
    assert not working(room)
    (trade,) = await room.trades.trades()
    assert (trade.status, trade.exit_reason) == (TradeStatus.CLOSED, ExitReason.MANUAL)
    again = await room.closer.close_position(conid, key=CLOSE)
    assert again.success
    assert len(placed(room, Side.BUY, OrderType.MARKET)) == 1


@pytest.mark.requirement("TRD-19")
@pytest.mark.parametrize("width", [None, 5])
async def test_a_close_that_is_refused_puts_stop_and_take_profit_back(room, width):
    await sell(room, width=width, take_profit="0.5")
    room.plan("reject")

    result = await room.closer.close_position(SHORT, key=CLOSE)

    assert (result.success, result.stop_restored, result.unsure) == (False, True, False), result.message
    assert working(room) == [(OrderType.STOP, D(3)), (OrderType.LIMIT, D(3))]
    assert await room.guard.check() == ()


@pytest.mark.requirement("TRD-19", "TRD-14")
async def test_a_close_in_doubt_puts_nothing_back_and_calls_a_person(room):
    await sell(room, width=None)
    room.plan("lost_after")
    room.broker.read_faults.extend([True] * 500)

    result = await room.closer.close_position(SHORT, key=CLOSE)

    assert (result.success, result.unsure) == (False, True)
    assert result.message.startswith("CRITICAL")
    assert not [each for each in working(room) if each[0] is OrderType.STOP]


@pytest.mark.requirement("TRD-19")
async def test_two_trades_in_one_option_lose_both_stops_and_both_close(room):
    await sell(room, width=None)
    await sell(room, width=None, quantity=2, key="sale-of-another-two-contracts")
    assert short(room, SHORT) == -5

    result = await room.closer.close_position(SHORT, key=CLOSE)

    assert (result.success, result.quantity) == (True, D(5)), result.message
    assert short(room, SHORT) == 0
    assert not working(room)
    assert {trade.status for trade in await room.trades.trades()} == {TradeStatus.CLOSED}


@pytest.mark.requirement("TRD-19")
async def test_what_is_held_beyond_a_trade_is_closed_with_it(room):
    await sell(room, width=None)
    await hold(room, option("629"), Side.SELL, 1)

    result = await room.closer.close_position(SHORT, key=CLOSE)

    assert (result.success, result.quantity) == (True, D(4)), result.message
    assert short(room, SHORT) == 0


@pytest.mark.requirement("TRD-19")
async def test_a_long_position_beside_the_record_of_a_trade_that_is_gone_is_sold(room):
    """Somebody bought back what we sold, and more: the open record must not keep the rest from being closed."""
    await sell(room, width=None)
    await hold(room, option("629"), Side.BUY, 4)

    result = await room.closer.close_position(SHORT, key=CLOSE)

    assert (result.success, result.quantity) == (True, D(1)), result.message
    assert short(room, SHORT) == 0


@pytest.mark.requirement("TRD-19")
async def test_a_stock_is_closed_at_a_limit_on_the_grid(room):
    await hold(room, SPY, Side.BUY, 10)
    room.broker.fills = False

    result = await room.closer.close_position(SPY.conid, key=CLOSE, limit_price=D("630.02"))

    order = room.broker.accepted[-1]
    assert (order.ticket.side, order.ticket.limit_price) == (Side.SELL, D("630.00"))
    assert (result.success, result.code) == (False, "E-ORD-TIMEOUT")
    assert order.status is OrderStatus.CANCELLED


@pytest.mark.requirement("TRD-19")
async def test_without_a_position_nothing_is_sent(room):
    result = await room.closer.close_position(SHORT, key=CLOSE)

    assert (result.success, result.code) == (False, "E-NOT-FOUND")
    assert not room.broker.accepted


def everything(room):
    return CloseAll(broker=room.broker, gateway=room.gateway, closer=room.closer, clock=room.clock, account_id=ACCOUNT)


@pytest.mark.requirement("TRD-19")
async def test_close_all_cancels_other_orders_and_closes_trades_then_the_rest(room):
    await sell(room, take_profit="0.5")
    await sell(room, width=None, right="C", strike=631, key="sale-of-the-call-on-this-day")
    await hold(room, option("620"), Side.BUY, 2)
    await hold(room, option("635", Right.CALL), Side.SELL, 1)
    await hold(room, SPY, Side.BUY, 10)
    other = room.broker._accept(
        dataclasses.replace(stock_ticket("5"), order_type=OrderType.LIMIT, limit_price=D("600.00")), None, Plan()
    )

    result = await everything(room).run(key=CLOSE)

    assert result.success, (result.standing, result.kept, [each.message for _, each in result.closed])
    assert other.status is OrderStatus.CANCELLED
    assert len(result.cancelled) == 1
    options = [p for p in await room.broker.positions(ACCOUNT) if p.contract.sec_type.value == "OPT"]
    assert options == []
    assert short(room, SPY.conid) == 10
    assert not working(room)
    names = [name for name, _ in result.closed]
    assert names == ["SPY 20261120 629/624 P", "SPY 20261120 631 C", "-1 SPY 20261120 635 C", "2 SPY 20261120 620 P"]


@pytest.mark.requirement("TRD-19", "TRD-14")
async def test_bought_options_stay_where_a_sold_one_could_not_be_closed(room):
    await sell(room, width=None)
    await hold(room, option("620"), Side.BUY, 3)
    room.plan("reject")

    result = await everything(room).run(key=CLOSE)

    assert not result.success
    assert [name for name, _ in result.kept] == ["3 SPY 20261120 620 P"]
    assert working(room) == [(OrderType.STOP, D(3))]
    assert short(room, option("620").conid) == 3


@pytest.mark.requirement("TRD-19")
async def test_close_all_repeated_with_its_key_sends_nothing_twice(room):
    await sell(room)
    await hold(room, option("620"), Side.BUY, 2)
    await everything(room).run(key=CLOSE)
    sent = room.broker.sent("place")
    room.restart()

    result = await everything(room).run(key=CLOSE)

    assert result.success
    assert room.broker.sent("place") == sent


@pytest.mark.requirement("TRD-19")
async def test_an_order_that_cannot_be_cancelled_keeps_its_position_alone(room):
    await hold(room, option("629"), Side.SELL, 1)
    stop = room.broker._accept(
        stock_ticket("1", contract=option("629"), order_type=OrderType.STOP, stop_price=D("2.00")), None, Plan()
    )
    room.broker.cancel_faults.extend(["lost_before"] * 9)

    result = await everything(room).run(key=CLOSE)

    assert stop.status.working
    assert [name for name, _ in result.kept] == ["-1 SPY 20261120 629 P"]
    assert short(room, SHORT) == -1
