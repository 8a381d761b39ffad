"""Whoever keeps a log of orders is told of each once: after it is at rest, and never in the order's way."""

from __future__ import annotations

from decimal import Decimal

import pytest

from fakes import ACCOUNT, stock_ticket
from ibkit.errors import KeyReused, Unreachable
from ibkit.model import Key, OrderType
from ibkit.trading.intent import IntentState

pytestmark = [pytest.mark.anyio, pytest.mark.requirement("MON-09")]

KEY = Key("key-0123456789abcdef")
OTHER = Key("key-other-0123456789")
FAR = stock_ticket(order_type=OrderType.LIMIT, limit_price=Decimal("600.00"))


@pytest.fixture
def told(room):
    """(intent id, what it was told with) of each telling, with the state of the journal at that moment."""
    found = []
    room.told = lambda planned, what: found.append((planned, what))
    room.restart()
    return found


async def test_an_order_is_told_once_and_after_it_is_at_rest(room, told):
    outcome = await room.gateway.submit(FAR, key=KEY)
    await room.gateway.submit(FAR, key=KEY)

    ((planned, intent),) = told
    assert planned.intent_id == outcome.intent.intent_id
    assert intent.state is IntentState.ACKED
    assert await room.gateway.find(KEY) == intent


async def test_changes_and_cancels_are_told_by_their_operation(room, told):
    placed = await room.gateway.submit(FAR, key=KEY)
    larger = stock_ticket("11", order_type=OrderType.LIMIT, limit_price=Decimal("600.00"))
    await room.gateway.modify(placed.order_id, larger, key=OTHER)
    await room.gateway.cancel(ACCOUNT, placed.order_id, key=Key("key-cancel-0123456789"))

    assert [planned.operation.value for planned, _ in told] == ["place", "modify", "cancel"]


async def test_every_order_that_a_cancel_of_all_ends_is_told(room, told):
    room.broker.fills = False
    await room.gateway.submit(FAR, key=KEY)
    await room.gateway.submit(stock_ticket("3"), key=OTHER, allow_duplicate=True)
    told.clear()

    await room.gateway.cancel_all(ACCOUNT, key=Key("key-cancel-0123456789"))

    assert [planned.operation.value for planned, _ in told] == ["cancel", "cancel"]


async def test_what_kept_an_order_from_being_sent_is_told(room, told):
    room.plan("unsent")
    with pytest.raises(Unreachable) as unsent:
        await room.gateway.submit(FAR, key=KEY)
    with pytest.raises(KeyReused) as reused:
        await room.gateway.submit(stock_ticket("11"), key=KEY)

    assert [what for _, what in told] == [unsent.value, reused.value]


async def test_what_an_earlier_process_left_is_told_by_the_next_one(room, told):
    class Died(BaseException):
        pass

    append = room.journal.append

    async def dies_after_the_answer(intent, *events, alert=None):
        if intent.state is IntentState.SENDING:
            raise Died
        return await append(intent, *events, alert=alert)

    room.journal.append = dies_after_the_answer
    with pytest.raises(BaseException):  # noqa: B017  # Died, perhaps in a group
        await room.gateway.submit(FAR, key=KEY)
    room.journal.append = append
    assert told == []
    room.restart()

    await room.gateway.recover(ACCOUNT)

    ((planned, intent),) = told
    assert planned.key == KEY
    assert intent.state is IntentState.ACKED
