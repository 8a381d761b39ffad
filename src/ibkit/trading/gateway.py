"""The one door through which an order, a change or a cancel leaves.

    submit → by key: at rest? → that answer
           → conversation of the user name → settle what an earlier process left
           → facts, INTENT on disk, controls, CLAIMED
           → controls, SENDING on disk, deadline, the bytes → classification
               question → policy, controls, REPLYING on disk, the reply → classification …
               proven   → ACKED or an end
               doubtful → reconcile: evidence decides, nothing is sent again

Source: reliability rules §0, §4; requirements TRD-10, TRD-11, TRD-22.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from datetime import timedelta

from ibkit.clock import Clock
from ibkit.errors import IbkitError, InFlight, KeyReused
from ibkit.model import AccountId, Environment, Key, OrderId, OrderStatus, OrderTicket
from ibkit.trading.conversation import Conversation
from ibkit.trading.day_end import FILLS_DAYS, ended_with_its_day, outlived_its_day
from ibkit.trading.events import (
    Adopted,
    Expired,
    IntentId,
    Operation,
    Planned,
)
from ibkit.trading.evidence import Exists, assess
from ibkit.trading.facts import FactFinder
from ibkit.trading.fingerprint import cancel_terms, differing, fingerprint, ticket_terms
from ibkit.trading.intent import Intent, IntentState
from ibkit.trading.limits import Facts, Limits
from ibkit.trading.outcome import Outcome
from ibkit.trading.ports import Broker, FillsRead, Journal, OrdersRead
from ibkit.trading.questions import QuestionPolicy
from ibkit.trading.reconcile import Reconciler, late_order_alert
from ibkit.trading.ref import check_key, child_key, derive_ref
from ibkit.trading.timeline import Observer, Step, StepKind, unobserved
from ibkit.trading.tracking import Tracker

__all__ = ["OrderGateway"]

TWIN_WAIT_S = 5.0
CONVERSATION_WAIT_S = 60.0
CANCEL_WAIT_S = 15.0
CANCEL_MAX_AGE_S = 30.0
MOST_CANCELS = 9
"""Of one order, over all runs of its key."""
WATCH = timedelta(hours=24)
"""An order that we denied is looked for this long: late delivery has no other bound."""


class OrderGateway:
    """Places, changes and cancels orders of one IBKR login, each at most once for its key.

    tenant:          whose keys these are; keys of different tenants do not meet.
    live_confirmed:  a person has asked for live trading by name (control RC-01).
    resend_same_ref: the opt-in of ORDER_RESEND_SAME_COID.
    """

    def __init__(
        self,
        broker: Broker,
        journal: Journal,
        *,
        limits: Limits,
        clock: Clock,
        questions: QuestionPolicy | None = None,
        tenant: str = "local",
        owner: str = "",
        live_confirmed: bool = False,
        resend_same_ref: bool = False,
        observe: Observer = unobserved,
    ) -> None:
        self._broker = broker
        self._journal = journal
        self._limits = limits
        self._clock = clock
        self._tenant = tenant
        self._observe = observe
        self.tracker = Tracker(broker, journal, clock)
        self._facts = FactFinder(broker, journal, self.tracker, clock, limits, live_confirmed)
        self._conversation = Conversation(
            broker=broker,
            journal=journal,
            clock=clock,
            limits=limits,
            questions=questions or QuestionPolicy(),
            reconciler=Reconciler(broker, journal, clock, observe, resend_same_ref),
            owner=owner or "ibkit",
            observe=observe,
        )

    @property
    def environment(self) -> Environment:
        return self._limits.environment

    @property
    def tenant(self) -> str:
        return self._tenant

    @property
    def journal(self) -> Journal:
        return self._journal

    async def submit(
        self,
        ticket: OrderTicket,
        *,
        key: Key,
        confirm: tuple[str, ...] = (),
        purpose: str = "order",
        reduces: IntentId | None = None,
        facts: Facts | None = None,
    ) -> Outcome:
        """Place `ticket` at most once for `key`, however often this is called.

        An Outcome means that the intent is at rest: taken, refused, proven absent, or unknown (see its `error`).
        confirm: question ids that a person allows for this order. reduces: the intent whose fill this one undoes.
        facts: what the caller has read already (a quote, the planned stop); the rest is asked.

        Raises KeyReused, InFlight, StorageError; Unreachable, AuthError and the like mean that nothing was sent
        and the same key may be used again while it is young.
        """
        return await self._run(
            self._planned(
                Operation.PLACE,
                ticket_terms(ticket),
                key=key,
                ticket=ticket,
                confirm=confirm,
                purpose=purpose,
                reduces=reduces,
            ),
            facts,
        )

    async def modify(
        self,
        order_id: OrderId,
        ticket: OrderTicket,
        *,
        key: Key,
        confirm: tuple[str, ...] = (),
        facts: Facts | None = None,
    ) -> Outcome:
        """Change a working order to `ticket`, given in full; otherwise as `submit`."""
        terms = ticket_terms(ticket, order_id=order_id)
        planned = self._planned(
            Operation.MODIFY, terms, key=key, ticket=ticket, target=order_id, confirm=confirm, purpose="modify"
        )
        return await self._run(planned, facts)

    async def cancel(self, account_id: AccountId, order_id: OrderId, *, key: Key) -> Outcome:
        """Cancel a working order and wait for its end: state CANCELLED, or FILLED where a fill won the race.

        Still ACKED means that IBKR took the request, but has not said the end within 15 s.
        """
        planned = self._planned(
            Operation.CANCEL,
            cancel_terms(account_id, order_id),
            key=key,
            account_id=account_id,
            target=order_id,
            purpose="cancel",
        )
        outcome = await self._run(planned, None)
        if outcome.state is not IntentState.ACKED:
            return outcome
        intent = await self.tracker.wait_for_fill(outcome.intent, within_s=CANCEL_WAIT_S)
        return dataclasses.replace(outcome, intent=intent)

    async def cancel_rest(self, intent: Intent) -> Intent:
        """`intent` after what is open of its order was cancelled; a cancel that came to nothing is tried anew.

        Raises as `cancel`.
        """
        assert intent.order_id is not None, "an acknowledged order has its number"
        for attempt in range(1, MOST_CANCELS + 1):
            key = child_key(intent.key, f"cancel-{attempt}")
            known = await self.find(key)
            if known is None or not known.final:
                break
        await self.cancel(intent.planned.account_id, intent.order_id, key=key)
        # The cancel's own end says that the order is over; only the order itself says how much of it was filled.
        return await self.wait_for_fill(intent, within_s=5.0)

    async def wait_for_fill(
        self, intent: Intent, *, within_s: float, hurried: Callable[[], bool] = lambda: False
    ) -> Intent:
        """`intent` once its order has ended, or as it stands after `within_s`."""
        return await self.tracker.wait_for_fill(intent, within_s=within_s, hurried=hurried)

    async def confirm_working(self, intent: Intent, *, within_s: float) -> Intent:
        """`intent` once the broker works its order (or it has ended)."""
        return await self.tracker.confirm_working(intent, within_s=within_s)

    async def find(self, key: Key) -> Intent | None:
        """The intent that `key` names, as the journal has it."""
        return await self._journal.by_key(tenant=self._tenant, environment=self.environment, key=check_key(key))

    async def recover(self) -> tuple[Intent, ...]:
        """Settle what an earlier process left behind, look for orders that were denied, and follow the open ones.

        To be called before the first new order of a run. Nothing is sent, except a "no" to a question left open.
        """
        async with self._journal.conversation(self._broker.username, wait_s=CONVERSATION_WAIT_S):
            settled = await self._settle_left_overs()
            adopted = await self._adopt_late_orders()
        unfinished = await self._journal.unfinished(self._broker.username)
        await self._end_day_orders([await self.tracker.refresh(intent) for intent in unfinished])
        return (*settled, *adopted)

    # -- one intent -----------------------------------------------------------------------------------------------

    def _planned(
        self,
        operation: Operation,
        terms: Mapping[str, str],
        *,
        key: Key,
        purpose: str,
        ticket: OrderTicket | None = None,
        account_id: AccountId | None = None,
        target: OrderId | None = None,
        confirm: tuple[str, ...] = (),
        reduces: IntentId | None = None,
    ) -> Planned:
        ref = derive_ref(tenant=self._tenant, environment=self.environment, key=check_key(key))
        account = ticket.account_id if ticket is not None else account_id
        assert account is not None, "every intent belongs to an account"
        now = self._clock.now()
        return Planned(
            at=now,
            intent_id=IntentId(ref),
            operation=operation,
            tenant=self._tenant,
            environment=self.environment,
            username=self._broker.username,
            key=key,
            ref=ref,
            account_id=account,
            ticket=ticket,
            target=target,
            terms=dict(terms),
            fingerprint=fingerprint(terms),
            expires_at=now,
            purpose=purpose,
            reduces=reduces,
            confirm=confirm,
        )

    async def _run(self, planned: Planned, given: Facts | None) -> Outcome:
        known = await self._known(planned)
        if known is not None and not known.state.in_progress:
            return Outcome(known, cached=True)
        wait_s = TWIN_WAIT_S if known is not None else CONVERSATION_WAIT_S
        async with self._in_conversation(planned, wait_s):
            await self._settle_left_overs(but=planned.intent_id)
            known = await self._known(planned)
            if known is not None and not known.state.in_progress:
                return Outcome(known, cached=True)
            facts = await self._gather(planned, given, known)
            intent = known or await self._store(planned)
            while intent.state.in_progress:
                intent = await self._conversation.carry_out(intent, facts, wanted=True)
                if intent.state is IntentState.INTENT:  # armed again after proven absence: what was read has aged
                    facts = await self._gather(planned, given, intent)
        if intent.order_status is OrderStatus.INACTIVE:  # found by a search: is it refused, or only waiting?
            intent = await self.tracker.refresh(intent)
        return Outcome(intent)

    async def _known(self, planned: Planned) -> Intent | None:
        """The stored intent of this key. KeyReused where it asks for something else."""
        known = await self._journal.by_key(tenant=planned.tenant, environment=planned.environment, key=planned.key)
        if known is None or known.planned.fingerprint == planned.fingerprint:
            return known
        fields = differing(known.planned.terms, planned.terms)
        raise KeyReused(
            f"Key {planned.key} was used for a different order: {', '.join(fields)}",
            remedy="Use a new key.",
            details={"fields": list(fields), "intent": known.intent_id},
        )

    def _in_conversation(self, planned: Planned, wait_s: float) -> _Busy:
        return _Busy(self._journal, planned, wait_s)

    async def _gather(self, planned: Planned, given: Facts | None, known: Intent | None) -> Facts | None:
        if known is not None and known.state.may_have_left and known.state is not IntentState.QUESTIONED:
            return None  # it will be looked for, not sent: nothing has to be read for the controls
        if planned.ticket is None:
            return await self._facts.login()
        return await self._facts.gather(planned.ticket, given=given, planned=planned)

    async def _store(self, planned: Planned) -> Intent:
        now = self._clock.now()
        age_s = CANCEL_MAX_AGE_S if planned.operation is Operation.CANCEL else self._limits.max_age_s
        planned = dataclasses.replace(planned, at=now, expires_at=now + timedelta(seconds=age_s))
        intent, _ = await self._journal.plan(planned)
        self._tell(StepKind.INTENT, f"intent on disk: {intent.label}", key=planned.key, ref=planned.ref)
        return intent

    # -- what earlier processes left ------------------------------------------------------------------------------

    async def _settle_left_overs(self, *, but: IntentId | None = None) -> tuple[Intent, ...]:
        """With the conversation in our hands, whatever is in progress was left by somebody who is gone."""
        settled = []
        for intent in await self._journal.unfinished(self._broker.username):
            if intent.intent_id == but:
                continue
            if intent.state.may_have_left:
                self._tell(StepKind.RECOVERY, f"left unsettled by an earlier run: {intent.label}", ref=intent.ref)
                settled.append(await self._conversation.carry_out(intent, None, wanted=False))
            elif intent.state.in_progress and self._clock.now() <= intent.planned.expires_at:
                continue
            elif intent.state.in_progress and intent.earlier_send_may_act:
                doubted = await self._conversation.doubt_earlier_send(intent)
                settled.append(await self._conversation.carry_out(doubted, None, wanted=False))
            elif intent.state.in_progress:
                reason = "left unsent by an earlier run, too old to be sent"
                settled.append(await self._journal.append(intent, Expired(at=self._clock.now(), reason=reason)))
        return tuple(settled)

    async def _adopt_late_orders(self) -> tuple[Intent, ...]:
        """Orders that we had denied or not proven, and that IBKR shows after all."""
        denied = [
            intent
            for intent in await self._journal.denied(self._broker.username, since=self._clock.now() - WATCH)
            if intent.operation is Operation.PLACE
        ]
        adopted = []
        for account_id in dict.fromkeys(intent.planned.account_id for intent in denied):
            try:
                orders, fills = await self._read_lists(account_id, days=WATCH.days + 1)
            except IbkitError:
                continue  # no evidence today; the next start looks again
            for intent in denied:
                if intent.planned.account_id != account_id:
                    continue
                finding = assess(intent, orders=orders, fills=fills, settled=False)
                if isinstance(finding, Exists) and not finding.foreign and not _is_its_refusal(intent, finding):
                    adopted.append(await self._adopt(intent, finding))
        return tuple(adopted)

    async def _end_day_orders(self, followed: list[Intent]) -> None:
        """Write down the end of DAY orders of earlier days, of which IBKR tells no status any more."""
        today = (await self._broker.mark()).trading_day
        open_yet = [intent for intent in followed if outlived_its_day(intent, today)]
        for account_id in dict.fromkeys(intent.planned.account_id for intent in open_yet):
            try:
                orders, fills = await self._read_lists(account_id, days=FILLS_DAYS)
            except IbkitError:
                continue  # no evidence today; the next start looks again
            for intent in open_yet:
                ended = ended_with_its_day(intent, orders, fills, now=self._clock.now())
                if intent.planned.account_id == account_id and ended is not None:
                    await self._journal.append(intent, ended)

    async def _read_lists(self, account_id: AccountId, *, days: int) -> tuple[OrdersRead, FillsRead]:
        """Both lists of an account, read again where a session's first, empty answer says nothing."""
        orders = await self._broker.read_orders(account_id)
        if orders.first or not orders.complete:
            orders = await self._broker.read_orders(account_id)
        fills = await self._broker.read_fills(account_id, days=days)
        if fills.first:
            fills = await self._broker.read_fills(account_id, days=days)
        return orders, fills

    async def _adopt(self, intent: Intent, finding: Exists) -> Intent:
        now = self._clock.now()
        event = Adopted(at=now, order_id=finding.order_ids[0], status=finding.status, evidence=finding.evidence)
        alert = late_order_alert(intent, event)
        self._tell(StepKind.CRITICAL, alert.message, ref=intent.ref)
        return await self._journal.append(intent, event, alert=alert)

    def _tell(self, kind: StepKind, text: str, **details: str) -> None:
        self._observe(Step(kind=kind, at=self._clock.now(), text=text, details=details))


def _is_its_refusal(intent: Intent, finding: Exists) -> bool:
    """IBKR lists an order that it refused in the answer (the prompt p12 does so) as Inactive: no order is late."""
    return intent.state is IntentState.REJECTED_BROKER and finding.status is OrderStatus.INACTIVE


class _Busy:
    """The conversation lock, with an InFlight that names the order it waits behind."""

    def __init__(self, journal: Journal, planned: Planned, wait_s: float) -> None:
        self._lock = journal.conversation(planned.username, wait_s=wait_s)
        self._planned = planned

    async def __aenter__(self) -> None:
        try:
            await self._lock.__aenter__()
        except InFlight as error:
            raise InFlight(
                f"Order {self._planned.intent_id} waits: {error.message}",
                details={"intent": self._planned.intent_id},
            ) from error

    async def __aexit__(self, *error: object) -> bool | None:
        return await self._lock.__aexit__(*error)  # type: ignore[arg-type]  # the three of the protocol, passed through
