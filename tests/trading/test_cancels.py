"""Cancels that IBKR takes and does not carry out, and orders of whose state it says nothing known."""

from __future__ import annotations

from decimal import Decimal

import pytest

from fakes import ACCOUNT, stock_ticket
from ibkit.model import CancelAck, Key, OrderStatus, OrderType
from ibkit.trading.intent import IntentState

pytestmark = pytest.mark.anyio

KEY = Key("cancels-0123456789abcdef")
OTHER = Key("fedcba9876543210-cancels")
ENTRY = stock_ticket(order_type=OrderType.LIMIT, limit_price=Decimal("629.00"))


@pytest.fixture
def acknowledged_only(room, monkeypatch):
    """IBKR takes the first cancel, and the order works on: an acknowledgement promises nothing."""
    asked = []
    cancel = room.broker.cancel

    async def first_is_lost(account_id, order_id, *, permit=None):
        asked.append(order_id)
        if len(asked) == 1:
            return CancelAck(order_id, "Request was submitted")
        return await cancel(account_id, order_id, permit=permit)

    monkeypatch.setattr(room.broker, "cancel", first_is_lost)
    return asked


@pytest.mark.requirement("TRD-12")
async def test_cancel_all_sends_a_cancel_anew_that_was_taken_and_not_carried_out(room, acknowledged_only):
    await room.gateway.submit(ENTRY, key=KEY)

    result = await room.gateway.cancel_all(ACCOUNT, key=OTHER)

    assert len(acknowledged_only) == 2
    assert result.complete
    assert room.broker.accepted[0].status is OrderStatus.CANCELLED


@pytest.mark.requirement("TRD-12")
async def test_the_rest_of_an_order_is_cancelled_anew_where_a_cancel_was_taken_and_not_carried_out(
    room, acknowledged_only
):
    placed = await room.gateway.submit(ENTRY, key=KEY)
    stands = await room.gateway.cancel_rest(placed.intent)
    assert stands.state is IntentState.ACKED

    ended = await room.gateway.cancel_rest(placed.intent)

    assert len(acknowledged_only) == 2
    assert ended.state is IntentState.CANCELLED


@pytest.mark.requirement("TRD-12")
async def test_a_cancel_that_waits_for_the_exchange_is_not_sent_anew(room, monkeypatch):
    """At night IBKR keeps it as PendingCancel until the exchange opens."""
    placed = await room.gateway.submit(ENTRY, key=KEY)
    monkeypatch.setattr(room.broker, "_cancelled", lambda held: setattr(held, "status", OrderStatus.PENDING_CANCEL))
    await room.gateway.cancel_rest(placed.intent)

    await room.gateway.cancel_rest(placed.intent)

    assert room.broker.sent("cancel") == 1


@pytest.mark.requirement("TRD-12")
async def test_cancel_all_takes_no_order_for_gone_whose_state_it_does_not_know(room):
    """Fault F33: a word that nobody knows is no end."""
    await room.gateway.submit(ENTRY, key=KEY)
    room.broker.accepted[0].status = OrderStatus.UNKNOWN

    result = await room.gateway.cancel_all(ACCOUNT, key=OTHER)

    assert room.broker.sent("cancel") == 1
    assert result.complete
