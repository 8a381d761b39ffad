"""The records of sold options in SQL: SQLite by default, PostgreSQL where it is set."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from datetime import datetime
from types import TracebackType
from typing import Any

import anyio.to_thread
from sqlalchemy import Connection, Select, delete, insert, select, update

from ibkit.errors import StorageError, discreet
from ibkit.model import AccountId, Secret
from ibkit.store.database import Database, to_engine
from ibkit.store.failures import failures_of
from ibkit.store.migrating import for_engine, migrate, version_of
from ibkit.store.migrations import TRADES as STEPS
from ibkit.store.trade_rows import EXECUTIONS, LINKS, TRADES, execution_rows, link_rows, trade_from_rows, trade_row
from ibkit.trading.selling.trade import Trade, TradeStatus

__all__ = ["SqlTrades", "upgrade_database"]

COMPONENT = "trades"
_NAME = "trades database"


class SqlTrades:
    """Fits `trading.ports.Trades`. Opening makes the tables of an empty database and upgrades a local one."""

    def __init__(self, url: str) -> None:
        self._url = Secret(url)
        self._opened: Database | None = None

    async def __aenter__(self) -> SqlTrades:
        self._opened = await anyio.to_thread.run_sync(_open, self._url)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._opened is not None:
            database, self._opened = self._opened, None
            await database.close()

    @property
    def _database(self) -> Database:
        assert self._opened is not None, "the trades are open only inside `async with`"
        return self._opened

    async def check(self) -> None:
        # An update of nothing takes the write lock and reaches the disk without leaving a trace.
        nothing = update(TRADES).where(TRADES.c.trade_id == "").values(status="open")
        await self._database.write(lambda connection: for_engine(connection).execute(nothing))

    async def put(self, trade: Trade) -> None:
        def work(connection: Connection) -> None:
            connection = for_engine(connection)
            row = trade_row(trade)
            changed = connection.execute(update(TRADES).where(TRADES.c.trade_id == trade.trade_id).values(row))
            if changed.rowcount == 0:
                connection.execute(insert(TRADES).values(row))
            for table, rows in ((EXECUTIONS, execution_rows(trade)), (LINKS, link_rows(trade))):
                connection.execute(delete(table).where(table.c.trade_id == trade.trade_id))
                if rows:
                    connection.execute(insert(table), rows)

        await self._database.write(work)

    async def get(self, trade_id: str) -> Trade | None:
        found = await self._select(select(TRADES).where(TRADES.c.trade_id == trade_id))
        return next(iter(found), None)

    async def trades(
        self,
        *,
        account_id: AccountId | None = None,
        symbol: str | None = None,
        status: TradeStatus | None = None,
        since: datetime | None = None,
        until: datetime | None = None,
    ) -> tuple[Trade, ...]:
        query = select(TRADES).order_by(TRADES.c.created_at.desc(), TRADES.c.trade_id)
        if account_id is not None:
            query = query.where(TRADES.c.account_id == account_id)
        if symbol is not None:
            query = query.where(TRADES.c.symbol == symbol)
        if status is not None:
            query = query.where(TRADES.c.status == status.value)
        if since is not None:
            query = query.where(TRADES.c.created_at >= since)
        if until is not None:
            query = query.where(TRADES.c.created_at < until)
        return await self._select(query)

    async def _select(self, query: Select[Any]) -> tuple[Trade, ...]:
        def work(connection: Connection) -> tuple[Trade, ...]:
            connection = for_engine(connection)
            rows = connection.execute(query).mappings().all()
            ids = [row["trade_id"] for row in rows]
            executions = _grouped(connection, select(EXECUTIONS).order_by(EXECUTIONS.c.executed_at), ids)
            links = _grouped(connection, select(LINKS).order_by(LINKS.c.position), ids)
            return tuple(
                trade_from_rows(dict(row), executions[row["trade_id"]], links[row["trade_id"]]) for row in rows
            )

        return await self._database.read(work)


_MOST_IDS = 500
"""Names in one statement: engines bound how many values a statement may bind."""


def _grouped(connection: Connection, query: Select[Any], ids: list[str]) -> Mapping[str, list[Mapping[str, Any]]]:
    found: defaultdict[str, list[Mapping[str, Any]]] = defaultdict(list)
    column = query.selected_columns["trade_id"]
    for start in range(0, len(ids), _MOST_IDS):
        part = query.where(column.in_(ids[start : start + _MOST_IDS]))
        for row in connection.execute(part).mappings():
            found[row["trade_id"]].append(dict(row))
    return found


@discreet
def _open(url: Secret[str]) -> Database:
    engine = to_engine(url.reveal())
    try:
        with failures_of(_NAME), engine.begin() as connection:
            present = version_of(connection, COMPONENT)
            # A local file follows the program; a server that others may share is upgraded on purpose.
            if present in (0, STEPS[-1].version) or engine.dialect.name == "sqlite" or present > STEPS[-1].version:
                migrate(connection, COMPONENT, STEPS)
            else:
                raise StorageError(
                    f"Database problem: its trades have version {present}, this ibkit needs {STEPS[-1].version}",
                    remedy="Run `ibkit db upgrade`.",
                )
    except StorageError:
        engine.dispose()
        raise
    return Database(engine, name=_NAME)


@discreet
def upgrade_database(url: str) -> tuple[int, int]:
    """Bring the trades database to the newest version: (before, after). What `ibkit db upgrade` does."""
    engine = to_engine(url)
    try:
        with failures_of(_NAME), engine.begin() as connection:
            return migrate(connection, COMPONENT, STEPS)
    finally:
        engine.dispose()
