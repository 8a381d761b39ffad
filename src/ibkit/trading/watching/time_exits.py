"""Buying back at a given moment: protection off, out at market, protection on again where that fails.

    due, market closed                     waits, and is told once
    due, an order in an unknown state      nothing is sent beside it; told
    due                                    exits cancelled → BUY MKT → filled: over
                                                                     → not: the plan's stop again, an alert

A moment that passed while nobody watched is made up for as soon as somebody does. What was bought back is in the
journal, so it is bought back once, over restarts too. Source: docs/facts/orders.md §14.4; requirement TRD-19.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from decimal import Decimal

from ibkit.model import Key
from ibkit.trading.alert import Alert, AlertKind, Severity
from ibkit.trading.ref import child_key
from ibkit.trading.selling.coverage import Covered, Doubtful, Missing, TooMuch, Verdict, Watched
from ibkit.trading.timeline import Step, StepKind
from ibkit.trading.watching.market_hours import is_open
from ibkit.trading.watching.remedies import MOST_BUY_BACKS
from ibkit.trading.watching.watchdog import CONFIRM_AFTER_S, Watchdog

__all__ = ["RETRY_AFTER", "TimeExits"]

RETRY_AFTER = timedelta(minutes=5)
"""After an attempt that failed: its stop stands again meanwhile, and is not to be taken off every minute."""
_LATE = timedelta(minutes=5)
_KEYS = "time-exit"


@dataclass(frozen=True, slots=True, kw_only=True)
class TimeExits:
    watchdog: Watchdog

    async def run(self) -> tuple[Alert, ...]:
        """Do what is due; the alerts on what could not be done. Errors as `Watchdog.round`."""
        now = self.watchdog.clock.now()
        due = [verdict for verdict in (await self.watchdog.look()).verdicts if self._due(verdict)]
        if not due:
            return ()
        await self.watchdog.clock.sleep(CONFIRM_AFTER_S)
        wanted = {verdict.watched.trade.trade_id for verdict in due}
        alerts = []
        for verdict in (await self.watchdog.look()).verdicts:
            if verdict.watched.trade.trade_id not in wanted or not self._due(verdict):
                continue
            exit_at = verdict.watched.plan.exit_at
            assert exit_at is not None, "it is due"
            if now - exit_at > _LATE:
                self._tell(StepKind.WATCH, f"{_label(verdict)}: its exit of {exit_at:%Y-%m-%d %H:%M} UTC was missed")
            alert = await self._leave(verdict)
            alerts += [alert] if alert is not None else []
        return tuple(alerts)

    def _due(self, verdict: Verdict) -> bool:
        watched, now = verdict.watched, self.watchdog.clock.now()
        if not isinstance(verdict, Covered | Missing | TooMuch | Doubtful) or not watched.remaining:
            return False
        exit_at = watched.plan.exit_at
        if exit_at is None or now < exit_at or watched.past_expiry(now) or watched.busy:
            return False
        last = [each.intent.planned.at for each in watched.exits if each.intent.key in _tried(watched)]
        return not last or now - max(last) >= RETRY_AFTER

    async def _leave(self, verdict: Verdict) -> Alert | None:
        watched = verdict.watched
        if isinstance(verdict, Doubtful):
            return await self._alert(watched, f"is not bought back at its time: {verdict.reason}")
        assert isinstance(verdict, Covered | Missing | TooMuch), "what is due stands"
        quantity = min(verdict.stands, watched.remaining)
        if not await is_open(self.watchdog.broker, watched.contract, self.watchdog.clock.now()):
            self._tell(StepKind.WATCH, f"{_label(verdict)}: its exit waits for the market to open")
            return None
        self._tell(StepKind.WATCH, f"{_label(verdict)}: its time has come, buying back {quantity.normalize():f}")
        why = ""
        for each in watched.working:
            why = why or await self.watchdog.remedies.end(each)
        # A stop may have filled while it was cancelled: what it bought is not bought once more.
        quantity -= min(await self._bought(watched) - watched.bought, quantity)
        if not why and quantity:
            _, why = await self.watchdog.remedies.buy_back(watched, quantity, keys=_KEYS)
        if not why:
            return None
        return await self._alert(watched, f"was not bought back at its time: {why}; {await self._restored(watched)}")

    async def _bought(self, watched: Watched) -> Decimal:
        """What its orders have bought back by now."""
        assert watched.entry is not None, "what is bought back was sold"
        journal = self.watchdog.gateway.journal
        now = [await journal.get(each.intent.intent_id) for each in watched.exits]
        return sum((intent.filled for intent in now if intent is not None), Decimal(0))

    async def _restored(self, before: Watched) -> str:
        """What became of the protection: the plan's stop again, for what nothing covers now."""
        if not before.demands_stop:
            return "it had no stop"
        for verdict in (await self.watchdog.look()).verdicts:
            if verdict.watched.trade.trade_id != before.trade.trade_id:
                continue
            if isinstance(verdict, Missing):
                return (await self.watchdog.remedies.place(verdict)).text
            return "it is over meanwhile" if not verdict.watched.remaining else "its stop stands"
        return "it is over meanwhile"

    async def _alert(self, watched: Watched, problem: str) -> Alert:
        text = f"CRITICAL: {watched.trade.label} {problem}"
        self._tell(StepKind.CRITICAL, text)
        alert = Alert(
            kind=AlertKind.TIME_EXIT,
            severity=Severity.CRITICAL,
            subject=watched.trade.trade_id,
            message=text,
            at=self.watchdog.clock.now(),
            details={"account": self.watchdog.account_id, "trade": watched.trade.trade_id},
        )
        return await self.watchdog.alerts.put(alert)

    def _tell(self, kind: StepKind, text: str) -> None:
        self.watchdog.observe(Step(kind=kind, at=self.watchdog.clock.now(), text=text))


def _tried(watched: Watched) -> frozenset[Key]:
    assert watched.entry is not None, "what is bought back was sold"
    return frozenset(child_key(watched.entry.key, f"{_KEYS}-{number}") for number in range(1, MOST_BUY_BACKS + 1))


def _label(verdict: Verdict) -> str:
    return verdict.watched.trade.label
