"""The audit log: its entries, and the anchors of what retention took away. Both only grow, for every user of SQL.

Entries may be deleted up to the newest anchor and nowhere else; an anchor that nobody has signed is found by `verify`.
The texts are kept as they are hashed, so an instant is text on both engines.
"""

from __future__ import annotations

from sqlalchemy import BigInteger, Column, Connection, Index, Integer, LargeBinary, MetaData, String, Table, Text

from ibkit.store.database import SCHEMA

__all__ = ["upgrade"]

_METADATA = MetaData(schema=SCHEMA)
_NUMBER = BigInteger().with_variant(Integer, "sqlite")

_ENTRIES = Table(
    "audit_entries",
    _METADATA,
    Column("number", _NUMBER, primary_key=True, autoincrement=False),
    Column("at", String(40), nullable=False),
    Column("actor", Text, nullable=False),
    Column("address", Text, nullable=False),
    Column("action", Text, nullable=False),
    Column("object", Text, nullable=False),
    Column("result", Text, nullable=False),
    Column("details", Text, nullable=False),
    Column("previous", LargeBinary(32), nullable=False),
    Column("hash", LargeBinary(32), nullable=False),
)
Index("audit_entries_at", _ENTRIES.c.at)

Table(
    "audit_anchors",
    _METADATA,
    Column("number", _NUMBER, primary_key=True, autoincrement=False),
    Column("hash", String(64), nullable=False),
    Column("at", String(40), nullable=False),
    Column("public_key", String(64), nullable=False),
    Column("signature", String(128), nullable=False),
)

_ANCHORED = "OLD.number <= (SELECT coalesce(max(number), 0) FROM {schema}audit_anchors)"
_SQLITE = (
    """
    CREATE TRIGGER audit_entries_are_not_changed BEFORE UPDATE ON audit_entries
    BEGIN SELECT RAISE(ABORT, 'the audit log is append-only'); END
    """,
    f"""
    CREATE TRIGGER audit_entries_are_not_deleted BEFORE DELETE ON audit_entries
    WHEN NOT {_ANCHORED.format(schema="")}
    BEGIN SELECT RAISE(ABORT, 'the audit log is append-only'); END
    """,
    """
    CREATE TRIGGER audit_anchors_are_not_changed BEFORE UPDATE ON audit_anchors
    BEGIN SELECT RAISE(ABORT, 'the audit log is append-only'); END
    """,
    """
    CREATE TRIGGER audit_anchors_are_not_deleted BEFORE DELETE ON audit_anchors
    BEGIN SELECT RAISE(ABORT, 'the audit log is append-only'); END
    """,
)
_POSTGRESQL = (
    f"""
    CREATE FUNCTION {SCHEMA}.audit_only_grows() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN
        IF TG_OP = 'DELETE' AND TG_TABLE_NAME = 'audit_entries' THEN
            IF {_ANCHORED.format(schema=f"{SCHEMA}.")} THEN
                RETURN OLD;
            END IF;
        END IF;
        RAISE EXCEPTION 'the audit log is append-only';
    END $$
    """,
    *(
        f"""
        CREATE TRIGGER {table}_only_grow BEFORE UPDATE OR DELETE ON {SCHEMA}.{table}
        FOR EACH ROW EXECUTE FUNCTION {SCHEMA}.audit_only_grows()
        """
        for table in ("audit_entries", "audit_anchors")
    ),
    *(
        f"""
        CREATE TRIGGER {table}_are_not_emptied BEFORE TRUNCATE ON {SCHEMA}.{table}
        FOR EACH STATEMENT EXECUTE FUNCTION {SCHEMA}.audit_only_grows()
        """
        for table in ("audit_entries", "audit_anchors")
    ),
)


def upgrade(connection: Connection) -> None:
    _METADATA.create_all(connection)
    for statement in _POSTGRESQL if connection.dialect.name == "postgresql" else _SQLITE:
        connection.exec_driver_sql(statement)
