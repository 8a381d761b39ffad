"""Changes of limits and halts, append-only; each raises the generation that decisions rest on."""

from __future__ import annotations

from sqlalchemy import Connection

__all__ = ["upgrade"]

_TABLES = ("limit_changes", "limit_confirmations", "halts", "halt_releases")

_STATEMENTS = (
    """
    CREATE TABLE limit_changes (
        number       INTEGER PRIMARY KEY AUTOINCREMENT,
        at           TEXT NOT NULL,
        by           TEXT NOT NULL,
        note         TEXT NOT NULL,
        environment  TEXT NOT NULL,
        layer        TEXT NOT NULL,
        whose        TEXT NOT NULL,
        name         TEXT NOT NULL,
        old          TEXT,
        new          TEXT,
        needs_second INTEGER NOT NULL
    )
    """,
    """
    CREATE TABLE limit_confirmations (
        number INTEGER PRIMARY KEY REFERENCES limit_changes (number),
        at     TEXT NOT NULL,
        by     TEXT NOT NULL
    )
    """,
    """
    CREATE TABLE halts (
        number      INTEGER PRIMARY KEY AUTOINCREMENT,
        at          TEXT NOT NULL,
        by          TEXT NOT NULL,
        note        TEXT NOT NULL,
        environment TEXT NOT NULL,
        mode        TEXT NOT NULL,
        tenant      TEXT NOT NULL,
        account_id  TEXT NOT NULL,
        symbol      TEXT NOT NULL,
        until       TEXT,
        control     TEXT NOT NULL
    )
    """,
    # One row for each person who wants it to end; the last of those that are needed ends it.
    """
    CREATE TABLE halt_releases (
        halt  INTEGER NOT NULL REFERENCES halts (number),
        by    TEXT NOT NULL COLLATE NOCASE,
        at    TEXT NOT NULL,
        note  TEXT NOT NULL,
        ended INTEGER NOT NULL,
        PRIMARY KEY (halt, by)
    )
    """,
    *(
        f"""
        CREATE TRIGGER {table}_are_not_{verb}d BEFORE {verb.upper()} ON {table}
        BEGIN SELECT RAISE(ABORT, '{table} are append-only'); END
        """
        for table in _TABLES
        for verb in ("update", "delete")
    ),
    # In the database itself, so that no writer can forget it.
    *(
        f"""
        CREATE TRIGGER {table}_raise_the_generation AFTER INSERT ON {table}
        BEGIN UPDATE risk_state SET generation = generation + 1 WHERE id = 1; END
        """  # noqa: S608  # the tables are those above
        for table in _TABLES
    ),
    # What a decision reads of the intents of an account.
    "CREATE INDEX intents_open ON intents (account_id, operation) WHERE final = 0",
    "CREATE INDEX intents_unknown ON intents (account_id) WHERE state = 'unknown_needs_human' AND resolved = 0",
    """
    CREATE INDEX intents_rejected ON intents (account_id, updated_at)
    WHERE state IN ('rejected_broker', 'rejected_late')
    """,
    "CREATE INDEX intents_ended_in ON intents (account_id, updated_at) WHERE final = 1",
)


def upgrade(connection: Connection) -> None:
    for statement in _STATEMENTS:
        connection.exec_driver_sql(statement)
