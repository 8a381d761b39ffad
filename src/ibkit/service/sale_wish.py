"""What `POST /api/option-sale` and its preview take, checked as a whole.

Source: requirements OPT-01 to OPT-04, OPT-08.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from decimal import Decimal
from typing import Annotated, Literal, Self

import msgspec
from msgspec import Meta

from ibkit.bootstrap.sales import SaleAsk
from ibkit.model import Right, Trail, TrailKind
from ibkit.service.market_routes import day_of
from ibkit.service.reading import problems_of
from ibkit.service.refusals import invalid

__all__ = ["SaleWish"]

LARGEST_QUANTITY = 10_000
_LARGEST_PRICE = 1_000_000
_LONGEST_DTE = 3650

_Price = Annotated[Decimal, Meta(extra_json_schema={"exclusiveMinimum": 0, "maximum": _LARGEST_PRICE})] | None
_Percent = Annotated[Decimal, Meta(extra_json_schema={"exclusiveMinimum": 0, "exclusiveMaximum": 100})] | None
_RIGHTS = {"put": (Right.PUT,), "call": (Right.CALL,), "both": (Right.PUT, Right.CALL)}
_HOW = ("live", "confirm_account", "confirm", "allow_delayed", "force")
"""What says how a sale is let through, not which one it is: it may differ when a key is repeated."""


class SaleWish(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Sell a put, a call or both (the put first), each with a stop; with `width` each as a vertical, both as a condor.

    Strikes are named (put_strike, call_strike), or chosen by delta (the nearest, within 0.05) or premium (the lowest
    bid that is at least this). expiry, else dte (the first one so many days away), else today in New York.
    stop_multiple: the stop's price as a multiple of the entry price; instead of it trail_pct or trail_amount.
    take_profit_pct: bought back, too, when so much of the credit is won. exit_at: when the watch closes it.
    order_type market or limit (with limit_price, the least price). on_stop_failure: close buys back what has no stop.
    live, confirm_account: both are needed for live money: true, and the account's id. force: also strikes far from the
    price, and options that expire within minutes. confirm: ids of IBKR's questions that you allow.
    """

    side: Literal["put", "call", "both"]
    symbol: Annotated[str, Meta(pattern=r"^[A-Za-z0-9. ]{1,12}$")]
    quantity: Annotated[int, Meta(ge=1, le=LARGEST_QUANTITY)]
    put_strike: _Price = None
    call_strike: _Price = None
    delta: Annotated[Decimal, Meta(extra_json_schema={"exclusiveMinimum": 0, "exclusiveMaximum": 1})] | None = None
    premium: _Price = None
    width: _Price = None
    expiry: Annotated[str, Meta(pattern=r"^[0-9]{4}-?[0-9]{2}-?[0-9]{2}$")] | None = None
    dte: Annotated[int, Meta(ge=0, le=_LONGEST_DTE)] | None = None
    stop_multiple: Annotated[Decimal, Meta(extra_json_schema={"exclusiveMinimum": 1})] | None = None
    trail_pct: _Percent = None
    trail_amount: _Price = None
    take_profit_pct: _Percent = None
    exit_at: Annotated[str, Meta(max_length=40)] | None = None
    order_type: Literal["market", "limit"] = "market"
    limit_price: _Price = None
    on_stop_failure: Literal["close", "alert"] = "close"
    broker: Annotated[str, Meta(min_length=1, max_length=32, pattern=r"^[a-z0-9_-]+$")] | None = None
    connection_id: Annotated[str, Meta(min_length=1, max_length=64)] | None = None
    account_id: Annotated[str, Meta(pattern=r"^[A-Za-z0-9]{3,20}$")] | None = None
    confirm: Annotated[list[Annotated[str, Meta(pattern=r"^[a-z]{1,3}[0-9]{1,7}$")]], Meta(max_length=20)] = []
    live: bool = False
    confirm_account: Annotated[str, Meta(max_length=20)] | None = None
    allow_delayed: bool = False
    force: bool = False

    @classmethod
    def read(cls, value: object) -> Self:
        """ConfigError (E-VALIDATION) naming every field that is wrong."""
        if not isinstance(value, dict):
            raise invalid(("body", "it is not an object"))
        found, problems = problems_of(cls, value)
        problems += [] if found is None else list(found.problems())
        if found is None or problems:
            raise invalid(*problems)
        return found

    @property
    def rights(self) -> tuple[Right, ...]:
        return _RIGHTS[self.side]

    def problems(self) -> Iterator[tuple[str, str]]:
        """What no field alone can tell."""
        if not self.symbol.strip() or self.symbol != self.symbol.strip():
            yield "symbol", "it must be 1 to 12 of A-Z, 0-9, dot and blank, without blanks around it"
        for name in ("put_strike", "call_strike", "premium", "width", "limit_price", "trail_amount"):
            price = getattr(self, name)
            if price is not None and not 0 < price <= _LARGEST_PRICE:
                yield name, f"it must be above 0 and at most {_LARGEST_PRICE}, not {price}"
        for name in ("trail_pct", "take_profit_pct"):
            part = getattr(self, name)
            if part is not None and not 0 < part < 100:
                yield name, f"it lies between 0 and 100, not {part}"
        yield from self._strike_problems()
        yield from self._exit_problems()
        if (self.order_type == "limit") is not (self.limit_price is not None):
            yield "limit_price", "it goes with order_type limit, and that with it"
        if self.expiry is not None and day_of(self.expiry) is None:
            yield "expiry", f"{self.expiry} is no day (2026-11-20)"
        if self.expiry is not None and self.dte is not None:
            yield "dte", "it excludes expiry"

    def _strike_problems(self) -> Iterator[tuple[str, str]]:
        named = {Right.PUT: ("put_strike", self.put_strike), Right.CALL: ("call_strike", self.call_strike)}
        if self.delta is not None and not 0 < self.delta < 1:
            yield "delta", f"{self.delta} does not lie between 0 and 1; puts are meant by their size, too"
        ways = [name for name in ("delta", "premium") if getattr(self, name) is not None]
        if len(ways) == 2:
            yield "premium", "it excludes delta"
        for right, (name, strike) in named.items():
            if right not in self.rights and strike is not None:
                yield name, f"it does not belong to side {self.side}"
            elif strike is not None and ways:
                yield name, f"it excludes {ways[0]}"
            elif strike is None and not ways and right in self.rights:
                yield name, "it is missing: name the strike, or give delta or premium"
            elif strike is not None and self.width is not None and self.width >= strike:
                yield "width", f"it must be below {name}"

    def _exit_problems(self) -> Iterator[tuple[str, str]]:
        if self.stop_multiple is not None and self.stop_multiple <= 1:
            yield "stop_multiple", f"{self.stop_multiple} is not above 1, but a stop must lie above the entry"
        stops = [name for name in ("stop_multiple", "trail_pct", "trail_amount") if getattr(self, name) is not None]
        for name in stops[1:]:
            yield name, f"it excludes {stops[0]}"
        if self.exit_at is not None and self._exit_moment() is None:
            yield "exit_at", "it is a moment with its zone, like 2026-11-20T20:45:00Z"

    def _exit_moment(self) -> datetime | None:
        try:
            found = datetime.fromisoformat(self.exit_at or "")
        except ValueError:
            return None
        return None if found.tzinfo is None else found.astimezone(UTC).replace(microsecond=0)

    def differs_from(self, other: SaleWish) -> tuple[str, ...]:
        """The fields by which it is another sale."""
        return tuple(
            name for name in self.__struct_fields__ if name not in _HOW and getattr(self, name) != getattr(other, name)
        )

    def ask(self) -> SaleAsk:
        """In the words of the use case."""
        trail = None
        if self.trail_pct is not None:
            trail = Trail(self.trail_pct, TrailKind.PERCENT)
        elif self.trail_amount is not None:
            trail = Trail(self.trail_amount, TrailKind.AMOUNT)
        gain = self.take_profit_pct
        return SaleAsk(
            symbol=" ".join(self.symbol.upper().replace(".", " ").split()),
            rights=self.rights,
            quantity=self.quantity,
            stop_multiple=Decimal(5) if self.stop_multiple is None else self.stop_multiple,
            put_strike=self.put_strike,
            call_strike=self.call_strike,
            delta=self.delta,
            premium=self.premium,
            width=self.width,
            expiry=None if self.expiry is None else day_of(self.expiry),
            dte=self.dte,
            trail=trail,
            take_profit=None if gain is None else (100 - gain) / 100,
            exit_at=None if self.exit_at is None else self._exit_moment(),
            order_type=self.order_type,
            limit_price=self.limit_price,
            on_stop_failure=self.on_stop_failure,
            confirm=tuple(self.confirm),
            allow_delayed=self.allow_delayed,
            force=self.force,
        )
