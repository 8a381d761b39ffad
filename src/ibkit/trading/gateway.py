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

import copy
import dataclasses
from collections.abc import AsyncIterator, Callable, Collection, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from datetime import timedelta

from ibkit.clock import Clock
from ibkit.errors import IbkitError, InFlight, StorageError
from ibkit.model import AccountId, Environment, GroupKind, Key, OrderId, OrderStatus, OrderTicket, Username
from ibkit.spans import span
from ibkit.trading.alert import Alert, AlertKind
from ibkit.trading.answering import Answering
from ibkit.trading.cancel_all import CancelAllResult, CancelEverything
from ibkit.trading.cancels import Cancels
from ibkit.trading.conversation import Conversation
from ibkit.trading.deciding import Decisions
from ibkit.trading.events import IntentId, Operation, Planned, Stage
from ibkit.trading.facts import FactFinder
from ibkit.trading.group_keeper import GroupKeeper, OnBroken
from ibkit.trading.intake import Asked, Intake
from ibkit.trading.intent import Intent, IntentState
from ibkit.trading.outcome import Outcome
from ibkit.trading.ports import Alerts, Broker, Journal, cancel_lane, lane_of
from ibkit.trading.questions import Asker, QuestionPolicy, unasked
from ibkit.trading.reconcile import Reconciler
from ibkit.trading.recovery import Recovery
from ibkit.trading.ref import check_key
from ibkit.trading.risk import Facts, HaltMode, Reading, RiskBook, Scope, assess, case_of, scope_of
from ibkit.trading.telling import Teller, untold
from ibkit.trading.timeline import Observer, Step, StepKind, unobserved
from ibkit.trading.tracking import Tracker

__all__ = ["OrderGateway"]

TWIN_WAIT_S = 5.0
CONVERSATION_WAIT_S = 60.0
CANCEL_WAIT_S = 15.0
MOST_CANCELS = 9
"""Of one order, over all runs of its key."""
_DAY_S = 86_400.0


class OrderGateway:
    """Places, changes and cancels orders of one IBKR login, each at most once for its key.

    environment:     paper or live, as the settings say; its limits hold.
    risk:            limits, halts and counters, in one file with the journal: decisions and sends are one truth.
    tenant:          whose keys these are; keys of different tenants do not meet.
    live_confirmed:  a person has asked for live trading by name (control RC-01): of every account, or of these.
    resend_same_ref: the opt-in of ORDER_RESEND_SAME_COID.
    asker:           a person to ask where the policy alone would decline a question.
    on_broken:       what to do about a bracket of which a child was refused.
    alerts:          where alerts are kept that belong to no single intent.
    told:            told of each intent once it is at rest, after its caller's part is done.
    user:            who asks where a call names nobody; "" is nobody's.
    """

    def __init__(
        self,
        broker: Broker,
        journal: Journal,
        *,
        environment: Environment,
        risk: RiskBook,
        clock: Clock,
        questions: QuestionPolicy | None = None,
        tenant: str = "local",
        owner: str = "",
        live_confirmed: bool | Collection[AccountId] = False,
        resend_same_ref: bool = False,
        asker: Asker = unasked,
        on_broken: OnBroken = OnBroken.UNDO,
        alerts: Alerts | None = None,
        observe: Observer = unobserved,
        told: Teller = untold,
        user: str = "",
    ) -> None:
        self._broker = broker
        self._told = told
        self._alerts = alerts
        self._journal = journal
        self._environment = environment
        self._risk = risk
        self._clock = clock
        self._tenant = tenant
        self._observe = observe
        self._forgotten_at: float | None = None
        self.tracker = Tracker(broker, journal, clock)
        self._cancels = Cancels(self.find, self.tracker, clock)
        self._facts = FactFinder(broker, journal, self.tracker, clock, risk, live_confirmed)
        self.intake = Intake(journal=journal, clock=clock, tenant=tenant, environment=environment, risk=risk, user=user)
        self._groups = GroupKeeper(broker, journal, clock, observe, self, on_broken)
        self._recovery = Recovery(
            broker=broker,
            journal=journal,
            clock=clock,
            tracker=self.tracker,
            observe=observe,
            tenant=tenant,
            environment=environment,
        )
        decisions = Decisions(risk, clock)
        self._conversation = Conversation(
            broker=broker,
            journal=journal,
            clock=clock,
            decisions=decisions,
            answering=Answering(questions or QuestionPolicy(), decisions, journal, clock, asker),
            reconciler=Reconciler(broker, journal, clock, observe, resend_same_ref),
            owner=owner or "ibkit",
            observe=observe,
            lanes={},
        )

    @property
    def environment(self) -> Environment:
        return self._environment

    @property
    def tenant(self) -> str:
        return self._tenant

    @property
    def journal(self) -> Journal:
        return self._journal

    def acting_for(self, user: str, *, api_key: str = "") -> OrderGateway:
        """The same gateway for orders of that user where a call names nobody; their limits apply."""
        theirs = copy.copy(self)
        theirs.intake = dataclasses.replace(self.intake, user=user, api_key=api_key)
        return theirs

    # -- verbs ----------------------------------------------------------------------------------------------------

    async def submit(
        self,
        ticket: OrderTicket,
        *,
        key: Key,
        others: tuple[OrderTicket, ...] = (),
        group: GroupKind | None = None,
        confirm: tuple[str, ...] = (),
        purpose: str = "order",
        reduces: IntentId | None = None,
        facts: Facts | None = None,
        user: str = "",
        api_key: str = "",
        strategy: str = "",
        allow_duplicate: bool = False,
    ) -> Outcome:
        """Place `ticket`, or a group that begins with it, at most once for `key`, however often this is called.

        An Outcome means that the intent is at rest: taken, refused, proven absent, or unknown (see its `error`).

        group, others: a bracket (`ticket` is the parent, `others` its children: opposite side, full size) or an OCA
                 group (`others` are the siblings). One request; what became of each is in the Outcome's `legs`.
        confirm: question ids that a person allows for this order. reduces: the intent whose fill this one undoes.
        facts:   what the caller has read already (a quote, the planned stop); the rest is asked.
        user, api_key, strategy: whose limits apply besides those of the account.

        Raises ConfigError (E-VALIDATION) for what cannot be one request, KeyReused, InFlight, StorageError;
        Unreachable, AuthError and the like mean that nothing was sent and the same key may be used again while it is
        young.
        """
        asked = Asked(
            purpose=purpose,
            confirm=confirm,
            reduces=reduces,
            user=user,
            api_key=api_key,
            strategy=strategy,
            allow_duplicate=allow_duplicate,
        )
        planned = self.intake.order(self._broker.username, ticket, key=key, others=others, group=group, asked=asked)
        return await self._run(planned, facts)

    async def assess(
        self,
        ticket: OrderTicket,
        *,
        others: tuple[OrderTicket, ...] = (),
        group: GroupKind | None = None,
        facts: Facts | None = None,
        asked: Asked | None = None,
    ) -> tuple[Reading, ...]:
        """What each control says of an order that is only wished for; nothing is stored and nothing is sent."""
        planned = self.intake.order(
            self._broker.username,
            ticket,
            key=_NO_KEY,
            others=others,
            group=group,
            asked=asked or Asked(),
        )
        known = await self._facts.gather(planned, given=facts)
        if known.pnl_unknown:  # an order finds its account selected, for it is in no other one's conversation
            with suppress(InFlight):
                async with self._conversation_of((self._broker.username,), TWIN_WAIT_S):
                    known = await self._facts.gather(planned, given=known, talking=True)
        now = self._clock.now()
        state = await self._risk.state(scope_of(planned), now, read_at=known.read_at)
        planned = dataclasses.replace(planned, at=now, expires_at=now + timedelta(seconds=state.limits.max_age_s))
        return assess(case_of(planned, known, state, stage=Stage.INTAKE, now=now))

    async def cancelling_all(self, account_id: AccountId) -> bool:
        """Whether a kill switch wants no order to work in the account: nobody should place resting ones meanwhile."""
        scope = Scope(environment=self._environment, account_id=account_id, tenant=self._tenant)
        now = self._clock.now()
        halts = (await self._risk.state(scope, now)).halts
        return any(halt.mode is HaltMode.CANCEL_ALL and halt.holds(scope, now) for halt in halts)

    async def resume(self, intent: Intent) -> Outcome:
        """Carry out what was taken in before, maybe by another process; as `submit` of the same key and order."""
        return await self._run(intent.planned, None)

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
        asked = Asked(purpose="modify", confirm=confirm)
        planned = self.intake.change(self._broker.username, order_id, ticket, key=key, asked=asked)
        return await self._run(planned, facts)

    async def cancel(self, account_id: AccountId, order_id: OrderId, *, key: Key, user: str = "") -> Outcome:
        """Cancel a working order and wait for its end: state CANCELLED, or FILLED where a fill won the race.

        Still ACKED means that IBKR took the request, but has not said the end within 15 s.

        user: who asks, of a service.
        """
        outcome = await self.ask_to_cancel(account_id, order_id, key=key, user=user)
        if outcome.state is not IntentState.ACKED:
            return outcome
        intent = await self.tracker.wait_for_fill(outcome.intent, within_s=CANCEL_WAIT_S)
        return dataclasses.replace(outcome, intent=intent)

    async def ask_to_cancel(self, account_id: AccountId, order_id: OrderId, *, key: Key, user: str = "") -> Outcome:
        """As `cancel`, but without waiting for the end: ACKED means that IBKR took note."""
        planned = self.intake.cancel(self._broker.username, account_id, order_id, key=key, user=user)
        return await self._run(planned, None)

    async def cancel_all(self, account_id: AccountId, *, key: Key, user: str = "", sharing: int = 1) -> CancelAllResult:
        """Cancel every working order of the account, also those of others, until the broker shows none any more.

        Protective stops are among them. It ends after three complete reads without a working order, or after 30 s with
        an alert and what is left. Errors of single cancels are in the result. sharing: as in `CancelEverything.run`.
        """
        work = CancelEverything(self._broker, self._journal, self._clock, self._observe, self, self._cancels, user)
        return await work.run(account_id, check_key(key), sharing=sharing)

    async def cancel_rest(self, intent: Intent, *, user: str = "") -> Intent:
        """`intent` after what is open of its order was cancelled; a cancel that came to nothing is tried anew.

        Raises as `cancel`.
        """
        assert intent.order_id is not None, "an acknowledged order has its number"
        key = await self._cancels.next(intent.key, "cancel", most=MOST_CANCELS)
        await self.cancel(intent.planned.account_id, intent.order_id, key=key, user=user)
        # The cancel's own end says that the order is over; only the order itself says how much of it was filled.
        return await self.wait_for_fill(intent, within_s=5.0)

    # -- looking --------------------------------------------------------------------------------------------------

    async def wait_for_fill(
        self, intent: Intent, *, within_s: float, hurried: Callable[[], bool] = lambda: False
    ) -> Intent:
        """`intent` once its order has ended, or as it stands after `within_s`."""
        return await self.tracker.wait_for_fill(intent, within_s=within_s, hurried=hurried)

    async def confirm_working(self, intent: Intent, *, within_s: float) -> Intent:
        """`intent` once the broker works its order (or it has ended)."""
        return await self.tracker.confirm_working(intent, within_s=within_s)

    async def refreshed(self, intent: Intent) -> Intent:
        """`intent` after one look at its order at the broker."""
        return await self.tracker.refresh(intent)

    async def find(self, key: Key) -> Intent | None:
        """The intent that `key` names, as the journal has it."""
        return await self._journal.by_key(tenant=self._tenant, environment=self.environment, key=check_key(key))

    async def recover(self, *accounts: AccountId) -> tuple[Intent, ...]:
        """Settle what an earlier process left behind, look for orders that were denied, and follow the open ones.

        To be called at the start of a run; an account that it could not see completely is looked at again before its
        first order. Nothing is sent, except a "no" to a question left open, and what undoes a broken bracket.

        accounts: those to look at besides the ones that have something open.
        """
        ours = accounts or await self._accounts()
        async with self._conversation_of((self._broker.username,), CONVERSATION_WAIT_S) as talk:
            settled = [*await self._recovery.settle_left_overs(talk)]
            adopted: list[Intent] = []
            for account_id in dict.fromkeys((*await self._recovery.open_accounts(ours), *accounts)):
                try:
                    adopted.extend(await self._recovery.agree(account_id))
                except IbkitError as error:
                    self._tell(StepKind.RECOVERY, f"orders of {account_id} could not be compared: {error.message}")
        settled += await self._settle_other_lanes(ours)
        self._tell_all((*settled, *adopted))
        await self._forget()
        await self.look_after_groups(*ours)
        return (*settled, *adopted)

    async def _forget(self) -> None:
        """What the journal need not keep any longer, once a day of this process."""
        now = self._clock.monotonic()
        if self._forgotten_at is None or now - self._forgotten_at >= _DAY_S:
            self._forgotten_at = now
            await self._journal.purge(self._clock.now())

    async def _settle_other_lanes(self, accounts: tuple[AccountId, ...]) -> tuple[Intent, ...]:
        """What was left of cancels, and under other names of the same login, unless somebody who lives is at it."""
        settled: list[Intent] = []
        ours = self._broker.username
        names = await self._journal.usernames(accounts)
        orders = [name for name in names if name != ours]
        for lane in (*orders, *(cancel_lane(name) for name in (ours, *orders))):
            try:
                async with self._conversation_of((lane,), 0.0) as talk:
                    settled += await self._recovery.settle_left_overs(talk)
            except InFlight:
                continue  # it is looked after
        return tuple(settled)

    async def _accounts(self) -> tuple[AccountId, ...]:
        try:
            return tuple(account.account_id for account in await self._broker.accounts())
        except IbkitError:
            return ()  # the next start looks again

    async def unfinished(self, *accounts: AccountId) -> tuple[Intent, ...]:
        """What is not at its end of this login, under whichever of its names it was planned in these accounts."""
        return await self._recovery.unfinished(accounts or await self._accounts())

    async def look_after_groups(self, *accounts: AccountId) -> None:
        """Finish what is open about brackets and OCA groups: find their orders, undo broken ones, end siblings.

        accounts: those of the login; none given, all of them.
        """
        accounts = accounts or await self._accounts()
        for intent in await self.unfinished(*accounts):
            if intent.group_open or intent.mend_due:
                await self._groups.settle(intent)
        open_ = await self.unfinished(*accounts)
        # An order of an OCA group may be the last that works of it, and be the one that the group was sent with.
        parents = {each.planned.leg_of or (each.planned.group and each.intent_id) for each in open_} - {None}
        for parent_id in sorted(str(parent) for parent in parents):
            parent = await self._journal.get(IntentId(parent_id))
            if parent is not None:
                for alert in await self._groups.look_after(parent):
                    await self.raise_alert(alert)

    async def raise_alert(self, alert: Alert) -> None:
        """Tell it, and keep it open where there is a place for alerts."""
        self._tell(StepKind.CRITICAL, alert.message, **dict(alert.details))
        if self._alerts is not None:
            await self._alerts.put(alert)

    async def close_alert(self, kind: AlertKind, subject: str, *, note: str) -> None:
        """What it told of is over. Nothing where no such alert is open."""
        if self._alerts is not None and any(each.subject == subject for each in await self._alerts.open(kind=kind)):
            await self._alerts.close(kind, subject, at=self._clock.now(), note=note)

    # -- one intent -----------------------------------------------------------------------------------------------

    async def _run(self, planned: Planned, given: Facts | None) -> Outcome:
        with span(f"order.{planned.operation.value}", **{"ibkit.order.id": planned.intent_id}) as current:
            try:
                outcome = await self._brought_to_rest(planned, given)
            except IbkitError as error:
                self._told(planned, error)
                raise
            current.set("ibkit.order.state", outcome.state.value)
        if not outcome.cached:
            self._told(planned, outcome.intent)
        return outcome

    async def _brought_to_rest(self, planned: Planned, given: Facts | None) -> Outcome:
        known = await self.intake.known(planned)
        if known is not None and not known.state.in_progress:
            return Outcome(await self._whole(known), cached=True)
        wait_s = TWIN_WAIT_S if known is not None else CONVERSATION_WAIT_S
        lanes = {lane_of(planned), lane_of(planned if known is None else known.planned)}
        async with self._conversation_of(sorted(lanes), wait_s, planned) as talk:
            self._tell_all(await self._recovery.settle_left_overs(talk, but=planned.intent_id))
            known = await self.intake.known(planned)
            if known is not None and not known.state.in_progress:
                return Outcome(known, cached=True)
            facts = await self._read(planned, given, known)
            intent = known or await self._store(planned)
            while intent.state.in_progress:
                intent = await talk.carry_out(intent, facts, wanted=True)
                if intent.state is IntentState.INTENT:  # armed again after proven absence: what was read has aged
                    facts = await self._gather(planned, given)
        if intent.operation is Operation.MODIFY:
            await self._look_at_changed(intent)
        if intent.order_status is OrderStatus.INACTIVE:  # found by a search: is it refused, or only waiting?
            intent = await self.tracker.refresh(intent)
        return Outcome(await self._whole(intent))

    async def _read(self, planned: Planned, given: Facts | None, known: Intent | None) -> Facts | None:
        """What the controls must know, after journal and broker agree; None where nothing will be sent.

        An order that makes a position smaller goes out also where the two could not be compared: exits stay open.
        """
        if known is not None and known.state.may_have_left and known.state is not IntentState.QUESTIONED:
            return None  # it will be looked for, not sent: nothing has to be read for the controls
        if self._journal.restored and planned.operation is not Operation.CANCEL:
            raise StorageError(
                "Database problem: the order journal is an older copy of itself and may not know what was sent since",
                remedy="Compare `ibkit intents list` with IBKR's own order window and positions, then run "
                "`ibkit db accept-restored`. Cancels work meanwhile.",
            )
        problem: IbkitError | None = None
        if planned.operation is not Operation.CANCEL and planned.reduces is None:
            try:
                await self._recovery.require_agreement(planned.account_id)
            except IbkitError as error:
                problem = error
        facts = await self._gather(planned, given)
        if problem is not None and not facts.reduces:
            raise problem
        return facts

    async def _look_at_changed(self, change: Intent) -> None:
        """What counts on the order that was changed must know its new size at once."""
        assert change.planned.target is not None, "a change has a target"
        changed = await self._journal.by_order(change.planned.account_id, change.planned.target)
        if changed is not None:
            await self.tracker.refresh(changed)

    async def _whole(self, intent: Intent) -> Intent:
        """`intent` with its group looked after; what cannot be done now is done by the next start."""
        if not (intent.group_open or intent.mend_due):
            return intent
        return await self._groups.settle(intent)

    @asynccontextmanager
    async def _conversation_of(
        self, names: Sequence[Username], wait_s: float, planned: Planned | None = None
    ) -> AsyncIterator[Conversation]:
        """The conversation in these lanes, taken in this order. InFlight, naming the order that waits."""
        async with AsyncExitStack() as stack:
            try:
                lanes = {
                    name: await stack.enter_async_context(self._journal.conversation(name, wait_s=wait_s))
                    for name in names
                }
            except InFlight as error:
                if planned is None:
                    raise
                details = {"intent": planned.intent_id}
                raise InFlight(f"Order {planned.intent_id} waits: {error.message}", details=details) from error
            yield dataclasses.replace(self._conversation, lanes=lanes)

    async def _gather(self, planned: Planned, given: Facts | None) -> Facts:
        if planned.ticket is None:
            return await self._facts.login(planned.account_id)
        return await self._facts.gather(planned, given=given, talking=True)

    async def _store(self, planned: Planned) -> Intent:
        intent, new = await self.intake.store(planned)
        if new:
            self._tell(StepKind.INTENT, f"intent on disk: {intent.label}", key=planned.key, ref=planned.ref)
        return intent

    def _tell_all(self, settled: Sequence[Intent]) -> None:
        """What an earlier process left, and could not tell itself."""
        for intent in settled:
            self._told(intent.planned, intent)

    def _tell(self, kind: StepKind, text: str, **details: str) -> None:
        self._observe(Step(kind=kind, at=self._clock.now(), text=text, details=details))


_NO_KEY = Key("only-assessed-never-sent")
"""Of an order that is looked at: nothing is stored under it."""
