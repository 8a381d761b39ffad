"""Backing up what lasts, and putting it back: which files there are, in which order, under which locks.

The journal is copied last: a record that knows less than the journal is found out, the other way round is not. What is
replaced by a restore is kept beside it. The mark beside the journal is never part of it: it stays as it stands, and the
journal that was put back is called restored, so that nothing is sent before a person has looked (`store/mark.py`).
Users sign in anew after it: the backup has forgotten which of their tokens were ended.
Source: requirements OPS-03, OPS-07; threat TM-41.
"""

from __future__ import annotations

import base64
import contextlib
import os
import platform
import tempfile
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from datetime import datetime
from importlib.metadata import version
from pathlib import Path

import msgspec
from sqlalchemy import text

from ibkit.bootstrap.auditing import audit_path
from ibkit.bootstrap.desks import journal_path, trades_journal_path
from ibkit.bootstrap.edge import edges
from ibkit.errors import ConfigError, IbkitError, StorageError, discreet
from ibkit.model import Secret
from ibkit.settings import VARIABLES, Settings
from ibkit.store import backups, file_copies, table_lines
from ibkit.store.audit_key import trusted_files
from ibkit.store.backups import Manifest
from ibkit.store.database import SCHEMA, sqlite_path, to_engine
from ibkit.store.failures import failures_of
from ibkit.store.journal_file import upgrade_file
from ibkit.store.locks import held
from ibkit.store.migrations import JOURNAL, RECORDS
from ibkit.store.records import upgrade_records_file
from ibkit.store.users import end_sign_ins
from ibkit.vault import open_with_passphrase, seal_with_passphrase

__all__ = [
    "Restored",
    "back_up_daily",
    "backups_folder",
    "check_backup",
    "last_backup",
    "make_backup",
    "one_at_a_time",
    "prune",
    "restore_backup",
    "secret_files",
]

_PLACE = "ibkit backup"
_SUFFIX = ".ibkit-backup"


@dataclass(frozen=True, slots=True, kw_only=True)
class Restored:
    """aside: where what was there before is now; None where nothing was. schema: the same, of a server's database.

    users: how many there are; each signs in anew.
    secrets: files that were written. kept: files that were there and differ, or cannot be written here; each with the
    place of the backup's copy.
    """

    manifest: Manifest
    aside: Path | None
    schema: str | None
    rows: int
    users: int = 0
    secrets: tuple[Path, ...] = ()
    kept: tuple[tuple[Path, Path], ...] = ()


class _SecretFile(msgspec.Struct):
    path: str
    mode: int
    data: str


def backups_folder(settings: Settings) -> Path:
    return settings.state_dir / "backups"


def name_of(now: datetime) -> str:
    return f"ibkit-{now:%Y%m%dT%H%M%SZ}{_SUFFIX}"


def make_backup(
    settings: Settings,
    target: Path,
    *,
    now: datetime,
    random: Callable[[int], bytes],
    passphrase: Secret[str] | None = None,
) -> Manifest:
    """Everything that lasts, in the file `target`, while everything runs.

    passphrase: put the settings file, keys and tokens in, too, sealed with it. Blocks. StorageError, ConfigError.
    """
    with _scratch(target.parent) as folder:
        versions: dict[str, int] = {}
        engine = _copy_records(settings, folder, versions)
        trades = trades_journal_path(settings)
        if trades.exists():
            _put(folder / backups.TRADES, trades.read_bytes())
        _put(folder / backups.SETTINGS, msgspec.json.format(msgspec.json.encode(_plain(settings)), indent=2))
        if passphrase is not None:
            _put(folder / backups.SEALED, _sealed(settings, passphrase, random))
        journal = journal_path(settings)
        mark = None
        if journal.exists():
            file_copies.copy(journal, folder / backups.JOURNAL)
            mark = file_copies.stand_of(folder / backups.JOURNAL)
            versions |= file_copies.version_in(folder / backups.JOURNAL)
        _refuse_damage(folder)
        manifest = Manifest(
            format=backups.FORMAT,
            ibkit=version("ibkit"),
            python=platform.python_version(),
            made_at=now,
            environment=settings.environment.value,
            engine=engine,
            versions=versions,
            journal_id=mark.journal_id if mark else "",
            changes=mark.changes if mark else 0,
            files={name: backups.kept(folder / name) for name in backups.NAMES if (folder / name).exists()},
        )
        backups.write(target, manifest, folder)
        return manifest


def check_backup(path: Path, *, scratch: Path, passphrase: Secret[str] | None = None) -> Manifest:
    """The backup is whole, its databases are, and this ibkit can use them. StorageError, ConfigError.

    passphrase: open what is sealed, too.
    """
    with _scratch(scratch) as folder:
        manifest = _checked(path, folder)
        if passphrase is not None:
            _secrets_in(folder, passphrase)
        return manifest


@discreet
def restore_backup(
    settings: Settings,
    path: Path,
    *,
    now: datetime,
    passphrase: Secret[str] | None = None,
    as_it_was: bool = False,
) -> Restored:
    """Puts a backup in the place of what is there, once all of it is known to be good.

    passphrase: put keys and tokens back, too.
    as_it_was: with the versions that the databases had, for an earlier ibkit; else an older one is brought forward.
    Blocks. InFlight while another ibkit uses the state; StorageError.
    """
    state = settings.state_dir
    state.mkdir(parents=True, exist_ok=True, mode=0o700)
    with _scratch(state) as folder:
        manifest = _checked(path, folder)
        _fits(settings, manifest)
        secrets = _secrets_in(folder, passphrase) if passphrase is not None else []
        if not as_it_was:
            _bring_forward(folder, manifest)
        if (folder / backups.JOURNAL).exists():
            file_copies.call_restored(folder / backups.JOURNAL)
        jump = 1_000 + int.from_bytes(edges().random(2))
        users = 0
        if (folder / backups.RECORDS).exists():
            users = file_copies.end_sign_ins(folder / backups.RECORDS, jump=jump)
        places = {
            backups.JOURNAL: journal_path(settings),
            backups.RECORDS: sqlite_path(settings.database_url.reveal()),
            backups.TRADES: trades_journal_path(settings),
        }
        moves = [(folder / name, place) for name, place in places.items() if place and (folder / name).exists()]
        stamp = f"{now:%Y%m%dT%H%M%S}"
        aside = state / f"before-restore-{stamp}"
        databases = [place for name, place in places.items() if place and name != backups.TRADES]
        with file_copies.nobody_else(state, *databases), _swapped(moves, aside):
            rows, schema, of_server = _load_rows(settings, folder, manifest, stamp, jump, newest=not as_it_was)
        written, kept = _put_secrets(secrets, aside)
        return Restored(
            manifest=manifest,
            aside=aside if aside.exists() else None,
            schema=schema,
            rows=rows,
            users=users + of_server,
            secrets=written,
            kept=kept,
        )


def one_at_a_time(settings: Settings) -> AbstractContextManager[None]:
    """Held while a backup is made, by whichever process; a restore takes it, too. InFlight where another has it."""
    return held(
        settings.state_dir / "worker" / "backup.lock", what="A backup", remedy="Let it come to its end, then repeat."
    )


def last_backup(settings: Settings) -> tuple[Path, Manifest] | None:
    """The newest of the state directory that can be read; None where there is none. Those for a rollback do not count.

    Its files are not looked at (`check_backup`).
    """
    for path in sorted(backups_folder(settings).glob(f"ibkit-*{_SUFFIX}"), reverse=True):
        with contextlib.suppress(StorageError):
            return path, backups.read_manifest(path)
    return None


def back_up_daily(settings: Settings, *, now: datetime, random: Callable[[int], bytes]) -> Path | None:
    """The backup of this day (UTC), looked over; then those beyond BACKUP_KEEP go. None: there is one of the day.

    One that turns out to be no good is removed, and no other with it. Blocks. InFlight, StorageError, ConfigError.
    """
    with one_at_a_time(settings):
        last = last_backup(settings)
        if last is not None and last[1].made_at.date() >= now.date():
            return None
        target = backups_folder(settings) / name_of(now)
        make_backup(settings, target, now=now, random=random)
        try:
            check_backup(target, scratch=settings.state_dir)
        except IbkitError:
            target.unlink(missing_ok=True)  # or it would pass for the backup of the day
            raise
        prune(backups_folder(settings), keep=settings.database.backup_keep)
        return target


def prune(folder: Path, *, keep: int) -> list[Path]:
    """Removes all but the newest `keep` backups of the folder: those that went."""
    found = sorted(folder.glob(f"ibkit-*{_SUFFIX}"), reverse=True)
    for path in found[keep:]:
        path.unlink(missing_ok=True)
    return found[keep:]


def secret_files(settings: Settings) -> list[Path]:
    """The files of this installation that hold secrets and are there: settings, keys, DH file, tokens, pins.

    Of the keys also those of the vault and of the audit log: without them what the database holds does not open, and
    nobody vouches for the log. Not the key that signs users' tokens: those of before a restore are over.
    """
    audit = audit_path(settings)
    named = [
        settings.file,
        settings.vault.file,
        audit / "signing_key.pem",
        audit / "public_key.pem",
        *trusted_files(audit),
        settings.oauth1.signature_key_path,
        settings.oauth1.encryption_key_path,
        settings.oauth1.dh_param_path,
        settings.oauth2.private_key_path,
        settings.state_dir / "gateway-pins",
    ]
    pairs = (settings.oauth1.signature_key_path, settings.oauth1.encryption_key_path)
    public = [path.with_name(path.name.replace("private", "public")) for path in pairs if path]
    tokens = sorted((settings.state_dir / "tokens").glob("*"))
    found = {path.absolute(): None for path in (*named, *public, *tokens) if path is not None and path.is_file()}
    return list(found)


def _plain(settings: Settings) -> dict[str, object]:
    """What is set and no secret, as it was written; of the rest only the names."""
    shown, left_out = {}, []
    for name, found in settings.sources.items():
        if VARIABLES[name].hidden:
            left_out.append(found.name)
        else:
            shown[found.name] = found.value.reveal()
    return {"settings": shown, "left_out": sorted(left_out)}


def _copy_records(settings: Settings, folder: Path, versions: dict[str, int]) -> str:
    """The database's copy in `folder`, its versions added; the engine's name, "" where there is no database yet."""
    url = settings.database_url.reveal()
    file = sqlite_path(url)
    if file is not None:
        if not file.exists():
            return ""
        file_copies.copy(file, folder / backups.RECORDS)
        versions |= file_copies.version_in(folder / backups.RECORDS)
        return "sqlite"
    engine = to_engine(url)
    if engine.dialect.name == "sqlite":
        return ""  # in memory: it does not last
    try:
        with failures_of("database"), (folder / backups.ROWS).open("xb") as out:
            there, _ = table_lines.dump(engine, out, RECORDS)
        versions |= there
    finally:
        engine.dispose()
    return "postgresql"


def _refuse_damage(folder: Path) -> None:
    for name in (backups.JOURNAL, backups.RECORDS):
        if (folder / name).exists() and (said := file_copies.damage(folder / name)) is not None:
            raise StorageError(
                f"Database problem: {name} is damaged: {said}",
                remedy="A backup of it would be worth nothing: restore the last good one (`ibkit backup list`).",
            )


def _checked(path: Path, folder: Path) -> Manifest:
    """Unpacked into `folder`, with checksums, databases and versions looked at."""
    manifest = backups.extract(path, folder)
    _refuse_damage(folder)
    newer = {part: had for part, had in manifest.versions.items() if had > _known().get(part, 0)}
    if newer:
        raise StorageError(
            f"Database problem: the backup was made by a newer ibkit ({manifest.ibkit}; {', '.join(newer)})",
            remedy="Update ibkit, then restore it.",
        )
    return manifest


def _bring_forward(folder: Path, manifest: Manifest) -> None:
    """The copies that were unpacked, to the versions of this ibkit, where they are older."""
    older = {part for part, had in manifest.versions.items() if had < _known()[part]}
    if "journal" in older:
        upgrade_file(folder / backups.JOURNAL)
    if (folder / backups.RECORDS).exists() and older - {"journal"}:
        upgrade_records_file(folder / backups.RECORDS)


def _known() -> dict[str, int]:
    return {"journal": JOURNAL[-1].version} | {part: steps[-1].version for part, steps in RECORDS.items()}


def _fits(settings: Settings, manifest: Manifest) -> None:
    now = "sqlite" if sqlite_path(settings.database_url.reveal()) is not None else "postgresql"
    if manifest.engine and manifest.engine != now:
        raise ConfigError(
            f"The backup holds a {manifest.engine} database, the settings name a {now} one",
            code="E-CONFIG-CONFLICT",
            remedy=f"Set DATABASE_URL to a {manifest.engine} database, then repeat.",
        )
    if manifest.environment != settings.environment.value:
        raise ConfigError(
            f"The backup is of {manifest.environment}, the settings are of {settings.environment.value}",
            code="E-CONFIG-CONFLICT",
            remedy=f"Set IBKR_ENV={manifest.environment}, or use the backup of this environment.",
        )


def _load_rows(
    settings: Settings, folder: Path, manifest: Manifest, stamp: str, jump: int, *, newest: bool
) -> tuple[int, str | None, int]:
    """How many rows, where the former ones are now, how many users."""
    if not (folder / backups.ROWS).exists():
        return 0, None, 0
    aside = f"trading_before_{stamp.lower()}"
    parts = {part: had for part, had in manifest.versions.items() if part != "journal"}
    engine = to_engine(settings.database_url.reveal())
    try:
        with failures_of("database"), engine.begin() as connection, (folder / backups.ROWS).open("rb") as lines:
            rows = table_lines.load(connection, lines, RECORDS, parts, aside=aside, newest=newest)
            users = end_sign_ins(lambda each: connection.execute(text(each)).rowcount, jump=jump, schema=f"{SCHEMA}.")
    finally:
        engine.dispose()
    return rows, aside, users


@contextlib.contextmanager
def _swapped(moves: list[tuple[Path, Path]], aside: Path) -> Iterator[None]:
    """Each file in its new place, what was there in `aside`; all as before where one of them, or the block, fails."""
    done: list[tuple[Path, Path]] = []  # from where to where
    try:
        for staged, place in moves:
            place.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            # Whatever belongs to an SQLite file goes with it: a log of the old one must not meet the new one.
            for old in (place, *(place.with_name(place.name + end) for end in ("-wal", "-shm", "-journal"))):
                if old.exists():
                    aside.mkdir(exist_ok=True, mode=0o700)
                    old.rename(aside / old.name)
                    done.append((old, aside / old.name))
            staged.rename(place)
            done.append((staged, place))
        yield
    except BaseException as error:
        for before, after in reversed(done):
            after.rename(before)
        with contextlib.suppress(OSError):
            aside.rmdir()
        if isinstance(error, OSError):
            raise StorageError(
                f"Database problem: {error.filename}: {error.strerror}",
                remedy="Nothing was changed. Check that the folder is writable by this user and has space left.",
            ) from error
        raise


def _sealed(settings: Settings, passphrase: Secret[str], random: Callable[[int], bytes]) -> bytes:
    files = [
        _SecretFile(str(path), path.stat().st_mode & 0o777, base64.b64encode(path.read_bytes()).decode())
        for path in secret_files(settings)
    ]
    return seal_with_passphrase(Secret(msgspec.json.encode(files)), passphrase, place=_PLACE, random=random)


@discreet
def _secrets_in(folder: Path, passphrase: Secret[str]) -> list[_SecretFile]:
    sealed = folder / backups.SEALED
    if not sealed.exists():
        raise ConfigError(
            "Invalid request: the backup holds no secrets: it was made without --with-secrets",
            code="E-VALIDATION",
            remedy="Repeat without --with-secrets, and put the keys in their place by hand.",
        )
    opened = open_with_passphrase(sealed.read_bytes(), passphrase, place=_PLACE)
    return msgspec.json.decode(opened.reveal(), type=list[_SecretFile])


@discreet
def _put_secrets(files: list[_SecretFile], aside: Path) -> tuple[tuple[Path, ...], tuple[tuple[Path, Path], ...]]:
    """Writes what is not there. A file that is there and differs stays: a key in use is not overwritten.

    Its copy goes into `aside`, as does what cannot be written here: on another machine not every place is ours.
    """
    written: list[Path] = []
    kept: list[tuple[Path, Path]] = []
    for file in files:
        path, data = Path(file.path), base64.b64decode(file.data)
        try:
            if path.exists():
                if path.read_bytes() == data:
                    continue
            else:
                path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
                _put(path, data, mode=file.mode & 0o644)
                written.append(path)
                continue
        except OSError:
            pass
        kept.append((path, _put_beside(aside, path.name, data)))
    return tuple(written), tuple(kept)


def _put_beside(aside: Path, name: str, data: bytes) -> Path:
    """Two keys may have one name, in folders of their own."""
    folder = aside / "secrets-of-the-backup"
    for each in (aside, folder):
        each.mkdir(exist_ok=True, mode=0o700)
    there = {path.name for path in folder.iterdir()}
    fresh = folder / next(each for each in (name, *(f"{name}.{n}" for n in range(2, 1000))) if each not in there)
    _put(fresh, data)
    return fresh


def _put(path: Path, data: bytes, *, mode: int = 0o600) -> None:
    handle = os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, mode)
    try:
        with os.fdopen(handle, "wb") as out:
            out.write(data)
            out.flush()
            os.fsync(out.fileno())
    except BaseException:
        with contextlib.suppress(OSError):
            path.unlink()  # half a key would be taken for one
        raise


@contextlib.contextmanager
def _scratch(beside: Path) -> Iterator[Path]:
    """A folder of our own on the same disk, gone at the end. StorageError."""
    try:
        beside.mkdir(parents=True, exist_ok=True, mode=0o700)
        with tempfile.TemporaryDirectory(prefix=".ibkit-backup-", dir=beside) as folder:
            yield Path(folder)
    except OSError as error:
        raise StorageError(
            f"Database problem: {error.filename or beside}: {error.strerror or error}",
            remedy="Name a folder that you may write and that has space left.",
        ) from error
