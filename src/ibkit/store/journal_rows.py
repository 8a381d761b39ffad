"""Intents and their events to and from the rows of the journal. Everything runs inside a caller's transaction.

Statements are constant texts given to the driver, which keeps each of them prepared on its connection.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from sqlalchemy import Connection

from ibkit.errors import InFlight, KeyReused
from ibkit.model import Environment, Key
from ibkit.store.columns import instant_text
from ibkit.store.event_codec import decode_event, encode_event
from ibkit.store.transactions import driver_of
from ibkit.trading.events import Event, IntentId
from ibkit.trading.intent import Intent, fold_all

__all__ = ["by_key", "events_of", "id_of_key", "insert_intent", "insert_leg", "update_intent"]

_INSERT = (
    "INSERT INTO intents (intent_id, tenant, environment, key, username, account_id, reduces, leg_of, operation,"
    " planned_at, order_id, state, final, denies, resolved, version, updated_at)"
    " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
)
_UPDATE = (
    "UPDATE intents SET order_id = ?, state = ?, final = ?, denies = ?, resolved = ?, version = ?, updated_at = ?"
    " WHERE intent_id = ? AND version = ?"
)
_INSERT_EVENT = "INSERT INTO intent_events (intent_id, number, kind, at, body) VALUES (?, ?, ?, ?, ?)"
_BY_KEY = "SELECT intent_id FROM intents WHERE tenant = ? AND environment = ? AND key = ?"
_TOMBSTONE = "SELECT purged_at FROM tombstones WHERE tenant = ? AND environment = ? AND key = ?"
_EVENTS = "SELECT kind, body FROM intent_events WHERE intent_id = ? ORDER BY number"


def insert_intent(connection: Connection, intent: Intent, events: Sequence[Event]) -> None:
    """A new intent, which is what its `events` make of it."""
    planned = intent.planned
    fixed = (
        intent.intent_id,
        planned.tenant,
        planned.environment.value,
        planned.key,
        planned.username,
        planned.account_id,
        planned.reduces,
        planned.leg_of,
        planned.operation.value,
        instant_text(planned.at),
    )
    driver_of(connection).execute(_INSERT, fixed + _changing(intent))
    _insert_events(connection, intent.intent_id, 1, events)


def insert_leg(connection: Connection, intent: Intent, events: Sequence[Event]) -> None:
    """A further order of a group, unless it is there, or was there and is purged."""
    planned = intent.planned
    key = (planned.tenant, planned.environment.value, planned.key)
    if not any(driver_of(connection).execute(found, key).fetchone() for found in (_BY_KEY, _TOMBSTONE)):
        insert_intent(connection, intent, events)


def update_intent(connection: Connection, before: Intent, after: Intent, events: Sequence[Event]) -> None:
    """`before` becomes `after`. InFlight where it is no longer what is stored (compare-and-set on its version)."""
    changed = driver_of(connection).execute(_UPDATE, (*_changing(after), before.intent_id, before.version))
    if changed.rowcount != 1:
        raise InFlight(f"Order {before.intent_id} was moved by another process", details={"intent": before.intent_id})
    _insert_events(connection, before.intent_id, before.version + 1, events)


def by_key(connection: Connection, tenant: str, environment: Environment, key: Key) -> Intent | None:
    """As `id_of_key`: the intent itself."""
    found = id_of_key(connection, tenant, environment, key)
    return None if found is None else fold_all(events_of(connection, found))


def id_of_key(connection: Connection, tenant: str, environment: Environment, key: Key) -> str | None:
    """KeyReused where the record of its order is purged: it is never executed anew."""
    of_key = (tenant, environment.value, key)
    driver = driver_of(connection)
    found = driver.execute(_BY_KEY, of_key).fetchone()
    if found is not None:
        return str(found[0])
    purged = driver.execute(_TOMBSTONE, of_key).fetchone()
    if purged is not None:
        purged_at: str = purged[0]
        raise KeyReused(
            f"The key {key} belongs to an order whose record was purged on {purged_at[:10]}",
            remedy="Use a new key for a new order.",
            details={"purged_at": purged_at},
        )
    return None


def events_of(connection: Connection, intent_id: str) -> tuple[Event, ...]:
    rows = driver_of(connection).execute(_EVENTS, (intent_id,)).fetchall()
    return tuple(decode_event(kind, body) for kind, body in rows)


def _changing(intent: Intent) -> tuple[Any, ...]:
    """The columns that an event may change, in the order of both statements."""
    return (
        intent.order_id,
        intent.state.value,
        int(intent.final),
        int(intent.state.denies),
        int(intent.resolved),
        intent.version,
        instant_text(intent.updated_at),
    )


def _insert_events(connection: Connection, intent_id: IntentId, first: int, events: Iterable[Event]) -> None:
    rows: list[tuple[Any, ...]] = []
    for number, event in enumerate(events, start=first):
        kind, body = encode_event(event)
        rows.append((intent_id, number, kind, instant_text(event.at), body))
    driver_of(connection).executemany(_INSERT_EVENT, rows)
