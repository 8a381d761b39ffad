"""Making journal and broker agree: what earlier processes left, what came up late, what others have placed.

    left in progress   settled by evidence, never sent (a question left open is declined)
    denied, yet there  adopted, with a critical alert
    acknowledged       followed: by the list in bulk, by number where the list does not show it
    not ours           adopted as external, so that the controls count it; with a mark of ours: an alert, too
    ended unwatched    written down as far as a later day proves it

No order is sent before one complete read of the account's list has shown that the two agree.
Source: reliability rules §4.1 to §4.4, S6, S7; requirement TRD-20.
"""

from __future__ import annotations

import itertools
from collections.abc import Collection, Iterable
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import timedelta

from ibkit.clock import Clock
from ibkit.errors import IbkitError, InFlight, KeyReused, Unreachable
from ibkit.model import AccountId, Environment, GroupKind, Key, Order, OrderId, OrderStatus, Username
from ibkit.trading.alert import Alert, AlertKind, Severity
from ibkit.trading.conversation import Conversation
from ibkit.trading.day_end import FILLS_DAYS, ended_unwatched, of_an_earlier_day
from ibkit.trading.events import Adopted, Attached, Expired, Grouped, IntentId, Operation, Planned
from ibkit.trading.evidence import Exists, assess
from ibkit.trading.fingerprint import external_terms, fingerprint
from ibkit.trading.groups import late_leg, leg_of
from ibkit.trading.intent import Intent, IntentState
from ibkit.trading.ports import Broker, FillsRead, Journal, OrdersRead, lane_of, name_of_lane
from ibkit.trading.reconcile import LOOK_PAUSE_S, late_order_alert
from ibkit.trading.ref import derive_ref, group_ref, is_mark, same_ref
from ibkit.trading.timeline import Observer, Step, StepKind
from ibkit.trading.tracking import Tracker

__all__ = ["WATCH", "Recovery"]

WATCH = timedelta(days=4)
"""An order that we denied is looked for this long, over a long weekend to the next open: late delivery has no other
bound. Source: docs/facts/orders.md §14.4."""
_LIST_TRIES = 4


@dataclass(frozen=True, slots=True, kw_only=True)
class Recovery:
    """tenant, environment: whose journal rows the orders of others become."""

    broker: Broker
    journal: Journal
    clock: Clock
    tracker: Tracker
    observe: Observer
    tenant: str
    environment: Environment
    _agreed: dict[AccountId, str] = field(default_factory=dict)
    """The brokerage session in which journal and broker agreed last, by account."""

    async def settle_left_overs(self, talk: Conversation, *, but: IntentId | None = None) -> tuple[Intent, ...]:
        """With its lane in our hands, whatever is in progress was left by somebody who is gone."""
        settled = []
        names = dict.fromkeys(name_of_lane(lane) for lane in talk.lanes)
        left = [intent for name in names for intent in await self.journal.unfinished(name)]
        for intent in left:
            if intent.intent_id == but or intent.operation is Operation.EXTERNAL:
                continue
            if lane_of(intent.planned) not in talk.lanes:
                continue
            if intent.state.may_have_left:
                self._tell(StepKind.RECOVERY, f"left unsettled by an earlier run: {intent.label}", ref=intent.ref)
                settled.append(await talk.carry_out(intent, None, wanted=False))
            elif intent.state.in_progress and intent.planned.timely(self.clock.now()):
                continue
            elif intent.state.in_progress and intent.earlier_send_may_act:
                doubted = await talk.doubt_earlier_send(intent)
                settled.append(await talk.carry_out(doubted, None, wanted=False))
            elif intent.state.in_progress:
                now = self.clock.now()
                old = now > intent.planned.expires_at
                why = "too old to be sent" if old else "by a clock that was ahead of today's: nobody knows its age"
                reason = f"left unsent by an earlier run, {why}"
                settled.append(await self.journal.append(intent, Expired(at=now, reason=reason)))
        return tuple(settled)

    async def require_agreement(self, account_id: AccountId) -> None:
        """Nothing is sent to an account before journal and broker agree on it in this session.

        Unreachable, with effect NONE, where the broker does not show a complete list.
        """
        session = (await self.broker.mark()).session
        if self._agreed.get(account_id) == session:
            return
        await self.agree(account_id)

    async def agree(self, account_id: AccountId) -> tuple[Intent, ...]:
        """Late orders, orders of others and the progress of ours, from one complete read; what was adopted late."""
        orders = await self._complete_list(account_id)
        adopted = await self._adopt_late_orders(account_id, orders)
        # Whoever's name they were planned under: the broker's list is the account's, and so are its orders.
        followed = await self._follow(await self.journal.open_orders(account_id), orders)
        await self._end_unwatched(account_id, followed, orders)
        await self._adopt_external(account_id, orders)
        await self._complete_external(account_id)
        self._agreed[account_id] = orders.mark.session
        return adopted

    async def unfinished(self, accounts: Collection[AccountId]) -> tuple[Intent, ...]:
        """What is not at its end of this login, and what was planned in `accounts` under other names of it.

        A start to which IBKR does not tell the user name plans under the one of the settings.
        """
        ours = self._username
        others = [name for name in await self.journal.usernames(accounts) if name != ours]
        theirs = [intent for name in others for intent in await self.journal.unfinished(name)]
        found = await self.journal.unfinished(ours)
        return (*found, *(intent for intent in theirs if intent.planned.account_id in accounts))

    async def open_accounts(self, accounts: Collection[AccountId]) -> tuple[AccountId, ...]:
        """The accounts of which something is open or was denied lately; other names of the login as above."""
        ours = self._username
        denied = await self._denied(dict.fromkeys((ours, *await self.journal.usernames(accounts))))
        found = (*await self.unfinished(accounts), *denied)
        return tuple(
            dict.fromkeys(
                each.planned.account_id
                for each in found
                if each.planned.username == ours or each.planned.account_id in accounts
            )
        )

    # -- reads ------------------------------------------------------------------------------------------------------

    async def _complete_list(self, account_id: AccountId) -> OrdersRead:
        """A list that IBKR calls complete. That it may be a session's first is no harm here: absence proves nothing."""
        for attempt in range(_LIST_TRIES):
            if attempt:
                await self.clock.sleep(LOOK_PAUSE_S)
            read = await self.broker.read_orders(account_id)
            if read.complete:
                return read
        raise Unreachable(
            f"IBKR does not show a complete list of the orders of {account_id}: nothing is sent before it does",
            remedy="Try again in a few seconds; `ibkit orders list` shows what IBKR tells.",
        )

    async def _fills(self, account_id: AccountId, *, days: int) -> FillsRead:
        fills = await self.broker.read_fills(account_id, days=days)
        return await self.broker.read_fills(account_id, days=days) if fills.first else fills

    # -- what was denied --------------------------------------------------------------------------------------------

    async def _denied(self, names: Iterable[Username]) -> tuple[Intent, ...]:
        since = self.clock.now() - WATCH
        denied = [intent for name in names for intent in await self.journal.denied(name, since=since)]
        return tuple(intent for intent in denied if intent.operation is Operation.PLACE)

    async def _adopt_late_orders(self, account_id: AccountId, orders: OrdersRead) -> tuple[Intent, ...]:
        """Orders that we had denied or not proven, and that IBKR shows after all."""
        names = await self.journal.usernames((account_id,))
        denied = [intent for intent in await self._denied(names) if intent.planned.account_id == account_id]
        if not denied:
            return ()
        try:
            fills: FillsRead | None = await self._fills(account_id, days=WATCH.days + 1)
        except IbkitError:
            fills = None  # the list alone may show it; the next look reads the executions again
        adopted = []
        for intent in denied:
            finding = assess(intent, orders=orders, fills=fills, settled=False)
            if isinstance(finding, Exists) and not finding.foreign and not _is_its_refusal(intent, finding):
                with suppress(InFlight):  # another process has adopted it
                    adopted.append(await self._adopt(intent, finding))
        return tuple(adopted)

    async def _adopt(self, intent: Intent, finding: Exists) -> Intent:
        now = self.clock.now()
        event = Adopted(at=now, order_id=finding.order_ids[0], status=finding.status, evidence=finding.evidence)
        alert = late_order_alert(intent, event)
        self._tell(StepKind.CRITICAL, alert.message, ref=intent.ref)
        return await self.journal.append(intent, event, alert=alert)

    # -- what is acknowledged ---------------------------------------------------------------------------------------

    async def _follow(self, intents: Iterable[Intent], orders: OrdersRead) -> list[Intent]:
        """Each acknowledged intent after the list told of it; one call by number for each that it does not show.

        And for what it calls Inactive: refused or waiting behind a question, only the status by number tells surely.
        """
        rows = {row.order_id: row for row in orders.orders}
        followed = []
        for intent in intents:
            if intent.state is not IntentState.ACKED:
                followed.append(intent)
            elif intent.order_id in rows and rows[intent.order_id].status is not OrderStatus.INACTIVE:
                followed.append(await self.tracker.seen(intent, rows[intent.order_id]))
            else:
                followed.append(await self.tracker.refresh(intent))
        return followed

    async def _end_unwatched(self, account_id: AccountId, followed: list[Intent], orders: OrdersRead) -> None:
        """Write down the end of orders of earlier days, of which IBKR tells neither a row nor a status any more."""
        shown = {row.order_id for row in orders.orders}
        today = orders.mark.trading_day
        open_yet = [i for i in followed if of_an_earlier_day(i, today) and i.order_id not in shown]
        if not open_yet:
            return
        try:
            if orders.first:
                # A session's first list proves nothing; of a login's second account it is complete at once, because
                # the first account's list came before it.
                orders = await self._complete_list(account_id)
            fills = await self._fills(account_id, days=FILLS_DAYS)
        except IbkitError:
            return  # no evidence today; the next start looks again
        for intent in open_yet:
            ended = ended_unwatched(intent, orders, fills, now=self.clock.now())
            if ended is not None:
                with suppress(InFlight):  # another process has written it down
                    await self.journal.append(intent, ended)

    # -- what is not ours -------------------------------------------------------------------------------------------

    async def _adopt_external(self, account_id: AccountId, orders: OrdersRead) -> None:
        """Orders that work and that no intent of ours has placed: typed in TWS, or by a program that is not ours."""
        for row in orders.orders:
            if row.status in _OVER or row.account_id != account_id or await self._belongs_to_us(row):
                continue
            if row.status is not OrderStatus.FILLED:
                await self._write_external(account_id, row)

    async def _belongs_to_us(self, row: Order) -> bool:
        """Whether the journal knows its number or its mark, or the group that it left with."""
        if await self.journal.by_order(row.account_id, row.order_id) is not None:
            return True
        sent = await self._sent_with(row)
        if sent is not None:
            return not sent.grouped or await self._attach_late(sent, row)
        known = await self._of_ref(row)
        if known is None or known.order_id is not None:
            return False  # the second order of one ref is somebody's whom we did not send
        if self._was_never_sent(known) and _has_terms_of(row, known):
            found = Exists((row.order_id,), row.status, "orders list")
            with suppress(InFlight):  # another process has adopted it
                await self._adopt(known, found)
        return True

    async def _of_ref(self, row: Order) -> Intent | None:
        if row.ref is None:
            return None
        known = await self.journal.get(IntentId(row.ref.strip().casefold()))
        return known if known is not None and same_ref(known.ref, row.ref) else None

    def _was_never_sent(self, known: Intent) -> bool:
        """Whether the journal says for sure that no order of it can be at IBKR; one that is shows the journal wrong.

        So it is with an older copy of the journal, and with an order that comes up after the days of its watch.
        """
        if known.operation is not Operation.PLACE or not known.state.final or known.resolved:
            return False
        return not known.state.denies or self.clock.now() - known.updated_at > WATCH

    async def _sent_with(self, row: Order) -> Intent | None:
        """The intent whose group has the row as one of its further orders: by the parent's number, or by the ref."""
        if row.parent_id is not None:
            parent = await self.journal.by_order(row.account_id, row.parent_id)
            return parent if parent is not None and parent.planned.group is GroupKind.BRACKET else None
        ref = group_ref(row.ref) or (None if row.ref is None else row.ref.strip().casefold())
        first = None if ref is None else await self.journal.get(IntentId(ref))
        return first if first is not None and first.planned.group is GroupKind.OCA else None

    async def _attach_late(self, sent: Intent, row: Order) -> bool:
        """Follow an order of a group that was taken for missing, and tell it; False where it is none of them."""
        late = late_leg(sent, row)
        if late is None:
            return False
        now = self.clock.now()
        legs = (*(leg for leg in sent.legs if leg.number != late.number), late)
        alert = Alert(
            kind=AlertKind.LATE_ORDER,
            severity=Severity.CRITICAL,
            subject=row.order_id,
            message=f"CRITICAL: order {row.order_id} of {sent.label} was taken for missing, but it is at IBKR",
            at=now,
            details={"account": row.account_id, "order": row.order_id, "key": sent.key},
        )
        self._tell(StepKind.CRITICAL, alert.message, ref=sent.ref)
        await self.journal.append(sent, Grouped(at=now, legs=legs), alert=alert, legs=(leg_of(sent, late, at=now),))
        return True

    async def _write_external(self, account_id: AccountId, row: Order) -> None:
        now = self.clock.now()
        key = await self._external_key(account_id, row.order_id)
        ref = derive_ref(tenant=self.tenant, environment=self.environment, key=key)
        terms = external_terms(account_id, row.order_id, row.description or f"{row.side.value} {row.total:f}")
        planned = Planned(
            at=now,
            intent_id=IntentId(ref),
            operation=Operation.EXTERNAL,
            tenant=self.tenant,
            environment=self.environment,
            username=self._username,
            key=key,
            ref=ref,
            account_id=account_id,
            ticket=None,
            target=row.order_id,
            terms=terms,
            fingerprint=fingerprint(terms),
            expires_at=now,
            purpose="external",
        )
        intent, _ = await self.journal.plan(planned)
        if intent.state is not IntentState.INTENT:
            return
        alert = await self._marked(intent, row) if row.ref is not None and is_mark(row.ref) else None
        attached = Attached(at=now, order_id=row.order_id, status=row.status)
        with suppress(InFlight):  # another process has written it down
            await self.journal.append(intent, attached, alert=alert)
        self._tell(StepKind.RECOVERY, f"an order of somebody else works: {intent.label}", order=row.order_id)

    async def _complete_external(self, account_id: AccountId) -> None:
        """Follow what a process that died was about to write down, and that the list shows no more.

        Under whichever name of the login it did so: the account is the same.
        """
        names = await self.journal.usernames((account_id,))
        for intent in [each for name in names for each in await self.journal.unfinished(name)]:
            external = intent.operation is Operation.EXTERNAL and intent.planned.account_id == account_id
            if external and intent.state is IntentState.INTENT and intent.planned.target is not None:
                attached = Attached(at=self.clock.now(), order_id=intent.planned.target, status=OrderStatus.UNKNOWN)
                with suppress(InFlight):  # another process has written it down
                    await self.tracker.refresh(await self.journal.append(intent, attached))

    async def _external_key(self, account_id: AccountId, order_id: OrderId) -> Key:
        """The key of an order of somebody else; the next one where its record of an earlier life is purged."""
        for life in itertools.count(1):
            key = Key(f"external-order-{account_id}-{order_id}{'' if life == 1 else f'-{life}'}")
            with suppress(KeyReused):
                await self.journal.by_key(tenant=self.tenant, environment=self.environment, key=key)
                return key
        raise AssertionError("there is always a next number")

    async def _marked(self, intent: Intent, row: Order) -> Alert:
        known = await self._of_ref(row)
        why = "but this journal does not know it: another state directory, or a journal that was lost"
        if known is not None:
            why = f"but that is order {known.order_id} already: two orders carry one ref"
        return Alert(
            kind=AlertKind.EXTERNAL_ORDER if known is None else AlertKind.DOUBLE_ORDER,
            severity=Severity.CRITICAL,
            subject=row.order_id,
            message=(
                f"CRITICAL: order {row.order_id} ({row.description or row.conid}) carries a mark of ibkit ({row.ref}), "
                f"{why}"
            ),
            at=self.clock.now(),
            details={"account": intent.planned.account_id, "order": row.order_id},
        )

    @property
    def _username(self) -> Username:
        return self.broker.username

    def _tell(self, kind: StepKind, text: str, **details: str) -> None:
        self.observe(Step(kind=kind, at=self.clock.now(), text=text, details=details))


def _is_its_refusal(intent: Intent, finding: Exists) -> bool:
    """IBKR lists an order that it refused in the answer (the prompt p12 does so) as Inactive: no order is late."""
    return intent.state is IntentState.REJECTED_BROKER and finding.status is OrderStatus.INACTIVE


def _has_terms_of(row: Order, intent: Intent) -> bool:
    contract = intent.ticket.contract
    parts = {contract.conid, *(leg.contract.conid for leg in contract.legs)}
    return row.conid in parts and (bool(contract.legs) or row.side is intent.ticket.side)


_OVER = (OrderStatus.CANCELLED, OrderStatus.INACTIVE)
"""Of the orders of others; an unknown word is no end (fault F33). One of ours may have been filled before we knew."""
