"""Control RC-30: orders of a strategy that gives no sign of life are cancelled, what protects stays."""

from __future__ import annotations

import dataclasses
from decimal import Decimal
from pathlib import Path

import pytest

from fakes import ACCOUNT, START, stock_ticket
from ibkit.model import Key, OrderType, Side
from ibkit.store.heartbeats import FileHeartbeats
from ibkit.trading.watching.dead_man import DeadMan
from trading_room import Room

pytestmark = [pytest.mark.anyio, pytest.mark.requirement("TRD-18")]

KEY = Key("dead-man-0123456789abcdef")


@pytest.fixture
def beats(tmp_path: Path) -> FileHeartbeats:
    return FileHeartbeats(tmp_path / "heartbeats")


def dead_man(room: Room, beats: FileHeartbeats) -> DeadMan:
    return DeadMan(gateway=room.gateway, heartbeats=beats, risk=room.journal.risk, clock=room.clock, account_id=ACCOUNT)


async def resting(room: Room, strategy: str = "grid", key: Key = KEY) -> None:
    room.broker.fills = False
    ticket = stock_ticket(order_type=OrderType.LIMIT, limit_price=Decimal("628.00"))
    assert (await room.gateway.submit(ticket, key=key, strategy=strategy)).accepted


@pytest.mark.parametrize(("silent_s", "limit_s", "left"), [(60, None, 1), (61, None, 0), (61, 90.0, 1), (91, 90.0, 0)])
async def test_a_minute_of_silence_is_allowed_or_what_the_limit_says(
    room: Room, beats: FileHeartbeats, silent_s: float, limit_s: float | None, left: int
) -> None:
    room.limits = dataclasses.replace(room.limits, heartbeat_s=limit_s)
    await room.started()
    await resting(room)
    await beats.beat("grid", room.clock.now())
    room.clock.advance(silent_s)
    await dead_man(room, beats).run()
    assert sum(held.status.working for held in room.broker.accepted) == left


async def test_orders_of_a_silent_strategy_are_cancelled(room: Room, beats: FileHeartbeats) -> None:
    await room.started()
    await beats.beat("grid", room.clock.now())
    await resting(room)
    assert await dead_man(room, beats).run() == ()
    room.clock.advance(61)
    (said,) = await dead_man(room, beats).run()
    assert "strategy grid is silent" in said
    assert not room.broker.accepted[0].status.working
    assert await dead_man(room, beats).run() == ()


async def test_who_never_gave_a_sign_is_not_watched(room: Room, beats: FileHeartbeats) -> None:
    await room.started()
    await resting(room)
    room.clock.advance(600)
    assert await dead_man(room, beats).run() == ()
    assert room.broker.accepted[0].status.working


async def test_who_has_said_goodbye_is_not_watched(room: Room, beats: FileHeartbeats) -> None:
    await room.started()
    await beats.beat("grid", room.clock.now())
    await resting(room)
    await beats.retire("grid")
    await beats.retire("grid")
    room.clock.advance(600)
    assert await dead_man(room, beats).run() == ()


async def test_the_orders_of_others_stay(room: Room, beats: FileHeartbeats) -> None:
    await room.started()
    await beats.beat("grid", room.clock.now())
    await resting(room, strategy="trend")
    room.clock.advance(600)
    assert await dead_man(room, beats).run() == ()


async def test_what_protects_a_filled_entry_stays(room: Room, beats: FileHeartbeats) -> None:
    await room.started()
    await beats.beat("grid", room.clock.now())
    entry = await room.gateway.submit(stock_ticket(), key=KEY, strategy="grid")
    filled = await room.gateway.wait_for_fill(entry.intent, within_s=5)
    stop = stock_ticket(side=Side.SELL, order_type=OrderType.STOP, stop_price=Decimal("600.00"))
    key = Key("dead-man-stop-0123456789")
    outcome = await room.gateway.submit(stop, key=key, purpose="stop", reduces=filled.intent_id, strategy="grid")
    assert outcome.accepted, outcome
    room.clock.advance(600)
    assert await dead_man(room, beats).run() == ()
    assert room.broker.accepted[1].status.working


async def test_any_name_can_be_a_strategys(beats: FileHeartbeats) -> None:
    names = ("grid", "../up", "a b/c", "ünï", "x.beat")
    for name in names:
        await beats.beat(name, START)
    assert set(await beats.all()) == set(names)


async def test_a_sign_that_cannot_be_read_is_none(beats: FileHeartbeats, tmp_path: Path) -> None:
    await beats.beat("grid", START)
    (tmp_path / "heartbeats" / "grid.beat").write_text("yesterday")
    assert (await beats.all())["grid"].year == 1970


async def test_no_folder_is_no_strategy(beats: FileHeartbeats) -> None:
    assert await beats.all() == {}
