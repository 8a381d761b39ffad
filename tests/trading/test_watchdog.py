"""Sold options under watch: what the watchdog finds, what it sends, and what it leaves alone."""

from __future__ import annotations

import dataclasses
from datetime import UTC, datetime
from decimal import Decimal

import pytest

from fakes import SPY, Plan, option
from ibkit.errors import Unreachable
from ibkit.model import Environment, OrderStatus, OrderType, Side, Trail, TrailKind
from ibkit.trading.risk import Halt, HaltMode
from ibkit.trading.selling.exits import ExitPlan, OnMissing
from ibkit.trading.selling.trade import ExitReason, TradeStatus
from ibkit.trading.timeline import StepKind
from trading_room import make_room
from watching import MULTIPLE, PUT, Watch, sold

pytestmark = [pytest.mark.anyio, pytest.mark.requirement("TRD-20")]

PLACE = ExitPlan(stop_multiple=MULTIPLE)
CLOSE = ExitPlan(stop_multiple=MULTIPLE, on_missing=OnMissing.CLOSE)
ALERT = ExitPlan(stop_multiple=MULTIPLE, on_missing=OnMissing.ALERT)


@pytest.fixture
async def watch() -> Watch:
    return await sold()


async def test_a_protected_sale_is_left_alone(watch: Watch) -> None:
    report = await watch.room.watchdog().round()
    assert report.alerts == ()
    assert report.unmanaged == ()
    assert watch.orders() == []


@pytest.mark.requirement("TRD-14")
async def test_a_stop_cancelled_by_hand_is_placed_again_at_the_plans_price(watch: Watch) -> None:
    watch.cancel_by_hand(watch.stops[0])
    (alert,) = (await watch.room.watchdog().round()).alerts
    (stop,) = watch.stops
    assert (stop.ticket.stop_price, stop.ticket.quantity) == (Decimal("1.86"), 3)
    assert alert.message.startswith("CRITICAL: SPY 20261120 629 P has no working stop: 3 short")
    assert "a new stop works" in alert.message


@pytest.mark.requirement("TRD-18")
async def test_while_a_kill_switch_cancels_all_no_stop_is_placed_and_it_is_told(watch: Watch) -> None:
    """Who cancels everything means it: a stop placed anew would be cancelled again, or outlive the cancel."""
    room = watch.room
    halt = Halt(environment=Environment.PAPER, mode=HaltMode.CANCEL_ALL, by="ann", note="", at=room.clock.now())
    (stored,) = await room.journal.risk.halt(halt)
    watch.cancel_by_hand(watch.stops[0])

    (alert,) = (await room.watchdog().round()).alerts

    assert watch.stops == []
    assert "a kill switch cancels all orders" in alert.message
    await room.journal.risk.release(stored.number, by="ann", note="", at=room.clock.now())
    await room.watchdog().round()
    assert len(watch.stops) == 1


async def test_the_alert_of_a_mended_stop_stays_until_the_next_round_finds_it_working(watch: Watch) -> None:
    watch.cancel_by_hand(watch.stops[0])
    await watch.room.watchdog().round()
    assert len(watch.open_alerts) == 1
    assert (await watch.room.watchdog().round()).alerts == ()
    assert watch.open_alerts == []


async def test_nothing_is_sent_before_two_looks_agree(watch: Watch) -> None:
    """A list that misses an order once is no proof; here the stop is back at the second look."""
    stop = watch.stops[0]
    stop.status = OrderStatus.CANCELLED
    looked = watch.room.steps

    def comes_back(step: object) -> None:
        looked.append(step)  # type: ignore[arg-type]
        if getattr(step, "kind", None) is StepKind.WATCH:
            watch.enter_by_hand(Side.BUY, "3", OrderType.STOP, stop_price=Decimal("1.86"))

    report = await watch.room.watchdog(observe=comes_back).round()
    assert report.alerts == ()
    assert watch.orders() == []


async def test_two_watchdogs_place_one_stop(watch: Watch) -> None:
    """Both have looked before either has sent anything: they ask for the same key."""
    watch.cancel_by_hand(watch.stops[0])
    first, second = watch.room.watchdog(), watch.room.watchdog()
    sights = [await first.look(), await second.look()]
    for dog, sight in zip((first, second), sights, strict=True):
        (missing,) = sight.verdicts
        assert (await dog.remedies.place(missing)).ok  # type: ignore[arg-type]
    assert len(watch.stops) == 1
    assert len(watch.orders()) == 1


async def test_a_restart_between_look_and_stop_places_one_stop(watch: Watch) -> None:
    watch.cancel_by_hand(watch.stops[0])
    await watch.room.watchdog().round()
    watch.room.restart()
    await watch.room.watchdog().round()
    assert len(watch.stops) == 1


async def test_a_stop_cancelled_again_and_again_is_placed_again_under_new_keys(watch: Watch) -> None:
    for _ in range(4):
        watch.cancel_by_hand(watch.stops[0])
        await watch.room.watchdog().round()
        assert len(watch.stops) == 1
    keys = {intent.key for intent in watch.room.journal.intents.values() if intent.planned.purpose == "stop"}
    assert len(keys) == 5


@pytest.mark.requirement("TRD-14")
async def test_a_stop_in_an_unknown_state_is_told_and_never_doubled(watch: Watch) -> None:
    watch.cancel_by_hand(watch.stops[0])
    dog = watch.room.watchdog()
    (missing,) = (await dog.look()).verdicts
    watch.room.broker.plans.append(Plan("lost_before"))
    watch.room.broker.read_faults.extend([True] * 200)
    mended = await dog.remedies.place(missing)  # type: ignore[arg-type]
    assert "unknown" in mended.text
    watch.room.broker.read_faults.clear()
    watch.room.broker.calls.clear()
    (alert,) = (await dog.round()).alerts
    assert "may work or not" in alert.message
    assert watch.orders() == []


@pytest.mark.requirement("TRD-14")
async def test_a_stop_that_ibkr_shows_nowhere_protects_nothing_and_is_told(watch: Watch) -> None:
    """Cancelled in TWS while nobody watched: IBKR tells no status of it any more, and our books call it open."""
    (stop,) = watch.stops
    watch.room.broker.accepted.remove(stop)
    (alert,) = (await watch.room.watchdog().round()).alerts
    assert f"has no working stop for certain: order {stop.order_id} (not shown by IBKR) may work" in alert.message
    assert watch.orders() == []


async def test_a_refused_stop_is_tried_three_times_in_a_round_and_told(watch: Watch) -> None:
    watch.cancel_by_hand(watch.stops[0])
    watch.room.broker.reject_stops = 3
    (alert,) = (await watch.room.watchdog().round()).alerts
    assert "no stop could be placed" in alert.message
    assert len(watch.orders()) == 3
    assert (await watch.room.watchdog().round()).alerts[0].details["mended"] == "yes"
    assert len(watch.stops) == 1


async def test_a_stop_that_is_refused_again_and_again_is_tried_every_ten_minutes(watch: Watch) -> None:
    watch.cancel_by_hand(watch.stops[0])
    watch.room.broker.reject_stops = 1000
    for _ in range(30):
        report = await watch.room.watchdog().round()
        assert len(report.alerts) == 1
        watch.room.clock.advance(60)
    sent = len(watch.orders())
    assert 6 < sent <= 6 + 3 * 4
    watch.room.broker.reject_stops = 0
    watch.room.clock.advance(600)
    await watch.room.watchdog().round()
    assert len(watch.stops) == 1


async def test_a_buy_back_that_is_refused_again_and_again_is_tried_every_ten_minutes(watch: Watch) -> None:
    watch.plan(CLOSE)
    watch.cancel_by_hand(watch.stops[0])
    watch.room.broker.plans.extend([Plan("reject")] * 1000)
    for _ in range(30):
        await watch.room.watchdog().round()
        watch.room.clock.advance(60)
    assert 6 < len(watch.orders()) <= 10
    watch.room.broker.plans.clear()
    watch.room.clock.advance(600)
    await watch.room.watchdog().round()
    assert watch.position == 0


@pytest.mark.requirement("TRD-14")
async def test_by_the_plan_an_unprotected_position_is_bought_back_and_recorded(watch: Watch) -> None:
    watch.plan(CLOSE)
    watch.cancel_by_hand(watch.stops[0])
    (alert,) = (await watch.room.watchdog().round()).alerts
    assert "bought back" in alert.message
    assert watch.position == 0
    assert (await watch.room.watchdog().round()).alerts == ()
    assert (watch.trade.status, watch.trade.exit_reason) == (TradeStatus.CLOSED, ExitReason.MANUAL)
    assert watch.trade.realized_pnl is not None
    assert watch.open_alerts == []


async def test_two_watchdogs_buy_back_once(watch: Watch) -> None:
    watch.plan(CLOSE)
    watch.cancel_by_hand(watch.stops[0])
    first, second = watch.room.watchdog(), watch.room.watchdog()
    sights = [await first.look(), await second.look()]
    for dog, sight in zip((first, second), sights, strict=True):
        (missing,) = sight.verdicts
        await dog._bought_back(missing)  # type: ignore[arg-type]
    assert watch.position == 0


async def test_outside_trading_hours_nothing_is_bought_back() -> None:
    watch = await sold(CLOSE)
    watch.room.clock.set(datetime(2026, 11, 20, 14, 0, tzinfo=UTC))  # 9:00 in New York
    watch.cancel_by_hand(watch.stops[0])
    (alert,) = (await watch.room.watchdog().round()).alerts
    assert "the market is closed" in alert.message
    assert watch.orders() == []
    watch.room.clock.set(datetime(2026, 11, 20, 14, 31, tzinfo=UTC))
    await watch.room.watchdog().round()
    assert watch.position == 0


async def test_by_the_plan_only_a_person_is_told(watch: Watch) -> None:
    watch.plan(ALERT)
    watch.cancel_by_hand(watch.stops[0])
    (alert,) = (await watch.room.watchdog().round()).alerts
    assert alert.details["mended"] == "no"
    assert watch.orders() == []


async def test_a_record_without_a_plan_demands_its_stop_of_a_person(watch: Watch) -> None:
    watch.plan(None)
    row = watch.trade
    watch.room.trades.rows[row.trade_id] = dataclasses.replace(row, exit_plan=None)
    watch.cancel_by_hand(watch.stops[0])
    assert len((await watch.room.watchdog().round()).alerts) == 1
    assert watch.orders() == []


async def test_a_plan_without_a_stop_demands_none(watch: Watch) -> None:
    watch.plan(ExitPlan())
    watch.cancel_by_hand(watch.stops[0])
    assert (await watch.room.watchdog().round()).alerts == ()


async def test_a_guard_that_only_looks_sends_nothing(watch: Watch) -> None:
    watch.cancel_by_hand(watch.stops[0])
    assert len(await watch.room.guard.check()) == 1
    assert watch.orders() == []


async def test_a_trailing_stop_is_placed_again_as_one() -> None:
    watch = await sold(ExitPlan(trail=Trail(Decimal(50), TrailKind.PERCENT)))
    watch.cancel_by_hand(watch.stops[0])
    await watch.room.watchdog().round()
    (stop,) = watch.stops
    assert stop.ticket.order_type is OrderType.TRAIL
    assert stop.ticket.trail == Trail(Decimal(50), TrailKind.PERCENT)


async def test_a_stop_placed_by_hand_covers_too(watch: Watch) -> None:
    watch.cancel_by_hand(watch.stops[0])
    watch.enter_by_hand(Side.BUY, "3", OrderType.STOP, stop_price=Decimal("2.00"))
    assert (await watch.room.watchdog().round()).alerts == ()
    assert watch.orders() == []


async def test_only_what_nothing_covers_gets_a_stop(watch: Watch) -> None:
    watch.cancel_by_hand(watch.stops[0])
    watch.enter_by_hand(Side.BUY, "1", OrderType.STOP, stop_price=Decimal("2.00"))
    await watch.room.watchdog().round()
    assert sorted(stop.ticket.quantity for stop in watch.stops) == [1, 2]


async def test_a_stop_of_somebody_else_beside_ours_is_told_and_neither_is_touched(watch: Watch) -> None:
    """Both would fill: three short would become three long."""
    watch.enter_by_hand(Side.BUY, "3", OrderType.STOP, stop_price=Decimal("2.00"))
    (alert,) = (await watch.room.watchdog().round()).alerts
    assert "stops of others beside its own" in alert.message
    assert watch.orders() == []


# -- another size -----------------------------------------------------------------------------------------------------


async def test_a_position_that_grew_by_hand_gets_a_larger_stop(watch: Watch) -> None:
    watch.trade_by_hand(Side.SELL, "2", "0.70")
    await watch.room.watchdog().round()
    (stop,) = watch.stops
    assert (stop.ticket.quantity, stop.ticket.stop_price) == (5, Decimal("1.86"))
    assert [call.split()[0] for call in watch.orders()] == ["modify"]
    assert (await watch.room.watchdog().round()).alerts == ()


async def test_a_position_that_shrank_by_hand_gets_a_smaller_stop(watch: Watch) -> None:
    watch.trade_by_hand(Side.BUY, "1", "0.40")
    report = await watch.room.watchdog().round()
    (stop,) = watch.stops
    assert stop.ticket.quantity == 2
    assert report.alerts == ()
    assert report.done == (f"SPY 20261120 629 P: order {stop.order_id} is for 2 now",)


async def test_a_price_changed_by_hand_survives_a_change_of_size(watch: Watch) -> None:
    held = watch.stops[0]
    held.ticket = dataclasses.replace(held.ticket, stop_price=Decimal("2.40"))
    watch.trade_by_hand(Side.BUY, "1", "0.40")
    await watch.room.watchdog().round()
    assert watch.stops[0].ticket.stop_price == Decimal("2.40")


async def test_by_the_plan_a_wrong_size_is_told_and_left(watch: Watch) -> None:
    watch.plan(ALERT)
    watch.trade_by_hand(Side.BUY, "1", "0.40")
    (alert,) = (await watch.room.watchdog().round()).alerts
    assert "1 more than stands" in alert.message
    assert watch.orders() == []


async def test_of_two_sales_of_one_contract_the_older_is_taken_for_closed(watch: Watch) -> None:
    room = watch.room
    again = await room.seller.sell_option_with_stop(
        "SPY", 629, "P", MULTIPLE, 3, "20261120", key="watched-again-0123456789"
    )
    assert again.success, again
    for trade_id, row in list(room.trades.rows.items()):
        room.trades.rows[trade_id] = dataclasses.replace(row, exit_plan=PLACE)
    room.clock.advance(120)
    watch.trade_by_hand(Side.BUY, "3", "0.40")
    await room.watchdog().round()
    older, newer = sorted(room.trades.rows.values(), key=lambda row: row.created_at)
    assert (older.status, older.exit_reason, older.exit_price) == (
        TradeStatus.CLOSED,
        ExitReason.MANUAL,
        Decimal("0.40"),
    )
    assert newer.status is TradeStatus.OPEN
    assert [stop.ticket.quantity for stop in watch.stops] == [3]


# -- the end ----------------------------------------------------------------------------------------------------------


async def test_a_filled_stop_closes_the_record_with_its_result(watch: Watch) -> None:
    watch.room.broker.fill(watch.stops[0].order_id, Decimal(3), Decimal("1.90"))
    assert (await watch.room.watchdog().round()).alerts == ()
    trade = watch.trade
    assert (trade.status, trade.exit_reason, trade.exit_price) == (
        TradeStatus.CLOSED,
        ExitReason.STOPPED_OUT,
        Decimal("1.90"),
    )
    fees = Decimal("0.65") * 6
    assert trade.realized_pnl == (Decimal("0.62") - Decimal("1.90")) * 100 * 3 - fees
    assert len(trade.fills) == 2


async def test_closed_by_hand_the_orphaned_stop_is_cancelled_before_it_opens_a_long(watch: Watch) -> None:
    watch.trade_by_hand(Side.BUY, "3", "0.40")
    report = await watch.room.watchdog().round()
    assert watch.stops == []
    assert report.done == ("SPY 20261120 629 P: over: manual",)
    assert (watch.trade.exit_reason, watch.trade.exit_price) == (ExitReason.MANUAL, Decimal("0.40"))


async def test_an_orphaned_stop_that_cannot_be_cancelled_is_told_and_the_record_stays_open(watch: Watch) -> None:
    watch.trade_by_hand(Side.BUY, "3", "0.40")
    watch.room.broker.cancel_faults.extend(["lost_before"] * 20)
    (alert,) = (await watch.room.watchdog().round()).alerts
    assert "may still buy" in alert.message
    assert watch.trade.status is TradeStatus.OPEN


async def test_a_fill_that_positions_do_not_show_yet_ends_nothing() -> None:
    """Within a minute of its fill an option that is not in the positions is no sign of its end."""
    watch = await sold()
    entry = watch.room.broker.accepted[0]
    watch.room.clock.set(watch.room.clock.now())
    intent = await watch.room.gateway.find(watch.trade.links[0].key)
    assert intent is not None
    watch.room.clock.set(intent.updated_at)
    entry.filled = Decimal(0)  # the positions of the fake follow from its orders
    report = await watch.room.watchdog().round()
    assert report.done == ()
    assert len(watch.stops) == 1


async def test_past_its_last_day_without_position_it_expired_at_nothing(watch: Watch) -> None:
    watch.cancel_by_hand(watch.stops[0])
    watch.room.broker.accepted[0].filled = Decimal(0)
    watch.room.clock.set(datetime(2026, 11, 20, 21, 5, tzinfo=UTC))  # 16:05 in New York
    assert (await watch.room.watchdog().round()).alerts == ()
    assert (watch.trade.exit_reason, watch.trade.exit_price) == (ExitReason.EXPIRED, 0)


async def test_after_the_close_of_its_last_day_no_stop_is_demanded(watch: Watch) -> None:
    watch.cancel_by_hand(watch.stops[0])
    watch.room.clock.set(datetime(2026, 11, 20, 21, 5, tzinfo=UTC))
    assert (await watch.room.watchdog().round()).alerts == ()
    assert watch.orders() == []


@pytest.mark.parametrize("hour", [16, 22])
async def test_stock_in_its_place_means_assigned(watch: Watch, hour: int) -> None:
    watch.cancel_by_hand(watch.stops[0])
    watch.room.broker.accepted[0].filled = Decimal(0)
    watch.trade_by_hand(Side.BUY, "300", "629", contract=SPY)
    watch.room.clock.set(datetime(2026, 11, 20, hour, 5, tzinfo=UTC))
    await watch.room.watchdog().round()
    assert watch.trade.exit_reason is ExitReason.ASSIGNED


async def test_commissions_told_later_are_added_to_the_closed_record(watch: Watch) -> None:
    broker = watch.room.broker
    broker.fill(watch.stops[0].order_id, Decimal(3), Decimal("1.90"))
    told = list(broker.executions)
    broker.executions[:] = [dataclasses.replace(fill, fee=None) for fill in told]
    await watch.room.watchdog().round()
    assert watch.trade.exit_commission is None
    broker.executions[:] = told
    await watch.room.watchdog().round()
    assert watch.trade.exit_commission == Decimal("1.95")


# -- others -----------------------------------------------------------------------------------------------------------


async def test_positions_without_a_record_are_listed(watch: Watch) -> None:
    call = option("640")
    watch.trade_by_hand(Side.SELL, "1", "0.50", contract=call)
    report = await watch.room.watchdog().round()
    assert [position.contract.conid for position in report.unmanaged] == [call.conid]
    assert report.alerts == ()


async def test_by_setting_every_short_option_needs_a_stop(watch: Watch) -> None:
    call = option("640")
    watch.trade_by_hand(Side.SELL, "1", "0.50", contract=call)
    (alert,) = (await watch.room.watchdog(all_shorts=True).round()).alerts
    assert "short without a record of ours" in alert.message
    watch.enter_by_hand(Side.BUY, "1", OrderType.STOP, contract=call, stop_price=Decimal("1.50"))
    assert (await watch.room.watchdog(all_shorts=True).round()).alerts == ()
    assert watch.open_alerts == []


async def test_a_sale_in_the_hands_of_a_living_process_is_left_to_it() -> None:
    room = make_room()
    watch = await sold(room=room)
    intent = await room.gateway.find(watch.trade.links[0].key)
    assert intent is not None
    assert intent.sent_at is not None
    room.clock.set(intent.sent_at)
    watch.cancel_by_hand(watch.stops[0])
    assert (await room.watchdog(me="another").round()).alerts == ()
    gone = room.watchdog(me="another", alive=lambda owner: False)
    assert len((await gone.round()).alerts) == 1


async def test_without_a_complete_list_nothing_is_concluded(watch: Watch) -> None:
    watch.cancel_by_hand(watch.stops[0])
    real = watch.room.broker.read_orders

    async def cut(account_id: object) -> object:
        return dataclasses.replace(await real(account_id), complete=False)  # type: ignore[arg-type]

    watch.room.broker.read_orders = cut  # type: ignore[method-assign, assignment]
    with pytest.raises(Unreachable):
        await watch.room.watchdog().round()
    assert watch.orders() == []


async def test_the_contract_of_the_tests_is_the_one_that_was_sold(watch: Watch) -> None:
    assert watch.trade.conid == PUT.conid


class Killed(BaseException):
    """The process dies."""


@pytest.mark.requirement("TRD-14")
@pytest.mark.parametrize("policy", ["close", "alert"])
async def test_who_sold_with_alert_is_told_of_a_stop_that_is_gone_and_no_more(policy: str) -> None:
    room = make_room()
    await room.started()
    await room.seller.sell_option_with_stop("SPY", 629, "P", 3, 3, "20261120", on_stop_failure=policy)
    watch = Watch(room)
    room.clock.advance(120)
    watch.cancel_by_hand(watch.stops[0])

    assert (await room.watchdog().round()).alerts

    assert len(watch.stops) == (0 if policy == "alert" else 1)


@pytest.mark.requirement("TRD-14")
@pytest.mark.parametrize("policy", ["close", "alert"])
async def test_a_sale_that_died_before_it_tried_a_stop_gets_one_whatever_its_policy(policy: str) -> None:
    room = make_room()
    await room.started()

    class Dying(list):
        def append(self, step):
            if step.kind is StepKind.FILL:
                raise Killed

    room.steps = Dying()
    room.restart()
    with pytest.raises(BaseExceptionGroup) as died:
        await room.seller.sell_option_with_stop("SPY", 629, "P", 3, 3, "20261120", on_stop_failure=policy)
    assert died.group_contains(Killed)
    room.steps = []
    room.restart()
    room.clock.advance(120)

    assert (await room.watchdog().round()).alerts

    assert [held.ticket.quantity for held in Watch(room).stops] == [3]
