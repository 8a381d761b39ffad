"""Orders that show up after they were denied are taken over at the next start, in whatever session that is."""

from __future__ import annotations

import dataclasses
from decimal import Decimal

import pytest

from fakes import Held, stock_ticket
from ibkit.errors import StorageError
from ibkit.model import Key, OrderId, OrderStatus
from ibkit.trading.alert import AlertKind
from ibkit.trading.events import Claimed
from ibkit.trading.intent import IntentState

KEY = Key("key-0123456789abcdef")

pytestmark = pytest.mark.anyio


@pytest.mark.requirement("TRD-22")
async def test_a_late_order_is_adopted_in_a_new_session_whose_first_list_is_empty(room):
    """It surfaced after the settle window, and the next start has a session that has read nothing yet."""
    room.plan("lost_after", delay_s=400.0)
    denied = await room.gateway.submit(stock_ticket(), key=KEY)
    assert denied.state is IntentState.NOT_PLACED
    room.clock.advance(600)
    room.broker.new_session()
    room.restart()

    (adopted,) = await room.gateway.recover()

    assert adopted.key == KEY
    (alert,) = await room.journal.alerts.open(kind=AlertKind.LATE_ORDER)
    assert "taken for not placed" in alert.message


@pytest.mark.requirement("TRD-22")
@pytest.mark.parametrize("late_s", [5, 700])
async def test_an_order_that_was_armed_again_and_not_sent_again_is_still_looked_for(room, late_s):
    """The opt-in probe: its first send was proven absent; that the second did not happen changes nothing about that."""
    room.resend = True
    room.limits = dataclasses.replace(room.limits, max_age_s=600.0)
    room.restart()
    room.plan("lost_after", delay_s=late_s + 200.0)
    room.journal.fail = lambda events: isinstance(events[-1], Claimed) and room.broker.sent("place") == 1
    with pytest.raises(StorageError):
        await room.gateway.submit(stock_ticket(), key=KEY)
    room.journal.fail = lambda events: False
    if late_s < 600:  # young enough to be asked for again: the limits have become smaller meanwhile
        room.limits = dataclasses.replace(room.limits, max_shares=Decimal(1))
    room.clock.advance(late_s)
    room.restart()
    if late_s < 600:
        await room.gateway.submit(stock_ticket(), key=KEY)
    else:
        await room.gateway.recover()
    denied = await room.gateway.find(KEY)
    room.clock.advance(600)

    await room.gateway.recover("DU1234567")

    assert denied.state is not IntentState.EXPIRED_LOCAL
    assert room.broker.sent("place") == 1
    assert (await room.gateway.find(KEY)).state in (IntentState.ACKED, IntentState.FILLED)


@pytest.mark.requirement("TRD-22")
async def test_the_row_of_an_order_that_was_refused_is_no_late_order(room):
    """The prompt p12 refuses the order and leaves an Inactive row with our ref in the list."""
    room.plan("reject")
    refused = await room.gateway.submit(stock_ticket(), key=KEY)
    held = Held(OrderId("77"), stock_ticket(), refused.intent.ref, OrderStatus.INACTIVE, room.clock.now(), 1)
    room.broker.accepted.append(held)
    room.restart()

    assert await room.gateway.recover() == ()

    assert (await room.gateway.find(KEY)).state is IntentState.REJECTED_BROKER
    assert await room.journal.alerts.open() == ()


@pytest.mark.requirement("TRD-22")
async def test_a_late_order_that_is_inactive_was_refused(room):
    """The list shows it Inactive, and so does its status: that the two agree does not make it an open order."""
    room.plan("lost_after", delay_s=400.0)
    denied = await room.gateway.submit(stock_ticket(), key=KEY)
    assert denied.state is IntentState.NOT_PLACED
    room.clock.advance(600)
    room.broker.accepted[0].status = OrderStatus.INACTIVE
    room.broker.accepted[0].filled *= 0
    room.restart()

    await room.gateway.recover()

    assert (await room.gateway.find(KEY)).state is IntentState.REJECTED_LATE
