"""Small files that their owner alone may read, written whole or not at all."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from ibkit.errors import ConfigError

__all__ = ["alone_in", "read_private", "write_private"]

_LARGEST = 64 * 1024


def read_private(path: Path, what: str) -> str:
    """The text, "" where there is no such file. ConfigError (E-ENC-KEY) where others could read it too."""
    try:
        descriptor = os.open(path, os.O_RDONLY | getattr(os, "O_CLOEXEC", 0))
        with os.fdopen(descriptor, "rb") as file:
            if os.name == "posix" and os.fstat(file.fileno()).st_mode & 0o077:
                raise ConfigError(
                    f"Encryption failed: {what} {path} is open to other users",
                    code="E-ENC-KEY",
                    remedy=f"chmod 600 {path}",
                )
            raw = file.read(_LARGEST + 1)
        if len(raw) > _LARGEST:
            raise _failed(what, path, f"it has more than {_LARGEST} bytes")
        return raw.decode("ascii")
    except FileNotFoundError:
        return ""
    except OSError as error:
        raise _failed(what, path, error.strerror or "it cannot be read") from None
    except UnicodeDecodeError:
        raise _failed(what, path, "it is not plain text") from None


@contextmanager
def alone_in(folder: Path) -> Iterator[None]:
    """For reading a file of `folder` and writing it anew: of two at once the second sees what the first wrote.

    Else a key is lost that the first may have sealed everything with. Not on Windows. Raises OSError.
    """
    if sys.platform == "win32":
        yield
        return
    import fcntl

    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)  # waits: it is held for the writing of one small file
        yield
    finally:
        os.close(handle)


def write_private(path: Path, text: str) -> None:
    """Write the file anew, for its owner alone; it is on disk when this returns. Raises OSError."""
    fresh = path.with_name(f".{path.name}.new")
    with contextlib.suppress(FileNotFoundError):
        fresh.unlink()
    # O_EXCL and the mode at creation: there is no moment in which others could read or plant it.
    descriptor = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_CLOEXEC", 0), 0o600)
    try:
        with os.fdopen(descriptor, "w", encoding="utf-8") as out:
            out.write(text)
            out.flush()
            os.fsync(out.fileno())
        fresh.replace(path)
    except BaseException:
        with contextlib.suppress(OSError):
            fresh.unlink()
        raise
    if hasattr(os, "O_DIRECTORY"):  # a rename is on disk when its folder is
        folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)


def _failed(what: str, path: Path, reason: str) -> ConfigError:
    return ConfigError(
        f"Encryption failed: {what} {path}: {reason}",
        code="E-ENC-KEY",
        remedy="Check ENCRYPTION_KEY_FILE: a file of yours alone, with a key of 64 hex digits on each line.",
    )
