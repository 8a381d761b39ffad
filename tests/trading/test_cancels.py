"""Cancels that IBKR takes and does not carry out, changes whose answer names the order, and states nobody knows."""

from __future__ import annotations

import dataclasses
from decimal import Decimal

import pytest

from fakes import ACCOUNT, option, stock_ticket
from ibkit.errors import ConfigError, LimitExceeded, OutcomeUnknown, StorageError
from ibkit.model import (
    Accepted,
    CancelAck,
    Key,
    OrderId,
    OrderStatus,
    OrderType,
    Question,
    QuestionId,
    Side,
    TimeInForce,
    Trail,
    TrailKind,
)
from ibkit.model import Asked as BrokerAsks
from ibkit.trading.alert import AlertKind
from ibkit.trading.events import Acknowledged, Doubted
from ibkit.trading.intent import IntentState
from ibkit.trading.ports import cancel_lane
from ibkit.trading.ref import child_key

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
async def test_a_cancel_whose_record_cannot_be_read_leaves_the_other_orders_to_theirs(room, monkeypatch):
    """Else one locked read would end the kill switch, and its alert would not be raised."""
    for number in (1, 2):
        await room.gateway.submit(ENTRY, key=Key(f"cancels-0123456789-{number}"))
    by_key, asked = room.journal.by_key, []

    async def first_fails(*, key, **where):
        asked.append(key)
        if len(asked) == 1:
            raise StorageError("Database problem: locked")
        return await by_key(key=key, **where)

    monkeypatch.setattr(room.journal, "by_key", first_fails)
    result = await room.gateway.cancel_all(ACCOUNT, key=OTHER)

    assert result.complete
    assert [each.status for each in room.broker.accepted] == [OrderStatus.CANCELLED] * 2


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
@pytest.mark.parametrize(
    ("ended", "number"), [({"state": IntentState.EXPIRED_LOCAL}, 13), ({"state": IntentState.CANCELLED, "sends": 1}, 9)]
)
async def test_cancels_that_never_left_do_not_use_up_the_nine_there_are(room, monkeypatch, ended, number):
    """In a penalty box of ten minutes a dozen of them grow too old; nine that IBKR had are enough."""
    placed = await room.gateway.submit(ENTRY, key=KEY)
    over = dataclasses.replace(placed.intent, **{"sends": 0, **ended})
    spent = {child_key(KEY, f"cancel-{each}") for each in range(1, 13)}
    by_key = room.journal.by_key

    async def found(*, key, **where):
        return over if key in spent else await by_key(key=key, **where)

    asked = []

    async def cancel(account_id, order_id, *, key, user=""):
        asked.append(key)

    monkeypatch.setattr(room.journal, "by_key", found)
    monkeypatch.setattr(room.gateway, "cancel", cancel)
    await room.gateway.cancel_rest(placed.intent)

    assert asked == [child_key(KEY, f"cancel-{number}")]


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


def in_turns(room, monkeypatch, *, others):
    """The list is given once in five seconds, and a watch takes every other turn. others: what it saw, and when."""
    own = room.broker.read_orders

    async def second_turn(account_id):
        await room.clock.sleep(5)
        asked_at = room.clock.monotonic() - (5 if others != "before" else 500)
        seen = await own(account_id)
        if others == "working":
            seen = dataclasses.replace(seen, orders=(room.working,))
        room.broker.read_by_others.append((asked_at, dataclasses.replace(seen)))
        await room.clock.sleep(5)
        read = await own(account_id)
        room.broker.read_by_others.append((room.clock.monotonic() - 5, read))  # as the broker keeps our own, too
        return read

    monkeypatch.setattr(room.broker, "read_orders", second_turn)


@pytest.mark.requirement("TRD-12")
@pytest.mark.parametrize(("others", "complete"), [("empty", True), ("before", False), ("working", False)])
async def test_cancel_all_counts_what_others_read_in_between(room, monkeypatch, others, complete):
    """Beside a watch its own reads alone would not be three in 30 s, and a person be called at night for nothing."""
    await room.gateway.submit(ENTRY, key=KEY)
    (room.working,) = (await room.broker.read_orders(ACCOUNT)).orders
    in_turns(room, monkeypatch, others=others)

    result = await room.gateway.cancel_all(ACCOUNT, key=OTHER)

    assert result.complete is complete
    assert room.broker.accepted[0].status is OrderStatus.CANCELLED
    assert bool(await room.journal.alerts.open(kind=AlertKind.CANCEL_ALL)) is not complete


@pytest.mark.requirement("TRD-22")
async def test_an_answer_to_the_cancel_of_another_order_is_not_taken_for_ours(room, monkeypatch):
    """Fault F14: it came late, over a connection that is used again."""
    placed = await room.gateway.submit(ENTRY, key=KEY)
    cancel, answers = room.broker.cancel, iter([CancelAck(OrderId("17"), "Request was submitted")])

    async def desynchronised(account_id, order_id, *, permit=None):
        return next(answers, None) or await cancel(account_id, order_id, permit=permit)

    monkeypatch.setattr(room.broker, "cancel", desynchronised)

    outcome = await room.gateway.cancel(ACCOUNT, placed.order_id, key=OTHER)

    assert outcome.state is IntentState.CANCELLED
    assert room.broker.accepted[0].status is OrderStatus.CANCELLED


# -- a lane of their own -------------------------------------------------------------------------------------------


@pytest.mark.requirement("TRD-12", "OPS-03")
async def test_no_cancel_waits_for_an_order_that_is_talked_about_or_looked_for(room):
    """A search takes minutes; who presses the kill switch does so for just such an order."""
    placed = await room.gateway.submit(ENTRY, key=KEY)
    begun = room.clock.monotonic()

    async with room.journal.conversation(room.broker.username, wait_s=0):
        result = await room.gateway.cancel_all(ACCOUNT, key=OTHER)

    assert result.cancelled == (placed.order_id,)
    assert result.complete
    assert room.clock.monotonic() - begun < 10


@pytest.mark.requirement("TRD-12", "TRD-20")
async def test_a_cancel_after_a_crash_leaves_before_the_orders_left_in_doubt_are_settled(room):
    placed = await room.gateway.submit(ENTRY, key=KEY)
    room.plan("lost_before")
    room.journal.fail = lambda events: any(isinstance(event, Doubted) for event in events)
    with pytest.raises(OutcomeUnknown):
        await room.gateway.submit(stock_ticket(), key=OTHER)
    room.journal.fail = lambda events: False
    room.restart()
    begun = room.clock.monotonic()

    cancelled = await room.gateway.cancel(ACCOUNT, placed.order_id, key=Key("cancel-0123456789abcdef"))

    assert cancelled.state is IntentState.CANCELLED
    assert room.clock.monotonic() - begun < 2
    assert (await room.gateway.find(OTHER)).state is IntentState.SENDING


@pytest.mark.requirement("TRD-12", "TRD-20")
async def test_a_start_settles_the_cancels_that_a_dead_process_left(room):
    placed = await room.gateway.submit(ENTRY, key=KEY)
    room.journal.fail = lambda events: any(isinstance(event, Acknowledged) for event in events)
    with pytest.raises(OutcomeUnknown):
        await room.gateway.cancel(ACCOUNT, placed.order_id, key=OTHER)
    room.journal.fail = lambda events: False
    room.restart()

    await room.gateway.recover(ACCOUNT)

    assert (await room.gateway.find(OTHER)).state is IntentState.CANCELLED
    assert room.broker.sent("cancel") == 1


@pytest.mark.requirement("TRD-20")
async def test_a_start_leaves_alone_the_cancels_that_somebody_is_at(room):
    placed = await room.gateway.submit(ENTRY, key=KEY)
    room.journal.fail = lambda events: any(isinstance(event, Acknowledged) for event in events)
    with pytest.raises(OutcomeUnknown):
        await room.gateway.cancel(ACCOUNT, placed.order_id, key=OTHER)
    room.journal.fail = lambda events: False

    async with room.journal.conversation(cancel_lane(room.broker.username), wait_s=0):
        await room.gateway.recover(ACCOUNT)

    assert (await room.gateway.find(OTHER)).state is IntentState.SENDING


# -- changes -------------------------------------------------------------------------------------------------------


@pytest.mark.requirement("TRD-12")
async def test_the_answer_to_a_change_names_the_order_that_is_changed(room):
    """Its ref is that order's, not the change's: it is no answer of another order."""
    placed = await room.gateway.submit(ENTRY, key=KEY)

    changed = await room.gateway.modify(
        placed.order_id, dataclasses.replace(ENTRY, limit_price=Decimal("628.00")), key=OTHER
    )

    assert changed.state is IntentState.ACKED
    assert not await room.journal.alerts.open()


@pytest.mark.requirement("TRD-12", "TRD-22")
async def test_the_answer_to_the_change_of_another_order_is_not_taken_for_ours(room, monkeypatch):
    placed = await room.gateway.submit(ENTRY, key=KEY)

    async def desynchronised(order_id, ticket, *, permit=None):
        return Accepted(OrderId("17"), OrderStatus.SUBMITTED, None)

    monkeypatch.setattr(room.broker, "modify", desynchronised)

    changed = await room.gateway.modify(
        placed.order_id, dataclasses.replace(ENTRY, limit_price=Decimal("628.00")), key=OTHER
    )

    assert changed.state is IntentState.NOT_PLACED
    assert await room.journal.alerts.open(kind=AlertKind.FOREIGN_ANSWER)


@pytest.mark.requirement("TRD-10", "TRD-12")
async def test_the_answer_to_a_changes_question_may_name_the_order_that_is_changed(room, monkeypatch):
    placed = await room.gateway.submit(ENTRY, key=KEY)
    refs = []

    async def asks(order_id, ticket, *, permit=None):
        return BrokerAsks(Question(QuestionId("q-1"), ("o163",), ("price",)))

    async def replied(question_id, *, confirmed, ref=None, permit=None):
        refs.append(ref)
        return Accepted(placed.order_id, OrderStatus.SUBMITTED, placed.intent.ref)

    monkeypatch.setattr(room.broker, "modify", asks)
    monkeypatch.setattr(room.broker, "reply", replied)

    changed = await room.gateway.modify(
        placed.order_id, dataclasses.replace(ENTRY, limit_price=Decimal("628.00")), key=OTHER
    )

    assert refs == [None]
    assert changed.state is IntentState.ACKED
    assert not await room.journal.alerts.open()


@pytest.mark.requirement("TRD-22")
async def test_a_lost_change_of_nothing_but_the_time_in_force_is_not_called_made(room):
    placed = await room.gateway.submit(ENTRY, key=KEY)
    room.broker.cancel_faults.append("lost_before")

    changed = await room.gateway.modify(placed.order_id, dataclasses.replace(ENTRY, tif=TimeInForce.GTC), key=OTHER)

    assert changed.state is IntentState.NOT_PLACED


@pytest.mark.requirement("TRD-22")
@pytest.mark.parametrize("fault", ["lost_before", "lost_after"])
async def test_a_lost_change_of_a_trailing_stop_is_for_a_person(room, fault):
    """No read shows by how much it trails, and its trigger moves by itself."""
    trailing = dataclasses.replace(
        ENTRY, order_type=OrderType.TRAIL, limit_price=None, trail=Trail(Decimal(5), TrailKind.AMOUNT)
    )
    placed = await room.gateway.submit(trailing, key=KEY)
    room.broker.cancel_faults.append(fault)

    changed = await room.gateway.modify(
        placed.order_id, dataclasses.replace(trailing, trail=Trail(Decimal(4), TrailKind.AMOUNT)), key=OTHER
    )

    assert changed.unknown


@pytest.mark.requirement("TRD-12", "TRD-14")
async def test_a_changed_size_counts_for_what_is_left_to_undo(room):
    """A stop for 4 of 10 that was changed to 10 leaves nothing: another close would turn the position round."""
    entry = await room.gateway.submit(stock_ticket(), key=KEY)
    bought = await room.gateway.wait_for_fill(entry.intent, within_s=5)
    stop = stock_ticket("4", side=Side.SELL, order_type=OrderType.STOP, stop_price=Decimal("620.00"))
    stands = await room.gateway.submit(stop, key=OTHER, purpose="stop", reduces=bought.intent_id)
    larger = dataclasses.replace(stop, quantity=Decimal(10))
    await room.gateway.modify(stands.order_id, larger, key=Key("modify-0123456789abcdef"))

    close = stock_ticket("6", side=Side.SELL)
    with pytest.raises(LimitExceeded) as caught:
        await room.gateway.submit(close, key=Key("close-0123456789abcdef1"), purpose="close", reduces=bought.intent_id)

    assert caught.value.message == f"{close.label}: only 0 of 10 are left to undo"
    assert caught.value.details == {"control": "nothing_to_reduce"}


@pytest.mark.requirement("TRD-12", "TRD-18")
@pytest.mark.parametrize(
    ("other", "field"),
    [
        (dataclasses.replace(ENTRY, side=Side.SELL), "side"),
        (dataclasses.replace(ENTRY, contract=option(), limit_price=Decimal("0.62")), "contract"),
    ],
)
async def test_a_change_to_another_side_or_contract_is_refused_before_it_is_stored(room, other, field):
    """The controls would judge what is asked for, and IBKR would change what is there."""
    placed = await room.gateway.submit(ENTRY, key=KEY)

    with pytest.raises(ConfigError, match="keeps contract and side") as caught:
        await room.gateway.modify(placed.order_id, other, key=OTHER)

    order = f"order {placed.order_id} is to BUY "  # and what the broker calls it: nothing, here
    assert caught.value.message == f"Invalid request: {order}: a change keeps contract and side"
    assert (caught.value.code, caught.value.remedy) == ("E-VALIDATION", "Cancel it and place another.")
    assert caught.value.details == {"field": field}
    assert room.broker.sent("modify") == 0
    assert await room.gateway.find(OTHER) is None
