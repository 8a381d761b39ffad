"""The calls of one login in a second, counted over all processes of one machine. LIM-01, TM-33.

IBKR counts the user name, whoever asks: a worker and a command that each keep to the rate exceed it together, and the
box that follows shuts the whole address out. So the instants of the last second's calls stand in one small file.

    one alone        claims some calls at once and then spends them without looking at the file; what was not spent is
                     given back with the next claim
    several          claim call by call; reads leave a fifth of the second to orders and to the session, and while
                     others wait no process reads more than an equal part
    one was killed   what it had claimed counts as sent until the claim ends (`_HELD_S`), and others leave room for it
                     for `_SEEN_S`

Instants are the clock's steady seconds, which all processes of a machine share and no change of the hour moves. After a
restart of the machine they begin anew: what lies further ahead than a claim can is no call. The file is not fsynced,
and one that cannot be had holds no call up: each process then keeps the rate by itself.
Source of the rates: docs/facts/auth-and-sessions.md §5.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import msgspec

from ibkit.client.shared_files import lock, open_shared
from ibkit.wire.endpoint import Lane
from ibkit.wire.pacing import BOX_S, SLACK_S, SLOW_S

__all__ = ["SharedPace"]

_HELD_S: Final = 1.0
"""So long may a claimed call be spent without another look at the file."""
_SEEN_S: Final = 60.0
"""Who did not call for so long is not counted on."""
_APART_S: Final = 0.08
"""Several processes keep the window so much longer than the broker's: a busy machine wakes nobody on time."""
_NEVER: Final = -1.0
_LOOK_AGAIN_S: Final = 0.02
_WAITS_ON_S: Final = 0.1
"""Who was told to come back counts as waiting for so long after."""
_LOCKED_TRIES: Final = 25
"""So many looks in a row at a file that another holds. It does so for microseconds, unless it was stopped meanwhile."""
_PAGE: Final = 4096
"""Written in whole pages by one call: who is killed while it writes leaves the old page or the new one."""
_PROCESSES: Final = 16
"""More than so many at once are not told apart."""


class _Told(msgspec.Struct):
    """calls: instants, and who called; of what is claimed and not spent yet, the instant until which it may be.
    seen: when each process last asked. waiting: until when each that was held back counts as waiting.
    """

    calls: list[tuple[float, str]] = []
    seen: dict[str, float] = {}
    waiting: dict[str, float] = {}
    slow_until: float = 0.0
    boxed_until: float = 0.0


_DECODER: Final = msgspec.json.Decoder(_Told)


class SharedPace:
    """path: of the file, one for each login. calls_per_s: of the login, at least 1."""

    def __init__(self, path: Path, *, calls_per_s: int) -> None:
        self._path = path
        self._calls = calls_per_s
        self._pages = 1 + calls_per_s // 64
        self._me = os.urandom(4).hex()
        self._unspent = 0
        self._spend_by = _NEVER
        self._spent: list[float] = []
        self._locked = 0
        self._there = False
        self._boxed_until = 0.0

    def take(self, lane: Lane, now: float) -> float:
        """0.0, and the call is counted; or the seconds after which to ask again."""
        if self._unspent and now <= self._spend_by:
            self._unspent -= 1
            self._spent.append(now)
            return 0.0
        with self._changed() as told:
            if told is not None:
                self._locked = 0
                return self._claim(told, lane, now)
        self._locked += 1
        return _LOOK_AGAIN_S if self._there and self._locked < _LOCKED_TRIES else 0.0

    def boxed_for(self, now: float) -> float:
        """Seconds that the penalty box still lasts, as far as another process told; 0.0 outside it."""
        return max(0.0, self._boxed_until - now)

    def refused(self, now: float, *, slow_s: float, box_s: float) -> None:
        """Tell the others of a 429: how long all go slower, and how long nothing is sent at all."""
        with self._changed() as told:
            if told is not None:
                told.slow_until = now + slow_s if slow_s else told.slow_until
                told.boxed_until = now + box_s if box_s else told.boxed_until

    def close(self, now: float) -> None:
        """Give back what was claimed and not spent, and be counted on no more."""
        if not self._there:
            return  # it never asked
        with self._changed() as told:
            if told is not None:
                self._settle(told, now)
                told.seen.pop(self._me, None)
                told.waiting.pop(self._me, None)

    def _claim(self, told: _Told, lane: Lane, now: float) -> float:
        self._settle(told, now)
        told.seen[self._me] = now
        if told.boxed_until:
            self._boxed_until = told.boxed_until
            return told.boxed_until - now
        alone = len(told.seen) == 1
        per_s = 1.0 + (SLACK_S if alone else _APART_S)
        counted = [(at, who) for at, who in told.calls if at > now - per_s]
        most = self._most(told, lane, now)
        if len(counted) >= most:
            oldest = counted[-most][0]
            return self._held_back(told, now, min(oldest + per_s - now, per_s))
        if lane is Lane.DATA and not alone:
            part = -(-most // (1 + sum(who != self._me for who in told.waiting)))
            if sum(who == self._me for _, who in counted) >= part:
                return self._held_back(told, now, _LOOK_AGAIN_S)
        told.calls.append((now, self._me))
        if alone:
            self._unspent = min(self._calls // 5, most - len(counted) - 1)
            self._spend_by = now + _HELD_S
            told.calls += [(self._spend_by, self._me)] * self._unspent
        return 0.0

    def _most(self, told: _Told, lane: Lane, now: float) -> int:
        """How many calls the second may hold for this lane."""
        most = self._calls
        if told.slow_until:
            most -= self._calls // 5
        if lane is Lane.DATA and len(told.seen) > 1:
            most -= self._calls // 5
        return max(1, most)

    def _held_back(self, told: _Told, now: float, wait: float) -> float:
        told.waiting[self._me] = now + wait + _WAITS_ON_S
        return max(wait, 0.001)

    def _settle(self, told: _Told, now: float) -> None:
        """What this process claimed becomes what it sent, and what is over is forgotten."""
        mine = [(at, who) for at, who in told.calls if who != self._me or at != self._spend_by]
        mine += [(at, self._me) for at in self._spent]
        self._unspent, self._spend_by, self._spent = 0, _NEVER, []
        longest = 1.0 + _APART_S
        told.calls = sorted(call for call in mine if now - longest < call[0] <= now + _HELD_S)
        told.seen = _newest({who: at for who, at in told.seen.items() if abs(now - at) < _SEEN_S})
        told.waiting = _newest({who: until for who, until in told.waiting.items() if now <= until < now + 2 * longest})
        told.slow_until *= now < told.slow_until <= now + SLOW_S
        told.boxed_until *= now < told.boxed_until <= now + BOX_S

    @contextmanager
    def _changed(self) -> Iterator[_Told | None]:
        """What the file tells, locked, and written back at the end; None where it cannot be had."""
        try:
            handle = open_shared(self._path)
        except OSError:
            self._there = False
            yield None
            return
        self._there = True
        try:
            if not lock(handle):
                yield None
                return
            told = _read(handle)
            yield told
            _write(handle, told, self._pages)
        finally:
            os.close(handle)


def _newest(instants: dict[str, float]) -> dict[str, float]:
    if len(instants) <= _PROCESSES:
        return instants
    return dict(sorted(instants.items(), key=lambda item: item[1])[-_PROCESSES:])


def _read(handle: int) -> _Told:
    try:
        return _DECODER.decode(os.pread(handle, os.fstat(handle).st_size, 0).rstrip())
    except (OSError, ValueError):
        return _Told()


def _write(handle: int, told: _Told, pages: int) -> None:
    try:
        # always of one length, so that nothing of an earlier text is left behind it
        os.pwrite(handle, msgspec.json.encode(told).ljust(pages * _PAGE), 0)
        if os.fstat(handle).st_size > pages * _PAGE:
            os.ftruncate(handle, pages * _PAGE)
    except OSError:
        return  # a full disk: each process keeps the rate by itself
