"""One round of the worker: parts that fail alone, unknown orders that show up, events of the stream."""

from __future__ import annotations

import dataclasses
from decimal import Decimal

import pytest

from fakes import ACCOUNT, Plan, stock_ticket
from ibkit.errors import Unreachable
from ibkit.model import AccountId, Key, OrderStatus, OrderType, Side
from ibkit.trading.alert import AlertKind
from ibkit.trading.intent import IntentState
from ibkit.trading.watching.rounds import Rounds
from trading_room import Room
from watching import sold

pytestmark = [pytest.mark.anyio, pytest.mark.requirement("TRD-20", "OPS-10")]

KEY = Key("rounds-0123456789abcdef")


def rounds(room: Room, **changes: object) -> Rounds:
    return Rounds(
        gateway=room.gateway,
        watchdog=room.watchdog(**changes),
        alerts=room.journal.alerts,
        clock=room.clock,
        account_id=ACCOUNT,
    )


async def unknown(room: Room) -> None:
    await room.started()
    room.broker.dedupe = False
    room.broker.plans.append(Plan("lost_after"))
    room.broker.read_faults.extend([True] * 200)
    outcome = await room.gateway.submit(stock_ticket(), key=KEY)
    assert outcome.state is IntentState.UNKNOWN_NEEDS_HUMAN
    room.broker.read_faults.clear()


@pytest.mark.requirement("TRD-22")
async def test_an_unknown_order_that_shows_up_is_adopted_and_its_alert_closed(room: Room) -> None:
    await unknown(room)
    assert [alert.kind for alert in await room.journal.alerts.open()] == [AlertKind.UNKNOWN_ORDER]
    report = await rounds(room).run()
    assert report.safe
    assert [intent.state for intent in report.recovered] == [IntentState.ACKED]
    assert await room.journal.alerts.open(kind=AlertKind.UNKNOWN_ORDER) == ()


@pytest.mark.requirement("TRD-22")
async def test_an_unknown_order_that_nobody_shows_stays_an_open_alert(room: Room) -> None:
    await unknown(room)
    for held in room.broker.accepted:
        held.visible_at = held.visible_at.replace(year=2027)
    for _ in range(2):
        report = await rounds(room).run()
        assert not report.safe
        assert [alert.kind for alert in report.unknown] == [AlertKind.UNKNOWN_ORDER]
    assert room.broker.sent("place") == 1


@pytest.mark.requirement("TRD-22")
async def test_an_unknown_order_of_friday_is_still_looked_for_at_mondays_open(room: Room) -> None:
    await unknown(room)
    monday = room.clock.now().replace(day=23, hour=14, minute=30)
    for held in room.broker.accepted:
        held.visible_at = monday
    assert not (await rounds(room).run()).safe
    room.clock.advance((monday - room.clock.now()).total_seconds())
    assert (await rounds(room).run()).safe


async def test_a_part_that_fails_leaves_the_others_their_turn() -> None:
    watch = await sold()
    watch.cancel_by_hand(watch.stops[0])
    room = watch.room
    real = room.gateway.recover

    async def fails(*accounts: AccountId) -> object:
        raise Unreachable("connection refused")

    room.gateway.recover = fails  # type: ignore[method-assign, assignment]
    report = await rounds(room).run()
    room.gateway.recover = real  # type: ignore[method-assign]
    assert [error.message for error in report.failures] == ["connection refused"]
    assert len(watch.stops) == 1
    assert not report.safe


async def test_a_round_without_leave_to_act_sends_nothing() -> None:
    watch = await sold()
    watch.cancel_by_hand(watch.stops[0])
    report = await rounds(watch.room, acts=False).run()
    assert len(report.unprotected) == 1
    assert watch.orders() == []


async def test_an_end_told_by_the_stream_is_written_down_and_a_reason_to_look() -> None:
    watch = await sold()
    stop = watch.stops[0]
    row = watch.room.broker._row(stop)
    assert await rounds(watch.room).seen(row) is False  # nothing new
    watch.room.broker.fill(stop.order_id, Decimal(3), Decimal("1.90"))
    assert await rounds(watch.room).seen(watch.room.broker._row(stop)) is True
    intent = await watch.room.journal.by_order(ACCOUNT, stop.order_id)
    assert intent is not None
    assert (intent.state, intent.average_price) == (IntentState.FILLED, Decimal("1.90"))


async def test_a_partial_fill_told_by_the_stream_is_written_down() -> None:
    watch = await sold()
    stop = watch.stops[0]
    watch.room.broker.fill(stop.order_id, Decimal(1), Decimal("1.90"))
    assert await rounds(watch.room).seen(watch.room.broker._row(stop)) is False
    intent = await watch.room.journal.by_order(ACCOUNT, stop.order_id)
    assert intent is not None
    assert intent.filled == 1


async def test_an_order_that_nobody_here_placed_is_a_reason_to_look() -> None:
    watch = await sold()
    held = watch.enter_by_hand(Side.BUY, "1", OrderType.LIMIT, limit_price=Decimal("0.10"))
    assert await rounds(watch.room).seen(watch.room.broker._row(held)) is True


async def test_an_order_of_another_account_is_none_of_ours() -> None:
    watch = await sold()
    row = dataclasses.replace(watch.room.broker._row(watch.stops[0]), account_id=AccountId("DU7654321"))
    assert await rounds(watch.room).seen(dataclasses.replace(row, status=OrderStatus.CANCELLED)) is False
