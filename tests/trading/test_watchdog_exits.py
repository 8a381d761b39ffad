"""The watchdog beside what the seller places: groups of two exits, spreads, and a sale whose process has died."""

from __future__ import annotations

import dataclasses
from decimal import Decimal

import pytest

from fakes import ACCOUNT, Held
from ibkit.model import OrderStatus, OrderType, Side
from ibkit.trading.selling.exits import ExitPlan
from ibkit.trading.selling.trade import ExitReason, OrderRole, TradeStatus
from spread_room import KEY, make_spread_room, placed, sell
from trading_room import Room, make_room
from watching import MULTIPLE, Watch, sold

pytestmark = [pytest.mark.anyio, pytest.mark.requirement("TRD-20", "TRD-14")]


async def pair(room: Room | None = None) -> Watch:
    """Three puts with a stop and a take profit as one group, two minutes ago."""
    room = room or make_room()
    await room.gateway.recover(ACCOUNT)
    result = await room.seller.sell_option_with_stop(
        "SPY", 629, "P", MULTIPLE, 3, "20261120", take_profit="0.5", key=KEY
    )
    assert result.success, result
    room.clock.advance(120)
    room.broker.calls.clear()
    return Watch(room)


def working(watch: Watch, kind: OrderType) -> list[Held]:
    return [h for h in watch.room.broker.accepted if h.status.working and h.ticket.order_type is kind]


async def test_a_pair_that_stands_is_left_alone() -> None:
    watch = await pair()
    assert (await watch.room.watchdog().round()).alerts == ()
    assert watch.orders() == []


async def test_a_filled_take_profit_closes_the_record_as_such() -> None:
    watch = await pair()
    (profit,) = working(watch, OrderType.LIMIT)
    watch.room.broker.fill(profit.order_id, Decimal(3), Decimal("0.31"))
    await watch.room.gateway.look_after_groups()
    watch.room.clock.advance(10)
    await watch.room.watchdog().round()
    trade = watch.trade
    assert (trade.status, trade.exit_reason, trade.exit_price) == (
        TradeStatus.CLOSED,
        ExitReason.TAKE_PROFIT,
        Decimal("0.31"),
    )
    assert OrderRole.PROFIT in [link.role for link in trade.links]
    assert watch.stops == []


async def test_a_pair_that_lost_its_stop_is_placed_anew_as_a_pair() -> None:
    watch = await pair()
    watch.cancel_by_hand(watch.stops[0])
    (lone,) = working(watch, OrderType.LIMIT)
    (alert,) = (await watch.room.watchdog().round()).alerts
    assert "a new stop works" in alert.message
    assert lone.status is OrderStatus.CANCELLED
    assert [stop.ticket.quantity for stop in watch.stops] == [3]
    assert [held.ticket.quantity for held in working(watch, OrderType.LIMIT)] == [3]
    assert (await watch.room.watchdog().round()).alerts == ()


async def test_a_pair_shrinks_as_a_pair() -> None:
    watch = await pair()
    watch.trade_by_hand(Side.BUY, "1", "0.40")
    await watch.room.watchdog().round()
    assert [stop.ticket.quantity for stop in watch.stops] == [2]
    assert [held.ticket.quantity for held in working(watch, OrderType.LIMIT)] == [2]


async def test_a_pair_whose_position_is_gone_is_cancelled_whole() -> None:
    watch = await pair()
    watch.trade_by_hand(Side.BUY, "3", "0.40")
    await watch.room.watchdog().round()
    assert [h for h in watch.room.broker.accepted if h.status.working and h.ticket.side is Side.BUY] == []
    assert watch.trade.exit_reason is ExitReason.MANUAL


# -- spreads ----------------------------------------------------------------------------------------------------------


async def spread() -> Watch:
    room = make_spread_room()
    await room.gateway.recover(ACCOUNT)
    result = await sell(room)
    assert result.success, result
    room.clock.advance(120)
    room.broker.calls.clear()
    return Watch(room)


async def test_a_spread_that_is_protected_is_known_and_left_alone() -> None:
    watch = await spread()
    report = await watch.room.watchdog().round()
    assert (report.alerts, report.unmanaged) == ((), ())
    assert watch.orders() == []


async def test_a_spread_that_lost_its_stop_gets_it_again_on_the_combination() -> None:
    watch = await spread()
    (first,) = placed(watch.room, kind=OrderType.STOP)
    watch.cancel_by_hand(first)
    (alert,) = (await watch.room.watchdog().round()).alerts
    assert "a new stop works" in alert.message, alert.message
    _, again = placed(watch.room, kind=OrderType.STOP)
    assert again.ticket.contract.conidex == first.ticket.contract.conidex
    assert (again.ticket.stop_price, again.ticket.quantity) == (first.ticket.stop_price, first.ticket.quantity)


# -- beside the sale --------------------------------------------------------------------------------------------------


async def killed_before_its_stop() -> Room:
    """The sale's process died after the fill; the record knows the plan, the journal no stop."""
    watch = await sold()
    room = watch.room
    for held in list(room.broker.accepted):
        if held.ticket.order_type is OrderType.STOP:
            room.broker.accepted.remove(held)
            room.broker.known_refs.discard(held.ref)
    for intent_id, intent in list(room.journal.intents.items()):
        if intent.planned.purpose == "stop":
            del room.journal.intents[intent_id], room.journal.log[intent_id]
    trade = watch.trade
    room.trades.rows[trade.trade_id] = dataclasses.replace(
        trade, links=tuple(link for link in trade.links if link.role is OrderRole.ENTRY)
    )
    return room


@pytest.mark.requirement("TRD-22")
async def test_after_a_kill_the_watchdog_and_the_repeated_sale_place_one_stop_between_them() -> None:
    room = await killed_before_its_stop()
    watch = Watch(room)
    assert watch.stops == []
    (alert,) = (await room.watchdog().round()).alerts
    assert "no working stop" in alert.message
    assert len(watch.stops) == 1
    key = watch.trade.links[0].key
    again = await room.seller.sell_option_with_stop("SPY", 629, "P", MULTIPLE, 3, "20261120", key=key)
    assert again.success, again
    assert len(watch.stops) == 1
    assert again.stop_order_id == watch.stops[0].order_id


async def test_a_plan_kept_with_the_sale_is_the_one_that_is_watched() -> None:
    watch = await pair()
    assert watch.trade.exit_plan == ExitPlan(stop_multiple=MULTIPLE, take_profit=Decimal("0.5"))
