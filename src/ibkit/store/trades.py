"""The records of sold options in SQL: SQLite by default, PostgreSQL where it is set."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Mapping
from datetime import datetime
from types import TracebackType
from typing import Any

import anyio.to_thread
from sqlalchemy import Connection, Select, delete, insert, select, update

from ibkit.model import AccountId, Secret
from ibkit.store.database import Database
from ibkit.store.migrating import for_engine
from ibkit.store.records import open_records
from ibkit.store.trade_rows import EXECUTIONS, LINKS, TRADES, execution_rows, link_rows, trade_from_rows, trade_row
from ibkit.trading.selling.trade import Trade, TradeStatus

__all__ = ["SqlTrades"]

PART = "trades"
_NAME = "trades database"


class SqlTrades:
    """Fits `trading.ports.Trades`. Opening makes the tables of an empty database and upgrades a local one."""

    def __init__(self, url: str, *, also: Collection[str] = ()) -> None:
        """also: other parts of the same database that the process uses, through `records`."""
        self._url = Secret(url)
        self._parts = (PART, *also)
        self._opened: Database | None = None

    async def __aenter__(self) -> SqlTrades:
        self._opened = await anyio.to_thread.run_sync(lambda: open_records(self._url, parts=self._parts, name=_NAME))
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._opened is not None:
            database, self._opened = self._opened, None
            await database.close()

    @property
    def records(self) -> Database:
        """The database itself: one process opens it once."""
        return self._database

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
