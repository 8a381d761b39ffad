"""Arguments of `ibkit orders place` and `ibkit risk check` → the very tickets that will be sent."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from typing import TYPE_CHECKING, Self, TypeVar

from ibkit.cli.asking import day, number, right_of, wrong
from ibkit.model import (
    Contract,
    GroupKind,
    OrderTicket,
    OrderType,
    Right,
    SecType,
    Side,
    TimeInForce,
    Trail,
    TrailKind,
    combo_of,
    exits_of,
)

if TYPE_CHECKING:
    from ibkit.bootstrap.desks import Desk

__all__ = ["ORDER_TYPES", "Wish", "price_of", "trail_of"]

ORDER_TYPES = {
    "market": OrderType.MARKET,
    "limit": OrderType.LIMIT,
    "stop": OrderType.STOP,
    "stop-limit": OrderType.STOP_LIMIT,
    "trail": OrderType.TRAIL,
    "trail-limit": OrderType.TRAIL_LIMIT,
    "midprice": OrderType.MIDPRICE,
    "mit": OrderType.MARKET_IF_TOUCHED,
    "lit": OrderType.LIMIT_IF_TOUCHED,
    "moc": OrderType.MARKET_ON_CLOSE,
    "loc": OrderType.LIMIT_ON_CLOSE,
    "relative": OrderType.RELATIVE,
}


def price_of(name: str, text: str | None) -> Decimal | None:
    return None if text is None else number(name, text)


def trail_of(name: str, text: str | None) -> Trail | None:
    """`0.50` or `5%`."""
    if text is None:
        return None
    percent = text.endswith("%")
    try:
        return Trail(number(name, text.removesuffix("%")), TrailKind.PERCENT if percent else TrailKind.AMOUNT)
    except ValueError as error:
        raise wrong(name, str(error)) from None


@dataclass(frozen=True, slots=True, kw_only=True)
class Wish:
    """The arguments, read. kind: None where it follows from the prices that were given."""

    side: Side
    quantity: Decimal
    symbol: str
    kind: OrderType | None
    limit_price: Decimal | None
    stop_price: Decimal | None
    trail: Trail | None
    offset: Decimal | None
    tif: TimeInForce
    outside_rth: bool
    expiry: date | None
    strike: Decimal | None
    long_strike: Decimal | None
    right: Right | None
    take_profit: Decimal | None
    stop_loss: Decimal | None

    @classmethod
    def read(
        cls,
        side: str,
        quantity: str,
        symbol: str,
        *,
        kind: str | None,
        limit_price: str | None,
        stop_price: str | None,
        trail: str | None,
        tif: str,
        outside_rth: bool,
        expiry: str | None,
        strike: str | None,
        long_strike: str | None,
        right: str | None,
        take_profit: str | None,
        stop_loss: str | None,
        offset: str | None,
    ) -> Self:
        """From the texts of a command. ConfigError (E-VALIDATION) naming the one that cannot be read."""
        return cls(
            side=_choice("side", side, {"buy": Side.BUY, "sell": Side.SELL}),
            quantity=_above_zero("quantity", quantity),
            symbol=symbol.strip().upper(),
            kind=None if kind is None else _choice("--type", kind, ORDER_TYPES),
            limit_price=price_of("--limit-price", limit_price),
            stop_price=price_of("--stop-price", stop_price),
            trail=trail_of("--trail", trail),
            offset=price_of("--offset", offset),
            tif=_choice("--tif", tif, {each.value.lower(): each for each in TimeInForce}),
            outside_rth=outside_rth,
            expiry=None if expiry is None else day("--expiry", expiry),
            strike=price_of("--strike", strike),
            long_strike=price_of("--long-strike", long_strike),
            right=None if right is None else right_of("--right", right),
            take_profit=price_of("--take-profit", take_profit),
            stop_loss=price_of("--stop-loss", stop_loss),
        )

    @property
    def group(self) -> GroupKind | None:
        return GroupKind.BRACKET if self.take_profit is not None or self.stop_loss is not None else None

    async def tickets(self, desk: Desk) -> tuple[OrderTicket, tuple[OrderTicket, ...]]:
        """The order, and the children that protect it."""
        contract = await self._contract(desk)
        try:
            parent = OrderTicket(
                account_id=desk.account_id,
                contract=contract,
                side=self.side,
                order_type=self.kind or self._implied,
                quantity=self.quantity,
                limit_price=self.limit_price,
                stop_price=self.stop_price,
                tif=self.tif,
                outside_rth=self.outside_rth,
                trail=self.trail,
                offset=self.offset,
            )
        except ValueError as error:
            raise wrong("order", str(error)) from None
        if self.group is None:
            return parent, ()
        try:
            return parent, exits_of(parent, take_profit=self.take_profit, stop=self.stop_loss)
        except ValueError as error:
            raise wrong("--take-profit, --stop-loss", str(error)) from None

    @property
    def _implied(self) -> OrderType:
        """The plain meaning of the prices: a trail trails, a stop with a limit is a stop limit."""
        if self.trail is not None:
            return OrderType.TRAIL if self.limit_price is None else OrderType.TRAIL_LIMIT
        if self.offset is not None:
            return OrderType.RELATIVE
        if self.stop_price is not None:
            return OrderType.STOP if self.limit_price is None else OrderType.STOP_LIMIT
        return OrderType.MARKET if self.limit_price is None else OrderType.LIMIT

    async def _contract(self, desk: Desk) -> Contract:
        if self.expiry is None and self.strike is None and self.right is None:
            if self.long_strike is not None:
                raise wrong("--long-strike", "it belongs to a spread of options: give --expiry, --strike and --right")
            return await desk.broker.underlying(self.symbol)
        if self.expiry is None or self.strike is None or self.right is None:
            raise wrong("order", "an option needs all of --expiry, --strike and --right")
        contract = await desk.broker.option(self.symbol, expiry=self.expiry, strike=self.strike, right=self.right)
        if self.long_strike is None:
            return contract
        other = await desk.broker.option(self.symbol, expiry=self.expiry, strike=self.long_strike, right=self.right)
        assert contract.sec_type is other.sec_type is SecType.OPTION, "both are options by how they were found"
        return combo_of(((contract, 1), (other, -1)))


_T = TypeVar("_T")


def _choice(name: str, text: str, choices: Mapping[str, _T]) -> _T:
    found = choices.get(text.strip().casefold())
    if found is None:
        raise wrong(name, f"{text} is none of {', '.join(choices)}")
    return found


def _above_zero(name: str, text: str) -> Decimal:
    value = number(name, text)
    if value <= 0:
        raise wrong(name, f"{text} is not above 0")
    return value
