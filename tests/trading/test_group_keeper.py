"""Looking after a group that the broker took: how long, by which reads, and what is undone of a broken bracket."""

from __future__ import annotations

import dataclasses
from datetime import timedelta
from decimal import Decimal
from types import SimpleNamespace

import pytest

from doubts import KEY, LIMIT, REF, acknowledged, listed, planned, row
from fakes import ACCOUNT, START, FakeBroker, MemoryJournal, stock_ticket
from ibkit.clock import ManualClock
from ibkit.errors import OutcomeUnknown, Unreachable
from ibkit.model import Environment, GroupKind, OrderId, OrderStatus, OrderType, Ref, Side, TimeInForce
from ibkit.trading.alert import AlertKind, Severity
from ibkit.trading.events import Attached, Grouped, LegAck, Mended
from ibkit.trading.fingerprint import fingerprint, ticket_terms
from ibkit.trading.group_keeper import LOOK_S, GroupKeeper, OnBroken
from ibkit.trading.intent import IntentState
from ibkit.trading.ref import child_key, derive_ref, leg_ref
from ibkit.trading.timeline import StepKind

pytestmark = [pytest.mark.anyio, pytest.mark.requirement("TRD-12", "TRD-14")]

PROFIT = stock_ticket(side=Side.SELL, order_type=OrderType.LIMIT, limit_price=Decimal("640.00"), tif=TimeInForce.GTC)
STOP = stock_ticket(side=Side.SELL, order_type=OrderType.STOP, stop_price=Decimal("620.00"), tif=TimeInForce.GTC)
DOWN = OutcomeUnknown("no answer within 15 s")
TAKEN = (LegAck(None, OrderId("1002"), OrderStatus.PRE_SUBMITTED), LegAck(None, OrderId("1003"), OrderStatus.SUBMITTED))
NO_STOP = (
    LegAck(1, OrderId("1002"), OrderStatus.SUBMITTED),
    LegAck(2, None, OrderStatus.INACTIVE, "too far away"),
)
STANDS = f"order 1001 ({LIMIT.label}) stands without all of its group"


def bracket(**changes):
    plan = planned(others=(PROFIT, STOP), group=GroupKind.BRACKET)
    return acknowledged(plan, **{"legs": TAKEN, **changes})


def oca(**changes):
    plan = planned(PROFIT, others=(STOP,), group=GroupKind.OCA, purpose="take profit", reduces="ib-parent")
    return acknowledged(plan, **{"legs": (LegAck(1, OrderId("1002"), OrderStatus.PRE_SUBMITTED),), **changes})


def child(ticket, order_id, **changes):
    return row(ticket, order_id, **{"ref": None, "parent_id": OrderId("1001"), **changes})


class Door:
    """The gateway as the keeper sees it: what a test says of each order, and what was asked for."""

    def __init__(self, desk) -> None:
        self.desk = desk
        self.seen = {}
        self.cancelled, self.submitted, self.waited, self.closed = [], [], [], []
        self.refreshed_at = []
        self.refuses = None
        self.after_cancel = {"state": IntentState.CANCELLED}
        self.closing = {"state": IntentState.FILLED, "average_price": Decimal("628.50"), "order_id": OrderId("1009")}

    async def find(self, key):
        return await self.desk.journal.by_key(tenant="", environment=Environment.PAPER, key=key)

    async def raise_alert(self, alert):
        await self.desk.journal.alerts.put(alert)

    async def close_alert(self, kind, subject, *, note):
        self.closed.append((kind, subject))

    async def refreshed(self, intent):
        self.refreshed_at.append(intent.version)
        known = {"mended": intent.mended, "grouped": intent.grouped, "legs": intent.legs, "version": intent.version}
        return dataclasses.replace(self.seen.get(intent.intent_id, intent), **known)

    async def cancel_rest(self, intent):
        self.cancelled.append(intent.order_id)
        if self.refuses is not None:
            raise self.refuses
        return dataclasses.replace(intent, **self.after_cancel)

    async def submit(self, ticket, *, key, purpose="order", reduces=None):
        self.submitted.append((ticket, key, purpose, reduces))
        closing = acknowledged(planned(ticket), "1009")
        if self.refuses is not None:
            raise self.refuses
        return SimpleNamespace(intent=closing, require=lambda: self.required(closing))

    def required(self, _intent):
        self.submitted.append("required")

    async def wait_for_fill(self, intent, *, within_s):
        self.waited.append((intent.order_id, within_s))
        return dataclasses.replace(intent, **self.closing)


class Desk:
    def __init__(self, on_broken=OnBroken.UNDO) -> None:
        self.clock = ManualClock(START)
        self.journal = MemoryJournal(self.clock)
        self.by_number, self.rows, self.asked, self.steps = {}, [], [], []
        broker = FakeBroker(self.clock)
        broker.order, broker.read_orders = self._order, self._read_orders
        self.door = Door(self)
        self.keeper = GroupKeeper(broker, self.journal, self.clock, self.steps.append, self.door, on_broken)

    async def settle(self, intent):
        self.journal.intents[intent.intent_id], self.journal.log[intent.intent_id] = intent, []
        return await self.keeper.settle(intent)

    async def legs(self, intent):
        return await self.journal.legs(intent.intent_id)

    @property
    def log(self):
        return self.journal.log[REF]

    @property
    def alert(self):
        (alert,) = self.journal.alerts.all
        return alert

    async def _order(self, order_id):
        self.asked.append(order_id)
        answers = self.by_number.get(order_id)
        answer = answers.pop(0) if isinstance(answers, list) else answers
        if isinstance(answer, Exception):
            raise answer
        return answer

    async def _read_orders(self, account_id):
        self.asked.append(account_id)
        answer = self.rows.pop(0) if self.rows else listed()
        if isinstance(answer, Exception):
            raise answer
        return answer


@pytest.fixture
def desk():
    return Desk()


# -- finding ------------------------------------------------------------------------------------------------------


async def test_children_that_the_answer_numbers_are_found_by_their_numbers(desk):
    desk.by_number = {"1002": child(STOP, "1002", status=OrderStatus.PRE_SUBMITTED), "1003": child(PROFIT, "1003")}
    settled = await desk.settle(bracket())

    legs = (
        LegAck(1, OrderId("1003"), OrderStatus.SUBMITTED),
        LegAck(2, OrderId("1002"), OrderStatus.PRE_SUBMITTED),
    )
    assert desk.log == [Grouped(at=START, legs=legs)]
    assert settled.legs == legs
    assert desk.asked == ["1002", "1003"], "each once, and no list"
    assert desk.clock.monotonic() == ManualClock(START).monotonic()
    assert not desk.journal.alerts.all
    assert not desk.steps


async def test_each_child_is_an_intent_of_its_own_that_reduces_its_parent(desk):
    desk.by_number = {"1002": child(STOP, "1002", status=OrderStatus.PRE_SUBMITTED), "1003": child(PROFIT, "1003")}
    desk.clock.advance(5)
    settled = await desk.settle(bracket())

    profit, stop = await desk.legs(settled)
    for number, leg, ticket, purpose in ((1, profit, PROFIT, "take profit"), (2, stop, STOP, "stop")):
        key = child_key(KEY, f"leg-{number}")
        ref = derive_ref(tenant="", environment=Environment.PAPER, key=key)
        terms = ticket_terms(ticket)
        assert leg.planned == dataclasses.replace(
            settled.planned,
            at=START + timedelta(seconds=5),
            intent_id=ref,
            key=key,
            ref=ref,
            ticket=ticket,
            terms=terms,
            fingerprint=fingerprint(terms),
            purpose=purpose,
            reduces=settled.intent_id,
            group=None,
            others=(),
            leg_of=settled.intent_id,
        )
    assert desk.journal.log[stop.intent_id][1] == Attached(
        at=START + timedelta(seconds=5), order_id=OrderId("1002"), status=OrderStatus.PRE_SUBMITTED
    )


async def test_a_sibling_keeps_its_own_ref_and_what_the_group_is_for(desk):
    desk.by_number = {"1002": row(STOP, "1002", ref=leg_ref(REF, 1))}
    (leg,) = await desk.legs(await desk.settle(oca()))

    key = child_key(KEY, "leg-1")
    assert leg.ref == leg_ref(REF, 1)
    assert leg.intent_id == derive_ref(tenant="", environment=Environment.PAPER, key=key)
    assert (leg.planned.purpose, leg.planned.reduces) == ("take profit", "ib-parent")
    assert (leg.planned.key, leg.planned.leg_of, leg.planned.group, leg.planned.others) == (key, REF, None, ())


async def test_children_without_numbers_are_found_in_the_list(desk):
    desk.rows = [DOWN, listed(child(STOP, "1002")), listed(child(STOP, "1002"), child(PROFIT, "1003"))]
    settled = await desk.settle(bracket(legs=()))

    assert [leg.order_id for leg in settled.legs] == ["1003", "1002"]
    assert desk.asked == [ACCOUNT] * 3
    assert desk.log[0].at == START + timedelta(seconds=3), "one look a second"


async def test_a_number_that_is_not_answered_is_asked_for_again(desk):
    desk.by_number = {
        "1002": [DOWN, None, child(STOP, "1002")],
        "1003": child(PROFIT, "1003"),
    }
    settled = await desk.settle(bracket())

    assert settled.grouped
    assert not settled.broken
    assert desk.asked == ["1002", "1003", ACCOUNT, "1002", ACCOUNT, "1002"]


async def test_a_child_that_nobody_shows_is_missing_after_ten_seconds(desk):
    desk.by_number = {"1003": child(PROFIT, "1003")}
    settled = await desk.settle(bracket())

    assert settled.legs == (
        LegAck(1, OrderId("1003"), OrderStatus.SUBMITTED),
        LegAck(2, None, OrderStatus.UNKNOWN, "not to be seen at IBKR"),
    )
    assert desk.log[0].at == START + timedelta(seconds=LOOK_S)
    assert desk.asked.count(ACCOUNT) == 10
    assert len(await desk.legs(settled)) == 1
    assert desk.steps[0].kind is StepKind.CRITICAL
    assert desk.steps[0].text == f"{STOP.label}: not to be seen at IBKR"
    assert desk.steps[0].details == {"ref": REF}
    assert desk.steps[0].at == desk.log[0].at


async def test_a_refused_child_is_not_looked_for(desk):
    desk.by_number = {"1002": child(PROFIT, "1002")}
    refused = (TAKEN[0], LegAck(None, None, OrderStatus.UNKNOWN, "too far away"))
    settled = await desk.settle(bracket(legs=refused))

    assert settled.legs == NO_STOP
    assert desk.asked == ["1002"]
    assert desk.log[0].at == START


async def test_a_broken_bracket_is_critical_and_named(desk):
    desk.by_number = {"1002": child(PROFIT, "1002")}
    await desk.settle(bracket(legs=(TAKEN[0], NO_STOP[1]), mended="before"))

    assert (desk.alert.kind, desk.alert.severity, desk.alert.subject, desk.alert.at) == (
        AlertKind.BROKEN_GROUP,
        Severity.CRITICAL,
        REF,
        START,
    )
    assert desk.alert.message == f"CRITICAL: {STANDS}: {STOP.label}: too far away"
    assert desk.alert.details == {"account": ACCOUNT, "order": "1001", "key": KEY}


async def test_every_order_that_is_missing_is_named(desk):
    await desk.settle(bracket(legs=(), mended="before"))

    assert desk.alert.message == (
        f"CRITICAL: {STANDS}: {PROFIT.label}: not to be seen at IBKR; {STOP.label}: not to be seen at IBKR"
    )
    assert [step.text for step in desk.steps] == [
        f"{PROFIT.label}: not to be seen at IBKR",
        f"{STOP.label}: not to be seen at IBKR",
    ]


async def test_a_child_that_was_shown_and_refused_breaks_the_bracket_and_is_followed_all_the_same(desk):
    desk.by_number = {
        "1002": child(STOP, "1002", status=OrderStatus.INACTIVE, reason="margin"),
        "1003": child(PROFIT, "1003"),
    }
    settled = await desk.settle(bracket(mended="before"))

    assert settled.broken == (LegAck(2, OrderId("1002"), OrderStatus.INACTIVE, "margin"),)
    assert len(await desk.legs(settled)) == 2
    assert desk.alert.message == f"CRITICAL: {STANDS}: {STOP.label}: margin"


async def test_an_order_whose_place_in_the_group_nobody_knows_is_named_all_the_same(desk):
    await desk.settle(broken(legs=(LegAck(None, None, OrderStatus.INACTIVE, "no"),)))

    assert desk.alert.message.startswith(f"CRITICAL: {STANDS}: an order: no;")


async def test_an_oca_group_without_one_of_its_orders_stands_with_a_warning(desk):
    settled = await desk.settle(oca())

    assert settled.broken
    assert not settled.mended
    assert desk.alert.severity is Severity.WARNING
    assert desk.alert.message == (
        f"order 1001 ({PROFIT.label}) stands without all of its group: {STOP.label}: not to be seen at IBKR"
    )
    assert not desk.door.cancelled


async def test_a_group_that_is_known_is_not_looked_at_again(desk):
    settled = await desk.settle(bracket(grouped=True))

    assert not desk.asked
    assert not desk.log
    assert settled.grouped


# -- undoing a broken bracket -------------------------------------------------------------------------------------


def broken(**changes):
    return bracket(**{"grouped": True, "legs": NO_STOP, **changes})


def with_profit(desk, **changes):
    """The take profit of a broken bracket, which the broker took; as the door sees it."""
    plan = planned(PROFIT, intent_id="ib-profit", ref=Ref("ib-profit"), leg_of=REF)
    leg = acknowledged(plan, "1002", **changes)
    desk.journal.intents[leg.intent_id], desk.journal.log[leg.intent_id] = leg, []
    return leg


async def test_the_rest_of_an_unfilled_parent_is_cancelled(desk):
    desk.clock.advance(5)
    settled = await desk.settle(broken())

    note = "the parent was cancelled before anything was filled"
    assert desk.door.cancelled == ["1001"]
    assert settled.mended == note
    assert desk.log == [Mended(at=START + timedelta(seconds=5), note=note)]
    assert desk.alert.message == f"CRITICAL: {STANDS}: {STOP.label}: too far away; {note}"
    (step,) = desk.steps
    assert (step.kind, step.text, step.at, step.details) == (
        StepKind.CANCEL,
        note,
        START + timedelta(seconds=5),
        {"ref": REF},
    )
    assert not desk.door.submitted


async def test_a_parent_that_has_ended_is_not_cancelled(desk):
    desk.door.seen[REF] = broken(state=IntentState.CANCELLED)
    settled = await desk.settle(broken())

    assert not desk.door.cancelled
    assert settled.mended


async def test_a_fill_that_could_not_be_written_down_is_no_ground_for_what_is_stored(desk):
    """Else it would be stored as filled with nothing filled, and nobody would look again."""
    no_profit = (LegAck(1, None, OrderStatus.INACTIVE, "no"), LegAck(2, OrderId("1002"), OrderStatus.PRE_SUBMITTED))
    written = broken(legs=no_profit)
    filled = dataclasses.replace(written, state=IntentState.FILLED, filled=Decimal(10))
    desk.door.seen[REF] = filled
    settled = await desk.settle(written)

    stored = desk.journal.intents[REF]
    assert (stored.state, stored.filled, stored.mended) == (IntentState.ACKED, 0, "10 filled; its stop stands")
    assert desk.door.refreshed_at == [written.version, stored.version]
    assert (settled.state, settled.filled, settled.mended) == (IntentState.FILLED, 10, stored.mended)


async def test_nor_is_it_for_the_orders_of_its_group(desk):
    desk.by_number = {"1002": child(PROFIT, "1002"), "1003": child(STOP, "1003")}
    written = bracket()
    desk.journal.intents[REF], desk.journal.log[REF] = written, []
    settled = await desk.keeper.settle(dataclasses.replace(written, state=IntentState.FILLED, filled=Decimal(10)))

    stored = desk.journal.intents[REF]
    assert (stored.state, stored.filled, stored.grouped) == (IntentState.ACKED, 0, True)
    assert desk.door.refreshed_at == [stored.version]
    assert settled.grouped


async def test_what_another_process_has_settled_meanwhile_is_left_alone(desk):
    desk.by_number = {"1002": child(PROFIT, "1002"), "1003": child(STOP, "1003")}
    grouped = bracket(grouped=True)
    mended = broken(mended="before")
    for there, ours in ((grouped, bracket()), (mended, broken(state=IntentState.CANCELLED))):
        desk.journal.intents[REF], desk.journal.log[REF] = there, []
        assert await desk.keeper.settle(ours) == there
        assert not desk.log


async def test_a_parent_that_still_works_after_its_cancel_is_due_yet(desk):
    desk.door.after_cancel = {}
    settled = await desk.settle(broken())

    assert not settled.mended
    assert settled.mend_due
    assert not desk.log
    assert not desk.steps


async def test_a_cancel_that_fails_is_told_and_due_yet(desk):
    desk.door.refuses = Unreachable("connection refused")
    settled = await desk.settle(broken())

    assert not settled.mended
    (step,) = desk.steps
    assert step.kind is StepKind.CRITICAL
    assert step.text == "the broken bracket could not be undone: connection refused"
    assert step.details == {"ref": REF}


async def test_by_policy_a_broken_bracket_is_only_told():
    desk = Desk(OnBroken.ALERT)
    settled = await desk.settle(broken(filled=Decimal(10)))

    assert settled.mended == "left as it is, by policy"
    assert not desk.door.cancelled
    assert desk.alert.message.endswith("; left as it is, by policy")


async def test_what_is_filled_is_left_to_a_stop_that_stands(desk):
    no_profit = (LegAck(1, None, OrderStatus.INACTIVE, "no"), LegAck(2, OrderId("1002"), OrderStatus.PRE_SUBMITTED))
    settled = await desk.settle(broken(state=IntentState.FILLED, filled=Decimal("10.0"), legs=no_profit))

    assert settled.mended == "10.0 filled; its stop stands"
    assert not desk.door.submitted


async def test_a_stop_that_is_merely_not_to_be_seen_is_for_a_person(desk):
    """It may still come up, and a close beside it would turn the position round."""
    unseen = (NO_STOP[0], LegAck(2, None, OrderStatus.UNKNOWN, "not to be seen at IBKR"))
    settled = await desk.settle(broken(state=IntentState.FILLED, filled=Decimal(10), legs=unseen))

    assert settled.mended == "10 filled, and not all of it is to be seen: look at IBKR and protect or close it"
    assert not desk.door.submitted


async def test_what_filled_without_a_stop_is_closed_at_the_market(desk):
    settled = await desk.settle(broken(state=IntentState.CANCELLED, filled=Decimal(4)))

    close = stock_ticket("4", side=Side.SELL)
    assert desk.door.submitted == [(close, child_key(KEY, "flatten"), "close", REF), "required"]
    assert desk.door.waited == [("1009", LOOK_S)]
    assert settled.mended == "4 filled without a stop was closed at 628.50"


async def test_after_three_closes_of_which_each_filled_a_part_the_rest_is_closed_under_the_last_key(desk):
    """The key of a close is never used for other terms; what is left then is the gateway's to refuse."""
    for attempt, filled in enumerate((1, 2, 3), start=1):
        key = child_key(KEY, "flatten" if attempt == 1 else f"flatten-{attempt}")
        plan = planned(stock_ticket("9", side=Side.SELL), key=key, intent_id=f"ib-close-{attempt}")
        partly = acknowledged(plan, f"20{attempt}", state=IntentState.CANCELLED, filled=Decimal(filled))
        desk.journal.intents[partly.intent_id] = partly

    await desk.settle(broken(state=IntentState.FILLED, filled=Decimal(10)))

    ticket, key, *_ = desk.door.submitted[0]
    assert (ticket.quantity, key) == (Decimal(4), child_key(KEY, "flatten-3"))


async def test_closes_that_grew_too_old_unsent_do_not_use_up_the_three_there_are(desk):
    """While IBKR cannot be reached each of them does, and the position stands without a stop as before."""
    for attempt in range(1, 6):
        key = child_key(KEY, "flatten" if attempt == 1 else f"flatten-{attempt}")
        plan = planned(stock_ticket("10", side=Side.SELL), key=key, intent_id=f"ib-close-{attempt}")
        unsent = acknowledged(plan, f"20{attempt}", state=IntentState.EXPIRED_LOCAL, sends=0)
        desk.journal.intents[unsent.intent_id] = unsent

    await desk.settle(broken(state=IntentState.FILLED, filled=Decimal(10)))

    ticket, key, *_ = desk.door.submitted[0]
    assert (ticket.quantity, key) == (Decimal(10), child_key(KEY, "flatten-6"))


async def test_a_sold_parent_is_bought_back(desk):
    sold = planned(dataclasses.replace(LIMIT, side=Side.SELL), others=(PROFIT, STOP), group=GroupKind.BRACKET)
    await desk.settle(acknowledged(sold, grouped=True, legs=NO_STOP, state=IntentState.FILLED, filled=Decimal(10)))

    assert desk.door.submitted[0][0].side is Side.BUY


async def test_a_close_that_is_not_filled_yet_is_told_with_its_number(desk):
    desk.door.closing = {}
    settled = await desk.settle(broken(state=IntentState.FILLED, filled=Decimal(10)))

    assert settled.mended == "10 filled without a stop; order 1009 closes it, which is not filled yet"


async def test_a_close_that_was_refused_leaves_the_bracket_due(desk):
    def refused(_intent):
        raise Unreachable("connection refused")

    desk.door.required = refused
    settled = await desk.settle(broken(state=IntentState.FILLED, filled=Decimal(10)))

    assert not settled.mended
    assert desk.steps[0].kind is StepKind.CRITICAL


@pytest.mark.parametrize(("sold", "left"), [(0, "10"), (4, "6"), (9, "1")])
async def test_a_take_profit_is_taken_away_first_and_what_it_sold_is_not_closed_again(desk, sold, left):
    with_profit(desk)
    desk.door.after_cancel = {"state": IntentState.CANCELLED, "filled": Decimal(sold)}
    await desk.settle(broken(state=IntentState.FILLED, filled=Decimal(10)))

    assert desk.door.cancelled == ["1002"]
    assert desk.door.submitted[0][0].quantity == Decimal(left)


@pytest.mark.parametrize("sold", [10, 12])
async def test_nothing_is_closed_that_the_take_profit_has_sold(desk, sold):
    leg = with_profit(desk)
    desk.door.seen[leg.intent_id] = dataclasses.replace(leg, state=IntentState.FILLED, filled=Decimal(sold))
    settled = await desk.settle(broken(state=IntentState.FILLED, filled=Decimal(10)))

    assert settled.mended == "10 filled and closed by what stood of the bracket"
    assert not desk.door.cancelled
    assert not desk.door.submitted


async def test_nothing_is_closed_while_the_take_profit_works_yet(desk):
    with_profit(desk)
    desk.door.after_cancel = {}
    settled = await desk.settle(broken(state=IntentState.FILLED, filled=Decimal(10)))

    assert not desk.door.submitted
    assert settled.mend_due


# -- siblings -----------------------------------------------------------------------------------------------------


def siblings(desk, parent, *states):
    """The legs of `parent` in the journal: (order id, state, seconds ago)."""
    for order_id, state, ago in states:
        plan = planned(STOP, intent_id=f"ib-{order_id}", ref=Ref(f"ib-{order_id}"), leg_of=REF)
        changed_at = desk.clock.now() - timedelta(seconds=ago)
        leg = acknowledged(plan, order_id, state=state, updated_at=changed_at)
        desk.journal.intents[leg.intent_id], desk.journal.log[leg.intent_id] = leg, []
    desk.journal.intents[REF] = parent
    return desk.keeper.look_after(parent)


WORKS, FILLED, GONE = IntentState.ACKED, IntentState.FILLED, IntentState.CANCELLED


@pytest.mark.parametrize(("ago", "cancelled"), [(4.9, []), (5, ["1002"])])
async def test_a_sibling_of_a_filled_order_is_cancelled_after_five_seconds(desk, ago, cancelled):
    first = oca(state=FILLED, updated_at=START - timedelta(seconds=ago))

    assert await siblings(desk, first, ("1002", WORKS, 0)) == ()
    assert desk.door.cancelled == cancelled
    assert [step.text for step in desk.steps] == [
        f"order {number} should be gone with its group" for number in cancelled
    ]
    assert all(step.kind is StepKind.CANCEL and step.details == {"ref": "ib-1002"} for step in desk.steps)


async def test_the_first_of_an_oca_group_is_a_sibling_too(desk):
    await siblings(desk, oca(), ("1002", FILLED, 60), ("1003", GONE, 60))

    assert desk.door.cancelled == ["1001"]


async def test_the_parent_of_a_bracket_is_no_sibling_of_its_children(desk):
    await siblings(desk, bracket(state=FILLED, updated_at=START - timedelta(seconds=60)), ("1002", WORKS, 0))

    assert not desk.door.cancelled
    await siblings(desk, bracket(), ("1002", FILLED, 60))
    assert not desk.door.cancelled


async def test_the_five_seconds_run_from_the_first_fill(desk):
    await siblings(desk, bracket(), ("1002", FILLED, 6), ("1003", FILLED, 1), ("1004", WORKS, 0))

    assert desk.door.cancelled == ["1004"]


async def test_nothing_is_cancelled_where_nothing_filled(desk):
    assert await siblings(desk, oca(), ("1002", WORKS, 60), ("1003", GONE, 60)) == ()
    assert not desk.door.cancelled


async def test_a_sibling_that_cannot_be_cancelled_is_told_and_the_next_is_tried(desk):
    desk.door.refuses = Unreachable("connection refused")
    await siblings(desk, bracket(), ("1002", FILLED, 60), ("1003", WORKS, 0), ("1004", WORKS, 0))

    assert desk.door.cancelled == ["1003", "1004"]
    failed = [step for step in desk.steps if step.kind is StepKind.CRITICAL]
    assert [step.text for step in failed] == [
        f"order {number} still stands: connection refused" for number in ("1003", "1004")
    ]
    assert failed[0].details == {"ref": "ib-1003"}


async def test_two_that_filled_are_told(desk):
    (alert,) = await siblings(desk, bracket(), ("1002", FILLED, 1), ("1003", FILLED, 1))

    assert (alert.kind, alert.severity, alert.subject, alert.at) == (
        AlertKind.BOTH_FILLED,
        Severity.CRITICAL,
        REF,
        START,
    )
    assert alert.message == (
        "CRITICAL: orders 1002, 1003 were to cancel each other and were all filled: check the position"
    )
    assert alert.details == {"account": ACCOUNT, "key": KEY}
