"""Order requests of the last minute, so that all processes of a service count them together; both engines."""

from __future__ import annotations

from sqlalchemy import Column, Connection, Index, Integer, MetaData, String, Table

from ibkit.store.columns import Instant
from ibkit.store.database import SCHEMA

__all__ = ["upgrade"]

_METADATA = MetaData(schema=SCHEMA)

_REQUESTS = Table(
    "order_requests",
    _METADATA,
    Column("request_id", Integer, primary_key=True),
    Column("user_id", String(64), nullable=False),
    Column("at", Instant, nullable=False),
)
Index("order_requests_user", _REQUESTS.c.user_id, _REQUESTS.c.at)
Index("order_requests_at", _REQUESTS.c.at)


def upgrade(connection: Connection) -> None:
    _METADATA.create_all(connection)
