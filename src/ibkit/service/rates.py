"""How many requests a user, or a network, may make in a minute. Counted in this process. Requirement GWY-11."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable

from ibkit.errors import RateLimited

__all__ = ["ORDERS_PER_MINUTE", "Rates"]

ORDERS_PER_MINUTE = 60
_WINDOW_S = 60.0
_MOST_USERS = 10_000


class Rates:
    """A sliding window for each user. monotonic: seconds. what: is limited; safe: what a refusal left alone."""

    def __init__(
        self,
        monotonic: Callable[[], float],
        *,
        limit: int = ORDERS_PER_MINUTE,
        what: str = "order requests",
        safe: str = "Nothing was stored or sent; the key is still free.",
    ) -> None:
        self._monotonic = monotonic
        self._limit = limit
        self._what = what
        self._safe = safe
        self._taken: dict[str, deque[float]] = {}

    def take(self, user_id: str) -> None:
        """One request of that user. RateLimited with `details["retry_after"]`, whole seconds."""
        now = self._monotonic()
        if len(self._taken) > _MOST_USERS:
            self._taken = {user: times for user, times in self._taken.items() if times[-1] > now - _WINDOW_S}
        times = self._taken.setdefault(user_id, deque())
        while times and times[0] <= now - _WINDOW_S:
            times.popleft()
        if len(times) >= self._limit:
            wait = max(1, math.ceil(times[0] + _WINDOW_S - now))
            raise RateLimited(
                f"Rate limit reached: {self._limit} {self._what} a minute",
                remedy=f"Wait {wait} s. {self._safe}",
                details={"retry_after": wait},
            )
        times.append(now)
