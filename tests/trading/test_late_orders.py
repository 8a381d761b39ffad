"""Orders that show up after they were denied are taken over at the next start, in whatever session that is."""

from __future__ import annotations

import pytest

from fakes import Held, stock_ticket
from ibkit.model import Key, OrderId, OrderStatus
from ibkit.trading.alert import AlertKind
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
