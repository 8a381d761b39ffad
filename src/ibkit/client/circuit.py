"""The circuit breaker of one login, as its calls meet it. LIM-08; the arithmetic is `wire/breaker.py`.

Not held up are calls that keep the session, whose pace is slow by itself and whose success ends the pause, and cancels:
who asks for one does so just because something is wrong. What places or changes an order never tries whether anybody
answers again; it waits for another call that does.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta

from ibkit.clock import Clock
from ibkit.errors import IbkitError, OutcomeUnknown, Unreachable
from ibkit.wire.breaker import AWAY, Breaker
from ibkit.wire.endpoint import Endpoint, Lane, Resend

__all__ = ["Circuit"]


class Circuit:
    """explained: what an error means in IBKR's reset window."""

    def __init__(self, clock: Clock, explained: Callable[[IbkitError], IbkitError]) -> None:
        self._clock = clock
        self._explained = explained
        self._breaker = Breaker()
        self._last: IbkitError | None = None

    @property
    def tripped(self) -> bool:
        return self._breaker.tripped

    @property
    def paused_until(self) -> datetime | None:
        """When the next call is tried; None where that may be now."""
        pause = self._breaker.opens_in(self._clock.monotonic())
        return self._clock.now() + timedelta(seconds=pause) if pause else None

    def gate(self, endpoint: Endpoint) -> bool:
        """Whether this call is the one that tries, and `over` is to be called after it. Unreachable (E-CIRCUIT)."""
        if endpoint.lane is Lane.SESSION or endpoint.method == "DELETE":
            return False
        now = self._clock.monotonic()
        if self._breaker.admit(now, may_try=endpoint.resend is not Resend.NEVER):
            return True
        until = self._clock.now() + timedelta(seconds=self._breaker.opens_in(now))
        last = "" if self._last is None else f"; last error {self._last.code}: {self._last.message}"
        raise self._explained(
            Unreachable(
                f"IBKR calls paused until {until:%H:%M:%S} UTC after {self._breaker.failures} failures in a row{last}",
                code="E-CIRCUIT",
                details={"until": until.isoformat(), "unsent": True},
            )
        )

    def answered(self, status: int) -> None:
        """Of whichever request: somebody is there, unless it was a server in between."""
        if self._breaker.failures and status not in AWAY:
            self._breaker.worked()

    def failed(self, error: IbkitError) -> None:
        """A call ended with that. What our own side held back, and what IBKR itself refused, is no failure here."""
        if error.code == "E-CIRCUIT" or error.details.get("late"):
            return
        if isinstance(error, Unreachable | OutcomeUnknown) or error.details.get("status") in AWAY:
            self._last = error
            self._breaker.failed(self._clock.monotonic())

    def away(self) -> None:
        """A call that raises nothing was answered by a server in between."""
        self._breaker.failed(self._clock.monotonic())

    def over(self) -> None:
        """The call that tried has ended, and told what it found, if anything."""
        self._breaker.gave_up()
