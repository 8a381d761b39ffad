"""Key files on disk: made whole or not at all, closed to others, kept out of git. Requirements SET-01, SET-02."""

from __future__ import annotations

import contextlib
import os
import stat
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from pathlib import Path

from ibkit.errors import ConfigError

__all__ = ["add_to_gitignore", "existing", "made_at", "make_directory", "put_aside", "write_files"]

PRIVATE_MODE, PUBLIC_MODE, DIRECTORY_MODE = 0o600, 0o644, 0o700


def existing(directory: Path, names: tuple[str, ...]) -> tuple[str, ...]:
    """Those of `names` that are there already (a link that leads nowhere counts)."""
    return tuple(name for name in names if os.path.lexists(directory / name))


def made_at(directory: Path, names: tuple[str, ...]) -> datetime | None:
    """When the newest of them was written; None where one is missing."""
    try:
        return datetime.fromtimestamp(max((directory / name).stat().st_mtime for name in names), UTC)
    except OSError:
        return None


def make_directory(directory: Path) -> None:
    """`directory`, open to us alone. Raises ConfigError (E-VALIDATION, E-KEY-PERMS)."""
    try:
        directory.mkdir(mode=DIRECTORY_MODE, parents=True, exist_ok=True)
    except OSError as error:
        raise _cannot(directory, error) from error
    status = directory.stat()
    if status.st_uid != os.geteuid():
        raise ConfigError(
            f"{directory} belongs to another user", code="E-KEY-PERMS", remedy="Name a directory of yours with --out."
        )
    # The working directory or the home is not ours to close: others may have business there.
    if stat.S_IMODE(status.st_mode) & 0o077 and directory.resolve() not in (
        Path.cwd().resolve(),
        Path.home().resolve(),
    ):
        directory.chmod(DIRECTORY_MODE)


def put_aside(directory: Path, names: tuple[str, ...], now: datetime) -> Path | None:
    """Moves the named files into a folder of their own: keys that IBKR still knows must not be lost by --force."""
    there = existing(directory, names)
    if not there:
        return None
    aside = directory / f"replaced-{now:%Y%m%dT%H%M%S}"
    try:
        aside.mkdir(mode=DIRECTORY_MODE)
        for name in there:
            (directory / name).rename(aside / name)
    except OSError as error:
        raise _cannot(aside, error) from error
    return aside


def write_files(directory: Path, files: Mapping[str, str]) -> None:
    """Each file under a temporary name first, so that a failure leaves no half set. Names starting with `private`
    get mode 600, the others 644. Raises ConfigError."""
    fresh: list[tuple[Path, Path]] = []
    try:
        for name, text in files.items():
            mode = PRIVATE_MODE if name.startswith("private") else PUBLIC_MODE
            path = directory / f".{name}.new"
            with contextlib.suppress(FileNotFoundError):
                path.unlink()
            descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, mode)
            fresh.append((path, directory / name))
            with os.fdopen(descriptor, "w", encoding="ascii", newline="\n") as file:
                # The process's umask may have taken bits away, never added any.
                os.fchmod(file.fileno(), mode)
                file.write(text)
                file.flush()
                os.fsync(file.fileno())
        for path, target in fresh:
            path.rename(target)
    except OSError as error:
        for path, _ in fresh:
            with contextlib.suppress(OSError):
                path.unlink()
        raise _cannot(directory, error) from error


def add_to_gitignore(directory: Path, say: Callable[[str], None]) -> bool:
    """Adds `directory` to the .gitignore of its repository (or of the working directory), once.

    Returns whether a line was added. A directory outside both needs none.
    """
    target = directory.resolve()
    root = next((place for place in target.parents if (place / ".git").exists()), Path.cwd().resolve())
    if target == root or not target.is_relative_to(root):
        return False
    line = f"{target.relative_to(root).as_posix()}/"
    file = root / ".gitignore"
    text = ""
    with contextlib.suppress(FileNotFoundError):
        text = file.read_text(encoding="utf-8")
    if _covers(text, line):
        return False
    try:
        with file.open("a", encoding="utf-8") as out:
            out.write(("" if not text or text.endswith("\n") else "\n") + line + "\n")
    except OSError as error:
        say(f"Could not add {line} to {file} ({error.strerror}): add it yourself, private keys do not belong in git")
        return False
    return True


def _covers(text: str, line: str) -> bool:
    """Whether a line names the directory or one above it."""
    parts = line.rstrip("/").split("/")
    names = {"/".join(parts[:count]) for count in range(1, len(parts) + 1)}
    return any(each.strip().strip("/") in names for each in text.splitlines() if each.strip()[:1] not in ("#", "!"))


def _cannot(place: Path, error: OSError) -> ConfigError:
    return ConfigError(
        f"Cannot write to {place}: {error.strerror}",
        code="E-VALIDATION",
        remedy="Name a directory you may write with --out.",
    )
