"""One order talked through with IBKR: send, questions, replies, acknowledgement; every step on disk before it is made.

Held under the conversation lock of the user name, because confirming one order can release another's parked
question. Source: docs/facts/orders.md §3.1-3.2, reliability decisions 2, 3, 7, 8 and faults F34-F45, F91.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass

from ibkit.clock import Clock
from ibkit.errors import (
    ConfigError,
    Effect,
    IbkitError,
    InFlight,
    OutcomeUnknown,
    Refused,
    StorageError,
    TradingError,
    Unreachable,
)
from ibkit.model import (
    Accepted,
    AlreadyRegistered,
    Answer,
    Asked,
    CancelAck,
    OrderStatus,
    Question,
    Ref,
    Rejected,
    SendPermit,
    Username,
)
from ibkit.trading.alert import Alert, AlertKind, Severity
from ibkit.trading.answering import MOST_REPLIES, QUESTIONS_S, Answering, asked_for_s
from ibkit.trading.deciding import Decision, Decisions
from ibkit.trading.events import (
    Acknowledged,
    Claimed,
    Decided,
    Doubted,
    Event,
    Expired,
    NotSent,
    Operation,
    Questioned,
    RefusedByBroker,
    RefusedByPolicy,
    RefusedLocally,
    Replying,
    Sending,
    Stage,
    TakenOver,
)
from ibkit.trading.groups import acknowledged_legs
from ibkit.trading.intent import Intent, IntentState
from ibkit.trading.outcome import refusal_code
from ibkit.trading.ports import Broker, ControlsMoved, Fenced, Journal, Lane, lane_of
from ibkit.trading.questions import Verdict
from ibkit.trading.reconcile import Reconciler, alert_for, progressed
from ibkit.trading.ref import same_ref
from ibkit.trading.risk import Facts
from ibkit.trading.shelter import sheltered
from ibkit.trading.timeline import Observer, Step, StepKind

__all__ = ["SEND_DEADLINE_S", "Conversation"]

SEND_DEADLINE_S = 2.0
"""Between the journal row and the first byte; a process that slept longer does not write (fault F91)."""
_EXCHANGE_S = 120.0
"""Bound of the sheltered span: one order call of 30 s, questions of 30 s, and their last reply of 30 s."""
_REPLY_RETRY_S = 1.0
_MOST_DECISIONS = 8
"""Of one send: each time the limits, a kill switch or the account's sends change in between, it is decided anew."""

_REFUSING = (400, 403, 411, 429)
"""Statuses that IBKR refuses with; a proxy may, too, so each is believed only after one look (requirement TRD-22)."""

_DONE = (IntentState.AMBIGUOUS, IntentState.RECONCILING)


@dataclass(frozen=True, slots=True, kw_only=True)
class Conversation:
    """lanes: the rights to talk, as `lane_of` names them, held by the caller; their epochs go into every send."""

    broker: Broker
    journal: Journal
    clock: Clock
    decisions: Decisions
    answering: Answering
    reconciler: Reconciler
    owner: str
    observe: Observer
    lanes: Mapping[Username, Lane]

    async def carry_out(self, intent: Intent, facts: Facts | None, *, wanted: bool) -> Intent:
        """`intent` brought to rest, or to INTENT where it may be sent anew. The caller holds the conversation.

        facts:  for the controls; None where nothing may be sent any more.
        wanted: somebody asks for it now; otherwise nothing is sent, and an open question is declined.
        """
        epoch = self._epoch(intent)
        if intent.state.in_progress and intent.state is not IntentState.INTENT and intent.epoch != epoch:
            intent = await self.journal.append(intent, TakenOver(at=self.clock.now(), owner=self.owner, epoch=epoch))
        while intent.state.in_progress:
            if intent.state in _DONE:
                intent = await self._settled(intent)
                self._tell_end(intent)
                if intent.state is IntentState.INTENT:
                    return intent
            elif intent.state in (IntentState.INTENT, IntentState.CLAIMED) and (not wanted or facts is None):
                return intent
            else:
                intent = await self._exchange_sheltered(intent, facts, wanted)
        return intent

    def _epoch(self, intent: Intent) -> int:
        """Of the lane that it was planned in; whoever carries it out holds that one, whatever the broker's name now."""
        lane = self.lanes.get(lane_of(intent.planned))
        if lane is None:  # somebody has planned this key under another name since it was looked up
            raise InFlight(f"Order {intent.intent_id} was just taken in under another name of the login")
        return lane.epoch

    async def _settled(self, intent: Intent) -> Intent:
        try:
            return await self.reconciler.settle(intent)
        except StorageError as error:
            raise _unstored(intent, error) from error

    async def _exchange_sheltered(self, intent: Intent, facts: Facts | None, wanted: bool) -> Intent:
        try:
            return await sheltered(lambda: self._exchange(intent, facts, wanted), within_s=_EXCHANGE_S)
        except TimeoutError as error:
            try:
                now = await self.journal.get(intent.intent_id)
            except StorageError as problem:
                raise _unstored(intent, problem) from problem
            assert now is not None, "a stored intent does not vanish"
            if now.state in (IntentState.SENDING, IntentState.REPLYING, IntentState.QUESTIONED):
                return await self._store(now, Doubted(at=self.clock.now(), reason="the exchange took too long"))
            if now.state.in_progress:
                raise Unreachable("the order could not be sent in time; nothing was sent") from error
            return now

    async def _exchange(self, intent: Intent, facts: Facts | None, wanted: bool) -> Intent:
        """Everything from the claim to a classified answer; ends at rest, in doubt, or with an error (not sent)."""
        while intent.state.in_progress and intent.state not in _DONE:
            match intent.state:
                case IntentState.INTENT if facts is not None:
                    intent = await self._claim(intent, facts)
                case IntentState.CLAIMED if facts is not None:
                    intent = await self._send(intent, facts)
                case IntentState.QUESTIONED if self.journal.restored:
                    # It may lack the answer that was given; a second one could reach a question of another order.
                    reason = "the journal is an older copy of itself: the question may have been answered since"
                    intent = await self._doubt(intent, reason)
                case IntentState.QUESTIONED:
                    intent = await self._reply(intent, facts if wanted else None)
                case _:
                    reason = "the process ended before the answer was on disk"
                    intent = await self._store(intent, Doubted(at=self.clock.now(), reason=reason))
        return intent

    # -- before the bytes -----------------------------------------------------------------------------------------

    async def _claim(self, intent: Intent, facts: Facts) -> Intent:
        decision = await self.decisions.decide(intent, facts, Stage.INTAKE)
        if decision.objection is not None:
            return await self._refuse(intent, decision)
        self._tell(StepKind.CHECKS, "risk controls passed", ref=intent.ref, version=decision.event.version)
        claimed = Claimed(at=self.clock.now(), owner=self.owner, epoch=self._epoch(intent))
        return await self.journal.append(intent, decision.event, claimed)

    async def _send(self, intent: Intent, facts: Facts) -> Intent:
        mark = await self.broker.mark()
        for _ in range(_MOST_DECISIONS):
            decision = await self.decisions.decide(intent, facts, Stage.SEND)
            if decision.objection is not None:
                return await self._refuse(intent, decision)
            deadline = self.clock.monotonic() + SEND_DEADLINE_S
            sending = Sending(
                at=self.clock.now(),
                deadline_s=SEND_DEADLINE_S,
                session=mark.session,
                trading_day=mark.trading_day,
            )
            try:
                intent = await self.journal.append(intent, decision.event, sending)
            except ControlsMoved:
                continue
            break
        else:
            raise Unreachable("the limits kept changing while the order was to be sent; nothing was sent")
        if self.clock.monotonic() > deadline:
            return await self._too_late(intent)
        self._tell(StepKind.SENT, f"sent: {intent.label}", ref=intent.ref)
        permit = self._held(intent, self.decisions.permit(intent, facts, Stage.SEND, decision.event, deadline))
        return await self._classified(intent, lambda: self._call(intent, permit), replied=False)

    def _held(self, intent: Intent, permit: SendPermit) -> SendPermit:
        """`permit`, as long as the lane is ours: a process that was stopped after its row may have been overtaken.

        Two seconds are too long to tell: who takes over may be done with its first look within one (F91, F105).
        """

        async def check() -> None:
            await self.journal.still_held(intent)
            await permit.check()

        return SendPermit(permit.send_by, check)

    async def _call(self, intent: Intent, permit: SendPermit) -> Answer | CancelAck:
        planned = intent.planned
        match intent.operation:
            case Operation.PLACE:
                return await self.broker.place(
                    intent.ticket, ref=intent.ref, others=planned.others, group=planned.group, permit=permit
                )
            case Operation.MODIFY:
                assert planned.target is not None, "a change has a target"
                return await self.broker.modify(planned.target, intent.ticket, permit=permit)
            case Operation.CANCEL:
                assert planned.target is not None, "a cancel has a target"
                return await self.broker.cancel(planned.account_id, planned.target, permit=permit)
            case Operation.EXTERNAL:
                raise AssertionError("an order of somebody else is never sent")

    async def _too_late(self, intent: Intent) -> Intent:
        """Back to where it may be sent anew: the controls then judge its age and its quote again."""
        reason = f"not sent: more than {SEND_DEADLINE_S:g} s passed since it was journaled"
        return await self.journal.append(intent, NotSent(at=self.clock.now(), reason=reason))

    async def _refuse(self, intent: Intent, decision: Decision) -> Intent:
        objection = decision.objection
        assert objection is not None, "a refusal has its objection"
        if intent.earlier_send_may_act and objection.control == "RC-26":
            return await self.doubt_earlier_send(intent)
        now = self.clock.now()
        end: Event
        if objection.control == "RC-26":
            end = Expired(at=now, reason=objection.text)
        else:
            end = RefusedLocally(at=now, code=objection.code, control=objection.control, reason=objection.text)
        self._tell(StepKind.REFUSED, objection.text, ref=intent.ref, control=objection.control, code=objection.code)
        return await self.journal.append(intent, decision.event, end)

    async def doubt_earlier_send(self, intent: Intent) -> Intent:
        """A cancel that was armed again and may not be sent again: its earlier send may still be carried out."""
        return await self._doubt(intent, "not to be sent again, but an earlier send may still be carried out")

    # -- questions ------------------------------------------------------------------------------------------------

    async def _reply(self, intent: Intent, facts: Facts | None) -> Intent:
        """Answer the open question; without facts (nobody wants the order any more) the answer is no."""
        question = intent.question
        assert question is not None, "a questioned intent has its question"
        verdict = await self.answering.verdict(intent, facts)
        if intent.replies > MOST_REPLIES:
            return await self._doubt(intent, f"still asked after {MOST_REPLIES} replies and a no")
        if asked_for_s(intent, self.clock) > 2 * QUESTIONS_S and intent.declined:
            return await self._doubt(intent, "the question could not be declined in time")
        intent, verdict, permit = await self._reply_stored(intent, question, verdict, facts)
        if self.clock.monotonic() > permit.send_by:
            return await self._too_late(intent)
        word = "yes" if verdict.confirmed else "no"
        ids = ", ".join(question.message_ids)
        self._tell(StepKind.ANSWER, f"answered {word} to {ids or 'it'}: {verdict.why}", ref=intent.ref, ids=ids)
        try:
            return await self._classified(
                intent,
                lambda: self.broker.reply(
                    question.question_id, confirmed=verdict.confirmed, ref=_ref_answered(intent), permit=permit
                ),
                replied=True,
            )
        except IbkitError as error:
            return await self._reply_not_sent(intent, error)

    async def _reply_stored(
        self, intent: Intent, question: Question, verdict: Verdict, facts: Facts | None
    ) -> tuple[Intent, Verdict, SendPermit]:
        """The reply on disk, and the permit to send it. A yes is decided by the controls, too, as they are now."""
        for _ in range(_MOST_DECISIONS):
            decided: tuple[Decided, ...] = ()
            if verdict.confirmed:
                assert facts is not None, "a yes has its facts"
                decision = await self.decisions.decide(intent, facts, Stage.CONFIRM, verdict.tied)
                decided = (decision.event,)
                if decision.objection is not None:
                    verdict = Verdict(False, question.message_ids, decision.objection.text)
            deadline = self.clock.monotonic() + SEND_DEADLINE_S
            replying = Replying(
                at=self.clock.now(),
                question_id=question.question_id,
                confirmed=verdict.confirmed,
                why=verdict.why,
            )
            try:
                stored = await self.journal.append(intent, *decided, replying)
            except ControlsMoved:
                continue
            permit = SendPermit(deadline)
            if verdict.confirmed and facts is not None:
                permit = self.decisions.permit(intent, facts, Stage.CONFIRM, decided[0], deadline)
            return stored, verdict, self._held(intent, permit)
        raise Unreachable("the limits kept changing while a question was to be answered")

    async def _reply_not_sent(self, intent: Intent, error: IbkitError) -> Intent:
        """The reply surely did not leave: try again until the time for questions is over, then look."""
        now = await self.journal.get(intent.intent_id)
        if now is None or now.state is not IntentState.QUESTIONED:
            raise error
        if asked_for_s(now, self.clock) > QUESTIONS_S:
            return await self._doubt(now, f"the question could not be answered: {error.message}")
        await self.clock.sleep(_REPLY_RETRY_S)
        return now

    # -- after the bytes ------------------------------------------------------------------------------------------

    async def _classified(
        self, intent: Intent, call: Callable[[], Awaitable[Answer | CancelAck]], *, replied: bool
    ) -> Intent:
        """Make the call and store what its answer, or its failure, proves."""
        try:
            answer = await call()
        except IbkitError as error:
            if error.details.get("unsent"):
                return await self._unsent(intent, error, replied=replied)
            if isinstance(error, Refused):
                # A status of 4xx may come from a proxy in front of an order that lives on (fault F27). After a reply
                # it proves even less: "reply id not found" may mean that our reply worked.
                return await self._doubt(intent, error.message, refused_code="" if replied else error.code)
            if error.effect is Effect.UNKNOWN:
                # Of a cancel only words that are IBKR's own are a refusal (class Refused, above).
                cancelling = intent.operation is Operation.CANCEL
                refused = error.details.get("status") in _REFUSING and not replied and not cancelling
                return await self._doubt(intent, error.message, refused_code=error.code if refused else "")
            if error.details.get("late"):
                return await self._too_late(intent)
            return await self._unsent(intent, error, replied=replied)
        return await self._take(intent, answer, replied=replied)

    async def _unsent(self, intent: Intent, error: IbkitError, *, replied: bool) -> Intent:
        """Surely no byte left. What our own side forbids is an end; anything else may be tried again, and is raised."""
        not_sent = NotSent(at=self.clock.now(), reason=error.message)
        ours = isinstance(error, TradingError | ConfigError) and not isinstance(
            error, Fenced
        )  # the lane's holder decides
        forbidden = ours or error.code == "E-READONLY"
        if forbidden and not replied:
            ended = RefusedLocally(at=self.clock.now(), code=error.code, control="", reason=error.message)
            return await self.journal.append(intent, not_sent, ended)
        await self.journal.append(intent, not_sent)
        raise error

    async def _take(self, intent: Intent, answer: Answer | CancelAck, *, replied: bool) -> Intent:
        now = self.clock.now()
        match answer:
            case Accepted():
                return await self._accepted(intent, answer)
            case CancelAck():
                target = intent.planned.target
                assert target is not None, "only a cancel is answered with a CancelAck"
                if answer.order_id != target:
                    return await self._doubt(intent, f"the answer belongs to the cancel of order {answer.order_id}")
                status = OrderStatus.PENDING_CANCEL
                acknowledged = Acknowledged(at=now, order_id=target, status=status, evidence="answer")
                self._tell(StepKind.CANCEL, f"IBKR took the cancel of order {target}", order=target)
                return await self._store(intent, acknowledged)
            case Asked():
                question, ids = answer.question, ", ".join(answer.question.message_ids)
                if not self.answering.is_new(question):
                    return await self._doubt(intent, "the answer is the question of an earlier call")
                self._tell(
                    StepKind.QUESTION, f"IBKR asks ({ids}): {' / '.join(question.messages)}", ref=intent.ref, ids=ids
                )
                return await self._store(intent, Questioned(at=now, question=question))
            case AlreadyRegistered():
                return await self._doubt(intent, "IBKR says that our ref is already registered", exists=True)
            case Rejected():
                return await self._rejected(intent, answer, replied=replied)

    async def _accepted(self, intent: Intent, answer: Accepted) -> Intent:
        if _is_foreign(intent, answer):
            alert = self._foreign(intent, answer)
            self._tell(StepKind.CRITICAL, alert.message, ref=intent.ref)
            doubted = Doubted(at=self.clock.now(), reason=f"the answer belongs to another order ({answer.ref})")
            return await self._store(intent, doubted, alert=alert)
        events: tuple[Event, ...] = (
            Acknowledged(
                at=self.clock.now(),
                order_id=answer.order_id,
                status=answer.status,
                evidence="answer",
                legs=acknowledged_legs(intent, answer),
            ),
        )
        if answer.status in (OrderStatus.INACTIVE, OrderStatus.CANCELLED):
            refusal = await self._late_refusal(answer)
            if refusal is None:
                reason = f"order {answer.order_id} is {answer.status.value} at once"
                return await self._doubt(intent, reason, exists=True)
            events = (*events, refusal)
        intent = await self._store(intent, *events)
        self._tell_end(intent)
        return intent

    async def _late_refusal(self, answer: Accepted) -> Event | None:
        """What order status says of an order that was Inactive or Cancelled at once; None where it may be parked.

        Source: docs/facts/orders.md §3.2, §8, §12.3.
        """
        try:
            order = await self.broker.order(answer.order_id)
        except IbkitError:
            return None
        if order is None or order.parked:
            return None
        refused = order.status in (OrderStatus.INACTIVE, OrderStatus.CANCELLED) and not order.filled
        return progressed(order, at=self.clock.now(), refused=refused)

    async def _rejected(self, intent: Intent, answer: Rejected, *, replied: bool) -> Intent:
        now = self.clock.now()
        if replied and intent.declined:
            self._tell(StepKind.REFUSED, f"declined at IBKR: {intent.reason}", ref=intent.ref)
            return await self._store(intent, RefusedByPolicy(at=now, reason=intent.reason))
        if replied:
            return await self._doubt(intent, f"an error after a reply: {answer.reason}")
        self._tell(StepKind.REFUSED, f"rejected by IBKR: {answer.reason}", ref=intent.ref)
        return await self._store(
            intent, RefusedByBroker(at=now, code=refusal_code(answer.reason), reason=answer.reason)
        )

    def _foreign(self, intent: Intent, answer: Accepted) -> Alert:
        return Alert(
            kind=AlertKind.FOREIGN_ANSWER,
            severity=Severity.CRITICAL,
            subject=intent.ref,
            message=f"CRITICAL: {intent.label}: the answer names order {answer.order_id} of ref {answer.ref}",
            at=self.clock.now(),
            details={"account": intent.planned.account_id, "order": answer.order_id},
        )

    async def _doubt(self, intent: Intent, reason: str, *, refused_code: str = "", exists: bool = False) -> Intent:
        self._tell(StepKind.RECONCILING, f"the outcome is not known: {reason}", ref=intent.ref)
        doubted = Doubted(at=self.clock.now(), reason=reason, refused_code=refused_code, exists=exists)
        return await self._store(intent, doubted)

    async def _store(self, intent: Intent, *events: Event, alert: Alert | None = None) -> Intent:
        """Write down what was learned after bytes left; if that fails the order's state is unknown to us."""
        try:
            made = next((found for event in events if (found := alert_for(intent, event)) is not None), None)
            return await self.journal.append(intent, *events, alert=alert or made)
        except StorageError as error:
            raise _unstored(intent, error) from error

    # -- telling --------------------------------------------------------------------------------------------------

    def _tell_end(self, intent: Intent) -> None:
        """One line for how an exchange or a search ended."""
        match intent.state:
            case IntentState.ACKED | IntentState.FILLED | IntentState.CANCELLED:
                status = intent.order_status.value if intent.order_status else ""
                text = f"order {intent.order_id} at IBKR: {status}"
                self._tell(StepKind.ACCEPTED, text, ref=intent.ref, order=intent.order_id or "")
            case IntentState.REJECTED_LATE | IntentState.REJECTED_BROKER:
                self._tell(StepKind.REFUSED, f"rejected by IBKR: {intent.reason}", ref=intent.ref)
            case IntentState.NOT_PLACED:
                self._tell(StepKind.REFUSED, f"not placed: {intent.reason}", ref=intent.ref)
            case IntentState.UNKNOWN_NEEDS_HUMAN:
                self._tell(StepKind.UNKNOWN, f"CRITICAL: state unknown: {intent.reason}", ref=intent.ref)
            case _:
                pass  # in progress: its next step tells

    def _tell(self, kind: StepKind, text: str, **details: str) -> None:
        self.observe(Step(kind=kind, at=self.clock.now(), text=text, details=details))


def _ref_answered(intent: Intent) -> Ref | None:
    """The ref that an acknowledgement names; a change's is that of the order it changes, which may have none."""
    return intent.ref if intent.operation is Operation.PLACE else None


def _is_foreign(intent: Intent, answer: Accepted) -> bool:
    """Whether an answer belongs to another order (fault F14): of a change, to one of another number."""
    if intent.operation is Operation.MODIFY:
        return answer.order_id != intent.planned.target
    return answer.ref is not None and not same_ref(intent.ref, answer.ref)


def _unstored(intent: Intent, error: StorageError) -> OutcomeUnknown:
    """A failing journal after bytes have left is no "nothing was sent": the order may be alive."""
    return OutcomeUnknown(
        f"{intent.label} was sent, but its outcome could not be stored: {error.message}",
        code="E-ORD-UNKNOWN",
        details={"intent": intent.intent_id, "ref": intent.ref},
    )
