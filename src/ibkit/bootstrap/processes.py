"""Processes by name: who we are in the journal, and whether somebody who is named there still lives."""

from __future__ import annotations

import os
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

__all__ = ["ENDS_WITHIN_S", "ending_by_force", "is_alive", "leave_no_core", "lives", "owner_name"]

ENDS_WITHIN_S = 10.0


def owner_name() -> str:
    """`host:pid`, as intents name their owner."""
    return f"{socket.gethostname()}:{os.getpid()}"


def leave_no_core() -> None:
    """A crash writes no image of this process' memory, which holds keys and tokens. Of no effect on Windows."""
    try:
        import resource
    except ImportError:
        return
    with suppress(OSError, ValueError):
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


def is_alive(owner: str) -> bool:
    """Whether the process `host:pid` runs; True where that cannot be said (another host, another user's process)."""
    host, _, number = owner.rpartition(":")
    if host != socket.gethostname() or not number.isdigit():
        return True
    return lives(int(number))


@contextmanager
def ending_by_force() -> Iterator[Callable[[], None]]:
    """What is yielded begins the end: 10 s later the process ends by force. The journal loses nothing by it."""
    timer = threading.Timer(ENDS_WITHIN_S, lambda: os._exit(0))
    timer.daemon = True
    begun = threading.Event()

    def begin() -> None:
        if not begun.is_set():
            begun.set()
            timer.start()

    try:
        yield begin
    finally:
        timer.cancel()


def lives(pid: int) -> bool:
    if os.name == "nt":
        return True  # there a signal to a process ends it; nothing small asks
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return not _is_zombie(pid)


def _is_zombie(pid: int) -> bool:
    """Dead, and only not yet collected by its parent. Where /proc is not, nobody can say so cheaply."""
    try:
        with Path(f"/proc/{pid}/stat").open(encoding="ascii", errors="replace") as stat:
            return stat.read().rpartition(")")[2].split()[0] == "Z"
    except (OSError, IndexError):
        return False
