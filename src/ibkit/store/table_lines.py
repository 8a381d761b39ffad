"""The database of a server as JSON lines, and back: a copy that needs no tool of the server's and no right but ours.

One line for each table, `{"table": name, "columns": [...]}`, then one for each of its rows, a list of values. What JSON
does not know is an object of one member: {"d": decimal}, {"t": instant}, {"a": day}, {"b": bytes}, {"u": uuid},
{"f": float}, {"j": a JSON column}. All of it is one snapshot. Tables of a schema of ours only.
"""

from __future__ import annotations

import base64
import uuid
from collections.abc import Callable, Iterable, Mapping
from datetime import date, datetime
from decimal import Decimal
from typing import IO, Any

import msgspec
from sqlalchemy import Connection, Engine, MetaData, Table, insert, select, text

from ibkit.errors import InFlight, StorageError
from ibkit.store.database import SCHEMA
from ibkit.store.migrating import Migration, migrate, version_of

__all__ = ["dump", "load", "refuse_others", "versions"]

_VERSIONS = "schema_versions"
_AT_ONCE = 500
_READ: Mapping[str, Callable[[Any], Any]] = {
    "d": Decimal,
    "t": datetime.fromisoformat,
    "a": date.fromisoformat,
    "b": base64.b64decode,
    "u": uuid.UUID,
    "f": float,
    "j": lambda value: value,
}


def versions(connection: Connection, parts: Mapping[str, tuple[Migration, ...]]) -> dict[str, int]:
    """The version of each part that is there."""
    found = {part: version_of(connection, part) for part in parts}
    return {part: version for part, version in found.items() if version}


def dump(engine: Engine, out: IO[bytes], parts: Mapping[str, tuple[Migration, ...]]) -> tuple[dict[str, int], int]:
    """Every row of every table of ours, as they stand at one moment: the parts' versions, and how many rows."""
    rows = 0
    with engine.connect().execution_options(isolation_level="REPEATABLE READ") as connection, connection.begin():
        there = versions(connection, parts)
        for table in _tables(connection):
            names = [str(column.name) for column in table.columns]  # without SQLAlchemy's own kind of text
            out.write(msgspec.json.encode({"table": str(table.name), "columns": names}) + b"\n")
            for row in connection.execute(
                select(table).order_by(*table.primary_key).execution_options(yield_per=_AT_ONCE)
            ):
                pairs = zip(names, row, strict=True)
                out.write(msgspec.json.encode([_written(table, name, value) for name, value in pairs]) + b"\n")
                rows += 1
    return there, rows


def load(
    connection: Connection,
    lines: Iterable[bytes],
    parts: Mapping[str, tuple[Migration, ...]],
    had: Mapping[str, int],
    *,
    aside: str,
    newest: bool = True,
) -> int:
    """Puts a dump in place of what is there, in the caller's transaction: how many rows.

    had:    the version of each part in the dump.
    newest: do newer steps after the rows are in; False for an earlier ibkit, which would not know them.
    aside:  the schema that what is there is renamed to. InFlight while another ibkit is connected. StorageError.
    """
    refuse_others(connection)
    if connection.execute(text("SELECT 1 FROM pg_namespace WHERE nspname = :name"), {"name": SCHEMA}).scalar():
        connection.execute(text(f'ALTER SCHEMA {SCHEMA} RENAME TO "{aside}"'))
    for part, version in had.items():
        migrate(connection, part, tuple(step for step in parts[part] if step.version <= version))
    tables = {table.name: table for table in _tables(connection)}
    for table in tables.values():
        # What the triggers guard (append-only rows) was checked when it was written first.
        connection.execute(text(f"ALTER TABLE {_quoted(table)} DISABLE TRIGGER USER"))
    count = _fill(connection, lines, tables)
    for table in tables.values():
        connection.execute(text(f"ALTER TABLE {_quoted(table)} ENABLE TRIGGER USER"))
        _go_on_counting(connection, table)
    if newest:
        for part, steps in parts.items():
            migrate(connection, part, steps)
    return count


def refuse_others(connection: Connection) -> None:
    """InFlight while another ibkit is connected to the database of this server."""
    others = connection.execute(
        text(
            "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database()"
            " AND application_name = 'ibkit' AND pid <> pg_backend_pid()"
        )
    ).scalar_one()
    if others:
        raise InFlight(
            f"The database is in use by ibkit ({others} connection(s))",
            remedy="Stop the service, the worker and every command that uses it, then repeat.",
        )


def _tables(connection: Connection) -> list[Table]:
    """Ours, those first that others refer to; without the versions, which a load makes anew."""
    metadata = MetaData(schema=SCHEMA)
    metadata.reflect(connection)
    return [table for table in metadata.sorted_tables if table.name != _VERSIONS]


def _fill(connection: Connection, lines: Iterable[bytes], tables: Mapping[str, Table]) -> int:
    count = 0
    table: Table | None = None
    names: list[str] = []
    waiting: list[dict[str, Any]] = []

    def put() -> None:
        if table is not None and waiting:
            connection.execute(insert(table), waiting)
            waiting.clear()

    for line in lines:
        said = _decoded(line)
        if isinstance(said, dict):
            put()
            table, names = _of_head(said, tables)
            continue
        if table is None or not isinstance(said, list) or len(said) != len(names):
            raise _damaged("a row does not fit its table")
        waiting.append({name: _read(value) for name, value in zip(names, said, strict=True)})
        count += 1
        if len(waiting) == _AT_ONCE:
            put()
    put()
    return count


def _decoded(line: bytes) -> Any:
    try:
        return msgspec.json.decode(line)
    except msgspec.DecodeError:
        raise _damaged("a line is not JSON") from None


def _of_head(said: Mapping[str, Any], tables: Mapping[str, Table]) -> tuple[Table, list[str]]:
    table = tables.get(str(said.get("table")))
    names = said.get("columns")
    if table is None or not isinstance(names, list) or set(names) - set(table.columns.keys()):
        raise _damaged(f"it has a table or column that its version does not know ({said.get('table')})")
    return table, names


def _go_on_counting(connection: Connection, table: Table) -> None:
    """Numbers that the database gives go on after the highest that was put in."""
    for column in table.columns:
        sequence = connection.execute(
            text("SELECT pg_get_serial_sequence(:table, :column)"), {"table": _quoted(table), "column": column.name}
        ).scalar()
        if sequence is not None:
            highest = f'SELECT max("{column.name}") FROM {_quoted(table)}'  # noqa: S608  # names out of the catalogue
            connection.execute(
                text(f"SELECT setval(:sequence, ({highest})) WHERE ({highest}) IS NOT NULL"), {"sequence": sequence}
            )


def _quoted(table: Table) -> str:
    return f'{SCHEMA}."{table.name}"'


def _written(table: Table, name: str, value: Any) -> Any:
    match value:
        case None | bool() | int() | str():
            return value
        case float():
            return {"f": repr(value)}
        case Decimal():
            return {"d": str(value)}
        case datetime():
            return {"t": value.isoformat()}
        case date():
            return {"a": value.isoformat()}
        case bytes() | memoryview():
            return {"b": base64.b64encode(bytes(value)).decode()}
        case uuid.UUID():
            return {"u": str(value)}
        case dict() | list():
            return {"j": value}
        case _:
            raise StorageError(
                f"Database problem: {table.name}.{name} holds a {type(value).__name__}, which a backup cannot keep",
                remedy="Please report it; until then back the database up with the server's own tools.",
            )


def _read(value: Any) -> Any:
    if not isinstance(value, dict):
        return value
    ((kind, inner),) = value.items() if len(value) == 1 else ((None, None),)
    reader = _READ.get(str(kind))
    if reader is None:
        raise _damaged("a value is of no kind that it knows")
    try:
        return reader(inner)
    except (ValueError, TypeError, ArithmeticError):
        raise _damaged("a value cannot be read") from None


def _damaged(reason: str) -> StorageError:
    return StorageError(f"Database problem: the backup is damaged: {reason}", remedy="Take another backup.")
