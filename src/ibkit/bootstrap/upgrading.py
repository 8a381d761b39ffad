"""The databases to the versions of this ibkit, after a backup; and back to that backup, for the earlier ibkit.

    upgrade      nobody else works → backup, looked over → steps; nothing is older: only what is missing is made
    roll back    nobody else works → the backup of before the last upgrade, as it was; nothing is sent after it before
                 a person has looked (`backups.py`)

Source: requirement OPS-07.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from ibkit.bootstrap.backups import (
    Restored,
    backups_folder,
    check_backup,
    make_backup,
    one_at_a_time,
    restore_backup,
)
from ibkit.bootstrap.desks import journal_path
from ibkit.errors import NotFound, StorageError, discreet
from ibkit.settings import Settings
from ibkit.store.backups import Manifest, read_manifest
from ibkit.store.database import sqlite_path
from ibkit.store.file_copies import nobody_else
from ibkit.store.journal_file import upgrade_file
from ibkit.store.journal_look import look_at_journal, versions_there, versions_wanted
from ibkit.store.records import upgrade_records

__all__ = ["Upgraded", "backup_before_upgrade", "present_versions", "roll_back", "upgrade"]

_NAME = "before-upgrade-*.ibkit-backup"
_KEPT = 3
"""Backups of before an upgrade: not counted among those of BACKUP_KEEP, which a month of days would push out."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Upgraded:
    """parts: version before and after of the journal and of each part. backup: of before; None where none was older."""

    parts: Mapping[str, tuple[int, int]]
    backup: Path | None


@discreet
def upgrade(settings: Settings, *, now: datetime, random: Callable[[int], bytes]) -> Upgraded:
    """Blocks. InFlight while another ibkit uses the state and something is older; StorageError, ConfigError."""
    wanted, there = versions_wanted(), present_versions(settings)
    older = [part for part, version in there.items() if version < wanted.get(part, 0)]
    backup = None
    if older:
        with nobody_else(settings.state_dir, *_files(settings)):
            pass  # a program of the earlier version that still runs would write into what it does not know
    with one_at_a_time(settings):
        if older:
            backup = backups_folder(settings) / f"before-upgrade-{now:%Y%m%dT%H%M%SZ}.ibkit-backup"
            make_backup(settings, backup, now=now, random=random)
            check_backup(backup, scratch=settings.state_dir)
        parts = upgrade_records(settings.database_url.reveal(), alone=bool(older))
        if "journal" in there:
            parts = {"journal": upgrade_file(journal_path(settings)), **parts}
        if backup is not None:
            for old in sorted(backups_folder(settings).glob(_NAME), reverse=True)[_KEPT:]:
                old.unlink(missing_ok=True)
    return Upgraded(parts=parts, backup=backup)


def present_versions(settings: Settings) -> dict[str, int]:
    """Of the journal and of each part of the database that is there. StorageError."""
    found: dict[str, int] = {}
    journal = journal_path(settings)
    if journal.exists() and (version := look_at_journal(journal, thorough=False).version):
        found["journal"] = version
    url = settings.database_url.reveal()
    file = sqlite_path(url)
    if file is None or file.exists():
        found |= versions_there(url)
    return found


def backup_before_upgrade(settings: Settings) -> tuple[Path, Manifest]:
    """What a rollback puts back: the newest that can be read. NotFound: there is none, or nothing to undo."""
    for path in sorted(backups_folder(settings).glob(_NAME), reverse=True):
        with contextlib.suppress(StorageError):
            manifest = read_manifest(path)
            break
    else:
        raise NotFound(
            f"There is no backup of before an upgrade in {backups_folder(settings)}",
            code="E-NOT-FOUND",
            remedy="`ibkit backup list` has the others; `ibkit restore PATH` puts one back.",
        )
    there = present_versions(settings)
    if not any(had < there.get(part, had) for part, had in manifest.versions.items()):
        raise NotFound(
            f"There is nothing to roll back: the databases have the versions of {path.name} already",
            code="E-NOT-FOUND",
            remedy="Start the earlier ibkit; or bring them forward again with `ibkit db upgrade`.",
        )
    return path, manifest


def roll_back(settings: Settings, path: Path, *, now: datetime) -> Restored:
    """Put the backup `path` back with the versions that it had. Blocks. InFlight while another ibkit uses the state."""
    return restore_backup(settings, path, now=now, as_it_was=True)


def _files(settings: Settings) -> list[Path]:
    records = sqlite_path(settings.database_url.reveal())
    return [journal_path(settings), *([] if records is None else [records])]
