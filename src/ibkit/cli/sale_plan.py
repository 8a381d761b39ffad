"""The flags of a sale, judged, and the sale that they ask for."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from typing import TYPE_CHECKING

from ibkit.bootstrap.sales import Plan, SaleAsk
from ibkit.bootstrap.sales import plan_of as planned
from ibkit.cli import output
from ibkit.cli.asking import wrong
from ibkit.cli.sale_flags import duration_of, exit_moment
from ibkit.client.strikes import TARGET_DELTA, Suggestion
from ibkit.model import Key, Right, Trail

if TYPE_CHECKING:
    from ibkit.bootstrap.desks import Desk

__all__ = ["Ask", "checked", "plan_of"]


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


async def plan_of(ask: Ask, desk: Desk, *, key: Key) -> tuple[Plan, bool]:
    """As `bootstrap.sales.plan_of`; a person is told of the strikes that were chosen."""
    told = False

    def heard(expiry: date, found: Suggestion) -> None:
        nonlocal told
        if ask.suggests and not told:
            output.say(f"No strikes given. Nearest to a delta of {TARGET_DELTA}, expiring {expiry:%Y%m%d}:")
        told = True
        if not ask.json:
            output.say(f"  {found.text}")

    sale = SaleAsk(
        symbol=ask.symbol,
        rights=ask.rights,
        quantity=ask.quantity,
        stop_multiple=ask.stop_multiple,
        put_strike=ask.put_strike,
        call_strike=ask.call_strike,
        delta=ask.delta,
        premium=ask.premium,
        suggests=ask.suggests,
        width=ask.width,
        expiry=ask.expiry,
        dte=ask.dte,
        trail=ask.trail,
        take_profit=ask.take_profit,
        exit_at=exit_moment(ask.exit_at, ask.exit_in, now=desk.clock.now()),
        order_type=ask.order_type,
        limit_price=ask.limit_price,
        on_stop_failure=ask.on_stop_failure,
        confirm=ask.confirm,
        allow_delayed=ask.allow_delayed,
        force=ask.force,
    )
    return await planned(sale, desk, key=key, dry_run=ask.dry_run, heard=heard)
