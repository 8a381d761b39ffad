"""Settling what is in doubt: what is looked at, what is written down, when it ends, and what is told meanwhile."""

from __future__ import annotations

import dataclasses
from datetime import timedelta
from decimal import Decimal

import pytest

from doubts import LIMIT, MARK, REF, acknowledged, doubted, executed, fill, listed, planned, row
from fakes import ACCOUNT, START, FakeBroker, MemoryJournal, stock_ticket
from ibkit.clock import ManualClock
from ibkit.errors import OutcomeUnknown, Unreachable
from ibkit.model import OrderId, OrderStatus, OrderType, TimeInForce, Trail
from ibkit.trading import events
from ibkit.trading.alert import AlertKind, Severity
from ibkit.trading.events import Operation, UnknownReason
from ibkit.trading.intent import IntentState
from ibkit.trading.ports import SessionMark
from ibkit.trading.reconcile import (
    GIVE_UP_S,
    LOOK_PAUSE_S,
    READS,
    SETTLE_S,
    Reconciler,
    late_order_alert,
    matches_ticket,
    progressed,
)
from ibkit.trading.timeline import StepKind

pytestmark = [pytest.mark.anyio, pytest.mark.requirement("TRD-22")]

DOWN = OutcomeUnknown("no answer within 15 s")
TARGET = OrderId("17")
UNSHOWN = {
    "trail": stock_ticket(order_type=OrderType.TRAIL, trail=Trail(Decimal(1))),
    "offset": stock_ticket(order_type=OrderType.RELATIVE, limit_price=Decimal(629), offset=Decimal(1)),
}


class Desk:
    """A reconciler over a broker that shows what a test says, look after look (the last again and again)."""

    def __init__(self, **options) -> None:
        self.clock = ManualClock(START - timedelta(hours=1))
        self.clock.advance(3_600)  # the clock that never jumps counts from somewhere
        self.journal = MemoryJournal(self.clock)
        self.lists, self.trades, self.statuses = [listed()], [executed()], [None]
        self.asked, self.looks, self.steps = [], [], []
        broker = FakeBroker(self.clock)
        broker.read_orders, broker.read_fills, broker.order = self._read_orders, self._read_fills, self._order
        self.reconciler = Reconciler(broker, self.journal, self.clock, self.steps.append, **options)

    async def settle(self, intent):
        self.journal.intents[intent.intent_id], self.journal.log[intent.intent_id] = intent, []
        return await self.reconciler.settle(intent)

    @property
    def log(self):
        return self.journal.log[REF]

    @property
    def texts(self):
        return [step.text for step in self.steps]

    async def _read_orders(self, account_id):
        self.looks.append(self.clock.monotonic())
        return self._next(self.lists, account_id)

    async def _read_fills(self, account_id, *, days):
        return self._next(self.trades, (account_id, days))

    async def _order(self, order_id):
        self.looks.append(self.clock.monotonic())
        return self._next(self.statuses, order_id)

    def _next(self, answers, asked):
        self.asked.append(asked)
        answer = answers.pop(0) if len(answers) > 1 else answers[0]
        if isinstance(answer, Exception):
            raise answer
        return answer


@pytest.fixture
def desk():
    return Desk()


def change(ticket=LIMIT, **doubt):
    return doubted(planned(ticket, operation=Operation.MODIFY, target=TARGET), **doubt)


def cancel(**doubt):
    return doubted(planned(None, operation=Operation.CANCEL, target=TARGET), **doubt)


def at_target(**changes):
    return row(order_id=TARGET, **changes)


def since(intent, seconds):
    """As if the doubt had arisen `seconds` before now, in an earlier process."""
    return dataclasses.replace(intent, settle_from=START - timedelta(seconds=seconds))


# -- a placement --------------------------------------------------------------------------------------------------


async def test_an_order_in_the_list_is_acknowledged_at_the_first_look(desk):
    desk.lists = [listed(row())]
    settled = await desk.settle(doubted())

    assert (settled.state, settled.order_id, settled.order_status) == (IntentState.ACKED, "1001", OrderStatus.SUBMITTED)
    assert desk.log == [
        events.Acknowledged(
            at=START, order_id=OrderId("1001"), status=OrderStatus.SUBMITTED, evidence="orders list", legs=()
        )
    ]
    assert desk.asked == [ACCOUNT, (ACCOUNT, 7)], "a week of executions, of this account"
    assert desk.texts == ["looking for it at IBKR: no answer"]
    assert (desk.steps[0].kind, desk.steps[0].at, desk.steps[0].details) == (
        StepKind.RECONCILING,
        START,
        {"ref": REF},
    )
    assert desk.clock.monotonic() == desk.looks[0], "nothing is waited for once it is settled"


async def test_two_orders_under_one_ref_are_told_at_once_and_the_first_is_followed(desk):
    desk.lists = [listed(row(), row(order_id="1002"))]
    settled = await desk.settle(doubted())

    assert settled.order_id == "1001"
    assert desk.log[0].evidence == "orders list (twice!)"
    (alert,) = desk.journal.alerts.all
    assert (alert.kind, alert.severity, alert.subject, alert.at) == (
        AlertKind.DOUBLE_ORDER,
        Severity.CRITICAL,
        REF,
        START,
    )
    assert alert.details == {"account": ACCOUNT, "order": "1001"}
    assert alert.message == f"CRITICAL: {LIMIT.label}: two orders at IBKR carry the ref {REF}"


async def test_other_terms_under_our_ref_are_for_a_person(desk):
    desk.lists = [listed(row(side=LIMIT.side.opposite))]
    settled = await desk.settle(doubted())

    assert (settled.state, settled.unknown) == (IntentState.UNKNOWN_NEEDS_HUMAN, UnknownReason.UNPROVEN)
    assert settled.reason == "order 1001 carries our ref, but other terms"
    (alert,) = desk.journal.alerts.all
    assert (alert.kind, alert.severity, alert.subject, alert.at) == (
        AlertKind.UNKNOWN_ORDER,
        Severity.CRITICAL,
        REF,
        START,
    )
    assert alert.details == {"account": ACCOUNT, "key": settled.key}
    assert alert.message == (
        f"CRITICAL: {LIMIT.label}: order state unknown: order 1001 carries our ref, but other terms. "
        "Do not send it again."
    )


async def test_absence_is_believed_after_three_lists_after_the_settle_window(desk):
    settled = await desk.settle(doubted())

    assert settled.state is IntentState.NOT_PLACED
    assert settled.reason == "proven not to be at IBKR (no answer)"
    early = [at for at in desk.looks if at - desk.looks[0] < SETTLE_S]
    assert len(desk.looks) - len(early) == READS == 3
    assert all(
        later - earlier == pytest.approx(LOOK_PAUSE_S)
        for earlier, later in zip(desk.looks, desk.looks[1:], strict=False)
    )
    looked = [event for event in desk.log if isinstance(event, events.Looked)]
    assert [(e.list_absent, e.fills_absent, e.parked, e.note) for e in looked] == [(True, True, False, "not found")] * 3
    assert [e.at - START for e in looked] == [timedelta(seconds=each) for each in (61.2, 66.3, 71.4)]
    assert not desk.journal.alerts.all


async def test_three_lists_prove_nothing_without_the_executions(desk):
    desk.trades = [DOWN] * 20 + [executed()]
    settled = await desk.settle(doubted())

    assert settled.state is IntentState.NOT_PLACED
    looked = [event for event in desk.log if isinstance(event, events.Looked)]
    assert [(e.list_absent, e.fills_absent) for e in looked] == [(True, False)] * (len(looked) - 1) + [(True, True)]
    assert len(looked) > READS


async def test_executions_read_once_count_though_a_later_read_of_them_fails(desk):
    desk.trades = [executed()] * 13 + [DOWN]
    settled = await desk.settle(doubted())

    looked = [event for event in desk.log if isinstance(event, events.Looked)]
    assert [(e.list_absent, e.fills_absent) for e in looked] == [(True, True), (True, False), (True, False)]
    assert settled.state is IntentState.NOT_PLACED


@pytest.mark.parametrize("shown", [DOWN, listed(complete=False)], ids=["unreadable", "cut"])
async def test_the_executions_alone_prove_no_absence_and_are_not_looked_at_for_ever(desk, shown):
    """A list that is never whole beside executions that can be read: a person is told after five minutes."""
    desk.lists = [shown]
    settled = await desk.settle(doubted())

    assert (settled.state, settled.reason) == (
        IntentState.UNKNOWN_NEEDS_HUMAN,
        "not proven within 300 s (no answer)",
    )
    looked = [event for event in desk.log if isinstance(event, events.Looked)]
    assert {(e.list_absent, e.fills_absent) for e in looked} == {(False, True)}
    assert desk.looks[-1] - desk.looks[0] == pytest.approx(GIVE_UP_S, abs=LOOK_PAUSE_S)
    assert len(desk.journal.alerts.all) == 1


async def test_lists_alone_prove_no_absence_and_are_not_read_for_ever(desk):
    desk.trades = [DOWN]
    settled = await desk.settle(doubted())

    assert settled.state is IntentState.UNKNOWN_NEEDS_HUMAN
    assert desk.looks[-1] - desk.looks[0] == pytest.approx(GIVE_UP_S, abs=LOOK_PAUSE_S)


@pytest.mark.parametrize(
    ("lists", "trades", "looks"),
    [([listed()], [DOWN], READS + 1), ([DOWN], [executed()], 2), ([DOWN, listed()], [DOWN, executed()], 1)],
    ids=["lists", "executions", "neither at first"],
)
async def test_an_old_doubt_is_looked_for_while_each_look_brings_its_end_nearer(desk, lists, trades, looks):
    desk.lists, desk.trades = lists, trades
    settled = await desk.settle(since(doubted(), 10_000))

    assert settled.state is IntentState.UNKNOWN_NEEDS_HUMAN
    assert len(desk.looks) == looks


async def test_a_look_that_tells_nothing_writes_nothing(desk):
    desk.lists, desk.trades, written = [DOWN, listed(row())], [DOWN], []
    append = desk.journal.append

    async def counted(intent, *events, **more):
        written.append(events)
        return await append(intent, *events, **more)

    desk.journal.append = counted
    await desk.settle(doubted())

    assert len(desk.looks) == 2
    assert [len(events) for events in written] == [1]


async def test_what_nobody_can_read_is_unknown_after_five_minutes_and_said_once(desk):
    desk.lists, desk.trades = [DOWN], [Unreachable("connection refused")]
    settled = await desk.settle(doubted())

    assert (settled.state, settled.unknown) == (IntentState.UNKNOWN_NEEDS_HUMAN, UnknownReason.UNPROVEN)
    assert settled.reason == "not proven within 300 s (no answer)"
    last = desk.clock.monotonic() - desk.looks[0]
    assert GIVE_UP_S <= last < GIVE_UP_S + LOOK_PAUSE_S
    assert desk.texts[1:] == [
        f"the orders list could not be read: {DOWN.code}: {DOWN.message}; trying on",
        f"the executions could not be read: {desk.trades[0].code}: connection refused; trying on",
    ]
    assert desk.log == [
        events.GaveUp(at=desk.clock.now(), unknown=UnknownReason.UNPROVEN, reason="not proven within 300 s (no answer)")
    ]


async def test_a_failure_that_comes_again_after_it_was_over_is_told_again(desk):
    desk.lists = [DOWN, listed(), DOWN, Unreachable("connection refused"), listed(row())]
    desk.trades = [DOWN, executed(), DOWN, executed()]
    await desk.settle(doubted())

    assert [text.split(" could")[0] for text in desk.texts[1:]] == [
        "the orders list",
        "the executions",
        "the orders list",
        "the executions",
        "the orders list",
    ]


@pytest.mark.parametrize(("age", "first_s"), [(0, 61.2), (SETTLE_S, 0), (10_000, 0)])
async def test_a_doubt_of_an_earlier_process_goes_on_with_its_age(desk, age, first_s):
    """One so old that it would be given up is looked for all the same, as long as each look tells more."""
    settled = await desk.settle(since(doubted(), age))

    assert settled.state is IntentState.NOT_PLACED
    assert [event.at - START for event in desk.log if isinstance(event, events.Looked)] == [
        timedelta(seconds=first_s + look * LOOK_PAUSE_S) for look in range(READS)
    ]


async def test_an_old_doubt_that_one_look_cannot_settle_is_given_up_at_once(desk):
    desk.lists = [DOWN]
    desk.trades = [DOWN]
    settled = await desk.settle(since(doubted(), GIVE_UP_S))

    assert settled.state is IntentState.UNKNOWN_NEEDS_HUMAN
    assert len(desk.looks) == 1


async def test_an_old_doubt_whose_order_is_shown_ends_with_the_order(desk):
    desk.lists = [listed(row())]
    settled = await desk.settle(since(doubted(), 10_000))

    assert settled.state is IntentState.ACKED
    assert [type(event) for event in desk.log] == [events.Acknowledged]


async def test_a_doubt_younger_than_five_minutes_gets_another_look(desk):
    desk.lists = [DOWN]
    desk.trades = [DOWN]
    await desk.settle(since(doubted(), GIVE_UP_S - 0.1))

    assert len(desk.looks) == 2


async def test_a_doubt_from_the_future_of_a_clock_that_went_back_is_new(desk):
    await desk.settle(since(doubted(), -3_600))

    assert desk.log[0].at == START + timedelta(seconds=61.2)


async def test_a_doubt_without_a_time_is_new(desk):
    await desk.settle(dataclasses.replace(doubted(), settle_from=None))

    assert desk.log[0].at == START + timedelta(seconds=61.2)


async def test_the_settle_window_ends_at_sixty_seconds_sharp(desk):
    await desk.settle(since(doubted(), SETTLE_S - 0.1))

    assert desk.log[0].at == START + timedelta(seconds=LOOK_PAUSE_S)


async def test_a_refusal_by_status_is_certain_after_one_list_and_the_executions(desk):
    settled = await desk.settle(doubted(reason="Bad Request", refused_code="E-ORD-REJECTED"))

    assert (settled.state, settled.code, settled.reason) == (
        IntentState.REJECTED_BROKER,
        "E-ORD-REJECTED",
        "Bad Request",
    )
    assert [type(event) for event in desk.log] == [events.Looked, events.RefusedByBroker]
    assert desk.log[1].at == START + timedelta(seconds=61.2)


async def test_a_ref_that_ibkr_calls_registered_is_never_called_absent(desk):
    settled = await desk.settle(doubted(exists=True, refused_code="E-ORD-REJECTED"))

    assert (settled.state, settled.unknown) == (IntentState.UNKNOWN_NEEDS_HUMAN, UnknownReason.UNPROVEN)
    assert settled.reason == "IBKR says that it is registered, but shows it nowhere"
    assert [type(event) for event in desk.log] == [events.Looked] * READS + [events.GaveUp]


async def test_of_a_session_that_is_over_no_absence_is_shown(desk):
    gone = SessionMark("2", MARK.trading_day)
    desk.lists, desk.trades = [listed(mark=gone)], [DOWN, executed(mark=gone)]
    settled = await desk.settle(since(doubted(), SETTLE_S))

    assert (settled.state, settled.unknown) == (IntentState.UNKNOWN_NEEDS_HUMAN, UnknownReason.UNPROVEN)
    assert settled.reason == (
        "not found, and the session or trading day of the send is over, so absence cannot be shown"
    )
    assert len(desk.looks) == 2, "both reads have to show nothing"
    assert [type(event) for event in desk.log] == [events.GaveUp]


async def test_an_order_that_waits_behind_a_question_is_noted_once_and_unknown_after_the_window(desk):
    desk.lists = [listed(row(parked=True, status=OrderStatus.INACTIVE))]
    settled = await desk.settle(doubted())

    assert (settled.state, settled.unknown, settled.parked) == (
        IntentState.UNKNOWN_NEEDS_HUMAN,
        UnknownReason.PARKED,
        True,
    )
    assert [type(event) for event in desk.log] == [events.Looked, events.Looked, events.GaveUp]
    assert all(event.parked and not event.list_absent and not event.fills_absent for event in desk.log[:2])
    assert desk.log[0].note == "order 1001 is parked behind a question"
    assert desk.log[0].at == START
    assert desk.log[2].at == START + timedelta(seconds=61.2)
    assert settled.reason == "order 1001 waits at IBKR behind a question whose answer was lost"
    (alert,) = desk.journal.alerts.all
    assert alert.kind is AlertKind.PARKED_ORDER


@pytest.mark.parametrize("trades", [DOWN, executed()], ids=["nothing read", "executions read"])
async def test_an_order_that_was_parked_when_a_list_was_seen_last_is_given_up_as_parked(desk, trades):
    """What waits behind a question was not executed: only a list can tell that it waits no more."""
    desk.lists, desk.trades = [listed(row(parked=True, status=OrderStatus.INACTIVE)), DOWN], [trades]
    settled = await desk.settle(doubted())

    assert (settled.state, settled.unknown) == (IntentState.UNKNOWN_NEEDS_HUMAN, UnknownReason.PARKED)


async def test_a_list_without_it_tells_that_it_is_parked_no_more(desk):
    desk.lists = [listed(row(parked=True, status=OrderStatus.INACTIVE)), listed()]
    settled = await desk.settle(doubted())

    assert (settled.state, settled.parked) == (IntentState.NOT_PLACED, False)


@pytest.mark.parametrize(
    ("late_s", "sends", "state"),
    [
        (0, 1, IntentState.INTENT),
        (0, 2, IntentState.INTENT),
        (0, 3, IntentState.NOT_PLACED),
        (1, 1, IntentState.NOT_PLACED),
    ],
)
async def test_the_probe_is_armed_while_its_time_lasts_and_at_most_for_a_third_send(late_s, sends, state):
    desk = Desk(resend_same_ref=True)
    proven_at = START + timedelta(seconds=2 * LOOK_PAUSE_S)
    plan = planned(expires_at=proven_at - timedelta(seconds=late_s))
    settled = await desk.settle(dataclasses.replace(since(doubted(plan), SETTLE_S), sends=sends))

    assert settled.state is state
    assert desk.log[-1].at == proven_at


@pytest.mark.parametrize(("ahead_s", "state"), [(60, IntentState.INTENT), (61, IntentState.NOT_PLACED)])
async def test_the_probe_is_not_armed_for_an_order_from_the_future(ahead_s, state):
    desk = Desk(resend_same_ref=True)
    made_at = START + timedelta(seconds=2 * LOOK_PAUSE_S + ahead_s)
    settled = await desk.settle(since(doubted(planned(at=made_at, expires_at=made_at + timedelta(days=1))), SETTLE_S))

    assert settled.state is state


async def test_without_the_opt_in_nothing_is_armed_again(desk):
    plan = planned(expires_at=START + timedelta(days=1))
    settled = await desk.settle(since(doubted(plan), SETTLE_S))

    assert settled.state is IntentState.NOT_PLACED


async def test_an_order_that_only_looks_like_ours_is_for_a_person_after_five_minutes(desk):
    desk.lists = [listed(row(ref=None))]
    settled = await desk.settle(doubted())

    assert (settled.state, settled.unknown) == (IntentState.UNKNOWN_NEEDS_HUMAN, UnknownReason.UNPROVEN)
    assert [type(event) for event in desk.log] == [events.GaveUp]


async def test_an_order_of_somebody_else_is_never_looked_for(desk):
    with pytest.raises(AssertionError, match="never in doubt"):
        await desk.settle(doubted(planned(None, operation=Operation.EXTERNAL)))

    assert not desk.looks


async def test_what_is_at_rest_is_not_looked_for(desk):
    settled = await desk.settle(acknowledged())

    assert settled.state is IntentState.ACKED
    assert not desk.looks


# -- a change -----------------------------------------------------------------------------------------------------


async def test_a_change_that_the_order_shows_was_made(desk):
    desk.statuses = [at_target(status=OrderStatus.PRE_SUBMITTED)]
    settled = await desk.settle(change())

    assert settled.state is IntentState.ACKED
    assert desk.log == [
        events.Acknowledged(at=START, order_id=TARGET, status=OrderStatus.PRE_SUBMITTED, evidence="order status")
    ]
    assert desk.asked == [TARGET]


async def test_a_change_of_an_order_that_ended_was_not_made(desk):
    desk.statuses = [at_target(status=OrderStatus.FILLED, raw_status="Filled", total=Decimal(9))]
    settled = await desk.settle(change())

    assert (settled.state, settled.reason) == (IntentState.NOT_PLACED, "the order was Filled")
    assert desk.log[0] == events.Looked(
        at=START, list_absent=False, fills_absent=False, parked=False, note="order ended"
    )
    assert desk.log[1].at == START


async def test_a_change_that_does_not_show_was_not_made_after_three_looks(desk):
    desk.statuses = [at_target(limit_price=Decimal(600))]
    settled = await desk.settle(change())

    assert (settled.state, settled.reason) == (IntentState.NOT_PLACED, "the order was not changed (no answer)")
    assert [type(event) for event in desk.log] == [events.Looked] * READS + [events.ProvenAbsent]
    assert [(e.list_absent, e.note) for e in desk.log[:-1]] == [(True, "unchanged")] * READS
    assert desk.log[0].at == START + timedelta(seconds=61.2)
    assert desk.log[-1].at == desk.clock.now()


async def test_a_change_that_was_refused_is_refused_after_one_look(desk):
    desk.statuses = [at_target(limit_price=Decimal(600))]
    settled = await desk.settle(change(reason="Bad Request", refused_code="E-ORD-REJECTED"))

    assert (settled.state, settled.code, settled.reason) == (
        IntentState.REJECTED_BROKER,
        "E-ORD-REJECTED",
        "Bad Request",
    )
    assert [type(event) for event in desk.log] == [events.Looked, events.RefusedByBroker]
    assert desk.log[1].at == desk.clock.now()


@pytest.mark.parametrize("status", [DOWN, None], ids=["unreadable", "unknown to IBKR"])
async def test_of_a_change_whose_order_is_not_shown_nothing_is_proven(desk, status):
    desk.statuses = [status]
    settled = await desk.settle(change())

    assert (settled.state, settled.unknown) == (IntentState.UNKNOWN_NEEDS_HUMAN, UnknownReason.UNPROVEN)
    told = [f"the order's status could not be read: {DOWN.code}: {DOWN.message}; trying on"]
    assert desk.texts[1:] == (told if status is DOWN else [])


async def test_a_status_that_can_be_read_again_ends_the_failure(desk):
    desk.statuses = [DOWN, None, DOWN, at_target()]
    await desk.settle(change())

    assert len(desk.texts) == 3


@pytest.mark.parametrize("field", ["trail", "offset"])
async def test_what_no_read_shows_is_never_proven(desk, field):
    """A trail or an offset: the prices that the order shows move by themselves."""
    ticket = UNSHOWN[field]
    desk.statuses = [row(ticket, TARGET)]
    settled = await desk.settle(change(ticket))

    assert settled.state is IntentState.UNKNOWN_NEEDS_HUMAN
    assert [type(event) for event in desk.log] == [events.GaveUp]


# -- a cancel -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("status", [OrderStatus.PENDING_CANCEL, OrderStatus.PRE_CANCELLED])
async def test_a_cancel_under_way_was_taken(desk, status):
    desk.statuses = [at_target(status=status)]
    settled = await desk.settle(cancel())

    assert desk.log == [events.Acknowledged(at=START, order_id=TARGET, status=status, evidence="order status")]
    assert settled.state is IntentState.ACKED


async def test_a_cancel_of_an_order_that_is_over_has_its_end(desk):
    ended = at_target(status=OrderStatus.CANCELLED, filled=Decimal(4), average_price=Decimal(629))
    desk.statuses = [ended]
    settled = await desk.settle(cancel())

    assert (settled.state, settled.filled) == (IntentState.CANCELLED, 4)
    assert desk.log == [
        events.Acknowledged(at=START, order_id=TARGET, status=OrderStatus.CANCELLED, evidence="order status"),
        progressed(ended, at=START),
    ]


async def test_a_lost_cancel_of_an_order_that_works_is_armed_again(desk):
    """Cancelling twice is safe."""
    desk.statuses = [at_target(raw_status="Submitted")]
    settled = await desk.settle(cancel())

    assert settled.state is IntentState.INTENT
    assert [type(event) for event in desk.log] == [events.Looked, events.Rearmed]
    assert desk.log[0].note == "still Submitted"
    assert desk.log[1].at == START


@pytest.mark.parametrize(("sends", "again"), [(2, True), (3, False)])
async def test_a_cancel_is_sent_three_times_at_most(desk, sends, again):
    desk.statuses = [at_target()]
    settled = await desk.settle(dataclasses.replace(since(cancel(), SETTLE_S), sends=sends))

    assert settled.state is (IntentState.INTENT if again else IntentState.NOT_PLACED)


@pytest.mark.parametrize(("left_s", "again"), [(0, True), (-1, False)])
async def test_a_cancel_is_armed_again_only_while_its_time_lasts(desk, left_s, again):
    desk.statuses = [at_target()]
    plan = planned(None, operation=Operation.CANCEL, target=TARGET, expires_at=START + timedelta(seconds=left_s))
    settled = await desk.settle(since(doubted(plan), SETTLE_S))

    assert settled.state is (IntentState.INTENT if again else IntentState.NOT_PLACED)


@pytest.mark.parametrize(("ahead_s", "again"), [(60, True), (61, False)])
async def test_a_cancel_from_the_future_is_not_armed_again(desk, ahead_s, again):
    desk.statuses = [at_target()]
    made_at = START + timedelta(seconds=ahead_s)
    times = {"at": made_at, "expires_at": made_at + timedelta(seconds=30)}
    plan = planned(None, operation=Operation.CANCEL, target=TARGET, **times)
    settled = await desk.settle(since(doubted(plan), SETTLE_S))

    assert settled.state is (IntentState.INTENT if again else IntentState.NOT_PLACED)


async def test_that_the_order_still_works_ends_a_cancel_only_after_the_settle_window(desk):
    desk.statuses = [at_target(raw_status="Submitted")]
    settled = await desk.settle(dataclasses.replace(cancel(), sends=3))

    assert (settled.state, settled.reason) == (IntentState.NOT_PLACED, "the order is still working")
    assert [type(event) for event in desk.log] == [events.Looked, events.ProvenAbsent]
    assert desk.log[0].note == "still Submitted"
    assert desk.log[0].at == desk.log[1].at == START + timedelta(seconds=61.2)


async def test_a_refused_cancel_of_an_order_that_works_is_refused_after_the_settle_window(desk):
    desk.statuses = [at_target(raw_status="Submitted")]
    settled = await desk.settle(cancel(reason="Bad Request", refused_code="E-ORD-CANCEL"))

    assert (settled.state, settled.code, settled.reason) == (
        IntentState.REJECTED_BROKER,
        "E-ORD-CANCEL",
        "Bad Request",
    )
    assert desk.log[0].note == "still Submitted"
    assert desk.log[0].at == desk.log[1].at == START + timedelta(seconds=61.2)


async def test_a_refused_cancel_of_an_order_that_ibkr_does_not_know_is_refused_at_once(desk):
    settled = await desk.settle(cancel(reason="OrderID doesn't exist", refused_code="E-ORD-CANCEL"))

    assert (settled.state, settled.code, settled.reason) == (
        IntentState.REJECTED_BROKER,
        "E-ORD-CANCEL",
        "OrderID doesn't exist",
    )
    assert desk.log[0].note == "unknown to IBKR"
    assert desk.log[1].at == START


@pytest.mark.parametrize("doubt", [{}, {"refused_code": "E-ORD-CANCEL"}], ids=["lost", "refused"])
async def test_a_cancel_whose_order_cannot_be_read_is_unknown(desk, doubt):
    desk.statuses = [DOWN]
    settled = await desk.settle(cancel(**doubt))

    assert settled.state is IntentState.UNKNOWN_NEEDS_HUMAN


async def test_a_lost_cancel_of_an_order_that_ibkr_does_not_know_is_unknown(desk):
    settled = await desk.settle(cancel())

    assert settled.state is IntentState.UNKNOWN_NEEDS_HUMAN
    assert [type(event) for event in desk.log] == [events.GaveUp]


# -- what a read says ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "shown",
    [
        {},
        {"limit_price": Decimal("629.0")},
        {"order_type": "", "tif": ""},
        {"tif": "CLOSE"},
        {"stop_price": Decimal(5)},
    ],
    ids=["as asked", "other digits", "not told", "a day's spelling", "a price that was not asked for"],
)
def test_an_order_has_the_terms_of_the_ticket_as_far_as_a_read_tells(shown):
    assert matches_ticket(row(**shown), acknowledged())


@pytest.mark.parametrize(
    "shown",
    [
        {"total": Decimal(9)},
        {"limit_price": Decimal(628)},
        {"limit_price": None},
        {"order_type": "MKT"},
        {"tif": "GTC"},
    ],
)
def test_an_order_of_other_terms_is_not_as_asked(shown):
    assert not matches_ticket(row(**shown), acknowledged())


def test_a_stop_is_compared_by_its_trigger():
    stop = stock_ticket(order_type=OrderType.STOP, stop_price=Decimal(620), tif=TimeInForce.GTC)

    assert matches_ticket(row(stop), acknowledged(planned(stop)))
    assert not matches_ticket(row(stop, stop_price=Decimal(619)), acknowledged(planned(stop)))


def test_progress_carries_what_was_shown():
    shown = row(status=OrderStatus.FILLED, filled=Decimal(10), average_price=Decimal(629), reason="why")

    assert progressed(shown, at=START, refused=True) == events.Progressed(
        at=START,
        status=OrderStatus.FILLED,
        filled=Decimal(10),
        average_price=Decimal(629),
        refused=True,
        reason="why",
        total=Decimal(10),
    )


def test_an_order_without_a_fill_has_no_average_price():
    shown = progressed(row(average_price=Decimal(0)), at=START)

    assert (shown.average_price, shown.reason, shown.refused) == (None, "", False)


def test_a_late_order_is_told_with_what_it_was_taken_for():
    denied = dataclasses.replace(doubted(), state=IntentState.NOT_PLACED)
    adopted = events.Adopted(at=START, order_id=OrderId("1001"), status=OrderStatus.SUBMITTED, evidence="orders list")
    alert = late_order_alert(denied, adopted)

    assert (alert.kind, alert.severity, alert.subject, alert.at) == (
        AlertKind.LATE_ORDER,
        Severity.CRITICAL,
        REF,
        START,
    )
    assert alert.message == f"CRITICAL: {LIMIT.label}: taken for not placed, but it is order 1001 at IBKR"
    assert alert.details == {"account": ACCOUNT, "key": denied.key, "order": "1001"}


async def test_a_fill_that_only_the_executions_show_is_an_order(desk):
    desk.trades = [executed(fill())]
    settled = await desk.settle(doubted())

    assert (settled.state, settled.order_status) == (IntentState.ACKED, OrderStatus.UNKNOWN)
    assert desk.log[0].evidence == "trades"
