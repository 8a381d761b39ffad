"""What the controls must know of the world. None, or a missing entry: not known, which refuses where it is needed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal

from ibkit.model import Conid, Increments, Order, Quote
from ibkit.trading.events import IntentId

__all__ = ["DailyPnl", "Facts", "Holding", "Market", "SessionHealth", "TradingHours"]


@dataclass(frozen=True, slots=True, kw_only=True)
class DailyPnl:
    """Of an account, in its base currency: what the day has brought, and what all of it is worth."""

    daily: Decimal | None
    net_liquidation: Decimal | None
    at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class TradingHours:
    """When a contract trades: (open, close) of the coming sessions. extended holds the regular hours, too.

    until: what lies beyond is not told.
    """

    regular: tuple[tuple[datetime, datetime], ...]
    extended: tuple[tuple[datetime, datetime], ...]
    until: datetime

    def open_at(self, now: datetime, *, outside_rth: bool) -> bool:
        spans = self.extended if outside_rth else self.regular
        return any(opens <= now < closes for opens, closes in spans)


@dataclass(frozen=True, slots=True, kw_only=True)
class SessionHealth:
    """The state of the brokerage session. reset_from, reset_until: the reset window of IBKR that is nearest.

    skew_s:       our clock minus IBKR's, in seconds; None where IBKR's was not seen.
    stream_stale: a stream of quotes was opened and is silent. None: no stream is used, quotes are asked for.
    """

    authenticated: bool
    competing: bool
    at: datetime
    skew_s: float | None = None
    stream_stale: bool | None = None
    reset_from: datetime | None = None
    reset_until: datetime | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Market:
    """What is known of one contract. underlying_price: of an option, for the margin of a short one."""

    quote: Quote | None = None
    quote_at: datetime | None = None
    increments: Increments | None = None
    underlying_price: Decimal | None = None
    hours: TradingHours | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Holding:
    """One position. quantity is signed; value_usd is its market value without sign, None where not known."""

    quantity: Decimal
    value_usd: Decimal | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """Gathered by `FactFinder`; a caller gives what it has read already.

    broker_is_paper:    the broker's own word on the login.
    live_confirmed:     a person, or the scope of a key, has asked for live trading by name (RC-01).
    order_confirmed:    a person has confirmed this order, having seen it (RC-29); None: as `live_confirmed`.
    quote … hours:      of the (first) ticket's contract; `markets` has the same of every further contract and leg.
    planned_stop:       the stop that will protect a short option; it bounds the loss that RC-08 counts.
    position:           signed quantity of the contract that the account holds now.
    open_short_options: contracts short in the account, by its positions.
    reduces:            our own journal proves that it undoes what another order filled.
    positions:          all of the account by conid, read from `read_at` on.
    others:             open orders of the account that are not ours, as the broker lists them.
    filled:             how much of our own open orders has been filled and so is in `positions` already.
    replaces:           of a change: the order as it stands.
    pnl_unknown:        why `daily_pnl` is not known; "": it is, or no limit needs it.
    rates:              USD for one unit of a currency.
    """

    broker_is_paper: bool | None = None
    live_confirmed: bool = False
    order_confirmed: bool | None = None
    quote: Quote | None = None
    quote_at: datetime | None = None
    increments: Increments | None = None
    underlying_price: Decimal | None = None
    hours: TradingHours | None = None
    planned_stop: Decimal | None = None
    position: Decimal | None = None
    open_short_options: Decimal | None = None
    reduces: bool = False
    markets: Mapping[Conid, Market] = field(default_factory=dict)
    positions: Mapping[Conid, Holding] | None = None
    read_at: datetime | None = None
    others: tuple[Order, ...] | None = None
    filled: Mapping[IntentId, Decimal] = field(default_factory=dict)
    replaces: Order | None = None
    net_liquidation: Decimal | None = None
    daily_pnl: Decimal | None = None
    pnl_at: datetime | None = None
    pnl_unknown: str = ""
    rates: Mapping[str, Decimal] = field(default_factory=lambda: {"USD": Decimal(1)})
    health: SessionHealth | None = None
