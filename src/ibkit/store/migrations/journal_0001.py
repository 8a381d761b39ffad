"""Intents, their events (append-only), alerts. Always SQLite: the journal is a local file."""

from __future__ import annotations

from sqlalchemy import Connection

__all__ = ["upgrade"]

_STATEMENTS = (
    """
    CREATE TABLE intents (
        intent_id   TEXT PRIMARY KEY,
        tenant      TEXT NOT NULL,
        environment TEXT NOT NULL,
        key         TEXT NOT NULL,
        username    TEXT NOT NULL,
        account_id  TEXT NOT NULL,
        reduces     TEXT,
        order_id    TEXT,
        state       TEXT NOT NULL,
        final       INTEGER NOT NULL,
        denies      INTEGER NOT NULL,
        resolved    INTEGER NOT NULL,
        version     INTEGER NOT NULL,
        planned_at  TEXT NOT NULL,
        updated_at  TEXT NOT NULL,
        UNIQUE (tenant, environment, key)
    )
    """,
    "CREATE INDEX intents_unfinished ON intents (username, planned_at) WHERE final = 0",
    "CREATE INDEX intents_denied ON intents (username, updated_at) WHERE denies = 1 AND resolved = 0",
    "CREATE INDEX intents_reducing ON intents (reduces) WHERE reduces IS NOT NULL",
    """
    CREATE TABLE intent_events (
        intent_id TEXT NOT NULL REFERENCES intents (intent_id),
        number    INTEGER NOT NULL,
        kind      TEXT NOT NULL,
        at        TEXT NOT NULL,
        body      TEXT NOT NULL,
        PRIMARY KEY (intent_id, number)
    ) WITHOUT ROWID
    """,
    """
    CREATE TRIGGER intent_events_are_not_changed BEFORE UPDATE ON intent_events
    BEGIN SELECT RAISE(ABORT, 'events are append-only'); END
    """,
    """
    CREATE TRIGGER intent_events_are_not_deleted BEFORE DELETE ON intent_events
    BEGIN SELECT RAISE(ABORT, 'events are append-only'); END
    """,
    """
    CREATE TABLE alerts (
        alert_id    TEXT PRIMARY KEY,
        kind        TEXT NOT NULL,
        severity    TEXT NOT NULL,
        subject     TEXT NOT NULL,
        message     TEXT NOT NULL,
        at          TEXT NOT NULL,
        details     TEXT NOT NULL,
        closed_at   TEXT,
        closed_note TEXT NOT NULL
    )
    """,
    "CREATE UNIQUE INDEX alerts_open ON alerts (kind, subject) WHERE closed_at IS NULL",
)


def upgrade(connection: Connection) -> None:
    for statement in _STATEMENTS:
        connection.exec_driver_sql(statement)
