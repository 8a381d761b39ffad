"""Portfolios with their accounts, holdings and securities; syncs, and the answers they were read from.

Answers are kept as they came and only grow; what nothing points to any more may be deleted. SQLite and PostgreSQL.
"""

from __future__ import annotations

from sqlalchemy import JSON, Boolean, Column, Connection, Date, Index, Integer, LargeBinary, MetaData, String, Table

from ibkit.store.columns import Exact, Instant
from ibkit.store.database import SCHEMA

__all__ = ["upgrade"]

_METADATA = MetaData(schema=SCHEMA)

_PORTFOLIOS = Table(
    "portfolios",
    _METADATA,
    Column("portfolio_id", String(32), primary_key=True),
    Column("user_id", String(64), nullable=False),
    Column("name", String(200), nullable=False),
    Column("currency", String(5), nullable=False),
    Column("version", Integer, nullable=False),
    Column("created_at", Instant, nullable=False),
    Column("updated_at", Instant, nullable=False),
)
Index("portfolios_of", _PORTFOLIOS.c.user_id, _PORTFOLIOS.c.name)

# account_id: at IBKR, null for an account kept by hand. set_aside: manual holdings of before the connection.
# fence, claimed_until: of the sync that runs.
_ACCOUNTS = Table(
    "portfolio_accounts",
    _METADATA,
    Column("account_key", String(32), primary_key=True),
    Column("portfolio_id", String(32), nullable=False),
    Column("name", String(200), nullable=False),
    Column("place", Integer, nullable=False),
    Column("set_aside", JSON),
    Column("account_id", String(32)),
    Column("connection_id", String(64), nullable=False),
    Column("username", String(64), nullable=False),
    Column("sync_enabled", Boolean, nullable=False),
    Column("read_only", Boolean, nullable=False),
    Column("keep_manual", Boolean, nullable=False),
    Column("currency", String(5), nullable=False),
    Column("total_value", Exact),
    Column("status", String(16), nullable=False),
    Column("last_sync", Instant),
    Column("error_code", String(40), nullable=False),
    Column("error_message", String(500), nullable=False),
    Column("error_remedy", String(500), nullable=False),
    Column("failures", Integer, nullable=False),
    Column("fence", Integer, nullable=False),
    Column("claimed_until", Instant),
)
Index("portfolio_accounts_names", _ACCOUNTS.c.portfolio_id, _ACCOUNTS.c.name, unique=True)
_LINKED = _ACCOUNTS.c.account_id.is_not(None)
Index(
    "portfolio_accounts_links",
    _ACCOUNTS.c.portfolio_id,
    _ACCOUNTS.c.account_id,
    unique=True,
    sqlite_where=_LINKED,
    postgresql_where=_LINKED,
)

# conid: 0 where IBKR does not know it. expiry, strike, right: of derivatives.
Table(
    "portfolio_holdings",
    _METADATA,
    Column("account_key", String(32), primary_key=True),
    Column("symbol", String(200), primary_key=True),
    Column("conid", Integer, primary_key=True),
    Column("model", String(64), primary_key=True),
    Column("units", Exact, nullable=False),
    Column("source", String(8), nullable=False),
    Column("currency", String(5), nullable=False),
    Column("kind", String(16), nullable=False),
    Column("average_cost", Exact),
    Column("market_price", Exact),
    Column("market_value", Exact),
    Column("unrealized_pnl", Exact),
    Column("realized_pnl", Exact),
    Column("asset_class", String(16), nullable=False),
    Column("exchange", String(32), nullable=False),
    Column("multiplier", Exact, nullable=False),
    Column("expiry", Date),
    Column("strike", Exact),
    Column("right", String(1), nullable=False),
    Column("underlying_conid", Integer),
    Column("synced_at", Instant),
    Column("run_id", String(32), nullable=False),
)

Table(
    "portfolio_securities",
    _METADATA,
    Column("portfolio_id", String(32), primary_key=True),
    Column("symbol", String(200), primary_key=True),
    Column("conid", Integer, primary_key=True),
    Column("name", String(200), nullable=False),
    Column("kind", String(16), nullable=False),
    Column("currency", String(5), nullable=False),
    Column("tags", JSON, nullable=False),
    Column("unit_price", Exact),
    Column("identifier", String(300), nullable=False),
    Column("exchange", String(32), nullable=False),
    Column("sector", String(100), nullable=False),
)

# raw: [[what, part, digest], …] of the answers that it was read from.
_RUNS = Table(
    "portfolio_sync_runs",
    _METADATA,
    Column("run_id", String(32), primary_key=True),
    Column("portfolio_id", String(32), nullable=False),
    Column("account_key", String(32), nullable=False),
    Column("account_id", String(32), nullable=False),
    Column("ended_at", Instant, nullable=False),
    Column("code", String(40), nullable=False),
    Column("added", Integer, nullable=False),
    Column("changed", Integer, nullable=False),
    Column("removed", Integer, nullable=False),
    Column("new_securities", Integer, nullable=False),
    Column("raw", JSON, nullable=False),
)
Index("portfolio_sync_runs_of", _RUNS.c.account_key, _RUNS.c.ended_at)

# body: compressed with zlib. digest: SHA-256 of the bytes as they came, in hex.
Table(
    "raw_payloads",
    _METADATA,
    Column("digest", String(64), primary_key=True),
    Column("what", String(100), nullable=False),
    Column("received_at", Instant, nullable=False),
    Column("size", Integer, nullable=False),
    Column("body", LargeBinary, nullable=False),
)

_SQLITE = (
    """
    CREATE TRIGGER raw_payloads_are_not_changed BEFORE UPDATE ON raw_payloads
    BEGIN SELECT RAISE(ABORT, 'an answer is kept as it came'); END
    """,
)
_POSTGRESQL = (
    f"""
    CREATE FUNCTION {SCHEMA}.raw_payloads_stay() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN RAISE EXCEPTION 'an answer is kept as it came'; END $$
    """,
    f"""
    CREATE TRIGGER raw_payloads_are_not_changed BEFORE UPDATE ON {SCHEMA}.raw_payloads
    FOR EACH ROW EXECUTE FUNCTION {SCHEMA}.raw_payloads_stay()
    """,
)


def upgrade(connection: Connection) -> None:
    _METADATA.create_all(connection)
    for statement in _POSTGRESQL if connection.dialect.name == "postgresql" else _SQLITE:
        connection.exec_driver_sql(statement)
