"""One round of the worker for one account: agree with the broker, look after groups, exits, stops, silent strategies.

    recover       orders that were unknown, late or somebody else's; DAY ends; brackets and OCA groups
    unknown       an order in an unknown state that shows up closes its alert; otherwise the alert stays
    time exits    what is to be bought back by now
    watchdog      every sold option has its stop
    dead man      orders of strategies that give no sign of life

Unknown orders are looked for in every round, as long as `gateway.recover` looks for denied ones: more often than
docs/facts/orders.md §14.4 asks for (+1 min, +10 min, next open). Source: requirements TRD-14, TRD-20, TRD-22, OPS-10.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from datetime import datetime

from ibkit.clock import Clock
from ibkit.errors import IbkitError
from ibkit.model import AccountId, Order, Position
from ibkit.trading.alert import Alert, AlertKind
from ibkit.trading.events import IntentId
from ibkit.trading.gateway import OrderGateway
from ibkit.trading.intent import Intent, IntentState
from ibkit.trading.ports import Alerts
from ibkit.trading.watching.dead_man import DeadMan
from ibkit.trading.watching.time_exits import TimeExits
from ibkit.trading.watching.watchdog import Watchdog, WatchReport

__all__ = ["RoundReport", "Rounds"]


@dataclass(frozen=True, slots=True, kw_only=True)
class RoundReport:
    """recovered: intents that the round settled or adopted. unprotected: see `WatchReport.alerts`, with time exits.

    unknown: open alerts on orders in an unknown state. open_alerts: all that stand open.
    failures: what parts of the round failed with.
    """

    at: datetime
    recovered: tuple[Intent, ...] = ()
    unprotected: tuple[Alert, ...] = ()
    unknown: tuple[Alert, ...] = ()
    open_alerts: tuple[Alert, ...] = ()
    unmanaged: tuple[Position, ...] = ()
    done: tuple[str, ...] = ()
    failures: tuple[IbkitError, ...] = ()
    next_exit: datetime | None = None

    @property
    def safe(self) -> bool:
        """Nothing stood without its stop, and no order is in an unknown state."""
        return not self.unprotected and not self.unknown


@dataclass(frozen=True, slots=True, kw_only=True)
class Rounds:
    """Where the watchdog does not act, nothing is sent but what `gateway.recover` sends."""

    gateway: OrderGateway
    watchdog: Watchdog
    alerts: Alerts
    clock: Clock
    account_id: AccountId
    dead_man: DeadMan | None = None

    async def run(self) -> RoundReport:
        """All parts, each also where another failed: a stop is not left off because a heartbeat cannot be read."""
        failures: list[IbkitError] = []
        recovered: tuple[Intent, ...] = ()
        silenced: tuple[str, ...] = ()
        try:
            recovered = await self.gateway.recover(self.account_id)
        except IbkitError as error:
            failures.append(error)
        looked = await self.look()
        try:
            if self.dead_man is not None and self.watchdog.acts:
                silenced = await self.dead_man.run()
        except IbkitError as error:
            failures.append(error)
        return dataclasses.replace(
            looked,
            recovered=recovered,
            done=(*looked.done, *silenced),
            failures=(*failures, *looked.failures),
        )

    async def look(self) -> RoundReport:
        """The part about what was sold, which an event of the stream asks for."""
        failures: list[IbkitError] = []
        exits: tuple[Alert, ...] = ()
        watched = WatchReport()
        unknown: tuple[Alert, ...] = ()
        standing: tuple[Alert, ...] = ()
        try:
            if self.watchdog.acts:
                exits = await TimeExits(watchdog=self.watchdog).run()
            watched = await self.watchdog.round()
        except IbkitError as error:
            failures.append(error)
        try:
            unknown = await self._unknown()
            standing = await self.alerts.open()
        except IbkitError as error:
            failures.append(error)
        return RoundReport(
            at=self.clock.now(),
            unprotected=(*exits, *watched.alerts),
            unknown=unknown,
            open_alerts=standing,
            unmanaged=watched.unmanaged,
            done=watched.done,
            failures=tuple(failures),
            next_exit=watched.next_exit,
        )

    async def _unknown(self) -> tuple[Alert, ...]:
        """The open alerts on orders in an unknown state, without those whose order has shown up or was settled."""
        left = []
        for kind in (AlertKind.UNKNOWN_ORDER, AlertKind.PARKED_ORDER):
            for alert in await self.alerts.open(kind=kind):
                intent = await self.gateway.journal.get(IntentId(alert.subject))
                if intent is not None and intent.planned.account_id != self.account_id:
                    continue
                if intent is None or (intent.state is IntentState.UNKNOWN_NEEDS_HUMAN and not intent.resolved):
                    left.append(alert)
                elif not intent.state.may_have_left:
                    note = f"it is {intent.state.value}: order {intent.order_id or 'none'} at IBKR"
                    await self.alerts.close(kind, alert.subject, at=self.clock.now(), note=note)
        return tuple(left)

    async def seen(self, order: Order) -> bool:
        """Take down what the stream tells of an order; whether a look at the account is due because of it.

        The order's end is a reason to look, whoever placed it, and so is an order that the journal does not know.
        """
        if order.account_id != self.account_id:
            return False
        intent = await self.gateway.journal.by_order(order.account_id, order.order_id)
        if intent is None:
            return True
        before = intent.state
        after = await self.gateway.tracker.seen(intent, order)
        return after.state.final and not before.final
