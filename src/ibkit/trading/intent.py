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
from typing import NewType, TypeAlias

from ibkit.model import (
    AccountId,
    Environment,
    Key,
    OrderId,
    OrderStatus,
    OrderTicket,
    Question,
    QuestionId,
    Ref,
    Side,
    Username,
)

__all__ = [
    "EVENTS",
    "Acknowledged",
    "Adopted",
    "Claimed",
    "Decided",
    "Doubted",
    "Event",
    "Expired",
    "GaveUp",
    "Intent",
    "IntentId",
    "IntentState",
    "Looked",
    "NotSent",
    "Operation",
    "Planned",
    "Progressed",
    "ProvenAbsent",
    "Questioned",
    "Rearmed",
    "RefusedByBroker",
    "RefusedByPolicy",
    "RefusedLocally",
    "Replying",
    "Resolved",
    "Sending",
    "Stage",
    "UnknownReason",
    "fold",
    "fold_all",
]

IntentId = NewType("IntentId", str)
"""Our number of an intent; equal to its ref, which is already unique and says nothing."""


class Operation(enum.Enum):
    PLACE = "place"
    MODIFY = "modify"
    CANCEL = "cancel"


class Stage(enum.Enum):
    """When a risk decision was made: at intake, right before a send, right before a confirmation."""

    INTAKE = "intake"
    SEND = "send"
    CONFIRM = "confirm"


class UnknownReason(enum.Enum):
    UNPROVEN = "unproven"
    PARKED = "parked"
    """It waits at the broker behind a question whose answer is lost, and may still go live."""


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
_DENIES = frozenset({_S.REJECTED_POLICY, _S.REJECTED_BROKER, _S.NOT_PLACED, _S.UNKNOWN_NEEDS_HUMAN})


@dataclass(frozen=True, slots=True, kw_only=True)
class Planned:
    """The wish, stored before anything else. `target` is the order that a modify or cancel aims at.

    reduces: the intent whose fill this one protects or closes; its fill proves that risk goes down.
    confirm: question ids that a person allowed for this order.
    """

    at: datetime
    intent_id: IntentId
    operation: Operation
    tenant: str
    environment: Environment
    username: Username
    key: Key
    ref: Ref
    account_id: AccountId
    ticket: OrderTicket | None
    target: OrderId | None
    terms: Mapping[str, str]
    fingerprint: str
    expires_at: datetime
    purpose: str
    reduces: IntentId | None = None
    confirm: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Decided:
    """A risk decision. control: the rule that refused (`RC-07`), empty where all passed."""

    at: datetime
    stage: Stage
    passed: bool
    version: str
    control: str = ""
    note: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Claimed:
    at: datetime
    owner: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Sending:
    """Committed right before the bytes go; absence can be shown only in this session and trading day."""

    at: datetime
    deadline_s: float
    session: str
    trading_day: date


@dataclass(frozen=True, slots=True, kw_only=True)
class NotSent:
    """Proof that not one byte left."""

    at: datetime
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Questioned:
    at: datetime
    question: Question


@dataclass(frozen=True, slots=True, kw_only=True)
class Replying:
    at: datetime
    question_id: QuestionId
    confirmed: bool
    why: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Acknowledged:
    """The order exists. evidence: answer, orders list, trades."""

    at: datetime
    order_id: OrderId
    status: OrderStatus
    evidence: str


@dataclass(frozen=True, slots=True, kw_only=True)
class RefusedLocally:
    """Our own rules said no; nothing was sent."""

    at: datetime
    code: str
    control: str
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class RefusedByPolicy:
    """The broker asked what we do not confirm, and the question was declined."""

    at: datetime
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class RefusedByBroker:
    at: datetime
    code: str
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Expired:
    """Too old to be sent (control RC-26)."""

    at: datetime
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Doubted:
    """It may have been sent, and the answer proves nothing.

    refused_code: set where the answer was a refusal by HTTP status, which one absence read makes certain.
    """

    at: datetime
    reason: str
    refused_code: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Looked:
    """One look at the broker's lists. list_absent, fills_absent: a read that counts as absence."""

    at: datetime
    list_absent: bool
    fills_absent: bool
    parked: bool
    note: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ProvenAbsent:
    at: datetime
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Rearmed:
    """Absence is proven and the owner has opted in to the same-cOID probe."""

    at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class GaveUp:
    at: datetime
    unknown: UnknownReason
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Progressed:
    """What the broker says of an acknowledged order, when that changed."""

    at: datetime
    status: OrderStatus
    filled: Decimal
    average_price: Decimal | None
    refused: bool
    reason: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Adopted:
    """An order that we had denied, or not proven, showed up."""

    at: datetime
    order_id: OrderId
    status: OrderStatus
    evidence: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Resolved:
    """A person looked into an unknown intent; `note` is what they found."""

    at: datetime
    by: str
    note: str


Event: TypeAlias = (
    Planned
    | Decided
    | Claimed
    | Sending
    | NotSent
    | Questioned
    | Replying
    | Acknowledged
    | RefusedLocally
    | RefusedByPolicy
    | RefusedByBroker
    | Expired
    | Doubted
    | Looked
    | ProvenAbsent
    | Rearmed
    | GaveUp
    | Progressed
    | Adopted
    | Resolved
)

EVENTS: Mapping[str, type[Event]] = {kind.__name__: kind for kind in Event.__args__}
"""Every event by its name, for stores that write them down."""

_FROM: Mapping[type[Event], frozenset[IntentState]] = {
    Decided: frozenset({_S.INTENT, _S.CLAIMED, _S.QUESTIONED}),
    Claimed: frozenset({_S.INTENT}),
    Sending: frozenset({_S.CLAIMED}),
    NotSent: frozenset({_S.SENDING, _S.REPLYING}),
    Questioned: frozenset({_S.SENDING, _S.REPLYING}),
    Replying: frozenset({_S.QUESTIONED}),
    Acknowledged: frozenset({_S.SENDING, _S.REPLYING, _S.AMBIGUOUS, _S.RECONCILING}),
    RefusedLocally: frozenset({_S.INTENT, _S.CLAIMED}),
    RefusedByPolicy: frozenset({_S.REPLYING}),
    RefusedByBroker: frozenset({_S.SENDING, _S.RECONCILING}),
    Expired: frozenset({_S.INTENT, _S.CLAIMED}),
    Doubted: frozenset({_S.SENDING, _S.QUESTIONED, _S.REPLYING}),
    Looked: frozenset({_S.AMBIGUOUS, _S.RECONCILING}),
    ProvenAbsent: frozenset({_S.RECONCILING}),
    Rearmed: frozenset({_S.RECONCILING}),
    GaveUp: frozenset({_S.AMBIGUOUS, _S.RECONCILING}),
    Progressed: frozenset({_S.ACKED}),
    Adopted: _DENIES,
    Resolved: frozenset({_S.UNKNOWN_NEEDS_HUMAN}),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Intent:
    """Where an intent stands after its events; `version` counts them.

    settle_from: when the last doubt arose; the settle window runs from here.
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
    list_absences: int = 0
    fills_absent: bool = False
    parked: bool = False
    order_id: OrderId | None = None
    order_status: OrderStatus | None = None
    filled: Decimal = Decimal(0)
    average_price: Decimal | None = None
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
        """The order asked for. Not for a cancel, which has none."""
        assert self.planned.ticket is not None, "a cancel has no ticket"
        return self.planned.ticket

    @property
    def side(self) -> Side | None:
        return None if self.planned.ticket is None else self.planned.ticket.side

    @property
    def label(self) -> str:
        """`SELL 3 SPY 20261120 629 P MKT DAY`, `cancel of order 17`."""
        if self.operation is Operation.CANCEL:
            return f"cancel of order {self.planned.target}"
        if self.operation is Operation.MODIFY:
            return f"change of order {self.planned.target} to {self.ticket.label}"
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
            return {"state": _S.CLAIMED, "epoch": intent.epoch + 1}
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
        case Acknowledged() | Adopted():
            return {
                "state": _S.ACKED,
                "order_id": event.order_id,
                "order_status": event.status,
                "reason": "",
                "code": "",
                "unknown": None,
            }
        case Looked():
            return {
                "state": _S.RECONCILING,
                "list_absences": intent.list_absences + event.list_absent,
                "fills_absent": intent.fills_absent or event.fills_absent,
                "parked": event.parked,
            }
        case Progressed():
            return {
                "state": _after_progress(event),
                "order_status": event.status,
                "filled": event.filled,
                "average_price": event.average_price,
                "reason": event.reason,
            }
        case _:
            return _ending(event)


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
        case Doubted():
            return {
                "state": _S.AMBIGUOUS,
                "settle_from": event.at,
                "refused_code": event.refused_code,
                "reason": event.reason,
                "list_absences": 0,
                "fills_absent": False,
                "parked": False,
            }
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
