"""The tables of the audit log: entries in their order, the anchor before them, and who may write. One transaction each.

audit_entries    an entry each (`vault/chain.py`), append-only by triggers
audit_anchors    what stands for the entries that retention took away; the newest counts
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from typing import cast

from sqlalchemy import Connection, text

from ibkit.store.database import SCHEMA
from ibkit.store.transactions import driver_of
from ibkit.vault.act import Act, fields_of
from ibkit.vault.chain import START, Entry, Link, LinkKind, Row, SignedLink, append_to

__all__ = ["COLUMNS", "anchor_of", "append", "chunks", "doubt", "end_of", "lock", "one_snapshot", "row_of", "tables"]

COLUMNS = "number, at, actor, address, action, object, result, details, previous, hash"
_CHUNK, _BATCH = 20_000, 1_000
"""Entries asked for at a time, and taken up at a time: what lies in the processor's cache is checked faster."""


def append(connection: Connection, *acts: Act) -> tuple[Entry, ...]:
    """Write `acts` in the caller's transaction, one after the other: they stand if it commits, else nothing does."""
    entries, anchors = tables(connection)
    lock(connection)
    link = end_of(connection, entries, anchors)
    rows: list[Row] = []
    for act in acts:
        rows.append(append_to(link, fields_of(act)))
        link = Link(rows[-1][0], rows[-1][-1])
    if rows:
        names = COLUMNS.split(", ")
        values = ", ".join(f":{name}" for name in names)
        statement = text(f"INSERT INTO {entries} ({COLUMNS}) VALUES ({values})")  # noqa: S608  # names of ours
        connection.execute(statement, [dict(zip(names, row, strict=True)) for row in rows])
    return tuple(Entry.of(row) for row in rows)


def tables(connection: Connection) -> tuple[str, str]:
    prefix = f"{SCHEMA}." if connection.dialect.name == "postgresql" else ""
    return f"{prefix}audit_entries", f"{prefix}audit_anchors"


def lock(connection: Connection) -> None:
    """No other process appends until this transaction has ended; on SQLite it is the writer anyway."""
    if connection.dialect.name == "postgresql":
        connection.execute(text("SELECT pg_advisory_xact_lock(hashtext('ibkit audit'))"))


def one_snapshot(connection: Connection) -> None:
    """Read everything as of one moment; SQLite does so by itself."""
    if connection.dialect.name == "postgresql":
        connection.exec_driver_sql("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY")


def end_of(connection: Connection, entries: str, anchors: str) -> Link:
    last = connection.exec_driver_sql(
        f"SELECT number, hash FROM {entries} ORDER BY number DESC LIMIT 1"  # noqa: S608
    ).one_or_none()
    if last is not None:
        return Link(last[0], bytes(last[1]))
    anchor = anchor_of(connection, anchors)
    return START if anchor is None else anchor.link


def anchor_of(connection: Connection, anchors: str) -> SignedLink | None:
    """The newest."""
    found = connection.exec_driver_sql(
        f"SELECT number, hash, at, public_key, signature FROM {anchors} ORDER BY number DESC LIMIT 1"  # noqa: S608
    ).one_or_none()
    if found is None:
        return None
    number, hash_, at, public_key, signature = found
    return SignedLink(
        kind=LinkKind.ANCHOR, number=number, hash=hash_, at=at, public_key=public_key, signature=signature
    )


def chunks(connection: Connection, entries: str, *, after: int, up_to: int | None = None) -> Iterator[list[Row]]:
    """All entries after a number in their order. By the driver itself: a million rows in two seconds."""
    driver = driver_of(connection)
    end = "" if up_to is None else f" AND number <= {up_to:d}"
    while True:
        cursor = driver.execute(
            f"SELECT {COLUMNS} FROM {entries} WHERE number > {after:d}{end}"  # noqa: S608  # names and whole numbers
            f" ORDER BY number LIMIT {_CHUNK}"
        )
        before = after
        while rows := cast("list[Row]", cursor.fetchmany(_BATCH)):
            yield rows
            after = rows[-1][0]
        cursor.close()
        if after == before:
            return


def doubt(signed: SignedLink, trusted: Collection[str]) -> str:
    """Why a signature does not count; "" where it does."""
    if not signed.holds():
        return f"the signature of the {signed.kind.value} does not fit it"
    if signed.public_key not in trusted:
        return f"the {signed.kind.value} is signed by {signed.public_key[:16]}…, a key that is not trusted here"
    return ""


def row_of(row: object) -> Row:
    return cast("Row", tuple(cast("Sequence[object]", row)))
