"""The order journal: intents and their events in one local SQLite file, on disk before a byte leaves.

WAL with `synchronous=FULL`, one writer with group commit, events append-only (triggers refuse anything but the purge),
every change guarded by the intent's version, every send by the epoch of its lane. Source: reliability decisions 2 and
F92-F96, F100, F104, F105, ruling 6 of the architecture.
"""

from __future__ import annotations

import hashlib
import os
import secrets
from collections.abc import AsyncIterator, Collection
from contextlib import asynccontextmanager, suppress
from datetime import datetime
from pathlib import Path
from types import TracebackType
from typing import Any

import anyio.to_thread
from sqlalchemy import Connection

from ibkit.clock import Clock
from ibkit.errors import StorageError
from ibkit.model import AccountId, Environment, Key, OrderId, Username
from ibkit.store import fences
from ibkit.store import journal_rows as rows
from ibkit.store.alerts import SqlAlerts, put_alert
from ibkit.store.columns import instant_text
from ibkit.store.database import Database
from ibkit.store.intent_reader import IntentReader
from ibkit.store.journal_file import name_of, open_file
from ibkit.store.locks import file_lock
from ibkit.store.mark import Mark, MarkFile
from ibkit.store.retention import purge_some
from ibkit.store.risk_book import SqlRiskBook
from ibkit.store.transactions import driver_of
from ibkit.trading.alert import Alert
from ibkit.trading.events import Event, IntentId, Operation, Planned
from ibkit.trading.intent import Intent, fold, fold_all
from ibkit.trading.ports import Lane, Leg

__all__ = ["SqliteJournal"]

_SHORT = 100
"""So many intents are read at once, in the event loop's own thread."""
_SYNC_MARK_S = 60.0
"""The mark is synced no more often: one that a power cut takes back only notices less."""


class SqliteJournal:
    """Fits `trading.ports.Journal`. An async context manager: opening makes and upgrades the file.

    run_inline: no threads, for runs that have to repeat step by step.
    """

    def __init__(self, path: Path, *, clock: Clock, run_inline: bool = False) -> None:
        self._path = path
        self._clock = clock
        self._inline = run_inline
        self._opened: Database | None = None
        self._alerts: SqlAlerts | None = None
        self._risk: SqlRiskBook | None = None
        self._mark_file = MarkFile(path.with_name(f"{path.name}.mark"))
        self._mark = Mark("", 0)
        self._synced_at = clock.monotonic()
        self._restored = False
        self._owner = ""
        self._reader = IntentReader()
        self._short: set[str] = set()
        """Conditions of which few intents were found the last time."""

    async def __aenter__(self) -> SqliteJournal:
        if self._inline:
            engine, self._mark, self._restored = open_file(self._path, self._mark_file)
        else:
            engine, self._mark, self._restored = await anyio.to_thread.run_sync(open_file, self._path, self._mark_file)
        self._opened = Database(engine, name=name_of(self._path), run_inline=self._inline)
        self._alerts, self._risk = SqlAlerts(self._opened), SqlRiskBook(self._opened)
        self._owner = f"{os.getpid()}-{secrets.token_hex(4)}"
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._opened is not None:
            database, self._opened, self._alerts, self._risk = self._opened, None, None, None
            await database.close()

    @property
    def alerts(self) -> SqlAlerts:
        assert self._alerts is not None, "the journal is open only inside `async with`"
        return self._alerts

    @property
    def risk(self) -> SqlRiskBook:
        assert self._risk is not None, "the journal is open only inside `async with`"
        return self._risk

    @property
    def path(self) -> Path:
        return self._path

    @property
    def restored(self) -> bool:
        """The file is an older copy than the one last used here (or another): keys and sends may be forgotten.

        It stays so, over restarts, until a person has looked and `clear_restored` says so.
        """
        return self._restored

    @property
    def _database(self) -> Database:
        assert self._opened is not None, "the journal is open only inside `async with`"
        return self._opened

    # -- writing --------------------------------------------------------------------------------------------------

    async def plan(self, planned: Planned) -> tuple[Intent, bool]:
        intent = fold(None, planned)

        def work(connection: Connection) -> tuple[Intent, bool]:
            there = rows.by_key(connection, planned.tenant, planned.environment, planned.key)
            if there is not None:
                return there, False
            rows.insert_intent(connection, intent, (planned,))
            return intent, True

        return await self._database.write(work)

    async def append(
        self, intent: Intent, *events: Event, alert: Alert | None = None, legs: tuple[Leg, ...] = ()
    ) -> Intent:
        after = intent
        for event in events:
            after = fold(after, event)
        leg_intents = [(fold_all((leg.planned, leg.attached)), leg) for leg in legs]

        def work(connection: Connection) -> Mark | None:
            leaving = fences.check_lane(connection, after, events)
            fences.check_controls(connection, after, events)
            rows.update_intent(connection, intent, after, events)
            fences.record_sends(connection, after, intent.version + 1, events)
            for leg_intent, leg in leg_intents:
                rows.insert_leg(connection, leg_intent, (leg.planned, leg.attached))
            if alert is not None:
                put_alert(connection, alert)
            return fences.rise(connection) if leaving else None

        self._moved(await self._database.write(work))
        return after

    @asynccontextmanager
    async def conversation(self, username: Username, *, wait_s: float) -> AsyncIterator[Lane]:
        """The file's lock ends with the process; the epoch fences one that was stopped, or lost its lock's file."""
        name = hashlib.sha256(username.encode()).hexdigest()[:16]
        place = self._path.with_name(f"{self._path.name}.locks") / f"{name}.lock"
        what = f"the order conversation of IBKR user {username}"
        async with file_lock(place, wait_s=wait_s, clock=self._clock, what=what):
            at = self._clock.now()

            def work(connection: Connection) -> tuple[int, Mark]:
                epoch = fences.take_lane(connection, username, owner=self._owner, at=at)
                return epoch, fences.rise(connection)

            epoch, mark = await self._database.write(work)
            self._moved(mark)
            await self._tell_mark()
            try:
                yield Lane(username, epoch)
            finally:
                with suppress(StorageError):  # orders may have left: what became of them counts for more than the mark
                    self._raise_mark(sync=False)

    async def purge(self, now: datetime) -> int:
        """Ended records older than 30 days become tombstones of 400 (`retention.py`): how many went, of both."""
        gone = 0
        while some := await self._database.write(lambda connection: purge_some(connection, now)):
            gone += some
        return gone

    async def clear_restored(self) -> None:
        """A person has compared the journal with IBKR: from here on this file is the newest."""
        told = await anyio.to_thread.run_sync(self._mark_file.read)
        least = max(self._mark.changes, 0 if told is None else told.changes) + 1

        def work(connection: Connection) -> Mark:
            clear = "UPDATE lineage SET restored = 0, changes = max(changes, ?) RETURNING journal_id, changes"
            return Mark(*connection.exec_driver_sql(clear, (least,)).one())

        mark = await self._database.write(work)
        await anyio.to_thread.run_sync(self._mark_file.put, mark)
        self._mark, self._restored = mark, False

    # -- reading --------------------------------------------------------------------------------------------------

    async def get(self, intent_id: IntentId) -> Intent | None:
        return next(iter(await self._where("intent_id = ?", intent_id)), None)

    async def by_key(self, *, tenant: str, environment: Environment, key: Key) -> Intent | None:
        return await self._database.read(
            lambda connection: self._reader.by_key(connection, tenant, environment, key), quick=True
        )

    async def events(self, intent_id: IntentId) -> tuple[Event, ...]:
        return await self._database.read(lambda connection: rows.events_of(connection, intent_id), quick=True)

    async def unfinished(self, username: Username) -> tuple[Intent, ...]:
        return await self._where("final = 0 AND username = ?", username)

    async def reducing(self, parent: IntentId) -> tuple[Intent, ...]:
        return await self._where("reduces = ?", parent)

    async def denied(self, username: Username, *, since: datetime) -> tuple[Intent, ...]:
        return await self._where(
            "denies = 1 AND resolved = 0 AND username = ? AND updated_at >= ?", username, instant_text(since)
        )

    async def recent(self, *, limit: int = 50) -> tuple[Intent, ...]:
        return await self._database.read(lambda connection: self._reader.where(connection, "true", (), newest=limit))

    async def of_keys(
        self,
        beginning: str,
        *,
        environment: Environment,
        operation: Operation,
        before: IntentId | None = None,
        changed_since: datetime | None = None,
        or_nobodys: bool = False,
        limit: int,
    ) -> tuple[Intent, ...]:
        """What was asked for under keys that begin so (those of a user: `trading.ref.keys_of_user`), newest first.

        or_nobodys: and under keys of no user of a service.
        before: only what was planned before that one. changed_since: only what moved at that moment or later.
        """
        theirs = "(key >= ? AND key < ?)"
        if or_nobodys:
            theirs = f"({theirs} OR instr(key, '@') = 0)"
        where = f"tenant = 'local' AND environment = ? AND {theirs} AND operation = ?"
        where += " AND leg_of IS NULL AND updated_at >= ?"
        # Every key begins with what ASCII holds, so that the last code point is after all of them.
        values: list[str] = [environment.value, beginning, f"{beginning}\U0010ffff", operation.value]
        values.append("" if changed_since is None else instant_text(changed_since))
        if before is not None:
            where += " AND (planned_at, rowid) < (SELECT planned_at, rowid FROM intents WHERE intent_id = ?)"
            values.append(before)
        return await self._database.read(
            lambda connection: self._reader.where(connection, where, tuple(values), newest=limit)
        )

    async def changes_of(self, orders: Collection[Intent]) -> tuple[Intent, ...]:
        """The changes of these orders that IBKR took, whoever asked for them, newest first."""
        numbers = {(each.planned.account_id, each.order_id) for each in orders if each.order_id is not None}
        if not numbers:
            return ()
        accounts, targets = sorted({account for account, _ in numbers}), sorted({number for _, number in numbers})
        where = f"""operation = 'modify' AND state = 'acked' AND account_id IN ({_marks(accounts)}) AND EXISTS (
            SELECT 1 FROM intent_events WHERE intent_events.intent_id = intents.intent_id AND number = 1
            AND json_extract(body, '$.target') IN ({_marks(targets)}))"""  # noqa: S608  # marks alone
        found = await self._database.read(
            lambda connection: self._reader.where(connection, where, (*accounts, *targets), newest=-1)
        )
        return tuple(each for each in found if (each.planned.account_id, each.planned.target) in numbers)

    async def legs(self, parent: IntentId) -> tuple[Intent, ...]:
        found = await self._where("leg_of = ?", parent)
        sent = await self.get(parent)
        places = {ack.order_id: ack.number for ack in sent.legs if ack.number} if sent is not None else {}
        return tuple(sorted(found, key=lambda leg: places.get(leg.order_id, len(found) + 1)))

    async def open_orders(self, account_id: AccountId) -> tuple[Intent, ...]:
        return await self._where("account_id = ? AND final = 0 AND order_id IS NOT NULL", account_id)

    async def by_order(self, account_id: AccountId, order_id: OrderId) -> Intent | None:
        whose = "account_id = ? AND order_id = ? AND operation IN ('place', 'external')"
        return next(iter(await self._where(whose, account_id, order_id)), None)

    async def usernames(self, account_ids: Collection[AccountId]) -> tuple[Username, ...]:
        marks = _marks(account_ids)
        asked = " UNION ".join(  # two halves, each with a partial index of its own
            f"SELECT username FROM intents WHERE {open_} AND account_id IN ({marks})"  # noqa: S608  # literals alone
            for open_ in ("final = 0", "denies = 1 AND resolved = 0")
        )
        values = tuple(account_ids) * 2
        return await self._database.read(
            lambda connection: tuple(
                Username(name) for (name,) in driver_of(connection).execute(f"{asked} ORDER BY username", values)
            ),
            quick=True,
        )

    async def controls(self, account_id: AccountId) -> tuple[int, int]:
        return await self._database.read(lambda connection: fences.controls(connection, account_id), quick=True)

    async def still_held(self, intent: Intent) -> None:
        await self._database.read(lambda connection: fences.check_epoch(connection, intent), quick=True)

    async def _where(self, where: str, *values: Any) -> tuple[Intent, ...]:
        """In a thread where the last answer was long, or there was none yet."""
        quick = where in self._short
        found = await self._database.read(lambda connection: self._reader.where(connection, where, values), quick=quick)
        if len(found) <= _SHORT:
            self._short.add(where)
        else:
            self._short.discard(where)
        return found

    # -- how far it has come --------------------------------------------------------------------------------------

    def _moved(self, mark: Mark | None) -> None:
        if mark is not None and mark.changes > self._mark.changes:
            self._mark = mark

    async def _tell_mark(self) -> None:
        """Rarely synced, and then not in the event loop's thread; else it is one small write to the page cache."""
        now = self._clock.monotonic()
        if now - self._synced_at < _SYNC_MARK_S or self._inline:
            self._raise_mark(sync=False)
            return
        self._synced_at = now
        await anyio.to_thread.run_sync(lambda: self._raise_mark(sync=True))

    def _raise_mark(self, *, sync: bool) -> None:
        if not self._restored:  # of a restored copy what stands there is the proof, until a person has looked
            self._mark_file.rise(self._mark, sync=sync)


def _marks(values: Collection[object]) -> str:
    return ", ".join("?" for _ in values)
