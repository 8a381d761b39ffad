"""Rate arithmetic of one IBKR login: pure, `now` is seconds of a clock that never goes back.

    global window     50 calls in any second over OAuth, 10 through the gateway; a fifth less for 60 s after a 429
    endpoint windows  the `limit` of the catalogue, slots handed out in the order asked
    concurrency       `Concurrent` limits of the catalogue
    pause             of an endpoint after its 429: Retry-After, else 1 s doubling
    penalty box       three 429 in a minute stop everything for ten minutes; those of the order list and the like, which
                      another run of the same user name brings about, do not count

Source: docs/facts/auth-and-sessions.md §5.
"""

from __future__ import annotations

from collections import deque
from typing import Final

from ibkit.wire.endpoint import Concurrent, Endpoint, Limit

__all__ = ["BOX_S", "SLACK_S", "SLOW_S", "Pacer", "Window"]

SLACK_S: Final = 0.03
"""Calls do not travel equally fast; a window is kept this much longer than the broker's."""
SLOW_S: Final = 60.0
BOX_S: Final = 600.0
BOX_AFTER: Final = 3
BOX_WITHIN_S: Final = 60.0
SHARED_S: Final = 5.0
"""Seconds for one call, from which on a 429 says that another process of the user name asked."""
PAUSE_LONGEST_S: Final = 60.0


class Window:
    """At most `calls` in any `per_s` seconds, first come first served.

    >>> window = Window(2, 1.0)
    >>> window.reserve(0.0), window.reserve(0.0), round(window.reserve(0.0), 2)
    (0.0, 0.0, 1.03)
    """

    __slots__ = ("_times", "calls", "per_s")

    def __init__(self, calls: int, per_s: float) -> None:
        self.calls = calls
        self.per_s = per_s + SLACK_S
        self._times: deque[float] = deque(maxlen=calls)

    def free_in(self, now: float, *, calls: int | None = None) -> float:
        """Seconds until a call may go, with at most `calls` in the window."""
        calls = self.calls if calls is None else calls
        if len(self._times) < calls:
            return 0.0
        return max(0.0, self._times[-calls] + self.per_s - now)

    def count(self, now: float) -> None:
        self._times.append(now)

    def reserve(self, now: float) -> float:
        """Take the next free slot; the seconds until it."""
        wait = self.free_in(now)
        self._times.append(now + wait)
        return wait

    def went(self, slot: float, now: float) -> None:
        """The call of `slot` left only at `now`: those that follow are counted from then."""
        if self._times and abs(self._times[-1] - slot) < 1e-6 and slot < now:
            self._times[-1] = now


class Pacer:
    """Counts what one login sends. calls_per_s 0: no global limit."""

    def __init__(self, *, calls_per_s: int) -> None:
        self._global = Window(calls_per_s, 1.0) if calls_per_s else None
        self._slow_calls = max(1, calls_per_s * 4 // 5)
        self._windows: dict[str, Window] = {}
        self._under_way: dict[str, int] = {}
        self._paused_until: dict[str, float] = {}
        self._pause_s: dict[str, float] = {}
        self._refusals: deque[float] = deque(maxlen=BOX_AFTER)
        self._slow_until = 0.0
        self._boxed_until = 0.0

    def unheld(self, endpoint: Endpoint) -> bool:
        """The usual case: no limit of its own, and no 429 yet. Only the global window is to be asked."""
        return endpoint.limit is None and not self._paused_until

    def slow_for(self, now: float) -> float:
        """Seconds for which all calls go a fifth slower, after a 429."""
        return max(0.0, self._slow_until - now)

    def boxed_for(self, now: float) -> float:
        """Seconds that the penalty box still lasts; 0.0 outside it."""
        return max(0.0, self._boxed_until - now)

    def paused_for(self, endpoint: Endpoint, now: float) -> float:
        """Seconds that this endpoint pauses after a 429."""
        return max(0.0, self._paused_until.get(endpoint.path, 0.0) - now)

    def next_slot_in(self, endpoint: Endpoint, now: float) -> float:
        """Seconds until `reserve` would let a call through; nothing is taken."""
        window = self._window(endpoint)
        return max(self.paused_for(endpoint, now), window.free_in(now) if window else 0.0)

    def reserve(self, endpoint: Endpoint, now: float) -> float:
        """Take this endpoint's next slot; the seconds until it."""
        window = self._window(endpoint)
        pause = self.paused_for(endpoint, now)
        if window is None:
            return pause
        return pause + window.reserve(now + pause)

    def went(self, endpoint: Endpoint, slot: float, now: float) -> None:
        """The call that had taken `slot` was held up elsewhere and left at `now`."""
        window = self._window(endpoint)
        if window is not None:
            window.went(slot, now)

    def take(self, now: float) -> float:
        """0.0, and the call is counted; or the seconds until the login may send again."""
        wait = self.free_in(now)
        if wait == 0.0:
            self.count(now)
        return wait

    def free_in(self, now: float) -> float:
        """Seconds until the login may send again; nothing is counted."""
        window = self._global
        if window is None:
            return 0.0
        return window.free_in(now, calls=self._slow_calls if now < self._slow_until else None)

    def count(self, now: float) -> None:
        if self._global is not None:
            self._global.count(now)

    def begin(self, endpoint: Endpoint) -> bool:
        """Whether one more call of this endpoint may be under way; if so it is counted until `end`."""
        if not isinstance(endpoint.limit, Concurrent):
            return True
        running = self._under_way.get(endpoint.path, 0)
        if running >= endpoint.limit.calls:
            return False
        self._under_way[endpoint.path] = running + 1
        return True

    def end(self, endpoint: Endpoint) -> None:
        if isinstance(endpoint.limit, Concurrent):
            self._under_way[endpoint.path] -= 1

    def refused(self, endpoint: Endpoint, now: float, *, retry_after_s: float | None = None) -> None:
        """A 429 came: pause its endpoint, slow all down, and open the box at the third in a minute.

        An endpoint that may be asked once in seconds was asked by another process: a worker beside a command. Who took
        that for the box would stop its own orders for ten minutes, a stop after a fill among them. In the real box
        every call is refused, so the others open it.
        """
        doubled = min(self._pause_s.get(endpoint.path, 0.5) * 2, PAUSE_LONGEST_S)
        if now - self._paused_until.get(endpoint.path, -PAUSE_LONGEST_S) > BOX_WITHIN_S:
            doubled = 1.0
        self._pause_s[endpoint.path] = doubled
        self._paused_until[endpoint.path] = now + (doubled if retry_after_s is None else retry_after_s)
        limit = endpoint.limit
        if isinstance(limit, Limit) and limit.per_s / limit.calls >= SHARED_S:
            return
        self._slow_until = now + SLOW_S
        self._refusals.append(now)
        if len(self._refusals) == BOX_AFTER and now - self._refusals[0] <= BOX_WITHIN_S:
            self._boxed_until = now + BOX_S

    def _window(self, endpoint: Endpoint) -> Window | None:
        limit = endpoint.limit
        if not isinstance(limit, Limit):
            return None
        window = self._windows.get(endpoint.path)
        if window is None:
            window = self._windows[endpoint.path] = Window(limit.calls, limit.per_s)
        return window
