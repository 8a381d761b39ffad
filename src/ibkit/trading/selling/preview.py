"""What a sale would be, before it is made: legs, money, exits, margin, and how near each limit is."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Any, Protocol

from ibkit.model import Contract, Preview, Quote, Side, Trail

__all__ = ["LegPreview", "LimitReading", "Reading", "SalePreview"]


class Reading(Protocol):
    """One limit held against the order, as the risk controls measure it. headroom: what is left, where it is a number.

    state: an enum (or word) whose value is read aloud: ok, warns, refuses, off, not known.
    """

    @property
    def control(self) -> str: ...

    @property
    def name(self) -> str: ...

    @property
    def value(self) -> str: ...

    @property
    def limit(self) -> str: ...

    @property
    def headroom(self) -> Decimal | None: ...

    @property
    def state(self) -> Any: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class LimitReading:
    """A `Reading` as a plain value, to be shown. objection: why it would refuse the order; empty where it would not."""

    name: str
    state: str
    control: str = ""
    value: str = ""
    limit: str = ""
    headroom: Decimal | None = None
    objection: str = ""

    @classmethod
    def of(cls, reading: Reading) -> LimitReading:
        state = getattr(reading.state, "value", reading.state)
        objection = getattr(reading, "objection", None)
        return cls(
            control=reading.control,
            objection="" if objection is None else objection.text,
            name=reading.name,
            state=str(state),
            value=reading.value,
            limit=reading.limit,
            headroom=reading.headroom,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class LegPreview:
    side: Side
    contract: Contract
    quote: Quote


@dataclass(frozen=True, slots=True, kw_only=True)
class SalePreview:
    """Prices per unit, amounts in total and in the contract's currency.

    entry:    what it brings at worst: the limit, or the bid (of a spread its short bid less its long ask).
    max_loss: at expiry without a stop; None: unbounded. margin: IBKR's what-if, commission included.
    """

    legs: tuple[LegPreview, ...]
    quantity: Decimal
    entry: Decimal
    credit: Decimal
    stop: Decimal | None
    trail: Trail | None
    take_profit: Decimal | None
    exit_at: datetime | None
    max_risk: Decimal | None
    max_loss: Decimal | None
    break_even: Decimal
    margin: Preview
    limits: tuple[LimitReading, ...] = ()
