"""Journal and broker agree before anything is sent; what is not ours is taken in, too."""

from __future__ import annotations

import dataclasses
from datetime import timedelta
from decimal import Decimal

import pytest

from fakes import ACCOUNT, stock_ticket
from ibkit.errors import KeyReused, StorageError, Unreachable
from ibkit.model import Key, OrderId, OrderStatus, OrderType, Ref, Side, Username
from ibkit.trading.alert import AlertKind
from ibkit.trading.events import Doubted, Operation
from ibkit.trading.intent import IntentState

pytestmark = pytest.mark.anyio

KEY = Key("key-0123456789abcdef")
FAR = stock_ticket(order_type=OrderType.LIMIT, limit_price=Decimal("600.00"))


def typed_into_tws(room, ref=None):
    """An order that somebody placed elsewhere; its number."""
    held = room.broker._accept(FAR, ref, room.broker_plan)
    return held.order_id


@pytest.fixture
def room(room):
    from fakes import Plan

    room.broker_plan = Plan()
    room.broker.fills = False
    return room


@pytest.mark.requirement("TRD-20")
async def test_nothing_is_sent_before_a_complete_list_was_seen(room):
    async def incomplete(_account_id):
        from ibkit.trading.ports import OrdersRead

        return OrdersRead((), complete=False, first=True, mark=await room.broker.mark())

    room.broker.read_orders = incomplete

    with pytest.raises(Unreachable, match="complete list"):
        await room.gateway.submit(FAR, key=KEY)

    assert room.broker.sent("place") == 0
    assert not room.journal.intents, "the key stays free"


@pytest.mark.requirement("TRD-20")
async def test_what_undoes_a_fill_goes_out_even_so(room):
    room.broker.fills = True
    bought = await room.gateway.submit(stock_ticket(), key=KEY)
    await room.gateway.wait_for_fill(bought.intent, within_s=5.0)
    room.restart()
    room.broker.read_faults.extend([True] * 50)
    sale = stock_ticket(side=Side.SELL)

    closed = await room.gateway.submit(sale, key=Key("close-0123456789abcdef"), reduces=bought.intent.intent_id)

    assert closed.state is not IntentState.NOT_PLACED
    assert room.broker.sent("place") == 2


@pytest.mark.requirement("TRD-20")
async def test_the_two_are_compared_once_a_session(room):
    await room.gateway.submit(FAR, key=KEY)
    reads = room.broker.sent("orders")
    await room.gateway.submit(FAR, key=Key("key-again-0123456789"))
    assert room.broker.sent("orders") == reads

    room.broker.new_session()
    await room.gateway.submit(FAR, key=Key("key-third-0123456789"))
    assert room.broker.sent("orders") > reads


@pytest.mark.requirement("TRD-20")
async def test_an_order_of_somebody_else_is_adopted_as_external_once(room):
    order_id = typed_into_tws(room)

    await room.gateway.recover(ACCOUNT)
    await room.gateway.recover(ACCOUNT)

    (external,) = room.journal.intents.values()
    assert external.operation is Operation.EXTERNAL
    assert (external.order_id, external.state) == (order_id, IntentState.ACKED)
    assert not await room.journal.alerts.open()
    assert "somebody else" in external.label


@pytest.mark.requirement("TRD-20", "GWY-09")
async def test_what_was_begun_of_somebody_elses_order_is_completed_whoever_looks(room):
    """A process died after its plan, and knew the login by another name (the consumer key's) than the next one."""
    order_id = typed_into_tws(room)
    append, room.broker.username = room.journal.append, Username("SIMPAPERA")

    async def dies(intent, *events, alert=None):
        raise StorageError("the process ended")

    room.journal.append = dies
    await room.gateway.recover(ACCOUNT)
    assert [intent.state for intent in room.journal.intents.values()] == [IntentState.INTENT]
    room.journal.append, room.broker.username = append, Username("simpaper1")
    room.broker.fill(order_id, Decimal(10), Decimal("600.00"))  # so that the list shows it no more as open

    room.restart()
    await room.gateway.recover(ACCOUNT)

    (external,) = room.journal.intents.values()
    assert external.order_id == order_id
    assert external.state is IntentState.FILLED


@pytest.mark.requirement("TRD-20", "GWY-09")
async def test_a_first_list_that_is_complete_at_once_is_read_again_before_an_end_is_believed(room):
    """Of a login's second account, because the first account's list came before it."""
    await room.gateway.submit(FAR, key=KEY)
    room.broker.accepted.clear()  # as on the next day: no row, no status
    room.clock.advance(86_400)
    room.broker.new_session()
    read, seen = room.broker.read_orders, []

    async def complete_at_once(account_id):
        found = await read(account_id)
        seen.append(found)
        return dataclasses.replace(found, complete=True)

    room.broker.read_orders = complete_at_once
    room.restart()
    await room.gateway.recover(ACCOUNT)

    assert [each.first for each in seen] == [True, False]
    assert (await room.gateway.find(KEY)).state is IntentState.CANCELLED


@pytest.mark.requirement("TRD-20")
async def test_the_end_of_an_external_order_is_followed(room):
    order_id = typed_into_tws(room)
    await room.gateway.recover(ACCOUNT)
    room.broker.fill(order_id, Decimal(10), Decimal("600.00"))

    await room.gateway.recover(ACCOUNT)

    (external,) = room.journal.intents.values()
    assert external.state is IntentState.FILLED
    assert external.final


@pytest.mark.requirement("TRD-20")
async def test_an_order_with_our_mark_that_the_journal_lost_raises_an_alert(room):
    order_id = typed_into_tws(room, Ref("ib-" + "a2" * 16))

    await room.gateway.recover(ACCOUNT)

    (alert,) = await room.journal.alerts.open(kind=AlertKind.EXTERNAL_ORDER)
    assert alert.subject == order_id


@pytest.mark.requirement("TRD-20")
async def test_our_own_orders_are_not_taken_for_somebody_elses(room):
    placed = await room.gateway.submit(FAR, key=KEY)
    room.restart()

    await room.gateway.recover(ACCOUNT)

    assert [intent.order_id for intent in room.journal.intents.values()] == [placed.order_id]


@pytest.mark.requirement("TRD-20", "GWY-06")
async def test_open_orders_are_followed_by_one_list_not_by_a_call_each(room):
    for number in range(12):
        room.clock.advance(61)  # no loop: the controls would stop one
        await room.gateway.submit(FAR, key=Key(f"key-{number:016d}"))
    for held in room.broker.accepted[:4]:
        room.broker.fill(held.order_id, Decimal(10), Decimal("600.00"))
    room.restart()
    asked = []
    original = room.broker.order

    async def order(order_id: OrderId):
        asked.append(order_id)
        return await original(order_id)

    room.broker.order = order
    await room.gateway.recover(ACCOUNT)

    states = [intent.state for intent in room.journal.intents.values()]
    assert states.count(IntentState.FILLED) == 4
    assert not asked


@pytest.mark.requirement("TRD-12")
async def test_cancel_all_ends_when_nothing_works_any_more(room):
    ours = await room.gateway.submit(FAR, key=KEY)
    theirs = typed_into_tws(room)

    result = await room.gateway.cancel_all(ACCOUNT, key=Key("cancel-all-0123456789"))

    assert result.complete
    assert set(result.cancelled) == {ours.order_id, theirs}
    assert not result.left
    assert all(held.status is OrderStatus.CANCELLED for held in room.broker.accepted)
    cancels = [i for i in room.journal.intents.values() if i.operation is Operation.CANCEL]
    assert len(cancels) == 2, "each cancel is written down before it leaves"


@pytest.mark.requirement("TRD-12")
async def test_cancel_all_that_cannot_be_proven_tells_what_is_left(room):
    await room.gateway.submit(FAR, key=KEY)
    room.broker._cancelled = lambda held: None

    result = await room.gateway.cancel_all(ACCOUNT, key=Key("cancel-all-0123456789"))

    assert not result.complete
    assert [row.order_id for row in result.left] == [room.broker.accepted[0].order_id]
    (alert,) = await room.journal.alerts.open(kind=AlertKind.CANCEL_ALL)
    assert alert.message.startswith("CRITICAL")
    assert room.broker.sent("cancel") <= 9


@pytest.mark.requirement("TRD-12")
async def test_cancel_all_goes_on_over_reads_that_fail(room):
    await room.gateway.submit(FAR, key=KEY)
    room.broker.read_faults.extend([True, False, True])

    result = await room.gateway.cancel_all(ACCOUNT, key=Key("cancel-all-0123456789"))

    assert result.complete


@pytest.mark.requirement("TRD-22")
async def test_what_was_planned_under_another_name_of_the_login_is_settled(room):
    """Where IBKR does not tell the user name the settings stand in for it; the next start may know better."""
    room.broker.username = "consumer"
    room.plan("lost_after")
    room.journal.fail = lambda events: any(isinstance(event, Doubted) for event in events)
    with pytest.raises(Exception, match="disk is full"):
        await room.gateway.submit(FAR, key=KEY)
    room.journal.fail = lambda events: False
    room.restart()
    room.broker.username = "edge1234"

    (settled,) = await room.gateway.recover()

    assert settled.state is IntentState.ACKED
    assert settled.planned.username == "consumer"


@pytest.mark.requirement("TRD-22")
async def test_a_key_planned_under_another_name_goes_on_under_its_own_lane(room):
    room.broker.username = "consumer"
    room.plan("unsent")
    with pytest.raises(Unreachable):
        await room.gateway.submit(FAR, key=KEY)
    room.broker.username = "edge1234"

    outcome = await room.gateway.submit(FAR, key=KEY)

    assert outcome.accepted
    assert len(room.broker.accepted) == 1


@pytest.mark.requirement("OPS-03", "TRD-22")
async def test_a_restored_journal_sends_nothing_but_cancels_until_a_person_has_looked(room):
    """An older copy has forgotten keys: it would send their orders again (fault F100)."""
    placed = await room.gateway.submit(FAR, key=KEY)
    room.journal.restored = True
    room.restart()
    await room.started()

    with pytest.raises(StorageError, match="older copy"):
        await room.gateway.submit(FAR, key=Key("key-other-0123456789"))
    cancelled = await room.gateway.cancel(ACCOUNT, placed.order_id, key=Key("cancel-0123456789abc"))
    assert cancelled.state is IntentState.CANCELLED
    assert room.broker.sent("place") == 0

    await room.journal.clear_restored()
    assert (await room.gateway.submit(FAR, key=Key("key-other-0123456789"))).accepted


@pytest.mark.requirement("GWY-03")
async def test_what_ended_long_ago_is_forgotten_at_a_start_and_its_key_is_never_executed_anew(room):
    placed = await room.gateway.submit(FAR, key=KEY)
    await room.gateway.cancel(ACCOUNT, placed.order_id, key=Key("cancel-0123456789abc"))
    await room.gateway.refreshed(placed.intent)
    room.clock.advance(timedelta(days=31).total_seconds())
    room.restart()

    await room.gateway.recover()

    assert not room.journal.intents
    with pytest.raises(KeyReused):
        await room.gateway.submit(FAR, key=KEY)
    assert room.broker.sent("place") == 1
