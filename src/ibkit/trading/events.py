"""What can happen to an intent, each a small frozen value; they are stored and never changed.

Source: reliability rules §4.1.
"""

from __future__ import annotations

import enum
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from decimal import Decimal
from typing import NewType, TypeAlias

from ibkit.model import (
    AccountId,
    Environment,
    GroupKind,
    Key,
    OrderId,
    OrderStatus,
    OrderTicket,
    Question,
    QuestionId,
    Ref,
    Username,
)

__all__ = [
    "AHEAD",
    "EVENTS",
    "Acknowledged",
    "Adopted",
    "Attached",
    "Claimed",
    "Decided",
    "Doubted",
    "Event",
    "Expired",
    "GaveUp",
    "Grouped",
    "IntentId",
    "LegAck",
    "Looked",
    "Mended",
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
    "TakenOver",
    "UnknownReason",
    "made_ahead",
]

IntentId = NewType("IntentId", str)
"""Our number of an intent; equal to its ref, which is already unique and says nothing."""


class Operation(enum.Enum):
    PLACE = "place"
    MODIFY = "modify"
    CANCEL = "cancel"
    EXTERNAL = "external"
    """Not ours: an order that somebody placed elsewhere, found at the broker and followed."""


class Stage(enum.Enum):
    """When a risk decision was made: at intake, right before a send, right before a confirmation."""

    INTAKE = "intake"
    SEND = "send"
    CONFIRM = "confirm"


class UnknownReason(enum.Enum):
    UNPROVEN = "unproven"
    PARKED = "parked"
    """It waits at the broker behind a question whose answer is lost, and may still go live."""


AHEAD = timedelta(seconds=60)
"""What one process's clock may be ahead of the next one's: beyond it no order leaves (RC-27)."""


def made_ahead(made_at: datetime, now: datetime) -> bool:
    """Whether the clock that told `made_at` was so far ahead of this one that nobody knows the age of what it made."""
    return now < made_at - AHEAD


@dataclass(frozen=True, slots=True, kw_only=True)
class Planned:
    """The wish, stored before anything else. `target` is the order that a modify or cancel aims at.

    reduces: the intent whose fill this one protects or closes; its fill proves that risk goes down.
    confirm: question ids that a person allowed for this order.
    group, others: of a bracket or OCA group, whose orders leave in one request; `ticket` is the first of them (of a
             bracket the parent).
    leg_of:  of one further order of a group: the intent that sent it.
    user, api_key, strategy: who asks, by which key, for which strategy; limits can be set for each ("" is nobody's).
    allow_duplicate: a person wants a second order of the same terms within seconds (control RC-21).
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
    group: GroupKind | None = None
    others: tuple[OrderTicket, ...] = ()
    leg_of: IntentId | None = None
    user: str = ""
    api_key: str = ""
    strategy: str = ""
    allow_duplicate: bool = False

    def timely(self, now: datetime) -> bool:
        """Whether it may still leave: it is young enough, and of no clock that was ahead."""
        return now <= self.expires_at and not made_ahead(self.at, now)


@dataclass(frozen=True, slots=True, kw_only=True)
class Decided:
    """A risk decision. control: the rule that refused (`RC-07`), empty where all passed.

    version: of the limits. generation, serial: what the decision rests on (changes of limits and kill switches so far,
    sends of the account so far); the journal refuses a send whose decision rests on something older.
    warnings: controls that only warn here, and why.
    value: what the order was valued at, in USD; None where that is not known.
    """

    at: datetime
    stage: Stage
    passed: bool
    version: str
    control: str = ""
    note: str = ""
    generation: int = 0
    serial: int = 0
    warnings: tuple[str, ...] = ()
    value: Decimal | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Claimed:
    """epoch: the fencing number of the lane of the user name; who holds an older one can no longer send."""

    at: datetime
    owner: str
    epoch: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class TakenOver:
    """Somebody else looks after it from here: its lane changed hands while it was under way."""

    at: datetime
    owner: str
    epoch: int


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


@dataclass(frozen=True, slots=True)
class LegAck:
    """What became of one further order of a group. order_id: None where it was refused or is not there.

    number: its place in `Planned.others`, counted from 1; None while nobody has looked which of the children it is; 0
            for the first order of an OCA group where another was found in its place.
    text:   the broker's words on a refusal, or ours on what is missing.
    """

    number: int | None
    order_id: OrderId | None
    status: OrderStatus
    text: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Acknowledged:
    """The order exists. evidence: answer, orders list, trades.

    legs: what the answer said of the other orders of its group.
    """

    at: datetime
    order_id: OrderId
    status: OrderStatus
    evidence: str
    legs: tuple[LegAck, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Grouped:
    """What became of each of the other orders of a group: from here on each is followed as an intent of its own."""

    at: datetime
    legs: tuple[LegAck, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Mended:
    """A broken bracket was undone as far as it goes; note: what was done and what stands."""

    at: datetime
    note: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Attached:
    """It exists without having been sent by itself: a leg that left with its group, or an order of somebody else."""

    at: datetime
    order_id: OrderId
    status: OrderStatus


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
    exists:       the broker said that our ref is registered: absence can no longer be proven.
    """

    at: datetime
    reason: str
    refused_code: str = ""
    exists: bool = False


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
    """What the broker says of an acknowledged order, when that changed.

    total: the size that it has there; a change makes it another than the one it was sent with. None: not told.
    """

    at: datetime
    status: OrderStatus
    filled: Decimal
    average_price: Decimal | None
    refused: bool
    reason: str = ""
    total: Decimal | None = None


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
    | TakenOver
    | Sending
    | NotSent
    | Questioned
    | Replying
    | Acknowledged
    | Grouped
    | Mended
    | Attached
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
