"""One suite for every implementation of the journal's port."""

from __future__ import annotations

from contextlib import asynccontextmanager
from datetime import timedelta
from decimal import Decimal

import anyio
import pytest

from fakes import ACCOUNT, START, USER, MemoryJournal
from ibkit.clock import ManualClock, SystemClock
from ibkit.errors import InFlight, KeyReused
from ibkit.model import AccountId, Environment, Key, OrderId, OrderStatus, Question, QuestionId
from ibkit.store import open_journal
from ibkit.trading.alert import Alert, AlertKind, Severity
from ibkit.trading.events import (
    Acknowledged,
    Attached,
    Claimed,
    Decided,
    Doubted,
    Expired,
    GaveUp,
    IntentId,
    LegAck,
    Operation,
    Progressed,
    Questioned,
    RefusedLocally,
    Replying,
    Resolved,
    Stage,
    TakenOver,
    UnknownReason,
)
from ibkit.trading.intent import IntentState
from ibkit.trading.ports import ControlsMoved, Fenced, Leg
from journal_words import KEY, bracket, claim, later, other_key, planned, send

pytestmark = pytest.mark.anyio


@pytest.fixture(params=["memory", "sqlite"])
async def journal(request, tmp_path):
    async with _opened(request.param, tmp_path) as opened:
        yield opened


@asynccontextmanager
async def _opened(kind, tmp_path):
    if kind == "memory":
        yield MemoryJournal(ManualClock(START))
    else:  # its disk takes real time, so whoever waits for it must wait in real time, too
        async with open_journal(tmp_path / "state" / "journal.sqlite", clock=SystemClock()) as opened:
            yield opened


def sending(epoch=0, serial=0):
    return (*claim(epoch), *send(serial))


@pytest.mark.requirement("GWY-03")
async def test_a_key_is_planned_once(journal):
    first, new = await journal.plan(planned())
    again, newer = await journal.plan(planned())

    assert (new, newer) == (True, False)
    assert again == first
    assert await journal.by_key(tenant="local", environment=Environment.PAPER, key=KEY) == first
    assert await journal.by_key(tenant="other", environment=Environment.PAPER, key=KEY) is None
    assert await journal.by_key(tenant="local", environment=Environment.LIVE, key=KEY) is None


@pytest.mark.requirement("GWY-06")
async def test_events_come_back_as_they_were_written(journal):
    intent, _ = await journal.plan(planned())
    question = Question(QuestionId("q-1"), ("o163",), ("price exceeds \nthe constraint",))
    events = (
        *sending(),
        Questioned(at=START, question=question),
        Replying(at=START, question_id=question.question_id, confirmed=True, why="allowed"),
        Acknowledged(at=START, order_id=OrderId("17437897932"), status=OrderStatus.SUBMITTED, evidence="answer"),
    )

    after = await journal.append(intent, *events)

    assert after.state is IntentState.ACKED
    assert await journal.get(intent.intent_id) == after
    assert await journal.events(intent.intent_id) == (intent.planned, *events)


@pytest.mark.requirement("GWY-06")
async def test_two_who_move_one_intent_have_one_winner(journal):
    intent, _ = await journal.plan(planned())
    await journal.append(intent, Claimed(at=START, owner="first"))

    with pytest.raises(InFlight):
        await journal.append(intent, Claimed(at=START, owner="second"))

    assert len(await journal.events(intent.intent_id)) == 2


@pytest.mark.requirement("GWY-06")
async def test_unfinished_denied_and_reducing_find_what_they_say(journal):
    working, _ = await journal.plan(planned())
    working = await journal.append(working, *sending())
    parent = working.intent_id
    old, _ = await journal.plan(planned(Key("key-expired-01234567"), "11", reduces=parent))
    old = await journal.append(old, Expired(at=START, reason="too old"))
    unknown, _ = await journal.plan(planned(Key("key-unknown-01234567"), "12"))
    unknown = await journal.append(
        unknown,
        *sending(serial=1),
        Doubted(at=START, reason="lost"),
        GaveUp(at=START, unknown=UnknownReason.PARKED, reason="parked"),
    )

    assert [i.intent_id for i in await journal.unfinished(USER)] == [working.intent_id]
    assert [i.intent_id for i in await journal.reducing(parent)] == [old.intent_id]
    assert [i.intent_id for i in await journal.denied(USER, since=START)] == [unknown.intent_id]
    assert await journal.denied(USER, since=START + timedelta(seconds=1)) == ()
    await journal.append(unknown, Resolved(at=START, by="operator", note="seen in TWS, cancelled"))
    assert await journal.denied(USER, since=START) == ()
    assert len(await journal.recent(limit=2)) == 2


@pytest.mark.requirement("TRD-22")
async def test_an_alert_is_stored_with_its_events_and_stays_one(journal):
    intent, _ = await journal.plan(planned())
    alert = Alert(
        kind=AlertKind.UNKNOWN_ORDER,
        severity=Severity.CRITICAL,
        subject=intent.ref,
        message="CRITICAL: unknown",
        at=START,
        details={"account": ACCOUNT},
    )
    await journal.append(
        intent,
        *sending(),
        Doubted(at=START, reason="lost"),
        GaveUp(at=START, unknown=UnknownReason.UNPROVEN, reason="r"),
        alert=alert,
    )
    await journal.alerts.put(alert)

    (opened,) = await journal.alerts.open()
    assert opened.alert_id
    assert opened.message == "CRITICAL: unknown"
    await journal.alerts.close(AlertKind.UNKNOWN_ORDER, intent.ref, at=START, note="found")
    assert await journal.alerts.open() == ()
    again = await journal.alerts.put(
        Alert(
            kind=alert.kind,
            severity=alert.severity,
            subject=alert.subject,
            message="again",
            at=START + timedelta(seconds=1),
        )
    )
    assert (await journal.alerts.open(kind=AlertKind.UNKNOWN_ORDER)) == (again,)


@pytest.mark.requirement("TRD-10")
async def test_a_user_name_has_one_conversation_at_a_time(journal):
    order = []

    async def talk(name):
        async with journal.conversation(USER, wait_s=60):
            order.append(f"{name} in")
            await anyio.lowlevel.checkpoint()
            order.append(f"{name} out")

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(talk, "a")
        tasks.start_soon(talk, "b")

    assert order in (["a in", "a out", "b in", "b out"], ["b in", "b out", "a in", "a out"])
    async with journal.conversation(USER, wait_s=0):
        with pytest.raises(InFlight):
            async with journal.conversation(USER, wait_s=0.1):
                pass
        async with journal.conversation("another-user", wait_s=0):
            pass


@pytest.mark.requirement("TRD-10")
async def test_an_epoch_rises_each_time_the_lane_is_taken(journal):
    async with journal.conversation(USER, wait_s=0) as first:
        pass
    async with journal.conversation(USER, wait_s=0) as second:
        pass
    async with journal.conversation("another-user", wait_s=0) as other:
        pass

    assert [first.epoch, second.epoch, other.epoch] == [1, 2, 1]
    assert (first.username, other.username) == (USER, "another-user")


@pytest.mark.requirement("TRD-10", "GWY-06")
async def test_whoever_lost_the_lane_can_neither_claim_nor_send_nor_reply(journal):
    """F105: it was stopped, and another went on meanwhile."""
    question = Question(QuestionId("q-1"), ("o163",), ("price exceeds",))
    fresh, _ = await journal.plan(planned(other_key(1)))
    async with journal.conversation(USER, wait_s=0) as lane:
        claimed, _ = await journal.plan(planned(other_key(2)))
        claimed = await journal.append(claimed, *claim(lane.epoch))
        asked, _ = await journal.plan(planned(other_key(3)))
        asked = await journal.append(asked, *sending(lane.epoch), Questioned(at=START, question=question))
    async with journal.conversation(USER, wait_s=0) as newer:
        pass

    reply = Replying(at=START, question_id=question.question_id, confirmed=True, why="allowed")
    for intent, events in (
        (fresh, claim(lane.epoch)),
        (fresh, claim(newer.epoch + 1)),
        (claimed, send(1)),
        (asked, (reply,)),
        (asked, (TakenOver(at=START, owner="late", epoch=lane.epoch),)),
    ):
        with pytest.raises(Fenced):
            await journal.append(intent, *events)
        assert await journal.get(intent.intent_id) == intent
    with pytest.raises(Fenced):
        await journal.still_held(claimed)

    await journal.append(claimed, RefusedLocally(at=START, code="E-RISK", control="RC-07", reason="too much"))
    taken = await journal.append(asked, TakenOver(at=START, owner="new", epoch=newer.epoch), reply)
    assert (taken.epoch, taken.state) == (newer.epoch, IntentState.REPLYING)
    await journal.still_held(taken)


@pytest.mark.requirement("GWY-06")
async def test_what_was_open_before_there_were_lanes_can_be_taken_over(journal):
    old, _ = await journal.plan(planned())
    old = await journal.append(old, *sending())
    assert old.epoch == 0

    async with journal.conversation(USER, wait_s=0) as lane:
        doubted = await journal.append(
            old, TakenOver(at=START, owner="new", epoch=lane.epoch), Doubted(at=START, reason="the process ended")
        )

    assert (doubted.epoch, doubted.state) == (1, IntentState.AMBIGUOUS)


@pytest.mark.requirement("TRD-18")
@pytest.mark.parametrize("stage", [Stage.SEND, Stage.CONFIRM])
async def test_a_decision_that_rests_on_the_past_sends_nothing(journal, stage):
    """Two orders that each fit into what is left of a limit: the second is judged again after the first was sent."""
    first, _ = await journal.plan(planned(other_key(1)))
    second, _ = await journal.plan(planned(other_key(2)))
    elsewhere, _ = await journal.plan(planned(other_key(3), account_id=AccountId("DU7654321")))
    first = await journal.append(first, *claim())
    second = await journal.append(second, *claim())
    await journal.append(first, *send(0))

    decided, leaving = send(0)
    stale = Decided(at=START, stage=stage, passed=True, version="v1", generation=0, serial=0)
    with pytest.raises(ControlsMoved):
        await journal.append(second, stale)
    with pytest.raises(ControlsMoved):
        await journal.append(second, decided, leaving)
    with pytest.raises(ControlsMoved):
        await journal.append(second, *send(1, generation=1))
    assert await journal.get(second.intent_id) == second

    refused = Decided(at=START, stage=stage, passed=False, version="v1", control="RC-07", serial=0)
    second = await journal.append(second, refused)
    assert (await journal.append(second, *send(1))).state is IntentState.SENDING
    assert (await journal.append(elsewhere, *sending())).state is IntentState.SENDING


@pytest.mark.requirement("TRD-18")
async def test_only_orders_and_changes_count_as_sends(journal):
    for number, operation in enumerate((Operation.PLACE, Operation.CANCEL, Operation.MODIFY)):
        intent, _ = await journal.plan(planned(other_key(number), operation=operation))
        intent = await journal.append(intent, *claim())
        await journal.append(intent, *send((0, 1, 1)[number]))

    third, _ = await journal.plan(planned(other_key(9)))
    with pytest.raises(ControlsMoved):
        await journal.append(third, *sending(serial=1))
    await journal.append(third, *sending(serial=2))


@pytest.mark.requirement("TRD-12")
async def test_the_legs_of_a_group_are_intents_of_their_own_and_come_in_the_order_of_their_places(journal):
    wish, (first, second) = bracket()
    parent, _ = await journal.plan(wish)
    acks = tuple(
        LegAck(number, leg.attached.order_id, leg.attached.status) for number, leg in ((1, first), (2, second))
    )
    acknowledged = Acknowledged(
        at=START, order_id=OrderId("900"), status=OrderStatus.SUBMITTED, evidence="answer", legs=acks
    )

    parent = await journal.append(parent, *sending(), acknowledged, legs=(second, first))

    legs = await journal.legs(parent.intent_id)
    assert [leg.planned for leg in legs] == [first.planned, second.planned]
    assert {leg.state for leg in legs} == {IntentState.ACKED}
    assert await journal.events(legs[0].intent_id) == (first.planned, first.attached)
    assert {leg.key for leg in legs} < {intent.key for intent in await journal.unfinished(USER)}
    assert await journal.legs(legs[0].intent_id) == ()
    assert await journal.by_key(tenant="local", environment=Environment.PAPER, key=first.planned.key) == legs[0]


@pytest.mark.requirement("TRD-12")
async def test_a_leg_of_which_no_place_is_told_comes_last(journal):
    wish, (first, second) = bracket()
    parent, _ = await journal.plan(wish)
    found = Leg(
        planned(other_key(3), "6", leg_of=parent.intent_id),
        Attached(at=START, order_id=OrderId("999"), status=OrderStatus.PRE_SUBMITTED),
    )
    acks = tuple(
        LegAck(number, leg.attached.order_id, leg.attached.status) for number, leg in ((1, first), (2, second))
    )
    acknowledged = Acknowledged(
        at=START, order_id=OrderId("900"), status=OrderStatus.SUBMITTED, evidence="answer", legs=acks
    )
    await journal.append(parent, *sending(), acknowledged, legs=(found, second, first))

    assert [leg.order_id for leg in await journal.legs(parent.intent_id)] == [
        first.attached.order_id,
        second.attached.order_id,
        "999",
    ]
    assert await journal.legs(IntentId("ib-never")) == ()


@pytest.mark.requirement("TRD-12", "TRD-22")
async def test_a_leg_that_is_there_stays_as_it_is(journal):
    wish, (first, second) = bracket()
    parent, _ = await journal.plan(wish)
    parent = await journal.append(parent, *sending(), Doubted(at=START, reason="lost"), legs=(first,))
    (leg,) = await journal.legs(parent.intent_id)
    filled = Progressed(
        at=START, status=OrderStatus.FILLED, filled=Decimal(4), average_price=Decimal("187.25"), refused=False
    )
    leg = await journal.append(leg, filled)

    await journal.append(parent, GaveUp(at=START, unknown=UnknownReason.UNPROVEN, reason="lost"), legs=(first, second))

    assert [found.state for found in await journal.legs(parent.intent_id)] == [IntentState.FILLED, IntentState.ACKED]
    assert await journal.get(leg.intent_id) == leg


@pytest.mark.requirement("TRD-12")
async def test_no_leg_is_stored_where_its_parent_moved_on(journal):
    wish, legs = bracket()
    parent, _ = await journal.plan(wish)
    await journal.append(parent, *claim())

    with pytest.raises(InFlight):
        await journal.append(parent, *claim(), legs=legs)

    assert await journal.legs(parent.intent_id) == ()


@pytest.mark.requirement("TRD-20")
async def test_open_orders_are_all_of_the_account_that_may_still_work(journal):
    """Ours, the legs of our groups, and what somebody else placed; of one account, whoever signed in."""
    attached = Attached(at=START, order_id=OrderId("17"), status=OrderStatus.SUBMITTED)
    elsewhere = AccountId("DU7654321")
    for number, more in ((1, {}), (2, {"account_id": elsewhere}), (3, {"username": "another-user"})):
        wish = planned(other_key(number), operation=Operation.EXTERNAL, at=later(-number), **more)
        intent, _ = await journal.plan(wish)
        await journal.append(intent, attached)
    unsent, _ = await journal.plan(planned(other_key(9)))
    wish, legs = bracket()
    parent, _ = await journal.plan(wish)
    ours = Acknowledged(at=START, order_id=OrderId("900"), status=OrderStatus.SUBMITTED, evidence="answer")
    await journal.append(parent, *sending(), ours, legs=legs)

    found = await journal.open_orders(ACCOUNT)

    assert [i.key for i in found] == [other_key(3), other_key(1), KEY, *(leg.planned.key for leg in legs)]
    assert [i.key for i in await journal.open_orders(elsewhere)] == [other_key(2)]
    ended = Progressed(at=START, status=OrderStatus.CANCELLED, filled=Decimal(0), average_price=None, refused=False)
    await journal.append(found[0], ended)
    assert [i.key for i in await journal.open_orders(ACCOUNT)][:2] == [other_key(1), KEY]
    assert unsent.order_id is None


@pytest.mark.requirement("TRD-20")
async def test_an_order_is_found_by_the_number_the_broker_gave_it(journal):
    wish, (leg, _) = bracket()
    parent, _ = await journal.plan(wish)
    ours = Acknowledged(at=START, order_id=OrderId("900"), status=OrderStatus.SUBMITTED, evidence="answer")
    parent = await journal.append(parent, *sending(), ours, legs=(leg,))
    change, _ = await journal.plan(planned(other_key(1), operation=Operation.MODIFY, target=OrderId("900")))
    await journal.append(change, *sending(serial=1), ours)

    assert await journal.by_order(ACCOUNT, OrderId("900")) == parent
    assert (await journal.by_order(ACCOUNT, leg.attached.order_id)).planned == leg.planned
    assert await journal.by_order(ACCOUNT, OrderId("1")) is None
    assert await journal.by_order(AccountId("DU7654321"), OrderId("900")) is None


@pytest.mark.requirement("TRD-18")
async def test_what_decisions_must_rest_on_can_be_asked(journal):
    assert await journal.controls(ACCOUNT) == (0, 0)
    intent, _ = await journal.plan(planned())
    intent = await journal.append(intent, *claim())
    await journal.append(intent, *send(0))
    assert await journal.controls(ACCOUNT) == (0, 1)
    assert await journal.controls(AccountId("DU7654321")) == (0, 0)


@pytest.mark.requirement("GWY-03")
async def test_what_ended_is_kept_30_days_and_its_key_for_400_more(journal):
    intent, _ = await journal.plan(planned())
    ended = await journal.append(intent, Expired(at=START, reason="too old"))

    assert await journal.purge(later(29.9)) == 0
    assert await journal.get(intent.intent_id) == ended
    assert await journal.purge(later(30)) == 1
    assert await journal.get(intent.intent_id) is None
    assert await journal.events(intent.intent_id) == ()
    assert await journal.recent() == ()
    for _ in range(2):
        with pytest.raises(KeyReused):
            await journal.by_key(tenant="local", environment=Environment.PAPER, key=KEY)
        with pytest.raises(KeyReused):
            await journal.plan(planned(at=later(31)))
        assert await journal.purge(later(429.9)) == 0

    assert await journal.purge(later(430)) == 1
    assert (await journal.plan(planned(at=later(431))))[1]


@pytest.mark.requirement("GWY-03")
async def test_nothing_is_purged_that_may_still_matter(journal):
    working, _ = await journal.plan(planned(other_key(1)))
    working = await journal.append(working, *sending())
    unknown, _ = await journal.plan(planned(other_key(2)))
    unknown = await journal.append(
        unknown,
        *sending(serial=1),
        Doubted(at=START, reason="lost"),
        GaveUp(at=START, unknown=UnknownReason.UNPROVEN, reason="lost"),
    )
    entry, _ = await journal.plan(planned(other_key(3)))
    entry = await journal.append(entry, Expired(at=START, reason="too old"))
    protection, _ = await journal.plan(planned(other_key(4), reduces=entry.intent_id))
    wish, (leg, _) = bracket(other_key(5))
    parent, _ = await journal.plan(wish)
    parent = await journal.append(parent, Expired(at=START, reason="too old"), legs=(leg,))

    assert await journal.purge(later(1000)) == 0
    for intent in (working, unknown, entry, protection, parent):
        assert await journal.get(intent.intent_id) == intent

    await journal.append(unknown, Resolved(at=later(1000), by="operator", note="cancelled in TWS"))
    await journal.append(protection, Expired(at=later(1000), reason="too old"))
    assert await journal.purge(later(1001)) == 0  # what was left to undo of the entry, its protection has to tell
    assert await journal.purge(later(1031)) == 3


@pytest.mark.requirement("GWY-03", "TRD-12")
async def test_a_leg_is_kept_as_long_as_the_group_it_left_with(journal):
    wish, (first, _) = bracket()
    parent, _ = await journal.plan(wish)
    parent = await journal.append(parent, *sending(), Doubted(at=START, reason="lost"), legs=(first,))
    (leg,) = await journal.legs(parent.intent_id)
    ended = Progressed(at=START, status=OrderStatus.CANCELLED, filled=Decimal(0), average_price=None, refused=False)
    leg = await journal.append(leg, ended)

    assert await journal.purge(later(31)) == 0
    await journal.append(parent, GaveUp(at=START, unknown=UnknownReason.UNPROVEN, reason="lost"), legs=(first,))

    assert await journal.legs(parent.intent_id) == (leg,)


async def test_a_journal_that_is_nobodys_copy_says_so(journal):
    assert not journal.restored
    await journal.clear_restored()
    assert not journal.restored


async def test_the_latest_are_fifty_unless_more_are_asked_for(journal):
    for number in range(52):
        await journal.plan(planned(other_key(number), at=later(number)))

    assert [i.key for i in await journal.recent()] == [other_key(number) for number in range(51, 1, -1)]
    assert len(await journal.recent(limit=51)) == 51


@pytest.mark.requirement("TRD-20")
async def test_the_user_names_of_an_account_are_those_with_something_open_or_denied(journal):
    elsewhere = AccountId("DU7654321")
    for number, (name, account) in enumerate(
        (("zoe", ACCOUNT), ("ada", ACCOUNT), ("eve", elsewhere), ("bob", ACCOUNT))
    ):
        wish = planned(other_key(number), username=name, account_id=account)
        intent, _ = await journal.plan(wish)
        if name == "bob":
            await journal.append(intent, Expired(at=START, reason="too old"))
        if name == "ada":
            gave_up = GaveUp(at=START, unknown=UnknownReason.UNPROVEN, reason="lost")
            await journal.append(intent, *sending(), Doubted(at=START, reason="lost"), gave_up)

    assert await journal.usernames((ACCOUNT,)) == ("ada", "zoe")
    assert await journal.usernames((elsewhere, ACCOUNT)) == ("ada", "eve", "zoe")
    assert await journal.usernames(()) == ()
