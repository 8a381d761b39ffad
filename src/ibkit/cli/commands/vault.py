"""`ibkit vault generate-keys`: the key that seals what is kept on disk. Requirement VLT-01."""

from __future__ import annotations

import contextlib
import os
import re
from pathlib import Path
from typing import Annotated

import cyclopts

from ibkit.cli import context, output
from ibkit.cli.auditing import audited
from ibkit.cli.flags import Json, flag
from ibkit.errors import ConfigError
from ibkit.vault import EncryptionKeys, generate_encryption_keys

__all__ = ["app"]

app = cyclopts.App(name="vault", help="Make the key that encrypts stored secrets.")

_KEY = re.compile(r"^[ \t]*(?:export[ \t]+)?ENCRYPTION_KEY[ \t]*=[ \t]*(\S*)[ \t]*$", re.MULTILINE)
_PREVIOUS = re.compile(r"^[ \t]*(?:export[ \t]+)?ENCRYPTION_KEY_PREVIOUS[ \t]*=[ \t]*(\S*)[ \t]*$", re.MULTILINE)
_OFF = re.compile(r"^#[ \t]*ENCRYPTION_KEY[ \t]*=.*$", re.MULTILINE)


@app.command
def generate_keys(
    *,
    write: Annotated[bool, flag("Put the key into the settings file (.env, or that of --env-file).")] = False,
    force: Annotated[bool, flag("With --write: replace a key that is there; the old one stays readable.")] = False,
    json: Json = False,
) -> int:
    """Make an encryption key; without --write it is only printed."""
    keys = generate_encryption_keys()
    if not write:
        with audited("vault.generate_key", "printed"):
            _print(keys, json=json)
        return 0
    file = context.current().env_file or Path(".env")
    with audited("vault.generate_key", str(file), forced="yes" if force else "") as entry:
        if not _put(file, keys, force=force):
            entry.skipped = True
            output.warn(f"Nothing was changed: {file} has an ENCRYPTION_KEY already.")
            output.warn("-> Keep it, or replace it with --force; the old one then moves to ENCRYPTION_KEY_PREVIOUS.")
            return 1
    if json:
        output.emit({"file": file})
    else:
        output.say(
            f"Wrote ENCRYPTION_KEY to {file} (mode 600). Keep a copy elsewhere: without it nothing sealed opens."
        )
    return 0


def _print(keys: EncryptionKeys, *, json: bool) -> None:
    if json:
        output.emit({"key": keys.key, "iv": keys.iv})
    else:
        output.say(f"ENCRYPTION_KEY={keys.key}")
        output.say(f"# ENCRYPTION_IV={keys.iv}  # only for reading data of the old fixed-IV format; leave it off")


def _put(file: Path, keys: EncryptionKeys, *, force: bool) -> bool:
    """Writes the file anew, whole, with the key in it; False where a key stands there and force is not set."""
    try:
        text = file.read_text(encoding="utf-8") if file.exists() else ""
        there = _KEY.search(text)
        line = f"ENCRYPTION_KEY={keys.key}"
        if there is not None and there[1].strip("\"'"):
            if not force:
                return False
            text = _kept_readable(_KEY.sub(line, text, count=1), there[1].strip("\"'"))
        elif there is not None:
            text = _KEY.sub(line, text, count=1)
        elif _OFF.search(text):
            text = _OFF.sub(line, text, count=1)
        else:
            text += ("" if not text or text.endswith("\n") else "\n") + line + "\n"
        _write(file, text)
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not UTF-8 text"
        raise ConfigError(f"Settings file problem: {file}: {reason}", code="E-ENV-FILE") from error
    return True


def _kept_readable(text: str, old: str) -> str:
    """The replaced key in front of the older ones: what it sealed still opens."""
    there = _PREVIOUS.search(text)
    if there is None:
        return text + ("" if text.endswith("\n") else "\n") + f"ENCRYPTION_KEY_PREVIOUS={old}\n"
    older = [key for key in there[1].strip("\"'").split(",") if key]
    return _PREVIOUS.sub("ENCRYPTION_KEY_PREVIOUS=" + ",".join([old, *older]), text, count=1)


def _write(file: Path, text: str) -> None:
    fresh = file.with_name(f".{file.name}.new")
    with contextlib.suppress(FileNotFoundError):
        fresh.unlink()
    descriptor = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    try:
        with os.fdopen(descriptor, "w", encoding="utf-8") as out:
            out.write(text)
            out.flush()
            os.fsync(out.fileno())
        fresh.replace(file)
    except BaseException:
        with contextlib.suppress(OSError):
            fresh.unlink()
        raise
