"""From the flags of a sale to the sale as it will be made: expiry, strikes, exits."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from typing import TYPE_CHECKING

from ibkit.cli import output
from ibkit.cli.asking import today_in_new_york, wrong
from ibkit.cli.sale_flags import duration_of, exit_moment
from ibkit.cli.sale_text import Plan
from ibkit.cli.selling import Leg
from ibkit.client.strikes import DELTA_WITHIN, TARGET_DELTA, Suggestion, by_premium, expiry_in, suggest
from ibkit.model import Contract, Right, Trail

if TYPE_CHECKING:
    from ibkit.bootstrap.desks import Desk
    from ibkit.trading import Intent

__all__ = ["CALL_STRIKE", "PUT_STRIKE", "Ask", "checked", "leg_keys", "plan_of"]

PUT_STRIKE, CALL_STRIKE = Decimal("629.0"), Decimal("631.0")


@dataclass(frozen=True, slots=True, kw_only=True)
class Ask:
    """The flags, as far as they need no broker to be judged. None: not given."""

    side: str
    put_strike: Decimal | None
    call_strike: Decimal | None
    delta: Decimal | None
    premium: Decimal | None
    width: Decimal | None
    stop_multiple: Decimal
    trail: Trail | None
    take_profit: Decimal | None
    exit_at: str | None
    exit_in: str | None
    quantity: int
    symbol: str
    expiry: date | None
    dte: int | None
    order_type: str
    limit_price: Decimal | None
    on_stop_failure: str
    key: str | None
    confirm: tuple[str, ...]
    dry_run: bool
    allow_delayed: bool
    force: bool
    live: bool
    yes_live: str | None
    yes: bool
    compete: bool
    no_db: bool
    json: bool
    start_cleanup: bool

    @property
    def asks(self) -> bool:
        """There is a person at a terminal, who wants to be asked."""
        return not self.json and not self.yes and sys.stdin.isatty() and sys.stdout.isatty()

    @property
    def suggests(self) -> bool:
        """Without strikes, and with a person to ask, strikes are suggested (OPT-03)."""
        named = (self.put_strike, self.call_strike, self.delta, self.premium)
        return self.asks and all(each is None for each in named)

    @property
    def rights(self) -> tuple[Right, ...]:
        """The put first (OPT-02)."""
        return {"put": (Right.PUT,), "call": (Right.CALL,)}.get(self.side, (Right.PUT, Right.CALL))


def checked(ask: Ask) -> Ask:
    """What is wrong with the flags alone (exit 2)."""
    if ask.quantity < 1:
        raise wrong("--quantity", f"{ask.quantity} is not at least 1")
    if ask.stop_multiple <= 1:
        raise wrong("--stop-multiple", f"{ask.stop_multiple} is not above 1, but a stop must lie above the entry")
    if not ask.symbol:
        raise wrong("--symbol", "it is empty")
    if ask.delta is not None and not 0 < ask.delta < 1:
        raise wrong("--delta", f"{ask.delta} does not lie between 0 and 1; puts are meant by their size, too")
    if ask.dte is not None and not 0 <= ask.dte <= 3650:
        raise wrong("--dte", f"{ask.dte} is no number of days from 0 on")
    positive = {
        "--put-strike": ask.put_strike,
        "--call-strike": ask.call_strike,
        "--premium": ask.premium,
        "--width": ask.width,
        "--limit-price": ask.limit_price,
    }
    for name, value in positive.items():
        if value is not None and value <= 0:
            raise wrong(name, f"{value} is not above 0")
    if (ask.order_type == "limit") is not (ask.limit_price is not None):
        raise wrong("--limit-price", "it goes with --order-type limit, and that with it")
    if ask.exit_in is not None:
        duration_of("--exit-in", ask.exit_in)
    if ask.key is not None:
        from ibkit.trading import check_key

        check_key(ask.key)
    return ask


def leg_keys(key: str, rights: tuple[Right, ...]) -> list[str]:
    """A key for each side, the same each time for the same sale."""
    from ibkit.trading import check_key, child_key

    return [child_key(check_key(key), "put" if right is Right.PUT else "call") for right in rights]


async def plan_of(ask: Ask, desk: Desk, *, key: str) -> tuple[Plan, bool]:
    """The sale as it will be made, and whether an earlier run of this key has begun it.

    What was begun keeps its strikes and its expiry: the market may have moved since they were chosen.
    """
    from ibkit.trading import check_key

    exit_at = exit_moment(ask.exit_at, ask.exit_in, now=desk.clock.now())
    begun = []
    for right, own in zip(ask.rights, leg_keys(key, ask.rights), strict=True):
        known = None if ask.dry_run else await desk.gateway.find(check_key(own))
        if known is not None:
            begun.append((right, known))
    expiry = await _expiry(ask, desk, begun)
    chosen = await _chosen(ask, desk, expiry, dict(begun))
    return (
        Plan(
            symbol=ask.symbol,
            expiry=expiry,
            legs=tuple(chosen),
            quantity=ask.quantity,
            stop_multiple=ask.stop_multiple,
            trail=ask.trail,
            take_profit=ask.take_profit,
            exit_at=exit_at,
            order_type=ask.order_type,
            limit_price=ask.limit_price,
            on_stop_failure=ask.on_stop_failure,
            dry_run=ask.dry_run,
            key=key,
        ),
        bool(begun),
    )


async def _expiry(ask: Ask, desk: Desk, begun: list[tuple[Right, Intent]]) -> date:
    today = today_in_new_york(desk.clock.now())
    if ask.dte is None:
        return ask.expiry or today
    for _, known in begun:
        found = _sold_leg(known).expiry
        if found is not None:
            return found
    return await expiry_in(desk.client, ask.symbol, ask.dte, today=today)


async def _chosen(ask: Ask, desk: Desk, expiry: date, begun: dict[Right, Intent]) -> list[Leg]:
    named = {Right.PUT: ask.put_strike, Right.CALL: ask.call_strike}
    default = {Right.PUT: PUT_STRIKE, Right.CALL: CALL_STRIKE}
    if ask.suggests and not begun:
        output.say(f"No strikes given. Nearest to a delta of {TARGET_DELTA}, expiring {expiry:%Y%m%d}:")
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
            if not ask.json:
                output.say(f"  {found.text}")
        legs.append(Leg(right, default[right] if strike is None else strike, ask.width))
    return legs


async def _suggestion(ask: Ask, desk: Desk, expiry: date, right: Right) -> Suggestion:
    most = desk.settings.trading.max_strike_distance_pct
    if ask.premium is not None:
        return await by_premium(desk.client, ask.symbol, expiry=expiry, right=right, most_pct=most, premium=ask.premium)
    delta = TARGET_DELTA if ask.delta is None else float(ask.delta)
    within = None if ask.delta is None else DELTA_WITHIN
    return await suggest(desk.client, ask.symbol, expiry=expiry, right=right, most_pct=most, delta=delta, within=within)


def _sold_leg(known: Intent) -> Contract:
    contract = known.ticket.contract
    return next((leg.contract for leg in contract.legs if leg.ratio > 0), contract)
