"""The circuit breaker of one login: after ten failures in a row it asks no more for 30 s, then one call tries. Pure.

    closed     calls go; each failure counts, each answer begins anew
    open       ten in a row failed: calls are refused here for 30 s
    half open  the pause is over: one call goes, the others wait for what it finds. It works: closed; it fails: open

A failure is that nobody answered, or a server in between (502, 503, 504). `now` is seconds of a clock that never goes
back. Source: requirement LIM-08.
"""

from __future__ import annotations

from typing import Final

__all__ = ["AWAY", "Breaker"]

FAILURES: Final = 10
PAUSE_S: Final = 30.0
AWAY: Final = frozenset({502, 503, 504})
"""Statuses that say that the one who should answer is not there. IBKR's 500 is often an answer (a wrong request)."""


class Breaker:
    __slots__ = ("_open_until", "_trying", "failures")

    def __init__(self) -> None:
        self.failures = 0
        self._open_until = 0.0
        self._trying = False

    @property
    def tripped(self) -> bool:
        """Open or half open."""
        return self.failures >= FAILURES

    def admit(self, now: float, *, may_try: bool = True) -> bool:
        """Whether a call may go. may_try: False for one that must not be what is tried out; it waits for another's.

        Who was admitted while it is tripped says `worked`, `failed` or `gave_up`.
        """
        if not self.tripped:
            return True
        if now < self._open_until or self._trying or not may_try:
            return False
        self._trying = True
        return True

    def opens_in(self, now: float) -> float:
        """Seconds until a call is tried; 0.0 where that may be now."""
        return max(0.0, self._open_until - now) if self.tripped else 0.0

    def worked(self) -> None:
        """Somebody answered, whatever it was."""
        self.failures, self._trying = 0, False

    def failed(self, now: float) -> None:
        self.failures += 1
        self._trying = False
        if self.tripped:
            self._open_until = now + PAUSE_S

    def gave_up(self) -> None:
        """The call that tried ended without telling anything: the next one tries."""
        self._trying = False
