"""IBKR's side of the limits: who asked how often, who is refused, whose address is in the penalty box.

Time here is the caller's, in seconds that never go backwards: real seconds over a socket, the test's clock in a test. A
world that runs faster than the wall does not let anybody ask faster. Source: docs/facts/auth-and-sessions.md §5.
"""

from __future__ import annotations

from collections import defaultdict, deque

from ibkit.sim.quirks import Quirks
from ibkit.wire.endpoint import Endpoint, Limit

__all__ = ["Pacing"]


class Pacing:
    """Sliding windows per user and endpoint, and one penalty box per address."""

    def __init__(self) -> None:
        self._calls: defaultdict[tuple[str, str], deque[float]] = defaultdict(deque)
        self._refused: defaultdict[str, deque[float]] = defaultdict(deque)
        self._boxed_until: dict[str, float] = {}

    def boxed(self, address: str, at: float) -> bool:
        """Whether every call of this address is refused now. Calls inside do not lengthen the box."""
        until = self._boxed_until.get(address)
        if until is None:
            return False
        if at < until:
            return True
        del self._boxed_until[address]
        return False

    def admit(self, quirks: Quirks, *, user: str, face: str, endpoint: Endpoint, at: float) -> bool:
        """Count one call if both limits allow it. A refused call is not counted against them."""
        overall = self._window(user, "*", at, 1.0)
        if len(overall) >= (quirks.gateway_per_s if face == "gateway" else quirks.oauth_per_s):
            return False
        limit = endpoint.limit
        if isinstance(limit, Limit):
            own = self._window(user, endpoint.path, at, limit.per_s)
            if len(own) >= limit.calls:
                return False
            own.append(at)
        overall.append(at)
        return True

    def _window(self, user: str, name: str, at: float, per_s: float) -> deque[float]:
        window = self._calls[user, name]
        while window and window[0] <= at - per_s:
            window.popleft()
        return window

    def refuse(self, quirks: Quirks, address: str, at: float) -> None:
        """Note a refusal; enough of them open the box."""
        refused = self._refused[address]
        refused.append(at)
        while refused[0] <= at - quirks.penalty_window_s:
            refused.popleft()
        if len(refused) >= quirks.penalty_after:
            self._boxed_until[address] = at + quirks.penalty_box_s
            refused.clear()

    def clear(self) -> None:
        """Forget everything, the penalty box too."""
        self._calls.clear()
        self._refused.clear()
        self._boxed_until.clear()
