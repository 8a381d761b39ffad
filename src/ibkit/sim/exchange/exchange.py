"""The exchange: all orders ever, moved forward tick by tick, filled, cancelled, and brought through each close.

Orders come in through `desk` (questions, refusals, cOIDs); here they live. Everything is a function of the seed, the
requests and the times given: no clock is read.

Source: docs/facts/orders.md §1.3, §1.4, §1.7, §1.8, §7, §8.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from ibkit.sim.exchange import groups, matching, settlement
from ibkit.sim.exchange.account_events import AccountEvents
from ibkit.sim.exchange.books import trade_day
from ibkit.sim.exchange.desk import OrderDesk
from ibkit.sim.exchange.fills import Fills, shown
from ibkit.sim.exchange.holdings import Holdings
from ibkit.sim.exchange.ledger import ledger_row
from ibkit.sim.exchange.order import Execution, SimOrder, State
from ibkit.sim.exchange.tickets import SimTicket

if TYPE_CHECKING:
    from ibkit.sim.market.quotes import MarketQuote, Ticks
    from ibkit.sim.world import World

__all__ = ["Exchange"]

_ZERO = Decimal(0)
_ENDED = frozenset({"filled", "cancelled", "rejected", "declined"})
_TICK = timedelta(seconds=1)


class Exchange:
    """Orders by id, newest last. `desk` takes them in, `holdings` keeps the scenarios' positions,
    `events` is what happens to accounts without an order."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._now = world.now
        self._next_id = world.rng("order-ids").randrange(1_000_000_000, 2_000_000_000)
        self._fills = Fills(world)
        self._ticks: dict[int | str, Ticks] = {}
        self._not_ended: dict[int, SimOrder] = {}
        self.orders: dict[int, SimOrder] = {}
        self.desk = OrderDesk(world, self)
        self.holdings = Holdings(world)
        self.events = AccountEvents(world)
        self.holdings.apply()

    # --- time ------------------------------------------------------------------------------------------------------

    def advance(self, now: datetime) -> None:
        """Let the market move up to `now`: fills, elections, cancels, opens and closes, each at its own moment."""
        self.holdings.apply()
        if now <= self._now:
            return
        for moment, what in self._bells(self._now, now):
            self._run(self._now, moment)
            self._now = moment
            if what == "close":
                self._close(moment)
            else:
                settlement.settle_at_open(self._world, moment)
        self._run(self._now, now)
        self._now = now

    def _bells(self, start: datetime, end: datetime) -> Iterator[tuple[datetime, str]]:
        """Opens and closes in (start, end]."""
        day, last = trade_day(start), trade_day(end)
        while day <= last:
            session = self._world.calendar.session(day)
            if session is not None:
                for moment, what in zip(session, ("open", "close"), strict=True):
                    if start < moment <= end:
                        yield moment, what
            day += timedelta(days=1)

    def _run(self, start: datetime, end: datetime) -> None:
        """Everything that happens in (start, end], the earliest first; no bell rings inside."""
        self._ticks = {}
        hits: dict[int, tuple[object, matching.Hit | None]] = {}
        while True:
            found: list[tuple[datetime, int, str, matching.Hit | None]] = []
            for order in self._open_orders():
                found += [(at, order.id, what, None) for at, what in self._appointments(order) if at <= end]
                hit = self._hit(order, start, end, hits)
                if hit is not None:
                    found.append((hit.at, order.id, hit.kind, hit))
            if not found:
                break
            at, order_id, what, hit = min(found, key=lambda event: event[:2])
            self._happen(self.orders[order_id], max(at, start), what, hit)
        for order in self._open_orders():
            self._carry(order)
        self._ticks = {}

    def _carry(self, order: SimOrder, until: datetime | None = None) -> None:
        """Keep what an order has seen of this run's ticks, where the next ones build on it."""
        ticks = self._ticks.get(order.ticket.instrument.key)
        if ticks is None or not (order.waits or order.ticket.order_type == "REL") or not self._may_trade(order):
            return
        seen = matching.carried(order, ticks, self._world.quirks, until)
        order.last_hit = seen.last_hit
        self.move_stop(order, seen.stop)
        if order.ticket.order_type == "REL":
            order.limit_now = seen.limit

    def move_stop(self, order: SimOrder, stop: Decimal | None) -> None:
        """The stop of a trailing order stands elsewhere; its limit keeps its distance, unless the quirk holds it."""
        ticket = order.ticket
        if not ticket.kind.trails or stop is None:
            return
        order.stop_now = stop
        if ticket.limit is not None and ticket.stop is not None and self._world.quirks.trail_limit == "follows":
            order.limit_now = ticket.limit + stop - ticket.stop

    @staticmethod
    def _appointments(order: SimOrder) -> list[tuple[datetime, str]]:
        return [(at, what) for at, what in ((order.cancel_at, "cancel"), (order.reject_at, "reject")) if at is not None]

    def _happen(self, order: SimOrder, at: datetime, what: str, hit: matching.Hit | None) -> None:
        if what == "cancel":
            self.end(order, "cancelled", at)
        elif what == "reject":
            self.end(order, "rejected", at, reason=order.reason)
        elif what == "elect":
            assert hit is not None
            self.move_stop(order, hit.stop)
            self._elect(order, at)
        else:
            assert hit is not None
            order.since = at
            # A market that opens beyond a resting limit gives the opening price.
            self._trade(order, at, None if self._opens_at(at) else hit.price)

    def _opens_at(self, at: datetime) -> bool:
        session = self._world.calendar.session(trade_day(at))
        return session is not None and session[0] == at

    def _hit(
        self, order: SimOrder, start: datetime, end: datetime, hits: dict[int, tuple[object, matching.Hit | None]]
    ) -> matching.Hit | None:
        if not self._may_trade(order) or order.ticket.kind.at_close:
            return None
        if order.ticket.tif == "OPG":
            return self._opening_hit(order, start, end)
        key = (order.since, order.elected_at, id(order.ticket), len(order.executions))
        kept = hits.get(order.id)
        if kept is not None and kept[0] == key:
            return kept[1]
        instrument = order.ticket.instrument
        if instrument.key not in self._ticks:
            self._ticks[instrument.key] = self._world.market.ticks_of(instrument, start, end)
        hit = matching.next_hit(order, self._ticks[instrument.key], self._world.quirks)
        hits[order.id] = (key, hit)
        return hit

    def _opening_hit(self, order: SimOrder, start: datetime, end: datetime) -> matching.Hit | None:
        """An OPG order has one chance: the first tick of the next session."""
        at = self._world.calendar.next_open(order.placed_at) + _TICK
        return matching.Hit(at, "trade") if start < at <= end else None

    def _may_trade(self, order: SimOrder) -> bool:
        faults = self._world.faults
        if not order.working or faults.on("no-fill") or (order.stuck and faults.on("partial-fill")):
            return False
        return self.active_quantity(order) > 0

    def active_quantity(self, order: SimOrder) -> Decimal:
        return order.active_quantity(child_activation=self._world.quirks.child_activation)

    def _open_orders(self) -> list[SimOrder]:
        for order_id in [id_ for id_, order in self._not_ended.items() if order.state in _ENDED]:
            del self._not_ended[order_id]
        return [order for order in self._not_ended.values() if order.working]

    # --- what happens to an order ------------------------------------------------------------------------------

    def new_order(
        self,
        ticket: SimTicket,
        *,
        account: str,
        username: str,
        now: datetime,
        state: State,
        parent: SimOrder | None = None,
        origin: Any = "api",
    ) -> SimOrder:
        order = SimOrder(
            id=self._next_id,
            account=account,
            username=username,
            ticket=ticket,
            placed_at=now,
            request_id=self._world.request_id,
            state=state,
            since=now,
            parent=parent,
            origin=origin,
        )
        self._next_id += 1
        self.orders[order.id] = self._not_ended[order.id] = order
        if parent is not None:
            parent.children.append(order)
            order.group = str(parent.id)
        return order

    def accept(self, order: SimOrder, now: datetime) -> None:
        """Take an order on: it works from now (plus `fill_delay_s`), and trades at once where it can."""
        order.state = "live"
        order.accepted_at = now
        order.note(now, "accepted", self._world.request_id)
        self.restart_stop(order)
        order.since = now + timedelta(seconds=self._world.quirks.fill_delay_s)
        if order.since <= now or order.ticket.tif == "IOC":
            self.touch(order, now)
        if order.ticket.tif == "IOC" and order.working:
            self.end(order, "cancelled", now)

    def touch(self, order: SimOrder, at: datetime) -> None:
        """Let an order meet the market as it stands at this moment."""
        ticket, quirks = order.ticket, self._world.quirks
        if not self._may_trade(order) or ticket.tif == "OPG" or ticket.kind.at_close:
            return
        if not self._world.calendar.is_open(at):
            return
        if not order.waits:
            self._trade(order, at, None)
            return
        quote = self.quote(order, at)
        if ticket.kind.trails:
            self.move_stop(order, matching.trailed(order, quote, quirks))
        seen = matching.reading(ticket, order.stop, quote, quirks)
        if seen is not None and matching.confirms(ticket, order.last_hit, seen, quirks):
            self._elect(order, at)
        else:
            order.last_hit = seen

    def quote(self, order: SimOrder, at: datetime) -> MarketQuote:
        """The quote of what an order is for."""
        return self._world.market.quote_of(order.ticket.instrument, at)

    def restart_stop(self, order: SimOrder) -> None:
        """A trailing stop stands where its ticket puts it at first, or nowhere yet; a pegged limit rests nowhere."""
        order.stop_now = order.ticket.stop if order.ticket.kind.trails else None
        order.limit_now = None

    def _elect(self, order: SimOrder, at: datetime) -> None:
        order.elected_at = order.since = at
        order.last_hit = None
        order.note(at, "elected", 0)
        self.touch(order, at)

    def _trade(self, order: SimOrder, at: datetime, price: Decimal | None) -> None:
        """Fill what is active of an order at a price, or at the touch if the quote allows it."""
        if price is None and not order.waits:
            price = matching.touch_price(order, self.quote(order, at))
        if price is not None:
            self._fill(order, at, price, self._quantity_to_fill(order))
        if order.ticket.tif == "OPG" and order.working:
            self.end(order, "cancelled", at)

    def _quantity_to_fill(self, order: SimOrder) -> Decimal:
        quantity = self.active_quantity(order)
        if self._world.faults.on("partial-fill") and order.total > 1:
            order.stuck = True
            quantity = min(quantity, order.total * 2 // 3 - order.filled)
        return max(quantity, _ZERO)

    def _fill(self, order: SimOrder, at: datetime, price: Decimal, quantity: Decimal) -> None:
        if quantity <= 0:
            return
        for child in order.children:
            self._carry(child, at)
        left = quantity
        for part in self._parts(order, at, quantity):
            execution = self._fills.execute(order, at, price, part)
            order.executions.append(execution)
            facts = {"price": execution.price, "quantity": part, "commission": execution.commission}
            order.note(at, "filled", 0, execution_id=execution.id, **facts)
            assert order.filled <= order.total, "no order is filled beyond its size"
            left -= part
        assert left == 0, "the parts are the whole"
        order.since = at
        if order.remaining == 0:
            order.state = "filled"
            order.ended_at = at
            order.cancel_at = order.reject_at = None
        groups.reduce_group(self._world, order, quantity, at)
        for child in order.children:
            child.since = at
            self.touch(child, at)

    def _parts(self, order: SimOrder, at: datetime, quantity: Decimal) -> Iterator[Decimal]:
        """One execution per displayed size."""
        quote = self.quote(order, at)
        displayed = Decimal((quote.ask_size if order.ticket.buys else quote.bid_size) or 0)
        if not self._world.quirks.split_executions or displayed < 1:
            displayed = quantity
        while quantity > 0:
            part = min(quantity, displayed)
            yield part
            quantity -= part

    def end(self, order: SimOrder, state: State, at: datetime, *, reason: str | None = None) -> None:
        """Cancel or reject an order; the children of one that filled nothing end with it."""
        order.state = state
        order.reason = reason
        order.ended_at = at
        order.cancel_at = order.reject_at = None
        order.note(at, state, 0, **({"reason": reason} if reason else {}))
        for child in order.children:
            if not child.working:
                continue
            if order.filled <= child.filled:
                self.end(child, state, at, reason=reason)
            else:
                child.ticket = child.ticket.with_quantity(min(child.total, order.filled))

    def request_cancel(self, order: SimOrder, now: datetime) -> bool:
        """Begin to cancel; True where it is done at once. Bracket siblings go with it (§1.7 item 8)."""
        if order.state == "pending_cancel":
            return False
        order.note(now, "cancel requested", self._world.request_id)
        delay = self._world.quirks.cancel_delay_s
        if delay <= 0:
            self.end(order, "cancelled", now)
        else:
            order.state = "pending_cancel"
            order.cancel_at = now + timedelta(seconds=delay)
        for sibling in groups.cancelled_along(self._world, order):
            if sibling.state == "live":
                self.request_cancel(sibling, now)
        return delay <= 0

    def _close(self, at: datetime) -> None:
        """The closing bell: orders on the close trade, day orders end, options expire, the day's values are kept."""
        for order in self._open_orders():
            if order.ticket.kind.at_close and order.placed_at < at and self._may_trade(order):
                self._trade_at_close(order, at)
        for order in list(self.orders.values()):
            if order.placed_at >= at or order.ticket.tif == "GTC":
                continue
            if order.working and order.ticket.tif == "DAY":
                self.end(order, "cancelled", at)
            elif order.state in ("parked", "saved"):
                self.desk.forget(order, at)
        settlement.settle_at_close(self._world, at)
        self.events.at_close(at)
        self._world.books.close_day(at)

    def _trade_at_close(self, order: SimOrder, at: datetime) -> None:
        """At the session's last price, where the limit allows. [sim] Source of the types: docs/facts/orders.md §1.3."""
        quote, limit = self.quote(order, at), order.limit
        price = None if quote.halted else quote.last
        if price is None or (limit is not None and (price > limit if order.ticket.buys else price < limit)):
            return
        self._fill(order, at, price, self._quantity_to_fill(order))

    # --- by hand, for tests and control endpoints --------------------------------------------------------------

    def enter_external(self, account_id: str, ticket: SimTicket, now: datetime) -> SimOrder:
        """An order typed into TWS: no cOID, no question."""
        order = self.new_order(ticket, account=account_id, username="", now=now, state="live", origin="tws")
        self.accept(order, now)
        return order

    def fill(self, order_id: int, price: Decimal, quantity: Decimal | None, now: datetime) -> SimOrder:
        """Fill an order that works, whatever the market says. Raises KeyError, or ValueError if it cannot be."""
        order = self.orders[order_id]
        quantity = order.remaining if quantity is None else quantity
        if not order.working or not 0 < quantity <= order.remaining:
            raise ValueError(f"order {order_id} is {order.state} with {order.remaining} remaining")
        self._fill(order, now, price, quantity)
        if order.waits:
            order.elected_at = now
        return order

    def fill_in_a_rush(self, order: SimOrder, at: datetime) -> None:
        """Fill what is active of an order at its own price, before anything of its group could be taken back."""
        quote = self.quote(order, at)
        touch = quote.ask if order.ticket.buys else quote.bid
        if order.waits:
            order.elected_at = at
            order.note(at, "elected", 0)
        price = next((p for p in (order.limit, order.stop, touch, quote.mark) if p is not None), None)
        if price is not None:
            self._fill(order, at, price, self.active_quantity(order))

    # --- looking ---------------------------------------------------------------------------------------------------

    def of_today(self, account_id: str, now: datetime) -> list[SimOrder]:
        """The account's orders that a live list shows: open ones and those that ended today, newest first (§8)."""
        today = trade_day(now)
        shown = [
            order
            for order in self.orders.values()
            if order.account == account_id
            and order.state != "declined"
            and (order.ended_at is None or trade_day(order.ended_at) >= today)
        ]
        return sorted(shown, key=lambda order: order.id, reverse=True)

    def executions(self, account_id: str, now: datetime, *, days: int) -> list[Execution]:
        """Executions of the last `days` New York days, today included, newest first."""
        first = trade_day(now) - timedelta(days=days - 1)
        found = [
            part
            for order in self.orders.values()
            if order.account == account_id
            for execution in order.executions
            if trade_day(execution.at) >= first
            for part in shown(self._world, execution)
        ]
        return sorted(found, key=lambda execution: (execution.at, execution.id), reverse=True)

    def ledger_rows(self) -> list[dict[str, Any]]:
        """The truth about every order that ever came this far, oldest first, with what happened to it."""
        return [ledger_row(order) for order in self.orders.values()]

    def as_dict(self) -> dict[str, Any]:
        """For the world dump."""
        return {"orders": self.ledger_rows(), "questions": self.desk.as_list()}
