"""How many requests a user, or a network, may make in a time. Counted in this process. Requirement GWY-11."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable

from ibkit.errors import RateLimited

__all__ = ["ORDERS_PER_MINUTE", "READS", "READS_WITHIN_S", "Rates", "rates_of_reads"]

ORDERS_PER_MINUTE = 60
READS, READS_WITHIN_S = 100, 2.0
"""A page that asks for all it shows at once is let in; a loop without a pause takes nobody else's database."""
_MINUTE_S = 60.0
_MOST_USERS = 10_000


class Rates:
    """A sliding window of `within_s` for each user. monotonic: seconds. what: is limited; safe: what a refusal left."""

    def __init__(
        self,
        monotonic: Callable[[], float],
        *,
        limit: int = ORDERS_PER_MINUTE,
        within_s: float = _MINUTE_S,
        what: str = "order requests",
        safe: str = "Nothing was stored or sent; the key is still free.",
    ) -> None:
        self._monotonic = monotonic
        self._limit = limit
        self._within_s = within_s
        self._what = what
        self._safe = safe
        self._taken: dict[str, deque[float]] = {}

    @property
    def _while(self) -> str:
        return "a minute" if self._within_s == _MINUTE_S else f"in {self._within_s:g} s"

    def take(self, user_id: str) -> None:
        """One request of that user. RateLimited with `details["retry_after"]`, whole seconds."""
        now = self._monotonic()
        if len(self._taken) > _MOST_USERS:
            self._taken = {user: times for user, times in self._taken.items() if times[-1] > now - self._within_s}
        times = self._taken.setdefault(user_id, deque())
        while times and times[0] <= now - self._within_s:
            times.popleft()
        if len(times) >= self._limit:
            wait = max(1, math.ceil(times[0] + self._within_s - now))
            raise RateLimited(
                f"Rate limit reached: {self._limit} {self._what} {self._while}",
                remedy=f"Wait {wait} s. {self._safe}",
                details={"retry_after": wait},
            )
        times.append(now)


def rates_of_reads(monotonic: Callable[[], float]) -> Rates:
    """Of whatever is looked up for a user; events have their seats, and a status costs nothing."""
    return Rates(monotonic, limit=READS, within_s=READS_WITHIN_S, what="reads", safe="Or listen to events instead.")
