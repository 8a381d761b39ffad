"""Which answer each sync was read from, as rows that are found by the answer; and ledgers' rows by theirs.

Whether an answer is still needed was asked of every sync of everybody before. And live executions that were booked as
if paid for by price and size go: those of futures, CFDs, pairs of currencies, bonds and bills. SQLite and PostgreSQL.
"""

from __future__ import annotations

import json

from sqlalchemy import (
    JSON,
    Column,
    Connection,
    Index,
    Integer,
    MetaData,
    String,
    Table,
    Text,
    delete,
    insert,
    select,
    update,
)

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
_TRANSACTIONS = Table(
    "portfolio_transactions",
    _BEFORE,
    Column("account_key", String(32), primary_key=True),
    Column("account_id", String(32), primary_key=True),
    Column("key", String(200), primary_key=True),
    Column("origin", Integer),
    Column("kind", String(20)),
    Column("digest", String(64)),
    Column("body", Text),
)
_LEDGERS = Table("portfolio_ledgers", _BEFORE, Column("account_key", String(32)), Column("revision", Integer))
_CORRECTIONS = Table("portfolio_corrections", _BEFORE, Column("digest", String(64)))
_BY_DIGEST = (
    Index("portfolio_statements_digest", _STATEMENTS.c.digest),
    Index("portfolio_transactions_digest", _TRANSACTIONS.c.digest),
    Index("portfolio_corrections_digest", _CORRECTIONS.c.digest),
)


_LIVE = 1
_NOT_PAID_SO = ("FUT", "CFD", "CASH", "BOND", "BILL")


def upgrade(connection: Connection) -> None:
    _METADATA.create_all(connection)
    for index in _BY_DIGEST:
        index.create(connection)
    _move_uses(connection)
    _unbook(connection)


def _move_uses(connection: Connection) -> None:
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


def _unbook(connection: Connection) -> None:
    """A statement tells them, or none does; until then they are named as not booked."""
    these = (_TRANSACTIONS.c.origin == _LIVE, _TRANSACTIONS.c.kind == "Traded")
    columns = (_TRANSACTIONS.c.account_key, _TRANSACTIONS.c.account_id, _TRANSACTIONS.c.key, _TRANSACTIONS.c.body)
    changed = set()
    for row in connection.execute(select(*columns).where(*these)).all():
        if json.loads(row.body).get("listed", {}).get("asset_class") in _NOT_PAID_SO:
            of = (_TRANSACTIONS.c.account_key == row.account_key, _TRANSACTIONS.c.account_id == row.account_id)
            connection.execute(delete(_TRANSACTIONS).where(*of, _TRANSACTIONS.c.key == row.key))
            changed.add(row.account_key)
    for key in sorted(changed):
        more = update(_LEDGERS).where(_LEDGERS.c.account_key == key).values(revision=_LEDGERS.c.revision + 1)
        connection.execute(more)
