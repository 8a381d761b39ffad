"""A look at the journal's file that changes nothing: no upgrade, no mark, no lock. Others may use it meanwhile."""

from __future__ import annotations

import sqlite3
from collections.abc import Mapping
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ibkit.store.failures import storage_error
from ibkit.store.mark import Mark, MarkFile
from ibkit.trading.ref import keys_of_user

__all__ = [
    "JournalLook",
    "OpenAlert",
    "accounts_with_orders",
    "look_at_journal",
    "open_orders_of_user",
    "versions_there",
    "versions_wanted",
]

_UNKNOWN = "state = 'unknown_needs_human' AND resolved = 0"


@dataclass(frozen=True, slots=True)
class OpenAlert:
    kind: str
    severity: str
    message: str
    at: str


@dataclass(frozen=True, slots=True, kw_only=True)
class JournalLook:
    """damage: what SQLite finds wrong; then nothing else is known. version: 0 for an empty file.

    restored: it is an older copy, known already or by its mark. states: how many intents in each state.
    unknown: intents whose orders may or may not stand at the broker. owners: processes of intents under way.
    """

    damage: str | None
    version: int = 0
    mark: Mark | None = None
    told: Mark | None = None
    restored: bool = False
    states: Mapping[str, int]
    unknown: tuple[str, ...] = ()
    alerts: tuple[OpenAlert, ...] = ()
    halts: int = 0
    lanes: tuple[tuple[str, str], ...] = ()


def look_at_journal(path: Path, *, thorough: bool = True) -> JournalLook:
    """thorough: compare each index with its table, too; of a large journal that takes seconds. StorageError."""
    told = MarkFile(path.with_name(f"{path.name}.mark")).read()
    if not path.with_name(f"{path.name}-wal").exists():
        # Nobody has it open. Read as a file that never changes, or SQLite would leave a log of its own beside it.
        look = _look_at(path, "mode=ro&immutable=1", told, thorough)
        if look.damage is None:
            return look  # else somebody may have opened it just now: look again as at one in use
    return _look_at(path, "mode=ro", told, thorough)


def accounts_with_orders(path: Path) -> frozenset[str]:
    """Accounts that any order of the journal was for. StorageError."""
    return frozenset(account for (account,) in _rows(path, "SELECT DISTINCT account_id FROM intents"))


# A child of a long key does not begin as its user's keys do: it is found by the order that it belongs to. Every key
# begins with what ASCII holds, so that the last code point is after all of a user's.
_OPEN = """
    WITH theirs AS (SELECT intent_id FROM intents WHERE (key >= ? AND key < ?) OR (? AND instr(key, '@') = 0))
    SELECT count(*) FROM intents AS asked
    WHERE (intent_id IN theirs OR leg_of IN theirs OR reduces IN theirs) AND operation <> 'cancel'
    AND (final = 0 OR (state = 'unknown_needs_human' AND resolved = 0)) AND NOT EXISTS (
        SELECT 1 FROM intents WHERE operation = 'cancel' AND state IN ('cancelled', 'filled')
        AND account_id = asked.account_id AND order_id = asked.order_id
    )
"""


def open_orders_of_user(path: Path, user_id: str, *, or_nobodys: bool = False) -> int:
    """What they asked for that has not ended, or of which nobody knows how it ended. 0 without a file. StorageError.

    or_nobodys: and what was asked for before there were users. An order whose cancel tells its end has ended, although
    nobody has followed it since.
    """
    if not path.exists():
        return 0
    theirs = keys_of_user(user_id)
    ((count,),) = _rows(path, _OPEN, (theirs, f"{theirs}\U0010ffff", or_nobodys))
    return int(count)


def _rows(path: Path, query: str, values: tuple[Any, ...] = ()) -> list[Any]:
    try:
        with closing(sqlite3.connect(f"{path.resolve().as_uri()}?mode=ro", uri=True, timeout=2)) as connection:
            return connection.execute(query, values).fetchall()
    except sqlite3.Error as error:
        raise storage_error(error, f"order journal {path}") from error


def _look_at(path: Path, how: str, told: Mark | None, thorough: bool) -> JournalLook:
    try:
        with closing(sqlite3.connect(f"{path.resolve().as_uri()}?{how}", uri=True, timeout=2)) as connection:
            try:
                check = "integrity_check" if thorough else "quick_check"
                (damage,) = connection.execute(f"PRAGMA {check}(1)").fetchone()
            except sqlite3.DatabaseError as error:
                if error.sqlite_errorcode & 0xFF not in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB):
                    raise
                damage = str(error)
            if damage != "ok":
                return JournalLook(damage=damage, told=told, states={})
            connection.execute("BEGIN")  # all of it at one moment
            return _look(connection, told)
    except sqlite3.Error as error:
        raise storage_error(error, f"order journal {path}") from error


def _look(connection: sqlite3.Connection, told: Mark | None) -> JournalLook:
    tables = {name for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
    if "schema_versions" not in tables:
        return JournalLook(damage=None, told=told, states={})
    (version,) = connection.execute("SELECT max(version) FROM schema_versions WHERE component = 'journal'").fetchone()
    if not version:
        return JournalLook(damage=None, told=told, states={})
    mark, restored = None, False
    if "lineage" in tables:
        journal_id, changes, flag = connection.execute(
            "SELECT journal_id, changes, restored FROM lineage WHERE id = 1"
        ).fetchone()
        mark = Mark(journal_id, changes)
        restored = bool(flag) or not mark.fits(told)
    halts = 0
    if "halts" in tables:
        (halts,) = connection.execute(
            "SELECT count(*) FROM halts WHERE NOT EXISTS"
            " (SELECT 1 FROM halt_releases WHERE halt = halts.number AND ended = 1)"
            " AND (until IS NULL OR julianday(until) > julianday('now'))"
        ).fetchone()
    lanes = connection.execute("SELECT username, owner FROM lanes").fetchall() if "lanes" in tables else []
    return JournalLook(
        damage=None,
        version=version,
        mark=mark,
        told=told,
        restored=restored,
        states=dict(connection.execute("SELECT state, count(*) FROM intents GROUP BY state ORDER BY state").fetchall()),
        unknown=tuple(
            intent
            for (intent,) in connection.execute(f"SELECT intent_id FROM intents WHERE {_UNKNOWN} LIMIT 100")  # noqa: S608
        ),
        alerts=tuple(
            OpenAlert(*row)
            for row in connection.execute(
                "SELECT kind, severity, message, at FROM alerts WHERE closed_at IS NULL ORDER BY at LIMIT 100"
            )
        ),
        halts=halts,
        lanes=tuple(lanes),
    )


def versions_wanted() -> Mapping[str, int]:
    """The newest version of each part that this ibkit knows."""
    from ibkit.store.migrations import JOURNAL, RECORDS

    return {"journal": JOURNAL[-1].version} | {part: steps[-1].version for part, steps in RECORDS.items()}


def versions_there(url: str, *, within_s: int = 3) -> Mapping[str, int]:
    """The version of each part of the database of `url`, which is not changed. StorageError if it does not answer."""
    from sqlalchemy import create_engine
    from sqlalchemy.exc import SQLAlchemyError

    from ibkit.store.database import sqlite_path, to_engine
    from ibkit.store.file_copies import version_in
    from ibkit.store.migrations import RECORDS
    from ibkit.store.table_lines import versions

    file = sqlite_path(url)
    if file is not None:
        return {part: version for part, version in version_in(file).items() if part in RECORDS}
    whole = to_engine(url)
    engine = create_engine(whole.url, connect_args={"connect_timeout": within_s, "application_name": "ibkit doctor"})
    try:
        with engine.connect() as connection:
            return versions(connection, RECORDS)
    except SQLAlchemyError as error:
        raise storage_error(error, "database") from error
    finally:
        engine.dispose()
        whole.dispose()
