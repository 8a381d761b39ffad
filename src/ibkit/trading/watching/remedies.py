"""What the watchdog sends: a stop again, a buy-back, a stop of another size, the end of an order without a position.

Each is an intent with a key derived from the sale's; its counter goes on from what the journal held before the look.
Two watchdogs, a restart or a repeat therefore ask for the same key, and the gateway sends one order.
Source: requirements TRD-14, TRD-15, TRD-20.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from itertools import takewhile

from ibkit.clock import Clock
from ibkit.errors import IbkitError
from ibkit.model import Key, OrderTicket, OrderType, Side
from ibkit.trading.gateway import OrderGateway
from ibkit.trading.grids import grid_of
from ibkit.trading.intent import Intent, IntentState
from ibkit.trading.ports import Broker
from ibkit.trading.ref import child_key
from ibkit.trading.selling.coverage import ExitOrder, Missing, TooMuch, Watched
from ibkit.trading.selling.exit_orders import STOP_TRIES, ExitKeys, ExitOrders
from ibkit.trading.selling.exits import ExitPrices, exit_prices, exit_tickets
from ibkit.trading.selling.standing import Standing, role_of
from ibkit.trading.selling.trade import OrderRole
from ibkit.trading.timeline import Observer, Step, StepKind
from ibkit.trading.watching.market_hours import is_open

__all__ = ["Mended", "Remedies"]

MOST_STOPS = 200
"""Of one sale, over all rounds: whoever cancels a stop so often means it."""
MOST_BUY_BACKS = 100
_MOST_CHANGES = 30
QUICK_TRIES = 6
"""So many refusals in a row, then one try in `SLOW`: IBKR counts orders, and a person has been told."""
SLOW = timedelta(minutes=10)


@dataclass(frozen=True, slots=True, kw_only=True)
class Mended:
    """ok: it is as the plan wants it now, or about to be. text: what was done, for people."""

    ok: bool
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Remedies:
    broker: Broker
    gateway: OrderGateway
    clock: Clock
    observe: Observer
    fill_timeout_s: float = 20.0

    # -- a stop -------------------------------------------------------------------------------------------------------

    async def place(self, missing: Missing) -> Mended:
        """A stop for what nothing covers: a new one for what the sale sold, a larger one for what was added by hand."""
        watched = missing.watched
        if await self.gateway.cancelling_all(watched.trade.account_id):
            return Mended(
                ok=False,
                text="a kill switch cancels all orders, so no stop is placed while it stands: "
                "close the position, or end it with `ibkit kill --release`",
            )
        quantity = min(missing.quantity, watched.remaining - watched.covered)
        if quantity <= 0:
            return await self._enlarge(missing)
        prices = await self._prices(watched)
        if prices is None:
            return Mended(ok=False, text="the price at which was sold is not known, or gives no stop")
        stops = [each.intent for each in watched.exits if role_of(each.intent) is OrderRole.STOP]
        if _too_soon(stops, self.clock.now()):
            return Mended(ok=False, text="it was refused again and again and is tried every ten minutes")
        watched, why = await self._without_lone_profit_taker(watched)
        if why:
            return Mended(ok=False, text=why)
        return await self._try_stops(watched, quantity, prices)

    async def _prices(self, watched: Watched) -> ExitPrices | None:
        assert watched.entry is not None, "what stands was sold"
        trade, entry = watched.trade, watched.entry
        average = entry.average_price or trade.entry_price
        if trade.exit_plan is None or average is None:
            return None if trade.stop_loss_price is None else ExitPrices(stop=trade.stop_loss_price)
        grid = await grid_of(self.broker, watched.contract, side=Side.BUY)
        return exit_prices(trade.exit_plan, average, grid, most=trade.width)

    async def _without_lone_profit_taker(self, watched: Watched) -> tuple[Watched, str]:
        """A take profit whose stop is gone is cancelled: the new pair has one of its own, and they end each other."""
        lone = [each for each in watched.working if not each.protects and not each.closes]
        if watched.stops or not lone:
            return watched, ""
        for each in lone:
            if why := await self.end(each):
                return watched, f"the take profit beside it could not be cancelled: {why}"
        return watched, ""

    async def _try_stops(self, watched: Watched, quantity: Decimal, prices: ExitPrices) -> Mended:
        """Under the keys that the sale itself would use next, so that the sale and we place one stop between us."""
        assert watched.entry is not None, "what stands was sold"
        entry = watched.entry
        stop, profit = exit_tickets(entry.ticket, quantity=quantity, prices=prices)
        if watched.stops:
            profit = None  # beside a stop that works, the pair of that one has it
        keys = self._free_keys(watched)
        if keys is None:
            return Mended(ok=False, text=f"{MOST_STOPS} stops of this sale have come to nothing")
        try:
            grid = await grid_of(self.broker, stop.contract, side=Side.BUY)
        except IbkitError as error:
            return Mended(ok=False, text=f"no stop could be placed: {error.message}")
        orders = ExitOrders(broker=self.broker, gateway=self.gateway, clock=self.clock, observe=self.observe)
        placed = await orders.place(entry, stop, profit, keys=keys, increments=grid)
        why = "; ".join(placed.reasons)
        match placed.standing:
            case Standing.PROTECTED if placed.exits is not None:
                return Mended(
                    ok=True, text=f"a new stop works: order {placed.exits.stop.order_id} at {stop.stop_price}"
                )
            case Standing.STOPPED_OUT | Standing.PROFIT_TAKEN as standing:
                return Mended(ok=True, text=f"the new stop has ended it: {standing.value}")
            case None:
                return Mended(ok=False, text=f"no stop could be placed: {why}")
            case standing:
                return Mended(ok=False, text=f"the new stop is in an unknown state ({standing.value}): {why}")

    @staticmethod
    def _free_keys(watched: Watched) -> ExitKeys | None:
        """The next keys that the look did not show; None where there are none left."""
        assert watched.entry is not None, "what stands was sold"
        covered = sum((each.left for each in watched.stops), Decimal(0))
        own = ExitKeys.of_entry(watched.entry.key, covered=covered)
        used = {each.intent.key for each in watched.exits}
        more = (child_key(own.group, f"again-{number}") for number in range(2, MOST_STOPS + 1))
        group = next((key for key in (own.group, *more) if key not in used), None)
        stops = [key for key in map(own.stop, range(1, MOST_STOPS + STOP_TRIES + 1)) if key not in used]
        if group is None or len(stops) < STOP_TRIES:
            return None
        return ExitKeys(group, lambda attempt: stops[attempt - 1])

    # -- another size -------------------------------------------------------------------------------------------------

    async def _enlarge(self, missing: Missing) -> Mended:
        stops = missing.watched.stops
        if not stops:
            return Mended(ok=False, text="it was added by hand, and there is no stop of ours to enlarge")
        return await self._resize(stops[-1], stops[-1].left + missing.quantity)

    async def shrink(self, too_much: TooMuch) -> Mended:
        """No order buys more than stands: the newest become smaller or end, stops and take profits by themselves."""
        done = []
        for kind in (True, False):
            beyond = sum((e.left for e in too_much.watched.working if e.protects is kind), Decimal(0)) - too_much.stands
            for each in reversed([e for e in too_much.watched.working if e.protects is kind]):
                if beyond <= 0:
                    break
                done.append(await self._resize(each, max(each.left - beyond, Decimal(0))))
                beyond -= each.left
        return Mended(ok=all(one.ok for one in done), text="; ".join(one.text for one in done))

    async def _resize(self, order: ExitOrder, left: Decimal) -> Mended:
        """The order with `left` to buy; prices that somebody has changed by hand stay as they are."""
        intent, row = order.intent, order.row
        assert intent.order_id is not None, "a working order has its number"
        if not left:
            why = await self.end(order)
            return Mended(ok=not why, text=why or f"order {intent.order_id} is cancelled")
        filled = intent.filled if row is None else row.filled
        ticket = dataclasses.replace(intent.ticket, quantity=left + filled)
        if row is not None and ticket.trail is None:
            ticket = dataclasses.replace(
                ticket,
                stop_price=row.stop_price or ticket.stop_price if ticket.stop_price is not None else None,
                limit_price=row.limit_price or ticket.limit_price if ticket.limit_price is not None else None,
            )
        key = await self._free_key(lambda n: child_key(intent.key, f"resize-{n}"))
        if key is None:
            return Mended(ok=False, text=f"order {intent.order_id} was changed too often")
        self._tell(StepKind.STOP, f"changing order {intent.order_id} to {ticket.label}")
        try:
            outcome = await self.gateway.modify(intent.order_id, ticket, key=key)
        except IbkitError as error:
            return Mended(ok=False, text=f"order {intent.order_id} could not be changed: {error.message}")
        if outcome.error is not None:
            return Mended(ok=False, text=f"order {intent.order_id} could not be changed: {outcome.error.message}")
        return Mended(ok=True, text=f"order {intent.order_id} is for {left.normalize():f} now")

    async def _free_key(self, name: Callable[[int], Key]) -> Key | None:
        for number in range(1, _MOST_CHANGES + 1):
            known = await self.gateway.find(name(number))
            if known is None or not known.final:
                return name(number)
        return None

    # -- ends ---------------------------------------------------------------------------------------------------------

    async def end(self, order: ExitOrder) -> str:
        """Cancel what an order may still buy; why it still works, empty where it does not. A fill may win the race."""
        self._tell(StepKind.CANCEL, f"cancelling order {order.intent.order_id}: {order.intent.label}")
        try:
            after = await self.gateway.cancel_rest(order.intent)
        except IbkitError as error:
            return error.message
        return "" if after.state.final else f"its cancel is not confirmed, it is {_status(after)}"

    async def buy_back(self, watched: Watched, quantity: Decimal, *, keys: str) -> tuple[Intent | None, str]:
        """Buy `quantity` of what was sold at market, in trading hours only: the intent once it ended, and why it is not
        filled. Its key is the next of `keys` that the look did not show.
        """
        assert watched.entry is not None, "what is bought back was sold"
        entry = watched.entry
        if not await is_open(self.broker, watched.contract, self.clock.now()):
            return None, "the market is closed; it is tried again when it opens"
        ticket = OrderTicket(
            account_id=entry.ticket.account_id,
            contract=watched.contract,
            side=Side.BUY,
            order_type=OrderType.MARKET,
            quantity=quantity,
        )
        own = [child_key(entry.key, f"{keys}-{number}") for number in range(1, MOST_BUY_BACKS + 1)]
        tried = [each.intent for each in watched.exits if each.intent.key in own]
        used = {intent.key for intent in tried}
        key = next((key for key in own if key not in used), None)
        if key is None:
            return None, "it was tried too often"
        if _too_soon(tried, self.clock.now()):
            return None, "it was refused again and again and is tried every ten minutes"
        self._tell(StepKind.BUY_BACK, f"buying back: {ticket.label}")
        try:
            outcome = await self.gateway.submit(ticket, key=key, purpose="close", reduces=entry.intent_id)
            intent = outcome.intent
            if intent.state is IntentState.ACKED:
                intent = await self.gateway.wait_for_fill(intent, within_s=self.fill_timeout_s)
            if intent.state is IntentState.ACKED:
                intent = await self.gateway.cancel_rest(intent)
        except IbkitError as error:
            return await self.gateway.find(key), error.message
        if intent.state is IntentState.FILLED:
            self._tell(StepKind.BUY_BACK, f"bought back at {intent.average_price}", order=intent.order_id or "")
            return intent, ""
        refused = outcome.error
        return intent, refused.message if refused is not None else f"order {intent.order_id} is {_status(intent)}"

    def _tell(self, kind: StepKind, text: str, **details: str) -> None:
        self.observe(Step(kind=kind, at=self.clock.now(), text=text, details=details))


def _too_soon(tries: Sequence[Intent], now: datetime) -> bool:
    """Whether the last of these, oldest first, all came to nothing, and the last of them just now."""
    vain = list(takewhile(_vain, reversed(tries)))
    return len(vain) >= QUICK_TRIES and now - vain[0].planned.at < SLOW


def _vain(intent: Intent) -> bool:
    """It never worked: refused, or not filled in its time. A stop that somebody cancelled had worked."""
    worked = intent.state is IntentState.CANCELLED and intent.ticket.order_type is not OrderType.MARKET
    return intent.state.final and not worked and intent.state is not IntentState.FILLED


def _status(intent: Intent) -> str:
    return intent.order_status.value if intent.order_status else intent.state.value
