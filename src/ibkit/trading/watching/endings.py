"""How a sold option ended, and the record of it.

    its orders bought it back          stopped_out, take_profit or manual, by the order that bought last
    it is gone, and others bought      manual, at what they paid
    it is gone, and stock came         assigned; the option itself ends at 0, the rest is the stock's; of a spread
                                       nobody tells a price, since its bought leg is still there
    it is gone after its last day      expired at 0
    it is gone, and nothing says why   manual, at a price that nobody told
Source: requirement TRD-20.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal

from ibkit.clock import Clock
from ibkit.errors import IbkitError
from ibkit.model import Fill, OrderId, Position, Right, SecType, Side, average_price
from ibkit.trading.intent import Intent
from ibkit.trading.ports import Broker, FillsRead, Journal
from ibkit.trading.selling import book
from ibkit.trading.selling.coverage import Watched
from ibkit.trading.selling.ports import Trades
from ibkit.trading.selling.standing import exit_reason_of, role_of
from ibkit.trading.selling.trade import ExitReason, OrderLink, OrderRole, Trade, TradeStatus
from ibkit.trading.timeline import Observer, Step, StepKind

__all__ = ["Ending", "Endings", "how_it_ended"]

_FILLS_DAYS = 7
"""How far back IBKR tells executions. Source: docs/facts/orders.md §11."""
_FEES_WITHIN = timedelta(days=1)
_NOTHING = Decimal(0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Ending:
    """price: per unit; None where nobody told it. others: executions of orders that are not ours."""

    reason: ExitReason
    price: Decimal | None
    others: tuple[Fill, ...] = ()


def how_it_ended(
    watched: Watched, positions: Iterable[Position], fills: Iterable[Fill], *, now: datetime, gone: Decimal
) -> Ending:
    """gone: how much of it vanished without an order of ours."""
    ours = tuple(
        (each.intent.average_price, each.intent.filled)
        for each in watched.exits
        if each.intent.filled and each.intent.average_price is not None
    )
    if not gone:
        last = max((each.intent for each in watched.exits if each.intent.filled), key=lambda one: one.updated_at)
        return Ending(reason=exit_reason_of(last), price=average_price(ours))
    others = _bought_by_others(watched, fills)
    if others:
        paid = tuple((fill.price, fill.quantity) for fill in others)
        return Ending(reason=ExitReason.MANUAL, price=average_price((*ours, *paid)), others=others)
    worthless = average_price((*ours, (_NOTHING, gone)))
    if _stock_came(watched, positions, gone):
        return Ending(reason=ExitReason.ASSIGNED, price=None if watched.contract.legs else worthless)
    if watched.past_expiry(now):
        return Ending(reason=ExitReason.EXPIRED, price=worthless)
    return Ending(reason=ExitReason.MANUAL, price=None)


def _bought_by_others(watched: Watched, fills: Iterable[Fill]) -> tuple[Fill, ...]:
    ours = {each.intent.order_id for each in watched.exits}
    since = watched.trade.entry_time or watched.trade.created_at
    return tuple(
        fill
        for fill in fills
        if fill.conid == watched.contract.conid
        and fill.side is Side.BUY
        and fill.at >= since
        and fill.order_id not in ours
    )


def _stock_came(watched: Watched, positions: Iterable[Position], gone: Decimal) -> bool:
    """The account holds the stock that an assignment of so many brings: bought for a put, sold for a call."""
    contract = watched.contract
    sign = 1 if watched.trade.right is Right.PUT else -1
    held = sum((p.quantity for p in positions if _is_underlying(p, watched)), _NOTHING)
    return held * sign >= gone * contract.multiplier


def _is_underlying(position: Position, watched: Watched) -> bool:
    if position.contract.sec_type is not SecType.STOCK:
        return False
    sold = [leg.contract for leg in watched.contract.legs if leg.ratio > 0] or [watched.contract]
    underlying = sold[0].underlying_conid
    return position.contract.conid == underlying or (
        underlying is None and position.contract.symbol == watched.trade.symbol
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Endings:
    """Writes the records of what is over, with executions and commissions."""

    broker: Broker
    journal: Journal
    trades: Trades
    clock: Clock
    observe: Observer

    async def sold_nothing(self, trade: Trade) -> None:
        if trade.entry_price is None:
            await self.trades.put(book.failed(trade, at=self.clock.now()))

    async def write(self, watched: Watched, positions: Iterable[Position], *, gone: Decimal) -> Trade:
        """The closed record, stored. StorageError; executions that cannot be read are added by a later round."""
        assert watched.entry is not None, "what ended was sold"
        now = self.clock.now()
        fills = await self._fills(watched.trade)
        ending = how_it_ended(watched, positions, fills, now=now, gone=gone)
        links = [book.link_of(watched.entry, OrderRole.ENTRY)]
        links += [
            book.link_of(each.intent, role_of(each.intent))
            for each in watched.exits
            if each.intent.order_id is not None
        ]
        links += await self._links_of_others(watched, ending.others)
        stop, profit = (_last(watched, role) for role in (OrderRole.STOP, OrderRole.PROFIT))
        price = watched.trade.stop_loss_price if stop is None else stop.ticket.stop_price
        recorded = book.sold(
            book.with_links(watched.trade, *links), watched.entry, at=now, stop=stop, stop_loss=price, profit=profit
        )
        ended = book.closed(recorded, at=now, price=ending.price, reason=ending.reason)
        ended = book.with_fills(ended, fills, at=now)
        await self.trades.put(ended)
        at = "" if ending.price is None else f" at {ending.price}"
        self._tell(f"{ended.label} is over: {ending.reason.value}{at}")
        return ended

    async def complete_fees(self, trades: Iterable[Trade]) -> None:
        """Add to lately closed records what IBKR tells of their executions a moment later: the commissions."""
        now = self.clock.now()
        due = [trade for trade in trades if _lacks_fees(trade, now)]
        fills = await self._fills(due[0]) if due else ()
        for trade in due:
            fuller = book.with_fills(trade, fills, at=now)
            if dataclasses.replace(fuller, updated_at=trade.updated_at) != trade:
                await self.trades.put(fuller)
                self._tell(f"{trade.label}: executions and commissions stored")

    async def _links_of_others(self, watched: Watched, fills: tuple[Fill, ...]) -> list[OrderLink]:
        links: dict[OrderId, OrderLink] = {}
        for fill in fills:
            if fill.order_id is None or fill.order_id in links:
                continue
            intent = await self.journal.by_order(watched.trade.account_id, fill.order_id)
            if intent is not None:
                links[fill.order_id] = book.link_of(intent, OrderRole.CLOSE)
        return list(links.values())

    async def _fills(self, trade: Trade) -> tuple[Fill, ...]:
        try:
            read: FillsRead = await self.broker.read_fills(trade.account_id, days=_FILLS_DAYS)
            if read.first:  # a session's first read is empty
                read = await self.broker.read_fills(trade.account_id, days=_FILLS_DAYS)
        except IbkitError as error:
            self._tell(f"{trade.label}: executions not read ({error.code}: {error.message})")
            return ()
        return read.fills

    def _tell(self, text: str) -> None:
        self.observe(Step(kind=StepKind.RECORD, at=self.clock.now(), text=text))


def _last(watched: Watched, role: OrderRole) -> Intent | None:
    """The latest order of that role that was at the broker."""
    ours = (each.intent for each in reversed(watched.exits))
    return next((intent for intent in ours if intent.order_id is not None and role_of(intent) is role), None)


def _lacks_fees(trade: Trade, now: datetime) -> bool:
    if trade.status is not TradeStatus.CLOSED or trade.exit_time is None or now - trade.exit_time > _FEES_WITHIN:
        return False
    bought = trade.exit_reason in (ExitReason.STOPPED_OUT, ExitReason.TAKE_PROFIT, ExitReason.MANUAL)
    return trade.entry_commission is None or (bought and trade.exit_commission is None)
