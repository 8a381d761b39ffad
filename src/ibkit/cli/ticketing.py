"""Arguments of `ibkit orders place` → the very tickets that will be sent."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from typing import TYPE_CHECKING

from ibkit.cli.asking import number, wrong
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
