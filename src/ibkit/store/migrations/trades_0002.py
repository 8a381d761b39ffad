"""How a trade is to end (exit_plan) and the legs of a spread; rows from before have neither."""

from __future__ import annotations

from sqlalchemy import Connection, text

from ibkit.store.database import SCHEMA

__all__ = ["upgrade"]


def upgrade(connection: Connection) -> None:
    table = f"{SCHEMA}.trades" if connection.dialect.name == "postgresql" else "trades"
    for column in ("exit_plan", "legs"):
        connection.execute(text(f"ALTER TABLE {table} ADD COLUMN {column} JSON"))
