"""The watchdog and spreads: a leg that went alone leaves the other naked, which no record may hide."""

from __future__ import annotations

from decimal import Decimal

import pytest

from fakes import ACCOUNT, SPY, Plan, option, stock_ticket
from ibkit.model import Key, Side
from ibkit.trading.closing.close_all import CloseAll
from ibkit.trading.selling.trade import ExitReason, TradeStatus
from spread_room import make_spread_room, placed, sell, short

D = Decimal
CLOSE = Key("close-0123456789abcdef")
SHORT, LONG = option("629"), option("624")

pytestmark = pytest.mark.anyio


@pytest.fixture
def room():
    return make_spread_room()


async def by_hand(room, contract, side, quantity):
    room.broker._accept(stock_ticket(str(quantity), contract=contract, side=side), None, Plan())
    room.clock.advance(120)


async def close_all(room):
    everything = CloseAll(
        broker=room.broker, gateway=room.gateway, closer=room.closer, clock=room.clock, account_id=ACCOUNT
    )
    return await everything.run(key=CLOSE)


def open_alerts(room):
    return [alert.message for alert in room.journal.alerts.all if alert.closed_at is None]


@pytest.mark.requirement("TRD-14", "TRD-20")
async def test_a_spread_whose_bought_leg_was_sold_by_hand_is_told_as_naked(room):
    await sell(room)
    await by_hand(room, LONG, Side.SELL, 3)

    report = await room.watchdog().round()

    assert report.alerts, report
    assert "3 SPY 20261120 629 P" in report.alerts[0].message
    (trade,) = await room.trades.trades()
    assert trade.status is TradeStatus.OPEN
    assert open_alerts(room)
    assert (await room.watchdog().round()).alerts


@pytest.mark.requirement("TRD-14", "TRD-20")
async def test_a_spread_whose_bought_leg_was_sold_in_part_is_told_too(room):
    await sell(room)
    await by_hand(room, LONG, Side.SELL, 1)

    report = await room.watchdog().round()

    assert any("1 SPY 20261120 629 P" in alert.message for alert in report.alerts), report


@pytest.mark.requirement("TRD-20")
async def test_a_put_sold_alone_is_not_taken_for_the_leg_of_a_spread_that_is_gone(room):
    await sell(room)
    await sell(room, width=None, key="sale-of-the-same-put-alone")
    await by_hand(room, SHORT, Side.BUY, 3)
    await by_hand(room, LONG, Side.SELL, 3)

    report = await room.watchdog().round()

    assert report.alerts == ()
    assert {trade.status for trade in await room.trades.trades() if trade.legs} == {TradeStatus.CLOSED}
    assert {trade.status for trade in await room.trades.trades() if not trade.legs} == {TradeStatus.OPEN}


@pytest.mark.requirement("TRD-20")
async def test_after_the_last_day_a_leg_that_is_still_shown_is_waited_for(room):
    await sell(room)
    await by_hand(room, LONG, Side.SELL, 3)
    room.clock.advance(8 * 3600)

    report = await room.watchdog().round()

    assert report.alerts == ()
    (trade,) = await room.trades.trades()
    assert trade.status is TradeStatus.OPEN


@pytest.mark.requirement("TRD-19")
@pytest.mark.parametrize("everything", [False, True])
async def test_closing_what_is_left_of_a_broken_spread_takes_its_stop_off(room, everything):
    await sell(room)
    await by_hand(room, LONG, Side.SELL, 3)

    if everything:
        result = await close_all(room)
    else:
        result = await room.closer.close_position(SHORT.conid, key=CLOSE)

    assert result.success, result
    assert (short(room, SHORT.conid), short(room, LONG.conid)) == (0, 0)
    assert not [held for held in placed(room) if held.status.working]


@pytest.mark.requirement("TRD-20")
async def test_a_spread_whose_sold_leg_was_bought_back_by_hand_is_over(room):
    await sell(room)
    await by_hand(room, SHORT, Side.BUY, 3)

    report = await room.watchdog().round()

    assert report.alerts == ()
    (trade,) = await room.trades.trades()
    assert trade.status is TradeStatus.CLOSED
    assert short(room, LONG.conid) == 3


@pytest.mark.requirement("TRD-20")
async def test_a_spread_whose_sold_leg_was_assigned_early_says_so(room):
    await sell(room)
    await by_hand(room, SHORT, Side.BUY, 3)
    await by_hand(room, SPY, Side.BUY, 300)

    await room.watchdog().round()

    (trade,) = await room.trades.trades()
    assert (trade.status, trade.exit_reason, trade.exit_price) == (TradeStatus.CLOSED, ExitReason.ASSIGNED, None)
    assert not [held for held in placed(room) if held.status.working]
