"""When a reminder of old credentials was sent, how their keys are known again, and who recorded IBKR's approval."""

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


def upgrade(connection: Connection) -> None:
    postgresql = connection.dialect.name == "postgresql"
    table = f"{SCHEMA}.credentials" if postgresql else "credentials"
    instant = "TIMESTAMP WITH TIME ZONE" if postgresql else "VARCHAR(40)"
    connection.execute(text(f"ALTER TABLE {table} ADD COLUMN reminded_at {instant}"))
    connection.execute(text(f"ALTER TABLE {table} ADD COLUMN fingerprints JSON"))
    _METADATA.create_all(connection)
