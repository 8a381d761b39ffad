"""Reading intents: a row says how far one has come, and only what is new since the last look is read and folded.

Events are only ever appended (triggers refuse anything but the purge), so what was folded of an intent stays true: an
account with a thousand open orders is not folded anew for each order that is sent.
"""

from __future__ import annotations

from collections import OrderedDict
from threading import Lock
from typing import Any

from sqlalchemy import Connection

from ibkit.model import Environment, Key
from ibkit.store.event_codec import decode_event
from ibkit.store.journal_rows import id_of_key
from ibkit.store.transactions import driver_of
from ibkit.trading.intent import Intent, fold

__all__ = ["IntentReader"]

_KEPT = 4_096
"""Intents, of a few kilobytes each; more open ones are read from the file."""
_EVENTS_FROM = "SELECT kind, body FROM intent_events WHERE intent_id = ? AND number > ? ORDER BY number"


class IntentReader:
    """For transactions that only read: what another unit of a group commit wrote may yet be undone.

    What was folded is known by its intent's id and the moment of its plan: a key may be used anew 400 days after the
    purge of its order.
    """

    def __init__(self) -> None:
        self._folded: OrderedDict[tuple[str, str], Intent] = OrderedDict()
        self._lock = Lock()

    def where(
        self, connection: Connection, condition: str, values: tuple[Any, ...], *, newest: int | None = None
    ) -> tuple[Intent, ...]:
        """The intents of a condition on their rows, oldest first; or the `newest` so many, newest first.

        `condition` is a literal of ours; values are bound.
        """
        down, most = ("", -1) if newest is None else (" DESC", newest)
        driver = driver_of(connection)
        found = driver.execute(
            f"SELECT intent_id, planned_at, version FROM intents WHERE {condition}"  # noqa: S608
            f" ORDER BY planned_at{down}, rowid{down} LIMIT ?",
            (*values, most),
        ).fetchall()
        return tuple([self._read(driver, *row) for row in found])

    def by_key(self, connection: Connection, tenant: str, environment: Environment, key: Key) -> Intent | None:
        """KeyReused where the record of its order is purged."""
        found = id_of_key(connection, tenant, environment, key)
        return None if found is None else next(iter(self.where(connection, "intent_id = ?", (found,))))

    def _read(self, driver: Any, intent_id: str, planned_at: str, version: int) -> Intent:
        place = (intent_id, planned_at)
        with self._lock:
            known = self._folded.get(place)
            if known is not None and known.version == version:
                self._folded.move_to_end(place)
                return known
        if known is not None and known.version > version:
            known = None  # a snapshot from before what we have read: seldom, and read whole
        intent = known
        events = driver.execute(_EVENTS_FROM, (intent_id, 0 if known is None else known.version)).fetchall()
        for kind, body in events:
            intent = fold(intent, decode_event(kind, body))
        assert intent is not None, "a row has its events"
        self._keep(place, intent)
        return intent

    def _keep(self, place: tuple[str, str], intent: Intent) -> None:
        with self._lock:
            there = self._folded.get(place)
            if there is None or there.version < intent.version:
                self._folded[place] = intent
            self._folded.move_to_end(place)
            if len(self._folded) > _KEPT:
                self._folded.popitem(last=False)
