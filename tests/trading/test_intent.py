"""The life of an intent as a fold: what can follow what, and what each state means."""

from __future__ import annotations

from datetime import date

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fakes import START, USER, stock_ticket
from ibkit.model import Environment, Key, OrderId, OrderStatus, Question, QuestionId
from ibkit.store.event_codec import decode_event, encode_event
from ibkit.trading import events
from ibkit.trading.fingerprint import differing, fingerprint, ticket_terms
from ibkit.trading.intent import Intent, IntentState, fold, fold_all
from ibkit.trading.ref import derive_ref

KEY = Key("key-0123456789abcdef")


def planned() -> events.Planned:
    ticket = stock_ticket()
    ref = derive_ref(tenant="t", environment=Environment.PAPER, key=KEY)
    return events.Planned(
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
