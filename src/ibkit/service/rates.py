"""How many requests a user, or a network, may make in a time. Requirement GWY-11.

Order requests are counted in the database, over all processes of a service; the rest by each process.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable
from datetime import timedelta

from ibkit.clock import Clock
from ibkit.errors import RateLimited
from ibkit.users import UserStore

__all__ = ["ORDERS_PER_MINUTE", "READS", "READS_WITHIN_S", "OrderRates", "Rates", "rates_of_reads"]

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
        self.limit = limit
        self.within_s = within_s
        self._what = what
        self._safe = safe
        self._taken: dict[str, deque[float]] = {}

    @property
    def _while(self) -> str:
        return "a minute" if self.within_s == _MINUTE_S else f"in {self.within_s:g} s"

    def take(self, user_id: str) -> None:
        """One request of that user. RateLimited with `details["retry_after"]`, whole seconds."""
        now = self._monotonic()
        if len(self._taken) > _MOST_USERS:
            self._taken = {user: times for user, times in self._taken.items() if times[-1] > now - self.within_s}
        times = self._taken.setdefault(user_id, deque())
        while times and times[0] <= now - self.within_s:
            times.popleft()
        if len(times) >= self.limit:
            raise self.refusal(times[0] + self.within_s - now)
        times.append(now)

    def refusal(self, wait_s: float) -> RateLimited:
        """The error of a request that came `wait_s` too early."""
        wait = max(1, math.ceil(wait_s))
        return RateLimited(
            f"Rate limit reached: {self.limit} {self._what} {self._while}",
            remedy=f"Wait {wait} s. {self._safe}",
            details={"retry_after": wait},
        )


class OrderRates:
    """Order requests of each user, of all processes that share the database of users.

    here: of this process, asked first, so that who is far beyond it troubles no database. clock: of people.
    cancels: counted apart, at this process alone: whoever placed too much must still be able to take it back.

    A request's body is read between the two: who asks and goes at once has sent it, and is not heard any more after a
    real wait.
    """

    def __init__(self, here: Rates, cancels: Rates, store: UserStore, clock: Clock) -> None:
        self._here = here
        self._cancels = cancels
        self._store = store
        self._clock = clock

    def take(self, user_id: str, *, cancel: bool = False) -> None:
        """One request of that user at this process. RateLimited."""
        (self._cancels if cancel else self._here).take(user_id)

    async def count(self, user_id: str) -> None:
        """The same one at all processes. RateLimited; StorageError: it cannot be counted, so nothing is sent.

        Without the database nobody is let in anyway, for it says who asks.
        """
        here, now = self._here, self._clock.now()
        free_at = await self._store.requested(user_id, at=now, most=here.limit, within=timedelta(seconds=here.within_s))
        if free_at is not None:
            raise here.refusal((free_at - now).total_seconds())


def rates_of_reads(monotonic: Callable[[], float]) -> Rates:
    """Of whatever is looked up for a user; events have their seats, and a status costs nothing."""
    return Rates(monotonic, limit=READS, within_s=READS_WITHIN_S, what="reads", safe="Or listen to events instead.")
