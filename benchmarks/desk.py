"""A broker that answers at once, so that what is measured is ours; where asked it keeps IBKR's pace.

Fits `trading.ports.Broker` as far as stocks go. What it has taken it shows in its lists.
"""

from __future__ import annotations

import dataclasses
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any, cast

from ibkit.clock import Clock
from ibkit.model import (
    Accepted,
    Account,
    AccountId,
    Answer,
    CancelAck,
    Conid,
    Contract,
    Environment,
    Increments,
    Key,
    Order,
    OrderId,
    OrderStatus,
    OrderTicket,
    OrderType,
    Position,
    Quote,
    Ref,
    SecType,
    SendPermit,
    Side,
    Username,
)
from ibkit.store.journal import SqliteJournal
from ibkit.trading.gateway import OrderGateway
from ibkit.trading.ports import Broker, FillsRead, OrdersRead, SessionMark
from ibkit.trading.risk import DailyPnl, Layer, LimitChange, SessionHealth, TradingHours

ROOT = Path(__file__).resolve().parent.parent
NOW = datetime(2026, 11, 20, 15, 30, tzinfo=UTC)
ACCOUNT = AccountId("DU1234567")
USER = Username("bench")
AAPL = Contract(Conid(265598), "AAPL", SecType.STOCK)
_GRID = Increments(((Decimal(0), Decimal("0.01")),))
_WIDE = {
    "orders_per_second": "off",
    "orders_per_minute": "off",
    "max_active_orders": "off",
    "max_daily_value": "off",
    "repeat_breaker": "off",
    "max_exposure": "off",
    "max_position": "off",
}


def ticket(number: int = 0, account_id: AccountId = ACCOUNT) -> OrderTicket:
    """A limit order at a price of its own, so that none looks like a repetition."""
    return OrderTicket(
        account_id=account_id,
        contract=AAPL,
        side=Side.BUY,
        order_type=OrderType.LIMIT,
        quantity=Decimal(1),
        limit_price=Decimal("187.25") + Decimal(number % 500) / 100,
    )


def key(word: str, number: int) -> Key:
    return Key(f"bench-{word}-{number:010}")


def gateway(broker: DeskBroker, journal: SqliteJournal) -> OrderGateway:
    return OrderGateway(
        cast("Broker", broker),  # what these measurements ask of it
        journal,
        environment=Environment.PAPER,
        risk=journal.risk,
        clock=broker.clock,
        alerts=journal.alerts,
    )


async def widen(journal: SqliteJournal, at: datetime) -> None:
    """Raises what would stop hundreds of orders in a row; every control still runs."""
    for name, new in _WIDE.items():
        await journal.risk.change(
            LimitChange(
                environment=Environment.PAPER,
                layer=Layer.ENVIRONMENT,
                whose=Environment.PAPER.value,
                name=name,
                new=new,
                by="bench",
                note="bench",
                at=at,
            )
        )


class DeskBroker:
    def __init__(self, clock: Clock, username: Username = USER, accounts: tuple[AccountId, ...] = (ACCOUNT,)) -> None:
        self.clock = clock
        self.username = username
        self.orders: dict[OrderId, Order] = {}
        self.begun: list[float] = []
        """When each order began to leave."""
        self.cancelled_at: list[float] = []
        self.lists = 0
        self._accounts = accounts
        self._list_pause_s, self._pause_s = 0.0, 0.0
        self._next_list, self._next_call = 0.0, 0.0

    def keep_pace(self, *, calls_per_s: float, list_pause_s: float) -> None:
        """From here on: so many calls a second of all kinds, and so long between two order lists of the session."""
        self._list_pause_s, self._pause_s = list_pause_s, 1 / calls_per_s

    def fill(self, order_id: OrderId) -> None:
        self.orders[order_id] = with_status(self.orders[order_id], OrderStatus.FILLED)

    # -- orders -------------------------------------------------------------------------------------------------------

    async def place(self, wish: OrderTicket, *, ref: Ref, permit: SendPermit | None = None, **_group: Any) -> Answer:
        await self._paced()
        if permit is not None:
            await permit.check()
        self.begun.append(self.clock.monotonic())
        order = row(OrderId(str(1_000_000 + len(self.orders))), wish, ref)
        self.orders[order.order_id] = order
        return Accepted(order.order_id, order.status, ref)

    async def cancel(self, _account: AccountId, order_id: OrderId, *, permit: SendPermit | None = None) -> CancelAck:
        await self._paced()
        if permit is not None:
            await permit.check()
        self.cancelled_at.append(self.clock.monotonic())
        self.orders[order_id] = with_status(self.orders[order_id], OrderStatus.CANCELLED)
        return CancelAck(order_id, "Request was submitted")

    async def order(self, order_id: OrderId) -> Order | None:
        await self._paced()
        return self.orders.get(order_id)

    async def read_orders(self, account_id: AccountId) -> OrdersRead:
        """The session's first list is empty and says so. Source: docs/facts/orders.md §9."""
        await self._paced()
        due, now = self._next_list, self.clock.monotonic()
        self._next_list = max(due, now) + self._list_pause_s
        if due > now:
            await self.clock.sleep(due - now)
        self.lists += 1
        if self.lists == 1:
            return OrdersRead((), complete=False, first=True, mark=await self.mark())
        rows = tuple(order for order in self.orders.values() if order.account_id == account_id)
        return OrdersRead(rows, complete=len(rows) < 1_000, first=False, mark=await self.mark())

    async def recent_orders(self, account_id: AccountId, *, within_s: float) -> OrdersRead:
        """As of the session's last list: nothing of somebody else is here."""
        return OrdersRead((), complete=True, first=False, mark=await self.mark())

    def orders_read_since(self, account_id: AccountId, asked_at: float) -> tuple[OrdersRead, ...]:
        """Nobody else reads lists here."""
        return ()

    async def read_fills(self, account_id: AccountId, *, days: int = 1) -> FillsRead:
        await self._paced()
        return FillsRead((), first=False, mark=await self.mark())

    async def _paced(self) -> None:
        due, now = self._next_call, self.clock.monotonic()
        self._next_call = max(due, now) + self._pause_s
        if due > now:
            await self.clock.sleep(due - now)

    # -- what the controls ask ----------------------------------------------------------------------------------------

    async def mark(self) -> SessionMark:
        return SessionMark("1", self.clock.now().date())

    async def is_paper(self) -> bool | None:
        return True

    async def accounts(self) -> tuple[Account, ...]:
        return tuple(
            Account(
                account_id=account_id,
                display_name="Bench",
                currency="USD",
                kind="INDIVIDUAL",
                environment=Environment.PAPER,
            )
            for account_id in self._accounts
        )

    async def positions(self, account_id: AccountId) -> tuple[Position, ...]:
        return ()

    async def increments(self, contract: Contract, *, side: Side) -> Increments:
        return _GRID

    async def quote(self, conid: Conid) -> Quote:
        return Quote(conid=conid, bid=Decimal("189.99"), ask=Decimal("190.01"), last=Decimal(190))

    async def quotes(self, conids: tuple[Conid, ...]) -> tuple[Quote, ...]:
        return tuple([await self.quote(conid) for conid in conids])

    async def daily_pnl(self, account_id: AccountId, *, select: bool = False) -> DailyPnl | None:
        return DailyPnl(daily=Decimal(0), net_liquidation=Decimal(1_000_000), at=self.clock.now())

    async def trading_hours(self, contract: Contract) -> TradingHours | None:
        day = (self.clock.now() - timedelta(hours=1), self.clock.now() + timedelta(hours=5))
        return TradingHours(regular=(day,), extended=(day,), until=day[1])

    async def exchange_rate(self, currency: str) -> Decimal | None:
        return Decimal(1)

    async def session_health(self) -> SessionHealth:
        return SessionHealth(authenticated=True, competing=False, at=self.clock.now(), skew_s=0.0)


def row(order_id: OrderId, wish: OrderTicket, ref: Ref, status: OrderStatus = OrderStatus.SUBMITTED) -> Order:
    return Order(
        order_id=order_id,
        account_id=wish.account_id,
        conid=wish.contract.conid,
        side=wish.side,
        order_type=wish.order_type.value,
        status=status,
        raw_status=status.value,
        total=wish.quantity,
        filled=Decimal(0),
        remaining=wish.quantity,
        limit_price=wish.limit_price,
        tif="CLOSE",
        ref=ref,
    )


def with_status(order: Order, status: OrderStatus) -> Order:
    filled = order.total if status is OrderStatus.FILLED else order.filled
    return dataclasses.replace(
        order,
        status=status,
        raw_status=status.value,
        filled=filled,
        remaining=order.total - filled,
        average_price=order.limit_price if filled else None,
    )
