"""The life of an intent as a fold: what can follow what, and what each state means."""

from __future__ import annotations

import dataclasses
from datetime import date, timedelta
from decimal import Decimal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fakes import START, USER, stock_ticket
from ibkit.model import Environment, GroupKind, Key, OrderId, OrderStatus, Question, QuestionId
from ibkit.store.event_codec import decode_event, encode_event
from ibkit.trading import events
from ibkit.trading.fingerprint import differing, fingerprint, ticket_terms
from ibkit.trading.intent import Intent, IntentState, fold, fold_all
from ibkit.trading.ref import derive_ref

KEY = Key("key-0123456789abcdef")


def planned(**changes: object) -> events.Planned:
    ticket = stock_ticket()
    ref = derive_ref(tenant="t", environment=Environment.PAPER, key=KEY)
    wish = events.Planned(
        at=START,
        intent_id=events.IntentId(ref),
        operation=events.Operation.PLACE,
        tenant="t",
        environment=Environment.PAPER,
        username=USER,
        key=KEY,
        ref=ref,
        account_id=ticket.account_id,
        ticket=ticket,
        target=None,
        terms=ticket_terms(ticket),
        fingerprint=fingerprint(ticket_terms(ticket)),
        expires_at=START,
        purpose="order",
    )
    return dataclasses.replace(wish, **changes)  # type: ignore[arg-type]


QUESTION = Question(QuestionId("q"), ("o163",), ("text",))
STEPS = (
    events.Claimed(at=START, owner="o"),
    events.Sending(at=START, deadline_s=2.0, session="1", trading_day=date(2026, 11, 20)),
    events.NotSent(at=START, reason="r"),
    events.Questioned(at=START, question=QUESTION),
    events.Replying(at=START, question_id=QUESTION.question_id, confirmed=True, why="w"),
    events.Acknowledged(at=START, order_id=OrderId("1"), status=OrderStatus.SUBMITTED, evidence="answer"),
    events.RefusedLocally(at=START, code="E-RISK", control="RC-07", reason="r"),
    events.RefusedByPolicy(at=START, reason="r"),
    events.RefusedByBroker(at=START, code="E-ORD-REJECT", reason="r"),
    events.Expired(at=START, reason="r"),
    events.Doubted(at=START, reason="r"),
    events.Looked(at=START, list_absent=True, fills_absent=True, parked=False, note=""),
    events.ProvenAbsent(at=START, reason="r"),
    events.GaveUp(at=START, unknown=events.UnknownReason.UNPROVEN, reason="r"),
    events.Adopted(at=START, order_id=OrderId("1"), status=OrderStatus.SUBMITTED, evidence="trades"),
    events.Progressed(
        at=START, status=OrderStatus.FILLED, filled=stock_ticket().quantity, average_price=None, refused=False
    ),
)


@pytest.mark.requirement("GWY-06", "TRD-22")
@settings(max_examples=300)
@given(st.lists(st.sampled_from(STEPS), max_size=14))
def test_whatever_happens_an_end_stays_an_end_and_doubt_never_becomes_a_first_send(steps):
    """Only `Adopted` leads out of an end, and it leads to an order that exists."""
    log: list[events.Event] = [planned()]
    intent: Intent = fold(None, log[0])
    for step in steps:
        try:
            after = fold(intent, step)
        except AssertionError:
            continue  # it cannot follow
        if intent.state.final:
            assert isinstance(step, events.Adopted)
            assert after.state is IntentState.ACKED
        if intent.state in (IntentState.AMBIGUOUS, IntentState.RECONCILING):
            assert after.state not in (IntentState.INTENT, IntentState.CLAIMED, IntentState.SENDING)
        log.append(step)
        intent = after
    assert intent.version == len(log)
    assert fold_all(decode_event(*encode_event(event)) for event in log) == intent


@pytest.mark.requirement("GWY-03")
def test_terms_are_compared_as_numbers_not_as_text():
    assert fingerprint(ticket_terms(stock_ticket("1.0"))) == fingerprint(ticket_terms(stock_ticket("1.00")))
    assert fingerprint(ticket_terms(stock_ticket("100"))) == fingerprint(ticket_terms(stock_ticket("1E+2")))
    assert differing(ticket_terms(stock_ticket("1")), ticket_terms(stock_ticket("2", outside_rth=True))) == (
        "outside_rth",
        "quantity",
    )


# -- what each event changes ----------------------------------------------------------------------------------------

S = IntentState
LATER = START + timedelta(seconds=9)
CLAIMED, SENT = events.Claimed(at=START, owner="o", epoch=3), STEPS[1]
ASKED = events.Questioned(at=START, question=QUESTION)
YES, NO = (
    events.Replying(at=START, question_id=QUESTION.question_id, confirmed=confirmed, why="w")
    for confirmed in (True, False)
)
ACKED = events.Acknowledged(
    at=START,
    order_id=OrderId("1"),
    status=OrderStatus.SUBMITTED,
    evidence="answer",
    legs=(events.LegAck(1, OrderId("2"), OrderStatus.SUBMITTED),),
)
LOST = events.Doubted(at=START, reason="lost", refused_code="E-HTTP", exists=True)
ABSENT = events.Looked(at=START, list_absent=True, fills_absent=True, parked=True, note="")
SEEN = events.Looked(at=START, list_absent=False, fills_absent=False, parked=False, note="")
UNKNOWN = events.GaveUp(at=START, unknown=events.UnknownReason.PARKED, reason="parked")
FILLED = events.Progressed(
    at=START, status=OrderStatus.FILLED, filled=Decimal(10), average_price=Decimal(2), refused=False, total=Decimal(10)
)
NEXT = OrderId("17")


def progress(**changes: object) -> events.Progressed:
    return dataclasses.replace(FILLED, at=LATER, **changes)  # type: ignore[arg-type]


def doubt(**changes: object) -> events.Doubted:
    return events.Doubted(at=LATER, reason="why", **changes)  # type: ignore[arg-type]


CHANGES = {
    "claimed": ((), events.Claimed(at=LATER, owner="o", epoch=7), {"state": S.CLAIMED, "epoch": 7}),
    "taken over": ((CLAIMED, SENT), events.TakenOver(at=LATER, owner="p", epoch=8), {"epoch": 8}),
    "decided": ((), events.Decided(at=LATER, stage=events.Stage.INTAKE, passed=True, version="v"), {}),
    "sent": (
        (CLAIMED,),
        events.Sending(at=LATER, deadline_s=2.0, session="5", trading_day=date(2026, 11, 23)),
        {"state": S.SENDING, "sends": 1, "sent_at": LATER, "session": "5", "trading_day": date(2026, 11, 23)},
    ),
    "not sent": (
        (CLAIMED, SENT),
        events.NotSent(at=LATER, reason="no line"),
        {"state": S.INTENT, "sends": 0, "reason": "no line"},
    ),
    "asked": (
        (CLAIMED, SENT),
        dataclasses.replace(ASKED, at=LATER),
        {"state": S.QUESTIONED, "question": QUESTION, "asked_at": LATER},
    ),
    "asked again": ((CLAIMED, SENT, ASKED, YES), dataclasses.replace(ASKED, at=LATER), {"state": S.QUESTIONED}),
    "confirmed": (
        (CLAIMED, SENT, ASKED),
        dataclasses.replace(YES, at=LATER, why="allowed"),
        {"state": S.REPLYING, "replies": 1, "reason": "allowed"},
    ),
    "declined": (
        (CLAIMED, SENT, ASKED),
        dataclasses.replace(NO, at=LATER),
        {"state": S.REPLYING, "replies": 1, "declined": True, "reason": "w"},
    ),
    "confirmed after it was declined": (
        (CLAIMED, SENT, ASKED, NO, ASKED),
        dataclasses.replace(YES, at=LATER),
        {"state": S.REPLYING, "replies": 2},
    ),
    "not replied": (
        (CLAIMED, SENT, ASKED, YES, ASKED, YES),
        events.NotSent(at=LATER, reason="no line"),
        {"state": S.QUESTIONED, "replies": 1},
    ),
    "taken": (
        (CLAIMED, SENT),
        dataclasses.replace(ACKED, at=LATER),
        {"state": S.ACKED, "order_id": "1", "order_status": OrderStatus.SUBMITTED, "legs": ACKED.legs},
    ),
    "taken after a doubt": (
        (CLAIMED, SENT, LOST),
        dataclasses.replace(ACKED, at=LATER, legs=()),
        {"state": S.ACKED, "order_id": "1", "order_status": OrderStatus.SUBMITTED, "reason": ""},
    ),
    "adopted": (
        (CLAIMED, SENT, LOST, UNKNOWN),
        events.Adopted(at=LATER, order_id=NEXT, status=OrderStatus.FILLED, evidence="trades"),
        {
            "state": S.ACKED,
            "order_id": NEXT,
            "order_status": OrderStatus.FILLED,
            "reason": "",
            "code": "",
            "unknown": None,
        },
    ),
    "attached": (
        (),
        events.Attached(at=LATER, order_id=NEXT, status=OrderStatus.PRE_SUBMITTED),
        {"state": S.ACKED, "order_id": NEXT, "order_status": OrderStatus.PRE_SUBMITTED},
    ),
    "grouped": ((CLAIMED, SENT, ACKED), events.Grouped(at=LATER, legs=()), {"legs": (), "grouped": True}),
    "mended": ((CLAIMED, SENT, ACKED), events.Mended(at=LATER, note="cancelled"), {"mended": "cancelled"}),
    "in doubt": (
        (CLAIMED, SENT),
        doubt(refused_code="E-HTTP", exists=True),
        {"state": S.AMBIGUOUS, "settle_from": LATER, "refused_code": "E-HTTP", "registered": True, "reason": "why"},
    ),
    "looked for": (
        (CLAIMED, SENT, LOST),
        dataclasses.replace(ABSENT, at=LATER),
        {"state": S.RECONCILING, "list_absences": 1, "fills_absent": True, "parked": True},
    ),
    "looked for twice": ((CLAIMED, SENT, LOST, ABSENT), dataclasses.replace(ABSENT, at=LATER), {"list_absences": 2}),
    "seen after it was absent": ((CLAIMED, SENT, LOST, ABSENT), dataclasses.replace(SEEN, at=LATER), {"parked": False}),
    "proven absent": (
        (CLAIMED, SENT, LOST, ABSENT),
        events.ProvenAbsent(at=LATER, reason="twice not there"),
        {"state": S.NOT_PLACED, "code": "E-TIMEOUT", "reason": "twice not there"},
    ),
    "armed again": (
        (CLAIMED, SENT, LOST, ABSENT),
        events.Rearmed(at=LATER),
        {"state": S.INTENT, "reason": ""},
    ),
    "in doubt once more": (
        (CLAIMED, SENT, LOST, ABSENT, events.Rearmed(at=START)),
        doubt(),
        {
            "state": S.AMBIGUOUS,
            "settle_from": LATER,
            "refused_code": "",
            "reason": "why",
            "list_absences": 0,
            "fills_absent": False,
            "parked": False,
        },
    ),
    "too old once it was armed again": (
        (CLAIMED, SENT, LOST, ABSENT, events.Rearmed(at=START)),
        events.Expired(at=LATER, reason="too old"),
        {"state": S.NOT_PLACED, "code": "E-TIMEOUT", "reason": "proven not to be at IBKR; too old"},
    ),
    "given up": (
        (CLAIMED, SENT, LOST),
        dataclasses.replace(UNKNOWN, at=LATER),
        {
            "state": S.UNKNOWN_NEEDS_HUMAN,
            "code": "E-ORD-UNKNOWN",
            "unknown": events.UnknownReason.PARKED,
            "reason": "parked",
        },
    ),
    "resolved": (
        (CLAIMED, SENT, LOST, UNKNOWN),
        events.Resolved(at=LATER, by="ada", note="looked"),
        {"resolved": True},
    ),
    "refused by a limit": (
        (),
        events.RefusedLocally(at=LATER, code="E-RISK", control="RC-07", reason="too many"),
        {"state": S.REJECTED_LOCAL, "code": "E-RISK", "control": "RC-07", "reason": "too many"},
    ),
    "refused by a rule on questions": (
        (CLAIMED, SENT, ASKED, NO),
        events.RefusedByPolicy(at=LATER, reason="o163"),
        {"state": S.REJECTED_POLICY, "code": "E-ORD-QUESTION", "reason": "o163"},
    ),
    "refused by the broker": (
        (CLAIMED, SENT),
        events.RefusedByBroker(at=LATER, code="E-ORD-REJECT", reason="margin"),
        {"state": S.REJECTED_BROKER, "code": "E-ORD-REJECT", "reason": "margin"},
    ),
    "too old": (
        (CLAIMED,),
        events.Expired(at=LATER, reason="too old"),
        {"state": S.EXPIRED_LOCAL, "code": "E-RISK", "control": "RC-26", "reason": "too old"},
    ),
    "filled": (
        (CLAIMED, SENT, ACKED),
        progress(),
        {
            "state": S.FILLED,
            "order_status": OrderStatus.FILLED,
            "filled": 10,
            "average_price": 2,
            "total": 10,
        },
    ),
    "cancelled in part": (
        (CLAIMED, SENT, ACKED),
        progress(status=OrderStatus.CANCELLED, filled=Decimal(4), total=None, reason="by the user"),
        {
            "state": S.CANCELLED,
            "order_status": OrderStatus.CANCELLED,
            "filled": 4,
            "average_price": 2,
            "reason": "by the user",
        },
    ),
    "refused late": (
        (CLAIMED, SENT, ACKED),
        progress(status=OrderStatus.INACTIVE, filled=Decimal(0), average_price=None, total=None, refused=True),
        {"state": S.REJECTED_LATE, "order_status": OrderStatus.INACTIVE},
    ),
    "working, its size not told again": (
        (CLAIMED, SENT, ACKED, dataclasses.replace(FILLED, status=OrderStatus.SUBMITTED, total=Decimal(30))),
        progress(status=OrderStatus.SUBMITTED, filled=Decimal(11), total=None),
        {"filled": 11},
    ),
    "working, of another size": (
        (CLAIMED, SENT, ACKED),
        progress(status=OrderStatus.SUBMITTED, filled=Decimal(1), total=Decimal(30)),
        {"filled": 1, "average_price": 2, "total": 30},
    ),
}


@pytest.mark.requirement("GWY-06", "TRD-22")
@pytest.mark.parametrize("title", list(CHANGES))
def test_each_event_changes_what_it_tells_and_nothing_else(title):
    before, event, expected = CHANGES[title]
    start = fold_all((planned(), *before))
    after = fold(start, event)

    names = [field.name for field in dataclasses.fields(Intent)]
    changed = {name: getattr(after, name) for name in names if getattr(after, name) != getattr(start, name)}
    assert changed == {**expected, "version": start.version + 1, "updated_at": LATER}


# -- what an intent says of itself ----------------------------------------------------------------------------------


def test_a_label_names_what_is_asked_for():
    ticket = stock_ticket("10")
    external = {"operation": events.Operation.EXTERNAL, "ticket": None, "target": NEXT}
    other = stock_ticket("4")

    def label(**changes: object) -> str:
        return fold_all((planned(**changes),)).label

    assert label() == ticket.label
    assert label(operation=events.Operation.CANCEL, ticket=None, target=NEXT) == "cancel of order 17"
    assert label(operation=events.Operation.MODIFY, target=NEXT) == f"change of order 17 to {ticket.label}"
    assert label(**external, terms={"description": "BUY 1 QQQ"}) == "order 17 of somebody else: BUY 1 QQQ"
    assert label(**external, terms={}) == "order 17 of somebody else"
    pair = label(group=GroupKind.BRACKET, others=(other, ticket))
    assert pair == f"{ticket.label} ({GroupKind.BRACKET.value} with {other.label}, {ticket.label})"


def test_a_group_is_over_once_it_was_looked_at_and_a_broken_bracket_once_it_is_undone():
    whole = (events.LegAck(1, OrderId("2"), OrderStatus.SUBMITTED),)
    broken = (*whole, events.LegAck(2, None, None, "margin"), events.LegAck(3, OrderId("4"), None, "cancelled"))

    def after(*more: events.Event, group: GroupKind | None = GroupKind.BRACKET) -> Intent:
        return fold_all((planned(group=group), CLAIMED, SENT, ACKED, FILLED, *more))

    assert (after(group=None).final, after(group=None).group_open) == (True, False)
    assert (after().final, after().group_open, after().broken) == (False, True, ())
    taken = after(events.Grouped(at=START, legs=whole))
    assert (taken.final, taken.group_open, taken.broken, taken.mend_due) == (True, False, (), False)
    torn = after(events.Grouped(at=START, legs=broken))
    assert (torn.final, torn.broken, torn.mend_due) == (False, broken[1:], True)
    undone = after(events.Grouped(at=START, legs=broken), events.Mended(at=START, note="sold"))
    assert (undone.final, undone.mend_due) == (True, False)
    oca = after(events.Grouped(at=START, legs=broken), group=GroupKind.OCA)
    assert (oca.final, oca.mend_due) == (True, False)
    assert not fold_all((planned(group=GroupKind.OCA), CLAIMED, SENT)).group_open


def test_a_change_is_done_when_it_is_acknowledged_and_an_order_when_it_ends():
    change = {"operation": events.Operation.MODIFY, "target": NEXT}

    assert fold_all((planned(**change), CLAIMED, SENT, ACKED)).final
    assert not fold_all((planned(**change), CLAIMED, SENT)).final
    assert not fold_all((planned(), CLAIMED, SENT, ACKED)).final


def test_a_size_is_what_the_broker_told_last():
    assert fold_all((planned(),)).size == 10
    assert (
        fold_all((planned(), CLAIMED, SENT, ACKED, progress(status=OrderStatus.SUBMITTED, total=Decimal(7)))).size == 7
    )


def test_a_cancel_that_was_sent_before_may_act():
    cancel = {"operation": events.Operation.CANCEL, "ticket": None, "target": NEXT}
    again = (CLAIMED, SENT, LOST, ABSENT, events.Rearmed(at=START))

    assert fold_all((planned(**cancel), *again)).earlier_send_may_act
    assert not fold_all((planned(**cancel), CLAIMED)).earlier_send_may_act
    assert not fold_all((planned(), *again)).earlier_send_may_act


def test_a_cancel_that_is_armed_again_and_too_old_was_never_placed_only_if_it_is_an_order():
    """Its first send may have acted: it ends as it is, and the order it names tells what became of it."""
    cancel = planned(operation=events.Operation.CANCEL, ticket=None, target=NEXT)
    late = events.Expired(at=LATER, reason="too old")

    ended = fold_all((cancel, CLAIMED, SENT, LOST, ABSENT, events.Rearmed(at=START), late))
    assert (ended.state, ended.code, ended.control) == (S.EXPIRED_LOCAL, "E-RISK", "RC-26")


@pytest.mark.parametrize(
    ("log", "why"),
    [
        ((planned(), planned()), "an intent is planned once"),
        ((CLAIMED,), "Claimed before Planned"),
        ((planned(), SENT), "Sending cannot follow INTENT"),
        ((), "no events"),
    ],
)
def test_what_cannot_follow_is_our_own_mistake(log, why):
    with pytest.raises(AssertionError, match=why):
        fold_all(log)
