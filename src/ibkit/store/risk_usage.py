"""What an account has used up, read from the journal's own tables in the transaction that a decision rests on.

Statements go to the driver as they are: a decision has 0.3 ms for all of them.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable
from datetime import datetime, timedelta
from decimal import Decimal
from threading import Lock
from typing import Any, NamedTuple

from ibkit.errors import StorageError
from ibkit.model import SPREAD_CONIDS, AccountId, Conid, Side
from ibkit.store.columns import instant_text
from ibkit.store.event_codec import decode_event
from ibkit.trading.events import IntentId, Operation, Planned
from ibkit.trading.intent import IntentState
from ibkit.trading.risk import OpenOrder, Sent, Usage
from ibkit.trading.risk.bookkeeping import REJECTS_FOR, day_start, open_orders

__all__ = ["UsageReader"]

_PLANS_KEPT = 4096
_MINUTE = timedelta(seconds=60)
_MOST_SENT = 2000
"""Rows of the last minute; more are a clock that went back by hours, and no limit of a minute is above this."""

_SENT = (
    "SELECT intent_id, at, operation, conid, side, quantity, price, value_usd FROM sends"
    " WHERE account_id = ? AND at > ? ORDER BY at DESC LIMIT ?"
)
_SENT_FROM = "SELECT at, value_usd FROM sends WHERE account_id = ? AND at >= ?"
_SENT_AFTER = "SELECT at, value_usd FROM sends WHERE account_id = ? AND at > ?"
_REJECTS = (
    "SELECT updated_at FROM intents WHERE account_id = ? AND state IN ('rejected_broker', 'rejected_late')"
    " AND updated_at > ?"
)
_UNKNOWN = "SELECT intent_id FROM intents WHERE account_id = ? AND state = 'unknown_needs_human' AND resolved = 0"
_OF_ACCOUNT = (
    "SELECT intents.intent_id, state, order_id, leg_of, quantity, value_usd FROM intents"
    " LEFT JOIN sends ON sends.intent_id = coalesce(leg_of, intents.intent_id) WHERE intents.account_id = ?"
)
"""A further order of a group left with the group's first."""
_OPEN = (
    f"{_OF_ACCOUNT} AND final = 0 AND intents.operation IN ('place', 'modify') AND state NOT IN ('intent', 'claimed')"
)
_ENDED = (
    f"{_OF_ACCOUNT} AND final = 1 AND updated_at >= ? AND intents.operation = 'place'"
    " AND state IN ('filled', 'cancelled', 'rejected_late')"
)
_DOUBTED = (
    f"{_OF_ACCOUNT} AND state = 'unknown_needs_human' AND resolved = 0 AND intents.operation IN ('place', 'modify')"
)
_PLAN = "SELECT kind, body FROM intent_events WHERE intent_id = ? AND number = 1"


class _Day(NamedTuple):
    """Sends of an account since the day began. newest: of them, to read on from."""

    serial: int
    start: datetime
    sends: int
    value: Decimal | None
    newest: str


class _Recent(NamedTuple):
    """Sends of an account after `since`, newest first. newest: when the account sent last, to read on from."""

    serial: int
    since: datetime
    newest: datetime
    sent: tuple[Sent, ...]


class UsageReader:
    """Reads with a driver's connection inside its transaction. What never changes (plans, a day's past) it keeps."""

    def __init__(self) -> None:
        self._plans: OrderedDict[str, Planned] = OrderedDict()
        self._days: dict[AccountId, _Day] = {}
        self._recent: dict[AccountId, _Recent] = {}
        self._lock = Lock()

    def read(self, driver: Any, account_id: AccountId, *, serial: int, at: datetime, read_at: datetime) -> Usage:
        with self._lock:
            day = self._day(driver, account_id, serial, at)
            rejected = driver.execute(_REJECTS, (account_id, instant_text(at - REJECTS_FOR)))
            return Usage(
                sent=self._sent(driver, account_id, serial, at),
                sent_today=day.sends,
                value_today=day.value,
                rejects=tuple(datetime.fromisoformat(moment) for (moment,) in rejected),
                unknown=self._unknown(driver, account_id),
                open=self._open(driver, account_id, read_at),
            )

    def _sent(self, driver: Any, account_id: AccountId, serial: int, at: datetime) -> tuple[Sent, ...]:
        since = at - _MINUTE
        known = self._recent.get(account_id)
        if known is not None and known.serial != serial:
            known = self._read_on(driver, account_id, known, serial)
        if known is None or since < known.since:  # the last: a clock that went back
            sent = self._sent_after(driver, account_id, since)
            known = _Recent(serial, since, sent[0].at if sent else since, sent)
        sent = known.sent
        while sent and sent[-1].at <= since:
            sent = sent[:-1]
        self._recent[account_id] = known._replace(since=since, sent=sent)
        return sent

    def _read_on(self, driver: Any, account_id: AccountId, known: _Recent, serial: int) -> _Recent | None:
        """With what left since; None where that was not dated after all that had left before."""
        new = self._sent_after(driver, account_id, known.newest)
        if len(new) != serial - known.serial:
            return None
        return known._replace(serial=serial, newest=new[0].at, sent=(*new, *known.sent))

    def _sent_after(self, driver: Any, account_id: AccountId, moment: datetime) -> tuple[Sent, ...]:
        rows = driver.execute(_SENT, (account_id, instant_text(moment), _MOST_SENT)).fetchall()
        return tuple([self._one_sent(driver, *row) for row in rows])

    def _one_sent(
        self,
        driver: Any,
        intent_id: str,
        moment: str,
        operation: str,
        conid: int,
        side: str,
        quantity: str,
        price: str | None,
        value: str | None,
    ) -> Sent:
        return Sent(
            intent_id=IntentId(intent_id),
            at=datetime.fromisoformat(moment),
            operation=Operation(operation),
            contract=self._contract(driver, intent_id, conid),
            side=Side(side),
            quantity=Decimal(quantity),
            price=_decimal(price),
            value_usd=_decimal(value),
        )

    def _contract(self, driver: Any, intent_id: str, conid: int) -> str:
        """All combinations of a currency share one conid: what they are, the plan says."""
        if Conid(conid) not in _SPREADS:
            return str(conid)
        ticket = self._plan(driver, intent_id).ticket
        return str(conid) if ticket is None else ticket.contract.conidex

    def _day(self, driver: Any, account_id: AccountId, serial: int, at: datetime) -> _Day:
        """What left since the day began, also what a clock that went back since has dated later."""
        start = day_start(at)
        known = self._days.get(account_id)
        if known is not None and known.start == start:
            if known.serial == serial:
                return known
            rows = driver.execute(_SENT_AFTER, (account_id, known.newest)).fetchall()
            # Only as many as the serial says: else some were dated before the newest, and all are counted again.
            if len(rows) == serial - known.serial:
                day = _added(known, rows)._replace(serial=serial)
                self._days[account_id] = day
                return day
        rows = driver.execute(_SENT_FROM, (account_id, instant_text(start))).fetchall()
        day = _added(_Day(serial, start, 0, Decimal(0), instant_text(start)), rows)
        self._days[account_id] = day
        return day

    def _unknown(self, driver: Any, account_id: AccountId) -> frozenset[str]:
        plans = [self._plan(driver, intent_id) for (intent_id,) in driver.execute(_UNKNOWN, (account_id,)).fetchall()]
        tickets = [ticket for plan in plans if plan.ticket is not None for ticket in (plan.ticket, *plan.others)]
        parts = [leg.contract.conidex for ticket in tickets for leg in ticket.contract.legs]
        return frozenset([*(ticket.contract.conidex for ticket in tickets), *parts])

    def _open(self, driver: Any, account_id: AccountId, read_at: datetime) -> tuple[OpenOrder, ...]:
        rows = [
            *driver.execute(_OPEN, (account_id,)).fetchall(),
            *driver.execute(_DOUBTED, (account_id,)).fetchall(),
            *driver.execute(_ENDED, (account_id, instant_text(read_at))).fetchall(),
        ]
        by_intent: dict[str, list[Any]] = {}
        for row in rows:
            by_intent.setdefault(row[0], []).append(row)
        found: list[OpenOrder] = []
        for intent_id, sends in by_intent.items():
            _, state, order_id, leg_of, _, _ = sends[0]
            found += open_orders(
                self._plan(driver, intent_id),
                IntentState(state),
                order_id=order_id or "",
                sent=sum((Decimal(row[4]) for row in sends if row[4] is not None), Decimal(0)),
                value_usd=_decimal(sends[-1][5]),
                parent=None if leg_of is None else self._plan(driver, leg_of),
            )
        return tuple(found)

    def _plan(self, driver: Any, intent_id: str) -> Planned:
        known = self._plans.get(intent_id)
        if known is not None:
            self._plans.move_to_end(intent_id)
            return known
        row = driver.execute(_PLAN, (intent_id,)).fetchone()
        planned = None if row is None else decode_event(*row)
        if not isinstance(planned, Planned):
            raise StorageError(f"Database problem: the journal has no plan of intent {intent_id}")
        self._plans[intent_id] = planned
        if len(self._plans) > _PLANS_KEPT:
            self._plans.popitem(last=False)
        return planned


_SPREADS = frozenset(SPREAD_CONIDS.values())


def _added(day: _Day, rows: Iterable[tuple[str, str | None]]) -> _Day:
    sends, value, newest = day.sends, day.value, day.newest
    for moment, worth in rows:
        sends += 1
        value = None if value is None or worth is None else value + Decimal(worth)
        newest = max(newest, moment)
    return day._replace(sends=sends, value=value, newest=newest)


def _decimal(text: str | None) -> Decimal | None:
    return None if text is None else Decimal(text)
