"""Between a fill and its stop: a disk that fills up, a stop that dies late, a price nobody says, a run cut short."""

from __future__ import annotations

import dataclasses
from decimal import Decimal

import pytest

from ibkit.errors import Unreachable
from ibkit.model import OrderStatus, OrderType, Side, Trail
from ibkit.trading.alert import AlertKind
from ibkit.trading.events import Acknowledged, Looked
from ibkit.trading.risk.limits import LIVE_LIMITS, PAPER_LIMITS
from ibkit.trading.selling.trade import RecordState, TradeStatus
from ibkit.trading.timeline import StepKind
from trading_room import make_room

KEY = "sale-0123456789abcdef"

pytestmark = pytest.mark.anyio


async def sell(room, **changes):
    asked = {"stop_multiple": 5, "quantity": 3, "expiry": "20261120", "key": KEY, **changes}
    return await room.seller.sell_option_with_stop("SPY", 629.0, "P", **asked)


def placed(room, side, kind):
    return [held for held in room.broker.accepted if (held.ticket.side, held.ticket.order_type) == (side, kind)]


def bought(room):
    return sum(held.filled for held in room.broker.accepted if held.ticket.side is Side.BUY)


@pytest.mark.requirement("TRD-14", "TRD-13")
async def test_a_stop_that_dies_after_it_was_seen_working_is_placed_again(room):
    """PreSubmitted, and Inactive a moment later: the run has not ended yet, so it looks once more."""
    read = room.broker.read_fills
    died = []

    async def read_fills(account_id, *, days=1):
        stops = placed(room, Side.BUY, OrderType.STOP)
        if stops and not died:
            stops[0].status, stops[0].reason = OrderStatus.INACTIVE, "margin"
            died.append(stops[0])
        return await read(account_id, days=days)

    room.broker.read_fills = read_fills
    result = await sell(room)

    assert result.success, result.message
    first, second = placed(room, Side.BUY, OrderType.STOP)
    assert result.stop_order_id == second.order_id
    assert (first.status, second.status) == (OrderStatus.INACTIVE, OrderStatus.PRE_SUBMITTED)
    assert not bought(room)


@pytest.mark.requirement("TRD-14")
async def test_stops_that_all_die_late_end_with_the_position_bought_back_once(room):
    order = room.broker.order
    looks = {}

    async def dying(order_id):
        held = room.broker._held(order_id)
        if held.ticket.order_type is OrderType.STOP:
            looks[order_id] = looks.get(order_id, 0) + 1
            if looks[order_id] > 1:
                held.status, held.reason = OrderStatus.CANCELLED, "no trading permission"
        return await order(order_id)

    room.broker.order = dying
    result = await sell(room)

    assert (result.critical, result.closed, result.code) == (True, True, "E-STOP-FAILED")
    assert bought(room) == 3
    assert len(placed(room, Side.BUY, OrderType.STOP)) == 3


@pytest.mark.requirement("TRD-13")
async def test_a_fill_without_a_price_takes_it_from_the_executions(room):
    order = room.broker.order

    async def priceless(order_id):
        return dataclasses.replace(await order(order_id), average_price=None)

    room.broker.order = priceless
    result = await sell(room)

    assert result.success, result.message
    assert (result.entry_price, result.stop_loss) == (Decimal("0.62"), Decimal("3.10"))


@pytest.mark.requirement("TRD-14")
async def test_a_fill_whose_price_nobody_says_is_not_left_alone(room):
    order = room.broker.order

    async def priceless(order_id):
        return dataclasses.replace(await order(order_id), average_price=None)

    async def unreadable(account_id, *, days=1):
        raise Unreachable("connection refused")

    room.broker.order, room.broker.read_fills = priceless, unreadable
    asked = await sell(room)
    assert asked.success, asked.message  # the bid before the sale stands in
    assert asked.stop_loss == Decimal("3.10")


@pytest.mark.requirement("TRD-22", "OPT-06")
async def test_a_journal_that_fails_while_the_order_is_looked_for_is_no_nothing_sold(room):
    room.plan("lost_after")
    room.journal.fail = lambda events: any(isinstance(event, Looked | Acknowledged) for event in events)

    result = await sell(room)

    assert (result.code, result.unsure, result.success) == ("E-ORD-UNKNOWN", True, False)
    assert result.message.startswith("CRITICAL")
    (trade,) = room.trades.rows.values()
    assert trade.record_state is RecordState.PENDING


@pytest.mark.requirement("OPT-01", "OPT-07")
async def test_a_key_used_for_other_terms_leaves_the_record_of_the_real_sale_open(room):
    await sell(room)
    (trade,) = room.trades.rows.values()
    room.trades.rows[trade.trade_id] = dataclasses.replace(trade, record_state=RecordState.PENDING, entry_price=None)

    result = await sell(room, quantity=1)

    assert result.code == "E-IDEM-CONFLICT"
    (kept,) = room.trades.rows.values()
    assert (kept.record_state, kept.status) == (RecordState.PENDING, TradeStatus.OPEN)


@pytest.mark.requirement("TRD-14", "OPT-06")
async def test_a_repeated_key_that_cannot_go_on_does_not_say_that_nothing_was_sold(room):
    class Killed(BaseException):
        pass

    place = room.broker.place

    async def dies(ticket, **rest):
        if ticket.order_type is OrderType.STOP:
            raise Killed
        return await place(ticket, **rest)

    room.broker.place = dies
    with pytest.raises(BaseException):  # noqa: B017
        await sell(room)
    room.broker.place = place
    room.restart()

    async def down(contract, *, side):
        raise Unreachable("connection refused")

    increments, room.broker.increments = room.broker.increments, down
    result = await sell(room)
    assert (result.code, result.critical, result.unsure) == ("E-ORD-UNKNOWN", True, True)

    room.broker.increments = increments
    assert (await sell(room)).success
    assert len(placed(room, Side.SELL, OrderType.MARKET)) == 1
    assert len(placed(room, Side.BUY, OrderType.STOP)) == 1


@pytest.mark.requirement("TRD-13", "TRD-14")
async def test_what_fills_after_the_first_stop_gets_a_stop_of_its_own(room):
    """2 of 3 filled, the cancel came to nothing, the third filled later: the key repeated protects all three."""
    room.broker.fill_part = Decimal(2)
    room.broker.cancel_faults.extend(["lost_before"] * 20)
    first = await sell(room)
    assert first.unsure
    (entry,) = placed(room, Side.SELL, OrderType.MARKET)
    room.broker.fill(entry.order_id, Decimal(1), Decimal("0.80"))
    room.restart()

    again = await sell(room)

    stops = placed(room, Side.BUY, OrderType.STOP)
    assert [held.ticket.quantity for held in stops] == [2, 1]
    assert again.success, again.message
    assert not bought(room)
    repeated = await sell(room)
    assert repeated.success
    assert len(placed(room, Side.BUY, OrderType.STOP)) == 2


@pytest.mark.requirement("TRD-12", "TRD-13")
async def test_a_cancel_that_came_to_nothing_is_tried_anew_by_the_next_run(room):
    room.broker.fills = False
    room.broker.cancel_faults.extend(["lost_before"] * 9)
    first = await sell(room)
    assert first.unsure
    room.broker.cancel_faults.clear()
    room.restart()

    again = await sell(room)

    assert (again.code, again.unsure) == ("E-ORD-TIMEOUT", False)
    (entry,) = placed(room, Side.SELL, OrderType.MARKET)
    assert entry.status is OrderStatus.CANCELLED


@pytest.mark.requirement("TRD-14")
async def test_another_stop_multiple_with_the_same_key_tells_of_the_stop_that_stands(room):
    await sell(room)
    again = await sell(room, stop_multiple=4)

    assert again.success
    assert again.stop_loss == Decimal("3.10")
    assert len(placed(room, Side.BUY, OrderType.STOP)) == 1


@pytest.mark.requirement("OPT-07", "LIM-01")
async def test_sales_that_follow_each_other_read_their_executions_together(room):
    """IBKR allows one read in five seconds: two legs need not wait for it twice, and no fee is lost."""
    seller = room.seller
    asked = {"stop_multiple": 5, "quantity": 3, "expiry": "20261120"}
    put = await seller.sell_option_with_stop("SPY", 629, "P", **asked, key=f"{KEY}-put", more_follow=True)
    assert [trade.entry_commission for trade in room.trades.rows.values()] == [None]
    refused = await seller.sell_option_with_stop("SPY", 900, "C", **asked, key=f"{KEY}-call")
    assert (put.success, refused.code) == (True, "E-STRIKE-GUARD")

    await seller.finish()
    await seller.finish()

    (trade,) = room.trades.rows.values()
    assert trade.entry_commission == Decimal("1.95")
    assert room.broker.sent("trades") == 2


@pytest.mark.requirement("TRD-14", "OPT-06")
async def test_a_mistake_of_our_own_after_the_fill_is_no_traceback_but_a_critical_result(room):
    order = room.broker.order
    mistakes = [ZeroDivisionError("a bug")]

    async def broken(order_id):
        if mistakes:
            raise mistakes.pop()
        return await order(order_id)

    room.broker.order = broken
    result = await sell(room)

    assert (result.code, result.critical, result.unsure) == ("E-ORD-UNKNOWN", True, True)
    assert "ZeroDivisionError" in result.message
    assert await room.journal.alerts.open(kind=AlertKind.UNPROTECTED)
    assert (await sell(room)).success
    assert not await room.journal.alerts.open(kind=AlertKind.UNPROTECTED)
    assert len(placed(room, Side.SELL, OrderType.MARKET)) == 1


@pytest.mark.requirement("TRD-18", "TRD-14")
@pytest.mark.parametrize(
    "limits",
    [{"max_option_contracts": Decimal(2)}, {"order_types": frozenset({OrderType.LIMIT})}, {"stop_tifs": frozenset()}],
    ids=lambda limits: next(iter(limits)),
)
async def test_a_limit_that_was_lowered_after_the_sale_keeps_no_stop_from_it(room, limits):
    """Limits bound what is opened. One that held up the stop, or the way back, would leave a naked short."""
    await room.started()
    before = room.limits

    def lowered(step):
        if step.kind is StepKind.FILL:
            room.journal.risk.base = lambda _environment: dataclasses.replace(before, **limits)

    room.steps = Told(lowered)
    room.restart()

    result = await sell(room)

    assert result.success, result.message
    assert [held.ticket.quantity for held in placed(room, Side.BUY, OrderType.STOP)] == [3]


@pytest.mark.requirement("TRD-18", "TRD-19")
@pytest.mark.parametrize("exits", [{"trail": Trail(Decimal("0.50"))}, {"take_profit": "0.5"}], ids=["trail", "profit"])
async def test_the_exits_of_a_live_sale_are_no_order_types_to_be_refused(exits):
    """RC-06 allows live money neither TRAIL nor LMT GTC to open something; these protect and close."""
    names = ("order_types", "tifs", "stop_tifs")
    of_live = {name: getattr(LIVE_LIMITS, name) for name in names}
    room = make_room(limits=dataclasses.replace(PAPER_LIMITS, **of_live))

    result = await sell(room, **exits)

    assert result.success, result.message
    assert not result.warnings


class Told(list):
    """Steps that somebody reacts to."""

    def __init__(self, react):
        super().__init__()
        self.react = react

    def append(self, step):
        super().append(step)
        self.react(step)
