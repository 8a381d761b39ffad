"""`ibkit backup`: a copy of everything that lasts, while everything runs; what there is, and whether it is good."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import cyclopts

from ibkit.cli import context, output
from ibkit.cli.asking import wrong
from ibkit.cli.auditing import audited
from ibkit.cli.flags import Json, flag, option
from ibkit.clock import SystemClock
from ibkit.errors import IbkitError, StorageError

if TYPE_CHECKING:
    from ibkit.store.backups import Manifest

__all__ = ["app", "described"]

app = cyclopts.App(name="backup", help="Back up the journal and the database while everything runs.")


@app.command(name="create")
@app.default
def create(
    path: Annotated[
        Path | None, cyclopts.Parameter(help="File to write [default: a new one in backups/ of the state directory].")
    ] = None,
    *,
    with_secrets: Annotated[bool, flag("Also the settings file, keys and tokens, sealed with a passphrase.")] = False,
    passphrase_file: Annotated[Path | None, option("File of mode 600 with the passphrase [default: ask].")] = None,
    keep: Annotated[int | None, option("Remove all but the newest N of that folder afterwards.")] = None,
    json: Json = False,
) -> None:
    """Write a backup: the order journal, the database, the settings without secrets."""
    import secrets

    from ibkit.bootstrap.backups import backups_folder, check_backup, make_backup, name_of, one_at_a_time, prune
    from ibkit.cli.passphrases import passphrase_of

    if keep is not None and keep < 1:
        raise wrong("--keep", "keep at least one")
    settings = context.load_settings(require_method=False)
    now = SystemClock().now()
    target = path or backups_folder(settings) / name_of(now)
    if target.is_dir():
        target = target / name_of(now)
    passphrase = passphrase_of(passphrase_file, twice=True) if with_secrets else None
    gone: list[Path] = []
    with audited("backup.create", str(target), settings=settings, with_secrets="yes") as entry:
        entry.skipped = not with_secrets  # nothing is changed, and no secret used
        with one_at_a_time(settings):
            manifest = make_backup(settings, target, now=now, random=secrets.token_bytes, passphrase=passphrase)
            if keep is not None:
                check_backup(target, scratch=settings.state_dir)  # no old one goes before the new one is known good
                gone = prune(backups_folder(settings), keep=keep)
    if json:
        output.emit({"path": target, "manifest": described(manifest), "removed": gone})
        return
    output.say(f"Written: {target} ({', '.join(manifest.files)})")
    if not with_secrets:
        output.say("Settings that are secrets, keys and tokens are not in it; --with-secrets adds them, sealed.")
    for old in gone:
        output.say(f"Removed: {old}")


@app.command(name="list")
def list_(*, json: Json = False) -> None:
    """The backups of the state directory, newest first."""
    from ibkit.bootstrap.backups import backups_folder
    from ibkit.store.backups import read_manifest

    settings = context.load_settings(require_method=False)
    found: list[tuple[Path, Manifest | IbkitError]] = []
    for path in sorted(backups_folder(settings).glob("*.ibkit-backup"), reverse=True):
        try:
            found.append((path, read_manifest(path)))
        except StorageError as error:
            found.append((path, error))
    if json:
        output.emit(
            [
                {"path": path, "damaged": said.message if isinstance(said, IbkitError) else None}
                | ({} if isinstance(said, IbkitError) else {"manifest": described(said)})
                for path, said in found
            ]
        )
    elif not found:
        output.say(f"No backup in {backups_folder(settings)}; `ibkit backup` makes one.")
    else:
        output.say(
            output.table(("Backup", "Made", "ibkit", "Sends so far", "Secrets"), [_row(*each) for each in found])
        )


@app.command
def verify(
    path: Path,
    *,
    with_secrets: Annotated[bool, flag("Open what is sealed, too.")] = False,
    passphrase_file: Annotated[Path | None, option("File of mode 600 with the passphrase [default: ask].")] = None,
    json: Json = False,
) -> None:
    """Whether a backup is whole and this ibkit can use it. Nothing is changed."""
    from ibkit.bootstrap.backups import check_backup
    from ibkit.cli.passphrases import passphrase_of

    settings = context.load_settings(require_method=False)
    passphrase = passphrase_of(passphrase_file, twice=False) if with_secrets else None
    manifest = check_backup(path, scratch=settings.state_dir, passphrase=passphrase)
    if json:
        output.emit({"path": path, "manifest": described(manifest)})
    else:
        output.say(f"{path}: whole; made {manifest.made_at:%Y-%m-%d %H:%M:%S} UTC by ibkit {manifest.ibkit}.")


def described(manifest: Manifest) -> dict[str, Any]:
    """As a document of `--json`."""
    import msgspec

    return dict(msgspec.to_builtins(manifest))


def _row(path: Path, said: Manifest | IbkitError) -> tuple[object, ...]:
    if isinstance(said, IbkitError):
        return path.name, "damaged", None, None, None
    sealed = "sealed" if "secrets.sealed" in said.files else "no"
    return path.name, f"{said.made_at:%Y-%m-%d %H:%M}", said.ibkit, said.changes, sealed
