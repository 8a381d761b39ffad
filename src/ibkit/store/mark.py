"""How far the journal had come, written beside it: by this an older copy of the database is noticed.

A restored backup has forgotten the latest keys and takes up orders anew that have long been sent. What the database
says of itself cannot show that, a number outside of it can. Source: reliability rules, threat TM-41 and fault F100.
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from pathlib import Path

from ibkit.errors import StorageError
from ibkit.store.locks import take

__all__ = ["Mark", "MarkFile"]

_LINE = re.compile(rb"([0-9a-f]{16}) ([0-9]{20})\n")
_LONGEST = 64


@dataclass(frozen=True, slots=True)
class Mark:
    """journal_id: which journal, made by chance once. changes: how often something of it may have reached IBKR."""

    journal_id: str
    changes: int

    def fits(self, told: Mark | None) -> bool:
        """Whether a journal that stands here can be the one that `told` this: the same, and no older.

        Without a word, only one that has never been used fits.
        """
        if told is None:
            return self.changes == 0
        return told.journal_id == self.journal_id and told.changes <= self.changes


_ILLEGIBLE = Mark("", 0)
"""Fits no journal."""


class MarkFile:
    """The file. It only rises, whoever writes, except by `put`."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def read(self) -> Mark | None:
        """None where there is no file; what cannot be read as a mark fits no journal. StorageError."""
        try:
            found = _LINE.fullmatch(self._path.read_bytes()[:_LONGEST])
        except FileNotFoundError:
            return None
        except OSError as error:
            raise _failed(self._path, error) from error
        return Mark(found[1].decode(), int(found[2])) if found else _ILLEGIBLE

    def rise(self, mark: Mark, *, sync: bool) -> None:
        """At least `mark` stands there afterwards, unless another process is just writing: then its mark does.

        Not synced, it outlives the process and not a power cut; a mark that is too low notices less and never errs.
        """
        self._write(mark, sync=sync, only_up=True)

    def put(self, mark: Mark) -> None:
        """`mark` stands there whatever stood there before: a person looked at what became of it."""
        self._write(mark, sync=True, only_up=False)

    def _write(self, mark: Mark, *, sync: bool, only_up: bool) -> None:
        try:
            # Windows would else write two bytes for the line's end, and nobody could read the mark.
            handle = os.open(self._path, os.O_CREAT | os.O_RDWR | getattr(os, "O_BINARY", 0), 0o600)
            try:
                os.lseek(handle, _LONGEST, os.SEEK_SET)  # Windows locks bytes, from here on: not those that are read
                if only_up and not take(handle):
                    return
                os.lseek(handle, 0, os.SEEK_SET)
                there = _LINE.fullmatch(os.read(handle, _LONGEST))
                if not only_up or there is None or int(there[2]) < mark.changes:
                    os.lseek(handle, 0, os.SEEK_SET)
                    line = f"{mark.journal_id} {mark.changes:020}\n".encode()
                    os.write(handle, line)
                    os.ftruncate(handle, len(line))
                if sync:
                    os.fsync(handle)
            finally:
                os.close(handle)
        except OSError as error:
            raise _failed(self._path, error) from error


def _failed(path: Path, error: OSError) -> StorageError:
    return StorageError(
        f"Database problem: {path}: {error.strerror or error}",
        remedy="Check that the folder is writable by this user and has space left.",
    )
