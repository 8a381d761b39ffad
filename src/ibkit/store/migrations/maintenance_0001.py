"""Windows in which the service is worked on: planned, told of, over."""

from __future__ import annotations

from sqlalchemy import CheckConstraint, Column, Connection, Integer, MetaData, String, Table

from ibkit.store.columns import Instant
from ibkit.store.database import SCHEMA

__all__ = ["upgrade"]

_METADATA = MetaData(schema=SCHEMA)

_WINDOWS = Table(
    "maintenance",
    _METADATA,
    Column("window_id", String(16), primary_key=True),
    Column("starts_at", Instant, nullable=False),
    Column("ends_at", Instant, nullable=False),
    Column("text", String(500), nullable=False),
    Column("planned_by", String(200), nullable=False),
    Column("planned_at", Instant, nullable=False),
    Column("cancelled_at", Instant),
    Column("told", Integer, nullable=False, server_default="0"),
    CheckConstraint("ends_at > starts_at", name="maintenance_ends"),
)


def upgrade(connection: Connection) -> None:
    _METADATA.create_all(connection)
