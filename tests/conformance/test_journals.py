"""One suite for every implementation of the journal's port."""

from __future__ import annotations

from contextlib import asynccontextmanager
from datetime import date, timedelta

import anyio
import pytest

from fakes import ACCOUNT, START, USER, MemoryJournal, stock_ticket
from ibkit.clock import ManualClock
from ibkit.errors import InFlight
from ibkit.model import Environment, Key, OrderId, OrderStatus, Question, QuestionId
from ibkit.store import open_journal
from ibkit.trading.alert import Alert, AlertKind, Severity
from ibkit.trading.events import (
    Acknowledged,
    Claimed,
    Decided,
    Doubted,
    Expired,
    GaveUp,
    IntentId,
    Operation,
    Planned,
    Questioned,
    Replying,
    Resolved,
    Sending,
    Stage,
    UnknownReason,
)
from ibkit.trading.fingerprint import fingerprint, ticket_terms
from ibkit.trading.intent import IntentState
from ibkit.trading.ref import derive_ref

pytestmark = pytest.mark.anyio

KEY = Key("key-0123456789abcdef")


@pytest.fixture(params=["memory", "sqlite"])
async def journal(request, tmp_path):
    clock = ManualClock(START)
    async with _opened(request.param, tmp_path, clock) as opened:
        yield opened


@asynccontextmanager
async def _opened(kind, tmp_path, clock):
    if kind == "memory":
        yield MemoryJournal(clock)
    else:
        async with open_journal(tmp_path / "state" / "journal.sqlite", clock=clock) as opened:
            yield opened


def planned(key=KEY, quantity="10", *, reduces=None, at=START):
    ticket = stock_ticket(quantity)
    ref = derive_ref(tenant="local", environment=Environment.PAPER, key=key)
    terms = ticket_terms(ticket)
    return Planned(
        at=at,
        intent_id=IntentId(ref),
        operation=Operation.PLACE,
        tenant="local",
        environment=Environment.PAPER,
        username=USER,
        key=key,
        ref=ref,
        account_id=ACCOUNT,
        ticket=ticket,
        target=None,
        terms=terms,
        fingerprint=fingerprint(terms),
        expires_at=at + timedelta(seconds=30),
        purpose="order",
        reduces=reduces,
        confirm=("o10331",),
    )


def sending():
    return (
        Decided(at=START, stage=Stage.INTAKE, passed=True, version="v1"),
        Claimed(at=START, owner="test"),
        Sending(at=START, deadline_s=2.0, session="1", trading_day=date(2026, 11, 20)),
    )


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
        *sending(),
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
