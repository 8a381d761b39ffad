"""Quotes of one login for all who listen: one WebSocket while somebody does, one market data line for each contract.

It is a socket of its own, beside that of the watch, which may be another process's: a session may open several, each
with its own subscriptions. Source: docs/facts/websocket.md §1 (assumed there; the simulator does so). The hundred lines
of a user name are shared by all of its sockets and by REST (§5.1), so the service keeps to ninety.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncIterator, Callable, Collection
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import TYPE_CHECKING

import anyio

from ibkit.clock import Clock
from ibkit.errors import IbkitError, RateLimited, Unreachable
from ibkit.model import Conid, Quote

if TYPE_CHECKING:
    from ibkit.client.stream import Stream

__all__ = ["MOST_LINES", "QuoteLines"]

MOST_LINES = 90
_LINGER_S = 10.0
"""Whoever comes back within this finds the socket open."""
_OPENS_WITHIN_S = 20.0


class QuoteLines:
    """open: the login's stream, for `async with`. `run` keeps it, in a task of whoever keeps the login."""

    def __init__(self, open: Callable[[], AbstractAsyncContextManager[Stream]], clock: Clock) -> None:  # noqa: A002
        self._open = open
        self._clock = clock
        self._wanted: Counter[Conid] = Counter()
        self._wanting = anyio.Event()
        self._settled = anyio.Event()
        self._stream: Stream | None = None
        self._failure: IbkitError | None = None

    @property
    def wanted(self) -> bool:
        """Somebody listens."""
        return bool(self._wanted)

    def check(self, conids: Collection[Conid]) -> None:
        """RateLimited where these would be more lines than the user name has."""
        if len(self._wanted.keys() | set(conids)) > MOST_LINES:
            raise RateLimited(
                f"Rate limit reached: {MOST_LINES} market data lines for all listeners of this login",
                remedy="Listen to fewer contracts, or wait until others listen to fewer.",
                details={"retry_after": 30},
            )

    @asynccontextmanager
    async def listen(self, conids: Collection[Conid]) -> AsyncIterator[AsyncIterator[Quote]]:
        """The newest quote of each contract, as it changes; who is slow misses those between.

        RateLimited, Unreachable.
        """
        self.check(conids)
        self._wanted.update(conids)
        self._wanting.set()
        try:
            yield (await self._opened()).quotes(list(conids))
        finally:
            self._wanted.subtract(conids)
            self._wanted += Counter()

    async def _opened(self) -> Stream:
        with anyio.move_on_after(_OPENS_WITHIN_S):
            while self._stream is None:
                settled = self._settled
                await settled.wait()
                if self._failure is not None:
                    raise self._failure
        if self._stream is None:
            raise Unreachable("the stream of quotes did not open in time")
        return self._stream

    async def run(self) -> None:
        """For ever: a stream whenever somebody wants one."""
        while True:
            await self._wanting.wait()
            self._failure = None
            try:
                async with self._open() as self._stream:
                    self._settle()
                    await self._until_nobody()
                    self._stream = None  # whoever comes while it closes waits for the next one
            except IbkitError as error:
                self._failure = error
            except ExceptionGroup as group:  # what a task of the stream raised
                ours, others = group.split(IbkitError)
                if others is not None or ours is None:
                    raise
                self._failure = Unreachable("the stream of quotes ended")
            finally:
                self._stream = None
            if self._failure is None:
                self._wanting = anyio.Event()
                if self._wanted:
                    self._wanting.set()
            else:
                self._wanting = anyio.Event()  # whoever asks again tries again
                self._settle()

    def _settle(self) -> None:
        event, self._settled = self._settled, anyio.Event()
        event.set()

    async def _until_nobody(self) -> None:
        quiet = 0.0
        while quiet < _LINGER_S:
            await self._clock.sleep(1.0)
            quiet = 0.0 if self._wanted else quiet + 1.0
