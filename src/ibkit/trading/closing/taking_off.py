"""Taking the exits of a trade off before it is closed, and putting them back where the close fails.

The order matters: a stop that fills beside the close would turn the position round. Source: requirement TRD-19.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from decimal import Decimal

from ibkit.errors import IbkitError
from ibkit.model import Key, OrderTicket, Side
from ibkit.trading.events import Operation
from ibkit.trading.grids import grid_of
from ibkit.trading.intent import Intent, IntentState
from ibkit.trading.selling.exit_orders import ExitKeys, ExitOrders, Placed
from ibkit.trading.selling.standing import Exits, Standing, standing_of
from ibkit.trading.selling.trade import OrderRole, Trade
from ibkit.trading.timeline import StepKind

__all__ = ["TakenOff", "TradeExits"]


@dataclass(frozen=True, slots=True)
class TakenOff:
    """The exits of a trade, none of which works any more (or, for a close begun earlier, as they stand)."""

    exits: tuple[Exits, ...] = ()

    @property
    def filled(self) -> Decimal:
        """What they bought back before they were off."""
        return sum((each.filled for each in self.exits), Decimal(0))

    @property
    def ended_by(self) -> Exits | None:
        """The latest exits that closed their part of the position themselves."""
        ends = (Standing.STOPPED_OUT, Standing.PROFIT_TAKEN)
        return next((each for each in reversed(self.exits) if standing_of(each) in ends), None)

    @property
    def protecting(self) -> Decimal:
        """What is covered by stops that work."""
        return sum((e.quantity - e.filled for e in self.exits if standing_of(e) is Standing.PROTECTED), Decimal(0))

    @property
    def parts(self) -> tuple[tuple[Decimal, Decimal], ...]:
        """Average price and quantity of what each of them bought back."""
        members = (member for each in self.exits for member in each.members)
        return tuple((m.average_price, m.filled) for m in members if m.filled and m.average_price is not None)

    @property
    def removed(self) -> Exits | None:
        """The latest that were cancelled and so may be put back."""
        return next((each for each in reversed(self.exits) if each.stop.state is IntentState.CANCELLED), None)


@dataclass(frozen=True, slots=True)
class TradeExits:
    orders: ExitOrders

    async def take_off(self, trade: Trade, entry: Intent | None, *, begun: bool) -> TakenOff:
        """Cancel what works of the trade's exits, the take profit first; an error where one cannot be proven dead.

        begun: the close was sent by an earlier run, so that what stands now was put back on purpose: only looked at.
               So are those of a trade of which nothing is held.
        """
        found = []
        for stop in await self.stops_of(trade, entry):
            if not stop.order_id:
                if not begun and (stop.state.may_have_left or _is_unknown(stop)):
                    raise _stands(stop, f"its state is {stop.state.value}")
                continue
            exits, doubt = await self.orders.look(stop)
            if not begun:
                if doubt:
                    raise _stands(exits.stop, doubt)
                exits = await self._off(exits)
            found.append(exits)
        return TakenOff(tuple(found))

    async def stops_of(self, trade: Trade, entry: Intent | None) -> tuple[Intent, ...]:
        """Every stop of the trade, oldest first, each standing for its group.

        Those that its record names, and those that only the journal knows: of a sale that broke off before its record
        was complete, or placed since by the watchdog.
        """
        stops = {each.intent_id: each for each in await self.undoing(entry) if each.planned.purpose == "stop"}
        for link in trade.links:
            stop = await self.orders.gateway.find(link.key) if link.role is OrderRole.STOP else None
            if stop is not None:
                stops[stop.intent_id] = stop
        ours = (each for each in stops.values() if each.planned.leg_of is None and each.planned.ticket is not None)
        return tuple(sorted(ours, key=lambda each: (each.planned.at, each.ref)))

    async def undoing(self, entry: Intent | None) -> tuple[Intent, ...]:
        """Every order that was to take back what `entry` sold: exits and closes, whoever of us placed them."""
        if entry is None:
            return ()
        undoing = await self.orders.gateway.journal.reducing(entry.intent_id)
        return tuple(each for each in undoing if each.operation is Operation.PLACE)

    async def _off(self, exits: Exits) -> Exits:
        profit, stop = exits.profit, exits.stop
        if profit is not None and not profit.final:
            profit = await self.orders.taken_off(profit)
            if not profit.final:
                raise _stands(profit)
            stop = await self.orders.gateway.refreshed(stop)  # a group may end with one of its orders
        if stop.state is IntentState.ACKED and (profit is None or profit.state is not IntentState.FILLED):
            stop = await self.orders.taken_off(stop)
        elif stop.state is IntentState.ACKED:
            stop = await self.orders.gateway.wait_for_fill(stop, within_s=5.0)
        if not stop.final:
            raise _stands(stop)
        return Exits(stop, profit)

    async def put_back(self, entry: Intent, removed: Exits, *, quantity: Decimal, key: Key) -> Placed:
        """The exits again, on the same terms, for what is left; a trail begins where it once began."""
        stop = _again(removed.stop.ticket, quantity)
        profit = None if removed.profit is None else _again(removed.profit.ticket, quantity)
        self.orders.tell(StepKind.STOP, f"placing the stop again: {stop.label}")
        try:
            grid = await grid_of(self.orders.broker, stop.contract, side=Side.BUY)
        except IbkitError as error:
            return Placed(standing=None, reasons=(error.message,))
        return await self.orders.place(entry, stop, profit, keys=ExitKeys.of_restoring(key), increments=grid)


def _is_unknown(stop: Intent) -> bool:
    return stop.state is IntentState.UNKNOWN_NEEDS_HUMAN and not stop.resolved


def _again(ticket: OrderTicket, quantity: Decimal) -> OrderTicket:
    return dataclasses.replace(ticket, quantity=quantity)


def _stands(order: Intent, why: str = "") -> IbkitError:
    number = f"order {order.order_id}" if order.order_id else f"intent {order.intent_id}"
    return IbkitError(
        f"The {'stop' if order.ticket.order_type.waits else 'take profit'}, {number}, could not be "
        f"cancelled: nothing was closed{f' ({why})' if why else ''}",
        code="E-ORD-TIMEOUT",
        remedy="Look at the order with `ibkit orders show`, then try again with a new key.",
    )
