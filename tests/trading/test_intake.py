"""Taking an order in without a broker, and carrying it out later, maybe elsewhere."""

from __future__ import annotations

from datetime import timedelta

import pytest

from fakes import USER, stock_ticket
from ibkit.errors import KeyReused
from ibkit.model import Key
from ibkit.trading.intake import Asked
from ibkit.trading.intent import IntentState

pytestmark = [pytest.mark.anyio, pytest.mark.requirement("GWY-03", "GWY-06")]

KEY = Key("key-0123456789abcdef")


def wish(room, quantity="10"):
    return room.gateway.intake.order(USER, stock_ticket(quantity), key=KEY, asked=Asked(user="ann", api_key="k1"))


async def test_what_was_taken_in_is_carried_out_once_by_whoever_comes_first(room):
    taken, new = await room.gateway.intake.store(wish(room))
    assert (new, taken.state) == (True, IntentState.INTENT)
    assert not room.broker.calls, "no broker is needed to take it in"

    outcome = await room.gateway.resume(taken)
    again = await room.gateway.submit(stock_ticket(), key=KEY)

    assert outcome.accepted
    assert again.cached
    assert len(room.broker.accepted) == 1
    assert outcome.intent.planned.user == "ann"


async def test_taking_it_in_twice_gives_the_same_intent(room):
    first, _ = await room.gateway.intake.store(wish(room))
    second, new = await room.gateway.intake.store(wish(room, "10.0"))

    assert not new
    assert second.intent_id == first.intent_id


async def test_another_order_under_the_key_is_refused_at_the_door(room):
    await room.gateway.intake.store(wish(room))

    with pytest.raises(KeyReused, match="quantity"):
        await room.gateway.intake.store(wish(room, "11"))


async def test_what_waited_too_long_is_not_sent(room):
    """Its age counts from the intake: a restart never fires an old order (decision 9)."""
    taken, _ = await room.gateway.intake.store(wish(room))
    room.clock.advance(room.limits.max_age_s + 1)

    outcome = await room.gateway.resume(taken)

    assert outcome.state is IntentState.EXPIRED_LOCAL
    assert room.broker.sent("place") == 0


async def test_left_overs_of_the_intake_expire_at_the_next_start(room):
    await room.gateway.intake.store(wish(room))
    room.clock.advance(timedelta(days=1).total_seconds())
    room.restart()

    (settled,) = await room.gateway.recover()

    assert settled.state is IntentState.EXPIRED_LOCAL
