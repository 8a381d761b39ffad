"""What happened in an account, one value each: trades, payments, conversions, transfers, corporate actions.

Amounts are exact decimals with the sign of the statement: what the account pays is negative, a commission too; what
leaves it is a negative quantity. Each tells the row that it was read from, and the ids by which it is known again in
another statement, or among live fills. Source: docs/facts/accounts-and-portfolio.md §6.4, §6.6.
"""

from __future__ import annotations

import enum
from collections.abc import Mapping
from dataclasses import dataclass, fields
from datetime import date, datetime
from decimal import Decimal
from typing import TypeAlias

__all__ = [
    "ActionKind",
    "Converted",
    "CorporateAction",
    "Ending",
    "Listed",
    "Origin",
    "Paid",
    "PaymentKind",
    "RowSource",
    "Traded",
    "Transaction",
    "Transferred",
    "cash_of",
    "costs_of",
    "currency_of",
    "differences",
    "kind_of_transaction",
    "quantities_of",
    "says_the_same",
]

_ZERO = Decimal(0)


class Origin(enum.IntEnum):
    """Who told of it. A higher one knows more: it takes the place of a lower one.

    PERSON: booked by hand, for what no statement tells.
    """

    LIVE = 1
    CONFIRMATION = 2
    ACTIVITY = 3
    PERSON = 4


class PaymentKind(enum.Enum):
    DIVIDEND = "dividend"
    PAYMENT_IN_LIEU = "payment in lieu"
    WITHHOLDING_TAX = "withholding tax"
    INTEREST = "interest"
    FEE = "fee"
    COMMISSION_ADJUSTMENT = "commission adjustment"
    DEPOSIT = "deposit"
    WITHDRAWAL = "withdrawal"
    OTHER = "other payment"


class ActionKind(enum.Enum):
    SPLIT = "split"
    MERGER = "merger"
    SPIN_OFF = "spin-off"
    SYMBOL_CHANGE = "symbol change"
    STOCK_DIVIDEND = "stock dividend"
    OTHER = "corporate action"


class Ending(enum.Enum):
    """How an option left the account."""

    EXPIRATION = "expiration"
    ASSIGNMENT = "assignment"
    EXERCISE = "exercise"
    CASH_SETTLEMENT = "cash settlement"


@dataclass(frozen=True, slots=True, kw_only=True)
class RowSource:
    """The raw row: of which payload, which statement in it, section and row, each counted from 0.

    digest: SHA-256 of the payload as it came, in hex. told_at: when that was made, None where it does not say.
    """

    digest: str
    statement: int = 0
    section: str = ""
    row: int = 0
    told_at: datetime | None = None

    def __str__(self) -> str:
        return f"{self.digest[:12]} statement {self.statement} {self.section} row {self.row}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Listed:
    """What was traded, or paid for. conid 0: IBKR did not say."""

    conid: int
    symbol: str = ""
    asset_class: str = ""
    currency: str = ""
    multiplier: Decimal = Decimal(1)
    expiry: date | None = None
    strike: Decimal | None = None
    right: str = ""
    underlying_conid: int | None = None
    description: str = ""

    @property
    def is_option(self) -> bool:
        return self.asset_class in ("OPT", "FOP", "WAR")


@dataclass(frozen=True, slots=True, kw_only=True)
class _Booked:
    """at: when it happened. day: the trading day; booked_on: the day whose statement tells of it; settles_on.

    ids:      by each of which it is the same one, the surest first; never empty.
    sequence: order among those of one moment.
    fx_rate:  of its currency in the account's own on that day, None where nobody said.
    """

    account_id: str
    ids: tuple[str, ...]
    at: datetime
    day: date
    booked_on: date
    settles_on: date | None = None
    sequence: int = 0
    fx_rate: Decimal | None = None
    origin: Origin = Origin.ACTIVITY
    source: RowSource

    def __post_init__(self) -> None:
        assert self.ids, "a transaction can be known again"
        assert self.at.tzinfo is not None, "an instant is aware"

    @property
    def key(self) -> str:
        return self.ids[0]

    @property
    def order(self) -> tuple[datetime, int, int, int]:
        return self.at, self.sequence, self.source.statement, self.source.row


@dataclass(frozen=True, slots=True, kw_only=True)
class Traded(_Booked):
    """quantity: signed. proceeds: cash without commission and taxes. commission: None where it is not told yet.

    ending:   set where an option left the account so.
    delivery: on the stock's side of an exercise or assignment. related: an id of the option's side.
    cancels:  ids of the trade that this one takes back; what IBKR books in its place is a trade of its own.
    told_realized: what the statement says that it realized, None where it does not.
    """

    listed: Listed
    quantity: Decimal
    price: Decimal
    proceeds: Decimal
    commission: Decimal | None = _ZERO
    commission_currency: str = ""
    taxes: Decimal = _ZERO
    ending: Ending | None = None
    delivery: bool = False
    related: str = ""
    is_cancellation: bool = False
    cancels: tuple[str, ...] = ()
    told_realized: Decimal | None = None
    order_ref: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Paid(_Booked):
    """Cash that came (positive) or went without a trade. listed: what it was paid for."""

    kind: PaymentKind
    currency: str
    amount: Decimal
    description: str = ""
    listed: Listed | None = None
    action_id: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Converted(_Booked):
    """One currency for another: `quantity` of the first came (or went), `proceeds` of the second went (or came)."""

    pair: str
    currency: str
    quantity: Decimal
    other_currency: str
    proceeds: Decimal
    price: Decimal
    commission: Decimal | None = _ZERO
    commission_currency: str = ""
    is_cancellation: bool = False
    cancels: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Transferred(_Booked):
    """A holding, or cash, that came in or went out without a trade. cost: of the holding, signed as its quantity.

    Without a quantity the cost is one that was not known of what is held already.
    """

    listed: Listed | None = None
    quantity: Decimal = _ZERO
    cost: Decimal = _ZERO
    currency: str = ""
    cash: Decimal = _ZERO
    description: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class CorporateAction(_Booked):
    """One row of an action: what came or went of one listing, and in cash. Rows of one `action_id` belong together.

    told_realized, told_cost: what the statement says of both, None where it does not.
    """

    kind: ActionKind
    listed: Listed
    quantity: Decimal
    proceeds: Decimal = _ZERO
    action_id: str = ""
    description: str = ""
    told_realized: Decimal | None = None
    told_cost: Decimal | None = None


Transaction: TypeAlias = Traded | Paid | Converted | Transferred | CorporateAction

_OF_THE_TELLER = frozenset({"ids", "source", "origin", "sequence", "fx_rate", "at"})


def kind_of_transaction(this: Transaction) -> str:
    """In a word."""
    match this:
        case Traded(is_cancellation=True) | Converted(is_cancellation=True):
            return "cancellation"
        case Traded():
            return "trade" if this.ending is None else this.ending.value
        case Paid(kind=payment):
            return payment.value
        case CorporateAction(kind=action):
            return action.value
        case Converted():
            return "conversion"
        case Transferred():
            return "transfer"


def cash_of(this: Transaction) -> Mapping[str, Decimal]:
    """What it moved, by currency; a commission that is not told yet moves nothing yet."""
    moved: dict[str, Decimal] = {}

    def add(currency: str, amount: Decimal | None) -> None:
        if amount:
            moved[currency] = moved.get(currency, _ZERO) + amount

    match this:
        case Traded():
            add(this.listed.currency, this.proceeds + this.taxes)
            add(this.commission_currency or this.listed.currency, this.commission)
        case Paid():
            add(this.currency, this.amount)
        case Converted():
            add(this.currency, this.quantity)
            add(this.other_currency, this.proceeds)
            add(this.commission_currency or this.other_currency, this.commission)
        case Transferred():
            add(this.currency, this.cash)
        case CorporateAction():
            add(this.listed.currency, this.proceeds)
    return moved


def currency_of(this: Traded | Converted) -> str:
    """In which its proceeds are told."""
    return this.listed.currency if isinstance(this, Traded) else this.other_currency


def costs_of(this: Traded | Converted) -> Mapping[str, Decimal]:
    """Its commission and taxes by currency, negative for what was paid."""
    sums: dict[str, Decimal] = {}
    own = currency_of(this)
    amounts = [(this.commission_currency or own, this.commission or _ZERO)]
    if isinstance(this, Traded):
        amounts.append((own, this.taxes))
    for currency, amount in amounts:
        if amount:
            sums[currency] = sums.get(currency, _ZERO) + amount
    return sums


def quantities_of(this: Transaction) -> Mapping[int, Decimal]:
    """What it moved of each listing, by conid."""
    match this:
        case Traded() | CorporateAction():
            return {this.listed.conid: this.quantity} if this.quantity else {}
        case Transferred(listed=Listed() as listed):
            return {listed.conid: this.quantity} if this.quantity else {}
        case _:
            return {}


def differences(old: Transaction, new: Transaction) -> tuple[str, ...]:
    """Fields in which two tellings of one thing differ in what they moved; nothing where the newer only says more."""
    if type(old) is not type(new):
        return ("kind",)
    changed = []
    if dict(cash_of(old)) != dict(cash_of(new)):
        changed.append("cash")
    if dict(quantities_of(old)) != dict(quantities_of(new)):
        changed.append("quantity")
    return tuple(changed)


def says_the_same(old: Transaction, new: Transaction) -> bool:
    """Whether nothing but the teller differs."""
    return type(old) is type(new) and all(
        getattr(old, each.name) == getattr(new, each.name) for each in fields(old) if each.name not in _OF_THE_TELLER
    )
