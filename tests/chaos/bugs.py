"""Mistakes put into the protocol on purpose: a harness that cannot find them proves nothing.

The first thirteen are those of the reliability rules: the eleven of the executable model, a kill switch that is asked
at intake only, and a lane without fencing. The others are further ones of the same kind.
"""

from __future__ import annotations

import contextlib
import dataclasses
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any

from ibkit.errors import Effect, IbkitError, OutcomeUnknown
from ibkit.model import AlreadyRegistered, Ref, SendPermit
from ibkit.store import fences, journal_rows
from ibkit.store import journal as store_journal
from ibkit.trading import conversation as talk
from ibkit.trading import deciding, reconcile
from ibkit.trading.conversation import Conversation
from ibkit.trading.events import Acknowledged, NotSent, RefusedByBroker, Sending
from ibkit.trading.evidence import Absent, Parked
from ibkit.trading.intent import IntentState, fold
from ibkit.trading.ports import Lane
from ibkit.trading.questions import QuestionPolicy, Verdict

from . import process

__all__ = ["BUGS", "WHERE", "planted"]


@contextmanager
def _patched(owner: Any, name: str, value: Any) -> Iterator[None]:
    original = owner.__dict__[name] if isinstance(owner, type) else getattr(owner, name)
    setattr(owner, name, value)
    try:
        yield
    finally:
        setattr(owner, name, original)


def _send_before_journal() -> AbstractContextManager[Any]:
    async def send(self: Any, intent: Any, facts: Any) -> Any:
        mark = await self.broker.mark()
        decision = await self.decisions.decide(intent, facts, talk.Stage.SEND)
        if decision.objection is not None:
            return await self._refuse(intent, decision)
        try:
            answer = await self._call(intent, SendPermit(self.clock.monotonic() + talk.SEND_DEADLINE_S))
        except IbkitError:
            answer = None
        sending = Sending(at=self.clock.now(), deadline_s=2.0, session=mark.session, trading_day=mark.trading_day)
        intent = await self.journal.append(intent, decision.event, sending)
        if answer is None:
            return await self._doubt(intent, "no answer")
        return await self._take(intent, answer, replied=False)

    return _patched(Conversation, "_send", send)


def _retry_post_on_timeout() -> AbstractContextManager[Any]:
    original = Conversation._call

    async def call(self: Any, intent: Any, *more: Any, **options: Any) -> Any:
        try:
            return await original(self, intent, *more, **options)
        except OutcomeUnknown:
            return await original(self, intent, *more, **options)

    return _patched(Conversation, "_call", call)


def _resend_after_crash() -> AbstractContextManager[Any]:
    original = Conversation._exchange

    async def exchange(self: Any, intent: Any, facts: Any, wanted: bool) -> Any:
        if intent.state is IntentState.SENDING:
            intent = await self.journal.append(intent, NotSent(at=self.clock.now(), reason="surely not sent"))
            if facts is None:
                return intent
        return await original(self, intent, facts, wanted)

    return _patched(Conversation, "_exchange", exchange)


def _judging(change: Callable[[Any, Any], Any], **more: Any) -> AbstractContextManager[Any]:
    """The evidence, read wrongly."""
    original = reconcile.assess
    stack = contextlib.ExitStack()

    def assess(intent: Any, **seen: Any) -> Any:
        return change(original(intent, **seen), seen)

    stack.enter_context(_patched(reconcile, "assess", assess))
    for name, value in more.items():
        stack.enter_context(_patched(reconcile, name, value))
    return stack


def _empty_is_absent() -> AbstractContextManager[Any]:
    return _judging(lambda found, _: Absent(True, True, False) if isinstance(found, Absent) else found, READS=1)


def _ignore_session_scope() -> AbstractContextManager[Any]:
    return _judging(lambda found, _: dataclasses.replace(found, moved=False) if isinstance(found, Absent) else found)


def _parked_is_absent() -> AbstractContextManager[Any]:
    def change(found: Any, seen: Any) -> Any:
        return Absent(seen["settled"], seen["settled"], False) if isinstance(found, Parked) else found

    return _judging(change)


def _timeout_means_rejected() -> AbstractContextManager[Any]:
    async def doubt(self: Any, intent: Any, reason: str, **_more: Any) -> Any:
        if intent.state is not IntentState.SENDING:
            return await original(self, intent, reason, **_more)
        return await self._store(intent, RefusedByBroker(at=self.clock.now(), code="E-ORD-REJECT", reason=reason))

    original = Conversation._doubt
    return _patched(Conversation, "_doubt", doubt)


def _journal_not_durable() -> AbstractContextManager[Any]:
    """The newest rows vanish with the process, as after a power cut without fsync."""
    original = process.Process.stop

    async def stop(self: Any) -> None:
        await original(self)
        path = self._schedule.path
        if not path.exists():
            return
        connection = sqlite3.connect(path)
        with contextlib.suppress(sqlite3.OperationalError), connection:
            connection.execute("DROP TRIGGER IF EXISTS intent_events_are_not_deleted")
            for intent_id, version in connection.execute(
                "SELECT intent_id, version FROM intents WHERE state = 'sending'"
            ).fetchall():
                connection.execute(
                    "DELETE FROM intent_events WHERE intent_id = ? AND number > ?", (intent_id, version - 2)
                )
                connection.execute(
                    "UPDATE intents SET state = 'claimed', version = version - 2 WHERE intent_id = ?", (intent_id,)
                )
        connection.close()

    return _patched(process.Process, "stop", stop)


def _early_reads_count() -> AbstractContextManager[Any]:
    return _patched(reconcile, "SETTLE_S", 0.0)


def _new_coid_on_retry() -> AbstractContextManager[Any]:
    original = Conversation._call

    async def call(self: Any, intent: Any, permit: Any) -> Any:
        if intent.sends > 1 and intent.operation is talk.Operation.PLACE:
            planned, ref = intent.planned, Ref(f"{intent.ref}{intent.sends}")
            more = {"others": planned.others, "group": planned.group, "permit": permit}
            return await self.broker.place(intent.ticket, ref=ref, **more)
        return await original(self, intent, permit)

    return _patched(Conversation, "_call", call)


def _registered_means_reject() -> AbstractContextManager[Any]:
    original = Conversation._take

    async def take(self: Any, intent: Any, answer: Any, *, replied: bool) -> Any:
        if isinstance(answer, AlreadyRegistered) and not replied:
            event = RefusedByBroker(at=self.clock.now(), code="E-ORD-REJECT", reason="registered")
            return await self._store(intent, event)
        return await original(self, intent, answer, replied=replied)

    return _patched(Conversation, "_take", take)


def _controls_at_intake_only() -> AbstractContextManager[Any]:
    original = deciding.Decisions.decide

    async def decide(self: Any, intent: Any, facts: Any, stage: Any, tied: Any = ()) -> Any:
        found = await original(self, intent, facts, stage, tied)
        if stage is talk.Stage.INTAKE:
            return found
        return dataclasses.replace(found, objection=None, event=dataclasses.replace(found.event, passed=True))

    return _patched(deciding.Decisions, "decide", decide)


def _kill_switch_at_intake_only() -> AbstractContextManager[Any]:
    """What is pressed later stops nothing that was taken in before."""
    original = deciding.case_of

    def case_of(planned: Any, facts: Any, state: Any, *, stage: Any, **more: Any) -> Any:
        state = state if stage is talk.Stage.INTAKE else dataclasses.replace(state, halts=())
        return original(planned, facts, state, stage=stage, **more)

    return _patched(deciding, "case_of", case_of)


def _lane_without_fencing() -> AbstractContextManager[Any]:
    """Who was stopped while another took the lane over goes on with what nobody has moved meanwhile."""
    return _patched(fences, "check_lane", lambda _connection, _after, _events: False)


def _no_fencing() -> AbstractContextManager[Any]:
    stack = contextlib.ExitStack()
    insert = journal_rows._insert_events

    def conversation(_self: Any, username: Any, *, wait_s: float) -> Any:
        return nullcontext(Lane(username, 0))

    def appended(connection: Any, intent_id: Any, first: int, events: Any) -> None:
        numbers = "SELECT max(number) FROM intent_events WHERE intent_id = ?"
        last = connection.exec_driver_sql(numbers, (intent_id,)).scalar()
        insert(connection, intent_id, first if last is None else last + 1, events)

    unfenced = journal_rows._UPDATE.replace("AND version = ?", "AND ? IS NOT NULL")
    stack.enter_context(_patched(store_journal.SqliteJournal, "conversation", conversation))
    stack.enter_context(_patched(fences, "check_lane", lambda _connection, _after, _events: False))
    stack.enter_context(_patched(journal_rows, "_UPDATE", unfenced))
    stack.enter_context(_patched(journal_rows, "_insert_events", appended))
    return stack


def _ack_before_journal() -> AbstractContextManager[Any]:
    async def accepted(self: Any, intent: Any, answer: Any) -> Any:
        event = Acknowledged(at=self.clock.now(), order_id=answer.order_id, status=answer.status, evidence="answer")
        return fold(intent, event)

    return _patched(Conversation, "_accepted", accepted)


def _reply_twice() -> AbstractContextManager[Any]:
    from ibkit.client.broker import IbkrBroker

    original = IbkrBroker.reply

    async def reply(self: Any, question_id: Any, **options: Any) -> Any:
        try:
            return await original(self, question_id, **options)
        except IbkitError as error:
            if error.effect is Effect.NONE:
                raise
            return await original(self, question_id, **options)

    return _patched(IbkrBroker, "reply", reply)


def _decline_ignored() -> AbstractContextManager[Any]:
    def decide(_self: Any, question: Any, **_more: Any) -> Verdict:
        return Verdict(True, (), "whatever it is")

    return _patched(QuestionPolicy, "decide", decide)


def _unknown_without_alert() -> AbstractContextManager[Any]:
    return _patched(reconcile, "alert_for", lambda _intent, _event: None)


BUGS: dict[str, Callable[[], AbstractContextManager[Any]]] = {
    "send before journal": _send_before_journal,
    "retry the POST on a time-out": _retry_post_on_timeout,
    "resend after a crash": _resend_after_crash,
    "an empty list is absence": _empty_is_absent,
    "a time-out means rejected": _timeout_means_rejected,
    "ignore the session of a read": _ignore_session_scope,
    "journal not durable": _journal_not_durable,
    "parked is absent": _parked_is_absent,
    "early reads count": _early_reads_count,
    "new client order id on a retry": _new_coid_on_retry,
    "registered means rejected": _registered_means_reject,
    "kill switch checked only at intake": _kill_switch_at_intake_only,
    "lane without fencing": _lane_without_fencing,
    "controls at intake only": _controls_at_intake_only,
    "no lock and no fencing": _no_fencing,
    "acknowledge before the journal": _ack_before_journal,
    "reply twice": _reply_twice,
    "answer yes to everything": _decline_ignored,
    "unknown without an alert": _unknown_without_alert,
}

WHERE: dict[str, tuple[int, str]] = {
    "send before journal": (0, "controls"),
    "retry the POST on a time-out": (8, "questions"),
    "resend after a crash": (4, "groups"),
    "an empty list is absence": (4, "groups"),
    "a time-out means rejected": (10, "plain"),
    "ignore the session of a read": (42, "plain"),
    "parked is absent": (30, "questions"),
    "registered means rejected": (246, "controls"),
    "journal not durable": (2, "swarm"),
    "early reads count": (13, "disk"),
    "new client order id on a retry": (0, "late resend"),
    "kill switch checked only at intake": (7, "controls"),
    "lane without fencing": (6, "rivals"),
    "controls at intake only": (4, "controls"),
    "no lock and no fencing": (2, "rivals"),
    "acknowledge before the journal": (1, "plain"),
    "reply twice": (2, "questions"),
    "answer yes to everything": (2, "questions"),
    "unknown without an alert": (2, "swarm"),
}
"""Schedules (seed and kind) that are known to show what few schedules show."""


@contextmanager
def planted(name: str) -> Iterator[None]:
    """The code with this mistake in it."""
    with BUGS[name]():
        yield
