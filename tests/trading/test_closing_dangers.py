"""Closing where something else has happened before: stops that a watchdog placed, late fills, positions told late."""

from __future__ import annotations

import dataclasses
from decimal import Decimal

import pytest

from fakes import ACCOUNT, Plan, option, stock_ticket
from ibkit.errors import Unreachable
from ibkit.model import Key, OrderStatus, OrderType, Right, Side
from ibkit.trading.closing.close_all import CloseAll
from ibkit.trading.selling.trade import ExitReason, RecordState, TradeStatus
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


def everything(room):
    return CloseAll(broker=room.broker, gateway=room.gateway, closer=room.closer, clock=room.clock, account_id=ACCOUNT)


async def with_a_stop_of_the_watchdog(room, **changes):
    """The stop of the sale was cancelled by hand, and the watchdog placed another."""
    await sell(room, **changes)
    room.clock.advance(120)
    (stop,) = placed(room, kind=OrderType.STOP)
    stop.status = OrderStatus.CANCELLED
    await room.watchdog().round()
    assert working(room) == [(OrderType.STOP, D(3))]


@pytest.mark.requirement("TRD-19", "TRD-14")
@pytest.mark.parametrize("width", [None, 5])
async def test_a_stop_that_the_watchdog_placed_is_taken_off_too(room, width):
    await with_a_stop_of_the_watchdog(room, width=width)

    result = await room.closer.close_position(SHORT, key=CLOSE)

    assert result.success, result.message
    assert short(room, SHORT) == 0
    assert not working(room)


@pytest.mark.requirement("TRD-19", "TRD-14")
async def test_a_stop_that_the_watchdog_placed_is_put_back_where_the_close_fails(room):
    await with_a_stop_of_the_watchdog(room, width=None)
    room.plan("reject")

    result = await room.closer.close_position(SHORT, key=CLOSE)

    assert (result.success, result.stop_restored) == (False, True), result.message
    assert working(room) == [(OrderType.STOP, D(3))]


@pytest.mark.requirement("TRD-19")
async def test_close_all_leaves_a_stop_of_the_watchdog_until_its_turn(room):
    await with_a_stop_of_the_watchdog(room, width=None)
    room.plan("reject")

    result = await everything(room).run(key=CLOSE)

    assert not result.success
    assert result.cancelled == []
    assert working(room) == [(OrderType.STOP, D(3))]


@pytest.mark.requirement("TRD-19", "TRD-14")
async def test_a_sale_that_crashed_before_its_record_was_complete_is_closed_with_its_stop(room):
    await sell(room, width=None)
    (trade,) = await room.trades.trades()
    pending = dataclasses.replace(
        trade,
        record_state=RecordState.PENDING,
        entry_price=None,
        stop_loss_order_id=None,
        stop_loss_price=None,
        links=trade.links[:1],
        fills=(),
    )
    room.trades.rows[trade.trade_id] = pending
    room.restart()
    await room.started()

    result = await room.closer.close_position(SHORT, key=CLOSE)

    assert result.success, result.message
    assert short(room, SHORT) == 0
    assert not working(room)
    (trade,) = await room.trades.trades()
    assert (trade.status, trade.exit_reason, trade.entry_price) == (TradeStatus.CLOSED, ExitReason.MANUAL, D("0.40"))


@pytest.mark.requirement("TRD-19", "TRD-14")
async def test_one_of_two_stops_that_filled_is_no_end_of_the_trade(room):
    """2 of 3 filled in time and have a stop, the third filled late and has its own; only the first stop has filled."""
    room.broker.fill_part = D(2)
    room.broker.cancel_faults.extend(["lost_before"] * 20)
    await sell(room, width=None)
    room.broker.fill_part = None
    room.broker.cancel_faults.clear()
    room.broker.fill(placed(room, Side.SELL)[0].order_id, D(1), D("0.40"))
    await sell(room, width=None)
    first, second = placed(room, kind=OrderType.STOP)
    assert (first.ticket.quantity, second.ticket.quantity) == (2, 1)
    room.broker.fill(first.order_id, D(2), D("2.00"))

    result = await room.closer.close_position(SHORT, key=CLOSE)

    assert result.success, result.message
    assert short(room, SHORT) == 0
    assert not working(room)
    (trade,) = await room.trades.trades()
    assert (trade.status, trade.exit_reason) == (TradeStatus.CLOSED, ExitReason.MANUAL)


@pytest.mark.requirement("TRD-19", "TRD-14")
async def test_after_a_part_was_closed_by_hand_a_close_that_fails_puts_a_stop_back_for_the_rest(room):
    await sell(room, width=None)
    await by_hand(room, Side.BUY, 1)
    room.plan("reject")

    result = await room.closer.close_position(SHORT, key=CLOSE)

    assert (result.success, result.stop_restored) == (False, True), result.message
    assert working(room) == [(OrderType.STOP, D(2))]


@pytest.mark.requirement("TRD-19", "TRD-14")
async def test_after_a_close_that_filled_in_part_the_next_that_fails_puts_a_stop_back_for_the_rest(room):
    await sell(room, width=None)
    room.broker.fill_part = D(1)
    first = await room.closer.close_position(SHORT, key=CLOSE)
    assert (first.success, first.stop_restored) == (False, True), first.message
    room.plan("reject")

    result = await room.closer.close_position(SHORT, key=Key("another-close-0123456789"))

    assert (result.success, result.stop_restored) == (False, True), result.message
    assert working(room) == [(OrderType.STOP, D(2))]


@pytest.mark.requirement("TRD-19")
async def test_close_all_takes_off_the_stop_of_a_trade_that_was_closed_by_hand(room):
    await sell(room, width=None)
    await by_hand(room, Side.BUY, 3)
    room.clock.advance(120)

    result = await everything(room).run(key=CLOSE)

    assert result.success
    assert not working(room)


@pytest.mark.requirement("TRD-19")
@pytest.mark.parametrize("for_s", [4, 600])
async def test_close_all_does_not_buy_again_what_positions_show_for_a_while(room, for_s):
    """A position may be told for some time after its close (docs/facts/accounts-and-portfolio.md §4)."""
    call = option("635", Right.CALL)
    await sell(room, width=None)
    await hold(room, call, Side.SELL, 1)
    await told_late(room, for_s)

    result = await everything(room).run(key=CLOSE)

    assert (short(room, SHORT), short(room, call.conid)) == (0, 0)
    assert result.success is (for_s == 4)
    assert [name for name, _ in result.kept] == ([] if for_s == 4 else ["-3 SPY 20261120 629 P"])


@pytest.mark.requirement("TRD-19")
async def test_a_second_close_waits_until_positions_can_show_the_first(room):
    await sell(room, width=None)
    await told_late(room, 600)
    assert (await room.closer.close_position(SHORT, key=CLOSE)).success

    again = await room.closer.close_position(SHORT, key=Key("another-close-0123456789"))

    assert (again.success, again.code) == (False, "E-IDEM-BUSY")
    assert short(room, SHORT) == 0


@pytest.mark.requirement("TRD-19")
async def test_of_two_trades_in_one_option_no_more_is_bought_back_than_was_held(room):
    """One of five was closed by hand, and positions are told late: the second trade has one left, not two."""
    await sell(room, width=None)
    await sell(room, width=None, quantity=2, key="sale-of-another-two-contracts")
    await by_hand(room, Side.BUY, 1)
    await told_late(room, 600)

    result = await room.closer.close_position(SHORT, key=CLOSE)

    assert result.success, result.message
    assert short(room, SHORT) == 0


@pytest.mark.requirement("TRD-19")
async def test_what_was_closed_before_a_list_could_not_be_read_is_told(room):
    await sell(room, width=None)
    reads = []
    read = room.broker.read_orders

    async def read_orders(account_id):
        reads.append(account_id)
        if short(room, SHORT) == 0:
            raise Unreachable("connection refused")
        return await read(account_id)

    room.broker.read_orders = read_orders

    result = await everything(room).run(key=CLOSE)

    assert [each.success for _, each in result.closed] == [True]
    assert not result.success


async def told_late(room, for_s):
    """IBKR tells the positions of now for so long."""
    read, until = room.broker.positions, room.clock.monotonic() + for_s
    stale = await read(ACCOUNT)

    async def positions(account_id):
        return stale if room.clock.monotonic() < until else await read(account_id)

    room.broker.positions = positions


async def by_hand(room, side, quantity):
    """Somebody trades what we sold elsewhere."""
    await hold(room, option("629"), side, quantity)


async def hold(room, contract, side, quantity):
    room.broker._accept(stock_ticket(str(quantity), contract=contract, side=side), None, Plan())
