"""Lanes, groups, sends, what decisions rest on, retention, and the journal's own number."""

from __future__ import annotations

from sqlalchemy import Connection

__all__ = ["upgrade"]

_STATEMENTS = (
    # Groups and orders of somebody else.
    "ALTER TABLE intents ADD COLUMN leg_of TEXT",
    "ALTER TABLE intents ADD COLUMN operation TEXT NOT NULL DEFAULT 'place'",
    """
    UPDATE intents SET operation = (
        SELECT json_extract(body, '$.operation') FROM intent_events
        WHERE intent_events.intent_id = intents.intent_id AND number = 1
    )
    """,
    "CREATE INDEX intents_legs ON intents (leg_of) WHERE leg_of IS NOT NULL",
    "CREATE INDEX intents_working ON intents (account_id, planned_at) WHERE final = 0 AND order_id IS NOT NULL",
    "CREATE INDEX intents_by_order ON intents (account_id, order_id) WHERE order_id IS NOT NULL",
    "CREATE INDEX intents_recent ON intents (planned_at)",
    "CREATE INDEX intents_ended ON intents (updated_at) WHERE final = 1",
    # Who may talk about orders of a user name: epoch rises each time, whoever holds an older one is fenced off.
    """
    CREATE TABLE lanes (
        username TEXT PRIMARY KEY,
        epoch    INTEGER NOT NULL,
        owner    TEXT NOT NULL,
        taken_at TEXT NOT NULL
    )
    """,
    # What a risk decision rests on: changes of limits and kill switches so far, sends of the account so far.
    "CREATE TABLE risk_state (id INTEGER PRIMARY KEY CHECK (id = 1), generation INTEGER NOT NULL)",
    "INSERT INTO risk_state (id, generation) VALUES (1, 0)",
    "CREATE TABLE send_serials (account_id TEXT PRIMARY KEY, serial INTEGER NOT NULL)",
    """
    CREATE TABLE sends (
        intent_id  TEXT NOT NULL,
        number     INTEGER NOT NULL,
        at         TEXT NOT NULL,
        tenant     TEXT NOT NULL,
        account_id TEXT NOT NULL,
        user       TEXT NOT NULL,
        api_key    TEXT NOT NULL,
        symbol     TEXT NOT NULL,
        conid      INTEGER NOT NULL,
        side       TEXT NOT NULL,
        quantity   TEXT NOT NULL,
        price      TEXT,
        value_usd  TEXT,
        operation  TEXT NOT NULL,
        strategy   TEXT NOT NULL,
        PRIMARY KEY (intent_id, number)
    ) WITHOUT ROWID
    """,
    "CREATE INDEX sends_of_account ON sends (account_id, at)",
    "CREATE INDEX sends_in_time ON sends (at)",
    """
    CREATE TRIGGER sends_are_not_changed BEFORE UPDATE ON sends
    BEGIN SELECT RAISE(ABORT, 'sends are append-only'); END
    """,
    # Retention: what ended long ago goes, a tombstone of its key stays, and in the end goes, too. Days are fractions of
    # days here, hence a minute less than 30 and 400.
    "CREATE TABLE purges (id INTEGER PRIMARY KEY CHECK (id = 1), at TEXT NOT NULL)",
    "INSERT INTO purges (id, at) VALUES (1, '')",
    """
    CREATE TRIGGER purges_do_not_go_back BEFORE UPDATE ON purges WHEN NEW.at < OLD.at
    BEGIN SELECT RAISE(ABORT, 'purges do not go back'); END
    """,
    """
    CREATE TABLE tombstones (
        tenant      TEXT NOT NULL,
        environment TEXT NOT NULL,
        key         TEXT NOT NULL,
        fingerprint TEXT NOT NULL,
        purged_at   TEXT NOT NULL,
        kept_until  TEXT NOT NULL,
        PRIMARY KEY (tenant, environment, key)
    ) WITHOUT ROWID
    """,
    "CREATE INDEX tombstones_until ON tombstones (kept_until)",
    """
    CREATE TRIGGER tombstones_are_of_what_ended BEFORE INSERT ON tombstones
    WHEN NOT EXISTS (
        SELECT 1 FROM intents
        WHERE tenant = NEW.tenant AND environment = NEW.environment AND key = NEW.key
          AND final = 1 AND (state != 'unknown_needs_human' OR resolved = 1)
          AND julianday(NEW.purged_at) - julianday(updated_at) > 29.999
          AND NEW.purged_at <= (SELECT at FROM purges)
    )
    BEGIN SELECT RAISE(ABORT, 'only what ended 30 days ago is purged'); END
    """,
    """
    CREATE TRIGGER tombstones_are_not_changed BEFORE UPDATE ON tombstones
    BEGIN SELECT RAISE(ABORT, 'tombstones are not changed'); END
    """,
    """
    CREATE TRIGGER tombstones_are_kept BEFORE DELETE ON tombstones
    WHEN OLD.kept_until > (SELECT at FROM purges) OR julianday(OLD.kept_until) - julianday(OLD.purged_at) < 399.999
    BEGIN SELECT RAISE(ABORT, 'tombstones are kept'); END
    """,
    "DROP TRIGGER intent_events_are_not_deleted",
    *(
        f"""
        CREATE TRIGGER {table}_are_not_deleted BEFORE DELETE ON {table}
        WHEN NOT EXISTS (
            SELECT 1 FROM intents JOIN tombstones USING (tenant, environment, key) WHERE intent_id = OLD.intent_id
        )
        BEGIN SELECT RAISE(ABORT, '{words} are append-only'); END
        """  # noqa: S608  # both are literals below
        for table, words in (("intent_events", "events"), ("sends", "sends"), ("intents", "intents"))
    ),
    # Which journal this is, and how far it has come: compared with the mark beside it (store/mark.py).
    """
    CREATE TABLE lineage (
        id         INTEGER PRIMARY KEY CHECK (id = 1),
        journal_id TEXT NOT NULL,
        changes    INTEGER NOT NULL,
        restored   INTEGER NOT NULL
    )
    """,
    "INSERT INTO lineage (id, journal_id, changes, restored) VALUES (1, lower(hex(randomblob(8))), 0, 0)",
)


def upgrade(connection: Connection) -> None:
    for statement in _STATEMENTS:
        connection.exec_driver_sql(statement)
