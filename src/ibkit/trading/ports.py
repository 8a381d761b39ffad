"""What trading needs of the world, as small protocols that `client/broker.py` and `store/` fit."""

from __future__ import annotations

from collections.abc import Collection
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal
from typing import Protocol

from ibkit.errors import InFlight, TradingError
from ibkit.model import (
    Account,
    AccountId,
    AccountSummary,
    Answer,
    CancelAck,
    Conid,
    Contract,
    Environment,
    Fill,
    GroupKind,
    Increments,
    Key,
    Order,
    OrderId,
    OrderTicket,
    Position,
    Preview,
    QuestionId,
    Quote,
    Ref,
    Right,
    SendPermit,
    Side,
    Username,
)
from ibkit.trading.alert import Alert, AlertKind
from ibkit.trading.events import Attached, Event, IntentId, Operation, Planned
from ibkit.trading.intent import Intent
from ibkit.trading.risk.facts import DailyPnl, SessionHealth, TradingHours

__all__ = [
    "Alerts",
    "Broker",
    "ControlsMoved",
    "Fenced",
    "FillsRead",
    "Journal",
    "Lane",
    "Leg",
    "OrdersRead",
    "SessionMark",
    "cancel_lane",
    "lane_of",
    "name_of_lane",
]


class ControlsMoved(TradingError):
    """The limits, a kill switch or the sends of the account changed since the decision: it must be made again."""


class Fenced(InFlight):
    """Another process holds the lane by now: whoever is told so must not send any more."""


@dataclass(frozen=True, slots=True)
class Lane:
    """The right to talk about orders of one user name, or to cancel them (`lane_of`).

    epoch: rises each time the lane changes hands.
    """

    username: Username
    epoch: int


_CANCELS = " cancels"


def cancel_lane(username: Username) -> Username:
    """The lane of a user name's cancels: no cancel waits while an order is asked about, or looked for for minutes.

    A cancel that meets an open question may void it (docs/facts/orders.md §3.1); that order is then looked for. It is
    the smaller evil: whoever cancels wants less at IBKR, and soon (reliability §5, kill switch).
    """
    return Username(f"{username}{_CANCELS}")


def lane_of(planned: Planned) -> Username:
    """In which lane an intent is carried out."""
    return cancel_lane(planned.username) if planned.operation is Operation.CANCEL else planned.username


def name_of_lane(lane: Username) -> Username:
    """Whose lane it is, of cancels or of everything else."""
    return Username(lane.removesuffix(_CANCELS))


@dataclass(frozen=True, slots=True)
class Leg:
    """One further order of a group, to be stored as an intent of its own."""

    planned: Planned
    attached: Attached


@dataclass(frozen=True, slots=True)
class SessionMark:
    """Which brokerage session and trading day a call belonged to: absence counts only within one of each."""

    session: str
    trading_day: date


@dataclass(frozen=True, slots=True)
class OrdersRead:
    """One read of an account's live orders.

    complete: the broker said `snapshot:true`, unfiltered, and the list was not cut (< 1,000 rows), and it is not the
              first since another account was selected.
    first:    it was the session's first read, which proves nothing.
    """

    orders: tuple[Order, ...]
    complete: bool
    first: bool
    mark: SessionMark


@dataclass(frozen=True, slots=True)
class FillsRead:
    """One read of an account's executions; `first` as in OrdersRead."""

    fills: tuple[Fill, ...]
    first: bool
    mark: SessionMark


class Broker(Protocol):
    """One IBKR login. Every call is sent at most once where it may change something.

    Errors say what is known: `Unreachable` and `Refused` have effect NONE (nothing happened); `OutcomeUnknown`
    and `UnexpectedAnswer` have effect UNKNOWN (look before anything is sent again). A question, a rejection in
    an answer and "already registered" are `Answer`s, not exceptions.

    For the calls that change something (place, reply, modify, cancel) every other error class means that no byte
    left. So a 401 that answers one of them is `OutcomeUnknown`, not `SessionExpired`; a 4xx that answers one is
    `Refused`, which trading believes only after it has looked. A `Refused` of our own, before any byte (rate limit,
    read-only), says so with `details["unsent"]`.

    permit: looked at right before the first byte. A call that could not leave in time (rate limit, a sign-in, a machine
    that slept) does not leave at all: Unreachable with `details["late"]` (fault F91).
    """

    @property
    def username(self) -> Username:
        """The IBKR user name: one order conversation at a time for each."""
        ...

    async def mark(self) -> SessionMark: ...

    async def accounts(self) -> tuple[Account, ...]: ...

    async def is_paper(self) -> bool | None:
        """The broker's own word (`isPaper` of /iserver/accounts); None where it said nothing."""
        ...

    async def summary(self, account_id: AccountId) -> AccountSummary: ...

    async def positions(self, account_id: AccountId) -> tuple[Position, ...]:
        """All of them, fresh (not from the portfolio cache), or an error; never a part."""
        ...

    async def underlying(self, symbol: str) -> Contract:
        """The stock, ETF or index that `symbol` means on its primary US listing. NotFound (E-CONTRACT)."""
        ...

    async def option(self, symbol: str, *, expiry: date, strike: Decimal, right: Right) -> Contract:
        """The one listed option. NotFound with E-CONTRACT (nearest strikes) or E-EXPIRY (next expiries)."""
        ...

    async def option_strikes(
        self, symbol: str, *, expiry: date, right: Right, near: Decimal | None = None, at_most: int | None = None
    ) -> tuple[Contract, ...]:
        """The options of that expiry and right, ascending by strike; with `near` the `at_most` nearest to it."""
        ...

    async def increments(self, contract: Contract, *, side: Side) -> Increments: ...

    async def quote(self, conid: Conid) -> Quote:
        """A warmed-up quote: bid and ask waited for (0.5 s steps, at most 6 s), then as it is."""
        ...

    async def quotes(self, conids: tuple[Conid, ...]) -> tuple[Quote, ...]:
        """Like `quote` for many at once, in the order asked."""
        ...

    async def preview(self, ticket: OrderTicket) -> Preview: ...

    async def place(
        self,
        ticket: OrderTicket,
        *,
        ref: Ref,
        others: tuple[OrderTicket, ...] = (),
        group: GroupKind | None = None,
        permit: SendPermit | None = None,
    ) -> Answer:
        """`ticket`, or a group of orders that begins with it, in one request.

        The siblings of an OCA group carry `leg_ref(ref, n)` as their refs, the children of a bracket none.
        """
        ...

    async def reply(
        self, question_id: QuestionId, *, confirmed: bool, ref: Ref | None = None, permit: SendPermit | None = None
    ) -> Answer:
        """`Rejected` after `confirmed=False` means declined; "reply id not found" is an error, not `Rejected`."""
        ...

    async def modify(self, order_id: OrderId, ticket: OrderTicket, *, permit: SendPermit | None = None) -> Answer:
        """`ticket` in full: what it leaves out counts as changed (docs/facts/orders.md §6)."""
        ...

    async def cancel(
        self, account_id: AccountId, order_id: OrderId, *, permit: SendPermit | None = None
    ) -> CancelAck: ...

    async def read_orders(self, account_id: AccountId) -> OrdersRead: ...

    async def recent_orders(self, account_id: AccountId, *, within_s: float) -> OrdersRead:
        """The last complete read of this session, if it is no older than `within_s`; else a new one, whatever it is."""
        ...

    def orders_read_since(self, account_id: AccountId, asked_at: float) -> tuple[OrdersRead, ...]:
        """The latest complete reads that were asked for then or later (monotonic), by whomever; oldest first.

        The list may be asked for once in five seconds: two who look at the same time share what they see.
        """
        ...

    async def read_fills(self, account_id: AccountId, *, days: int = 1) -> FillsRead: ...

    async def daily_pnl(self, account_id: AccountId, *, select: bool = False) -> DailyPnl | None:
        """At most 30 s old; None where IBKR does not say: it tells of the account that the session has selected.

        select: the account may be selected for it. Of a login's accounts only one is at a time, so this is for whoever
        holds the conversation of its user name.
        """
        ...

    async def trading_hours(self, contract: Contract) -> TradingHours | None:
        """Of the coming days; None where IBKR does not know the contract's."""
        ...

    async def exchange_rate(self, currency: str) -> Decimal | None:
        """USD for one unit, at most a minute old; None where IBKR does not say."""
        ...

    async def session_health(self) -> SessionHealth:
        """At most 30 s old."""
        ...

    async def order(self, order_id: OrderId) -> Order | None:
        """None where the broker does not know it (or it is parked behind a question)."""
        ...


class Journal(Protocol):
    """Intents and their events, append-only, durable (fsync) before a method returns.

    Errors: StorageError (E-DB); after a failed fsync every further write fails, too.
    """

    async def plan(self, planned: Planned) -> tuple[Intent, bool]:
        """The intent of (tenant, environment, key): stored now (True), or the one that was there (False).

        KeyReused where its record is purged and only the tombstone of its key is left.
        """
        ...

    async def append(
        self, intent: Intent, *events: Event, alert: Alert | None = None, legs: tuple[Leg, ...] = ()
    ) -> Intent:
        """`intent` after `events`, stored in one transaction with the alert and the other orders of its group.

        InFlight where somebody else has moved the intent since it was read (compare-and-set on its version). A send or
        reply (`Claimed`, `TakenOver`, `Sending`, `Replying`) is stored only under the newest epoch of its lane: Fenced.
        One that a risk decision precedes (`Decided` of the stages send and confirm) only while the decision's
        generation and serial are the present ones: ControlsMoved.
        """
        ...

    async def get(self, intent_id: IntentId) -> Intent | None: ...

    async def by_key(self, *, tenant: str, environment: Environment, key: Key) -> Intent | None:
        """None where the key is free; KeyReused where only a tombstone of it is left."""
        ...

    async def events(self, intent_id: IntentId) -> tuple[Event, ...]: ...

    async def unfinished(self, username: Username) -> tuple[Intent, ...]:
        """Every intent of this user name that is not final, oldest first (acknowledged ones included)."""
        ...

    async def reducing(self, parent: IntentId) -> tuple[Intent, ...]:
        """The intents that undo (protect or close) what `parent` filled, oldest first."""
        ...

    async def denied(self, username: Username, *, since: datetime) -> tuple[Intent, ...]:
        """Ends that a late order could overtake (`IntentState.denies`), unresolved, last changed after `since`."""
        ...

    async def recent(self, *, limit: int = 50) -> tuple[Intent, ...]:
        """The latest intents, newest first."""
        ...

    async def purge(self, now: datetime) -> int:
        """Forgets what ended 30 days before `now` but for its key and fingerprint, and those after 400 days more.

        Never what has not ended, or is unknown and not resolved, nor an order without all that undid it and all of its
        group: what is left of a position follows from all of them. Returns how many records and tombstones went.
        """
        ...

    @property
    def restored(self) -> bool:
        """It is an older copy than the one used last: nothing may be sent until a person has looked (TM-41)."""
        ...

    async def clear_restored(self) -> None:
        """A person has compared it with the broker's orders, and it may be used."""
        ...

    async def controls(self, account_id: AccountId) -> tuple[int, int]:
        """What a decision on an order of the account must rest on at present: generation and serial (`Decided`)."""
        ...

    async def still_held(self, intent: Intent) -> None:
        """Fenced where another process has taken the lane of `intent` over since its row was written."""
        ...

    async def legs(self, parent: IntentId) -> tuple[Intent, ...]:
        """The other orders of the group that `parent` sent, in the order of their places."""
        ...

    async def open_orders(self, account_id: AccountId) -> tuple[Intent, ...]:
        """Every intent of the account, of whatever user name, whose order may still work: placed, leg or external."""
        ...

    async def by_order(self, account_id: AccountId, order_id: OrderId) -> Intent | None:
        """The intent whose order the broker knows by that number: placed, a leg of a group, or external."""
        ...

    async def usernames(self, account_ids: Collection[AccountId]) -> tuple[Username, ...]:
        """Under which user names these accounts have something that is not final, or denied and unresolved.

        More than one where the broker did not always tell the name, and the settings stood in for it.
        """
        ...

    def conversation(self, username: Username, *, wait_s: float) -> AbstractAsyncContextManager[Lane]:
        """The one order conversation of this user name, across tasks and processes; ends with the process.

        InFlight where another holds it for longer than `wait_s`.
        """
        ...


class Alerts(Protocol):
    """Alerts that stay open until somebody closes them."""

    async def put(self, alert: Alert) -> Alert:
        """Stored, with its id; the open alert of the same kind and subject is updated instead of doubled."""
        ...

    async def open(self, *, kind: AlertKind | None = None) -> tuple[Alert, ...]:
        """Oldest first."""
        ...

    async def close(self, kind: AlertKind, subject: str, *, at: datetime, note: str) -> None:
        """Closes the open alert of `kind` and `subject`, if there is one."""
        ...
