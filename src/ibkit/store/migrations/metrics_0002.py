"""How many connections of the pool were in use at once, in each minute."""

from __future__ import annotations

from sqlalchemy import Connection, text

from ibkit.store.database import SCHEMA

__all__ = ["upgrade"]


def upgrade(connection: Connection) -> None:
    table = f"{SCHEMA}.metric_minutes" if connection.dialect.name == "postgresql" else "metric_minutes"
    connection.execute(text(f"ALTER TABLE {table} ADD COLUMN at_once INTEGER NOT NULL DEFAULT 0"))
