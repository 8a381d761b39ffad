"""Keys in a file of their own, 64 hex digits a line, newest first; lines that begin with # are remarks."""

from __future__ import annotations

from pathlib import Path

from ibkit.errors import ConfigError, discreet
from ibkit.model import Secret
from ibkit.store.key_sources import Keys, fresh_key
from ibkit.store.key_sources.private_file import alone_in, read_private, write_private

__all__ = ["FileKeys", "lines_of", "put_line"]


class FileKeys:
    def __init__(self, path: Path) -> None:
        self._path = path

    @property
    def name(self) -> str:
        return f"file {self._path}"

    @discreet
    def read(self) -> Keys:
        return tuple(Secret(line) for line in lines_of(self._path))

    @discreet
    def put(self, key: Secret[str] | None) -> None:
        put_line(self._path, (key or fresh_key()).reveal())


def lines_of(path: Path) -> list[str]:
    lines = [line.strip() for line in read_private(path, "the key file").splitlines()]
    return [line for line in lines if line and not line.startswith("#")]


def put_line(path: Path, line: str) -> None:
    """In front of the others. ConfigError (E-ENC-KEY)."""
    read_private(path, "the key file")  # what is no key file is said before a folder is made for it
    try:
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        with alone_in(path.parent):
            rest = read_private(path, "the key file")
            write_private(path, f"{line}\n{rest}")
    except OSError as error:
        raise ConfigError(
            f"Encryption failed: the key file {path} cannot be written: {error.strerror}",
            code="E-ENC-KEY",
            remedy="Make the file and its folder writable for this user, or choose another ENCRYPTION_KEY_FILE.",
        ) from None
