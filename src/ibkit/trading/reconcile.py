"""Settling an order whose answer was lost: looks, counts evidence, and never sends anything.

Default after doubt: nothing is sent again. Absence needs three complete reads of the list and one of the
executions, all after the settle window; what cannot be proven within GIVE_UP_S ends as unknown, for a person.
Source: reliability rules §4.4 and decision 5; requirement TRD-22.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from typing import assert_never

from ibkit.clock import Clock
from ibkit.errors import IbkitError
from ibkit.model import Order, OrderStatus
from ibkit.trading.alert import Alert, AlertKind, Severity
from ibkit.trading.events import (
    Acknowledged,
    Adopted,
    Event,
    GaveUp,
    Looked,
    Operation,
    Progressed,
    ProvenAbsent,
    Rearmed,
    RefusedByBroker,
    UnknownReason,
)
from ibkit.trading.evidence import Absent, Exists, Parked, Unclear, assess
from ibkit.trading.intent import Intent, IntentState
from ibkit.trading.ports import Broker, FillsRead, Journal, OrdersRead
from ibkit.trading.timeline import Observer, Step, StepKind

__all__ = [
    "GIVE_UP_S",
    "LOOK_PAUSE_S",
    "READS",
    "SETTLE_S",
    "Reconciler",
    "alert_for",
    "late_order_alert",
    "matches_ticket",
    "progressed",
]

SETTLE_S = 60.0
"""An accepted order is visible within this long after our last byte (assumption V)."""
READS = 3
LOOK_PAUSE_S = 5.1
"""IBKR allows one list call per 5 s. Source: docs/facts/orders.md §0.2."""
GIVE_UP_S = 300.0
_FILLS_DAYS = 7
_MOST_SENDS = 3


@dataclass(frozen=True, slots=True)
class Reconciler:
    """resend_same_ref: the owner's opt-in to the probe: after proven absence the same ticket with the same ref."""

    broker: Broker
    journal: Journal
    clock: Clock
    observe: Observer
    resend_same_ref: bool = False
    _failing: dict[tuple[str, str], str] = field(default_factory=dict, repr=False)
    """What was last told of a read that fails, by ref and what is read: minutes of the same are told once."""

    async def settle(self, intent: Intent) -> Intent:
        """`intent` (ambiguous or reconciling) at rest, or armed again for the opt-in probe.

        May be cancelled at any time: what was seen is in the journal and the next start goes on from there.
        """
        begun = self.clock.monotonic()
        # A doubt of an earlier process is aged by the wall clock, one of ours by the clock that never jumps.
        age = 0.0
        if intent.settle_from is not None:
            age = max(0.0, (self.clock.now() - intent.settle_from).total_seconds())
        self._tell(intent, f"looking for it at IBKR: {intent.reason}")
        while intent.state in (IntentState.AMBIGUOUS, IntentState.RECONCILING):
            elapsed = age + self.clock.monotonic() - begun
            intent = await self._look(intent, elapsed)
            if intent.state in (IntentState.AMBIGUOUS, IntentState.RECONCILING):
                await self.clock.sleep(LOOK_PAUSE_S)
        return intent

    async def _look(self, intent: Intent, elapsed: float) -> Intent:
        settled = elapsed >= SETTLE_S
        match intent.operation:
            case Operation.PLACE:
                events = await self._look_for_order(intent, settled)
            case Operation.MODIFY:
                events = await self._look_for_change(intent, settled)
            case Operation.CANCEL:
                events = await self._look_for_cancel(intent, settled)
            case Operation.EXTERNAL:
                raise AssertionError("an order of somebody else is never in doubt")
        if elapsed >= GIVE_UP_S and not any(_brings_nearer(intent, event) for event in events):
            parked = intent.parked
            reason = f"not proven within {GIVE_UP_S:.0f} s ({intent.reason})"
            events = (*events, self._given_up(UnknownReason.PARKED if parked else UnknownReason.UNPROVEN, reason))
        return await self._append(intent, events) if events else intent

    # -- a placement ----------------------------------------------------------------------------------------------

    async def _look_for_order(self, intent: Intent, settled: bool) -> tuple[Event, ...]:
        orders = await self._read_orders(intent)
        fills = await self._read_fills(intent)
        finding = assess(intent, orders=orders, fills=fills, settled=settled)
        match finding:
            case Exists():
                return self._found(finding)
            case Parked():
                seen = self._looked(parked=True, note=f"order {finding.order_id} is parked behind a question")
                if settled:
                    reason = f"order {finding.order_id} waits at IBKR behind a question whose answer was lost"
                    return (seen, self._given_up(UnknownReason.PARKED, reason))
                return () if intent.parked else (seen,)
            case Absent():
                return self._absent(intent, finding)
            case Unclear():
                return ()
            case _ as unreachable:
                assert_never(unreachable)

    def _found(self, finding: Exists) -> tuple[Event, ...]:
        if finding.foreign:
            reason = f"order {finding.order_ids[0]} carries our ref, but other terms"
            return (self._given_up(UnknownReason.UNPROVEN, reason),)
        return (
            Acknowledged(
                at=self.clock.now(),
                order_id=finding.order_ids[0],
                status=finding.status,
                evidence=f"{finding.evidence}{' (twice!)' if len(finding.order_ids) > 1 else ''}",
            ),
        )

    def _absent(self, intent: Intent, finding: Absent) -> tuple[Event, ...]:
        if not (finding.in_list or finding.in_fills):
            return ()
        if finding.moved:
            if finding.in_list and finding.in_fills:
                reason = "not found, and the session or trading day of the send is over, so absence cannot be shown"
                return (self._given_up(UnknownReason.UNPROVEN, reason),)
            return ()
        looked = self._looked(
            list_absent=finding.in_list,
            fills_absent=finding.in_fills,
            parked=intent.parked and not finding.in_list,  # what waits behind a question is not in the executions
            note="not found",
        )
        list_absences = intent.list_absences + finding.in_list
        fills_absent = intent.fills_absent or finding.in_fills
        enough = fills_absent and list_absences >= (1 if intent.refused_code and not intent.registered else READS)
        if not enough:
            return (looked,)
        if intent.registered:
            reason = "IBKR says that it is registered, but shows it nowhere"
            return (looked, self._given_up(UnknownReason.UNPROVEN, reason))
        if intent.refused_code:
            return (looked, RefusedByBroker(at=self.clock.now(), code=intent.refused_code, reason=intent.reason))
        if self.resend_same_ref and intent.planned.timely(self.clock.now()) and intent.sends < _MOST_SENDS:
            return (looked, Rearmed(at=self.clock.now()))
        return (looked, ProvenAbsent(at=self.clock.now(), reason=f"proven not to be at IBKR ({intent.reason})"))

    async def _read_orders(self, intent: Intent) -> OrdersRead | None:
        try:
            read = await self.broker.read_orders(intent.planned.account_id)
        except IbkitError as error:
            self._tell_failure(intent, "the orders list", error)
            return None
        self._tell_failure(intent, "the orders list", None)
        return read

    async def _read_fills(self, intent: Intent) -> FillsRead | None:
        try:
            read = await self.broker.read_fills(intent.planned.account_id, days=_FILLS_DAYS)
        except IbkitError as error:
            self._tell_failure(intent, "the executions", error)
            return None
        self._tell_failure(intent, "the executions", None)
        return read

    # -- a change or a cancel -------------------------------------------------------------------------------------

    async def _look_for_change(self, intent: Intent, settled: bool) -> tuple[Event, ...]:
        """Absolute values: the order either shows them or does not. Source: docs/facts/orders.md §14.5.

        How far it trails, or is inside the market, no read shows (§9, §10), and its trigger moves by itself: of such
        a change nothing is ever proven, so a person has to look.
        """
        _, order = await self._target(intent)
        if order is None:
            return ()
        now = self.clock.now()
        unshown = intent.ticket.trail is not None or intent.ticket.offset is not None
        if not unshown and matches_ticket(order, intent):
            return (Acknowledged(at=now, order_id=order.order_id, status=order.status, evidence="order status"),)
        if order.status.terminal:
            return (self._looked(note="order ended"), ProvenAbsent(at=now, reason=f"the order was {order.raw_status}"))
        if not settled or unshown:
            return ()
        looked = self._looked(list_absent=True, note="unchanged")
        if intent.list_absences + 1 < (1 if intent.refused_code else READS):
            return (looked,)
        if intent.refused_code:
            return (looked, RefusedByBroker(at=now, code=intent.refused_code, reason=intent.reason))
        return (looked, ProvenAbsent(at=now, reason=f"the order was not changed ({intent.reason})"))

    async def _look_for_cancel(self, intent: Intent, settled: bool) -> tuple[Event, ...]:
        """A cancel may be carried out late, too: that the order still works is an end only after the settle window."""
        read, order = await self._target(intent)
        if not read:
            return ()
        now = self.clock.now()
        if order is None:
            if intent.refused_code:
                looked = self._looked(note="unknown to IBKR")
                return (looked, RefusedByBroker(at=now, code=intent.refused_code, reason=intent.reason))
            return ()
        if order.status.terminal or order.status in (OrderStatus.PENDING_CANCEL, OrderStatus.PRE_CANCELLED):
            return (
                Acknowledged(at=now, order_id=order.order_id, status=order.status, evidence="order status"),
                *((progressed(order, at=now),) if order.status.terminal else ()),
            )
        if not intent.refused_code and intent.sends < _MOST_SENDS and intent.planned.timely(now):
            # Cancelling twice is safe: the second finds nothing to do. Source: docs/facts/orders.md §7.
            return (self._looked(note=f"still {order.raw_status}"), Rearmed(at=now))
        if not settled:
            return ()
        looked = self._looked(note=f"still {order.raw_status}")
        if intent.refused_code:
            return (looked, RefusedByBroker(at=now, code=intent.refused_code, reason=intent.reason))
        return (looked, ProvenAbsent(at=now, reason="the order is still working"))

    async def _target(self, intent: Intent) -> tuple[bool, Order | None]:
        """Whether the order's status could be read, and what it says; None where IBKR does not know the order."""
        assert intent.planned.target is not None, "a change or cancel has a target"
        try:
            order = await self.broker.order(intent.planned.target)
        except IbkitError as error:
            self._tell_failure(intent, "the order's status", error)
            return False, None
        self._tell_failure(intent, "the order's status", None)
        return True, order

    # -- writing down ---------------------------------------------------------------------------------------------

    def _looked(
        self, *, list_absent: bool = False, fills_absent: bool = False, parked: bool = False, note: str
    ) -> Looked:
        return Looked(at=self.clock.now(), list_absent=list_absent, fills_absent=fills_absent, parked=parked, note=note)

    def _given_up(self, unknown: UnknownReason, reason: str) -> GaveUp:
        return GaveUp(at=self.clock.now(), unknown=unknown, reason=reason)

    async def _append(self, intent: Intent, events: tuple[Event, ...]) -> Intent:
        alert = next((made for event in events if (made := alert_for(intent, event)) is not None), None)
        return await self.journal.append(intent, *events, alert=alert)

    def _tell_failure(self, intent: Intent, what: str, error: IbkitError | None) -> None:
        """Tell that `what` cannot be read, unless that was the last thing told of it; None: it was read."""
        if error is None:
            self._failing.pop((intent.ref, what), None)
            return
        text = f"{what} could not be read: {error.code}: {error.message}"
        if self._failing.get((intent.ref, what)) != text:
            self._failing[intent.ref, what] = text
            self._tell(intent, f"{text}; trying on")

    def _tell(self, intent: Intent, text: str) -> None:
        self.observe(Step(kind=StepKind.RECONCILING, at=self.clock.now(), text=text, details={"ref": intent.ref}))


def _brings_nearer(intent: Intent, event: Event) -> bool:
    """Whether `event` ends the doubt or its end is nearer by it: not where one read fails for ever beside another."""
    if not isinstance(event, Looked):
        return True
    return (event.list_absent and intent.list_absences < READS) or (event.fills_absent and not intent.fills_absent)


def alert_for(intent: Intent, event: Event) -> Alert | None:
    """The alert that must be open once `event` is stored, in the same transaction."""
    match event:
        case GaveUp():
            parked = event.unknown is UnknownReason.PARKED
            return Alert(
                kind=AlertKind.PARKED_ORDER if parked else AlertKind.UNKNOWN_ORDER,
                severity=Severity.CRITICAL,
                subject=intent.ref,
                message=f"CRITICAL: {intent.label}: order state unknown: {event.reason}. Do not send it again.",
                at=event.at,
                details={"account": intent.planned.account_id, "key": intent.key},
            )
        case Acknowledged() if event.evidence.endswith("(twice!)"):
            return Alert(
                kind=AlertKind.DOUBLE_ORDER,
                severity=Severity.CRITICAL,
                subject=intent.ref,
                message=f"CRITICAL: {intent.label}: two orders at IBKR carry the ref {intent.ref}",
                at=event.at,
                details={"account": intent.planned.account_id, "order": event.order_id},
            )
        case _:
            return None


def late_order_alert(intent: Intent, event: Adopted) -> Alert:
    was = intent.state.value.replace("_", " ")
    return Alert(
        kind=AlertKind.LATE_ORDER,
        severity=Severity.CRITICAL,
        subject=intent.ref,
        message=f"CRITICAL: {intent.label}: taken for {was}, but it is order {event.order_id} at IBKR",
        at=event.at,
        details={"account": intent.planned.account_id, "key": intent.key, "order": event.order_id},
    )


def matches_ticket(order: Order, intent: Intent) -> bool:
    """Whether the order at the broker has the terms that the change asked for, as far as a read tells them."""
    ticket = intent.ticket
    asked = ((order.limit_price, ticket.limit_price), (order.stop_price, ticket.stop_price))
    told = ((order.order_type, ticket.order_type.value), (_tif(order.tif), ticket.tif.value))
    return (
        order.total == ticket.quantity
        and all(shown == wanted for shown, wanted in asked if wanted is not None)
        and all(shown == wanted for shown, wanted in told if shown)
    )


def _tif(shown: str) -> str:
    """CLOSE is how the list says DAY. Source: docs/facts/orders.md §9."""
    return "DAY" if shown == "CLOSE" else shown


def progressed(order: Order, *, at: datetime, refused: bool = False) -> Progressed:
    """What a read of an order says of its progress."""
    return Progressed(
        at=at,
        status=order.status,
        filled=order.filled,
        average_price=order.average_price if order.filled else None,
        refused=refused,
        reason=order.reason or "",
        total=order.total or None,
    )
