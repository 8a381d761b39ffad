"""Brackets and OCA groups through the one door: at most once for each order, and never silently broken."""

from __future__ import annotations

import dataclasses
from decimal import Decimal

import pytest

from fakes import ACCOUNT, Plan, stock_ticket
from ibkit.errors import ConfigError, KeyReused, LimitExceeded, OutcomeUnknown
from ibkit.model import GroupKind, Key, OrderStatus, OrderType, Side, TimeInForce, Trail
from ibkit.trading.alert import AlertKind
from ibkit.trading.events import Acknowledged, Grouped, Mended, Sending
from ibkit.trading.groups import check_group
from ibkit.trading.intent import IntentState
from ibkit.trading.ref import leg_ref

pytestmark = pytest.mark.anyio

KEY = Key("bracket-0123456789abcdef")
ENTRY = stock_ticket(order_type=OrderType.LIMIT, limit_price=Decimal("629.00"))
PROFIT = stock_ticket(side=Side.SELL, order_type=OrderType.LIMIT, limit_price=Decimal("640.00"), tif=TimeInForce.GTC)
STOP = stock_ticket(side=Side.SELL, order_type=OrderType.STOP, stop_price=Decimal("620.00"), tif=TimeInForce.GTC)


async def bracket(room, *, entry=ENTRY, others=(PROFIT, STOP), key=KEY):
    return await room.gateway.submit(entry, key=key, others=others, group=GroupKind.BRACKET)


async def events(room, intent):
    return [type(event) for event in await room.journal.events(intent.intent_id)]


# -- what can be one request -------------------------------------------------------------------------------------


@pytest.mark.requirement("TRD-09", "TRD-12")
@pytest.mark.parametrize(
    ("child", "field", "word"),
    [
        (dataclasses.replace(PROFIT, side=Side.BUY), "others[1].side", "bracket_side"),
        (dataclasses.replace(PROFIT, quantity=Decimal(9)), "others[1].quantity", "bracket_quantity"),
        (dataclasses.replace(PROFIT, limit_price=Decimal("629.00")), "others[1].limit_price", "bracket_profit"),
        (dataclasses.replace(PROFIT, limit_price=Decimal("600.00")), "others[1].limit_price", "bracket_profit"),
        (dataclasses.replace(STOP, stop_price=Decimal("629.05")), "others[1].stop_price", "bracket_stop"),
        (dataclasses.replace(STOP, parent_id="17"), "others[1].parent_id", "hangs on no other"),
        (dataclasses.replace(STOP, account_id="DU7654321"), "others[1].account_id", "one account"),
    ],
)
async def test_a_bracket_that_cannot_be_is_refused_by_field_before_anything_is_stored(room, child, field, word):
    with pytest.raises(ConfigError, match=word) as caught:
        await bracket(room, others=(child,))

    assert caught.value.details["field"] == field
    assert not room.journal.intents


@pytest.mark.requirement("TRD-09")
async def test_a_stop_at_the_entry_itself_protects_and_is_allowed():
    check_group(ENTRY, (dataclasses.replace(STOP, stop_price=Decimal("629.00")),), GroupKind.BRACKET)


@pytest.mark.requirement("TRD-09")
@pytest.mark.parametrize(
    ("others", "group", "field"),
    [((PROFIT,), None, "group"), ((), GroupKind.OCA, "others"), ((), GroupKind.BRACKET, "others")],
)
async def test_several_orders_are_a_group_and_a_group_is_several(room, others, group, field):
    with pytest.raises(ConfigError) as caught:
        await room.gateway.submit(ENTRY, key=KEY, others=others, group=group)

    assert caught.value.details["field"] == field


@pytest.mark.requirement("TRD-09")
async def test_the_sides_of_a_sale_are_judged_the_other_way_round():
    sale = dataclasses.replace(ENTRY, side=Side.SELL)
    check_group(
        sale,
        (
            dataclasses.replace(PROFIT, side=Side.BUY, limit_price=Decimal("620.00")),
            dataclasses.replace(STOP, side=Side.BUY, stop_price=Decimal("640.00")),
        ),
        GroupKind.BRACKET,
    )
    with pytest.raises(ConfigError, match="bracket_stop"):
        check_group(sale, (dataclasses.replace(STOP, side=Side.BUY, stop_price=Decimal("620.00")),), GroupKind.BRACKET)


# -- brackets ----------------------------------------------------------------------------------------------------


@pytest.mark.requirement("TRD-12", "TRD-22")
async def test_a_bracket_is_one_request_and_each_child_an_intent_of_its_own(room):
    outcome = await bracket(room)

    assert outcome.error is None
    assert room.broker.sent("place") == 1
    assert len(room.broker.accepted) == 3
    assert [leg.number for leg in outcome.legs] == [1, 2]
    profit, stop = await room.journal.legs(outcome.intent.intent_id)
    assert (profit.ticket, stop.ticket) == (PROFIT, STOP)
    assert profit.state is stop.state is IntentState.ACKED
    assert {profit.order_id, stop.order_id} == {held.order_id for held in room.broker.accepted[1:]}
    # Told apart by their terms, for the rows of the answer are in no order (fault F120).
    by_id = {held.order_id: held.ticket for held in room.broker.accepted}
    assert by_id[profit.order_id] == PROFIT
    assert by_id[stop.order_id] == STOP
    assert profit.planned.reduces == outcome.intent.intent_id


@pytest.mark.requirement("GWY-03")
async def test_a_bracket_asked_for_twice_is_sent_once(room):
    first = await bracket(room)
    again = await bracket(room)

    assert again.cached
    assert again.intent.intent_id == first.intent.intent_id
    assert again.legs == first.legs
    assert len(room.broker.accepted) == 3


@pytest.mark.requirement("GWY-03")
async def test_a_bracket_with_another_child_under_the_same_key_is_refused_by_its_field(room):
    await bracket(room)

    with pytest.raises(KeyReused) as caught:
        await bracket(room, others=(PROFIT, dataclasses.replace(STOP, stop_price=Decimal("610.00"))))

    assert caught.value.details["fields"] == ["stop_price (2)"]


@pytest.mark.requirement("TRD-22")
async def test_a_bracket_whose_answer_was_lost_is_found_with_its_children(room):
    room.plan("lost_after")

    outcome = await bracket(room)

    assert outcome.error is None
    assert room.broker.sent("place") == 1
    assert [leg.order_id is not None for leg in outcome.legs] == [True, True]


@pytest.mark.requirement("TRD-22")
async def test_a_bracket_that_never_arrived_is_proven_absent_as_a_whole(room):
    room.plan("lost_before")

    outcome = await bracket(room)

    assert outcome.state is IntentState.NOT_PLACED
    assert not room.broker.accepted
    assert not await room.journal.legs(outcome.intent.intent_id)


@pytest.mark.requirement("TRD-10")
async def test_one_question_is_asked_for_the_complete_bracket(room):
    room.broker.plans.append(Plan(asks=(("o10331",),)))

    outcome = await bracket(room)

    assert outcome.error is None
    assert room.broker.sent("reply") == 1
    assert len(await room.journal.legs(outcome.intent.intent_id)) == 2


@pytest.mark.requirement("TRD-14")
async def test_a_refused_child_of_an_unfilled_parent_takes_the_parent_with_it(room):
    """Fault F52: a bracket is not atomic; the parent went live alone."""
    room.broker.plans.append(Plan(refuse_legs=(2,)))
    room.broker.fills = False
    begun = room.clock.monotonic()

    outcome = await bracket(room)

    assert outcome.error is not None
    assert "without all of its group" in outcome.error.message
    assert room.broker.accepted[0].status is OrderStatus.CANCELLED
    assert room.broker.accepted[1].status is OrderStatus.CANCELLED
    (alert,) = await room.journal.alerts.open(kind=AlertKind.BROKEN_GROUP)
    assert alert.message.startswith("CRITICAL")
    assert "cancelled before anything was filled" in alert.message
    assert (await events(room, outcome.intent))[-1] is Mended
    told = next(e for e in await room.journal.events(outcome.intent.intent_id) if isinstance(e, Grouped))
    assert (told.at - next(iter(await room.journal.events(outcome.intent.intent_id))).at).total_seconds() <= 5
    assert room.clock.monotonic() - begun < 30


@pytest.mark.requirement("TRD-14")
async def test_what_a_broken_bracket_has_filled_without_a_stop_is_closed(room):
    room.broker.plans.append(Plan(refuse_legs=(2,)))
    room.broker.fills = False
    placed = []

    def fill_first(name, _what):
        placed.append(name)

    room.broker.on_bytes = fill_first
    original = room.broker.order

    async def order(order_id):
        held = room.broker.accepted[0]
        if not held.filled and order_id == held.order_id:
            room.broker.fill(held.order_id, Decimal(10), Decimal("629.00"))
            room.broker.fills = True
        return await original(order_id)

    room.broker.order = order

    outcome = await bracket(room)

    close = room.broker.accepted[-1]
    assert close.ticket.side is Side.SELL
    assert close.ticket.order_type is OrderType.MARKET
    assert close.ticket.quantity == 10
    assert close.status is OrderStatus.FILLED
    assert "was closed at" in outcome.intent.mended
    assert room.broker.accepted[1].status is OrderStatus.CANCELLED, "the take profit would sell a second time"
    assert not await room.broker.positions("DU1234567")


@pytest.mark.requirement("TRD-14")
async def test_a_filled_parent_whose_stop_stands_is_left_protected(room):
    room.broker.plans.append(Plan(refuse_legs=(1,)))

    outcome = await bracket(room, entry=stock_ticket())

    assert outcome.error is not None
    (_, stop) = room.broker.accepted
    assert stop.ticket == STOP
    assert "its stop stands" in outcome.intent.mended
    assert stop.status is OrderStatus.PRE_SUBMITTED


@pytest.fixture
def hidden(room, monkeypatch):
    """Orders that neither the list nor their status shows; their tickets are to be put in."""
    tickets, order, read_orders = [], room.broker.order, room.broker.read_orders

    async def status(order_id):
        held = room.broker._held(order_id)
        return None if held is not None and held.ticket in tickets else await order(order_id)

    async def listed(account_id):
        read = await read_orders(account_id)
        ids = {held.order_id for held in room.broker.accepted if held.ticket in tickets}
        return dataclasses.replace(read, orders=tuple(row for row in read.orders if row.order_id not in ids))

    monkeypatch.setattr(room.broker, "order", status)
    monkeypatch.setattr(room.broker, "read_orders", listed)
    return tickets


@pytest.mark.requirement("TRD-14")
async def test_a_child_that_is_not_shown_is_not_taken_for_the_one_that_was_refused(room, hidden):
    """Closed at market, the position would be turned round by the stop that lives."""
    room.broker.plans.append(Plan(refuse_legs=(2,)))
    hidden.append(STOP)

    outcome = await bracket(room, entry=stock_ticket(), others=(STOP, PROFIT))

    assert "look at IBKR" in outcome.intent.mended
    assert len(room.broker.accepted) == 2
    assert (await room.broker.positions("DU1234567"))[0].quantity == 10


@pytest.mark.requirement("TRD-14")
async def test_nothing_is_closed_while_a_take_profit_may_come_up_and_close_too(room, hidden):
    """The stop is shown, refused downstream; the take profit is not shown at all."""
    hidden.append(PROFIT)
    accept = room.broker._accept

    def with_a_refused_stop(ticket, *args, **named):
        held = accept(ticket, *args, **named)
        if ticket == STOP:
            held.status, held.reason = OrderStatus.INACTIVE, "margin"
        return held

    room.broker._accept = with_a_refused_stop
    room.broker.stop_status = OrderStatus.INACTIVE

    outcome = await bracket(room, entry=stock_ticket())

    assert "look at IBKR" in outcome.intent.mended
    assert len(room.broker.accepted) == 3


@pytest.mark.requirement("TRD-14", "TRD-20")
async def test_children_that_could_not_be_looked_at_are_told_and_looked_for_again(room, monkeypatch):
    """Lists that fail prove nothing about them (fault F69): nothing is cancelled for their sake."""
    order, read_orders, placed = room.broker.order, room.broker.read_orders, room.broker.place

    async def fails(_what):
        raise OutcomeUnknown("no answer within 15 s")

    async def then_blind(*args, **named):
        answer = await placed(*args, **named)
        monkeypatch.setattr(room.broker, "order", fails)
        monkeypatch.setattr(room.broker, "read_orders", fails)
        return answer

    monkeypatch.setattr(room.broker, "place", then_blind)
    begun = room.clock.monotonic()
    outcome = await bracket(room, entry=stock_ticket())
    (alert,) = await room.journal.alerts.open(kind=AlertKind.BROKEN_GROUP)
    assert "does not show the orders of its group" in alert.message
    assert room.clock.monotonic() - begun < 20
    assert not outcome.intent.grouped
    monkeypatch.setattr(room.broker, "order", order)
    monkeypatch.setattr(room.broker, "read_orders", read_orders)

    await room.gateway.look_after_groups()

    assert len(await room.journal.legs(outcome.intent.intent_id)) == 2
    assert not await room.journal.alerts.open(kind=AlertKind.BROKEN_GROUP)
    assert room.broker.sent("cancel") == 0


@pytest.mark.requirement("TRD-14")
async def test_a_bracket_that_was_refused_as_a_whole_is_no_broken_one(room):
    room.plan("inactive")
    begun = room.clock.monotonic()

    outcome = await bracket(room)

    assert outcome.state is IntentState.REJECTED_LATE
    assert outcome.intent.final
    assert not await room.journal.alerts.open()
    assert room.clock.monotonic() - begun < 6


@pytest.mark.requirement("TRD-14", "TRD-20")
async def test_a_crash_before_a_broken_bracket_was_undone_is_made_good_at_the_next_start(room):
    room.broker.plans.append(Plan(refuse_legs=(2,)))
    room.broker.fills = False
    room.journal.fail = lambda events: any(isinstance(event, Mended) for event in events)
    with pytest.raises(Exception, match="disk is full"):
        await bracket(room)
    room.journal.fail = lambda events: False
    room.restart()

    await room.gateway.recover()

    intent = await room.gateway.find(KEY)
    assert intent.mended
    assert intent.final
    assert room.broker.accepted[0].status is OrderStatus.CANCELLED


@pytest.mark.requirement("TRD-14", "TRD-20")
async def test_an_order_that_closes_and_is_proven_to_be_none_is_followed_by_another(room):
    """The first was lost with the process: its key is used up, and the position still stands without a stop."""
    room.broker.plans.extend([Plan(refuse_legs=(1,)), Plan("lost_before")])

    outcome = await bracket(room, entry=stock_ticket(), others=(STOP,))
    assert not outcome.intent.mended
    assert len(room.broker.accepted) == 1

    await room.gateway.recover()

    intent = await room.gateway.find(KEY)
    assert "was closed at" in intent.mended
    assert [held.ticket.side for held in room.broker.accepted] == [Side.BUY, Side.SELL]
    assert not await room.broker.positions("DU1234567")


@pytest.mark.requirement("TRD-14", "TRD-22")
async def test_a_trailing_stop_is_found_wherever_it_stands_by_now(room):
    """Its stop follows the market from the first moment on: that it is not where it began is no sign of another."""
    trailing = dataclasses.replace(STOP, order_type=OrderType.TRAIL, trail=Trail(Decimal(5)))
    original = room.broker.read_orders
    room.plan("lost_after")

    async def read_orders(account_id):
        read = await original(account_id)
        moved = (dataclasses.replace(row, stop_price=Decimal("624.00")) for row in read.orders[1:])
        return dataclasses.replace(read, orders=(*read.orders[:1], *moved))

    room.broker.read_orders = read_orders

    outcome = await bracket(room, others=(trailing,))

    assert outcome.error is None
    (leg,) = await room.journal.legs(outcome.intent.intent_id)
    assert leg.order_id == room.broker.accepted[1].order_id


@pytest.mark.requirement("TRD-20")
async def test_a_crash_right_after_the_answer_finds_the_children_at_the_next_start(room):
    room.journal.fail = lambda events: any(isinstance(event, Grouped) for event in events)
    with pytest.raises(Exception, match="disk is full"):
        await bracket(room)
    room.journal.fail = lambda events: False
    room.restart()

    await room.gateway.recover()

    intent = await room.gateway.find(KEY)
    assert len(await room.journal.legs(intent.intent_id)) == 2
    assert room.broker.sent("place") == 1


# -- OCA groups --------------------------------------------------------------------------------------------------


async def oca(room, *, key=KEY):
    return await room.gateway.submit(PROFIT, key=key, others=(STOP,), group=GroupKind.OCA)


@pytest.mark.requirement("TRD-12")
async def test_the_orders_of_an_oca_group_carry_refs_of_their_own(room):
    outcome = await oca(room)

    assert outcome.error is None
    first, second = room.broker.accepted
    assert (first.ref, second.ref) == (outcome.intent.ref, leg_ref(outcome.intent.ref, 1))
    (leg,) = await room.journal.legs(outcome.intent.intent_id)
    assert (leg.order_id, leg.ticket) == (second.order_id, STOP)


@pytest.mark.requirement("TRD-22")
async def test_an_oca_group_whose_answer_was_lost_is_found_by_any_of_its_refs(room):
    room.plan("lost_after")

    outcome = await oca(room)

    assert outcome.error is None
    assert room.broker.sent("place") == 1
    assert [leg.order_id for leg in outcome.legs] == [room.broker.accepted[1].order_id]


@pytest.mark.requirement("TRD-14")
async def test_a_sibling_that_still_works_after_a_fill_is_cancelled(room):
    """Fault F54: IBKR did not cancel it by itself."""
    outcome = await oca(room)
    first, second = room.broker.accepted
    room.broker._wake_and_end_others = lambda held: None
    room.broker.fill(first.order_id, Decimal(10), Decimal("640.00"))
    await room.gateway.look_after_groups()
    room.clock.advance(6)

    await room.gateway.look_after_groups()

    assert second.status is OrderStatus.CANCELLED
    assert outcome.order_id == first.order_id


@pytest.mark.requirement("TRD-14", "TRD-22")
@pytest.mark.parametrize("named", [False, True])
async def test_a_sibling_is_looked_after_by_a_later_start_that_knows_the_logins_name(room, named):
    """IBKR did not tell it when the group was sent: it was planned under the name of the settings."""
    room.broker.username = "consumer"
    await oca(room)
    first, second = room.broker.accepted
    room.broker._wake_and_end_others = lambda held: None
    room.broker.fill(first.order_id, Decimal(10), Decimal("640.00"))
    room.restart()
    room.broker.username = "edge1234"
    accounts = [ACCOUNT] if named else []
    await room.gateway.recover(*accounts)
    room.clock.advance(6)

    await room.gateway.recover(*accounts)

    assert second.status is OrderStatus.CANCELLED


@pytest.mark.requirement("TRD-14")
async def test_two_siblings_that_both_filled_are_told(room):
    await oca(room)
    room.broker._wake_and_end_others = lambda held: None
    for held in room.broker.accepted:
        room.broker.fill(held.order_id, Decimal(10), Decimal("640.00"))

    await room.gateway.look_after_groups()

    (alert,) = await room.journal.alerts.open(kind=AlertKind.BOTH_FILLED)
    assert alert.message.startswith("CRITICAL")


@pytest.mark.requirement("TRD-14")
async def test_two_siblings_that_were_both_filled_before_anybody_looked_are_told(room):
    """Once both are written down as ended, the group is nobody's to look after: the last fill tells it."""
    await oca(room)
    room.broker._wake_and_end_others = lambda held: None
    for held in room.broker.accepted:
        room.broker.fill(held.order_id, Decimal(10), Decimal("640.00"))

    await room.gateway.recover()
    await room.gateway.recover()

    (alert,) = await room.journal.alerts.open(kind=AlertKind.BOTH_FILLED)
    assert all(str(held.order_id) in alert.message for held in room.broker.accepted)


@pytest.mark.requirement("TRD-14", "TRD-20")
async def test_a_sibling_that_nobody_saw_for_a_while_is_followed_as_what_it_is(room):
    """Reads failed for ten seconds: that is no proof, and what shows up later is nobody else's order."""
    original = room.broker.read_orders
    room.plan("lost_after")

    async def without_the_second(account_id):
        read = await original(account_id)
        return dataclasses.replace(read, orders=tuple(row for row in read.orders if not row.ref.endswith("-1")))

    room.broker.read_orders = without_the_second
    outcome = await oca(room)
    assert [leg.text for leg in outcome.legs] == ["not to be seen at IBKR"]
    room.broker.read_orders = original

    await room.gateway.recover("DU1234567")

    second = room.broker.accepted[1]
    (leg,) = await room.journal.legs(outcome.intent.intent_id)
    assert (leg.order_id, leg.ticket) == (second.order_id, STOP)
    assert not await room.journal.alerts.open(kind=AlertKind.EXTERNAL_ORDER)
    room.broker._wake_and_end_others = lambda held: None
    room.broker.fill(room.broker.accepted[0].order_id, Decimal(10), Decimal("640.00"))
    await room.gateway.recover()
    room.clock.advance(6)
    await room.gateway.recover()
    assert second.status is OrderStatus.CANCELLED


@pytest.mark.requirement("TRD-14")
async def test_the_order_that_a_group_was_sent_with_is_cancelled_when_another_of_it_filled(room):
    await oca(room)
    first, second = room.broker.accepted
    room.broker._wake_and_end_others = lambda held: None
    room.broker.fill(second.order_id, Decimal(10), Decimal("620.00"))
    await room.gateway.recover()
    room.clock.advance(6)

    await room.gateway.recover()

    assert first.status is OrderStatus.CANCELLED


@pytest.mark.requirement("TRD-14", "TRD-22")
async def test_the_first_of_a_group_is_looked_for_where_another_was_found_in_its_place(room):
    """The other was filled at once: with nothing open any more, no later look would have met the first."""
    original, shown = room.broker.read_orders, 0
    room.plan("lost_after")

    async def at_first_without_the_first(account_id):
        nonlocal shown
        read = await original(account_id)
        shown += bool(read.orders)
        return dataclasses.replace(read, orders=read.orders[1:] if shown == 1 else read.orders)

    room.broker.read_orders = at_first_without_the_first
    room.broker._wake_and_end_others = lambda held: None
    outcome = await oca(room)
    first, second = room.broker.accepted
    assert outcome.order_id == second.order_id
    assert {leg.number: leg.order_id for leg in outcome.intent.legs} == {0: first.order_id, 1: second.order_id}
    room.broker.fill(second.order_id, Decimal(10), Decimal("620.00"))
    await room.gateway.recover()
    room.clock.advance(6)
    await room.gateway.recover()
    assert first.status is OrderStatus.CANCELLED


@pytest.mark.requirement("TRD-22")
async def test_the_first_of_a_group_that_comes_up_after_another_was_found_in_its_place_is_followed(room):
    original = room.broker.read_orders
    room.plan("lost_after")

    async def without_the_first(account_id):
        read = await original(account_id)
        return dataclasses.replace(read, orders=read.orders[1:])

    room.broker.read_orders = without_the_first
    outcome = await oca(room)
    first, second = room.broker.accepted
    assert outcome.order_id == second.order_id
    room.broker.read_orders = original

    await room.gateway.recover("DU1234567")

    legs = {leg.order_id: leg for leg in await room.journal.legs(outcome.intent.intent_id)}
    assert set(legs) == {first.order_id, second.order_id}
    assert legs[first.order_id].ticket == PROFIT
    room.broker._wake_and_end_others = lambda held: None
    room.broker.fill(second.order_id, Decimal(10), Decimal("620.00"))
    await room.gateway.recover()
    room.clock.advance(6)
    await room.gateway.recover()
    assert first.status is OrderStatus.CANCELLED
    assert not await room.journal.alerts.open(kind=AlertKind.BOTH_FILLED), "the second stands in two intents"


@pytest.mark.requirement("TRD-22")
async def test_a_group_is_journaled_before_its_bytes(room):
    seen = []

    def witness(_name, _what):
        (intent,) = room.journal.intents.values()
        seen.append((intent.state, intent.planned.others))

    room.broker.on_bytes = witness
    outcome = await bracket(room)

    assert seen == [(IntentState.SENDING, (PROFIT, STOP))]
    kinds = await events(room, outcome.intent)
    assert kinds.index(Sending) < kinds.index(Acknowledged) < kinds.index(Grouped)


# -- what is left to undo -------------------------------------------------------------------------------------------


async def bought(room):
    entry = await room.gateway.submit(stock_ticket(), key=Key("entry-0123456789abcdef01"))
    return await room.gateway.wait_for_fill(entry.intent, within_s=5)


async def close(room, entry, quantity):
    ticket = stock_ticket(quantity, side=Side.SELL)
    key = Key(f"close-0123456789abcdef-{quantity}")
    return await room.gateway.submit(ticket, key=key, purpose="close", reduces=entry.intent_id)


@pytest.mark.requirement("TRD-09", "TRD-14")
async def test_what_each_order_of_a_group_has_filled_counts_once_and_all_of_it(room):
    entry = await bought(room)
    sent = await room.gateway.submit(
        PROFIT, key=KEY, others=(STOP,), group=GroupKind.OCA, purpose="stop", reduces=entry.intent_id
    )
    room.broker._wake_and_end_others = lambda held: None
    for held, quantity in zip(room.broker.accepted[-2:], (3, 2), strict=True):
        room.broker.fill(held.order_id, Decimal(quantity), Decimal("640.00"))
    for each in (sent.intent, *await room.journal.legs(sent.intent.intent_id)):
        await room.gateway.cancel_rest(each)

    with pytest.raises(LimitExceeded, match="only 5 of 10"):
        await close(room, entry, "6")
    assert (await close(room, entry, "5")).accepted


@pytest.mark.requirement("TRD-14", "TRD-22")
async def test_a_group_that_was_found_by_another_of_its_orders_counts_once(room):
    """The answer was lost, and the first of its orders is not at IBKR: what is there has the number of both."""
    entry = await bought(room)
    room.plan("lost_before")
    place = room.broker.place

    async def torn(ticket, **named):
        try:
            return await place(ticket, **named)
        finally:
            room.broker._accept(PROFIT, leg_ref(named["ref"], 1), Plan())

    room.broker.place = torn
    sent = await room.gateway.submit(
        STOP, key=KEY, others=(PROFIT,), group=GroupKind.OCA, purpose="stop", reduces=entry.intent_id
    )
    room.broker.place = place
    room.broker.fill(sent.order_id, Decimal(4), Decimal("640.00"))
    for each in (sent.intent, *await room.journal.legs(sent.intent.intent_id)):
        await room.gateway.cancel_rest(each)

    assert (await close(room, entry, "6")).accepted
    with pytest.raises(LimitExceeded, match="only 0 of 10"):
        await close(room, entry, "1")
