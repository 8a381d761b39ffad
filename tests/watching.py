"""A sold option under watch, with fakes around it: what a person does by hand at the broker, and what is left of it."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from datetime import timedelta
from decimal import Decimal
from zoneinfo import ZoneInfo

from fakes import ACCOUNT, Held, option
from ibkit.model import Contract, Key, OrderId, OrderStatus, OrderTicket, OrderType, Side, TimeInForce
from ibkit.trading.risk import TradingHours
from ibkit.trading.selling.exits import ExitPlan
from ibkit.trading.selling.trade import Trade
from trading_room import Room, make_room

__all__ = ["KEY", "MULTIPLE", "PUT", "Watch", "sold"]

KEY = Key("watched-0123456789abcdef")
PUT = option()
MULTIPLE = Decimal(3)
NEW_YORK = ZoneInfo("America/New_York")


@dataclass
class Watch:
    """room: where it happens. An option is sold, protected, and its fills are so old that positions show them."""

    room: Room

    @property
    def trade(self) -> Trade:
        return next(iter(self.room.trades.rows.values()))

    @property
    def stops(self) -> list[Held]:
        """Stops that work at the broker."""
        return [held for held in self.room.broker.accepted if _is_stop(held) and held.status.working]

    @property
    def position(self) -> Decimal:
        signed = (h.filled if h.ticket.side is Side.BUY else -h.filled for h in self.room.broker.accepted)
        return sum(signed, Decimal(0))

    @property
    def open_alerts(self) -> list[str]:
        return [alert.message for alert in self.room.journal.alerts.all if alert.closed_at is None]

    def plan(self, plan: ExitPlan | None) -> None:
        trade = self.trade
        self.room.trades.rows[trade.trade_id] = dataclasses.replace(trade, exit_plan=plan)

    def cancel_by_hand(self, held: Held) -> None:
        held.status = OrderStatus.CANCELLED

    def enter_by_hand(
        self,
        side: Side,
        quantity: str,
        order_type: OrderType = OrderType.MARKET,
        *,
        contract: Contract = PUT,
        **prices: Decimal,
    ) -> Held:
        """An order that somebody types in elsewhere; it works."""
        ticket = OrderTicket(
            account_id=ACCOUNT,
            contract=contract,
            side=side,
            order_type=order_type,
            quantity=Decimal(quantity),
            tif=TimeInForce.GTC,
            **prices,  # type: ignore[arg-type]
        )
        broker = self.room.broker
        number = OrderId(str(9_000 + len(broker.accepted)))
        held = Held(number, ticket, None, OrderStatus.PRE_SUBMITTED, self.room.clock.now(), broker.session)
        broker.accepted.append(held)
        return held

    def trade_by_hand(self, side: Side, quantity: str, price: str, *, contract: Contract = PUT) -> None:
        held = self.enter_by_hand(side, quantity, contract=contract)
        self.room.broker.fill(held.order_id, Decimal(quantity), Decimal(price))

    def orders(self) -> list[str]:
        """What was sent since `calls` was cleared, in short."""
        verbs = ("place", "cancel", "modify")
        return [call for call in self.room.broker.calls if call.split()[0] in verbs]


def _is_stop(held: Held) -> bool:
    return held.ticket.order_type in (OrderType.STOP, OrderType.TRAIL)


async def sold(plan: ExitPlan | None = None, *, quantity: int = 3, room: Room | None = None) -> Watch:
    """`quantity` puts sold at 0.62 with a stop at 1.86, two minutes ago."""
    room = room or make_room()
    keep_hours(room)
    await room.gateway.recover(ACCOUNT)
    result = await room.seller.sell_option_with_stop("SPY", 629, "P", MULTIPLE, quantity, "20261120", key=KEY)
    assert result.success, result
    watch = Watch(room)
    watch.plan(plan if plan is not None else ExitPlan(stop_multiple=MULTIPLE))
    room.clock.advance(120)
    room.broker.calls.clear()
    room.steps.clear()
    return watch


def keep_hours(room: Room) -> None:
    """The market is open from Monday to Friday, 9:30 to 16:00 in New York."""

    async def trading_hours(contract: Contract) -> TradingHours:
        today = room.clock.now().astimezone(NEW_YORK).replace(second=0, microsecond=0)
        days = [today + timedelta(days=number) for number in range(6)]
        spans = tuple(
            (day.replace(hour=9, minute=30), day.replace(hour=16, minute=0)) for day in days if day.weekday() < 5
        )
        return TradingHours(regular=spans, extended=spans, until=days[-1])

    room.broker.trading_hours = trading_hours  # type: ignore[method-assign]
