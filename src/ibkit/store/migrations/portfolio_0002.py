"""What each account was at the end of each day, and what came in and went out of it. SQLite and PostgreSQL.

A day is about 16 kB for 500 positions, compressed: some 41 MB for ten years of one account. It is kept for ever.
"""

from __future__ import annotations

from sqlalchemy import JSON, Column, Connection, Date, LargeBinary, MetaData, String, Table

from ibkit.store.columns import Exact, Instant
from ibkit.store.database import SCHEMA

__all__ = ["upgrade"]

_METADATA = MetaData(schema=SCHEMA)

# rates, cash: by currency, as texts. body: the holdings, compressed with zlib, and last: the rest is read without it.
Table(
    "portfolio_days",
    _METADATA,
    Column("account_key", String(32), primary_key=True),
    Column("day", Date, primary_key=True),
    Column("account_id", String(32), nullable=False),
    Column("taken_at", Instant, nullable=False),
    Column("currency", String(5), nullable=False),
    Column("net_liquidation", Exact),
    Column("rates", JSON, nullable=False),
    Column("cash", JSON, nullable=False),
    Column("body", LargeBinary, nullable=False),
)

# amount: in the account's base currency, positive where it came in. A day inside a span and without a row had none.
Table(
    "portfolio_flows",
    _METADATA,
    Column("account_key", String(32), primary_key=True),
    Column("account_id", String(32), primary_key=True),
    Column("day", Date, primary_key=True),
    Column("amount", Exact, nullable=False),
)
Table(
    "portfolio_flow_spans",
    _METADATA,
    Column("account_key", String(32), primary_key=True),
    Column("account_id", String(32), primary_key=True),
    Column("since", Date, primary_key=True),
    Column("until", Date, nullable=False),
)


def upgrade(connection: Connection) -> None:
    _METADATA.create_all(connection)
