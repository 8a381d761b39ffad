"""The file of a backup: a zip of a manifest and what it names, made whole or not at all, readable by its owner alone.

    manifest.json    format, when, by which ibkit, versions of the databases, SHA-256 and size of every other file
    journal.db       the order journal, one moment of it
    records.db       the other database where it is SQLite, or
    records.jsonl    its rows where it is a server (`table_lines.py`)
    trades.jsonl     what `--no-db` wrote
    settings.json    the settings that are no secrets
    secrets.sealed   settings file, keys and tokens, only where asked for (`vault/passphrase.py`)

The checksums find damage, not forgery: keep backups where only you can write.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import Any

import msgspec

from ibkit.errors import IbkitError, StorageError

__all__ = [
    "FORMAT",
    "JOURNAL",
    "NAMES",
    "RECORDS",
    "SEALED",
    "Kept",
    "Manifest",
    "extract",
    "kept",
    "read_manifest",
    "write",
]

FORMAT = 1
JOURNAL, RECORDS, ROWS, TRADES = "journal.db", "records.db", "records.jsonl", "trades.jsonl"
SETTINGS, SEALED = "settings.json", "secrets.sealed"
NAMES = (JOURNAL, RECORDS, ROWS, TRADES, SETTINGS, SEALED)
_MANIFEST = "manifest.json"
_LARGEST_MANIFEST = 1 << 20
_CHUNK = 1 << 20


class Kept(msgspec.Struct, frozen=True):
    """A file of the backup."""

    sha256: str
    bytes: int


class Manifest(msgspec.Struct, frozen=True, kw_only=True):
    """versions: of the journal and of each part of the database. changes: how far the journal had come."""

    format: int
    ibkit: str
    python: str
    made_at: datetime
    environment: str
    engine: str
    """sqlite, postgresql, or "" where there was no database yet."""
    versions: dict[str, int]
    journal_id: str = ""
    changes: int = 0
    files: dict[str, Kept]


def write(target: Path, manifest: Manifest, folder: Path) -> None:
    """The files of `folder` that `manifest` names, as the backup `target`; it appears when it is whole. StorageError.

    A file that is there already is not replaced.
    """
    fresh = target.with_name(f".{target.name}.{os.getpid()}.new")
    try:
        handle = os.open(fresh, os.O_CREAT | os.O_EXCL | os.O_WRONLY | getattr(os, "O_NOFOLLOW", 0), 0o600)
        try:
            with os.fdopen(handle, "wb") as out:
                with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
                    archive.writestr(_MANIFEST, msgspec.json.format(msgspec.json.encode(manifest), indent=2))
                    for name in manifest.files:
                        archive.write(folder / name, name)
                out.flush()
                os.fsync(out.fileno())
            if os.name == "posix":
                os.link(fresh, target)  # unlike a rename it fails where something stands there
                fresh.unlink()
            else:
                fresh.rename(target)
        except BaseException:
            with contextlib.suppress(OSError):
                fresh.unlink()
            raise
    except FileExistsError as error:
        raise StorageError(
            f"Database problem: {target} is there already", code="E-VALIDATION", remedy="Name another file."
        ) from error
    except OSError as error:
        raise StorageError(
            f"Database problem: the backup {target} cannot be written: {error.strerror or error}",
            remedy="Name a folder that you may write and that has space left.",
        ) from error


def kept(path: Path) -> Kept:
    """Size and checksum of a file."""
    digest, size = hashlib.sha256(), 0
    with path.open("rb") as file:
        while chunk := file.read(_CHUNK):
            digest.update(chunk)
            size += len(chunk)
    return Kept(digest.hexdigest(), size)


def read_manifest(path: Path) -> Manifest:
    """What a backup says of itself; its files are not looked at. StorageError."""
    with _opened(path) as archive:
        return _manifest(path, archive)


def extract(path: Path, folder: Path) -> Manifest:
    """Every file of the backup, in `folder` (empty, ours alone), each compared with its checksum. StorageError."""
    with _opened(path) as archive:
        manifest = _manifest(path, archive)
        for name, said in manifest.files.items():
            _extract_one(path, archive, name, said, folder / name)
        return manifest


def _extract_one(path: Path, archive: zipfile.ZipFile, name: str, said: Kept, target: Path) -> None:
    digest, size = hashlib.sha256(), 0
    handle = os.open(target, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600)
    with os.fdopen(handle, "wb") as out, archive.open(name) as packed:
        while chunk := packed.read(_CHUNK):
            digest.update(chunk)
            size += len(chunk)
            if size > said.bytes:
                break  # not what it says: no more of it is unpacked
            out.write(chunk)
        out.flush()
        os.fsync(out.fileno())
    if Kept(digest.hexdigest(), size) != said:
        raise _damaged(path, f"{name} is not what was saved")


def _manifest(path: Path, archive: zipfile.ZipFile) -> Manifest:
    try:
        if archive.getinfo(_MANIFEST).file_size > _LARGEST_MANIFEST:
            raise _damaged(path, "its manifest is too large")
        raw = archive.read(_MANIFEST)
        if msgspec.json.decode(raw, type=dict[str, Any]).get("format") != FORMAT:
            raise StorageError(
                f"Database problem: the backup {path} has a format that this ibkit does not know",
                remedy="Restore it with the version of ibkit that made it, or a newer one.",
            )
        manifest = msgspec.json.decode(raw, type=Manifest)
    except (KeyError, msgspec.MsgspecError):
        raise _damaged(path, "it has no manifest that can be read") from None
    strange = set(manifest.files) - set(NAMES)
    missing = set(manifest.files) - set(archive.namelist())
    if strange or missing:
        raise _damaged(path, f"unexpected or missing: {', '.join(sorted(strange | missing))}")
    return manifest


@contextmanager
def _opened(path: Path) -> Iterator[zipfile.ZipFile]:
    try:
        with zipfile.ZipFile(path) as archive:
            yield archive
    except IbkitError:
        raise
    except FileNotFoundError:
        raise StorageError(
            f"Backup {path} not found", code="E-NOT-FOUND", remedy="`ibkit backup list` shows those that are there."
        ) from None
    except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, RuntimeError) as error:
        raise _damaged(path, str(error)) from None
    except OSError as error:
        raise StorageError(
            f"Database problem: the backup {path} cannot be read: {error.strerror or error}",
            remedy="Check the file and the space on the disk.",
        ) from error


def _damaged(path: Path, reason: str) -> StorageError:
    return StorageError(
        f"Database problem: the backup {path} is damaged: {reason}", remedy="Nothing was changed. Take another backup."
    )
