"""Numbered steps forward: each database knows its version, and steps it has not seen are done in order.

Our own twenty lines instead of alembic: two engines, two small schemas, steps only forward, no configuration file, and
nothing to import at the start of a command. Reasons: docs/adr/0004-migrations.md.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from sqlalchemy import Column, Connection, Integer, MetaData, String, Table, func, insert, text

from ibkit.errors import StorageError
from ibkit.store.database import SCHEMA

__all__ = ["Migration", "follow", "for_engine", "migrate", "version_of"]


@dataclass(frozen=True, slots=True)
class Migration:
    """One step. `upgrade` holds its own table definitions, frozen: a released step is never edited."""

    version: int
    summary: str
    upgrade: Callable[[Connection], None]


_METADATA = MetaData()
_VERSIONS = Table(
    "schema_versions",
    _METADATA,
    Column("component", String(40), primary_key=True),
    Column("version", Integer, primary_key=True),
    Column("summary", String(200), nullable=False),
    Column("applied_at", String(40), nullable=False),
    schema=SCHEMA,
)


def version_of(connection: Connection, component: str) -> int:
    """The last step that this database has seen, 0 for an empty one."""
    # Texts for the driver: an inspector and a compiled select would cost each start several milliseconds.
    if connection.dialect.name == "postgresql":
        there, table = f"SELECT to_regclass('{SCHEMA}.{_VERSIONS.name}')", f"{SCHEMA}.{_VERSIONS.name}"
    else:
        there, table = f"SELECT name FROM sqlite_master WHERE name = '{_VERSIONS.name}'", _VERSIONS.name  # noqa: S608
    if connection.exec_driver_sql(there).scalar() is None:
        return 0
    newest = f"SELECT max(version) FROM {table} WHERE component = '{component}'"  # noqa: S608  # names of ours
    return connection.exec_driver_sql(newest).scalar() or 0


def migrate(connection: Connection, component: str, steps: tuple[Migration, ...]) -> tuple[int, int]:
    """Bring the database to the newest step, in the caller's transaction: (version before, version after).

    StorageError where it was written by a newer ibkit.
    """
    connection = for_engine(connection)
    if connection.dialect.name == "postgresql":
        # Two processes that start at once: the second waits here and then finds the work done.
        connection.execute(text("SELECT pg_advisory_xact_lock(hashtext('ibkit schema'))"))
        connection.execute(text(f"CREATE SCHEMA IF NOT EXISTS {SCHEMA}"))
    before, newest = version_of(connection, component), steps[-1].version
    if before > newest:
        raise StorageError(
            f"Database problem: its {component} have version {before}, this ibkit knows {newest}",
            remedy="Update ibkit: the database was written by a newer one.",
        )
    if before == newest:
        return before, newest
    _METADATA.create_all(connection)
    for step in steps:
        if step.version > before:
            step.upgrade(connection)
            connection.execute(
                insert(_VERSIONS).values(
                    component=component, version=step.version, summary=step.summary, applied_at=func.current_timestamp()
                )
            )
    return before, newest


def follow(connection: Connection, component: str, steps: tuple[Migration, ...]) -> None:
    """The tables of an empty database. StorageError where it is older: that is upgraded on purpose, after a backup."""
    present, newest = version_of(connection, component), steps[-1].version
    if 0 < present < newest:
        raise StorageError(
            f"Database problem: its {component} have version {present}, this ibkit needs {newest}",
            remedy="Stop what runs, then `ibkit db upgrade`: it makes a backup first (docs/runbooks/maintenance.md).",
        )
    migrate(connection, component, steps)


def for_engine(connection: Connection) -> Connection:
    """`connection` with our schema where the engine has schemas, and without where not."""
    return connection.execution_options(schema_translate_map={SCHEMA: _schema(connection)})


def _schema(connection: Connection) -> str | None:
    return SCHEMA if connection.dialect.name == "postgresql" else None
