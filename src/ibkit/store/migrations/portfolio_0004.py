"""Which answer each sync was read from, as rows that are found by the answer; and ledgers' rows by theirs.

Whether an answer is still needed was asked of every sync of everybody before. SQLite and PostgreSQL.
"""

from __future__ import annotations

from sqlalchemy import JSON, Column, Connection, Index, MetaData, String, Table, insert, select

from ibkit.store.database import SCHEMA

__all__ = ["upgrade"]

_METADATA = MetaData(schema=SCHEMA)

_USES = Table(
    "portfolio_payload_uses",
    _METADATA,
    Column("run_id", String(32), primary_key=True),
    Column("digest", String(64), primary_key=True),
    Column("account_key", String(32), nullable=False),
)
Index("portfolio_payload_uses_of", _USES.c.digest, _USES.c.account_key)
Index("portfolio_payload_uses_account", _USES.c.account_key)

_BEFORE = MetaData(schema=SCHEMA)
_RUNS = Table(
    "portfolio_sync_runs",
    _BEFORE,
    Column("run_id", String(32), primary_key=True),
    Column("account_key", String(32)),
    Column("raw", JSON),
)
_STATEMENTS = Table("portfolio_statements", _BEFORE, Column("digest", String(64)))
_TRANSACTIONS = Table("portfolio_transactions", _BEFORE, Column("digest", String(64)))
_CORRECTIONS = Table("portfolio_corrections", _BEFORE, Column("digest", String(64)))
_BY_DIGEST = (
    Index("portfolio_statements_digest", _STATEMENTS.c.digest),
    Index("portfolio_transactions_digest", _TRANSACTIONS.c.digest),
    Index("portfolio_corrections_digest", _CORRECTIONS.c.digest),
)


def upgrade(connection: Connection) -> None:
    _METADATA.create_all(connection)
    for index in _BY_DIGEST:
        index.create(connection)
    last = ""
    while True:
        query = select(_RUNS).where(_RUNS.c.run_id > last).order_by(_RUNS.c.run_id).limit(500)
        runs = connection.execute(query).all()
        if not runs:
            return
        last = runs[-1].run_id
        rows = [
            {"run_id": run.run_id, "digest": digest, "account_key": run.account_key}
            for run in runs
            for digest in {digest for _, _, digest in run.raw}
        ]
        if rows:
            connection.execute(insert(_USES), rows)
