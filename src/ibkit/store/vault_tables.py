"""The tables of the vault as the present code knows them."""

from __future__ import annotations

from sqlalchemy import JSON, Column, Connection, Integer, MetaData, String, Table, Text, text

from ibkit.store.columns import Instant
from ibkit.store.database import SCHEMA

__all__ = ["CREDENTIALS", "KEYS", "LICENCES", "SEALED", "one_at_a_time"]

_METADATA = MetaData(schema=SCHEMA)

CREDENTIALS = Table(
    "credentials",
    _METADATA,
    Column("credential_id", String, primary_key=True),
    *(Column(name, String) for name in ("user_id", "connection_id", "method", "environment", "label", "status")),
    Column("last_error", String),
    *(
        Column(name, Instant)
        for name in ("created_at", "changed_at", "last_used_at", "last_connected_at", "reminded_at")
    ),
    Column("version", Integer),
    Column("fingerprints", JSON),
)
LICENCES = Table(
    "licences",
    _METADATA,
    Column("licence_id", Integer, primary_key=True),
    *(Column(name, String) for name in ("reference", "accepted_by")),
    Column("accepted_at", Instant),
)
SEALED = Table(
    "sealed",
    _METADATA,
    Column("sealed_id", Integer, primary_key=True),
    *(Column(name, String) for name in ("user_id", "record", "field")),
    Column("text", Text),
)
KEYS = Table(
    "vault_keys",
    _METADATA,
    Column("key_id", String, primary_key=True),
    Column("check_value", Text),
    Column("since", Instant),
    Column("superseded_at", Instant),
)


def one_at_a_time(connection: Connection) -> None:
    """Changes of the vault wait for each other, also those of other processes: no two of them deadlock or overtake."""
    # SQLite has one writer anyway.
    if connection.dialect.name == "postgresql":
        connection.execute(text("SELECT pg_advisory_xact_lock(hashtext('ibkit vault'))"))
