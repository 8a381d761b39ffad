"""One intended change at the broker, from the wish to its end, as a fold over events.

    INTENT → CLAIMED → SENDING → {QUESTIONED → REPLYING}* → ACKED → FILLED | CANCELLED | REJECTED_LATE
       ↑________________|NotSent     |          |
       |                             └─ AMBIGUOUS ┘ → RECONCILING → ACKED | NOT_PLACED | REJECTED_BROKER | UNKNOWN_…
       └── Rearmed (opt-in probe) ───────────────────────┘
    INTENT, CLAIMED → REJECTED_LOCAL | EXPIRED_LOCAL          SENDING → REJECTED_BROKER
    REPLYING → REJECTED_POLICY (declined at the broker)       any end that denies an order → ACKED (Adopted)

Only events are stored; the state is what `fold` makes of them. Source: reliability rules §4.1.
"""

from __future__ import annotations

import dataclasses
import enum
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal
from typing import assert_never

from ibkit.model import GroupKind, Key, OrderId, OrderStatus, OrderTicket, Question, Ref
from ibkit.trading.events import (
    Acknowledged,
    Adopted,
    Attached,
    Claimed,
    Decided,
    Doubted,
    Event,
    Expired,
    GaveUp,
    Grouped,
    IntentId,
    LegAck,
    Looked,
    Mended,
    NotSent,
    Operation,
    Planned,
    Progressed,
    ProvenAbsent,
    Questioned,
    Rearmed,
    RefusedByBroker,
    RefusedByPolicy,
    RefusedLocally,
    Replying,
    Resolved,
    Sending,
    TakenOver,
    UnknownReason,
)

__all__ = ["Intent", "IntentState", "fold", "fold_all"]


class IntentState(enum.Enum):
    INTENT = "intent"
    CLAIMED = "claimed"
    SENDING = "sending"
    QUESTIONED = "questioned"
    REPLYING = "replying"
    AMBIGUOUS = "ambiguous"
    RECONCILING = "reconciling"
    ACKED = "acked"
    FILLED = "filled"
    CANCELLED = "cancelled"
    REJECTED_LATE = "rejected_late"
    """Acknowledged first, refused by the broker or the exchange afterwards."""
    REJECTED_LOCAL = "rejected_local"
    REJECTED_POLICY = "rejected_policy"
    REJECTED_BROKER = "rejected_broker"
    EXPIRED_LOCAL = "expired_local"
    NOT_PLACED = "not_placed"
    UNKNOWN_NEEDS_HUMAN = "unknown_needs_human"

    @property
    def in_progress(self) -> bool:
        """Neither acknowledged nor ended: a twin of it has to wait."""
        return self in _IN_PROGRESS

    @property
    def may_have_left(self) -> bool:
        """Bytes of it may have reached the broker and nobody has settled what became of them."""
        return self in _MAY_HAVE_LEFT

    @property
    def final(self) -> bool:
        return self in _FINAL

    @property
    def denies(self) -> bool:
        """It says that no order exists (or that nobody knows); a late order of it must still be adopted."""
        return self in _DENIES


_S = IntentState
_MAY_HAVE_LEFT = frozenset({_S.SENDING, _S.QUESTIONED, _S.REPLYING, _S.AMBIGUOUS, _S.RECONCILING})
_IN_PROGRESS = _MAY_HAVE_LEFT | {_S.INTENT, _S.CLAIMED}
_FINAL = frozenset(_S) - _IN_PROGRESS - {_S.ACKED}
_TAKEN = frozenset({_S.ACKED, _S.FILLED, _S.CANCELLED, _S.REJECTED_LATE})
_DENIES = frozenset({_S.REJECTED_POLICY, _S.REJECTED_BROKER, _S.NOT_PLACED, _S.UNKNOWN_NEEDS_HUMAN})


_FROM: Mapping[type[Event], frozenset[IntentState]] = {
    Decided: frozenset({_S.INTENT, _S.CLAIMED, _S.QUESTIONED}),
    Claimed: frozenset({_S.INTENT}),
    TakenOver: _IN_PROGRESS,
    Attached: frozenset({_S.INTENT}),
    Grouped: _TAKEN,
    Mended: _TAKEN,
    Sending: frozenset({_S.CLAIMED}),
    NotSent: frozenset({_S.SENDING, _S.REPLYING}),
    Questioned: frozenset({_S.SENDING, _S.REPLYING}),
    Replying: frozenset({_S.QUESTIONED}),
    Acknowledged: frozenset({_S.SENDING, _S.REPLYING, _S.AMBIGUOUS, _S.RECONCILING}),
    RefusedLocally: frozenset({_S.INTENT, _S.CLAIMED}),
    RefusedByPolicy: frozenset({_S.REPLYING}),
    RefusedByBroker: frozenset({_S.SENDING, _S.RECONCILING}),
    Expired: frozenset({_S.INTENT, _S.CLAIMED}),
    Doubted: frozenset({_S.SENDING, _S.QUESTIONED, _S.REPLYING, _S.INTENT, _S.CLAIMED}),  # the last two: armed again
    Looked: frozenset({_S.AMBIGUOUS, _S.RECONCILING}),
    ProvenAbsent: frozenset({_S.RECONCILING}),
    Rearmed: frozenset({_S.RECONCILING}),
    GaveUp: frozenset({_S.AMBIGUOUS, _S.RECONCILING}),
    Progressed: frozenset({_S.ACKED}),
    Adopted: _DENIES | {_S.REJECTED_LOCAL, _S.EXPIRED_LOCAL},  # the last two: an older copy of the journal
    Resolved: frozenset({_S.UNKNOWN_NEEDS_HUMAN}),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Intent:
    """Where an intent stands after its events; `version` counts them.

    epoch:       the fencing number under which it was claimed or taken over last.
    settle_from: when the last doubt arose; the settle window runs from here.
    legs, grouped: the other orders of its group as the answer told them, and, once grouped, as they really are.
    mended:      what was done about a broken bracket.
    total:       the size of its order at the broker, where that was told.
    """

    planned: Planned
    state: IntentState = IntentState.INTENT
    version: int = 1
    epoch: int = 0
    sends: int = 0
    sent_at: datetime | None = None
    session: str = ""
    trading_day: date | None = None
    question: Question | None = None
    asked_at: datetime | None = None
    replies: int = 0
    declined: bool = False
    settle_from: datetime | None = None
    refused_code: str = ""
    registered: bool = False
    list_absences: int = 0
    fills_absent: bool = False
    parked: bool = False
    order_id: OrderId | None = None
    order_status: OrderStatus | None = None
    legs: tuple[LegAck, ...] = ()
    grouped: bool = False
    mended: str = ""
    filled: Decimal = Decimal(0)
    average_price: Decimal | None = None
    total: Decimal | None = None
    code: str = ""
    control: str = ""
    reason: str = ""
    unknown: UnknownReason | None = None
    resolved: bool = False
    updated_at: datetime

    @property
    def intent_id(self) -> IntentId:
        return self.planned.intent_id

    @property
    def operation(self) -> Operation:
        return self.planned.operation

    @property
    def key(self) -> Key:
        return self.planned.key

    @property
    def ref(self) -> Ref:
        return self.planned.ref

    @property
    def ticket(self) -> OrderTicket:
        """The order asked for. Not for a cancel or an external order, which have none."""
        assert self.planned.ticket is not None, "a cancel has no ticket"  # nor has an order of somebody else
        return self.planned.ticket

    @property
    def size(self) -> Decimal:
        """How much its order is for: as the broker told last, or as it was sent."""
        return self.ticket.quantity if self.total is None else self.total

    @property
    def earlier_send_may_act(self) -> bool:
        """A cancel that was sent before and armed again: nothing proves that its first send came to nothing.

        An order is armed again only after proven absence; where it ends without a second send, it is one that was not
        placed, and is looked for like any other.
        """
        return self.operation is Operation.CANCEL and self.sends > 0

    @property
    def group_open(self) -> bool:
        """The broker took the group, and nobody has looked yet whether it took all of it."""
        return self.planned.group is not None and self.state in _TAKEN and not self.grouped

    @property
    def grew_too_old(self) -> bool:
        """It was never sent, for nothing could be: what it was for is as due as before."""
        return self.state is _S.EXPIRED_LOCAL and not self.sends

    @property
    def broken(self) -> tuple[LegAck, ...]:
        """The orders of its group that the broker refused or does not show; they are known once it is grouped."""
        if not self.grouped:
            return ()
        return tuple(leg for leg in self.legs if leg.order_id is None or leg.text)

    @property
    def mend_due(self) -> bool:
        """A bracket without all of its children is undone, by whoever finds it so."""
        return bool(self.broken) and self.planned.group is GroupKind.BRACKET and not self.mended

    @property
    def final(self) -> bool:
        """Nothing more is to be learned of it. An acknowledged change is done: its order is tracked by itself."""
        done = self.state.final or (self.operation is Operation.MODIFY and self.state is IntentState.ACKED)
        return done and not self.group_open and not self.mend_due

    @property
    def label(self) -> str:
        """`SELL 3 SPY 20261120 629 P MKT DAY`, `cancel of order 17`."""
        if self.operation is Operation.CANCEL:
            return f"cancel of order {self.planned.target}"
        if self.operation is Operation.MODIFY:
            return f"change of order {self.planned.target} to {self.ticket.label}"
        if self.operation is Operation.EXTERNAL:
            return f"order {self.planned.target} of somebody else: {self.planned.terms.get('description', '')}".rstrip(
                ": "
            )
        if self.planned.group is not None:
            others = ", ".join(ticket.label for ticket in self.planned.others)
            return f"{self.ticket.label} ({self.planned.group.value} with {others})"
        return self.ticket.label


def fold(intent: Intent | None, event: Event) -> Intent:
    """`intent` after `event`. An event that cannot follow is our own mistake: AssertionError."""
    if isinstance(event, Planned):
        assert intent is None, "an intent is planned once"
        return Intent(planned=event, updated_at=event.at)
    assert intent is not None, f"{type(event).__name__} before Planned"
    assert intent.state in _FROM[type(event)], f"{type(event).__name__} cannot follow {intent.state.name}"
    changes = {**_changes(intent, event), "version": intent.version + 1, "updated_at": event.at}
    return dataclasses.replace(intent, **changes)  # type: ignore[arg-type]  # names come from _changes below


def fold_all(events: Iterable[Event]) -> Intent:
    intent: Intent | None = None
    for event in events:
        intent = fold(intent, event)
    assert intent is not None, "no events"
    return intent


def _changes(intent: Intent, event: Event) -> dict[str, object]:
    match event:
        case Claimed():
            return {"state": _S.CLAIMED, "epoch": event.epoch}
        case TakenOver():
            return {"epoch": event.epoch}
        case Sending() | NotSent() | Questioned() | Replying():
            return _talking(intent, event)
        case Doubted():
            return {
                "state": _S.AMBIGUOUS,
                "settle_from": event.at,
                "refused_code": event.refused_code,
                "registered": intent.registered or event.exists,
                "reason": event.reason,
                "list_absences": 0,
                "fills_absent": False,
                "parked": False,
            }
        case Looked():
            return {
                "state": _S.RECONCILING,
                "list_absences": intent.list_absences + event.list_absent,
                "fills_absent": intent.fills_absent or event.fills_absent,
                "parked": event.parked,
            }
        case Acknowledged() | Adopted() | Attached() | Grouped() | Mended() | Progressed():
            return _at_the_broker(intent, event)
        case RefusedLocally() | Expired() if intent.operation is Operation.PLACE and intent.sends:
            # Armed again by the opt-in probe: its first send was proven absent, and is still looked for.
            return {"state": _S.NOT_PLACED, "code": "E-TIMEOUT", "reason": f"proven not to be at IBKR; {event.reason}"}
        case _:
            return _ending(event)


def _talking(intent: Intent, event: Sending | NotSent | Questioned | Replying) -> dict[str, object]:
    match event:
        case Sending():
            return {
                "state": _S.SENDING,
                "sends": intent.sends + 1,
                "sent_at": event.at,
                "session": event.session,
                "trading_day": event.trading_day,
            }
        case NotSent():
            if intent.state is _S.REPLYING:
                return {"state": _S.QUESTIONED, "replies": intent.replies - 1}
            return {"state": _S.INTENT, "sends": intent.sends - 1, "reason": event.reason}
        case Questioned():
            asked_at = intent.asked_at or event.at
            return {"state": _S.QUESTIONED, "question": event.question, "asked_at": asked_at}
        case Replying():
            declined = intent.declined or not event.confirmed
            return {"state": _S.REPLYING, "replies": intent.replies + 1, "declined": declined, "reason": event.why}
        case _ as unreachable:
            assert_never(unreachable)


def _at_the_broker(
    intent: Intent, event: Acknowledged | Adopted | Attached | Grouped | Mended | Progressed
) -> dict[str, object]:
    match event:
        case Attached():
            return {"state": _S.ACKED, "order_id": event.order_id, "order_status": event.status}
        case Grouped():
            return {"legs": event.legs, "grouped": True}
        case Mended():
            return {"mended": event.note}
        case Progressed():
            return {
                "state": _after_progress(event),
                "order_status": event.status,
                "filled": event.filled,
                "average_price": event.average_price,
                "reason": event.reason,
                "total": intent.total if event.total is None else event.total,
            }
        case Acknowledged() | Adopted():
            return {
                "state": _S.ACKED,
                "order_id": event.order_id,
                "order_status": event.status,
                "legs": event.legs if isinstance(event, Acknowledged) else intent.legs,
                "reason": "",
                "code": "",
                "unknown": None,
            }
        case _ as unreachable:
            assert_never(unreachable)


def _after_progress(event: Progressed) -> IntentState:
    if event.refused:
        return _S.REJECTED_LATE
    if event.status is OrderStatus.FILLED:
        return _S.FILLED
    return _S.CANCELLED if event.status is OrderStatus.CANCELLED else _S.ACKED


def _ending(event: Event) -> dict[str, object]:
    match event:
        case RefusedLocally():
            return {
                "state": _S.REJECTED_LOCAL,
                "code": event.code,
                "control": event.control,
                "reason": event.reason,
            }
        case RefusedByPolicy():
            return {"state": _S.REJECTED_POLICY, "code": "E-ORD-QUESTION", "reason": event.reason}
        case RefusedByBroker():
            return {"state": _S.REJECTED_BROKER, "code": event.code, "reason": event.reason}
        case Expired():
            return {"state": _S.EXPIRED_LOCAL, "code": "E-RISK", "control": "RC-26", "reason": event.reason}
        case ProvenAbsent():
            return {"state": _S.NOT_PLACED, "code": "E-TIMEOUT", "reason": event.reason}
        case Rearmed():
            return {"state": _S.INTENT, "reason": ""}
        case GaveUp():
            return {
                "state": _S.UNKNOWN_NEEDS_HUMAN,
                "code": "E-ORD-UNKNOWN",
                "unknown": event.unknown,
                "reason": event.reason,
            }
        case Resolved():
            return {"resolved": True}
        case _:
            return {}  # Decided: recorded, moves nothing
