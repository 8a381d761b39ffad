"""Looking after the orders of a group once the broker took it: each is found, and a broken bracket is undone.

    Acknowledged → look at each (the answer, status by number, the list) → Grouped, each an intent of its own
    all there                        done
    bracket, a child is missing      alert; the parent's rest is cancelled; what it filled without a stop is closed
    OCA group, one is missing        alert; what stands stands
    one of a group filled            a sibling that still works is cancelled; two that filled are told

A child that was refused is a fact of the answer. One that is merely not to be seen may still come up, so then nothing
is closed, which could turn the position round: a person is told. Source: reliability faults F52-F54.
"""

from __future__ import annotations

import dataclasses
import enum
from dataclasses import dataclass
from typing import Protocol

from ibkit.clock import Clock
from ibkit.errors import IbkitError
from ibkit.model import AccountId, GroupKind, Key, Order, OrderId, OrderTicket, OrderType
from ibkit.trading.alert import Alert, AlertKind, Severity
from ibkit.trading.events import Grouped, IntentId, LegAck, Mended
from ibkit.trading.groups import UNSEEN, both_filled_alert, leg_of, legs_from, rows_with_first
from ibkit.trading.intent import Intent, IntentState
from ibkit.trading.outcome import Outcome
from ibkit.trading.ports import Broker, Journal
from ibkit.trading.ref import child_key
from ibkit.trading.timeline import Observer, Step, StepKind

__all__ = ["Door", "GroupKeeper", "OnBroken"]

LOOK_S = 10.0
"""A child is shown within this long, or somebody is told (fault F53)."""
_LOOK_PAUSE_S = 1.0
_MOST_CLOSES = 3
"""Orders, one after another, that close what a broken bracket filled: the next where the last is proven to be none.
Those that grew too old before they were sent are not among them: while IBKR cannot be reached each one does."""
_SIBLING_S = 5.0
"""IBKR cancels a sibling by itself; what still works after this long is cancelled by us (fault F54)."""


class OnBroken(enum.Enum):
    """What to do about a bracket without all of its children."""

    UNDO = "undo"
    ALERT = "alert"


class Door(Protocol):
    """What the keeper needs of the gateway."""

    async def find(self, key: Key) -> Intent | None: ...

    async def cancel_rest(self, intent: Intent) -> Intent: ...

    async def cancel(self, account_id: AccountId, order_id: OrderId, *, key: Key) -> Outcome: ...

    async def submit(
        self, ticket: OrderTicket, *, key: Key, purpose: str = "order", reduces: IntentId | None = None
    ) -> Outcome: ...

    async def wait_for_fill(self, intent: Intent, *, within_s: float) -> Intent: ...

    async def refreshed(self, intent: Intent) -> Intent: ...

    async def raise_alert(self, alert: Alert) -> None: ...

    async def close_alert(self, kind: AlertKind, subject: str, *, note: str) -> None: ...


@dataclass(frozen=True, slots=True)
class GroupKeeper:
    broker: Broker
    journal: Journal
    clock: Clock
    observe: Observer
    door: Door
    on_broken: OnBroken = OnBroken.UNDO

    async def settle(self, intent: Intent) -> Intent:
        """`intent` with every order of its group known, and mended where it was broken. StorageError, InFlight.

        What the broker refuses or does not answer meanwhile leaves it due: the next start goes on with it.
        """
        if intent.group_open:
            intent = await self._look(intent)
        if intent.mend_due:
            intent = await self._mend(intent)
        return intent

    # -- finding ----------------------------------------------------------------------------------------------------

    async def _look(self, intent: Intent) -> Intent:
        """`intent` with all of its group known; or as it is, and an alert, where IBKR did not show what there is."""
        rows: dict[OrderId, Order] = {}
        refused = tuple(leg for leg in intent.legs if leg.order_id is None)
        told = dead = _never_worked(intent)
        until = self.clock.monotonic() + LOOK_S
        while True:
            for order_id in (leg.order_id for leg in intent.legs):
                if order_id is not None and order_id not in rows:
                    rows |= await self._by_number(order_id)
            legs = legs_from(intent, tuple(rows.values()), refused)
            if dead or not any(_unseen(leg) for leg in legs) or self.clock.monotonic() >= until:
                break
            found, complete = await self._in_list(intent)
            rows, told = rows | found, told or complete
            await self.clock.sleep(_LOOK_PAUSE_S)
        if not told and any(_unseen(leg) for leg in legs):
            await self.door.raise_alert(self._not_looked_at(intent))
            return intent
        known = tuple(dataclasses.replace(leg, text=UNSEEN) if _unseen(leg) else leg for leg in legs)
        now = self.clock.now()
        grouped = Grouped(at=now, legs=known)
        rows_of_legs = tuple(leg_of(intent, leg, at=now) for leg in known if leg.order_id is not None)
        written = await self._written(intent)
        if not written.group_open:
            return written
        stored = await self.journal.append(written, grouped, alert=self._alert(intent, known), legs=rows_of_legs)
        if stored.state is not intent.state:
            stored = await self.door.refreshed(stored)
        for leg in () if dead else stored.broken:
            self._tell(StepKind.CRITICAL, f"{_name(stored, leg)}: {leg.text}", ref=stored.ref)
        if not stored.broken:
            await self.door.close_alert(AlertKind.BROKEN_GROUP, intent.ref, note="all of its orders were found")
        return stored

    async def _by_number(self, order_id: OrderId) -> dict[OrderId, Order]:
        try:
            order = await self.broker.order(order_id)
        except IbkitError:
            return {}
        return {} if order is None else {order_id: order}

    async def _in_list(self, intent: Intent) -> tuple[dict[OrderId, Order], bool]:
        """Those that the list shows, and whether it is one that shows all there are (fault F69)."""
        try:
            read = await self.broker.read_orders(intent.planned.account_id)
        except IbkitError:
            return {}, False
        return {row.order_id: row for row in rows_with_first(intent, read.orders)}, read.complete and not read.first

    def _alert(self, intent: Intent, legs: tuple[LegAck, ...]) -> Alert | None:
        broken = [leg for leg in legs if leg.order_id is None or leg.text]
        if not broken or _never_worked(intent):
            return None
        bracket = intent.planned.group is GroupKind.BRACKET
        what = "; ".join(f"{_name(intent, leg)}: {leg.text}" for leg in broken)
        word = "CRITICAL: " if bracket else ""
        return Alert(
            kind=AlertKind.BROKEN_GROUP,
            severity=Severity.CRITICAL if bracket else Severity.WARNING,
            subject=intent.ref,
            message=f"{word}order {intent.order_id} ({intent.ticket.label}) stands without all of its group: {what}",
            at=self.clock.now(),
            details={"account": intent.planned.account_id, "order": intent.order_id or "", "key": intent.key},
        )

    def _not_looked_at(self, intent: Intent) -> Alert:
        return Alert(
            kind=AlertKind.BROKEN_GROUP,
            severity=Severity.CRITICAL,
            subject=intent.ref,
            message=(
                f"CRITICAL: order {intent.order_id} ({intent.ticket.label}) stands, but IBKR does not show the orders "
                "of its group; they are looked for again at the next round"
            ),
            at=self.clock.now(),
            details={"account": intent.planned.account_id, "order": intent.order_id or "", "key": intent.key},
        )

    # -- undoing a broken bracket -----------------------------------------------------------------------------------

    async def _mend(self, intent: Intent) -> Intent:
        note = "left as it is, by policy"
        if self.on_broken is OnBroken.UNDO:
            try:
                intent = await self._rest_cancelled(intent)
                note = await self._undone(intent)
            except IbkitError as error:
                self._tell(
                    StepKind.CRITICAL, f"the broken bracket could not be undone: {error.message}", ref=intent.ref
                )
                return intent
            if not note:
                return intent
        self._tell(StepKind.CANCEL, note, ref=intent.ref)
        alert = self._alert(intent, intent.legs)
        told = None if alert is None else dataclasses.replace(alert, message=f"{alert.message}; {note}")
        written = await self._written(intent)
        if not written.mend_due:
            return written
        stored = await self.journal.append(written, Mended(at=self.clock.now(), note=note), alert=told)
        return await self.door.refreshed(stored)

    async def _written(self, intent: Intent) -> Intent:
        """As the journal has it. A fill that was seen and could not be written down is in no event: what is built upon
        it would be stored as filled, so that nobody looks again, with nothing filled."""
        return await self.journal.get(intent.intent_id) or intent

    async def _rest_cancelled(self, intent: Intent) -> Intent:
        intent = await self.door.refreshed(intent)
        return await self.door.cancel_rest(intent) if intent.state is IntentState.ACKED else intent

    async def _undone(self, intent: Intent) -> str:
        """What was done; empty where it is not done yet."""
        if intent.state is IntentState.ACKED:
            return ""
        if _never_worked(intent):
            return "the bracket was refused as a whole"
        if not intent.filled:
            return "the parent was cancelled before anything was filled"
        missing = [leg for leg in intent.broken if self._protective(intent, leg)]
        if not missing:
            return f"{intent.filled:f} filled; its stop stands"
        if any(leg.text == UNSEEN for leg in intent.broken):  # also a take profit: it would close a second time
            return f"{intent.filled:f} filled, and not all of it is to be seen: look at IBKR and protect or close it"
        return await self._flattened(intent)

    async def _flattened(self, intent: Intent) -> str:
        left, attempt, ended = intent.filled, 0, 0
        while True:
            attempt += 1
            key = child_key(intent.key, "flatten" if attempt == 1 else f"flatten-{attempt}")
            known = await self.door.find(key)
            if known is None or not known.state.final or known.state is IntentState.UNKNOWN_NEEDS_HUMAN:
                break
            left -= known.filled  # it came to nothing, or to a part
            ended += not known.grew_too_old
            if ended == _MOST_CLOSES:
                break
        for leg in await self.journal.legs(intent.intent_id):
            now = await self.door.refreshed(leg)
            if now.state is IntentState.ACKED:
                now = await self.door.cancel_rest(now)
            if now.state is IntentState.ACKED:
                return ""
            left -= now.filled
        if left <= 0:
            return f"{intent.filled:f} filled and closed by what stood of the bracket"
        ticket = OrderTicket(
            account_id=intent.planned.account_id,
            contract=intent.ticket.contract,
            side=intent.ticket.side.opposite,
            order_type=OrderType.MARKET,
            quantity=left,
        )
        outcome = await self.door.submit(ticket, key=key, purpose="close", reduces=intent.intent_id)
        outcome.require()
        closed = await self.door.wait_for_fill(outcome.intent, within_s=LOOK_S)
        if closed.state is not IntentState.FILLED:
            return f"{left:f} filled without a stop; order {closed.order_id} closes it, which is not filled yet"
        return f"{left:f} filled without a stop was closed at {closed.average_price}"

    @staticmethod
    def _protective(intent: Intent, leg: LegAck) -> bool:
        return leg.number is not None and intent.planned.others[leg.number - 1].order_type.waits

    # -- siblings ---------------------------------------------------------------------------------------------------

    async def look_after(self, parent: Intent) -> tuple[Alert, ...]:
        """Cancel what still works of a group of which one is filled; the alerts on two that filled. Best effort."""
        members = [await self.door.refreshed(leg) for leg in await self.journal.legs(parent.intent_id)]
        if parent.planned.group is GroupKind.OCA:
            members.append(await self.door.refreshed(parent))
        filled = [each for each in members if each.state is IntentState.FILLED]
        if not filled:
            return ()
        since = (self.clock.now() - min(each.updated_at for each in filled)).total_seconds()
        for each in members:
            if each.state is IntentState.ACKED and since >= _SIBLING_S:
                self._tell(StepKind.CANCEL, f"order {each.order_id} should be gone with its group", ref=each.ref)
                try:
                    await self.door.cancel_rest(each)
                except IbkitError as error:
                    self._tell(StepKind.CRITICAL, f"order {each.order_id} still stands: {error.message}", ref=each.ref)
        orders = {each.order_id for each in filled}  # two intents are one order where another was found for the first
        return (both_filled_alert(parent, filled, at=self.clock.now()),) if len(orders) > 1 else ()

    def _tell(self, kind: StepKind, text: str, **details: str) -> None:
        self.observe(Step(kind=kind, at=self.clock.now(), text=text, details=details))


def _never_worked(intent: Intent) -> bool:
    """A bracket whose parent IBKR refused: its children hang on nothing (docs/facts/orders.md §1.7 item 3)."""
    bracket = intent.planned.group is GroupKind.BRACKET
    return bracket and intent.state is IntentState.REJECTED_LATE and not intent.filled


def _unseen(leg: LegAck) -> bool:
    return leg.order_id is None and not leg.text


def _name(intent: Intent, leg: LegAck) -> str:
    if leg.number is None:
        return "an order"
    return intent.planned.others[leg.number - 1].label if leg.number else intent.ticket.label
