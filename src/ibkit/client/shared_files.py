"""A small file that the processes of one machine share: opened, and locked for the moment."""

from __future__ import annotations

import os
import sys
from pathlib import Path

__all__ = ["lock", "open_shared"]


def open_shared(path: Path) -> int:
    """The file, made with its folders where it is not there yet. Raises OSError."""
    flags = os.O_CREAT | os.O_RDWR | getattr(os, "O_CLOEXEC", 0)
    try:
        return os.open(path, flags, 0o600)
    except FileNotFoundError:
        # `parents` alone would leave the state directory open to others
        path.parent.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        path.parent.mkdir(exist_ok=True, mode=0o700)
        return os.open(path, flags, 0o600)


if sys.platform == "win32":

    def lock(handle: int) -> bool:
        import msvcrt

        try:
            msvcrt.locking(handle, msvcrt.LK_NBLCK, 1)
        except OSError:
            return False
        return True
else:

    def lock(handle: int) -> bool:
        """Until the handle is closed. Others hold it for microseconds; one that was stopped then is not waited for."""
        import fcntl

        for _ in range(20):
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                continue
            except OSError:
                return False  # a file system without locks
            return True
        return False
