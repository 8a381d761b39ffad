"""The order journal: intents and their events in one local SQLite file, on disk before a byte leaves.

WAL with `synchronous=FULL`, one writer, events append-only (triggers refuse anything else), every change guarded by
the intent's version. Source: reliability decisions 2 and F92-F96, ruling 6 of the architecture.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from contextlib import AbstractAsyncContextManager
from datetime import datetime
from pathlib import Path
from types import TracebackType
from typing import Any

import anyio.to_thread
from sqlalchemy import Connection, text

from ibkit.clock import Clock
from ibkit.errors import InFlight, StorageError
from ibkit.model import Environment, Key, Username
from ibkit.store.alerts import SqlAlerts, put_alert
from ibkit.store.columns import instant_text
from ibkit.store.database import Database, sqlite_file
from ibkit.store.event_codec import decode_event, encode_event
from ibkit.store.failures import failures_of
from ibkit.store.locks import file_lock
from ibkit.store.migrating import migrate
from ibkit.store.migrations import JOURNAL
from ibkit.trading.alert import Alert
from ibkit.trading.events import Event, IntentId, Planned
from ibkit.trading.intent import Intent, fold, fold_all

__all__ = ["SqliteJournal"]

COMPONENT = "journal"


class SqliteJournal:
    """Fits `trading.ports.Journal`. An async context manager: opening makes and upgrades the file."""

    def __init__(self, path: Path, *, clock: Clock) -> None:
        self._path = path
        self._clock = clock
        self._opened: Database | None = None
        self._alerts: SqlAlerts | None = None

    async def __aenter__(self) -> SqliteJournal:
        database = await anyio.to_thread.run_sync(_open, self._path)
        self._opened, self._alerts = database, SqlAlerts(database)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._opened is not None:
            database, self._opened, self._alerts = self._opened, None, None
            await database.close()

    @property
    def alerts(self) -> SqlAlerts:
        assert self._alerts is not None, "the journal is open only inside `async with`"
        return self._alerts

    @property
    def path(self) -> Path:
        return self._path

    @property
    def _database(self) -> Database:
        assert self._opened is not None, "the journal is open only inside `async with`"
        return self._opened

    async def plan(self, planned: Planned) -> tuple[Intent, bool]:
        def work(connection: Connection) -> tuple[Intent, bool]:
            there = _by_key(connection, planned.tenant, planned.environment, planned.key)
            if there is not None:
                return there, False
            intent = fold(None, planned)
            connection.execute(_INSERT, _row(intent))
            _insert_events(connection, intent.intent_id, 1, (planned,))
            return intent, True

        return await self._database.write(work)

    async def append(self, intent: Intent, *events: Event, alert: Alert | None = None) -> Intent:
        after = intent
        for event in events:
            after = fold(after, event)

        def work(connection: Connection) -> Intent:
            changed = connection.execute(_UPDATE, {**_row(after), "read_version": intent.version})
            if changed.rowcount != 1:
                raise InFlight(
                    f"Order {intent.intent_id} was moved by another process", details={"intent": intent.intent_id}
                )
            _insert_events(connection, intent.intent_id, intent.version + 1, events)
            if alert is not None:
                put_alert(connection, alert)
            return after

        return await self._database.write(work)

    async def get(self, intent_id: IntentId) -> Intent | None:
        return await self._one("intent_id = :id", {"id": intent_id})

    async def by_key(self, *, tenant: str, environment: Environment, key: Key) -> Intent | None:
        return await self._database.read(lambda connection: _by_key(connection, tenant, environment, key))

    async def events(self, intent_id: IntentId) -> tuple[Event, ...]:
        return await self._database.read(lambda connection: tuple(_events(connection, intent_id)))

    async def unfinished(self, username: Username) -> tuple[Intent, ...]:
        return await self._many("final = 0 AND username = :username ORDER BY planned_at", {"username": username})

    async def reducing(self, parent: IntentId) -> tuple[Intent, ...]:
        return await self._many("reduces = :parent ORDER BY planned_at", {"parent": parent})

    async def denied(self, username: Username, *, since: datetime) -> tuple[Intent, ...]:
        return await self._many(
            "denies = 1 AND resolved = 0 AND username = :username AND updated_at >= :since ORDER BY planned_at",
            {"username": username, "since": instant_text(since)},
        )

    async def recent(self, *, limit: int = 50) -> tuple[Intent, ...]:
        return await self._many("1 = 1 ORDER BY planned_at DESC LIMIT :most", {"most": limit})

    def conversation(self, username: Username, *, wait_s: float) -> AbstractAsyncContextManager[None]:
        name = hashlib.sha256(username.encode()).hexdigest()[:16]
        place = self._path.with_name(f"{self._path.name}.locks") / f"{name}.lock"
        what = f"the order conversation of IBKR user {username}"
        return file_lock(place, wait_s=wait_s, clock=self._clock, what=what)

    async def _one(self, where: str, values: dict[str, Any]) -> Intent | None:
        return next(iter(await self._many(where, values)), None)

    async def _many(self, where: str, values: dict[str, Any]) -> tuple[Intent, ...]:
        def work(connection: Connection) -> tuple[Intent, ...]:
            # `where` is one of the literals above; values are bound.
            ids = connection.execute(text(f"SELECT intent_id FROM intents WHERE {where}"), values).scalars().all()  # noqa: S608
            return tuple(fold_all(_events(connection, found)) for found in ids)

        return await self._database.read(work)


def _open(path: Path) -> Database:
    engine = sqlite_file(path)
    name = f"order journal {path}"
    try:
        with failures_of(name), engine.begin() as connection:
            damage = connection.exec_driver_sql("PRAGMA quick_check(1)").scalar()
            if damage != "ok":
                raise StorageError(
                    f"Database problem: {name}: damaged ({damage})",
                    remedy="Do not delete it: move it aside, check `ibkit orders list` at IBKR, then start anew.",
                )
            migrate(connection, COMPONENT, JOURNAL)
    except StorageError:
        engine.dispose()
        raise
    return Database(engine, name=name)


_INSERT = text(
    "INSERT INTO intents (intent_id, tenant, environment, key, username, account_id, reduces, order_id, state, final,"
    " denies, resolved, version, planned_at, updated_at) VALUES (:intent_id, :tenant, :environment, :key, :username,"
    " :account_id, :reduces, :order_id, :state, :final, :denies, :resolved, :version, :planned_at, :updated_at)"
)
_UPDATE = text(
    "UPDATE intents SET order_id = :order_id, state = :state, final = :final, denies = :denies, resolved = :resolved,"
    " version = :version, updated_at = :updated_at WHERE intent_id = :intent_id AND version = :read_version"
)
_INSERT_EVENT = text(
    "INSERT INTO intent_events (intent_id, number, kind, at, body) VALUES (:intent_id, :number, :kind, :at, :body)"
)

_BY_KEY = text("SELECT intent_id FROM intents WHERE tenant = :tenant AND environment = :environment AND key = :key")
_EVENTS = text("SELECT kind, body FROM intent_events WHERE intent_id = :id ORDER BY number")


def _row(intent: Intent) -> dict[str, Any]:
    planned = intent.planned
    return {
        "intent_id": intent.intent_id,
        "tenant": planned.tenant,
        "environment": planned.environment.value,
        "key": planned.key,
        "username": planned.username,
        "account_id": planned.account_id,
        "reduces": planned.reduces,
        "order_id": intent.order_id,
        "state": intent.state.value,
        "final": int(intent.final),
        "denies": int(intent.state.denies),
        "resolved": int(intent.resolved),
        "version": intent.version,
        "planned_at": instant_text(planned.at),
        "updated_at": instant_text(intent.updated_at),
    }


def _insert_events(connection: Connection, intent_id: IntentId, first: int, events: Iterable[Event]) -> None:
    for number, event in enumerate(events, start=first):
        kind, body = encode_event(event)
        connection.execute(
            _INSERT_EVENT,
            {"intent_id": intent_id, "number": number, "kind": kind, "at": instant_text(event.at), "body": body},
        )


def _by_key(connection: Connection, tenant: str, environment: Environment, key: Key) -> Intent | None:
    values = {"tenant": tenant, "environment": environment.value, "key": key}
    found = connection.execute(_BY_KEY, values).scalar()
    return None if found is None else fold_all(_events(connection, found))


def _events(connection: Connection, intent_id: str) -> Iterable[Event]:
    rows = connection.execute(_EVENTS, {"id": intent_id})
    return [decode_event(kind, body) for kind, body in rows]
