"""Who does a job: a lock that ends with its process, and beside it what that process says of itself.

<folder>/<name>.lock    held while it runs; the operating system drops it, also after a kill
<folder>/<name>.json    replaced as a whole; worth something only while the lock is held
"""

from __future__ import annotations

import contextlib
import errno
import os
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import msgspec

from ibkit.clock import Clock
from ibkit.errors import InFlight, StorageError
from ibkit.store.locks import file_lock, take

__all__ = ["Lease"]

_WAIT_S = 1.0
"""Longer than somebody who only asks whether it is held (`Lease.held`) holds it."""


class Lease:
    """name: of the job, as a file may be called."""

    def __init__(self, folder: Path, name: str) -> None:
        self._lock = folder / f"{name}.lock"
        self._said = folder / f"{name}.json"

    @asynccontextmanager
    async def hold(self, *, clock: Clock, what: str) -> AsyncIterator[None]:
        """InFlight where somebody else holds it. What was said is gone when it ends."""
        try:
            lock = file_lock(self._lock, wait_s=_WAIT_S, clock=clock, what=what)
            await lock.__aenter__()
        except InFlight as error:
            there = self.read()
            who = f"process {there['pid']}" if there and "pid" in there else "another process"
            raise InFlight(
                f"{what} is with {who} already", remedy="`ibkit worker status` shows it, `ibkit worker stop` ends it."
            ) from error
        try:
            self._forget()  # of a holder that was killed: its number may be another program's by now
            yield
        finally:
            self._forget()
            await lock.__aexit__(None, None, None)

    def _forget(self) -> None:
        with contextlib.suppress(OSError):
            self._said.unlink(missing_ok=True)

    def held(self) -> bool:
        """Whether anybody holds it, by asking for it."""
        if not self._lock.exists():
            return False
        try:
            handle = os.open(self._lock, os.O_RDWR | getattr(os, "O_CLOEXEC", 0))
        except OSError as error:
            raise _failure(self._lock, error) from error
        try:
            return not take(handle)
        finally:
            os.close(handle)

    def write(self, said: Mapping[str, Any]) -> None:
        """What the holder says of itself."""
        beside = self._said.with_name(f"{self._said.name}.{os.getpid()}.new")
        try:
            beside.unlink(missing_ok=True)
            beside.touch(mode=0o600)  # as everything in the state directory; `ibkit doctor` looks at it
            beside.write_bytes(msgspec.json.encode(dict(said)))
            beside.replace(self._said)
        except OSError as error:
            raise _failure(self._said, error) from error

    def read(self) -> dict[str, Any] | None:
        """What the holder said last; None where nobody holds it, or it has said nothing yet."""
        if not self.held():
            return None
        try:
            return msgspec.json.decode(self._said.read_bytes(), type=dict[str, Any])
        except (FileNotFoundError, msgspec.MsgspecError):
            return None
        except OSError as error:
            raise _failure(self._said, error) from error


def _failure(place: Path, error: OSError) -> StorageError:
    full = error.errno == errno.ENOSPC
    return StorageError(
        f"Database problem: {place}: {error.strerror or error}",
        remedy="Free space on the disk." if full else "Check that the folder is writable by this user.",
    )
