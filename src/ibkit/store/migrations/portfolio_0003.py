"""Ledgers of accounts: statements, transactions, what was told otherwise before, differences. SQLite and PostgreSQL.

The files that they were read from stand among the `raw_payloads`, for ever. A transaction is about 1 kB.
"""

from __future__ import annotations

from sqlalchemy import (
    JSON,
    Boolean,
    Column,
    Connection,
    Date,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    String,
    Table,
    Text,
)

from ibkit.store.columns import Instant
from ibkit.store.database import SCHEMA

__all__ = ["upgrade"]

_METADATA = MetaData(schema=SCHEMA)

# revision: counts the changes of what is told. lot_order, premium_into_stock, picks: rules that a person chose.
Table(
    "portfolio_ledgers",
    _METADATA,
    Column("account_key", String(32), primary_key=True),
    Column("revision", Integer, nullable=False),
    Column("lot_order", String(16), nullable=False),
    Column("premium_into_stock", Boolean, nullable=False),
    Column("picks", JSON, nullable=False),
)

# digest, number: of the payload, and which statement in it. body: cash, positions, rates and words, compressed.
Table(
    "portfolio_statements",
    _METADATA,
    Column("account_key", String(32), primary_key=True),
    Column("digest", String(64), primary_key=True),
    Column("number", Integer, primary_key=True),
    Column("account_id", String(32), nullable=False),
    Column("origin", Integer, nullable=False),
    Column("first", Date, nullable=False),
    Column("last", Date, nullable=False),
    Column("made_at", Instant),
    Column("kept_at", Instant, nullable=False),
    Column("base", String(5), nullable=False),
    Column("tells_cash", Boolean, nullable=False),
    Column("tells_holdings", Boolean, nullable=False),
    Column("missing", JSON, nullable=False),
    Column("body", LargeBinary, nullable=False),
)

# key: the first of its ids. at, booked_on, origin, kind, conid, digest: of the body, to look for.
_TRANSACTIONS = Table(
    "portfolio_transactions",
    _METADATA,
    Column("account_key", String(32), primary_key=True),
    Column("account_id", String(32), primary_key=True),
    Column("key", String(200), primary_key=True),
    Column("at", Instant, nullable=False),
    Column("booked_on", Date, nullable=False),
    Column("origin", Integer, nullable=False),
    Column("kind", String(20), nullable=False),
    Column("conid", Integer, nullable=False),
    Column("digest", String(64), nullable=False),
    Column("body", Text, nullable=False),
)
Index("portfolio_transactions_at", _TRANSACTIONS.c.account_key, _TRANSACTIONS.c.account_id, _TRANSACTIONS.c.at)

# digest: of the payload that told otherwise. before: all that it takes the place of; after: what counts since.
Table(
    "portfolio_corrections",
    _METADATA,
    Column("account_key", String(32), primary_key=True),
    Column("number", Integer, primary_key=True),
    Column("account_id", String(32), nullable=False),
    Column("key", String(200), nullable=False),
    Column("noted_at", Instant, nullable=False),
    Column("digest", String(64), nullable=False),
    Column("what", JSON, nullable=False),
    Column("before", JSON, nullable=False),
    Column("after", JSON, nullable=False),
)

# subject: what differs from what, the same as long as it does. state: open, accepted, resolved. body: the figures.
Table(
    "portfolio_differences",
    _METADATA,
    Column("account_key", String(32), primary_key=True),
    Column("item_id", String(32), primary_key=True),
    Column("subject", String(200), nullable=False),
    Column("state", String(16), nullable=False),
    Column("found_at", Instant, nullable=False),
    Column("seen_at", Instant, nullable=False),
    Column("settled_at", Instant),
    Column("settled_by", String(64), nullable=False),
    Column("note", String(500), nullable=False),
    Column("body", Text, nullable=False),
)


def upgrade(connection: Connection) -> None:
    _METADATA.create_all(connection)
