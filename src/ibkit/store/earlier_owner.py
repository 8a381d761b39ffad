"""Whose the orders are that were placed before there were several users (VLT-13): at most one user's.

An order's key says whose it is and is never changed, so the owner of those that say nobody's stands beside them.
"""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import Connection, insert, select

from ibkit.store.database import Database
from ibkit.store.migrating import for_engine
from ibkit.store.vault_tables import EARLIER_OWNERS

__all__ = ["SqlEarlierOwner"]


class SqlEarlierOwner:
    """In a database with the part `vault`; no key is needed. StorageError."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def user_id(self) -> str:
        """ "" where they are nobody's."""
        query = select(EARLIER_OWNERS.c.user_id).order_by(EARLIER_OWNERS.c.row_id.desc()).limit(1)

        def work(connection: Connection) -> str:
            return for_engine(connection).execute(query).scalar_one_or_none() or ""

        return await self._database.read(work)

    async def attach(self, user_id: str, *, by: str, at: datetime) -> None:
        """user_id: "" to let go of them again."""
        row = {"user_id": user_id, "attached_by": by[:200], "attached_at": at}
        add = insert(EARLIER_OWNERS).values(row)
        await self._database.write(lambda connection: for_engine(connection).execute(add))
