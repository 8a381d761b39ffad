"""IBKR's approval of serving several users, as somebody vouched for it: who, when, by which reference (VLT-12).

Rows are only added. The newest one counts; those before it stay as what was vouched for then.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Connection, insert, select

from ibkit.errors import ConfigError
from ibkit.store.database import Database
from ibkit.store.migrating import for_engine
from ibkit.store.vault_tables import LICENCES

__all__ = ["Licence", "SqlLicences"]

_LONGEST = 200


@dataclass(frozen=True, slots=True, kw_only=True)
class Licence:
    """reference: of IBKR's letter or contract. accepted_by: a user's id, or `cli:<login name>` of this machine."""

    reference: str
    accepted_by: str
    accepted_at: datetime


class SqlLicences:
    """In a database with the part `vault`; no key is needed. StorageError."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def accept(self, reference: str, *, by: str, at: datetime) -> Licence:
        """ConfigError (E-VALIDATION) for a reference that says nothing."""
        plain = " ".join(reference.split())
        if not 3 <= len(plain) <= _LONGEST or not plain.isprintable():
            raise ConfigError(
                f"Invalid request: reference: use 3 to {_LONGEST} characters",
                code="E-VALIDATION",
                remedy="Name IBKR's letter, contract or ticket, so that another person finds it.",
            )
        licence = Licence(reference=plain, accepted_by=by[:_LONGEST], accepted_at=at)
        row = dataclasses.asdict(licence)
        await self._database.write(lambda connection: for_engine(connection).execute(insert(LICENCES).values(row)))
        return licence

    async def accepted(self) -> Licence | None:
        """What was vouched for last; None where nobody has."""
        query = select(LICENCES).order_by(LICENCES.c.licence_id.desc()).limit(1)

        def work(connection: Connection) -> Licence | None:
            row = for_engine(connection).execute(query).mappings().one_or_none()
            if row is None:
                return None
            return Licence(reference=row["reference"], accepted_by=row["accepted_by"], accepted_at=row["accepted_at"])

        return await self._database.read(work)
