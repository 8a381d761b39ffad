"""Orders at IBKR that the journal has wrong: taken for missing, for never sent, for somebody else's, or sent twice."""

from __future__ import annotations

import dataclasses
from decimal import Decimal

import pytest

from fakes import ACCOUNT, Plan, stock_ticket
from ibkit.errors import Unreachable
from ibkit.model import GroupKind, Key, OrderStatus, OrderType, Side, TimeInForce
from ibkit.trading.alert import AlertKind
from ibkit.trading.events import Attached, Grouped, Operation
from ibkit.trading.intent import IntentState

pytestmark = pytest.mark.anyio

KEY = Key("strangers-0123456789abcdef")
OTHER = Key("fedcba9876543210-strangers")
ENTRY = stock_ticket(order_type=OrderType.LIMIT, limit_price=Decimal("629.00"))
PROFIT = stock_ticket(side=Side.SELL, order_type=OrderType.LIMIT, limit_price=Decimal("640.00"), tif=TimeInForce.GTC)
STOP = stock_ticket(side=Side.SELL, order_type=OrderType.STOP, stop_price=Decimal("620.00"), tif=TimeInForce.GTC)


def externals(room):
    return [intent for intent in room.journal.intents.values() if intent.operation is Operation.EXTERNAL]


# -- groups --------------------------------------------------------------------------------------------------------


@pytest.mark.requirement("TRD-20")
async def test_an_oca_group_not_looked_at_yet_is_nobody_elses(room):
    """The process died between IBKR's answer and the look at its orders; each has a ref of its own."""
    room.journal.fail = lambda events: any(isinstance(event, Grouped) for event in events)
    with pytest.raises(Exception, match="disk is full"):
        await room.gateway.submit(PROFIT, key=KEY, others=(STOP,), group=GroupKind.OCA)
    room.journal.fail = lambda events: False
    room.restart()

    await room.gateway.recover(ACCOUNT)

    assert not externals(room)
    assert not await room.journal.alerts.open()
    first = await room.gateway.find(KEY)
    assert [leg.ticket for leg in await room.journal.legs(first.intent_id)] == [STOP]


@pytest.mark.requirement("TRD-14", "TRD-20")
@pytest.mark.parametrize("group", GroupKind)
async def test_an_order_of_a_group_that_was_taken_for_missing_is_followed_when_it_comes_up(room, group):
    room.broker.plans.append(Plan(refuse_legs=(1,)))
    first = stock_ticket() if group is GroupKind.BRACKET else PROFIT
    others = (PROFIT, STOP) if group is GroupKind.BRACKET else (STOP,)
    sent = await room.gateway.submit(first, key=KEY, others=others, group=group)
    parent = sent.order_id if group is GroupKind.BRACKET else None
    ref = None if group is GroupKind.BRACKET else f"{sent.intent.ref}-1"
    late = room.broker._accept(others[0], ref, Plan(), parent=parent)

    await room.gateway.recover(ACCOUNT)
    await room.gateway.recover(ACCOUNT)

    assert not externals(room)
    legs = await room.journal.legs(sent.intent.intent_id)
    assert legs[0].order_id == late.order_id
    assert legs[0].ticket == others[0]
    (alert,) = await room.journal.alerts.open(kind=AlertKind.LATE_ORDER)
    assert "taken for missing" in alert.message
    assert not (await room.gateway.find(KEY)).broken


@pytest.mark.requirement("TRD-20")
async def test_a_child_that_somebody_else_has_hung_on_our_bracket_is_an_order_of_somebody_else(room):
    sent = await room.gateway.submit(stock_ticket(), key=KEY, others=(STOP,), group=GroupKind.BRACKET)
    strange = room.broker._accept(PROFIT, None, Plan(), parent=sent.order_id)

    await room.gateway.recover(ACCOUNT)

    assert [external.order_id for external in externals(room)] == [strange.order_id]


# -- what the journal says was never sent --------------------------------------------------------------------------


@pytest.mark.requirement("TRD-22")
@pytest.mark.parametrize("filled", ["0", "10"])
async def test_an_order_that_an_older_copy_of_the_journal_calls_unsent_is_adopted(room, filled):
    await room.gateway.recover(ACCOUNT)
    room.plan("unsent")
    with pytest.raises(Unreachable):
        await room.gateway.submit(ENTRY, key=KEY)
    held = room.broker._accept(ENTRY, (await room.gateway.find(KEY)).ref, Plan())  # the newer journal has sent it
    if Decimal(filled):
        room.broker.fill(held.order_id, Decimal(filled), Decimal("629.00"))
    room.clock.advance(60)
    room.restart()

    await room.gateway.recover(ACCOUNT)

    adopted = await room.gateway.find(KEY)
    assert (adopted.state, adopted.order_id) == (IntentState.ACKED, held.order_id)
    assert await room.journal.alerts.open(kind=AlertKind.LATE_ORDER)
    assert not externals(room)


@pytest.mark.requirement("TRD-22")
async def test_an_order_that_comes_up_after_its_watch_is_adopted_all_the_same(room):
    room.plan("lost_before")
    denied = await room.gateway.submit(dataclasses.replace(ENTRY, tif=TimeInForce.GTC), key=KEY)
    room.clock.advance(86_400 * 5)
    room.broker._accept(ENTRY, denied.intent.ref, Plan())

    await room.gateway.recover(ACCOUNT)

    assert (await room.gateway.find(KEY)).state is IntentState.ACKED


@pytest.mark.requirement("TRD-22")
async def test_a_probe_that_grew_too_old_does_not_deny_its_first_send(room, monkeypatch):
    """Absence was proven, the same ref armed again and not sent any more; then the first send shows up."""
    room.resend, room.limits = True, dataclasses.replace(room.limits, max_age_s=100)
    room.restart()
    room.plan("lost_before")
    health, begun = room.broker.session_health, room.clock.monotonic()

    async def slow():
        if room.clock.monotonic() - begun > 60:
            room.clock.advance(60)
        return await health()

    monkeypatch.setattr(room.broker, "session_health", slow)
    denied = await room.gateway.submit(ENTRY, key=KEY)
    assert denied.state is IntentState.NOT_PLACED
    assert room.broker.sent("place") == 1
    room.broker._accept(ENTRY, denied.intent.ref, Plan())

    await room.gateway.recover(ACCOUNT)

    assert (await room.gateway.find(KEY)).state is IntentState.ACKED


# -- twice ---------------------------------------------------------------------------------------------------------


@pytest.mark.requirement("TRD-22")
async def test_a_second_order_of_one_ref_is_followed_and_told(room):
    """Fault F55: our promise is broken, by whomever; neither of the two may go unseen."""
    placed = await room.gateway.submit(ENTRY, key=KEY)
    second = room.broker._accept(ENTRY, placed.intent.ref, Plan())

    await room.gateway.recover(ACCOUNT)
    await room.gateway.recover(ACCOUNT)

    assert [external.order_id for external in externals(room)] == [second.order_id]
    (alert,) = await room.journal.alerts.open(kind=AlertKind.DOUBLE_ORDER)
    assert "two orders carry one ref" in alert.message


# -- orders of others ----------------------------------------------------------------------------------------------


@pytest.mark.requirement("TRD-20")
async def test_an_order_of_somebody_else_that_is_activated_again_after_months_holds_up_nothing(room):
    held = room.broker._accept(dataclasses.replace(ENTRY, tif=TimeInForce.GTC), None, Plan())
    await room.gateway.recover(ACCOUNT)
    held.status = OrderStatus.INACTIVE  # saved in TWS
    await room.gateway.recover(ACCOUNT)
    room.clock.advance(86_400 * 32)
    room.restart()
    await room.gateway.recover(ACCOUNT)
    assert not externals(room), "its record is purged, and its key is spent"
    held.status = OrderStatus.SUBMITTED
    room.restart()

    placed = await room.gateway.submit(stock_ticket(), key=OTHER)

    assert placed.accepted
    assert [external.order_id for external in externals(room)] == [held.order_id]


@pytest.mark.requirement("TRD-20")
async def test_an_order_of_somebody_else_in_a_state_nobody_knows_is_followed(room):
    """Fault F33: a word that nobody knows is no end."""
    room.broker._accept(ENTRY, None, Plan()).status = OrderStatus.UNKNOWN

    await room.gateway.recover(ACCOUNT)

    assert len(externals(room)) == 1


@pytest.mark.requirement("TRD-20")
async def test_an_order_of_somebody_else_that_was_half_written_down_and_is_over_comes_to_rest(room):
    """The process died between the two rows, and the order was cancelled before the next start."""
    room.broker.fills = False
    strange = room.broker._accept(ENTRY, None, Plan())
    room.journal.fail = lambda events: any(isinstance(event, Attached) for event in events)
    await room.gateway.recover(ACCOUNT)
    assert [external.state for external in externals(room)] == [IntentState.INTENT]
    room.journal.fail = lambda events: False
    strange.status = OrderStatus.CANCELLED
    room.restart()

    await room.gateway.recover(ACCOUNT)

    assert [external.state for external in externals(room)] == [IntentState.CANCELLED]
