"""Slots of endpoints that one login may ask once in some seconds, shared by the processes of one machine.

A worker and the commands beside it use one user name: each by itself keeps IBKR's pace, together they would meet a 429,
and three of those in a minute shut the address out. So the last slot of each slow endpoint stands in a small file.
Losing it costs a 429 at most, so it is not fsynced, and whatever is wrong with it is no reason to hold a call up.
Source: docs/facts/auth-and-sessions.md §5.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from ibkit.client.shared_files import lock, open_shared
from ibkit.client.shared_pace import SharedPace
from ibkit.clock import Clock
from ibkit.wire.endpoint import Endpoint, Limit

__all__ = ["SharedSlots"]

_APART_S: Final = 0.08
"""Slots of two processes lie so much further apart than the broker asks: calls do not travel equally fast, and a busy
machine wakes nobody on time. Without it the one that woke early met a 429 beside a worker."""
_BELOW_S: Final = 60.0
"""What may be asked once a minute is not waited for: a 429 to a second process does no harm (`Lanes.slow_down`)."""


class SharedSlots:
    """path: of the file, one for each login."""

    def __init__(self, path: Path, clock: Clock) -> None:
        self._path = path
        self._clock = clock

    def pace(self, calls_per_s: int) -> SharedPace:
        """The login's calls of any kind, counted in a file beside this one. calls_per_s: at least 1."""
        return SharedPace(self._path.with_suffix(".calls.json"), calls_per_s=calls_per_s)

    def reserve(self, endpoint: Endpoint, wait_s: float, *, longest_s: float) -> float:
        """Seconds until this endpoint's next slot among all processes, at least `wait_s`; it is then taken.

        A slot more than `longest_s` ahead is no queue but a clock that was set back: it counts for nothing.
        """
        limit = endpoint.limit
        if not isinstance(limit, Limit) or limit.calls != 1 or limit.per_s >= _BELOW_S:
            return wait_s
        now = self._clock.now().timestamp()
        with self._held() as handle:
            if handle is None:
                return wait_s
            slots = _read(handle)
            free_at = slots.get(endpoint.path, 0.0) + limit.per_s + _APART_S
            slot = now + wait_s
            if slot < free_at <= now + longest_s:
                slot = free_at
            _write(handle, {**slots, endpoint.path: slot})
            return slot - now

    @contextmanager
    def _held(self) -> Iterator[int | None]:
        """The file, locked for the moment; None where it cannot be had."""
        try:
            handle = open_shared(self._path)
        except OSError:
            yield None
            return
        try:
            yield handle if lock(handle) else None
        finally:
            os.close(handle)


def _read(handle: int) -> dict[str, float]:
    try:
        told = json.loads(os.pread(handle, 65_536, 0) or b"{}")
    except (OSError, ValueError):
        return {}
    known = told.items() if isinstance(told, dict) else ()
    return {path: float(at) for path, at in known if isinstance(at, int | float)}


def _write(handle: int, slots: dict[str, float]) -> None:
    body = json.dumps(slots).encode()
    try:
        os.ftruncate(handle, 0)
        os.pwrite(handle, body, 0)
    except OSError:
        return  # a full disk: the next process paces itself alone
