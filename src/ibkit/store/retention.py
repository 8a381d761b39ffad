"""How long the journal keeps what ended: 30 days whole, then its key and fingerprint for 400. Source: GWY-03, D-30.

The triggers of the tables allow exactly this and nothing else (migrations/journal_0002.py).
"""

from __future__ import annotations

from datetime import datetime, timedelta

from sqlalchemy import Connection

from ibkit.store.columns import instant_text

__all__ = ["AT_ONCE", "KEPT", "TOMBSTONE", "purge_some"]

KEPT = timedelta(days=30)
TOMBSTONE = timedelta(days=400)
AT_ONCE = 200
"""Records in one transaction: a longer one would hold up an order."""

# What is over, and known. Never a part of a family (an order, those that undo it, those of its group) of which another
# part is not due: how much is left to undo is the order less all that undid it, so one of them alone lies. Nor a change
# of an order that still works: it tells the order's terms.
_KEPT = "(kin.final = 0 OR kin.updated_at > ?1 OR (kin.state = 'unknown_needs_human' AND kin.resolved = 0))"
_KIN = (
    "kin.reduces = i.intent_id",
    "kin.leg_of = i.intent_id",
    "kin.intent_id = i.reduces",
    "kin.intent_id = i.leg_of",
)
_DUE = (
    "SELECT intent_id FROM intents AS i WHERE final = 1 AND updated_at <= ?1"  # noqa: S608  # literals alone
    " AND (state != 'unknown_needs_human' OR resolved = 1)"
    + "".join(
        f" AND NOT EXISTS (SELECT 1 FROM intents AS kin WHERE {whose} AND {_KEPT})"  # noqa: S608
        for whose in (*_KIN, "kin.reduces = i.reduces", "kin.leg_of = i.leg_of")
    )
    + " AND NOT (operation = 'modify' AND EXISTS (SELECT 1 FROM intents AS target WHERE target.final = 0"
    " AND target.account_id = i.account_id AND target.order_id = (SELECT json_extract(body, '$.target')"
    " FROM intent_events WHERE intent_events.intent_id = i.intent_id AND number = 1)))"
    " ORDER BY updated_at LIMIT ?2"
)
_BURY = """
    INSERT INTO tombstones (tenant, environment, key, fingerprint, purged_at, kept_until)
    SELECT tenant, environment, key, json_extract(body, '$.fingerprint'), ?, ?
    FROM intents JOIN intent_events USING (intent_id) WHERE intent_id = ? AND number = 1
"""
_GONE = tuple(f"DELETE FROM {table} WHERE intent_id = ?" for table in ("sends", "intent_events", "intents"))  # noqa: S608
_FORGET = """
    DELETE FROM tombstones WHERE (tenant, environment, key) IN (
        SELECT tenant, environment, key FROM tombstones WHERE kept_until <= ? ORDER BY kept_until LIMIT ?
    )
"""


def purge_some(connection: Connection, now: datetime) -> int:
    """Some of what is due, in the caller's transaction: how many records and tombstones went; 0 where none is due."""
    at = instant_text(now)
    due = connection.exec_driver_sql(_DUE, (instant_text(now - KEPT), AT_ONCE)).scalars().all()
    connection.exec_driver_sql("UPDATE purges SET at = ? WHERE id = 1 AND at < ?", (at, at))
    for intent_id in due:
        connection.exec_driver_sql(_BURY, (at, instant_text(now + TOMBSTONE), intent_id))
        for statement in _GONE:
            connection.exec_driver_sql(statement, (intent_id,))
    return len(due) + connection.exec_driver_sql(_FORGET, (at, AT_ONCE)).rowcount
