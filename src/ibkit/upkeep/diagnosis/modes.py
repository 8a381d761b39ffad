"""Who may read which file, and closing what stands open. Requirement SEC-02."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from ibkit.settings import VARIABLES, Settings
from ibkit.upkeep.checks import Check, Mark

__all__ = ["Open", "check_modes", "close", "open_files"]

_FILE, _FOLDER = 0o600, 0o700


@dataclass(frozen=True, slots=True)
class Open:
    """A file or folder that others can reach. wanted: the mode it ought to have."""

    path: Path
    mode: int
    wanted: int


def open_files(settings: Settings) -> list[Open]:
    """Everything of ours that is open to others. Windows has access lists instead: nothing is found there."""
    if os.name != "posix":
        return []
    found = []
    for path in dict.fromkeys(_private(settings)):
        try:
            mode = stat.S_IMODE(path.lstat().st_mode)
        except OSError:
            continue
        wanted = _FOLDER if path.is_dir() else _FILE
        if mode & 0o077 and not path.is_symlink():
            found.append(Open(path, mode, wanted))
    return found


def check_modes(settings: Settings) -> Iterator[Check]:
    name = "file modes"
    if os.name != "posix":
        yield Check(name, Mark.SKIP, "looked at on Linux and macOS only")
        return
    there = open_files(settings)
    if not there:
        yield Check(name, Mark.OK, "keys, settings, tokens and databases are open to this user alone")
    for each in there:
        said = f"{each.path} is open to others ({each.mode:04o})"
        remedy = f"`ibkit doctor --fix`, or `chmod {each.wanted:o} {each.path}`"
        yield Check(name, Mark.FAIL, said, "E-KEY-PERMS", remedy)


def close(settings: Settings) -> list[str]:
    """Closes them: a line for each that could be closed."""
    done = []
    for each in open_files(settings):
        try:
            each.path.chmod(each.wanted)
        except OSError:
            continue  # another user's: the check goes on naming it
        done.append(f"{each.path}: mode {each.wanted:o}")
    return done


def _private(settings: Settings) -> Iterator[Path]:
    hidden = [name for name, found in settings.sources.items() if VARIABLES[name].hidden and found.source == "file"]
    if settings.file is not None and hidden:
        yield settings.file
    named = (settings.oauth1.signature_key_path, settings.oauth1.encryption_key_path, settings.oauth2.private_key_path)
    for path in named:
        if path is not None and path.exists():
            yield path
            if path.parent.name == "keys":  # a folder for keys alone; the working directory is not ours to close
                yield path.parent
    if settings.vault.file is not None and settings.vault.file.exists():
        yield settings.vault.file
    state = settings.state_dir
    if not state.is_dir():
        return
    yield state
    yield from (path for path in (state / name for name in ("tokens", "backups", "worker")) if path.is_dir())
    for pattern in (
        "*.db",
        "*.db-wal",
        "*.db-shm",
        "*.jsonl",
        "*.mark",
        "gateway-pins",
        "tokens/*",
        "backups/*",
        "worker/*",
    ):
        yield from (path for path in sorted(state.glob(pattern)) if path.is_file())
