"""When somebody was reminded of old credentials and keys, fingerprints of keys, and records of IBKR's approval."""

from __future__ import annotations

from sqlalchemy import Column, Connection, Integer, MetaData, String, Table, text

from ibkit.store.columns import Instant
from ibkit.store.database import SCHEMA

__all__ = ["upgrade"]

_METADATA = MetaData(schema=SCHEMA)

# Never changed and never deleted: who vouched for what, and when.
Table(
    "licences",
    _METADATA,
    Column("licence_id", Integer, primary_key=True),
    Column("reference", String(200), nullable=False),
    Column("accepted_by", String(200), nullable=False),
    Column("accepted_at", Instant, nullable=False),
)
# Whose the orders of before there were several users are; the newest row counts, "" where they are nobody's again.
Table(
    "earlier_owners",
    _METADATA,
    Column("row_id", Integer, primary_key=True),
    Column("user_id", String(64), nullable=False),
    Column("attached_by", String(200), nullable=False),
    Column("attached_at", Instant, nullable=False),
)


def upgrade(connection: Connection) -> None:
    postgresql = connection.dialect.name == "postgresql"
    table = f"{SCHEMA}.credentials" if postgresql else "credentials"
    instant = "TIMESTAMP WITH TIME ZONE" if postgresql else "VARCHAR(40)"
    keys = f"{SCHEMA}.vault_keys" if postgresql else "vault_keys"
    for each in (table, keys):
        connection.execute(text(f"ALTER TABLE {each} ADD COLUMN reminded_at {instant}"))
    connection.execute(text(f"ALTER TABLE {table} ADD COLUMN fingerprints JSON"))
    _METADATA.create_all(connection)
