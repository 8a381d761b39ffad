"""What makes journal and broker agree: which reads, what is taken over, what is followed, what is written down."""

from __future__ import annotations

import dataclasses
from datetime import timedelta
from decimal import Decimal

import pytest

from doubts import LATER, LIMIT, MARK, REF, acknowledged, doubted, executed, fill, listed, planned, row
from fakes import ACCOUNT, START, USER, FakeBroker, MemoryJournal, stock_ticket
from ibkit.clock import ManualClock
from ibkit.errors import Effect, InFlight, OutcomeUnknown, Unreachable
from ibkit.model import AccountId, Environment, GroupKind, Key, OrderId, OrderStatus, Ref, Side, TimeInForce, Username
from ibkit.trading import events
from ibkit.trading.alert import AlertKind, Severity
from ibkit.trading.events import Operation
from ibkit.trading.fingerprint import external_terms, fingerprint
from ibkit.trading.intent import IntentState, fold_all
from ibkit.trading.ports import Lane, SessionMark, cancel_lane
from ibkit.trading.reconcile import LOOK_PAUSE_S
from ibkit.trading.recovery import WATCH, Recovery
from ibkit.trading.ref import derive_ref
from ibkit.trading.timeline import StepKind
from ibkit.trading.tracking import Tracker

pytestmark = [pytest.mark.anyio, pytest.mark.requirement("TRD-20")]

DOWN = OutcomeUnknown("no answer within 15 s")
ELSEWHERE = AccountId("DU7654321")
COLLEAGUE = Username("edge5678")


class Desk:
    """A recovery over a broker whose lists, executions and statuses a test says (the last again and again)."""

    def __init__(self) -> None:
        self.clock = ManualClock(START)
        self.journal = MemoryJournal(self.clock)
        self.lists, self.trades, self.statuses = [listed()], [executed()], {}
        self.asked, self.steps = [], []
        self.session = MARK
        broker = FakeBroker(self.clock)
        broker.read_orders, broker.read_fills = self._read_orders, self._read_fills
        broker.order, broker.mark = self._order, self._mark
        self.recovery = Recovery(
            broker=broker,
            journal=self.journal,
            clock=self.clock,
            tracker=Tracker(broker, self.journal, self.clock),
            observe=self.steps.append,
            tenant="t",
            environment=Environment.PAPER,
        )

    def put(self, intent):
        self.journal.intents[intent.intent_id], self.journal.log[intent.intent_id] = intent, []
        return intent

    def now(self, ref=REF):
        return self.journal.intents[ref]

    async def agree(self):
        return await self.recovery.agree(ACCOUNT)

    async def _mark(self):
        return self.session

    async def _read_orders(self, account_id):
        self.asked.append(account_id)
        return self._next(self.lists)

    async def _read_fills(self, account_id, *, days):
        self.asked.append((account_id, days))
        return self._next(self.trades)

    async def _order(self, order_id):
        self.asked.append(order_id)
        return self.statuses.get(order_id)

    def _next(self, answers):
        answer = answers.pop(0) if len(answers) > 1 else answers[0]
        if isinstance(answer, Exception):
            raise answer
        return answer


@pytest.fixture
def desk():
    return Desk()


def denied(state=IntentState.NOT_PLACED, **changes):
    return dataclasses.replace(doubted(changes.pop("plan", None)), state=state, **changes)


# -- a complete list ----------------------------------------------------------------------------------------------


async def test_a_list_is_asked_for_four_times_and_then_nothing_is_sent(desk):
    desk.lists = [listed(complete=False)]

    with pytest.raises(Unreachable) as caught:
        await desk.agree()

    assert desk.asked == [ACCOUNT] * 4
    assert desk.clock.now() - START == timedelta(seconds=3 * LOOK_PAUSE_S)
    assert caught.value.effect is Effect.NONE
    assert caught.value.message == (
        f"IBKR does not show a complete list of the orders of {ACCOUNT}: nothing is sent before it does"
    )
    assert caught.value.remedy == "Try again in a few seconds; `ibkit orders list` shows what IBKR tells."


async def test_the_fourth_list_is_good_enough_and_may_be_the_first_of_its_session(desk):
    desk.lists = [listed(complete=False)] * 3 + [listed(first=True)]

    assert await desk.agree() == ()


async def test_the_two_are_compared_once_for_each_account_and_session(desk):
    await desk.recovery.require_agreement(ACCOUNT)
    await desk.recovery.require_agreement(ACCOUNT)
    assert desk.asked == [ACCOUNT]

    await desk.recovery.require_agreement(ELSEWHERE)
    assert desk.asked == [ACCOUNT, ELSEWHERE]

    desk.session = SessionMark("2", MARK.trading_day)
    desk.lists = [listed(mark=desk.session)]
    await desk.recovery.require_agreement(ACCOUNT)
    await desk.recovery.require_agreement(ACCOUNT)
    assert desk.asked == [ACCOUNT, ELSEWHERE, ACCOUNT]


# -- left in progress ---------------------------------------------------------------------------------------------


class Talk:
    """A conversation that carries out and doubts what it is given, and says so."""

    def __init__(self, *names):
        self.lanes = {name: Lane(name, 1) for name in names or (USER,)}
        self.carried, self.doubts = [], []

    async def carry_out(self, intent, facts, *, wanted):
        self.carried.append((intent.state, facts, wanted))
        return intent

    async def doubt_earlier_send(self, intent):
        self.doubts.append(intent.intent_id)
        return dataclasses.replace(intent, state=IntentState.AMBIGUOUS)


@pytest.mark.parametrize(
    "state",
    [
        IntentState.SENDING,
        IntentState.QUESTIONED,
        IntentState.REPLYING,
        IntentState.AMBIGUOUS,
        IntentState.RECONCILING,
    ],
)
async def test_what_may_have_left_is_carried_to_its_end_as_nothing_that_anybody_wants(desk, state):
    left, talk = desk.put(dataclasses.replace(doubted(), state=state)), Talk()

    assert await desk.recovery.settle_left_overs(talk) == (left,)

    assert talk.carried == [(state, None, False)]
    (step,) = desk.steps
    assert (step.kind, step.text, step.at, step.details) == (
        StepKind.RECOVERY,
        f"left unsettled by an earlier run: {LIMIT.label}",
        START,
        {"ref": REF},
    )


@pytest.mark.parametrize("state", [IntentState.INTENT, IntentState.CLAIMED])
@pytest.mark.parametrize(("over_s", "settled"), [(0, 0), (1, 1)])
async def test_what_was_not_sent_waits_for_its_caller_until_it_is_too_old(desk, state, over_s, settled):
    plan = planned(expires_at=START - timedelta(seconds=over_s))
    desk.put(dataclasses.replace(fold_all((plan,)), state=state))

    ended = await desk.recovery.settle_left_overs(Talk())

    assert len(ended) == settled
    assert all(intent.state is IntentState.EXPIRED_LOCAL for intent in ended)
    assert (
        desk.journal.log[REF]
        == [events.Expired(at=START, reason="left unsent by an earlier run, too old to be sent")] * settled
    )
    assert not desk.steps


@pytest.mark.parametrize("state", [IntentState.INTENT, IntentState.CLAIMED])
@pytest.mark.parametrize(("ahead_s", "settled"), [(60, 0), (61, 1), (3600, 1)])
async def test_what_a_clock_that_was_ahead_left_unsent_does_not_wait_until_its_time_comes(
    desk, state, ahead_s, settled
):
    """It would be sent an hour late: of what comes from the future nobody knows the age."""
    ahead = START + timedelta(seconds=ahead_s)
    plan = planned(at=ahead, expires_at=ahead + timedelta(seconds=30))
    desk.put(dataclasses.replace(fold_all((plan,)), state=state))

    ended = await desk.recovery.settle_left_overs(Talk())

    assert [intent.state for intent in ended] == [IntentState.EXPIRED_LOCAL] * settled
    reason = "left unsent by an earlier run, by a clock that was ahead of today's: nobody knows its age"
    assert desk.journal.log[REF] == [events.Expired(at=START, reason=reason)] * settled


async def test_a_cancel_armed_again_is_doubted_once_it_is_too_old(desk):
    """Its first send may act yet: it is no cancel that was never sent."""
    plan = planned(None, operation=Operation.CANCEL, target=OrderId("17"), expires_at=START - timedelta(seconds=1))
    desk.put(dataclasses.replace(doubted(plan), state=IntentState.INTENT, sends=1))
    talk = Talk(cancel_lane(USER))

    await desk.recovery.settle_left_overs(talk)

    assert talk.doubts == [REF]
    assert talk.carried == [(IntentState.AMBIGUOUS, None, False)]


async def test_every_name_of_the_login_is_settled_and_the_callers_own_is_left_to_it(desk):
    desk.put(doubted())
    other = desk.put(doubted(planned(username=COLLEAGUE, intent_id="ib-other", ref=Ref("ib-other"))))
    talk = Talk(USER, COLLEAGUE)

    assert await desk.recovery.settle_left_overs(talk, but=REF) == (other,)


@pytest.mark.parametrize("order", [0, 1])
async def test_what_needs_no_settling_does_not_stop_what_does(desk, order):
    """An order of somebody else, an acknowledged one and one that waits for its caller come first here."""
    first = planned(operation=Operation.EXTERNAL, intent_id="ib-1", ref=Ref("ib-1"), at=START - timedelta(seconds=3))
    desk.put(dataclasses.replace(doubted(first), state=IntentState.SENDING))
    desk.put(acknowledged(planned(intent_id="ib-2", ref=Ref("ib-2"), at=START - timedelta(seconds=2))))
    desk.put(fold_all((planned(intent_id="ib-3", ref=Ref("ib-3"), at=START - timedelta(seconds=1)),)))
    left = desk.put(doubted())

    but = "ib-1" if order else None
    assert await desk.recovery.settle_left_overs(Talk(), but=but) == (left,)


# -- late orders --------------------------------------------------------------------------------------------------


async def test_an_order_that_was_denied_and_is_shown_is_adopted_with_an_alert(desk):
    desk.put(denied())
    desk.lists = [listed(row())]

    (adopted,) = await desk.agree()

    assert (adopted.state, adopted.order_id) == (IntentState.ACKED, "1001")
    event = desk.journal.log[REF][0]
    assert event == events.Adopted(
        at=START, order_id=OrderId("1001"), status=OrderStatus.SUBMITTED, evidence="orders list"
    )
    (alert,) = desk.journal.alerts.all
    assert alert.kind is AlertKind.LATE_ORDER
    (step,) = desk.steps
    assert (step.kind, step.text, step.details) == (StepKind.CRITICAL, alert.message, {"ref": REF})
    assert desk.asked == [ACCOUNT, (ACCOUNT, 5)], "the days of the watch, and today"


async def test_executions_show_a_late_order_and_an_empty_first_read_of_them_is_repeated(desk):
    desk.put(denied(IntentState.UNKNOWN_NEEDS_HUMAN))
    desk.trades = [executed(first=True), executed(fill())]

    (adopted,) = await desk.agree()

    assert adopted.order_id == "1001"
    assert desk.asked == [ACCOUNT, (ACCOUNT, 5), (ACCOUNT, 5), "1001"], "and its status by number"


async def test_the_list_alone_shows_a_late_order_where_the_executions_fail(desk):
    desk.put(denied())
    desk.lists, desk.trades = [listed(row())], [DOWN]

    assert len(await desk.agree()) == 1


async def test_what_neither_list_nor_executions_can_show_waits_for_the_next_look(desk):
    desk.put(denied())
    desk.trades = [DOWN]

    assert await desk.agree() == ()


@pytest.mark.parametrize(
    "shown",
    [listed(), listed(row(side=Side.SELL)), listed(row(parked=True))],
    ids=["absent", "other terms", "behind a question"],
)
async def test_what_does_not_show_that_it_is_ours_is_not_adopted(desk, shown):
    desk.put(denied())
    desk.lists = [shown]

    assert await desk.agree() == ()


@pytest.mark.parametrize(
    ("state", "status", "late"),
    [
        (IntentState.REJECTED_BROKER, OrderStatus.INACTIVE, 0),
        (IntentState.REJECTED_BROKER, OrderStatus.SUBMITTED, 1),
        (IntentState.NOT_PLACED, OrderStatus.INACTIVE, 1),
    ],
)
async def test_the_inactive_row_of_a_refused_order_is_its_refusal(desk, state, status, late):
    desk.put(denied(state))
    desk.lists = [listed(row(status=status))]

    assert len(await desk.agree()) == late


@pytest.mark.parametrize(("ago", "reads"), [(WATCH, 1), (WATCH + timedelta(seconds=1), 0)])
async def test_a_denied_order_is_looked_for_over_a_long_weekend(desk, ago, reads):
    desk.put(denied(updated_at=START - ago))
    await desk.agree()

    assert desk.asked.count((ACCOUNT, 5)) == reads
    assert await desk.recovery.open_accounts(()) == (ACCOUNT,) * reads


async def test_of_another_account_or_operation_nothing_is_adopted(desk):
    desk.put(denied(plan=planned(account_id=ELSEWHERE)))
    change = planned(operation=Operation.MODIFY, target=OrderId("1001"), intent_id="ib-2", ref=Ref("ib-2"))
    desk.put(denied(plan=change))
    await desk.agree()

    assert desk.asked == [ACCOUNT]


async def test_a_late_order_that_another_process_adopts_first_does_not_stop_the_next(desk):
    desk.put(denied())
    other = planned(intent_id="ib-2", ref=Ref("ib-2"), at=START + timedelta(seconds=1), username=COLLEAGUE)
    desk.put(denied(plan=other))
    desk.lists = [listed(row(), row(order_id="1002", ref=Ref("ib-2")))]
    append = desk.journal.append

    async def moved(intent, *written, **more):
        if intent.intent_id == REF:
            raise InFlight("moved by another")
        return await append(intent, *written, **more)

    desk.journal.append = moved
    (adopted,) = await desk.agree()

    assert adopted.intent_id == "ib-2"


async def test_the_accounts_with_something_open_or_denied_are_named_once(desk):
    desk.put(acknowledged())
    desk.put(denied(plan=planned(intent_id="ib-2", ref=Ref("ib-2"), account_id=ELSEWHERE)))
    desk.put(denied(plan=planned(intent_id="ib-3", ref=Ref("ib-3"))))
    desk.put(acknowledged(planned(intent_id="ib-4", ref=Ref("ib-4"), username=COLLEAGUE, account_id="DU3")))

    assert await desk.recovery.open_accounts(()) == (ACCOUNT, ELSEWHERE)


async def test_what_another_name_of_the_login_has_open_in_its_accounts_is_its_own(desk):
    """And nothing of a colleague's in accounts that this login does not have."""
    elsewhere = acknowledged(planned(intent_id="ib-3", ref=Ref("ib-3"), username=COLLEAGUE, account_id="DU3"))
    desk.put(acknowledged(planned(intent_id="ib-2", ref=Ref("ib-2"), username=COLLEAGUE)))
    desk.put(denied(plan=planned(intent_id="ib-4", ref=Ref("ib-4"), username=COLLEAGUE, account_id=ELSEWHERE)))
    desk.put(elsewhere)
    ours = (ACCOUNT, ELSEWHERE)

    assert [each.intent_id for each in await desk.recovery.unfinished(ours)] == ["ib-2"]
    assert await desk.recovery.open_accounts(ours) == ours
    assert await desk.recovery.unfinished(()) == ()


# -- following ----------------------------------------------------------------------------------------------------


async def test_what_the_list_shows_is_followed_without_a_call(desk):
    desk.put(acknowledged())
    desk.lists = [listed(row(filled=Decimal(4), average_price=Decimal(629)))]
    await desk.agree()

    assert desk.now().filled == 4
    assert desk.asked == [ACCOUNT]


async def test_what_the_list_does_not_show_is_asked_for_by_number(desk):
    desk.put(acknowledged())
    desk.statuses = {"1001": row(status=OrderStatus.FILLED, filled=Decimal(10), average_price=Decimal(629))}
    await desk.agree()

    assert desk.now().state is IntentState.FILLED


async def test_what_the_list_calls_inactive_is_told_by_its_number(desk):
    """Refused, or waiting behind a question: the list does not say which."""
    desk.put(acknowledged())
    desk.lists = [listed(row(status=OrderStatus.INACTIVE))]
    desk.statuses = {"1001": row(status=OrderStatus.INACTIVE, reason="margin")}
    await desk.agree()

    assert (desk.now().state, desk.now().reason) == (IntentState.REJECTED_LATE, "margin")


async def test_what_is_in_doubt_is_not_followed(desk):
    desk.put(dataclasses.replace(doubted(), order_id=OrderId("1001")))
    await desk.agree()

    assert desk.asked == [ACCOUNT]


# -- ends that nobody watched -------------------------------------------------------------------------------------


async def test_a_day_order_of_an_earlier_day_that_is_not_shown_has_ended(desk):
    desk.put(acknowledged())
    desk.clock.advance(3 * 86_400)
    desk.lists, desk.trades = [listed(mark=LATER)], [executed(first=True), executed(fill(quantity=Decimal(4)))]
    await desk.agree()

    assert (desk.now().state, desk.now().filled) == (IntentState.CANCELLED, 4)
    assert desk.journal.log[REF][-1].at == desk.clock.now()
    assert desk.asked == [ACCOUNT, "1001", (ACCOUNT, 7), (ACCOUNT, 7)]


@pytest.mark.parametrize("why", ["today", "shown"])
async def test_the_executions_are_not_read_where_nothing_can_have_ended_unwatched(desk, why):
    desk.put(acknowledged())
    desk.lists = [listed() if why == "today" else listed(row(), mark=LATER)]
    await desk.agree()

    assert (ACCOUNT, 7) not in desk.asked
    assert desk.now().state is IntentState.ACKED


async def test_without_the_executions_nothing_has_ended(desk):
    desk.put(acknowledged())
    desk.lists, desk.trades = [listed(mark=LATER)], [DOWN]
    await desk.agree()

    assert desk.now().state is IntentState.ACKED


async def test_one_that_has_not_ended_or_that_another_writes_down_does_not_stop_the_next(desk):
    standing = planned(dataclasses.replace(LIMIT, tif=TimeInForce.GTC), intent_id="ib-1", ref=Ref("ib-1"))
    desk.put(acknowledged(dataclasses.replace(standing, at=START - timedelta(seconds=9)), "1000"))
    moved = planned(intent_id="ib-2", ref=Ref("ib-2"), at=START - timedelta(seconds=5))
    desk.put(acknowledged(moved, "1002"))
    desk.put(acknowledged())
    desk.lists = [listed(mark=LATER)]
    append = desk.journal.append

    async def append_or_not(intent, *written, **more):
        if intent.intent_id == "ib-2":
            raise InFlight("moved by another")
        return await append(intent, *written, **more)

    desk.journal.append = append_or_not
    await desk.agree()

    assert desk.now("ib-1").state is desk.now("ib-2").state is IntentState.ACKED
    assert desk.now().state is IntentState.CANCELLED


# -- orders of others ---------------------------------------------------------------------------------------------


def theirs(order_id="77", **changes):
    return row(order_id=order_id, **{"ref": None, "description": "Buy 10 SPY", **changes})


async def test_an_order_of_somebody_else_becomes_a_row_of_the_journal_once(desk):
    desk.lists = [listed(theirs(status=OrderStatus.PRE_SUBMITTED))]
    await desk.agree()
    await desk.agree()

    key = Key(f"external-order-{ACCOUNT}-77")
    ref = derive_ref(tenant="t", environment=Environment.PAPER, key=key)
    terms = external_terms(ACCOUNT, OrderId("77"), "Buy 10 SPY")
    (intent,) = desk.journal.intents.values()
    assert intent.planned == events.Planned(
        at=START,
        intent_id=ref,
        operation=Operation.EXTERNAL,
        tenant="t",
        environment=Environment.PAPER,
        username=USER,
        key=key,
        ref=ref,
        account_id=ACCOUNT,
        ticket=None,
        target=OrderId("77"),
        terms=terms,
        fingerprint=fingerprint(terms),
        expires_at=START,
        purpose="external",
    )
    assert desk.journal.log[ref][1:] == [
        events.Attached(at=START, order_id=OrderId("77"), status=OrderStatus.PRE_SUBMITTED)
    ]
    (step,) = desk.steps
    assert (step.kind, step.text, step.details) == (
        StepKind.RECOVERY,
        "an order of somebody else works: order 77 of somebody else: Buy 10 SPY",
        {"order": "77"},
    )
    assert not desk.journal.alerts.all


async def test_an_order_without_a_description_is_told_by_its_side_and_size(desk):
    desk.lists = [listed(theirs(description="", side=Side.SELL, total=Decimal("10.0")))]
    await desk.agree()

    (intent,) = desk.journal.intents.values()
    assert intent.planned.terms["description"] == "SELL 10.0"


@pytest.mark.parametrize(
    "over",
    [
        {"status": OrderStatus.FILLED},
        {"status": OrderStatus.CANCELLED},
        {"status": OrderStatus.INACTIVE},
        {"account_id": ELSEWHERE},
    ],
)
async def test_what_does_not_work_here_is_not_taken_over_and_the_next_is(desk, over):
    desk.lists = [listed(theirs(**over), theirs("78"))]
    await desk.agree()

    assert [intent.order_id for intent in desk.journal.intents.values()] == ["78"]


async def test_an_order_that_was_taken_over_and_ended_is_not_written_down_again(desk):
    desk.lists = [listed(theirs())]
    await desk.agree()
    (intent,) = desk.journal.intents.values()
    desk.put(dataclasses.replace(intent, state=IntentState.CANCELLED, order_id=None))
    await desk.agree()

    assert desk.journal.log[intent.intent_id] == []
    assert len(desk.steps) == 1


@pytest.mark.parametrize(
    ("described", "named"), [("Buy 10 SPY", "Buy 10 SPY"), ("", "756733")], ids=["described", "by its contract"]
)
async def test_an_order_with_a_mark_of_ours_that_the_journal_lost_is_told(desk, described, named):
    mark = Ref("ib-" + "a2" * 16)
    desk.lists = [listed(theirs(ref=mark, description=described))]
    await desk.agree()

    (alert,) = desk.journal.alerts.all
    assert (alert.kind, alert.severity, alert.subject, alert.at) == (
        AlertKind.EXTERNAL_ORDER,
        Severity.CRITICAL,
        "77",
        START,
    )
    assert alert.message == (
        f"CRITICAL: order 77 ({named}) carries a mark of ibkit ({mark}), but this journal does not know it: "
        "another state directory, or a journal that was lost"
    )
    assert alert.details == {"account": ACCOUNT, "order": "77"}


async def test_the_mark_of_another_program_is_no_alert(desk):
    desk.lists = [listed(theirs(ref=Ref("cs1-0001")))]
    await desk.agree()

    assert len(desk.journal.intents) == 1
    assert not desk.journal.alerts.all


async def test_an_order_that_the_journal_knows_by_its_number_is_ours(desk):
    desk.put(acknowledged())
    desk.lists = [listed(row(ref=None))]
    await desk.agree()

    assert list(desk.journal.intents) == [REF]


@pytest.mark.parametrize("ref", [REF, Ref(f" {REF.upper()} ")])
async def test_an_order_that_the_journal_knows_by_its_mark_is_ours_whatever_it_thinks_of_it(desk, ref):
    desk.put(dataclasses.replace(doubted(), state=IntentState.RECONCILING))
    desk.lists = [listed(row(ref=ref))]
    await desk.agree()

    assert list(desk.journal.intents) == [REF]


async def test_a_mark_that_names_an_intent_of_another_ref_is_not_ours(desk):
    """A sibling's intent is not the one that its order's ref names."""
    desk.put(doubted(planned(ref=Ref(f"{REF}-1"))))
    desk.lists = [listed(theirs(ref=REF))]
    await desk.agree()

    assert len(desk.journal.intents) == 2


@pytest.mark.parametrize(("grouped", "external"), [(False, 0), (True, 1)])
async def test_a_child_of_a_bracket_is_ours_while_the_bracket_is_looked_at(desk, grouped, external):
    bracket = planned(others=(stock_ticket(side=Side.SELL),), group=GroupKind.BRACKET)
    desk.put(acknowledged(bracket, grouped=grouped))
    desk.lists = [listed(row(), theirs(parent_id=OrderId("1001")))]
    await desk.agree()

    assert len(desk.journal.intents) == 1 + external


async def test_a_child_of_an_order_that_nobody_knows_is_of_somebody_else(desk):
    desk.lists = [listed(theirs(parent_id=OrderId("1001")))]
    await desk.agree()

    assert len(desk.journal.intents) == 1
