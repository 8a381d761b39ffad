"""`ibkit vault`: the key that seals what is kept on disk, what is sealed with which key, and a new key for all of it.

Requirements VLT-01, VLT-04, VLT-05.
"""

from __future__ import annotations

import dataclasses
import sys
from collections import Counter
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import cyclopts

from ibkit.cli import context, output
from ibkit.cli.asking import wrong
from ibkit.cli.auditing import audited
from ibkit.cli.flags import Json, flag
from ibkit.cli.running import go
from ibkit.errors import ConfigError, StorageError, discreet
from ibkit.model import Secret
from ibkit.vault import EncryptionKeys, generate_encryption_keys, key_from_hex

if TYPE_CHECKING:
    from ibkit.settings import Settings
    from ibkit.store.rotation import Rotated
    from ibkit.store.vault import KeyUse, SqlVault
    from ibkit.vault import MaskedCredential

__all__ = ["app"]

app = cyclopts.App(name="vault", help="Make, show and change the key that encrypts stored secrets.")

_LARGEST_KEY_FILE = 4096


@app.command
def generate_keys(
    *,
    write: Annotated[bool, flag("Keep the key: in the settings file, or where ENCRYPTION_KEY_PROVIDER says.")] = False,
    force: Annotated[bool, flag("With --write: replace a key that is there; the old one stays readable.")] = False,
    json: Json = False,
) -> int:
    """Make an encryption key; without --write it is only printed."""
    if not write:
        with audited("vault.generate_key", "printed"):
            _print(generate_encryption_keys(), json=json)
        return 0
    elsewhere = _kept_elsewhere()
    name = "key provider" if elsewhere else str(context.current().env_file or Path(".env"))
    with audited("vault.generate_key", name, forced="yes" if force else "") as entry:
        where = _keep_elsewhere(force=force) if elsewhere else _keep_in_settings(force=force)
        if where is None:
            entry.skipped = True
            return 1
        entry.object = where
    if json:
        output.emit({"file": where})
    else:
        output.say(f"Wrote an encryption key to {where}. Keep a copy elsewhere: without it nothing sealed opens.")
    return 0


def _print(keys: EncryptionKeys, *, json: bool) -> None:
    if json:
        output.emit({"key": keys.key, "iv": keys.iv})
    else:
        output.say(f"ENCRYPTION_KEY={keys.key}")
        output.say(f"# ENCRYPTION_IV={keys.iv}  # only for reading data of the old fixed-IV format; leave it off")


def _keep_in_settings(*, force: bool) -> str | None:
    from ibkit.store.key_sources import fresh_key
    from ibkit.store.key_sources.settings_file import put_key

    file = context.current().env_file or Path(".env")
    if put_key(file, fresh_key(), force=force):
        return str(file)
    output.warn(f"Nothing was changed: {file} has an ENCRYPTION_KEY already.")
    output.warn("-> Keep it, or replace it with --force; the old one then moves to ENCRYPTION_KEY_PREVIOUS.")
    return None


def _kept_elsewhere() -> bool:
    """Whether the settings name another provider than themselves. Settings with a mistake in them may need this key."""
    from ibkit.settings import load

    file = context.current().env_file
    if file is not None and not file.exists():
        return False
    try:
        return load(env_file=file, require_method=False, strict=False).vault.provider != "env"
    except ConfigError:
        return False


def _keep_elsewhere(*, force: bool) -> str | None:
    from ibkit.bootstrap import key_source_of

    source = key_source_of(context.load_settings(require_method=False))
    if source.read() and not force:
        output.warn(f"Nothing was changed: there is a key in {source.name} already.")
        output.warn("-> Keep it, or put a new one in front of it with --force; the old one stays readable.")
        return None
    source.put(None)
    return source.name


@app.command
def status(*, json: Json = False) -> int:
    """Show which keys the database needs, what is sealed with each, and what is due to be changed."""
    from ibkit.bootstrap import key_source_of, open_vault
    from ibkit.bootstrap.alerting import channels_by_key
    from ibkit.bootstrap.users import second_steps_by_key
    from ibkit.store.credentials import SqlCredentials

    settings = context.load_settings(require_method=False)

    async def work() -> int:
        async with open_vault(settings) as vault:
            now = vault.clock.now()
            current = vault.ring.current_id
            keys = await vault.keys()
            pending = await vault.pending()
            old_format = await vault.in_old_format()
            due = {key.key_id for key in await vault.keys_older_than(now - _days(settings.vault.rotation_days))}
            old = await SqlCredentials(vault).older_than(now - _days(settings.vault.max_age_days))
        outside = {
            "second_steps": await second_steps_by_key(settings),
            "alert_channels": await channels_by_key(settings, clock=vault.clock),
        }
        pending += sum(count for each in outside.values() for key_id, count in each.items() if key_id != current)
        rows = _rows(keys, outside, due)
        if json:
            output.emit(_document(key_source_of(settings).name, rows, pending, old_format, old))
        else:
            _show(settings, rows, pending, old, now)
            if settings.vault.iv is not None and not old_format:
                output.say("\nENCRYPTION_IV is set, and nothing of the old format is left.")
                output.say("-> Remove it. If anything was of that format, `ibkit vault rotate`: docs/guide/vault.md")
        return 0

    return go(work)


def _days(number: int) -> timedelta:
    return timedelta(days=number)


def _rows(keys: tuple[KeyUse, ...], outside: Mapping[str, Counter[str]], due: set[str]) -> list[dict[str, Any]]:
    """One for each key that something needs; outside: of the vault's own table, by kind and key id."""
    known = {key.key_id: key for key in keys}
    named = sorted({key_id for each in outside.values() for key_id in each} - known.keys())
    return [
        {
            "key_id": key_id,
            "current": key is not None and key.current,
            "since": None if key is None else key.since,
            "superseded_at": None if key is None else key.superseded_at,
            "sealed": 0 if key is None else key.texts,
            **{kind: counts[key_id] for kind, counts in outside.items()},
            "rotation_due": key_id in due,
        }
        for key_id, key in [*known.items(), *((key_id, None) for key_id in named)]
    ]


def _document(
    source: str, rows: list[dict[str, Any]], pending: int, old_format: int, old: tuple[MaskedCredential, ...]
) -> dict[str, object]:
    return {
        "source": source,
        "keys": rows,
        "to_rewrap": pending,
        "old_format": old_format,
        "old_credentials": [
            {"user_id": each.user_id, "connection_id": each.connection_id, "changed_at": each.changed_at}
            for each in old
        ],
    }


def _show(
    settings: Settings, rows: list[dict[str, Any]], pending: int, old: tuple[MaskedCredential, ...], now: datetime
) -> None:
    table = [
        (
            row["key_id"] or "none of ours",
            "current" if row["current"] else "only for reading",
            row["sealed"],
            row["second_steps"],
            row["alert_channels"],
            "" if row["since"] is None else f"{row['since']:%Y-%m-%d}",
        )
        for row in rows
    ]
    head = ("KEY", "USE", "SEALED", "SECOND STEPS", "ALERT CHANNELS", "SINCE")
    output.say(output.table(head, table, right=(2, 3, 4)))
    if pending:
        output.say(f"\n{pending} secrets are sealed with another key than the current one.")
        output.say("-> `ibkit vault rotate` seals them anew.")
    elif any(row["rotation_due"] for row in rows):
        output.say(f"\nThe key is older than {settings.vault.rotation_days} days (KEY_ROTATION_DAYS).")
        output.say("-> `ibkit vault rotate` makes a new one.")
    for each in old:
        age = (now.astimezone(UTC) - each.changed_at).days
        output.say(f"\nThe credentials of {each.user_id or 'the owner'}, {each.connection_id}, are {age} days old.")
        output.say("-> Store new ones; those in use stay until the new ones have passed their test.")


@app.command
def rotate(
    *,
    key_file: Annotated[
        str | None,
        cyclopts.Parameter(
            help="Take the new key from this file, - for stdin [default: a fresh key].",
            show_default=None,
            allow_leading_hyphen=True,
        ),
    ] = None,
    json: Json = False,
) -> int:
    """Seal everything stored anew with a new key; both are readable meanwhile. Run it again after an interruption.

    Where a new key is set already, with the old one in ENCRYPTION_KEY_PREVIOUS, that one is used.
    """
    given = None if key_file is None else _given_key(key_file)
    settings = context.load_settings(require_method=False)
    with audited("vault.rotate", "the vault", settings=settings) as entry:
        done = go(lambda: _rotate(settings, given))
        entry.details |= {"key": done.key_id, "sealed_anew": str(done.rewrapped)}
    if json:
        output.emit(done)
    else:
        _told(done)
    if done.unreadable:
        raise StorageError(
            f"Encryption failed: {len(done.unreadable)} secrets open with no key that is configured: "
            f"{', '.join(done.unreadable[:5])}{' ...' if len(done.unreadable) > 5 else ''}",
            code="E-ENC",
            remedy=(
                "Add the key they were sealed with to ENCRYPTION_KEY_PREVIOUS (old fixed-IV text needs ENCRYPTION_IV) "
                "and run `ibkit vault rotate` again; or store those secrets anew."
            ),
        )
    return 0


async def _rotate(settings: Settings, given: Secret[str] | None) -> Rotated:
    import anyio.to_thread

    from ibkit.bootstrap import clock_of, key_source_of, open_vault
    from ibkit.store.locks import file_lock

    lock = settings.state_dir / "vault.lock"
    async with file_lock(lock, wait_s=0, clock=clock_of(settings), what="Changing the vault's key"):
        async with open_vault(settings) as vault:
            unfinished = len(await vault.keys()) > 1
            if unfinished and given is None:
                output.warn(f"Going on to the key {vault.ring.current_id}.")
                return await _anew(settings, vault)
        if unfinished:
            raise ConfigError(
                "Encryption failed: an earlier change of the key has not ended",
                code="E-ENC-KEY",
                remedy="Run `ibkit vault rotate` without --key-file first.",
            )
        source = key_source_of(settings)
        # Safe in its place before the first text is sealed with it: what was sealed with a lost key is lost.
        await anyio.to_thread.run_sync(source.put, given)
        now = context.load_settings(require_method=False)
        async with open_vault(now) as vault:
            output.warn(f"New key {vault.ring.current_id} in {source.name}.")
            return await _anew(now, vault)


async def _anew(settings: Settings, vault: SqlVault) -> Rotated:
    """The vault, and before an older key is said to be needed no more, what is sealed outside of its own table."""
    from ibkit.bootstrap import clock_of
    from ibkit.bootstrap.alerting import reseal_channels
    from ibkit.bootstrap.users import reseal_second_steps
    from ibkit.store.rotation import rotate as rotate_all

    unreadable: tuple[str, ...] = ()
    for what, reseal in (("second steps of users", reseal_second_steps), ("alert channels", reseal_channels)):
        resealed, left = await reseal(settings, clock=clock_of(settings))
        unreadable += left
        if resealed:
            output.warn(f"{resealed} {what} sealed anew")
    done = await rotate_all(vault, tell=_progress)
    return dataclasses.replace(done, unreadable=(*done.unreadable, *unreadable))


def _progress(done: int) -> None:
    output.warn(f"{done} sealed anew")


def _told(done: Rotated) -> None:
    output.say(f"Key {done.key_id}: {done.rewrapped} secrets sealed anew, {done.verified} verified.")
    if done.forgotten:
        output.say(f"The database needs {', '.join(done.forgotten)} no more; keep it while backups do.")


@discreet
def _given_key(name: str) -> Secret[str]:
    try:
        if name == "-":
            text = sys.stdin.read(_LARGEST_KEY_FILE)
        else:
            with Path(name).open(encoding="ascii") as file:
                text = file.read(_LARGEST_KEY_FILE)
    except (OSError, UnicodeDecodeError) as error:
        reason = (error.strerror if isinstance(error, OSError) else None) or "it is not plain text"
        raise wrong("--key-file", reason) from None
    key = Secret(text.strip())
    key_from_hex(key)
    return key
