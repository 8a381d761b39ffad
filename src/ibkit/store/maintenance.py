"""Windows in which the service is worked on, in SQL: planned, told of by one process of all, over."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Column, Integer, MetaData, String, Table, insert, select, update

from ibkit.store.columns import Instant
from ibkit.store.database import SCHEMA, Database
from ibkit.store.migrating import for_engine

__all__ = ["SqlMaintenance", "Window"]

_MOST = 50
_WINDOWS = Table(
    "maintenance",
    MetaData(schema=SCHEMA),
    Column("window_id", String, primary_key=True),
    *(Column(name, Instant) for name in ("starts_at", "ends_at", "planned_at", "cancelled_at")),
    *(Column(name, String) for name in ("text", "planned_by")),
    Column("told", Integer),
)
_NAMES = tuple(column.name for column in _WINDOWS.c)


@dataclass(frozen=True, slots=True, kw_only=True)
class Window:
    """From starts_at on, until ends_at. told: how much of it people were told (`bootstrap.maintenance.Told`)."""

    window_id: str
    starts_at: datetime
    ends_at: datetime
    text: str
    planned_by: str
    planned_at: datetime
    cancelled_at: datetime | None = None
    told: int = 0

    def holds(self, now: datetime) -> bool:
        return self.cancelled_at is None and self.starts_at <= now < self.ends_at


class SqlMaintenance:
    """In a database with the part `maintenance`. StorageError."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def plan(self, window: Window) -> None:
        row = {name: getattr(window, name) for name in _NAMES}
        await self._database.write(lambda connection: for_engine(connection).execute(insert(_WINDOWS).values(row)))

    async def windows(self, *, ending_after: datetime | None = None) -> tuple[Window, ...]:
        """The newest, by their beginning. ending_after: what is over later, the nearest first."""
        query = select(_WINDOWS).order_by(_WINDOWS.c.starts_at.desc()).limit(_MOST)
        if ending_after is not None:
            query = (
                select(_WINDOWS).where(_WINDOWS.c.ends_at > ending_after).order_by(_WINDOWS.c.starts_at).limit(_MOST)
            )
        rows = await self._database.read(lambda connection: list(for_engine(connection).execute(query).mappings()))
        return tuple(sorted((_window(row) for row in rows), key=lambda each: each.starts_at))

    async def cancel(self, window_id: str, *, at: datetime) -> bool:
        """Whether it stood until now."""
        where = (_WINDOWS.c.window_id == window_id) & _WINDOWS.c.cancelled_at.is_(None) & (_WINDOWS.c.ends_at > at)
        change = update(_WINDOWS).where(where).values(cancelled_at=at)
        return await self._database.write(lambda connection: for_engine(connection).execute(change).rowcount) == 1

    async def tell(self, window_id: str, step: int) -> bool:
        """Whether it is the caller's to tell `step`: of several processes one is answered so, once."""
        change = update(_WINDOWS).where(_WINDOWS.c.window_id == window_id, _WINDOWS.c.told < step).values(told=step)
        return await self._database.write(lambda connection: for_engine(connection).execute(change).rowcount) == 1


def _window(row: Mapping[Any, Any]) -> Window:
    return Window(**{str(name): value for name, value in row.items()})
