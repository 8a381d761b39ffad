"""What lasts of risk: changes of limits, halts, and what has left; and the port that keeps it.

A layer that is more specific replaces the one above it: environment < tenant < user < account < API key < symbol.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Protocol

from ibkit.model import AccountId, Environment, OrderTicket, Side
from ibkit.trading.events import IntentId, Operation
from ibkit.trading.risk.limits import Limits

__all__ = [
    "LAYERS",
    "Halt",
    "HaltMode",
    "Layer",
    "LimitChange",
    "OpenOrder",
    "Released",
    "RiskBook",
    "RiskState",
    "Scope",
    "Sent",
    "Usage",
]


class Layer(enum.Enum):
    """For whom a limit is set, from the widest to the most specific."""

    ENVIRONMENT = "environment"
    TENANT = "tenant"
    USER = "user"
    ACCOUNT = "account"
    API_KEY = "key"
    SYMBOL = "symbol"


LAYERS = tuple(Layer)


@dataclass(frozen=True, slots=True, kw_only=True)
class Scope:
    """Whose limits, halts and counters. An empty text is nobody's."""

    environment: Environment
    account_id: AccountId
    tenant: str = "local"
    user: str = ""
    api_key: str = ""
    symbol: str = ""

    def name(self, layer: Layer) -> str:
        """What this scope is called on `layer`; empty where it is nothing there."""
        names = {
            Layer.ENVIRONMENT: self.environment.value,
            Layer.TENANT: self.tenant,
            Layer.USER: self.user,
            Layer.ACCOUNT: self.account_id,
            Layer.API_KEY: self.api_key,
            Layer.SYMBOL: self.symbol,
        }
        return names[layer]


@dataclass(frozen=True, slots=True, kw_only=True)
class LimitChange:
    """One limit, set for one layer. old and new are texts as `risk set` takes them; new None: back to the layer above.

    number:       counts the changes of the book; 0 before it is stored. needs_second: not in force until another
                  person confirms it. confirmed_by: who did.
    """

    environment: Environment
    layer: Layer
    whose: str
    name: str
    new: str | None
    by: str
    note: str
    at: datetime
    number: int = 0
    old: str | None = None
    needs_second: bool = False
    confirmed_by: str = ""
    confirmed_at: datetime | None = None

    @property
    def in_force(self) -> bool:
        return not self.needs_second or self.confirmed_at is not None


class HaltMode(enum.Enum):
    """BLOCK_NEW: no new order, and no working one made larger. REDUCE_ONLY: no change but what reduces, either.

    CANCEL_ALL: as REDUCE_ONLY, and whoever pressed it cancels every working order.
    """

    BLOCK_NEW = "block-new"
    REDUCE_ONLY = "reduce-only"
    CANCEL_ALL = "cancel-all"


@dataclass(frozen=True, slots=True, kw_only=True)
class Halt:
    """A stop of trading: for all of an environment, or for what its texts name (an empty one names everything).

    until: it ends by itself; None: until it is released. control: the breaker that asked for it, else empty.
    released_by: who wants it to end, a name a line; it ended at `released_at`, None while it stands.
    """

    environment: Environment
    mode: HaltMode
    by: str
    note: str
    at: datetime
    tenant: str = ""
    account_id: str = ""
    symbol: str = ""
    until: datetime | None = None
    control: str = ""
    number: int = 0
    released_by: str = ""
    released_at: datetime | None = None

    def holds(self, scope: Scope, at: datetime) -> bool:
        return (
            self.released_at is None
            and self.environment is scope.environment
            and self.tenant in ("", scope.tenant)
            and self.account_id in ("", scope.account_id)
            and self.symbol in ("", scope.symbol)
            and (self.until is None or at < self.until)
        )

    @property
    def whose(self) -> str:
        """`everything`, `account DU1234567`, `account DU1234567, symbol SPY`."""
        parts = [
            f"{word} {name}"
            for word, name in (("tenant", self.tenant), ("account", self.account_id), ("symbol", self.symbol))
            if name
        ]
        return ", ".join(parts) or "everything"


@dataclass(frozen=True, slots=True)
class Released:
    """What became of a wish to release halts: those that ended, and those that wait for a second person."""

    ended: tuple[Halt, ...]
    waiting: tuple[Halt, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Sent:
    """One placement or change that left. contract: its conidex. value_usd: None where it was not known."""

    intent_id: IntentId
    at: datetime
    operation: Operation
    contract: str
    side: Side
    quantity: Decimal
    price: Decimal | None
    value_usd: Decimal | None


@dataclass(frozen=True, slots=True, kw_only=True)
class OpenOrder:
    """An order of ours that may still fill, or that ended after the positions were read.

    group:    orders of one group share it: at most one of an OCA group fills.
    reduces:  it can only make a position smaller (an exit, a bracket's child).
    changes:  it is a change of an order that is counted, too; orders of one broker's number are one group.
    sent:     how much of it left in all, sends repeated; more than its quantity is a loop.
    value_usd: what it was valued at when it left.
    ended:    counted for its fills alone: it is no active order any more.
    """

    intent_id: IntentId
    ticket: OrderTicket
    sent: Decimal
    value_usd: Decimal | None
    group: str = ""
    reduces: bool = False
    changes: bool = False
    ended: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Usage:
    """What the account has used up. sent: of the last minute; the day is New York's; rejects: of the last six minutes.

    value_today: None where the value of something sent today is not known. unknown: contracts (conidex) with an order
    of which nobody knows whether it exists.
    """

    sent: tuple[Sent, ...] = ()
    sent_today: int = 0
    value_today: Decimal | None = Decimal(0)
    rejects: tuple[datetime, ...] = ()
    unknown: frozenset[str] = frozenset()
    open: tuple[OpenOrder, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class RiskState:
    """One look at the book. generation: counts changes, halts and releases; serial: sends of the account.

    sources: which layer a limit comes from, where it is not the default.
    """

    limits: Limits
    halts: tuple[Halt, ...]
    usage: Usage
    generation: int
    serial: int
    sources: tuple[tuple[str, str], ...] = ()


class RiskBook(Protocol):
    """Append-only and on disk when a method returns. Errors: StorageError (E-DB)."""

    async def state(self, scope: Scope, at: datetime, *, read_at: datetime | None = None) -> RiskState:
        """All that a decision rests on, of one moment. read_at: when the positions were read (default: `at`)."""
        ...

    async def limits(self, scope: Scope) -> Limits:
        """As in the state: for those whom what is used up does not concern."""
        ...

    async def generation(self) -> int:
        """As in the state: it rises with each change of a limit and each halt or release."""
        ...

    async def change(self, change: LimitChange) -> LimitChange:
        """Stored, with its number and old value. A raise of a live limit waits for a second person.

        ConfigError (E-VALIDATION) for a limit or value that there is none of.
        """
        ...

    async def confirm(self, number: int, *, by: str, at: datetime) -> LimitChange:
        """A second person confirms a change. NotFound; TradingError where it is the same person or nothing waits."""
        ...

    async def halt(self, *halts: Halt) -> tuple[Halt, ...]:
        """In force when this returns; a breaker's halt that stands already is not doubled."""
        ...

    async def release(self, *numbers: int, by: str, note: str, at: datetime) -> Released:
        """End these halts: on paper at once, on live when a second person says so, too.

        TradingError (E-ORD-UNKNOWN) while an order of theirs is in unknown state; NotFound for a number that is none.
        """
        ...

    async def history(self, *, limit: int = 100) -> tuple[LimitChange | Halt, ...]:
        """What was changed and halted, newest first."""
        ...

    async def halts(self) -> tuple[Halt, ...]:
        """Those not released, newest first; also those whose time is over."""
        ...
