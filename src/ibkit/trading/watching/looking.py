"""One look at an account for the watchdog: the open trades with their orders, then what the broker shows.

The journal is read first. So a stop that somebody else places meanwhile is either seen, or has the key that we would
give ours, and the gateway finds it again instead of placing a second one.
Source: docs/facts/orders.md §9 (the list); reliability rules §4.4.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta

from ibkit.clock import Clock
from ibkit.errors import IbkitError, Unreachable
from ibkit.model import AccountId, Key, Order, OrderId, Position
from ibkit.trading.events import Claimed, IntentId, Operation, TakenOver
from ibkit.trading.gateway import OrderGateway
from ibkit.trading.intent import Intent, IntentState
from ibkit.trading.ports import Broker, OrdersRead
from ibkit.trading.reconcile import LOOK_PAUSE_S
from ibkit.trading.selling.coverage import ExitOrder, Verdict, Watched, judge
from ibkit.trading.selling.ports import Trades
from ibkit.trading.selling.trade import OrderRole, Trade, TradeStatus

__all__ = ["IN_HANDS", "Looker", "Sight"]

IN_HANDS = timedelta(seconds=60)
"""How long a trade is left to the process that has just sold it, or just cancelled its stop, while that one lives."""
_LIST_TRIES = 3
_RECENT = 200


@dataclass(frozen=True, slots=True, kw_only=True)
class Sight:
    """What one look showed. positions and orders are the broker's; `watched` is taken from the journal before."""

    at: datetime
    watched: tuple[Watched, ...]
    positions: tuple[Position, ...]
    orders: OrdersRead

    @property
    def verdicts(self) -> tuple[Verdict, ...]:
        return judge(self.watched, self.positions, self.orders.orders, now=self.at)


@dataclass(frozen=True, slots=True, kw_only=True)
class Looker:
    """alive: whether the process that an intent names as its owner still runs; True where that cannot be known.

    me: our own name as an owner.
    """

    broker: Broker
    gateway: OrderGateway
    trades: Trades
    clock: Clock
    account_id: AccountId
    alive: Callable[[str], bool]
    me: str

    async def look(self, *, since_s: float = 0.0) -> Sight:
        """Errors of the broker and the stores; a list that IBKR does not call complete is Unreachable.

        since_s: a complete list that was read so lately will do; only where nothing is sent because of it.
        """
        known = await self.known()
        orders = await self._complete_list(since_s)
        positions = await self.broker.positions(self.account_id)
        rows = {row.order_id: row for row in orders.orders}
        watched = tuple([await self._as_shown(each, rows) for each in known])
        return Sight(at=self.clock.now(), watched=watched, positions=positions, orders=orders)

    async def known(self) -> tuple[Watched, ...]:
        """The open trades with their orders, as the journal has them: no call."""
        opened = await self.trades.trades(account_id=self.account_id, status=TradeStatus.OPEN)
        return tuple([await self._from_journal(trade) for trade in opened])

    async def _complete_list(self, since_s: float) -> OrdersRead:
        if since_s:
            recent = await self.broker.recent_orders(self.account_id, within_s=since_s)
            if recent.complete and not recent.first:
                return recent
        for attempt in range(_LIST_TRIES):
            if attempt:
                await self.clock.sleep(LOOK_PAUSE_S)
            read = await self.broker.read_orders(self.account_id)
            if read.complete and not read.first:
                return read
        raise Unreachable(
            f"IBKR does not show a complete list of the orders of {self.account_id}",
            remedy="It is looked at again in a moment.",
        )

    async def _from_journal(self, trade: Trade) -> Watched:
        keys: dict[OrderRole, list[Key]] = {}
        for link in trade.links:
            keys.setdefault(link.role, []).append(link.key)
        entry = await self._first(keys.pop(OrderRole.ENTRY, []))
        found: dict[IntentId, Intent] = {}
        if entry is not None:
            for intent in await self.gateway.journal.reducing(entry.intent_id):
                found[intent.intent_id] = intent
        for key in (key for linked in keys.values() for key in linked):
            linked_intent = await self.gateway.find(key)
            if linked_intent is not None:
                found[linked_intent.intent_id] = linked_intent
        exits = (each for each in found.values() if each.operation is Operation.PLACE)
        in_order = _each_order_once(sorted(exits, key=lambda each: (each.planned.at, each.ref)))
        busy = "" if entry is None else await self._busy(entry, in_order)
        return Watched(trade=trade, entry=entry, exits=tuple(ExitOrder(intent=each) for each in in_order), busy=busy)

    async def _first(self, keys: list[Key]) -> Intent | None:
        return await self.gateway.find(keys[0]) if keys else None

    async def _as_shown(self, watched: Watched, rows: dict[OrderId, Order]) -> Watched:
        """Every order of it as the broker shows it: by the list, or by number where the list does not have it."""
        entry = watched.entry
        if entry is not None:
            entry = (await self._shown(entry, rows)).intent
        exits = [await self._shown(each.intent, rows) for each in watched.exits]
        return dataclasses.replace(watched, entry=entry, exits=tuple(exits))

    async def _shown(self, intent: Intent, rows: dict[OrderId, Order]) -> ExitOrder:
        if intent.state is not IntentState.ACKED or intent.order_id is None:
            return ExitOrder(intent=intent)
        row = rows.get(intent.order_id)
        if row is None:
            try:
                row = await self.broker.order(intent.order_id)
            except IbkitError:
                row = None
        if row is None:
            return ExitOrder(intent=intent, unseen=True)
        return ExitOrder(intent=await self.gateway.tracker.seen(intent, row), row=row)

    # -- who else is at work on it ----------------------------------------------------------------------------------

    async def _busy(self, entry: Intent, exits: list[Intent]) -> str:
        """The living process that sold it or cancelled an exit of it within the last minute, other than ours."""
        now = self.clock.now()
        recent = [entry] if entry.sent_at is not None and now - entry.sent_at < IN_HANDS else []
        numbers = {each.order_id for each in exits if each.order_id is not None}
        # Newest first, so the first that is older ends it.
        for intent in await self.gateway.journal.recent(limit=_RECENT):
            if now - intent.planned.at >= IN_HANDS:
                break
            if intent.operation is Operation.CANCEL and intent.planned.target in numbers:
                recent.append(intent)
        for intent in recent:
            owner = await self._owner(intent)
            if owner and owner != self.me and self.alive(owner):
                return f"process {owner}"
        return ""

    async def _owner(self, intent: Intent) -> str:
        events = await self.gateway.journal.events(intent.intent_id)
        return next((event.owner for event in reversed(events) if isinstance(event, Claimed | TakenOver)), "")


def _each_order_once(exits: list[Intent]) -> list[Intent]:
    """Without the intents of groups that were found by an order which is followed as a leg by itself."""
    legs = {each.order_id for each in exits if each.planned.leg_of is not None and each.order_id is not None}
    return [each for each in exits if each.planned.leg_of is not None or each.order_id not in legs]
