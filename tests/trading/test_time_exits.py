"""Buying back at a given moment: once, in trading hours, and never left without a stop where it fails."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest

from fakes import Plan
from ibkit.model import OrderType, Side
from ibkit.trading.selling.exits import ExitPlan
from ibkit.trading.selling.trade import ExitReason, TradeStatus
from ibkit.trading.watching.time_exits import RETRY_AFTER, TimeExits
from watching import MULTIPLE, Watch, sold

pytestmark = [pytest.mark.anyio, pytest.mark.requirement("TRD-19", "TRD-20")]

EXIT_AT = datetime(2026, 11, 20, 16, 0, tzinfo=UTC)  # 11:00 in New York


@pytest.fixture
async def watch() -> Watch:
    return await sold(ExitPlan(stop_multiple=MULTIPLE, exit_at=EXIT_AT))


def exits(watch: Watch) -> TimeExits:
    return TimeExits(watchdog=watch.room.watchdog())


def at(watch: Watch, moment: datetime) -> None:
    watch.room.clock.advance((moment - watch.room.clock.now()).total_seconds())


async def test_before_its_moment_nothing_happens_and_the_moment_is_told(watch: Watch) -> None:
    assert await exits(watch).run() == ()
    assert watch.orders() == []
    assert (await watch.room.watchdog().round()).next_exit == EXIT_AT


async def test_at_its_moment_the_stop_goes_and_the_position_is_bought_back(watch: Watch) -> None:
    at(watch, EXIT_AT)
    assert await exits(watch).run() == ()
    assert [call.split()[0] for call in watch.orders()] == ["cancel", "place"]
    assert watch.position == 0
    assert watch.stops == []
    await watch.room.watchdog().round()
    assert (watch.trade.status, watch.trade.exit_reason) == (TradeStatus.CLOSED, ExitReason.MANUAL)


async def test_it_is_bought_back_once_over_restarts(watch: Watch) -> None:
    at(watch, EXIT_AT)
    await exits(watch).run()
    watch.room.restart()
    await exits(watch).run()
    watch.room.clock.advance(RETRY_AFTER.total_seconds() * 2)
    await exits(watch).run()
    assert watch.position == 0
    assert len(watch.orders()) == 2


async def test_one_that_was_missed_is_made_up_for_and_told(watch: Watch) -> None:
    at(watch, EXIT_AT + timedelta(hours=1))
    await exits(watch).run()
    assert watch.position == 0
    assert any("was missed" in step.text for step in watch.room.steps)


async def test_outside_trading_hours_it_waits_with_its_stop() -> None:
    early = datetime(2026, 11, 20, 14, 0, tzinfo=UTC)  # 9:00 in New York
    watch = await sold(ExitPlan(stop_multiple=MULTIPLE, exit_at=early))
    watch.room.clock.set(early + timedelta(minutes=1))
    await exits(watch).run()
    assert watch.orders() == []
    assert any("waits for the market" in step.text for step in watch.room.steps)
    watch.room.clock.set(early + timedelta(minutes=31))
    await exits(watch).run()
    assert watch.position == 0


async def test_where_it_fails_the_stop_stands_again(watch: Watch) -> None:
    at(watch, EXIT_AT)
    watch.room.broker.plans.append(Plan("reject"))
    (alert,) = await exits(watch).run()
    assert "was not bought back at its time" in alert.message
    assert "a new stop works" in alert.message
    assert [stop.ticket.quantity for stop in watch.stops] == [3]
    assert watch.position == -3


async def test_after_a_failure_the_stop_is_not_taken_off_every_minute(watch: Watch) -> None:
    at(watch, EXIT_AT)
    watch.room.broker.plans.append(Plan("reject"))
    await exits(watch).run()
    watch.room.broker.calls.clear()
    watch.room.clock.advance(60)
    await exits(watch).run()
    assert watch.orders() == []
    watch.room.clock.advance(RETRY_AFTER.total_seconds())
    await exits(watch).run()
    assert watch.position == 0


async def test_a_stop_that_cannot_be_cancelled_keeps_the_position(watch: Watch) -> None:
    at(watch, EXIT_AT)
    watch.room.broker.cancel_faults.extend(["lost_before"] * 20)
    (alert,) = await exits(watch).run()
    assert "was not bought back at its time" in alert.message
    assert not any("MKT" in call for call in watch.orders())
    assert len(watch.stops) == 1


async def test_a_buy_back_that_does_not_fill_is_cancelled_and_protected_again(watch: Watch) -> None:
    at(watch, EXIT_AT)
    watch.room.broker.fills = False
    (alert,) = await exits(watch).run()
    assert alert.message.startswith("CRITICAL")
    working = [held for held in watch.room.broker.accepted if held.status.working]
    assert [held.ticket.order_type for held in working] == [OrderType.STOP]


async def test_only_what_still_stands_is_bought_back(watch: Watch) -> None:
    watch.trade_by_hand(Side.BUY, "1", "0.40")
    at(watch, EXIT_AT)
    await exits(watch).run()
    assert watch.position == 0


async def test_a_plan_with_only_a_moment_needs_no_stop() -> None:
    watch = await sold(ExitPlan(exit_at=EXIT_AT))
    watch.cancel_by_hand(watch.stops[0])
    assert (await watch.room.watchdog().round()).alerts == ()
    at(watch, EXIT_AT)
    await exits(watch).run()
    assert watch.position == 0


async def test_a_position_bought_by_hand_before_is_not_bought_back(watch: Watch) -> None:
    watch.trade_by_hand(Side.BUY, "3", "0.40")
    at(watch, EXIT_AT)
    await exits(watch).run()
    assert not any(call.startswith("place") for call in watch.orders())
    assert watch.position == 0


async def test_its_record_says_at_what_price_it_left(watch: Watch) -> None:
    at(watch, EXIT_AT)
    watch.room.broker.fill_price = Decimal("0.33")
    await exits(watch).run()
    await watch.room.watchdog().round()
    assert watch.trade.exit_price == Decimal("0.33")
    assert watch.trade.realized_pnl is not None


@pytest.mark.parametrize("part", ["1", "3"])
async def test_a_stop_that_fills_while_it_is_cancelled_is_no_failure(watch: Watch, part: str) -> None:
    at(watch, EXIT_AT)
    broker, (stop,) = watch.room.broker, watch.stops
    cancel = broker.cancel

    async def filled_first(account_id, order_id, *, permit=None):
        if order_id == stop.order_id and not stop.filled:
            broker.fill(stop.order_id, Decimal(part), Decimal("1.90"))
        return await cancel(account_id, order_id, permit=permit)

    broker.cancel = filled_first

    assert await exits(watch).run() == ()

    assert watch.position == 0
    assert watch.open_alerts == []
