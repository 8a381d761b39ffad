"""What `POST /broker-order` takes, checked as a whole, and the tickets that it stands for.

Source: requirements GWY-01, GWY-04; the option and bracket fields are ours.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from datetime import date, datetime
from decimal import Decimal
from typing import Annotated, Literal, Self

import msgspec
from msgspec import Meta

from ibkit.errors import TradingError
from ibkit.model import (
    AccountId,
    Contract,
    GroupKind,
    Order,
    OrderTicket,
    OrderType,
    Right,
    SecType,
    Side,
    TimeInForce,
    exits_of,
)
from ibkit.service.reading import problems_of
from ibkit.service.refusals import invalid
from ibkit.trading.ports import Broker

__all__ = ["LARGEST_QTY", "OrderChange", "OrderWish", "Tickets", "ticket_at_broker"]

LARGEST_QTY = 1_000_000
_LARGEST_PRICE = 1_000_000

_Price = Annotated[Decimal, Meta(extra_json_schema={"exclusiveMinimum": 0, "maximum": _LARGEST_PRICE})] | None
_Qty = Annotated[Decimal, Meta(extra_json_schema={"minimum": 1, "maximum": LARGEST_QTY, "multipleOf": 1})]
_Account = Annotated[str, Meta(pattern=r"^[A-Za-z0-9]{3,20}$")]

ORDER_TYPES = {
    "market": OrderType.MARKET,
    "limit": OrderType.LIMIT,
    "stop": OrderType.STOP,
    "stop_limit": OrderType.STOP_LIMIT,
}
TIMES = {"day": TimeInForce.DAY, "gtc": TimeInForce.GTC, "ioc": TimeInForce.IOC}


class Tickets(msgspec.Struct, frozen=True):
    """The order, and the children that protect it."""

    first: OrderTicket
    others: tuple[OrderTicket, ...] = ()

    @property
    def group(self) -> GroupKind | None:
        return GroupKind.BRACKET if self.others else None


class OrderWish(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """An order as asked for. Of options: expiry, strike and right; exits of a bracket: take_profit, stop_loss.

    confirm: ids of IBKR's questions that you allow for this order. allow_duplicate: you do want the same order again
    that was placed seconds ago. dry_run: looked at only, nothing is stored or sent. conid: the contract (of an option
    its underlying) that you mean by symbol; where symbol is found to be another one, nothing is sent.
    """

    broker: Annotated[str, Meta(min_length=1, max_length=32, pattern=r"^[a-z0-9_-]+$")]
    action: Literal["buy", "sell"]
    symbol: Annotated[str, Meta(pattern=r"^[A-Za-z0-9. ]{1,12}$")]
    qty: _Qty
    order_type: Literal["market", "limit", "stop", "stop_limit"] = "market"
    time_in_force: Literal["day", "gtc", "ioc"] = "day"
    limit_price: _Price = None
    stop_price: _Price = None
    account_id: _Account | None = None
    connection_id: Annotated[str, Meta(pattern=r"^[A-Za-z0-9_-]{1,64}$")] | None = None
    conid: Annotated[int, Meta(ge=1, le=2**31 - 1)] | None = None
    dry_run: bool = False
    expiry: Annotated[str, Meta(pattern=r"^[0-9]{8}$", description="YYYYMMDD")] | None = None
    strike: _Price = None
    right: Literal["P", "C"] | None = None
    take_profit: _Price = None
    stop_loss: _Price = None
    outside_rth: bool = False
    confirm: Annotated[list[Annotated[str, Meta(pattern=r"^[a-z]{1,3}[0-9]{1,7}$")]], Meta(max_length=20)] = []
    allow_duplicate: bool = False

    @classmethod
    def read(cls, value: object) -> Self:
        """From the JSON of a body. ConfigError (E-VALIDATION) with every mistake of it."""
        if not isinstance(value, dict):
            raise invalid(("body", "it is not an object"))
        found, problems = problems_of(cls, value)
        if found is None:
            # What can be read by itself is judged together as far as that goes, so that all is told at once.
            wrong = {name for name, _ in problems}
            guess, _ = problems_of(cls, {**_HARMLESS, **{n: v for n, v in value.items() if n not in wrong}})
            more = [] if guess is None else [each for each in guess.problems() if _by_itself(each[0], value, wrong)]
            raise invalid(*problems, *more)
        if problems := list(found.problems()):
            raise invalid(*problems)
        return found

    @property
    def name(self) -> str:
        """The symbol as IBKR spells it: `BRK.B` is `BRK B`."""
        return " ".join(self.symbol.upper().replace(".", " ").split())

    @property
    def side(self) -> Side:
        return Side.BUY if self.action == "buy" else Side.SELL

    @property
    def is_option(self) -> bool:
        return self.expiry is not None or self.strike is not None or self.right is not None

    def problems(self) -> Iterator[tuple[str, str]]:
        """What no field alone can tell."""
        if not self.name or self.symbol != self.symbol.strip():
            yield "symbol", "it must be 1 to 12 of A-Z, 0-9, dot and blank, without blanks around it"
        yield from _amount("qty", self.qty, LARGEST_QTY)
        if self.qty != self.qty.to_integral_value():
            yield "qty", "it must be a whole number"
        prices = {
            "limit_price": self.limit_price,
            "stop_price": self.stop_price,
            "strike": self.strike,
            "take_profit": self.take_profit,
            "stop_loss": self.stop_loss,
        }
        for name, price in prices.items():
            if price is not None:
                yield from _amount(name, price, _LARGEST_PRICE)
        for name, kinds in (("limit_price", ("limit", "stop_limit")), ("stop_price", ("stop", "stop_limit"))):
            if self.order_type in kinds and prices[name] is None:
                yield name, f"it is needed for order_type {self.order_type}"
            if self.order_type not in kinds and prices[name] is not None:
                yield name, f"it does not belong to order_type {self.order_type}"
        yield from self._option_problems()
        yield from self._bracket_problems()

    def _option_problems(self) -> Iterator[tuple[str, str]]:
        if not self.is_option:
            return
        for name in ("expiry", "strike", "right"):
            if getattr(self, name) is None:
                yield name, "an option needs all of expiry, strike and right"
        if self.expiry is not None and _day(self.expiry) is None:
            yield "expiry", f"{self.expiry} is no day (YYYYMMDD)"

    def _bracket_problems(self) -> Iterator[tuple[str, str]]:
        """A profit beyond the entry, a stop before it, on the sides that the action gives them."""
        buys, entry = self.side is Side.BUY, self.limit_price
        profit, stop = self.take_profit, self.stop_loss
        if entry is not None and profit is not None and (profit <= entry if buys else profit >= entry):
            yield "take_profit", f"bracket_profit: {profit} gains nothing on limit_price {entry}"
        if entry is not None and stop is not None and (stop >= entry if buys else stop <= entry):
            yield "stop_loss", f"bracket_stop: {stop} does not limit a loss on limit_price {entry}"
        if profit is not None and stop is not None and (profit <= stop if buys else profit >= stop):
            yield "take_profit", f"bracket_profit: {profit} is not on the winning side of stop_loss {stop}"
        if (profit is not None or stop is not None) and self.time_in_force == "ioc":
            yield "time_in_force", "a bracket cannot be ioc: its exits would have nothing to hang on"

    async def contract(self, broker: Broker) -> Contract:
        """The contract at the broker. NotFound (E-CONTRACT, E-EXPIRY), ConfigError where it is not `conid`."""
        found = await self._found(broker)
        if self._is_another(found):
            raise invalid(("conid", f"{self.name} is found as {found.conid} on {found.exchange}, not as {self.conid}"))
        return found

    def _is_another(self, found: Contract) -> bool:
        there = found.underlying_conid if self.is_option else found.conid
        return self.conid is not None and there != self.conid

    async def _found(self, broker: Broker) -> Contract:
        if not self.is_option:
            return await broker.underlying(self.name)
        day = _day(self.expiry or "")
        assert day is not None, "checked when it was read"
        assert self.strike is not None, "as the day"
        return await broker.option(self.name, expiry=day, strike=self.strike, right=Right(self.right))

    def differs_from(self, contract: Contract) -> tuple[str, ...]:
        """The fields by which `contract` is another one than asked for."""
        found = [] if contract.symbol.replace(".", " ") == self.name else ["symbol"]
        if (contract.sec_type is SecType.OPTION) is not self.is_option:
            return (*found, "expiry", "strike", "right")
        found += ["conid"] * self._is_another(contract)
        if self.is_option:
            asked = (self.expiry, self.strike, self.right)
            there = (
                f"{contract.expiry:%Y%m%d}" if contract.expiry else None,
                contract.strike,
                contract.right.value if contract.right else None,
            )
            named = zip(("expiry", "strike", "right"), asked, there, strict=True)
            found += [name for name, ours, theirs in named if ours != theirs]
        return tuple(found)

    def tickets(self, contract: Contract, account_id: AccountId) -> Tickets:
        parent = OrderTicket(
            account_id=account_id,
            contract=contract,
            side=self.side,
            order_type=ORDER_TYPES[self.order_type],
            quantity=self.qty,
            limit_price=self.limit_price,
            stop_price=self.stop_price,
            tif=TIMES[self.time_in_force],
            outside_rth=self.outside_rth,
        )
        if self.take_profit is None and self.stop_loss is None:
            return Tickets(parent)
        return Tickets(parent, exits_of(parent, take_profit=self.take_profit, stop=self.stop_loss))


class OrderChange(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What `PATCH /broker-order/{id}` takes: what shall be otherwise; at least one field."""

    qty: _Qty | None = None
    limit_price: _Price = None
    stop_price: _Price = None
    time_in_force: Literal["day", "gtc"] | None = None
    confirm: Annotated[list[Annotated[str, Meta(pattern=r"^[a-z]{1,3}[0-9]{1,7}$")]], Meta(max_length=20)] = []

    @classmethod
    def read(cls, value: object) -> Self:
        """As `OrderWish.read`."""
        if not isinstance(value, dict):
            raise invalid(("body", "it is not an object"))
        found, problems = problems_of(cls, value)
        problems += [] if found is None else list(found.problems())
        if found is None or problems:
            raise invalid(*problems)
        return found

    def problems(self) -> Iterator[tuple[str, str]]:
        if all(each is None for each in (self.qty, self.limit_price, self.stop_price, self.time_in_force)):
            yield "body", "it changes nothing: give qty, limit_price, stop_price or time_in_force"
        for name, value, most in (
            ("qty", self.qty, LARGEST_QTY),
            ("limit_price", self.limit_price, _LARGEST_PRICE),
            ("stop_price", self.stop_price, _LARGEST_PRICE),
        ):
            if value is not None:
                yield from _amount(name, value, most)
        if self.qty is not None and self.qty != self.qty.to_integral_value():
            yield "qty", "it must be a whole number"

    def applied(self, ticket: OrderTicket) -> OrderTicket:
        """`ticket` with the changes. ConfigError (E-VALIDATION) where the order's type has no such price."""
        changes = {
            "quantity": self.qty,
            "limit_price": self.limit_price,
            "stop_price": self.stop_price,
            "tif": None if self.time_in_force is None else TIMES[self.time_in_force],
        }
        wrong = [
            (name, f"it does not belong to a {ticket.order_type.value} order")
            for name in ("limit_price", "stop_price")
            if changes[name] is not None and getattr(ticket, name) is None
        ]
        if wrong:
            raise invalid(*wrong)
        try:
            given = {name: value for name, value in changes.items() if value is not None}
            return dataclasses.replace(ticket, **given)  # type: ignore[arg-type]  # names of its own fields
        except ValueError as error:
            raise invalid(("body", str(error))) from None


_KINDS = {kind.value: kind for kind in OrderType}
_TIFS = {tif.value: tif for tif in TimeInForce}


def ticket_at_broker(ticket: OrderTicket, there: Order) -> OrderTicket:
    """`ticket` with the terms that IBKR shows. TradingError where somebody made another kind of order of it."""
    if (kind := _KINDS.get(there.order_type)) is not None and kind is not ticket.order_type:
        raise TradingError(
            f"Order {there.order_id} was made a {there.order_type} order elsewhere and cannot be changed here",
            code="E-ORD-REJECT",
            remedy="Change it in IBKR's own order window, or cancel it and place a new one.",
        )
    trails = ticket.trail is not None  # its stop, as it is shown, is where it stands now
    return dataclasses.replace(
        ticket,
        quantity=there.total,
        limit_price=_price_there(ticket.limit_price, there.limit_price),
        stop_price=ticket.stop_price if trails else _price_there(ticket.stop_price, there.stop_price),
        tif=_TIFS.get(there.tif.upper(), ticket.tif),
    )


def _price_there(ours: Decimal | None, shown: Decimal | None) -> Decimal | None:
    """As shown, where our order has such a price; 0 is one: a combination may cost nothing."""
    return ours if ours is None or shown is None else shown


_HARMLESS = {"broker": "mock", "action": "buy", "symbol": "SPY", "qty": 1}
"""In the place of fields that cannot be read, so that the others can be judged."""
_TIED = {
    "limit_price": ("order_type",),
    "stop_price": ("order_type",),
    "take_profit": ("action", "limit_price", "stop_loss"),
    "stop_loss": ("action", "limit_price"),
    "expiry": ("strike", "right"),
    "strike": ("expiry", "right"),
    "right": ("expiry", "strike"),
    "time_in_force": ("take_profit", "stop_loss"),
}
"""What is said of a field rests on these, too."""


def _by_itself(name: str, value: dict[str, object], wrong: set[str]) -> bool:
    return name not in wrong and not wrong.intersection(_TIED.get(name, ()))


def _amount(name: str, value: Decimal, most: int) -> Iterator[tuple[str, str]]:
    if value <= 0:
        yield name, f"it must be above 0, not {value}"
    elif value > most:
        yield name, f"it must be at most {most}"


def _day(text: str) -> date | None:
    try:
        return datetime.strptime(text, "%Y%m%d").date()  # noqa: DTZ007  # a day has no zone
    except ValueError:
        return None
