"""Numbers of the calls of one endpoint over one connection, and what is read off them. Source: requirement MON-05."""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter
from dataclasses import dataclass, field
from typing import Final

__all__ = ["BOUNDS_S", "Figures"]

BOUNDS_S: Final = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)
"""Upper bounds of the response times that are counted together, seconds; one more class for what took longer."""


@dataclass(slots=True)
class Figures:
    """calls: exchanges that a caller asked for, errors: how many of them ended with each code.

    attempts: requests on the line, sign-ins and keep-alive, too. seconds: their response times, summed; buckets: their
    numbers by `BOUNDS_S`. waits, waited_s: attempts that were held back for the rate limit. at_once: connections of the
    pool that were in use, at most, when an attempt went on the line; the one figure that is no sum.
    """

    calls: int = 0
    errors: Counter[str] = field(default_factory=Counter)
    attempts: int = 0
    retries: int = 0
    seconds: float = 0.0
    buckets: list[int] = field(default_factory=lambda: [0] * (len(BOUNDS_S) + 1))
    bytes_sent: int = 0
    bytes_received: int = 0
    waits: int = 0
    waited_s: float = 0.0
    at_once: int = 0

    def took(self, seconds: float) -> None:
        self.attempts += 1
        self.seconds += seconds
        self.buckets[bisect_left(BOUNDS_S, seconds)] += 1

    def add(self, other: Figures) -> None:
        self._combine(other, 1)

    def since(self, earlier: Figures) -> Figures:
        """What came after `earlier`, which is an older copy of these."""
        found = self.copy()
        found._combine(earlier, -1)
        return found

    def copy(self) -> Figures:
        found = Figures()
        found._combine(self, 1)
        return found

    def _combine(self, other: Figures, sign: int) -> None:
        self.calls += sign * other.calls
        self.attempts += sign * other.attempts
        self.retries += sign * other.retries
        self.seconds += sign * other.seconds
        self.buckets = [mine + sign * theirs for mine, theirs in zip(self.buckets, other.buckets, strict=True)]
        self.bytes_sent += sign * other.bytes_sent
        self.bytes_received += sign * other.bytes_received
        self.waits += sign * other.waits
        self.waited_s += sign * other.waited_s
        if sign > 0:
            self.at_once = max(self.at_once, other.at_once)
        for code, number in other.errors.items():
            self.errors[code] += sign * number
        self.errors = +self.errors

    @property
    def empty(self) -> bool:
        return not (self.calls or self.attempts or self.waits)

    @property
    def error_rate(self) -> float:
        """Part of the calls that failed, 0 to 1."""
        return self.errors.total() / self.calls if self.calls else 0.0

    @property
    def mean_s(self) -> float | None:
        return self.seconds / self.attempts if self.attempts else None

    def quantile_s(self, part: float) -> float | None:
        """The response time that `part` of the attempts did not exceed, within its class in proportion.

        Of what took longer than the last bound, that bound.
        """
        total = sum(self.buckets)
        if not total:
            return None
        wanted, before = part * total, 0
        for number, count in enumerate(self.buckets[:-1]):
            if count and before + count >= wanted:
                lower = BOUNDS_S[number - 1] if number else 0.0
                return lower + (BOUNDS_S[number] - lower) * (wanted - before) / count
            before += count
        return BOUNDS_S[-1]
