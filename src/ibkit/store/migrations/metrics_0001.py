"""Figures of each minute: one compact row for each connection and endpoint that was used in it."""

from __future__ import annotations

from sqlalchemy import JSON, BigInteger, Column, Connection, Float, Index, Integer, MetaData, String, Table

from ibkit.store.database import SCHEMA

__all__ = ["upgrade"]

_METADATA = MetaData(schema=SCHEMA)

_MINUTES = Table(
    "metric_minutes",
    _METADATA,
    Column("minute", Integer, primary_key=True, autoincrement=False),  # minutes since 1970
    Column("process", String(40), primary_key=True),
    Column("connection", String(64), primary_key=True),
    Column("endpoint", String(120), primary_key=True),
    Column("calls", Integer, nullable=False),
    Column("errors", JSON, nullable=False),
    Column("attempts", Integer, nullable=False),
    Column("retries", Integer, nullable=False),
    Column("seconds", Float, nullable=False),
    Column("buckets", JSON, nullable=False),
    Column("bytes_sent", BigInteger, nullable=False),
    Column("bytes_received", BigInteger, nullable=False),
    Column("waits", Integer, nullable=False),
    Column("waited_s", Float, nullable=False),
)
Index("metric_minutes_connection", _MINUTES.c.connection, _MINUTES.c.minute)


def upgrade(connection: Connection) -> None:
    _METADATA.create_all(connection)
