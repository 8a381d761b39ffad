"""A lock that ends with its process: the operating system drops it even after a kill."""

from __future__ import annotations

import os
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path

from ibkit.clock import Clock
from ibkit.errors import InFlight, StorageError

__all__ = ["file_lock", "held", "take"]

_POLL_S = 0.05

if sys.platform == "win32":
    import msvcrt

    def take(handle: int) -> bool:
        try:
            msvcrt.locking(handle, msvcrt.LK_NBLCK, 1)
        except OSError:
            return False
        return True
else:
    import fcntl

    def take(handle: int) -> bool:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        return True


@asynccontextmanager
async def file_lock(path: Path, *, wait_s: float, clock: Clock, what: str) -> AsyncIterator[None]:
    """Holds `path` locked, against other tasks and other processes alike. InFlight after `wait_s`.

    A file lock instead of a lease row: it needs no renewing, no clock that two processes agree on, and no
    cleaning up after a SIGKILL.
    """
    handle = _opened(path)
    try:
        deadline = clock.monotonic() + wait_s
        while not take(handle):
            if clock.monotonic() >= deadline:
                raise InFlight(f"{what} is busy in another task or process for more than {wait_s:g} s")
            await clock.sleep(_POLL_S)
        yield
    finally:
        os.close(handle)


@contextmanager
def held(path: Path, *, what: str, remedy: str) -> Iterator[None]:
    """The same for work in a thread, which outlives its task. InFlight at once where another has it. StorageError."""
    handle = _opened(path)
    try:
        if not take(handle):
            raise InFlight(f"{what} is under way in another process", remedy=remedy)
        yield
    finally:
        os.close(handle)


def _opened(path: Path) -> int:
    try:
        # `parents` alone would leave the state directory open to others
        path.parent.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        path.parent.mkdir(exist_ok=True, mode=0o700)
        return os.open(path, os.O_CREAT | os.O_RDWR | getattr(os, "O_CLOEXEC", 0), 0o600)
    except OSError as error:
        raise StorageError(
            f"Database problem: {path}: {error.strerror or error}",
            remedy="Check that the folder is writable by this user.",
        ) from error
