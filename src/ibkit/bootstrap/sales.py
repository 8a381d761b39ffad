"""From a sale as it is asked for to the sale as it will be made, and the look back on it; for a command and a service.

    ask → expiry, strikes (named, or chosen from the chain) → plan → `sell_legs` → look back: do the stops work?

Source: requirements OPT-02 to OPT-05.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from ibkit.client.strikes import DELTA_WITHIN, TARGET_DELTA, Suggestion, by_premium, expiry_in, suggest
from ibkit.errors import IbkitError
from ibkit.model import Contract, Key, OrderStatus, Right, Trail
from ibkit.trading.ref import check_key, own_key
from ibkit.trading.selling.legs import Leg, Sale, leg_keys
from ibkit.trading.selling.sale import new_york_day

if TYPE_CHECKING:
    from ibkit.bootstrap.desks import Desk
    from ibkit.trading import Intent

__all__ = ["CALL_STRIKE", "PUT_STRIKE", "Plan", "SaleAsk", "look_back", "plan_of"]

PUT_STRIKE, CALL_STRIKE = Decimal("629.0"), Decimal("631.0")

Heard = Callable[[date, Suggestion], None]


def _unheard(expiry: date, found: Suggestion) -> None:
    """Nobody listens."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SaleAsk:
    """A sale as asked for. Strikes are named, or chosen by delta or premium; else the default ones.

    suggests: where nothing says which strikes, those nearest to the usual delta. dte: instead of expiry.
    take_profit: the part of the entry price at which it is bought back.
    """

    symbol: str
    rights: tuple[Right, ...]
    quantity: int
    stop_multiple: Decimal
    put_strike: Decimal | None = None
    call_strike: Decimal | None = None
    delta: Decimal | None = None
    premium: Decimal | None = None
    suggests: bool = False
    width: Decimal | None = None
    expiry: date | None = None
    dte: int | None = None
    trail: Trail | None = None
    take_profit: Decimal | None = None
    exit_at: datetime | None = None
    order_type: str = "market"
    limit_price: Decimal | None = None
    on_stop_failure: str = "close"
    confirm: tuple[str, ...] = ()
    allow_delayed: bool = False
    force: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """The sale as it will be made."""

    ask: SaleAsk
    expiry: date
    legs: tuple[Leg, ...]
    key: Key
    dry_run: bool

    @property
    def symbol(self) -> str:
        return self.ask.symbol

    @property
    def keys(self) -> list[Key]:
        """One for each leg."""
        return leg_keys(self.key, self.ask.rights)

    def terms(self, *, dry_run: bool) -> Mapping[str, Any]:
        """What `sell_legs` takes besides the legs."""
        ask = self.ask
        return {
            "symbol": ask.symbol,
            "stop_multiple": ask.stop_multiple,
            "quantity": ask.quantity,
            "expiry": self.expiry,
            "options": {
                "trail": ask.trail,
                "take_profit": ask.take_profit,
                "exit_at": ask.exit_at,
                "order_type": ask.order_type,
                "limit_price": ask.limit_price,
                "on_stop_failure": ask.on_stop_failure,
                "confirm": ask.confirm,
                "allow_delayed": ask.allow_delayed,
                "dry_run": dry_run,
                "force": ask.force,
            },
        }


async def plan_of(
    ask: SaleAsk, desk: Desk, *, key: Key, dry_run: bool = False, heard: Heard = _unheard
) -> tuple[Plan, bool]:
    """The sale as it will be made, and whether an earlier run of this key has begun it.

    What was begun keeps its strikes and its expiry: the market may have moved since they were chosen.
    heard: told of each strike that was chosen.
    """
    begun: dict[Right, Intent] = {}
    for right, own in zip(ask.rights, leg_keys(key, ask.rights), strict=True):
        known = None if dry_run else await desk.gateway.find(own)
        if known is not None:
            begun[right] = known
    expiry = await _expiry(ask, desk, begun)
    legs = await _chosen(ask, desk, expiry, begun, heard)
    return Plan(ask=ask, expiry=expiry, legs=tuple(legs), key=check_key(key), dry_run=dry_run), bool(begun)


async def _expiry(ask: SaleAsk, desk: Desk, begun: Mapping[Right, Intent]) -> date:
    today = new_york_day(desk.clock.now())
    if ask.dte is None:
        return ask.expiry or today
    for known in begun.values():
        found = _sold_leg(known).expiry
        if found is not None:
            return found
    return await expiry_in(desk.client, ask.symbol, ask.dte, today=today)


async def _chosen(ask: SaleAsk, desk: Desk, expiry: date, begun: Mapping[Right, Intent], heard: Heard) -> list[Leg]:
    named = {Right.PUT: ask.put_strike, Right.CALL: ask.call_strike}
    default = {Right.PUT: PUT_STRIKE, Right.CALL: CALL_STRIKE}
    legs = []
    for right in ask.rights:
        strike = named[right]
        chooses = ask.delta is not None or ask.premium is not None or (ask.suggests and not begun)
        known = begun.get(right)
        if chooses and known is not None:
            strike = _sold_leg(known).strike
        elif chooses:
            found = await _suggestion(ask, desk, expiry, right)
            strike = found.strike
            heard(expiry, found)
        legs.append(Leg(right, default[right] if strike is None else strike, ask.width))
    return legs


async def _suggestion(ask: SaleAsk, desk: Desk, expiry: date, right: Right) -> Suggestion:
    most = desk.settings.trading.max_strike_distance_pct
    if ask.premium is not None:
        return await by_premium(desk.client, ask.symbol, expiry=expiry, right=right, most_pct=most, premium=ask.premium)
    delta = TARGET_DELTA if ask.delta is None else float(ask.delta)
    within = None if ask.delta is None else DELTA_WITHIN
    return await suggest(desk.client, ask.symbol, expiry=expiry, right=right, most_pct=most, delta=delta, within=within)


def _sold_leg(known: Intent) -> Contract:
    contract = known.ticket.contract
    return next((leg.contract for leg in contract.legs if leg.ratio > 0), contract)


async def look_back(desk: Desk, sale: Sale, symbol: str) -> None:
    """What the broker shows afterwards: the working orders, as proof of the stops, and the positions in the symbol."""
    try:
        read = await desk.broker.read_orders(desk.account_id)
        if read.first or not read.complete:
            # The first read of a session proves nothing. Source: docs/facts/orders.md §9.
            read = await desk.broker.read_orders(desk.account_id)
        sale.working = tuple(order for order in read.orders if order.status.working)
        if read.complete:
            await _check_stops(desk, sale)
    except IbkitError as error:
        sale.notes.append(f"working orders could not be read: {error.message}")
    try:
        held = await desk.broker.positions(desk.account_id)
        sale.positions = tuple(position for position in held if position.contract.symbol == symbol)
    except IbkitError as error:
        sale.notes.append(f"positions could not be read: {error.message}")


async def _check_stops(desk: Desk, sale: Sale) -> None:
    """A stop that is not among the working orders is looked at: without one, the sale was no success after all."""
    working = {order.order_id for order in sale.working}
    for index, (leg, result) in enumerate(sale.results):
        number = result.stop_order_id
        if not result.success or result.closed or number is None or number in working:
            continue
        order = await desk.broker.order(number)
        if order is not None and order.status.working:
            continue
        status = "not known any more" if order is None else order.status.value
        if order is not None and order.status is OrderStatus.FILLED:
            message = f"{result.message}; but the stop has filled meanwhile: the position is closed"
            sale.results[index] = (leg, dataclasses.replace(result, closed=True, message=message))
            continue
        key = own_key(Key(str(result.key).rpartition(":")[0]))
        error = IbkitError(
            f"CRITICAL: {result.message}; but now stop order {number} is {status}: the position has no working stop",
            code="E-STOP-FAILED",
            remedy=f"Repeat with --key {key}: it places a new stop and sells nothing.",
        )
        unsure = dataclasses.replace(
            result, success=False, message=error.message, code=error.code, remedy=error.remedy, unsure=True
        )
        sale.results[index] = (leg, unsure)
    if sale.critical:
        await desk.guard().check()  # which raises the alert that stays
