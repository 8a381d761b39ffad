"""Watching over sold options: each that demands a stop has one that works, for all that stands of it.

    look → something is not as it should be? → told, looked at again → both looks agree? → the plan's remedy

| found                         | then                                                                          |
|-------------------------------|-------------------------------------------------------------------------------|
| no stop, or too small a one   | an alert; by the plan: placed again or enlarged, bought back, or left         |
| orders that buy too much      | made smaller; of a position that is gone: cancelled, they would open a long   |
| a spread without its bought   | an alert; nothing is sent: an order on the whole would sell the leg that is gone |
| leg, the sold one stands      |                                                                               |
| an order in an unknown state  | an alert; nothing is sent beside it                                           |
| it is over                    | the record is closed, with how and at what price                              |
| a position without a record   | listed; with `all_shorts` a short option without a stop is an alert, too      |

A trade that a living process has just sold, or whose stop it has just cancelled, is left to that process for a minute.
Source: requirements TRD-14, TRD-20; reliability rules F52 to F56.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import assert_never

from ibkit.clock import Clock
from ibkit.model import AccountId, Position, SecType
from ibkit.trading.alert import Alert, AlertKind, Severity
from ibkit.trading.gateway import OrderGateway
from ibkit.trading.ports import Alerts, Broker
from ibkit.trading.selling.coverage import (
    Broken,
    Covered,
    Doubtful,
    Gone,
    Missing,
    Over,
    Selling,
    SoldNothing,
    TooMuch,
    Verdict,
    Watched,
    protective,
)
from ibkit.trading.selling.exits import OnMissing
from ibkit.trading.selling.ports import Trades
from ibkit.trading.selling.standing import role_of
from ibkit.trading.selling.trade import OrderRole, Trade, TradeStatus
from ibkit.trading.timeline import Observer, Step, StepKind, unobserved
from ibkit.trading.watching.endings import Endings
from ibkit.trading.watching.looking import Looker, Sight
from ibkit.trading.watching.remedies import Mended, Remedies

__all__ = ["WatchReport", "Watchdog"]

_JUST_READ_S = 15.0
CONFIRM_AFTER_S = 1.0
"""Between the look that finds something and the one that confirms it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class WatchReport:
    """alerts: what stood without its stop, or is unknown, in this round (mended or not). unmanaged: no record of ours
    knows them. done: what was done, in words. next_exit: the earliest time exit still to come.
    """

    alerts: tuple[Alert, ...] = ()
    unmanaged: tuple[Position, ...] = ()
    done: tuple[str, ...] = ()
    next_exit: datetime | None = None


def _lives(owner: str) -> bool:
    """Who cannot know whether a process lives leaves it its minute."""
    return True


@dataclass(frozen=True, slots=True, kw_only=True)
class Watchdog:
    """One account of one login.

    acts:       False: nothing is sent, alerts are raised and records closed all the same.
    all_shorts: also short options without a record of ours are to have a stop.
    alive, me:  see `Looker`.
    """

    broker: Broker
    gateway: OrderGateway
    trades: Trades
    alerts: Alerts
    clock: Clock
    account_id: AccountId
    observe: Observer = unobserved
    fill_timeout_s: float = 20.0
    acts: bool = True
    all_shorts: bool = False
    alive: Callable[[str], bool] = _lives
    me: str = ""

    async def check(self) -> tuple[Alert, ...]:
        """The alerts of one round at the start of a command, which has just read the list; without trades, none."""
        if not await self.trades.trades(account_id=self.account_id, status=TradeStatus.OPEN):
            return ()
        return (await self.round(since_s=_JUST_READ_S)).alerts

    async def round(self, *, since_s: float = 0.0) -> WatchReport:
        """Look once, and again where something is wrong; then do what the plans say. Errors as `Looker.look`.

        since_s: how old the list of the first look may be; the second is always new.
        """
        sight = await self._looker.look(since_s=since_s)
        wrong = [verdict for verdict in sight.verdicts if _wrong(verdict)]
        if wrong:
            for verdict in wrong:
                self._tell(StepKind.WATCH, f"{_name(verdict)}: {_said(verdict)}; looking again")
            await self.clock.sleep(CONFIRM_AFTER_S)
            before = {(_trade(verdict).trade_id, type(verdict)) for verdict in wrong}
            sight = await self._looker.look()
            confirmed = [v for v in sight.verdicts if not _wrong(v) or (_trade(v).trade_id, type(v)) in before]
        else:
            confirmed = list(sight.verdicts)
        alerts: list[Alert] = []
        done: list[str] = []
        for verdict in confirmed:
            alert, text = await self._treat(verdict, sight)
            alerts += [alert] if alert is not None else []
            done += [f"{_name(verdict)}: {text}"] if text else []
        strangers = _unmanaged(sight)
        if self.all_shorts:
            alerts += await self._watch_strangers(strangers, sight)
        await self.endings.complete_fees(
            await self.trades.trades(account_id=self.account_id, status=TradeStatus.CLOSED)
        )
        return WatchReport(
            alerts=tuple(alerts), unmanaged=strangers, done=tuple(done), next_exit=_next_exit(sight.watched, sight.at)
        )

    async def _treat(self, verdict: Verdict, sight: Sight) -> tuple[Alert | None, str]:
        """The alert on it, and what was done about it."""
        match verdict:
            case SoldNothing():
                await self.endings.sold_nothing(verdict.watched.trade)
                return None, ""
            case Selling():
                return None, ""
            case Covered():
                await self._close_alert(verdict.watched.trade, "a stop works, or none is due")
                return None, ""
            case Over():
                return await self._ended(verdict.watched, sight, gone=Decimal(0))
            case Gone():
                return await self._ended(verdict.watched, sight, gone=verdict.quantity)
            case Missing():
                return await self._unprotected(verdict)
            case TooMuch():
                return await self._too_much(verdict)
            case Doubtful():
                return await self._alert(
                    verdict.watched.trade, f"has no working stop for certain: {verdict.reason}"
                ), ""
            case Broken():
                return await self._alert(verdict.watched.trade, f"is broken: {_said(verdict)}"), ""
        assert_never(verdict)

    async def _unprotected(self, missing: Missing) -> tuple[Alert, str]:
        trade, plan = missing.watched.trade, missing.watched.plan
        problem = f"has no working stop: {_said(missing)}"
        alert = await self._alert(trade, problem)  # on disk before anything is sent
        if not self.acts or (plan.on_missing is OnMissing.ALERT and not _is_begun_only(missing.watched)):
            return alert, ""
        if plan.on_missing is not OnMissing.CLOSE:
            mended = await self.remedies.place(missing)
        else:
            mended = await self._bought_back(missing)
        return await self._alert(trade, f"{problem}; {mended.text}", mended=mended.ok), mended.text

    async def _bought_back(self, missing: Missing) -> Mended:
        watched = missing.watched
        quantity = min(missing.quantity, watched.remaining - watched.covered)
        if quantity <= 0:
            return Mended(ok=False, text="it was added by hand: close or protect it by hand")
        if not watched.stops:
            for each in watched.working:  # a take profit beside the buy-back could fill, too
                if why := await self.remedies.end(each):
                    return Mended(ok=False, text=f"not bought back: {why}")
        intent, why = await self.remedies.buy_back(watched, quantity, keys="watch-close")
        if why or intent is None:
            return Mended(ok=False, text=f"not bought back: {why}")
        return Mended(ok=True, text=f"bought back at {intent.average_price}")

    async def _too_much(self, too_much: TooMuch) -> tuple[Alert | None, str]:
        trade = too_much.watched.trade
        if too_much.foreign:
            problem = (
                f"has stops of others beside its own: together they would buy {too_much.quantity.normalize():f} more"
            )
            return await self._alert(trade, f"{problem} than stands"), ""
        problem = f"has orders that would buy {too_much.quantity.normalize():f} more than stands"
        if not self.acts or too_much.watched.plan.on_missing is OnMissing.ALERT:
            return await self._alert(trade, problem), ""
        mended = await self.remedies.shrink(too_much)
        if not mended.ok:
            return await self._alert(trade, f"{problem}; {mended.text}"), mended.text
        return None, mended.text

    async def _ended(self, watched: Watched, sight: Sight, *, gone: Decimal) -> tuple[Alert | None, str]:
        """First the orders that would open a long position, then the record."""
        trade = watched.trade
        # Nothing can be bought after its last day, so an order in an unknown state holds nothing up then.
        past = watched.past_expiry(self.clock.now())
        left = [each for each in watched.exits if each.works or (each.doubtful and not past)]
        if left and not self.acts:
            return None, ""
        stuck = []
        for each in left:
            why = await self.remedies.end(each) if each.works else f"it is {each.intent.state.value}"
            if why:
                stuck.append(f"order {each.intent.order_id or each.intent.ref}: {why}")
        if stuck:
            problem = f"is over, but an order of it may still buy: {'; '.join(stuck)}"
            return await self._alert(trade, problem), ""
        closed = await self.endings.write(watched, sight.positions, gone=gone)
        await self._close_alert(trade, "it is over")
        await self.alerts.close(AlertKind.TIME_EXIT, trade.trade_id, at=self.clock.now(), note="it is over")
        assert closed.exit_reason is not None, "a closed record says how"
        return None, f"over: {closed.exit_reason.value}"

    # -- what no record knows -----------------------------------------------------------------------------------------

    async def _watch_strangers(self, strangers: tuple[Position, ...], sight: Sight) -> list[Alert]:
        alerts = []
        for position in strangers:
            if position.contract.sec_type is not SecType.OPTION or position.quantity >= 0:
                continue
            rows = [row for row in sight.orders.orders if row.conid == position.contract.conid and protective(row)]
            covered = sum((row.total - row.filled for row in rows), Decimal(0))
            subject = f"{self.account_id}:{position.contract.conid}"
            if covered >= -position.quantity:
                note = "a stop works now"
                await self.alerts.close(AlertKind.UNPROTECTED, subject, at=self.clock.now(), note=note)
                continue
            short = f"{(-position.quantity).normalize():f} {position.contract.label} short without a record of ours"
            text = f"CRITICAL: {short}: {covered.normalize():f} have a stop"
            alerts.append(await self._put(subject, text, {"account": self.account_id}))
        return alerts

    # -- telling ------------------------------------------------------------------------------------------------------

    async def _alert(self, trade: Trade, problem: str, *, mended: bool = False) -> Alert:
        """Open until a later round finds it as it should be. mended: done about, but to be seen by a person."""
        text = f"CRITICAL: {trade.label} {problem}"
        details = {"account": self.account_id, "trade": trade.trade_id, "mended": "yes" if mended else "no"}
        return await self._put(trade.trade_id, text, details)

    async def _put(self, subject: str, text: str, details: dict[str, str]) -> Alert:
        self._tell(StepKind.CRITICAL, text)
        alert = Alert(
            kind=AlertKind.UNPROTECTED,
            severity=Severity.CRITICAL,
            subject=subject,
            message=text,
            at=self.clock.now(),
            details=details,
        )
        return await self.alerts.put(alert)

    async def _close_alert(self, trade: Trade, note: str) -> None:
        await self.alerts.close(AlertKind.UNPROTECTED, trade.trade_id, at=self.clock.now(), note=note)

    def _tell(self, kind: StepKind, text: str) -> None:
        self.observe(Step(kind=kind, at=self.clock.now(), text=text))

    # -- its parts ----------------------------------------------------------------------------------------------------

    @property
    def _looker(self) -> Looker:
        return Looker(
            broker=self.broker,
            gateway=self.gateway,
            trades=self.trades,
            clock=self.clock,
            account_id=self.account_id,
            alive=self.alive,
            me=self.me,
        )

    @property
    def remedies(self) -> Remedies:
        return Remedies(
            broker=self.broker,
            gateway=self.gateway,
            clock=self.clock,
            observe=self.observe,
            fill_timeout_s=self.fill_timeout_s,
        )

    @property
    def endings(self) -> Endings:
        return Endings(
            broker=self.broker,
            journal=self.gateway.journal,
            trades=self.trades,
            clock=self.clock,
            observe=self.observe,
        )

    async def known(self) -> tuple[Watched, ...]:
        """What the journal knows of the open trades, for whoever only tells it."""
        return await self._looker.known()

    async def look(self) -> Sight:
        """One look, for whoever needs it besides (time exits)."""
        return await self._looker.look()


def _next_exit(watched: Iterable[Watched], now: datetime) -> datetime | None:
    coming = (each.plan.exit_at for each in watched if each.plan.exit_at is not None and each.plan.exit_at > now)
    return min(coming, default=None)


def _is_begun_only(watched: Watched) -> bool:
    """Its sale broke off before any stop was tried: to place it is the rest of that sale, whatever its policy."""
    tried = any(role_of(each.intent) is OrderRole.STOP for each in watched.exits)
    return watched.trade.exit_plan is not None and not tried


def _wrong(verdict: Verdict) -> bool:
    """It needs a second look: what follows from it is sent or written down."""
    return isinstance(verdict, Missing | TooMuch | Doubtful | Gone | Broken)


def _trade(verdict: Verdict) -> Trade:
    return verdict.watched.trade


def _name(verdict: Verdict) -> str:
    return _trade(verdict).label


def _said(verdict: Verdict) -> str:
    match verdict:
        case Missing():
            hand = f" ({verdict.grown.normalize():f} of it added by hand)" if verdict.grown else ""
            return (
                f"{verdict.stands.normalize():f} short{hand}, {verdict.quantity.normalize():f} without a working stop"
            )
        case TooMuch():
            return f"its orders would buy {verdict.quantity.normalize():f} more than stands"
        case Gone():
            return f"{verdict.quantity.normalize():f} stand in our books and not at IBKR"
        case Broken():
            leg = next(leg.contract.label for leg in verdict.watched.contract.legs if leg.ratio > 0)
            return (
                f"{verdict.naked.normalize():f} {leg} stand short without the leg that was bought to protect them; "
                "buy them back by hand, and cancel the orders on the spread, which would sell that leg again"
            )
        case Doubtful():
            return verdict.reason
        case _:
            return type(verdict).__name__


def _unmanaged(sight: Sight) -> tuple[Position, ...]:
    """Positions that no open record explains."""
    known = set()
    for each in sight.watched:
        if each.entry is not None and each.entry.filled:
            contract = each.contract
            known.add(contract.conid)
            known.update(leg.contract.conid for leg in contract.legs)
    return tuple(p for p in sight.positions if p.quantity and p.contract.conid not in known)
