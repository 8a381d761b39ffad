"""A drill of disaster recovery: the newest backup put back into a place of its own, and looked at there.

    restored   the backup is whole and this ibkit can use it
    counts     what each table holds, against what is in use now: a backup that forgot much is an old one
    chain      the audit log of the backup is unbroken, by the key that signs here
    vault      each sealed secret opens with the keys of today

Nothing that is in use is touched, and nothing is sent: the copy is thrown away. Source: requirement OPS-04.
"""

from __future__ import annotations

import dataclasses
import sqlite3
import tempfile
from collections.abc import Mapping
from contextlib import closing
from datetime import datetime
from pathlib import Path

from ibkit.bootstrap.auditing import audit_log, trusted_keys
from ibkit.bootstrap.backups import backups_folder, restore_backup
from ibkit.bootstrap.desks import journal_path
from ibkit.bootstrap.vaults import open_vault
from ibkit.errors import ConfigError, IbkitError, StorageError
from ibkit.settings import Settings
from ibkit.store.database import sqlite_path

__all__ = ["Drill", "newest_backup", "recover_for_trial"]


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Drill:
    """backup, made_at: which. counts: rows by table of the copy; now: of what is in use.

    entries: of the audit log that were looked at. secrets: in the vault. faults: what was wrong; empty: all is well.
    """

    backup: Path
    made_at: datetime
    counts: Mapping[str, int]
    now: Mapping[str, int]
    entries: int
    secrets: int
    faults: tuple[str, ...]


def newest_backup(settings: Settings) -> Path:
    """Of the state directory. StorageError where there is none."""
    found = sorted(backups_folder(settings).glob("*.ibkit-backup"))
    if not found:
        raise StorageError(
            f"There is no backup in {backups_folder(settings)}", remedy="Make one: `ibkit backup`, best every day."
        )
    return found[-1]


async def recover_for_trial(settings: Settings, path: Path, *, now: datetime) -> Drill:
    """Restore `path` beside the state directory's files and look at it. StorageError, ConfigError: it is no good."""
    if sqlite_path(settings.database_url.reveal()) is None:
        raise ConfigError(
            "A drill restores into files, and the settings name a PostgreSQL database",
            code="E-CONFIG-CONFLICT",
            remedy="Restore it into an empty database with DATABASE_URL and `ibkit restore`.",
        )
    with tempfile.TemporaryDirectory(dir=settings.state_dir, prefix="drill-") as folder:
        there = _moved(settings, Path(folder) / "state")
        restored = restore_backup(there, path, now=now)
        faults: list[str] = []
        counts = _counts(there)
        entries = await _chain(settings, there, faults)
        secrets = await _vault(there, counts, faults)
        return Drill(
            backup=path,
            made_at=restored.manifest.made_at,
            counts=counts,
            now=_counts(settings),
            entries=entries,
            secrets=secrets,
            faults=tuple(faults),
        )


def _moved(settings: Settings, state: Path) -> Settings:
    """The same settings with all that lasts in another place."""
    general = dataclasses.replace(settings.general, state_dir=state)
    database = dataclasses.replace(settings.database, url=None, name=None, user=None, password=None)
    return dataclasses.replace(settings, general=general, database=database)


def _counts(settings: Settings) -> dict[str, int]:
    """Rows by table; a database that is not there has none."""
    found: dict[str, int] = {}
    for path in (journal_path(settings), sqlite_path(settings.database_url.reveal())):
        if path is None or not path.exists():
            continue
        with closing(sqlite3.connect(f"{path.resolve().as_uri()}?mode=ro", uri=True)) as connection:
            names = connection.execute("SELECT name FROM sqlite_master WHERE type = 'table' ORDER BY name").fetchall()
            for (name,) in names:
                if not name.startswith("sqlite_"):
                    [count] = connection.execute(f'SELECT count(*) FROM "{name}"').fetchone()  # noqa: S608  # its own
                    found[name] = count
    return found


async def _chain(settings: Settings, there: Settings, faults: list[str]) -> int:
    async with audit_log(there) as log:
        verdict = await log.verify(trusted=trusted_keys(settings))
    if verdict.broken is not None:
        faults.append(f"audit log: {verdict.broken}")
    return verdict.checked


async def _vault(there: Settings, counts: Mapping[str, int], faults: list[str]) -> int:
    sealed = counts.get("sealed", 0)
    if not sealed:
        return 0
    try:
        async with open_vault(there) as vault:
            texts, closed = await vault.looked_through()
    except IbkitError as error:
        faults.append(f"vault: {error.message}")
        return sealed
    if closed:
        faults.append(f"vault: {closed} of {texts} secrets open with no key of today")
    return texts
