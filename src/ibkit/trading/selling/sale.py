"""One sale of an option, or of a vertical spread, as asked for."""

from __future__ import annotations

import enum
import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal, InvalidOperation
from zoneinfo import ZoneInfo

from ibkit.errors import ConfigError
from ibkit.model import (
    AccountId,
    Contract,
    Increments,
    Key,
    OrderTicket,
    OrderType,
    Ref,
    Right,
    Rounding,
    Side,
    Trail,
    round_price,
)
from ibkit.trading.selling.exits import ExitPlan, OnMissing

__all__ = [
    "NEW_YORK",
    "Number",
    "OnStopFailure",
    "SaleRequest",
    "entry_ticket",
    "new_york_day",
    "request_of",
    "trade_id_of",
]

NEW_YORK = ZoneInfo("America/New_York")
_TRADE_NAMESPACE = uuid.UUID("6d1f0b0e-6a55-5f0e-9a1c-1bb17a51e3c4")

Number = Decimal | int | float | str


class OnStopFailure(enum.Enum):
    """close: buy the sold quantity back. alert: leave the position and say so."""

    CLOSE = "close"
    ALERT = "alert"


@dataclass(frozen=True, slots=True, kw_only=True)
class SaleRequest:
    """strike: what is sold. width: how far beyond it the protection of a vertical is bought; None: the option alone."""

    symbol: str
    strike: Decimal
    right: Right
    width: Decimal | None
    exits: ExitPlan
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
    width: Number | None = None,
    trail: Trail | None = None,
    take_profit: Number | None = None,
    exit_at: datetime | None = None,
) -> SaleRequest:
    """The request in our own words. Raises ConfigError (E-VALIDATION) naming the argument that is wrong.

    take_profit: the part of the entry price at which it is bought back with gain, between 0 and 1.
    """
    amount = _decimal("quantity", quantity)
    if amount <= 0 or amount != amount.to_integral_value():
        raise _invalid("quantity", f"{quantity}: a whole number of contracts, at least 1")
    price = _decimal("strike", strike)
    if price <= 0:
        raise _invalid("strike", f"{strike}: must be positive")
    wide = None if width is None else _decimal("width", width)
    if wide is not None and not 0 < wide < price:
        raise _invalid("width", f"{width}: the distance of the strikes, above 0 and below the strike")
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
    policy = _on_stop_failure(on_stop_failure)
    return SaleRequest(
        symbol=symbol.strip().upper(),
        strike=price,
        right=right if isinstance(right, Right) else _right(right),
        width=wide,
        exits=_plan(stop_multiple, trail, take_profit, exit_at, policy is OnStopFailure.ALERT),
        quantity=amount,
        expiry=_expiry(expiry, now),
        order_type=kind,
        limit_price=limit,
        on_stop_failure=policy,
        key=key,
        confirm=tuple(confirm),
        allow_delayed=allow_delayed,
        dry_run=dry_run,
        force=force,
    )


def _plan(
    stop_multiple: Number,
    trail: Trail | None,
    take_profit: Number | None,
    exit_at: datetime | None,
    leaves_it: bool,
) -> ExitPlan:
    """leaves_it: what is without a stop later is left to a person, as it is by the sale itself."""
    multiple = _decimal("stop_multiple", stop_multiple)
    if multiple <= 1:
        raise _invalid("stop_multiple", f"{multiple}: the stop must lie above the entry, so more than 1")
    part = None if take_profit is None else _decimal("take_profit", take_profit)
    if part is not None and not 0 < part < 1:
        raise _invalid("take_profit", f"{take_profit}: a part of the entry price, between 0 and 1")
    if exit_at is not None and exit_at.tzinfo is None:
        raise _invalid("exit_at", f"{exit_at}: an instant needs its time zone")
    return ExitPlan(
        stop_multiple=multiple if trail is None else None,
        trail=trail,
        take_profit=part,
        exit_at=exit_at,
        on_missing=OnMissing.ALERT if leaves_it else OnMissing.PLACE,
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


def trade_id_of(ref: Ref) -> str:
    """The id of the trade that the entry order of `ref` opens: the same each time."""
    return str(uuid.uuid5(_TRADE_NAMESPACE, ref))
