"""Signs of life of strategies: a small file each, so that anything that can write a file can give one.

A file and not a row of the journal: a beat every few seconds needs no fsync, must not wait behind an order's, and is
worth nothing after a restart. The name is the strategy's, percent-encoded; the content is the moment, as ISO text.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from urllib.parse import quote, unquote

import anyio.to_thread

from ibkit.errors import StorageError

__all__ = ["FileHeartbeats"]

_SUFFIX = ".beat"
_LONG_AGO = datetime.fromtimestamp(0, UTC)


class FileHeartbeats:
    """Fits `trading.dead_man.Heartbeats`. folder: made with the first beat."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    async def beat(self, strategy: str, at: datetime) -> None:
        await anyio.to_thread.run_sync(self._write, strategy, at)

    async def retire(self, strategy: str) -> None:
        await anyio.to_thread.run_sync(lambda: self._place(strategy).unlink(missing_ok=True))

    async def all(self) -> Mapping[str, datetime]:
        return await anyio.to_thread.run_sync(self._read)

    def _place(self, strategy: str) -> Path:
        return self._folder / f"{quote(strategy, safe='')}{_SUFFIX}"

    def _write(self, strategy: str, at: datetime) -> None:
        place = self._place(strategy)
        beside = place.with_name(f"{place.name}.{os.getpid()}.new")
        try:
            # `parents` alone would leave the state directory open to others
            self._folder.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            self._folder.mkdir(exist_ok=True, mode=0o700)
            beside.write_text(at.isoformat(), encoding="ascii")
            beside.replace(place)
        except OSError as error:
            raise _failure(place, error) from error

    def _read(self) -> Mapping[str, datetime]:
        found = {}
        try:
            for place in sorted(self._folder.glob(f"*{_SUFFIX}")):
                found[unquote(place.name.removesuffix(_SUFFIX))] = _moment(place)
        except OSError as error:
            raise _failure(self._folder, error) from error
        return found


def _moment(place: Path) -> datetime:
    """What the file says. What cannot be read is no sign of life: the strategy counts as silent."""
    try:
        at = datetime.fromisoformat(place.read_text(encoding="ascii").strip())
    except ValueError:
        return _LONG_AGO
    return at if at.tzinfo is not None else _LONG_AGO


def _failure(place: Path, error: OSError) -> StorageError:
    return StorageError(
        f"Database problem: {place}: {error.strerror or error}",
        remedy="Check that the folder is writable by this user.",
    )
