"""What our own rules allow: the risk controls, checked before each send and each confirmation.

    RC-01 environment   RC-05 kinds of contract   RC-07 quantity   RC-08 value   RC-09 fresh quote
    RC-10 price collar  RC-12 price grid          RC-15 short positions          RC-26 age

Each control is one function of the table `_CONTROLS`, in the order in which they are asked; the first objection
decides. They fail closed: a missing or stale input refuses. Names, figures and order: reliability rules §7.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from typing import TypeAlias

from ibkit.model import (
    AccountId,
    Environment,
    Increments,
    OrderTicket,
    OrderType,
    Quote,
    Right,
    SecType,
    Side,
    environment_of,
)
from ibkit.trading.events import Stage

__all__ = [
    "IBKR_COLLAR_PCT",
    "IBKR_MAX_SHARES",
    "IBKR_MAX_VALUE",
    "LIVE_LIMITS",
    "PAPER_LIMITS",
    "Facts",
    "Limits",
    "Objection",
    "check",
    "check_age",
    "check_environment",
    "default_limits",
    "order_value",
]

IBKR_MAX_SHARES = Decimal(500)
IBKR_MAX_VALUE = Decimal(100_000)
IBKR_COLLAR_PCT = Decimal(3)
"""IBKR's own precautions, whose questions our limits must cover. Source: docs/facts/orders.md §3.3."""

_CONFIRM_GRACE_S = 35.0
"""A question may take 30 s; nothing is read while it is open, so its quote may be older by that."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """None switches a control off. Percentages are of the price, values in USD."""

    version: str
    environment: Environment
    sec_types: frozenset[SecType]
    max_shares: Decimal | None
    max_option_contracts: Decimal | None
    max_order_value: Decimal | None
    collar_pct: Decimal | None
    option_collar_pct: Decimal | None
    option_collar_floor: Decimal
    ticks: bool
    short_stock: bool
    max_open_short_options: Decimal | None
    max_age_s: float
    quote_age_s: float = 5.0


PAPER_LIMITS = Limits(
    version="paper-default-1",
    environment=Environment.PAPER,
    sec_types=frozenset({SecType.STOCK, SecType.OPTION, SecType.FUTURE, SecType.CASH}),
    max_shares=Decimal(10_000),
    max_option_contracts=Decimal(10),
    max_order_value=Decimal(100_000),
    collar_pct=Decimal(10),
    option_collar_pct=Decimal(10),
    option_collar_floor=Decimal("0.10"),
    ticks=True,
    short_stock=True,
    max_open_short_options=Decimal(20),
    max_age_s=30.0,
)

LIVE_LIMITS = Limits(
    version="live-default-1",
    environment=Environment.LIVE,
    sec_types=frozenset({SecType.STOCK, SecType.OPTION}),
    max_shares=Decimal(500),
    max_option_contracts=Decimal(10),
    max_order_value=Decimal(25_000),
    collar_pct=Decimal(3),
    option_collar_pct=Decimal(10),
    option_collar_floor=Decimal("0.10"),
    ticks=True,
    short_stock=False,
    max_open_short_options=Decimal(20),
    max_age_s=10.0,
)


def default_limits(environment: Environment) -> Limits:
    return PAPER_LIMITS if environment is Environment.PAPER else LIVE_LIMITS


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """What the controls must know. None: not known, which refuses where a control needs it.

    broker_is_paper:    the broker's own word on the login.
    quote, quote_at:    of the ticket's contract, and when it was read.
    underlying_price:   of an option's underlying, for the margin of a short option without a planned stop.
    planned_stop:       the stop that will protect a short option; it bounds the loss that RC-08 counts.
    position:           signed quantity of the contract that the account holds now.
    open_short_options: contracts short in the account, unfinished sales included.
    reduces:            proven to make a position smaller (our own journal or the broker's positions say so).
    """

    broker_is_paper: bool | None = None
    live_confirmed: bool = False
    quote: Quote | None = None
    quote_at: datetime | None = None
    increments: Increments | None = None
    underlying_price: Decimal | None = None
    planned_stop: Decimal | None = None
    position: Decimal | None = None
    open_short_options: Decimal | None = None
    reduces: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Objection:
    """A control's no. name: how a person calls the limit. value > limit is what broke it, as text."""

    control: str
    name: str
    value: str
    limit: str
    message: str = ""
    code: str = "E-RISK"

    @property
    def text(self) -> str:
        return self.message or f"Order exceeds limit {self.name}: {self.value} > {self.limit}"


@dataclass(frozen=True, slots=True)
class _Case:
    ticket: OrderTicket
    facts: Facts
    limits: Limits
    stage: Stage
    now: datetime
    expires_at: datetime

    @property
    def opens_short_option(self) -> bool:
        return (
            self.ticket.contract.sec_type is SecType.OPTION and self.ticket.side is Side.SELL and not self.facts.reduces
        )


def check(
    ticket: OrderTicket, facts: Facts, limits: Limits, *, stage: Stage, now: datetime, expires_at: datetime
) -> Objection | None:
    """The first control that refuses `ticket`, None where all let it pass."""
    case = _Case(ticket, facts, limits, stage, now, expires_at)
    for control in _CONTROLS:
        objection = control(case)
        if objection is not None:
            return objection
    return None


def check_environment(account_id: AccountId, facts: Facts, limits: Limits) -> Objection | None:
    """RC-01: settings, account id, the broker's word and, for live, the person's word must agree."""
    wanted = limits.environment
    kind = environment_of(account_id)
    if kind is not wanted:
        return _mismatch(f"Account {account_id} is a {kind.value} account but IBKR_ENV={wanted.value}")
    if facts.broker_is_paper is None:
        return _mismatch("IBKR has not said whether this login is paper or live")
    if facts.broker_is_paper is not (wanted is Environment.PAPER):
        broker = "paper" if facts.broker_is_paper else "live"
        return _mismatch(f"IBKR says this login is {broker}, but IBKR_ENV={wanted.value}")
    if wanted is Environment.LIVE and not facts.live_confirmed:
        return Objection(
            control="RC-01",
            name="live_confirmed",
            value="no",
            limit="yes",
            message="Live trading not confirmed",
            code="E-LIVE",
        )
    return None


def _environment(case: _Case) -> Objection | None:
    return check_environment(case.ticket.account_id, case.facts, case.limits)


def _mismatch(message: str) -> Objection:
    return Objection(
        control="RC-01", name="environment_mismatch", value="", limit="", message=message, code="E-ACC-ENV"
    )


def _age(case: _Case) -> Objection | None:
    """RC-26. A confirmation is judged by the question's own deadline."""
    return None if case.stage is Stage.CONFIRM else check_age(case.now, case.expires_at, case.limits.max_age_s)


def check_age(now: datetime, expires_at: datetime, max_age_s: float) -> Objection | None:
    """RC-26: an old wish, also that of a cancel, is not carried out."""
    if now <= expires_at:
        return None
    return Objection(
        control="RC-26",
        name="intent_expired",
        value=f"{(now - expires_at).total_seconds() + max_age_s:.0f} s old",
        limit=f"{max_age_s:g} s",
    )


def _kind(case: _Case) -> Objection | None:
    """RC-05: a combination is as allowed as its legs."""
    contract = case.ticket.contract
    kinds = {leg.contract.sec_type for leg in contract.legs} or {contract.sec_type}
    if kinds <= case.limits.sec_types:
        return None
    kind = min(kinds - case.limits.sec_types, key=lambda each: each.value)
    allowed = ", ".join(sorted(allowed.value for allowed in case.limits.sec_types))
    return Objection(
        control="RC-05",
        name="sectype_not_allowed",
        value=kind.value,
        limit=allowed,
        message=f"Contracts of type {kind.value} are not allowed (allowed: {allowed})",
    )


def _quantity(case: _Case) -> Objection | None:
    """RC-07: contracts for derivatives, shares for stocks; currencies are bounded by value alone."""
    kind, quantity = case.ticket.contract.sec_type, case.ticket.quantity
    if kind is SecType.CASH:
        return None
    derivative = kind in (SecType.OPTION, SecType.FUTURE, SecType.FUTURE_OPTION, SecType.COMBO)
    most = case.limits.max_option_contracts if derivative else case.limits.max_shares
    if derivative and quantity != quantity.to_integral_value():
        return Objection(
            control="RC-07",
            name="whole_contracts",
            value=str(quantity),
            limit="whole contracts",
            message=f"Quantity {quantity} is not a whole number of contracts",
        )
    if most is None or quantity <= most:
        return None
    return Objection(control="RC-07", name="max_quantity", value=f"{quantity:f}", limit=f"{most:f}")


def _fresh_quote(case: _Case) -> Objection | None:
    """RC-09: what is valued with a quote needs one that is young."""
    if case.facts.reduces or not _needs_quote(case):
        return None
    quote, read_at = case.facts.quote, case.facts.quote_at
    allowed = case.limits.quote_age_s + (_CONFIRM_GRACE_S if case.stage is Stage.CONFIRM else 0.0)
    if quote is not None and read_at is not None and case.now - read_at <= timedelta(seconds=allowed):
        return None
    age = "no quote" if quote is None or read_at is None else f"{(case.now - read_at).total_seconds():.1f} s old"
    return Objection(
        control="RC-09",
        name="quote_stale",
        value=age,
        limit=f"{allowed:g} s",
        message=f"The order cannot be valued: {age}, a quote of at most {allowed:g} s is needed",
    )


def _needs_quote(case: _Case) -> bool:
    valued = case.limits.max_order_value is not None and case.ticket.order_type is OrderType.MARKET
    return valued or (_collar(case) is not None and case.ticket.limit_price is not None)


def _value(case: _Case) -> Objection | None:
    """RC-08: what the order is worth or, for a short option, may lose."""
    most = case.limits.max_order_value
    if most is None or case.facts.reduces:
        return None
    currency = case.ticket.contract.currency
    if currency != "USD":
        # The limits are in USD and no exchange rate is read here: 100,000 JPY are no 100,000 USD, nor GBP.
        return Objection(
            control="RC-08",
            name="max_notional",
            value=currency,
            limit=f"{most:f}",
            message=f"The order cannot be valued in USD: its contract is in {currency}",
        )
    value = order_value(case.ticket, case.facts)
    if value is None:
        return Objection(
            control="RC-08",
            name="max_notional",
            value="not computable",
            limit=f"{most:f}",
            message="The order cannot be valued: a price is missing",
        )
    if value <= most:
        return None
    return Objection(control="RC-08", name="max_notional", value=f"{value:f}", limit=f"{most:f}")


def order_value(ticket: OrderTicket, facts: Facts) -> Decimal | None:
    """What RC-08 counts, in the contract's currency; None where a price is missing.

    Stocks and bought options: price x multiplier x quantity. A short option with a planned stop: the loss at that
    stop. Without one: IBKR-like margin of a naked option, the larger of premium + 20 % of the underlying - amount
    out of the money, and premium + 10 % of the strike (docs/facts/orders.md §12.4), for which the underlying's
    price must be known.
    """
    contract = ticket.contract
    units = contract.multiplier * ticket.quantity
    price = _reference_price(ticket, facts.quote)
    if price is None:
        return None
    if contract.sec_type is not SecType.OPTION or ticket.side is Side.BUY or facts.reduces:
        return price * units
    if facts.planned_stop is not None:
        return max(facts.planned_stop - price, Decimal(0)) * units
    spot, strike = facts.underlying_price, contract.strike
    if spot is None or strike is None:
        return None
    beyond = spot - strike if contract.right is Right.PUT else strike - spot
    out_of_money = max(beyond, Decimal(0))
    return max(price + spot * 20 / 100 - out_of_money, price + strike / 10) * units


def _reference_price(ticket: OrderTicket, quote: Quote | None) -> Decimal | None:
    """The price at which the order could trade at worst: its own limit or stop, else the quote's far side."""
    if ticket.order_type is OrderType.STOP:
        return ticket.stop_price
    if ticket.side is Side.BUY:
        return ticket.limit_price or (None if quote is None else quote.ask or quote.best)
    market = None if quote is None else quote.bid or quote.best
    if ticket.limit_price is None:
        return market
    return max(ticket.limit_price, market or ticket.limit_price)


def _collar(case: _Case) -> Decimal | None:
    """The width of the collar in per cent, None where it is off."""
    option = case.ticket.contract.sec_type is SecType.OPTION
    return case.limits.option_collar_pct if option else case.limits.collar_pct


def _price_collar(case: _Case) -> Objection | None:
    """RC-10: a limit on the wrong side of the market by too much, where the order would trade badly at once.

    A limit that waits away from the market can only trade better than it, so that side is free.
    """
    limit, width = case.ticket.limit_price, _collar(case)
    if limit is None or width is None or case.facts.reduces:
        return None
    quote = case.facts.quote
    middle = None if quote is None else (quote.mid if quote.usable else quote.best)
    if middle is None:
        return Objection(
            control="RC-10",
            name="price_collar",
            value=str(limit),
            limit="",
            message="The limit price cannot be judged: no market price is known",
        )
    reach = middle * width / 100
    if case.ticket.contract.sec_type is SecType.OPTION:
        reach = max(reach, case.limits.option_collar_floor)
    worse = limit - middle if case.ticket.side is Side.BUY else middle - limit
    if worse <= reach:
        return None
    return Objection(
        control="RC-10",
        name="price_collar",
        value=str(limit),
        limit=f"{width:f} %",
        message=f"Limit price {limit} is more than {reach:.2f} beyond the market at {middle}",
    )


def _ticks(case: _Case) -> Objection | None:
    """RC-12: prices on the contract's grid, positive."""
    prices = [price for price in (case.ticket.limit_price, case.ticket.stop_price) if price is not None]
    if not case.limits.ticks or not prices:
        return None
    grid = case.facts.increments
    for price in prices:
        if price <= 0:
            message = f"Price {price} is not positive"
        elif grid is None:
            message = "The contract's price increments are not known"
        elif not grid.fits(price):
            message = f"Price {price} is not on the contract's grid of {grid.at(price)}"
        else:
            continue
        return Objection(control="RC-12", name="tick_size", value=str(price), limit="", message=message)
    return None


def _short_positions(case: _Case) -> Objection | None:
    """RC-15: short stock, and the number of short options in the account."""
    ticket, facts, limits = case.ticket, case.facts, case.limits
    if ticket.side is Side.BUY or facts.reduces:
        return None
    most = limits.max_open_short_options
    if case.opens_short_option and most is not None:
        if facts.open_short_options is None:
            return _too_short("open_short_options", "unknown", most, "The account's positions are not known")
        after = facts.open_short_options + ticket.quantity
        if after > most:
            return _too_short("open_short_options", f"{after:f}", most)
    if ticket.contract.sec_type is SecType.STOCK and not limits.short_stock:
        if facts.position is None:
            return _too_short("short_not_allowed", "unknown", Decimal(0), "The account's position is not known")
        short = ticket.quantity - max(facts.position, Decimal(0))
        if short > 0:
            return _too_short("short_not_allowed", f"{short:f}", Decimal(0), "Selling stock short is not allowed")
    return None


def _too_short(name: str, value: str, limit: Decimal, message: str = "") -> Objection:
    return Objection(control="RC-15", name=name, value=value, limit=f"{limit:f}", message=message)


_Control: TypeAlias = Callable[[_Case], Objection | None]

_CONTROLS: tuple[_Control, ...] = (
    _environment,
    _age,
    _kind,
    _quantity,
    _ticks,
    _fresh_quote,
    _price_collar,
    _value,
    _short_positions,
)
