"""Figures of each minute in SQL: compact rows, added to where a process tells a minute in two parts."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import (
    JSON,
    BigInteger,
    Column,
    Connection,
    Float,
    Integer,
    MetaData,
    String,
    Table,
    delete,
    insert,
    select,
)

from ibkit.store.database import SCHEMA, Database
from ibkit.store.migrating import for_engine

__all__ = ["SqlMinutes"]

_NUMBERS = ("calls", "attempts", "retries", "seconds", "bytes_sent", "bytes_received", "waits", "waited_s")
_METADATA = MetaData(schema=SCHEMA)
_MINUTES = Table(
    "metric_minutes",
    _METADATA,
    Column("minute", Integer, primary_key=True),
    *(Column(name, String, primary_key=True) for name in ("process", "connection", "endpoint")),
    *(Column(name, Integer) for name in ("calls", "attempts", "retries", "waits", "at_once")),
    Column("errors", JSON),
    Column("seconds", Float),
    Column("buckets", JSON),
    Column("bytes_sent", BigInteger),
    Column("bytes_received", BigInteger),
    Column("waited_s", Float),
)


class SqlMinutes:
    """Fits `notify.minutes.FigureStore`. StorageError where the database fails."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def add(self, minute: datetime, process: str, figures: Mapping[tuple[str, str], dict[str, object]]) -> None:
        """figures: (connection, endpoint) → the columns of the row."""
        number = _number(minute)

        def work(connection: Connection) -> None:
            connection = for_engine(connection)
            for (name, endpoint), row in figures.items():
                mine = (
                    (_MINUTES.c.minute == number)
                    & (_MINUTES.c.process == process)
                    & (_MINUTES.c.connection == name)
                    & (_MINUTES.c.endpoint == endpoint)
                )
                there = connection.execute(select(_MINUTES).where(mine)).mappings().one_or_none()
                values = row if there is None else _sum(there, row)
                if there is not None:
                    connection.execute(delete(_MINUTES).where(mine))
                key = {"minute": number, "process": process, "connection": name, "endpoint": endpoint}
                connection.execute(insert(_MINUTES).values(**key, **values))

        await self._database.write(work)

    async def rows(
        self, since: datetime, until: datetime, *, connection: str | None = None
    ) -> list[tuple[tuple[str, str], Mapping[str, object]]]:
        """((connection, endpoint), columns) of each minute of `since` ≤ minute < `until`, oldest first."""
        statement = (
            select(_MINUTES)
            .where(_MINUTES.c.minute >= _number(since), _MINUTES.c.minute < _number(until))
            .order_by(_MINUTES.c.minute)
        )
        if connection is not None:
            statement = statement.where(_MINUTES.c.connection == connection)
        found = await self._database.read(lambda c: list(for_engine(c).execute(statement).mappings()))
        return [((row["connection"], row["endpoint"]), {**row, "minute": _instant(row["minute"])}) for row in found]

    async def purge(self, before: datetime) -> int:
        statement = delete(_MINUTES).where(_MINUTES.c.minute < _number(before))
        return await self._database.write(lambda c: for_engine(c).execute(statement).rowcount)


def _sum(there: Mapping[Any, Any], row: Mapping[str, Any]) -> dict[str, Any]:
    errors = dict(there["errors"])
    for code, number in row["errors"].items():
        errors[code] = errors.get(code, 0) + number
    buckets = [mine + more for mine, more in zip(there["buckets"], row["buckets"], strict=True)]
    sums = {name: there[name] + row[name] for name in _NUMBERS}
    return {**sums, "at_once": max(there["at_once"], row["at_once"]), "errors": errors, "buckets": buckets}


def _number(at: datetime) -> int:
    return int(at.timestamp()) // 60


def _instant(number: int) -> datetime:
    return datetime.fromtimestamp(number * 60, UTC)
