"""A key repeated after a person closed the position: no stop may be left that would open a new one."""

from __future__ import annotations

from decimal import Decimal

import pytest

from fakes import option
from ibkit.errors import Unreachable
from ibkit.model import OrderStatus, OrderType, Position, Side
from ibkit.trading.selling.trade import ExitReason, TradeStatus
from spread_room import make_spread_room, placed, sell

D = Decimal

pytestmark = pytest.mark.anyio


class Killed(BaseException):
    """The process dies."""


@pytest.fixture
def room():
    return make_spread_room()


async def sold_without_a_stop(room, passing_s=120, **changes):
    """The process dies right after the fill; some minutes pass."""
    place = room.broker.place

    async def dies(ticket, **rest):
        if ticket.side is Side.BUY:
            raise Killed
        return await place(ticket, **rest)

    room.broker.place = dies
    with pytest.raises(BaseExceptionGroup):
        await sell(room, **changes)
    room.broker.place = place
    room.restart()
    room.clock.advance(passing_s)


def held(room, *quantities):
    """The account's positions from here on, one for each read (the last for all later ones); an error where None."""
    left = list(quantities)
    reads = []

    async def positions(account_id):
        now = left.pop(0) if len(left) > 1 else left[0]
        reads.append(now)
        if now is None:
            raise Unreachable("connection refused")
        nothing = dict.fromkeys(
            ("average_price", "market_price", "market_value", "realized_pnl", "unrealized_pnl"), None
        )
        return tuple(
            Position(account_id=account_id, contract=option(strike), quantity=D(quantity), **nothing)
            for strike, quantity in now.items()
            if quantity
        )

    room.broker.positions = positions
    return reads


@pytest.mark.requirement("TRD-14", "TRD-20")
@pytest.mark.parametrize("width", [None, 5])
async def test_what_was_closed_by_hand_gets_no_stop_and_is_recorded_so(room, width):
    await sold_without_a_stop(room, width=width)
    held(room, {})

    result = await sell(room, width=width)

    assert (result.success, result.closed, result.stop_order_id) == (True, True, None), result.message
    assert "closed by hand" in result.message
    assert not placed(room)
    (trade,) = room.trades.rows.values()
    assert (trade.status, trade.exit_reason, trade.stop_loss_order_id) == (TradeStatus.CLOSED, ExitReason.MANUAL, None)
    again = await sell(room, width=width)
    assert (again.success, again.closed) == (True, True), again.message


@pytest.mark.requirement("TRD-14")
@pytest.mark.parametrize(
    "reads",
    [
        [{"629": -3}],
        [{}, {"629": -3}],
        [None],
        [{}, None],
    ],
    ids=["still there", "the reads disagree", "unreadable", "unreadable the second time"],
)
async def test_in_doubt_the_stop_is_placed(room, reads):
    await sold_without_a_stop(room, width=None)
    held(room, *reads)

    result = await sell(room, width=None)

    assert result.success, result.message
    assert [each.ticket.quantity for each in placed(room, Side.BUY, OrderType.STOP)] == [3]


@pytest.mark.requirement("TRD-14")
async def test_a_young_entry_is_protected_without_asking(room):
    await sold_without_a_stop(room, width=None, passing_s=20)
    reads = held(room, {})

    result = await sell(room, width=None)

    assert result.success, result.message
    assert not reads
    assert len(placed(room)) == 1


@pytest.mark.requirement("TRD-14")
async def test_the_first_run_never_asks(room):
    """Its own fill is no minute old, and nobody can have closed it."""
    asked = []
    positions = room.broker.positions

    async def spied(account_id):
        asked.append(len(room.broker.accepted))
        return await positions(account_id)

    room.broker.positions = spied
    assert (await sell(room, width=None)).success
    assert all(orders == 0 for orders in asked)


@pytest.mark.requirement("TRD-14")
async def test_what_was_closed_in_part_is_protected_for_what_is_left(room):
    await sold_without_a_stop(room, width=None)
    held(room, {"629": -1})
    await room.gateway.recover()

    result = await sell(room, width=None)

    assert result.success, result.message
    assert [each.ticket.quantity for each in placed(room)] == [1]


@pytest.mark.requirement("TRD-14")
async def test_a_spread_whose_bought_leg_is_gone_is_a_persons_matter(room):
    """A stop on the combination would sell a leg that is not there."""
    await sold_without_a_stop(room)
    held(room, {"629": -3})

    result = await sell(room)

    assert (result.success, result.unsure, result.code) == (False, True, "E-STOP-FAILED")
    assert "legs no longer match" in result.message
    assert not placed(room)


@pytest.mark.requirement("TRD-14", "TRD-20")
async def test_a_stop_that_died_after_the_position_was_closed_by_hand_is_not_placed_again(room):
    assert (await sell(room, width=None)).success
    placed(room)[0].status = OrderStatus.CANCELLED
    room.restart()
    room.clock.advance(3600)
    held(room, {})

    result = await sell(room, width=None)

    assert (result.success, result.closed) == (True, True), result.message
    assert len(placed(room)) == 1


@pytest.mark.requirement("TRD-20")
async def test_what_expired_meanwhile_is_recorded_as_expired(room):
    await sold_without_a_stop(room, width=None)
    room.clock.advance(24 * 3600)
    held(room, {})

    result = await sell(room, width=None)

    assert result.success, result.message
    (trade,) = room.trades.rows.values()
    assert trade.exit_reason is ExitReason.EXPIRED
