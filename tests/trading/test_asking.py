"""A question that the policy alone would decline is shown to a person, within the time that IBKR waits."""

from __future__ import annotations

import pytest

from fakes import Plan, stock_ticket
from ibkit.model import Key
from ibkit.trading.events import Replying
from ibkit.trading.intent import IntentState
from ibkit.trading.questions import Said
from trading_room import make_room

pytestmark = [pytest.mark.anyio, pytest.mark.requirement("TRD-10")]

KEY = Key("key-0123456789abcdef")


class Person:
    """Answers as told, and remembers what it was shown."""

    def __init__(self, answer, *, takes_s=0.0, clock=None):
        self.answer = answer
        self.takes_s = takes_s
        self.clock = clock
        self.shown = []

    async def __call__(self, intent, question, within_s):
        self.shown.append((question.message_ids, within_s))
        if self.clock is not None:
            await self.clock.sleep(self.takes_s)
        return self.answer


def room_with(person):
    room = make_room(asker=person)
    person.clock = room.clock
    return room


async def asked(room, *ids):
    room.broker.plans.append(Plan(asks=(ids,)))
    return await room.gateway.submit(stock_ticket(), key=KEY)


async def test_a_person_may_allow_what_nobody_knows():
    person = Person(Said(True, "ann"))
    room = room_with(person)

    outcome = await asked(room, "o99999")

    assert outcome.accepted
    assert person.shown[0][0] == ("o99999",)
    (reply,) = [e for e in await room.journal.events(outcome.intent.intent_id) if isinstance(e, Replying)]
    assert reply.confirmed
    assert "ann" in reply.why


async def test_a_person_may_decline():
    room = room_with(Person(Said(False, "ann")))

    outcome = await asked(room, "o99999")

    assert outcome.state is IntentState.REJECTED_POLICY
    assert "declined by ann" in outcome.intent.reason


async def test_nobody_there_is_a_no():
    room = room_with(Person(None))

    assert (await asked(room, "o99999")).state is IntentState.REJECTED_POLICY


@pytest.mark.parametrize("never", ["p12", "p6", "o10334"])
async def test_what_would_change_the_order_is_not_even_asked(never):
    person = Person(Said(True, "ann"))
    room = room_with(person)

    outcome = await asked(room, "o99999", never)

    assert outcome.state is IntentState.REJECTED_POLICY
    assert not person.shown


async def test_what_the_policy_allows_bothers_nobody():
    person = Person(Said(False, "ann"))
    room = room_with(person)

    assert (await asked(room, "o10331")).accepted
    assert not person.shown


async def test_the_time_to_answer_ends_before_ibkrs_patience():
    person = Person(Said(True, "ann"))
    room = room_with(person)

    await asked(room, "o99999")

    assert 0 < person.shown[0][1] <= 25.0


async def test_a_yes_that_comes_when_the_quote_is_old_is_judged_by_the_controls_again():
    """The controls hold at the moment of the yes, not at that of the question."""
    person = Person(Said(True, "ann"), takes_s=60.0)
    room = room_with(person)

    outcome = await asked(room, "o99999")

    assert outcome.state is IntentState.REJECTED_POLICY
    assert not [held for held in room.broker.accepted if held.filled]


async def test_an_order_of_an_earlier_run_is_declined_without_asking():
    person = Person(Said(True, "ann"))
    room = room_with(person)
    room.broker.plans.append(Plan(asks=(("o99999",),)))
    room.journal.fail = lambda events: any(isinstance(event, Replying) for event in events)
    with pytest.raises(Exception, match="disk is full"):
        await room.gateway.submit(stock_ticket(), key=KEY)
    room.journal.fail = lambda events: False
    room.restart()
    person.shown.clear()

    await room.gateway.recover()

    assert not person.shown
    assert (await room.gateway.find(KEY)).state is IntentState.REJECTED_POLICY
