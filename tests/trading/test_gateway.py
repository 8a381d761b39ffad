"""The one door: at most once for a key, written down before it is sent, honest about what is known."""

from __future__ import annotations

import contextlib
import dataclasses
from decimal import Decimal

import anyio
import pytest

from fakes import ACCOUNT, Plan, stock_ticket
from ibkit.errors import (
    ConfigError,
    IbkitError,
    InFlight,
    KeyReused,
    NotFound,
    NotPermitted,
    OutcomeUnknown,
    RateLimited,
    Refused,
    StorageError,
    TradingError,
    Unreachable,
)
from ibkit.model import Key, OrderStatus, OrderType, TimeInForce
from ibkit.trading.alert import AlertKind
from ibkit.trading.events import Replying, Sending, UnknownReason
from ibkit.trading.intent import IntentState
from ibkit.trading.ports import Fenced, lane_of
from ibkit.trading.resolving import resolve_intent

KEY = Key("key-0123456789abcdef")
OTHER = Key("key-other-0123456789")
BUY = stock_ticket()

pytestmark = pytest.mark.anyio


async def resolve(room, intent_id, *, note):
    journal = room.journal
    return await resolve_intent(journal, journal.alerts, room.clock, intent_id, by="operator", note=note)


@pytest.mark.requirement("TRD-09", "TRD-10", "GWY-03")
async def test_the_same_key_and_terms_give_the_same_order(room):
    first = await room.gateway.submit(BUY, key=KEY)
    again = await room.gateway.submit(stock_ticket("10.00"), key=KEY)

    assert first.accepted
    assert again.cached
    assert again.order_id == first.order_id
    assert len(room.broker.accepted) == 1


@pytest.mark.requirement("TRD-18")
async def test_what_is_made_for_a_user_is_theirs_and_the_gateway_stays_nobodys(room):
    theirs = room.gateway.acting_for("ada", api_key="machine-1")

    hers = (await theirs.submit(BUY, key=KEY)).intent.planned
    nobodys = (await room.gateway.submit(BUY, key=OTHER, allow_duplicate=True)).intent.planned

    assert (hers.user, hers.api_key) == ("ada", "machine-1")
    assert (nobodys.user, nobodys.api_key) == ("", "")


@pytest.mark.requirement("GWY-03")
async def test_the_same_key_with_other_terms_is_refused_and_names_the_fields(room):
    await room.gateway.submit(BUY, key=KEY)

    with pytest.raises(KeyReused) as caught:
        await room.gateway.submit(stock_ticket("11"), key=KEY)

    assert caught.value.code == "E-IDEM-CONFLICT"
    assert caught.value.details["fields"] == ["quantity"]
    assert len(room.broker.accepted) == 1


@pytest.mark.requirement("GWY-03")
@pytest.mark.parametrize("key", ["", "short", "x" * 129, "with a blank in the key"])
async def test_a_malformed_key_is_refused_before_anything_is_stored(room, key):
    with pytest.raises(ConfigError) as caught:
        await room.gateway.submit(BUY, key=Key(key))

    assert caught.value.code == "E-VALIDATION"
    assert not room.journal.intents


@pytest.mark.requirement("GWY-03")
async def test_twenty_twins_in_flight_have_one_effect(room):
    outcomes = []

    async def one():
        outcomes.append(await room.gateway.submit(BUY, key=KEY))

    async with anyio.create_task_group() as tasks:
        for _ in range(20):
            tasks.start_soon(one)

    assert len({outcome.order_id for outcome in outcomes}) == 1
    assert len(room.broker.accepted) == 1


@pytest.mark.requirement("GWY-06", "TRD-22")
async def test_every_byte_is_preceded_by_its_journal_row(room):
    """S4: when the broker sees an order or a reply, the row that announces it is already there."""
    seen = []

    def witness(name, what):
        (intent,) = room.journal.intents.values()
        expected = {"place": IntentState.SENDING, "reply": IntentState.REPLYING}[name]
        seen.append((name, intent.state is expected))

    room.broker.on_bytes = witness
    room.broker.plans.append(Plan(asks=(("o10331",), ("o163",))))

    await room.gateway.submit(BUY, key=KEY)

    assert seen == [("place", True), ("reply", True), ("reply", True)]


@pytest.mark.requirement("OPT-07", "TRD-22")
async def test_a_journal_that_cannot_write_sends_nothing(room):
    room.journal.fail = lambda events: any(isinstance(event, Sending) for event in events)

    with pytest.raises(StorageError):
        await room.gateway.submit(BUY, key=KEY)

    assert room.broker.sent("place") == 0


@pytest.mark.requirement("TRD-22")
async def test_a_process_that_slept_between_row_and_bytes_does_not_send(room):
    """F91: two seconds after the row was written its time is over."""
    slow = iter([True, False, False, False])
    append = room.journal.append

    async def sleepy(intent, *events, alert=None):
        after = await append(intent, *events, alert=alert)
        if any(isinstance(event, Sending) for event in events) and next(slow):
            room.clock.advance(3.0)
        return after

    room.journal.append = sleepy

    outcome = await room.gateway.submit(BUY, key=KEY)

    assert outcome.accepted
    kinds = [type(event).__name__ for event in await room.journal.events(outcome.intent.intent_id)]
    assert kinds.count("Sending") == 2
    assert "NotSent" in kinds
    assert room.broker.sent("place") == 1


@pytest.mark.requirement("TRD-22")
async def test_a_process_that_was_overtaken_between_row_and_bytes_does_not_send(room):
    """F105: however short it slept, another one that took its lane has looked, or will, and decides."""
    append = room.journal.append
    overtaken = iter([True, False])

    async def overtake(intent, *events, alert=None):
        after = await append(intent, *events, alert=alert)
        if any(isinstance(event, Sending) for event in events) and next(overtaken):
            room.journal.epochs[lane_of(intent.planned)] += 1
        return after

    room.journal.append = overtake

    with pytest.raises(Fenced):
        await room.gateway.submit(BUY, key=KEY)
    assert room.broker.sent("place") == 0
    outcome = await room.gateway.submit(BUY, key=KEY)

    assert outcome.accepted
    kinds = [type(event).__name__ for event in await room.journal.events(outcome.intent.intent_id)]
    assert kinds.count("Sending") == 2
    assert "NotSent" in kinds
    assert room.broker.sent("place") == 1


@pytest.mark.requirement("TRD-22")
async def test_what_surely_did_not_leave_may_be_sent_again_with_the_same_key(room):
    room.plan("unsent")

    with pytest.raises(Unreachable):
        await room.gateway.submit(BUY, key=KEY)
    outcome = await room.gateway.submit(BUY, key=KEY)

    assert outcome.accepted
    assert len(room.broker.accepted) == 1


@pytest.mark.requirement("TRD-22", "TRD-18")
async def test_an_old_intent_is_never_fired(room):
    room.plan("unsent")
    with pytest.raises(Unreachable):
        await room.gateway.submit(BUY, key=KEY)
    room.clock.advance(31)

    outcome = await room.gateway.submit(BUY, key=KEY)

    assert outcome.state is IntentState.EXPIRED_LOCAL
    assert outcome.error.details["control"] == "RC-26"
    assert room.broker.sent("place") == 0


@pytest.mark.requirement("TRD-22")
@pytest.mark.parametrize("fault", ["lost_after", "s400_but_placed", "late"])
async def test_a_lost_answer_is_found_and_not_sent_again(room, fault):
    room.plan(fault)

    outcome = await room.gateway.submit(BUY, key=KEY)

    assert outcome.accepted
    assert outcome.order_id == room.broker.accepted[0].order_id
    assert room.broker.sent("place") == 1


@pytest.mark.requirement("TRD-22")
async def test_an_order_lost_on_its_way_ends_as_not_placed_after_the_settle_window(room):
    room.plan("lost_before")
    begun = room.clock.monotonic()

    outcome = await room.gateway.submit(BUY, key=KEY)

    assert outcome.state is IntentState.NOT_PLACED
    assert 60 <= room.clock.monotonic() - begun <= 120
    assert room.broker.sent("place") == 1
    again = await room.gateway.submit(BUY, key=KEY)
    assert again.cached
    assert room.broker.sent("place") == 1


@pytest.mark.requirement("TRD-22", "TRD-11")
@pytest.mark.parametrize(("fault", "code"), [("s400", "E-VALIDATION"), ("s429", "E-RATE")])
async def test_a_refusal_by_status_is_believed_after_one_look(room, fault, code):
    room.plan(fault)

    outcome = await room.gateway.submit(BUY, key=KEY)

    assert outcome.state is IntentState.REJECTED_BROKER
    assert outcome.error.code == code
    assert outcome.intent.list_absences == 1


@pytest.mark.requirement("TRD-22")
async def test_a_new_session_makes_absence_unprovable(room):
    """The list is scoped to the session: what it does not show afterwards proves nothing."""
    room.plan("lost_before")
    read = room.broker.read_orders
    looks = 0

    async def read_then_reset(account_id):
        nonlocal looks
        looks += 1
        if looks == 5:
            room.broker.new_session()
        return await read(account_id)

    room.broker.read_orders = read_then_reset

    outcome = await room.gateway.submit(BUY, key=KEY)

    assert outcome.unknown
    assert outcome.error.code == "E-ORD-UNKNOWN"
    (alert,) = await room.journal.alerts.open()
    assert alert.kind is AlertKind.UNKNOWN_ORDER


@pytest.mark.requirement("TRD-22")
async def test_reads_that_fail_for_long_end_as_unknown(room):
    await room.started()
    room.plan("lost_after")
    room.broker.read_faults.extend([True] * 500)

    outcome = await room.gateway.submit(BUY, key=KEY)

    assert outcome.unknown
    assert len(room.broker.accepted) == 1


@pytest.mark.requirement("TRD-11", "TRD-22")
async def test_already_registered_is_never_a_rejection(room):
    """Another send of ours arrived, and the list does not show it: unknown, not refused and not absent."""
    room.broker.known_refs.add(ref_of(KEY))

    outcome = await room.gateway.submit(BUY, key=KEY)

    assert outcome.unknown
    assert outcome.error.code == "E-ORD-UNKNOWN"


@pytest.mark.requirement("TRD-11")
async def test_inactive_at_once_is_a_refusal_with_its_reason(room):
    room.plan("inactive")

    outcome = await room.gateway.submit(BUY, key=KEY)

    assert outcome.state is IntentState.REJECTED_LATE
    assert "margin" in outcome.error.message
    assert isinstance(outcome.error, Refused)


@pytest.mark.requirement("TRD-11")
async def test_a_rejection_in_a_200_keeps_the_brokers_words(room):
    room.plan("reject")

    outcome = await room.gateway.submit(BUY, key=KEY)

    assert outcome.error.code == "E-ORD-REJECT"
    assert "YOUR ORDER IS NOT ACCEPTED" in outcome.error.message
    with pytest.raises(Refused):
        outcome.require()


@pytest.mark.requirement("TRD-22")
async def test_an_answer_of_another_order_is_not_taken_for_ours(room):
    room.plan("foreign")

    outcome = await room.gateway.submit(BUY, key=KEY)

    assert outcome.order_id == room.broker.accepted[0].order_id  # found by its ref
    assert [alert.kind for alert in await room.journal.alerts.open()] == [AlertKind.FOREIGN_ANSWER]


@pytest.mark.requirement("TRD-10")
async def test_a_known_question_is_answered_once_directly_after_the_order(room):
    room.broker.plans.append(Plan(asks=(("o10331",),)))

    outcome = await room.gateway.submit(BUY, key=KEY)

    assert outcome.accepted
    assert [call.split()[0] for call in room.broker.calls[-2:]] == ["place", "reply"]
    assert room.broker.calls[-1] == "reply yes"


@pytest.mark.requirement("TRD-10")
async def test_a_question_that_comes_a_second_time_is_not_answered_again(room):
    """Fault F14: the answer to an earlier call. A yes could be to another order."""
    heard = []
    original = room.broker.place

    async def place(*given, **more):
        answer = await original(*given, **more)
        heard.append(answer)
        return heard[0]

    room.broker.place = place
    room.broker.plans.extend([Plan(asks=(("o10331",),)), Plan(asks=(("o10331",),))])
    assert (await room.gateway.submit(BUY, key=KEY)).accepted

    outcome = await room.gateway.submit(dataclasses.replace(BUY, quantity=Decimal(2)), key=Key(f"{KEY}-2"))

    assert room.broker.sent("reply") == 1
    assert not outcome.accepted
    assert len(room.broker.accepted) == 1


@pytest.mark.requirement("TRD-10")
async def test_an_unknown_question_is_declined_and_told(room):
    room.broker.plans.append(Plan(asks=(("o99999",),)))

    outcome = await room.gateway.submit(BUY, key=KEY)

    assert outcome.state is IntentState.REJECTED_POLICY
    assert isinstance(outcome.error, TradingError)
    assert outcome.error.code == "E-ORD-QUESTION"
    assert "text of o99999" in outcome.error.message
    assert "--confirm o99999" in outcome.error.remedy
    assert room.broker.calls[-1] == "reply no"
    assert not room.broker.accepted


@pytest.mark.requirement("TRD-10")
async def test_a_person_may_confirm_an_unknown_question_for_one_order(room):
    room.broker.plans.append(Plan(asks=(("o99999",),)))

    outcome = await room.gateway.submit(BUY, key=KEY, confirm=("o99999",))

    assert outcome.accepted


@pytest.mark.requirement("TRD-10")
async def test_five_questions_are_answered_and_a_sixth_is_declined(room):
    room.broker.plans.append(Plan(asks=(("o163",),) * 5))
    assert (await room.gateway.submit(BUY, key=KEY)).accepted

    room.broker.plans.append(Plan(asks=(("o163",),) * 40))
    outcome = await room.gateway.submit(BUY, key=OTHER)

    assert outcome.state is IntentState.REJECTED_POLICY
    assert room.broker.calls[-6:] == ["reply yes"] * 5 + ["reply no"]


@pytest.mark.requirement("TRD-10", "TRD-22")
async def test_an_error_after_a_reply_goes_to_reconciliation(room):
    room.broker.plans.append(Plan(asks=(("o10331",),)))
    room.broker.reply_faults.append("lost_after")

    outcome = await room.gateway.submit(BUY, key=KEY)

    assert outcome.accepted
    assert room.broker.sent("reply") == 1


@pytest.mark.requirement("TRD-22")
async def test_an_order_parked_behind_a_lost_reply_is_unknown_and_blocks_other_confirmations(room):
    """F116, F117: it may still go live, and another yes could release it."""
    room.broker.plans.append(Plan(asks=(("o10331",),)))
    room.broker.reply_faults.append("lost_before")

    outcome = await room.gateway.submit(BUY, key=KEY)

    assert outcome.unknown
    assert outcome.intent.unknown.value == "parked"
    room.broker.plans.append(Plan(asks=(("o10331",),)))
    other = await room.gateway.submit(stock_ticket("5"), key=OTHER)
    assert other.state is IntentState.REJECTED_POLICY
    assert not room.broker.accepted


@pytest.mark.requirement("TRD-22")
async def test_a_person_who_looked_into_an_unknown_order_sets_the_others_free(room):
    room.broker.plans.append(Plan(asks=(("o10331",),)))
    room.broker.reply_faults.append("lost_before")
    unknown = await room.gateway.submit(BUY, key=KEY)

    resolved = await resolve(room, unknown.intent.intent_id, note="cancelled in TWS")

    assert resolved.resolved
    room.broker.plans.append(Plan(asks=(("o10331",),)))
    assert (await room.gateway.submit(stock_ticket("5"), key=OTHER)).accepted
    with pytest.raises(NotFound):
        await resolve(room, "ib-nothing", note="")


@pytest.mark.requirement("TRD-10")
async def test_a_reply_that_did_not_leave_is_made_again(room):
    room.broker.plans.append(Plan(asks=(("o10331",),)))
    room.broker.reply_faults.extend(["unsent", "unsent"])

    outcome = await room.gateway.submit(BUY, key=KEY)

    assert outcome.accepted
    assert room.broker.sent("reply") == 1


@pytest.mark.requirement("TRD-18")
async def test_a_refusal_by_a_limit_is_stored_and_stays(room):
    big = stock_ticket("10001")

    outcome = await room.gateway.submit(big, key=KEY)

    assert outcome.error.code == "E-RISK"
    assert outcome.error.details["control"] == "RC-07"
    assert "10001 > 10000" in outcome.error.message
    assert (await room.gateway.submit(big, key=KEY)).cached
    assert room.broker.sent("place") == 0


@pytest.mark.requirement("TRD-12")
async def test_cancel_ends_with_cancelled(room):
    limit = stock_ticket(order_type=OrderType.LIMIT, limit_price=Decimal("600.00"))
    placed = await room.gateway.submit(limit, key=KEY)

    outcome = await room.gateway.cancel(ACCOUNT, placed.order_id, key=OTHER)

    assert outcome.state is IntentState.CANCELLED


@pytest.mark.requirement("TRD-12")
async def test_cancel_of_a_filled_order_says_so(room):
    placed = await room.gateway.submit(BUY, key=KEY)

    outcome = await room.gateway.cancel(ACCOUNT, placed.order_id, key=OTHER)

    assert outcome.state is IntentState.FILLED


@pytest.mark.requirement("TRD-12")
async def test_cancel_of_an_unknown_order_gives_the_brokers_text(room):
    outcome = await room.gateway.cancel(ACCOUNT, "424242", key=OTHER)

    assert "424242 doesn't exist" in outcome.error.message


@pytest.mark.requirement("TRD-12")
@pytest.mark.parametrize("fault", ["lost_before", "lost_after"])
async def test_a_lost_cancel_is_carried_through(room, fault):
    limit = stock_ticket(order_type=OrderType.LIMIT, limit_price=Decimal("600.00"))
    placed = await room.gateway.submit(limit, key=KEY)
    room.broker.cancel_faults.append(fault)

    outcome = await room.gateway.cancel(ACCOUNT, placed.order_id, key=OTHER)

    assert outcome.state is IntentState.CANCELLED


@pytest.mark.requirement("TRD-12", "TRD-22")
async def test_a_cancel_that_a_proxy_refused_is_not_called_refused_while_it_may_still_work(room):
    limit = stock_ticket(order_type=OrderType.LIMIT, limit_price=Decimal("600.00"))
    placed = await room.gateway.submit(limit, key=KEY)
    room.broker.cancel_faults.extend(["refused_but_late"] * 3)

    outcome = await room.gateway.cancel(ACCOUNT, placed.order_id, key=OTHER)

    assert outcome.state is IntentState.CANCELLED


@pytest.mark.requirement("TRD-12")
@pytest.mark.parametrize(
    ("fault", "state"),
    [
        ("ok", IntentState.ACKED),
        ("lost_after", IntentState.ACKED),
        ("lost_before", IntentState.NOT_PLACED),
    ],
)
async def test_a_change_is_made_once_and_checked_at_the_order(room, fault, state):
    limit = stock_ticket(order_type=OrderType.LIMIT, limit_price=Decimal("600.00"))
    placed = await room.gateway.submit(limit, key=KEY)
    room.broker.cancel_faults.append(fault)
    changed = stock_ticket(order_type=OrderType.LIMIT, limit_price=Decimal("601.00"))

    outcome = await room.gateway.modify(placed.order_id, changed, key=OTHER)

    assert outcome.state is state
    assert room.broker.sent("modify") == 1
    assert len(room.broker.accepted) == 1


@pytest.mark.requirement("TRD-22", "GWY-06")
async def test_a_start_settles_what_a_dead_process_left_behind(room):
    """The bytes left, then the process died: the next start finds the order and sends nothing."""

    class Died(BaseException):
        pass

    append = room.journal.append

    async def dies_after_the_answer(intent, *events, alert=None):
        if intent.state is IntentState.SENDING:
            raise Died
        return await append(intent, *events, alert=alert)

    room.journal.append = dies_after_the_answer
    with pytest.raises(BaseException):  # noqa: B017  # Died, perhaps in a group
        await room.gateway.submit(BUY, key=KEY)
    room.journal.append = append
    room.restart()

    (settled,) = await room.gateway.recover()
    again = await room.gateway.submit(BUY, key=KEY)

    assert settled.state is IntentState.ACKED
    assert again.cached
    assert len(room.broker.accepted) == 1
    assert room.broker.sent("place") == 1


@pytest.fixture
async def left_asked(room):
    """The order whose process died with IBKR's question on disk, and no answer to it. Source: fault F45."""

    class Died(BaseException):
        pass

    append = room.journal.append

    async def dies_before_replying(intent, *events, alert=None):
        if any(isinstance(event, Replying) for event in events):
            raise Died
        return await append(intent, *events, alert=alert)

    room.broker.plans.append(Plan(asks=(("o10331",),)))
    room.journal.append = dies_before_replying
    with pytest.raises(BaseException):  # noqa: B017
        await room.gateway.submit(BUY, key=KEY)
    room.journal.append = append
    room.restart()
    return room


@pytest.mark.requirement("TRD-22")
async def test_a_question_left_open_is_declined_at_the_next_start(left_asked):
    """F45: with its reply id at hand the parked order is told no."""
    (settled,) = await left_asked.gateway.recover()

    assert settled.state is IntentState.REJECTED_POLICY
    assert not left_asked.broker.parked


@pytest.mark.requirement("OPS-03", "TRD-22")
async def test_an_older_copy_of_the_journal_answers_no_question(left_asked):
    """It may lack the answer that was given (faults F45, F100): the order is looked for instead."""
    left_asked.journal.restored = True

    (settled,) = await left_asked.gateway.recover()

    assert left_asked.broker.sent("reply") == 0
    assert (settled.state, settled.unknown) == (IntentState.UNKNOWN_NEEDS_HUMAN, UnknownReason.PARKED)
    assert left_asked.broker.parked


@pytest.mark.requirement("TRD-22")
async def test_an_order_that_surfaces_after_it_was_denied_is_adopted_with_an_alert(room):
    """V broken on purpose: it is seen only after the settle window."""
    room.broker.plans.append(Plan("lost_after", delay_s=400))
    limit = stock_ticket(order_type=OrderType.LIMIT, limit_price=Decimal("600.00"))
    denied = await room.gateway.submit(limit, key=KEY)
    assert denied.state is IntentState.NOT_PLACED
    room.clock.advance(400)

    await room.gateway.recover()

    adopted = await room.gateway.find(KEY)
    assert adopted.state is IntentState.ACKED
    assert [alert.kind for alert in await room.journal.alerts.open()] == [AlertKind.LATE_ORDER]


@pytest.mark.requirement("TRD-22")
async def test_the_probe_sends_the_same_ref_again_only_when_opted_in(room):
    import dataclasses

    room.resend = True
    room.limits = dataclasses.replace(room.limits, max_age_s=600.0)
    room.restart()
    room.plan("lost_before")

    outcome = await room.gateway.submit(BUY, key=KEY)

    assert outcome.accepted
    assert room.broker.sent("place") == 2
    assert len(room.broker.accepted) == 1


@pytest.mark.requirement("TRD-10")
async def test_a_busy_conversation_gives_in_flight_and_sends_nothing(room):
    async with room.journal.conversation(room.broker.username, wait_s=0):
        with pytest.raises(InFlight):
            await room.gateway.submit(BUY, key=KEY)

    assert room.broker.sent("place") == 0


@pytest.mark.requirement("TRD-22")
async def test_a_cancelled_caller_leaves_a_settled_order(room):
    """Ctrl-C between the bytes and the answer: the answer is still stored."""
    place = room.broker.place

    async def slow(ticket, *, ref, **rest):
        answer = await place(ticket, ref=ref, **rest)
        scope.cancel()
        await anyio.lowlevel.checkpoint()
        return answer

    room.broker.place = slow
    with anyio.CancelScope() as scope:
        await room.gateway.submit(BUY, key=KEY)

    stored = await room.gateway.find(KEY)
    assert stored.state is IntentState.ACKED
    assert stored.order_status in (OrderStatus.SUBMITTED, OrderStatus.FILLED)


def ref_of(key):
    from ibkit.model import Environment
    from ibkit.trading.ref import derive_ref

    return derive_ref(tenant="local", environment=Environment.PAPER, key=key)


@pytest.mark.requirement("TRD-10", "TRD-22")
async def test_an_order_that_had_to_queue_is_sent_only_while_its_time_lasts(room):
    """Behind the journal row the wire may make it wait: what would leave after 2 s is judged anew (fault F91)."""
    room.broker.waits.extend([0.0, 3.0, 1.0])
    await room.gateway.submit(stock_ticket("1"), key=OTHER)
    outcome = await room.gateway.submit(BUY, key=KEY)

    assert outcome.accepted
    assert len(room.broker.accepted) == 2
    names = [type(event).__name__ for event in room.journal.log[outcome.intent.intent_id]]
    assert names.count("Sending") == 2
    assert names.count("NotSent") == 1


@pytest.mark.requirement("TRD-10", "TRD-22")
async def test_an_order_that_never_gets_through_ends_with_its_age(room):
    room.broker.waits.extend([3.0] * 40)
    outcome = await room.gateway.submit(stock_ticket(order_type=OrderType.LIMIT, limit_price=Decimal(630)), key=KEY)

    assert outcome.state in (IntentState.EXPIRED_LOCAL, IntentState.REJECTED_LOCAL)
    assert not room.broker.accepted


@pytest.mark.requirement("TRD-17", "LIM-03")
@pytest.mark.parametrize(
    ("error", "state"),
    [
        (NotPermitted("Read-only mode", code="E-READONLY", details={"unsent": True}), IntentState.REJECTED_LOCAL),
        (RateLimited("blocked", code="E-PENALTY", details={"unsent": True}), IntentState.INTENT),
        (OutcomeUnknown("the sign-in was not answered", details={"unsent": True}), IntentState.INTENT),
    ],
)
async def test_what_our_own_side_held_back_is_not_looked_for_at_ibkr(room, error, state):
    async def held_back(*_args, **_named):
        raise error

    await room.started()
    room.broker.place = held_back
    begun = room.clock.monotonic()
    with contextlib.suppress(IbkitError):
        await room.gateway.submit(BUY, key=KEY)
    intent = await room.gateway.find(KEY)
    assert intent.state is state
    assert room.clock.monotonic() - begun < 5
    assert "orders" not in room.broker.calls


@pytest.mark.requirement("TRD-20", "TRD-22")
@pytest.mark.parametrize(("filled", "state"), [("0", IntentState.CANCELLED), ("10", IntentState.FILLED)])
async def test_a_day_order_that_ended_unwatched_is_ended_in_the_journal(room, filled, state):
    """IBKR tells no status of it on a later day; it must not count as open for ever (fault F56)."""
    limit = stock_ticket(order_type=OrderType.LIMIT, limit_price=Decimal("600.00"))
    placed = await room.gateway.submit(limit, key=KEY)
    if filled != "0":
        room.broker.fill(placed.order_id, Decimal(filled), Decimal("600.00"))
    room.broker.accepted.clear()  # as on the next day: no row, no status
    room.clock.advance(86_400)
    room.broker.new_session()

    await room.gateway.recover()

    intent = await room.gateway.find(KEY)
    assert intent.state is state
    assert intent.filled == Decimal(filled)


@pytest.mark.requirement("TRD-22")
async def test_a_good_till_cancelled_order_is_not_ended_because_a_day_went_by(room):
    limit = stock_ticket(order_type=OrderType.LIMIT, limit_price=Decimal("600.00"), tif=TimeInForce.GTC)
    placed = await room.gateway.submit(limit, key=KEY)
    room.broker.accepted.clear()
    room.clock.advance(86_400)
    room.broker.new_session()

    await room.gateway.recover()

    assert placed.state is IntentState.ACKED
    assert (await room.gateway.find(KEY)).state is IntentState.ACKED


@pytest.mark.requirement("TRD-12", "TRD-22")
async def test_a_cancel_left_armed_again_is_not_called_unsent_while_its_first_send_may_act(room, monkeypatch):
    limit = stock_ticket(order_type=OrderType.LIMIT, limit_price=Decimal("600.00"))
    placed = await room.gateway.submit(limit, key=KEY)
    room.broker.cancel_faults.append("lost_but_late")
    marks = iter([room.broker.mark, None])
    mark = room.broker.mark

    async def dying_at_the_second_send():
        if next(marks, None) is None:
            raise Unreachable("the process ends here")
        return await mark()

    monkeypatch.setattr(room.broker, "mark", dying_at_the_second_send)
    with pytest.raises(Unreachable):
        await room.gateway.cancel(ACCOUNT, placed.order_id, key=OTHER)
    monkeypatch.undo()
    left = await room.gateway.find(OTHER)
    assert left.state is IntentState.CLAIMED
    room.clock.advance(31)

    await room.gateway.recover()

    assert (await room.gateway.find(OTHER)).order_status is OrderStatus.CANCELLED
