"""From the one reader of a stream to those who listen: bounded, each with its policy by name.

    Every    nothing is lost; a listener that lags behind slows the reader   orders, fills, notices
    Latest   the newest value of each key                                    quotes, profit and loss
    Recent   the newest so many                                              lifecycle

A listener that is thrown away takes its channel with it.
"""

from __future__ import annotations

import weakref
from collections import OrderedDict, deque
from collections.abc import Awaitable, Callable, Hashable
from typing import Generic, Self, TypeVar

import anyio

__all__ = ["Channel", "Every", "Latest", "Recent"]

T = TypeVar("T")


class _Bell:
    """Wakes whoever waits; apart from the channel, so that waiting keeps no channel alive."""

    def __init__(self) -> None:
        self._event = anyio.Event()

    def ring(self) -> None:
        event, self._event = self._event, anyio.Event()
        event.set()

    async def wait(self) -> None:
        await self._event.wait()


class Channel(Generic[T]):
    """begin: awaited once, before the first value is waited for."""

    def __init__(self, begin: Callable[[], Awaitable[None]]) -> None:
        self._begin: Callable[[], Awaitable[None]] | None = begin
        self._filled = _Bell()
        self.emptied = _Bell()
        self._over = False
        weakref.finalize(self, self.emptied.ring)

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> T:
        begin, self._begin = self._begin, None
        if begin is not None:
            await begin()
        while not self._has():
            if self._over:
                raise StopAsyncIteration
            await self._filled.wait()
        value = self._take()
        self.emptied.ring()
        return value

    @property
    def full(self) -> bool:
        """The reader has to wait."""
        return False

    @property
    def over(self) -> bool:
        return self._over

    def put(self, value: T) -> None:
        """Hand a value over; the reader looks at `full` before."""
        if not self._over:
            self._keep(value)
            self._filled.ring()

    def end(self) -> None:
        """What is there may still be read; then the iteration ends."""
        self._over = True
        self._filled.ring()
        self.emptied.ring()

    async def aclose(self) -> None:
        self.end()

    def _has(self) -> bool:
        raise AssertionError("a channel has a policy")

    def _take(self) -> T:
        raise AssertionError("a channel has a policy")

    def _keep(self, value: T) -> None:
        raise AssertionError("a channel has a policy")


class Every(Channel[T]):
    """At most `bound` values wait, then the reader does."""

    def __init__(self, begin: Callable[[], Awaitable[None]], *, bound: int) -> None:
        super().__init__(begin)
        self._bound = bound
        self._values: deque[T] = deque()

    @property
    def full(self) -> bool:
        return len(self._values) >= self._bound and not self._over

    def _has(self) -> bool:
        return bool(self._values)

    def _take(self) -> T:
        return self._values.popleft()

    def _keep(self, value: T) -> None:
        self._values.append(value)


class Latest(Channel[T]):
    """One value for each key that `fits`; a newer one takes the older one's place in the row."""

    def __init__(
        self,
        begin: Callable[[], Awaitable[None]],
        *,
        key: Callable[[T], Hashable],
        fits: Callable[[T], bool] = lambda value: True,
    ) -> None:
        super().__init__(begin)
        self._key = key
        self._fits = fits
        self._values: OrderedDict[Hashable, T] = OrderedDict()

    def _has(self) -> bool:
        return bool(self._values)

    def _take(self) -> T:
        return self._values.popitem(last=False)[1]

    def _keep(self, value: T) -> None:
        if self._fits(value):
            self._values[self._key(value)] = value


class Recent(Channel[T]):
    """The newest `bound` values; older ones that nobody read are gone."""

    def __init__(self, begin: Callable[[], Awaitable[None]], *, bound: int) -> None:
        super().__init__(begin)
        self._values: deque[T] = deque(maxlen=bound)

    def _has(self) -> bool:
        return bool(self._values)

    def _take(self) -> T:
        return self._values.popleft()

    def _keep(self, value: T) -> None:
        self._values.append(value)
