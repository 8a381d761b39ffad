"""Placing the exits of a sold position, finding them again, and taking them off.

    with a take profit   stop and limit order as one OCA group, once; refused: the stop alone
    the stop alone       up to 3 tries within 10 s, each a new intent, only after a certain refusal

Source: requirement TRD-14; docs/facts/orders.md §1.7 item 9, §1.8.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from decimal import Decimal

from ibkit.clock import Clock
from ibkit.errors import IbkitError, StorageError
from ibkit.model import GroupKind, Increments, Key, OrderTicket
from ibkit.trading.gateway import OrderGateway
from ibkit.trading.intent import Intent, IntentState
from ibkit.trading.ports import Broker
from ibkit.trading.ref import child_key, leg_ref, same_ref
from ibkit.trading.risk import Facts
from ibkit.trading.selling.standing import Exits, Standing, standing_of
from ibkit.trading.timeline import Observer, Step, StepKind

__all__ = ["STOP_TRIES", "ExitKeys", "ExitOrders", "Placed", "close_key"]

STOP_TRIES = 3
STOP_WINDOW_S = 10.0
_BETWEEN_TRIES_S = 2.0
_WORKING_WITHIN_S = 10.0
_SIBLING_S = 5.0
"""How long the broker may take to cancel the other of two exits of which one is over (reliability fault F54)."""


def close_key(entry: Key) -> Key:
    return child_key(entry, "close")


@dataclass(frozen=True, slots=True)
class ExitKeys:
    """group: of stop and limit order together. stop: of the n-th try of the stop alone."""

    group: Key
    stop: Callable[[int], Key]

    @classmethod
    def of_entry(cls, entry: Key, *, covered: Decimal = Decimal(0), left: Decimal | None = None) -> ExitKeys:
        """covered: what earlier stops protect already; a stop for what was sold since is another order.

        left: what is left of the rest, where a person has closed a part of it: another order, too.
        """
        beyond = f"-beyond-{covered.normalize():f}" if covered else ""
        part = f"{beyond}-left-{left.normalize():f}" if left is not None else beyond
        return cls(child_key(entry, f"exits{part}"), lambda attempt: child_key(entry, f"stop-{attempt}{part}"))

    @classmethod
    def of_restoring(cls, close: Key) -> ExitKeys:
        """For the exits that come back after a close that failed."""
        return cls(
            child_key(close, "restore-exits"),
            lambda attempt: child_key(close, "restore" if attempt == 1 else f"restore-{attempt}"),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Placed:
    """standing: None where nothing stands and nothing is in doubt. tries: every order that was begun, oldest first."""

    standing: Standing | None
    exits: Exits | None = None
    tries: tuple[Intent, ...] = ()
    reasons: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class ExitOrders:
    broker: Broker
    gateway: OrderGateway
    clock: Clock
    observe: Observer

    # -- placing --------------------------------------------------------------------------------------------------

    async def place(
        self,
        entry: Intent,
        stop: OrderTicket,
        profit: OrderTicket | None,
        *,
        keys: ExitKeys,
        increments: Increments,
        confirm: tuple[str, ...] = (),
        hurried: Callable[[], bool] = lambda: False,
    ) -> Placed:
        """Exits that work for what `entry` sold, or why there are none. Raises nothing of the broker's."""
        tries: list[Intent] = []
        reasons: list[str] = []
        if profit is not None:
            self.tell(StepKind.STOP, f"exits as one group: {stop.label}, {profit.label}", stop=str(stop.stop_price))
            tried = await self._try(entry, stop, keys.group, increments, confirm, profit)
            placed = self._judged(tried, tries, reasons)
            if placed is not None:
                return placed
            self.tell(StepKind.REFUSED, f"the group was not taken, placing the stop alone: {reasons[-1]}")
        begun = self.clock.monotonic()
        for attempt in range(1, STOP_TRIES + 1):
            self.tell(StepKind.STOP, f"stop {attempt} of {STOP_TRIES}: {stop.label}", stop=str(stop.stop_price))
            tried = await self._try(entry, stop, keys.stop(attempt), increments, confirm)
            placed = self._judged(tried, tries, reasons)
            if placed is not None:
                return placed
            self.tell(StepKind.REFUSED, f"stop {attempt} not placed: {reasons[-1]}")
            if tried.exits is not None and tried.exits.stop.state is IntentState.NOT_PLACED:
                begun = self.clock.monotonic()  # proving its absence took a minute of its own: not the tries' time
            if self.clock.monotonic() - begun + _BETWEEN_TRIES_S > STOP_WINDOW_S:
                break
            if attempt < STOP_TRIES and not hurried():
                await self.clock.sleep(_BETWEEN_TRIES_S)
        return Placed(standing=None, tries=tuple(tries), reasons=_told(reasons))

    def _judged(self, tried: _Tried, tries: list[Intent], reasons: list[str]) -> Placed | None:
        """How a try stands, added to what was tried; None where the next may follow."""
        if tried.exits is not None:
            tries += tried.exits.members
            standing = Standing.UNSURE if tried.doubt else standing_of(tried.exits)
            if standing is not None:
                self._say(standing, tried.exits)
                told = _told((*reasons, tried.reason, *(each.reason for each in tried.exits.members)))
                return Placed(standing=standing, exits=tried.exits, tries=tuple(tries), reasons=told)
        reasons.append(tried.reason or (tried.exits.stop.reason if tried.exits is not None else ""))
        return None

    async def _try(
        self,
        entry: Intent,
        stop: OrderTicket,
        key: Key,
        increments: Increments,
        confirm: tuple[str, ...],
        profit: OrderTicket | None = None,
    ) -> _Tried:
        """The exits once they work or have ended; without exits nothing was sent."""
        try:
            outcome = await self.gateway.submit(
                stop,
                key=key,
                others=() if profit is None else (profit,),
                group=None if profit is None else GroupKind.OCA,
                confirm=confirm,
                purpose="stop",
                reduces=entry.intent_id,
                facts=Facts(increments=increments),
            )
            intent, error = outcome.intent, outcome.error
            reason = "" if error is None else error.message
        except IbkitError as failure:
            stored = await self._stored(key)
            if stored is None or not (stored.state.may_have_left or stored.order_id):
                return _Tried(None, failure.message)
            intent, reason = stored, ""
        exits, doubt = await self.look(intent)
        return _Tried(exits, doubt or reason, bool(doubt))

    async def _stored(self, key: Key) -> Intent | None:
        try:
            return await self.gateway.find(key)
        except StorageError:
            return None

    # -- looking --------------------------------------------------------------------------------------------------

    async def standing(self, entry: Intent) -> tuple[Exits, ...]:
        """The exits of `entry` that work, may work, or have closed their part of it."""
        try:
            undoing = await self.gateway.journal.reducing(entry.intent_id)
        except StorageError:
            return ()  # then no new order can be written down, and so none leaves
        stops = [
            each
            for each in undoing
            if each.planned.purpose == "stop" and each.planned.leg_of is None and each.planned.ticket is not None
        ]
        found = []
        for stop in stops:
            exits, doubt = await self.look(stop)
            if doubt or (stop.order_id is not None and standing_of(exits) is not None):
                found.append(exits)
        return tuple(found)

    async def look(self, stop: Intent) -> tuple[Exits, str]:
        """The exits that `stop` belongs to, as the broker has them, the other one ended where one is over.

        The text says what is in doubt about the other one, where something is.
        """
        if stop.order_id is not None:
            stop = await self.gateway.confirm_working(stop, within_s=_WORKING_WITHIN_S)
        if stop.planned.group is not GroupKind.OCA:
            return Exits(stop), ""
        profit = await self._profit_of(stop)
        if profit is not None and profit.order_id == stop.order_id:
            return await self._without_its_stop(stop, profit), ""
        if profit is not None:
            over = stop.final or profit.final
            stop, profit = await self._ended(stop, over), await self._ended(profit, over)
            return Exits(stop, profit), ""
        dead = stop.final and not stop.filled and standing_of(Exits(stop)) is not Standing.PROTECTED
        if dead and stop.order_id is None and not stop.state.denies:
            return Exits(stop), ""  # refused by our own controls, or expired: not a byte of the group left
        if dead and stop.state is not IntentState.REJECTED_BROKER and not await self._sibling_is_gone(stop):
            return Exits(stop), "the stop is not at IBKR, but the order beside it may be"
        return Exits(stop), ""

    async def _profit_of(self, stop: Intent) -> Intent | None:
        """The other order of the group; None where it was refused, or nobody knows of it."""
        try:
            if stop.group_open:
                await self.gateway.look_after_groups(stop.planned.account_id)
            legs = await self.gateway.journal.legs(stop.intent_id)
        except IbkitError as error:
            self.tell(StepKind.STOP, f"the order beside stop {stop.order_id} is not known: {error.message}")
            return None
        return await self.gateway.refreshed(legs[0]) if legs else None

    async def _without_its_stop(self, stop: Intent, profit: Intent) -> Exits:
        """A group whose answer was lost, and of which only the take profit is at IBKR: any of its orders proves it.

        A limit order alone protects nothing, so it is taken off. The intent of the group has its number, too, so it is
        shown here as what it is: no stop.
        """
        self.tell(StepKind.STOP, f"of the group only order {profit.order_id} is at IBKR, which is no stop")
        if not profit.final:
            profit = await self.taken_off(profit)
        await self.gateway.refreshed(stop)
        absent = dataclasses.replace(
            stop, state=IntentState.NOT_PLACED, order_id=None, filled=Decimal(0), average_price=None
        )
        return Exits(absent, profit)

    async def _ended(self, intent: Intent, over: bool) -> Intent:
        """`intent` once the broker ended it because the other is over, or we did after some seconds."""
        if not over or intent.final:
            return intent
        intent = await self.gateway.wait_for_fill(intent, within_s=_SIBLING_S)
        return intent if intent.final else await self.taken_off(intent)

    async def taken_off(self, intent: Intent) -> Intent:
        """`intent` after a cancel; it is final where that worked, or a fill won the race."""
        self.tell(StepKind.CANCEL, f"cancelling order {intent.order_id}: {intent.ticket.label}")
        try:
            return await self.gateway.cancel_rest(intent)
        except IbkitError as error:
            self.tell(StepKind.CANCEL, f"the cancel failed: {error.message}")
        return await self.gateway.wait_for_fill(intent, within_s=_SIBLING_S)

    async def _sibling_is_gone(self, stop: Intent) -> bool:
        """Whether a complete list, not a session's first, shows no live order with the ref of the group's other one."""
        account_id = stop.planned.account_id
        for _ in range(2):
            try:
                read = await self.broker.read_orders(account_id)
            except IbkitError:
                return False
            if read.complete and not read.first:
                wanted = leg_ref(stop.ref, 1)
                return not any(same_ref(wanted, row.ref) and not row.status.terminal for row in read.orders)
        return False

    def _say(self, standing: Standing, exits: Exits) -> None:
        kind = StepKind.STOP_WORKING if standing is Standing.PROTECTED else StepKind.STOP
        for each in exits.members:
            status = each.order_status.value if each.order_status else each.state.value
            word = "stop" if each is exits.stop else "take profit"
            self.tell(kind, f"{word} order {each.order_id}: {status}", order=each.order_id or "", status=status)

    def tell(self, kind: StepKind, text: str, **details: str) -> None:
        self.observe(Step(kind=kind, at=self.clock.now(), text=text, details=details))


@dataclass(frozen=True, slots=True)
class _Tried:
    """doubt: an order of it may live although its stop does not, so nothing may be sent beside it."""

    exits: Exits | None
    reason: str = ""
    doubt: bool = False


def _told(reasons: Iterable[str]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(filter(None, reasons)))
