"""One sale of an option as asked for, and the arithmetic and checks that need no broker."""

from __future__ import annotations

import enum
import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, datetime, time
from decimal import Decimal, InvalidOperation
from zoneinfo import ZoneInfo

from ibkit.errors import ConfigError, InvalidRequest, NotFound, NotPermitted, TradingError
from ibkit.model import (
    AccountId,
    Availability,
    Contract,
    Increments,
    Key,
    OrderTicket,
    OrderType,
    Quote,
    Ref,
    Right,
    Rounding,
    Side,
    TimeInForce,
    round_price,
)

__all__ = [
    "OnStopFailure",
    "SaleRequest",
    "check_last_minute",
    "check_quote",
    "check_strike",
    "entry_ticket",
    "new_york_day",
    "request_of",
    "stop_price",
    "stop_ticket",
    "trade_id_of",
]

NEW_YORK = ZoneInfo("America/New_York")
_LAST_MINUTE = time(15, 55)
_TRADE_NAMESPACE = uuid.UUID("6d1f0b0e-6a55-5f0e-9a1c-1bb17a51e3c4")

Number = Decimal | int | float | str


class OnStopFailure(enum.Enum):
    """close: buy the sold quantity back. alert: leave the position and say so."""

    CLOSE = "close"
    ALERT = "alert"


@dataclass(frozen=True, slots=True, kw_only=True)
class SaleRequest:
    symbol: str
    strike: Decimal
    right: Right
    stop_multiple: Decimal
    quantity: Decimal
    expiry: date
    order_type: OrderType
    limit_price: Decimal | None
    on_stop_failure: OnStopFailure
    key: Key
    confirm: tuple[str, ...]
    allow_delayed: bool
    dry_run: bool
    force: bool


def request_of(
    *,
    symbol: str,
    strike: Number,
    right: str | Right,
    stop_multiple: Number,
    quantity: int | Decimal,
    expiry: str | date | None,
    order_type: str | OrderType,
    limit_price: Number | None,
    on_stop_failure: str | OnStopFailure,
    key: Key,
    confirm: tuple[str, ...],
    allow_delayed: bool,
    dry_run: bool,
    force: bool,
    now: datetime,
) -> SaleRequest:
    """The request in our own words. Raises ConfigError (E-VALIDATION) naming the argument that is wrong."""
    multiple = _decimal("stop_multiple", stop_multiple)
    if multiple <= 1:
        raise _invalid("stop_multiple", f"{multiple}: the stop must lie above the entry, so more than 1")
    amount = _decimal("quantity", quantity)
    if amount <= 0 or amount != amount.to_integral_value():
        raise _invalid("quantity", f"{quantity}: a whole number of contracts, at least 1")
    price = _decimal("strike", strike)
    if price <= 0:
        raise _invalid("strike", f"{strike}: must be positive")
    kind = order_type if isinstance(order_type, OrderType) else _ORDER_TYPES.get(order_type.casefold())
    if kind is None or kind not in (OrderType.MARKET, OrderType.LIMIT):
        raise _invalid("order_type", f"{order_type!r}: market or limit")
    limit = None if limit_price is None else _decimal("limit_price", limit_price)
    if (kind is OrderType.LIMIT) is not (limit is not None):
        raise _invalid("limit_price", "needed with order_type limit, and only there")
    if limit is not None and limit <= 0:
        raise _invalid("limit_price", f"{limit}: must be positive")
    if not symbol.strip():
        raise _invalid("symbol", "must not be empty")
    return SaleRequest(
        symbol=symbol.strip().upper(),
        strike=price,
        right=right if isinstance(right, Right) else _right(right),
        stop_multiple=multiple,
        quantity=amount,
        expiry=_expiry(expiry, now),
        order_type=kind,
        limit_price=limit,
        on_stop_failure=_on_stop_failure(on_stop_failure),
        key=key,
        confirm=tuple(confirm),
        allow_delayed=allow_delayed,
        dry_run=dry_run,
        force=force,
    )


_ORDER_TYPES: Mapping[str, OrderType] = {
    "market": OrderType.MARKET,
    "mkt": OrderType.MARKET,
    "limit": OrderType.LIMIT,
    "lmt": OrderType.LIMIT,
}


def _invalid(field: str, reason: str) -> ConfigError:
    return ConfigError(f"Invalid request: {field}: {reason}", code="E-VALIDATION", details={"field": field})


def _decimal(field: str, value: Number) -> Decimal:
    """`value` as written: a float by its shortest spelling, so 629.0 is 629.0."""
    try:
        number = value if isinstance(value, Decimal) else Decimal(str(value))
    except InvalidOperation as error:
        raise _invalid(field, f"{value!r}: not a number") from error
    if not number.is_finite():
        raise _invalid(field, f"{value!r}: not a finite number")
    return number


def _right(text: str) -> Right:
    rights = {"p": Right.PUT, "put": Right.PUT, "c": Right.CALL, "call": Right.CALL}
    if (found := rights.get(text.casefold())) is None:
        raise _invalid("right", f"{text!r}: P or C")
    return found


def _on_stop_failure(value: str | OnStopFailure) -> OnStopFailure:
    if isinstance(value, OnStopFailure):
        return value
    try:
        return OnStopFailure(value.casefold())
    except ValueError as error:
        raise _invalid("on_stop_failure", f"{value!r}: close or alert") from error


def new_york_day(now: datetime) -> date:
    return now.astimezone(NEW_YORK).date()


def _expiry(expiry: str | date | None, now: datetime) -> date:
    if expiry is None:
        return new_york_day(now)
    if isinstance(expiry, date):
        return expiry
    try:
        return datetime.strptime(expiry, "%Y%m%d").replace(tzinfo=NEW_YORK).date()
    except ValueError as error:
        raise _invalid("expiry", f"{expiry!r}: YYYYMMDD") from error


# -- checks before the order --------------------------------------------------------------------------------------


def check_last_minute(request: SaleRequest, now: datetime) -> None:
    """No expiry in the past; a same-day sale after 15:55 New York time only with force (requirement OPT-04)."""
    local = now.astimezone(NEW_YORK)
    if request.expiry < local.date():
        raise NotFound(f"Expiry {request.expiry:%Y%m%d} is in the past", code="E-EXPIRY")
    if request.expiry == local.date() and local.time() >= _LAST_MINUTE and not request.force:
        raise NotFound(
            f"{local:%H:%M} in New York: too late to sell an option that expires today",
            code="E-EXPIRY",
            remedy="Choose a later expiry with --expiry, or repeat with --force.",
        )


def check_strike(
    request: SaleRequest, *, underlying: Decimal | None, strikes: tuple[Decimal, ...], most_pct: Decimal
) -> str:
    """A warning for a strike in the money, else empty. Raises TradingError (E-STRIKE-GUARD, E-QUOTE).

    strikes: those listed, for a suggestion. most_pct: MAX_STRIKE_DISTANCE_PCT.
    """
    if underlying is None or underlying <= 0:
        if request.force:
            return f"no price of {request.symbol} is known: the strike was not checked"
        raise InvalidRequest(
            f"No price of {request.symbol} is known, so the strike cannot be checked",
            code="E-QUOTE",
            remedy="Wait for market hours, or repeat with --force.",
        )
    distance = abs(request.strike - underlying) / underlying * 100
    if distance > most_pct and not request.force:
        near = _nearest_out_of_the_money(request.right, underlying, strikes)
        suggestion = (
            f" Nearest out of the money: {', '.join(f'{strike.normalize():f}' for strike in near)}." if near else ""
        )
        raise TradingError(
            f"Strike {request.strike.normalize():f} is {distance:.1f} % away from {request.symbol} at {underlying}",
            code="E-STRIKE-GUARD",
            remedy=f"Pass a nearer strike, or --force.{suggestion}",
            details={"distance_pct": f"{distance:.1f}", "suggested": [str(strike) for strike in near]},
        )
    inside = request.strike > underlying if request.right is Right.PUT else request.strike < underlying
    return f"strike {request.strike.normalize():f} is in the money ({request.symbol} at {underlying})" if inside else ""


def _nearest_out_of_the_money(right: Right, underlying: Decimal, strikes: tuple[Decimal, ...]) -> tuple[Decimal, ...]:
    if right is Right.PUT:
        return tuple(sorted((strike for strike in strikes if strike < underlying), reverse=True)[:3])
    return tuple(sorted(strike for strike in strikes if strike > underlying)[:3])


def check_quote(request: SaleRequest, quote: Quote) -> None:
    """Whether an order may be based on `quote` (requirements TRD-07, TRD-08)."""
    match quote.availability:
        case Availability.NOT_SUBSCRIBED:
            raise NotPermitted("No market data available: not subscribed", code="E-MD-NONE")
        case Availability.NO_ACKNOWLEDGEMENT:
            raise NotPermitted(code="E-MD-ACK")
        case Availability.DELAYED | Availability.FROZEN | Availability.FROZEN_DELAYED if not request.allow_delayed:
            word = quote.availability.name.lower().replace("_", " ")
            raise NotPermitted(
                f"Quote not usable for an order: it is only {word}",
                code="E-QUOTE",
                remedy="Repeat with --allow-delayed to sell on it all the same.",
            )
        case _:
            pass  # real time, or not said: judged by its prices
    if quote.bid is None and quote.ask is None:
        raise NotPermitted("No market data available: neither bid nor ask came", code="E-MD-NONE")
    if not quote.usable or quote.halted:
        halted = ", halted" if quote.halted else ""
        raise NotPermitted(f"Quote not usable (bid {quote.bid}, ask {quote.ask}{halted})", code="E-QUOTE")


# -- the orders of a sale -----------------------------------------------------------------------------------------


def entry_ticket(
    request: SaleRequest, contract: Contract, account_id: AccountId, increments: Increments
) -> OrderTicket:
    limit = request.limit_price
    return OrderTicket(
        account_id=account_id,
        contract=contract,
        side=Side.SELL,
        order_type=request.order_type,
        quantity=request.quantity,
        limit_price=None if limit is None else round_price(limit, increments, Rounding.DOWN),
    )


def stop_price(entry: Decimal, multiple: Decimal, increments: Increments) -> Decimal:
    """Average fill x multiple, upwards to the grid: a stop to buy must not be nearer than asked.

    >>> grid = Increments(((Decimal(0), Decimal("0.05")),))
    >>> stop_price(Decimal("0.62"), Decimal(5), grid)
    Decimal('3.10')
    """
    return round_price(entry * multiple, increments, Rounding.UP)


def stop_ticket(entry: OrderTicket, *, quantity: Decimal, stop: Decimal) -> OrderTicket:
    """The protective order of a short option: BUY STP, good till cancelled, so that it outlives the day."""
    return OrderTicket(
        account_id=entry.account_id,
        contract=entry.contract,
        side=Side.BUY,
        order_type=OrderType.STOP,
        quantity=quantity,
        stop_price=stop,
        tif=TimeInForce.GTC,
    )


def trade_id_of(ref: Ref) -> str:
    """The id of the trade that the entry order of `ref` opens: the same each time."""
    return str(uuid.uuid5(_TRADE_NAMESPACE, ref))
