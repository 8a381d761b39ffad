"""How often a sign-in may be tried by itself. AUTH-20.

Three failures within five minutes pause it for a minute, then two, four … thirty. What only a person can repair is
not tried again at all.
"""

from __future__ import annotations

from collections import deque
from datetime import datetime, timedelta
from typing import Final

from ibkit.errors import AuthError, CredentialsRejected, SessionTaken

__all__ = ["LoginBackoff"]

FAILURES: Final = 3
WITHIN_S: Final = 300.0
FIRST_PAUSE_S: Final = 60.0
LONGEST_PAUSE_S: Final = 1800.0


class LoginBackoff:
    """Counts failures; `now` is seconds of a clock that never goes back."""

    def __init__(self) -> None:
        self._failures: deque[float] = deque(maxlen=FAILURES)
        self._paused_until = 0.0
        self._pause_s = FIRST_PAUSE_S
        self._last: AuthError | None = None
        self._final = False

    def check(self, now: float, wall: datetime) -> None:
        """Raises the refusal that only a person can mend, or AuthError E-AUTH-BACKOFF within a pause."""
        if self._final and self._last is not None:
            raise self._last
        if now < self._paused_until and self._last is not None:
            until = wall + timedelta(seconds=self._paused_until - now)
            raise AuthError(
                f"Authentication paused until {until:%H:%M:%S} UTC; last error {self._last.code}: {self._last.message}",
                code="E-AUTH-BACKOFF",
                remedy=f"Fix the cause first: {self._last.remedy}",
                details={"until": until.isoformat(), "last": self._last.code},
            ) from self._last

    def failed(self, error: AuthError, now: float) -> None:
        if error.code == "E-AUTH-BACKOFF" or (error is self._last and self._final):
            return
        self._last = error
        # Another login's session is a matter of policy: the same try may succeed as soon as that login is gone.
        self._final = isinstance(error, CredentialsRejected)
        if isinstance(error, SessionTaken):
            return
        self._failures.append(now)
        if len(self._failures) == FAILURES and now - self._failures[0] <= WITHIN_S:
            self._paused_until = now + self._pause_s
            self._pause_s = min(self._pause_s * 2, LONGEST_PAUSE_S)
            self._failures.clear()

    def worked(self) -> None:
        self.reset()

    def reset(self) -> None:
        """Forget all failures."""
        self._failures.clear()
        self._paused_until = 0.0
        self._pause_s = FIRST_PAUSE_S
        self._last = None
        self._final = False
