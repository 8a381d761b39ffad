"""The levels of the underlyings: a seeded function of time alone, so that any instant costs the same.

Closes follow a mean-reverting sum of daily shocks; between opening and close a bridge of one step a second leads from
one to the other. Nothing depends on what was asked before.
"""

from __future__ import annotations

import hashlib
from datetime import date, datetime
from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np
from scipy.special import ndtri

from ibkit.sim.market.calendar import Calendar
from ibkit.sim.market.universe import UNDERLYINGS

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]

__all__ = ["Paths", "chance", "key_of"]

_MEMORY = 0.93
"""How much of a shock is left a trading day later."""
_SHOCKS = 100
_DAILY_MOVE = 0.008
_INTRADAY_MOVE = 0.006
_OVERNIGHT_SHARE = 0.3


def key_of(*parts: object) -> int:
    """A 64-bit number from any names: the start of a stream of chance."""
    text = "/".join(str(part) for part in parts)
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "big")


def chance(key: int, counters: NDArray[np.int64]) -> Floats:
    """Uniform numbers in (0, 1), one for each counter (splitmix64): random access, the same on every machine."""
    with np.errstate(over="ignore"):
        z = np.uint64(key) + (counters.astype(np.uint64) + np.uint64(1)) * np.uint64(0x9E3779B97F4A7C15)
        z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        z = z ^ (z >> np.uint64(31))
    return ((z >> np.uint64(11)).astype(np.float64) + 0.5) / 2.0**53


class Paths:
    """Logarithms of price levels, relative to those of `start` (if given): there each underlying has its base price."""

    def __init__(self, calendar: Calendar, seed: int, start: datetime | None) -> None:
        self._calendar = calendar
        self._seed = seed
        self._day = lru_cache(maxsize=64)(self._day_uncached)
        self._anchor = dict.fromkeys(UNDERLYINGS, 0.0)
        if start is not None:
            day = calendar.current_day(start)
            self._anchor = {symbol: self.level(symbol, day, self.second(day, start)) for symbol in UNDERLYINGS}
            self._day.cache_clear()

    def second(self, day: date, at: datetime) -> int:
        """Whole seconds since the opening of a trading day, at most its length."""
        opening, close = self._hours(day)
        return int(max(0.0, min((at - opening).total_seconds(), (close - opening).total_seconds())))

    def level(self, symbol: str, day: date, second: int) -> float:
        return float(self.day(symbol, day)[second])

    def day(self, symbol: str, day: date) -> Floats:
        """Price level over its base, as a logarithm, at each second from opening to close."""
        return self._day(symbol, day)

    def _hours(self, day: date) -> tuple[datetime, datetime]:
        session = self._calendar.session(day)
        assert session is not None, day
        return session

    def _day_uncached(self, symbol: str, day: date) -> Floats:
        row = UNDERLYINGS[symbol]
        path = row.beta * _stream(self._seed, "market", 1.0, day)
        if row.own_move:
            path = path + _stream(self._seed, symbol, row.own_move / _DAILY_MOVE, day)
        path -= self._anchor[symbol]
        path.flags.writeable = False
        return path


# Of a seed and a day alone, so all worlds of a process share them: a simulator that is made anew starts at once.


@lru_cache(maxsize=128)
def _stream(seed: int, name: str, scale: float, day: date) -> Floats:
    """One source of movement over a day: a Brownian bridge from its opening to its close."""
    calendar = Calendar()
    session = calendar.session(day)
    assert session is not None, day
    seconds = int((session[1] - session[0]).total_seconds())
    index = calendar.index(day)
    last, now = _close(seed, name, index - 1), _close(seed, name, index)
    start = last + _OVERNIGHT_SHARE * (now - last)
    at = np.arange(seconds + 1)
    share = at / seconds
    # Livelier near the opening and the close than at noon.
    step = _INTRADAY_MOVE / np.sqrt(seconds) * (0.75 + 3.0 * (share[1:] - 0.5) ** 2)
    walk = np.concatenate(([0.0], np.cumsum(step * ndtri(chance(key_of(seed, name, day), at[1:])))))
    bridge = walk - share * walk[-1]
    found = np.asarray(scale * (start + (now - start) * share + bridge))
    found.flags.writeable = False
    return found


@lru_cache(maxsize=4096)
def _close(seed: int, name: str, index: int) -> float:
    shocks = ndtri(chance(key_of(seed, name, "closes"), np.arange(index - _SHOCKS, index) + _SHOCKS + 1))
    return float(_DAILY_MOVE * np.sum(shocks * _MEMORY ** np.arange(_SHOCKS - 1, -1, -1)))
