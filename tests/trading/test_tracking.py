"""Following an order: another process that looks too, a journal that is full, an answer that leaves things out."""

from __future__ import annotations

from decimal import Decimal

import pytest

from fakes import stock_ticket
from ibkit.model import Key, OrderStatus
from ibkit.trading.events import Progressed
from ibkit.trading.intent import IntentState

KEY = Key("key-0123456789abcdef")

pytestmark = pytest.mark.anyio


async def acked(room):
    room.broker.fills = False
    return (await room.gateway.submit(stock_ticket(), key=KEY)).intent


@pytest.mark.requirement("TRD-13", "TRD-14")
async def test_another_process_that_follows_the_same_order_does_not_disturb(room):
    """Its start looks at every open order; ours must go on from what it wrote."""
    intent = await acked(room)
    room.broker.fill(intent.order_id, Decimal(4), Decimal(630))
    await room.gateway.tracker.refresh(intent)  # the other's look, from the same version

    ours = await room.gateway.tracker.refresh(intent)
    assert ours.filled == 4
    room.broker.fill(intent.order_id, Decimal(6), Decimal(630))
    done = await room.gateway.wait_for_fill(ours, within_s=5)
    assert (done.state, done.filled) == (IntentState.FILLED, 10)


@pytest.mark.requirement("TRD-14", "OPT-07")
async def test_a_fill_that_cannot_be_written_down_is_known_all_the_same(room):
    intent = await acked(room)
    room.broker.fill(intent.order_id, Decimal(4), Decimal(630))
    room.journal.fail = lambda events: any(isinstance(event, Progressed) for event in events)
    seen = await room.gateway.tracker.refresh(intent)
    assert (seen.filled, seen.version) == (4, intent.version)

    room.journal.fail = lambda events: False
    room.broker.fill(intent.order_id, Decimal(6), Decimal(630))
    done = await room.gateway.wait_for_fill(seen, within_s=5)
    assert done.state is IntentState.FILLED
    assert (await room.journal.get(intent.intent_id)).filled == 10


@pytest.mark.requirement("TRD-13")
async def test_a_filled_order_without_figures_is_filled_as_asked(room):
    """ "A client must tolerate any field missing": what is filled is filled whole."""
    intent = await acked(room)
    held = room.broker._held(intent.order_id)
    held.status, held.filled = OrderStatus.FILLED, Decimal(0)

    done = await room.gateway.tracker.refresh(intent)

    assert (done.state, done.filled) == (IntentState.FILLED, 10)


@pytest.mark.requirement("TRD-13", "TRD-20")
async def test_an_order_that_was_cancelled_already_when_it_was_found_has_ended(room):
    """Nothing of it changes any more, so it must not wait for a change to be written down as ended."""
    room.plan("lost_after")
    room.broker.fills = False
    original = room.broker.read_orders

    async def read_orders(account_id):
        for held in room.broker.accepted:
            held.status = OrderStatus.CANCELLED
        return await original(account_id)

    room.broker.read_orders = read_orders
    intent = (await room.gateway.submit(stock_ticket(), key=KEY)).intent
    assert intent.order_status is OrderStatus.CANCELLED

    assert (await room.gateway.tracker.refresh(intent)).state is IntentState.CANCELLED
