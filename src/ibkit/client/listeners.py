"""Who listens to a stream. Held weakly: a listener that is thrown away holds nobody up."""

from __future__ import annotations

import weakref
from collections.abc import Awaitable, Callable, Iterable
from typing import Any, Final, TypeVar

import anyio

from ibkit.client.channels import Channel, Every, Latest, Recent
from ibkit.model import Conid, FillUpdate, Lifecycle, Notice, OrderUpdate, PnlUpdate, Quote

__all__ = ["Listeners"]

WAITING_S: Final = 20.0
"""How long the reader waits for one that lags before it looks after the socket for a moment."""

T = TypeVar("T")


class Listeners:
    """while_waiting: called now and then while the reader is held up by a listener."""

    def __init__(self, while_waiting: Callable[[], Awaitable[None]]) -> None:
        self.orders: weakref.WeakSet[Every[OrderUpdate]] = weakref.WeakSet()
        self.fills: weakref.WeakSet[Every[FillUpdate]] = weakref.WeakSet()
        self.notices: weakref.WeakSet[Every[Notice]] = weakref.WeakSet()
        self.quotes: weakref.WeakKeyDictionary[Latest[Quote], frozenset[Conid]] = weakref.WeakKeyDictionary()
        self.pnl: weakref.WeakSet[Latest[PnlUpdate]] = weakref.WeakSet()
        self.lifecycle: weakref.WeakSet[Recent[Lifecycle]] = weakref.WeakSet()
        self._while_waiting = while_waiting
        self._telling = anyio.Lock()

    @property
    def conids(self) -> frozenset[Conid]:
        """Contracts that somebody wants quotes of."""
        return frozenset().union(*(conids for channel, conids in self.quotes.items() if not channel.over))

    def tell(self, event: Lifecycle) -> None:
        for channel in list(self.lifecycle):
            channel.put(event)

    def tell_quote(self, quote: Quote) -> None:
        for channel in list(self.quotes):
            channel.put(quote)

    def tell_pnl(self, update: PnlUpdate) -> None:
        for channel in list(self.pnl):
            channel.put(update)

    async def tell_each(self, channels: Iterable[Every[T]], makes: Iterable[Callable[[], T | None]]) -> None:
        """To every listener, waiting for those that lag.

        makes: each value is made only when everybody has room for it, and then told at once: whoever is cancelled while
        he waits has taken nothing in that he did not tell, and no other teller comes between. None is no news.
        """
        async with self._telling:
            for make in makes:
                await self._room(channels)
                value = make()
                if value is not None:
                    _put(channels, value)

    async def _room(self, channels: Iterable[Every[T]]) -> None:
        """Wait until nobody's channel is full."""
        for ref in [weakref.ref(channel) for channel in channels]:
            while (channel := ref()) is not None and channel.full:
                emptied = channel.emptied
                del channel  # only its owner keeps it alive while we wait
                with anyio.move_on_after(WAITING_S) as waiting:
                    await emptied.wait()
                if waiting.cancelled_caught:
                    await self._while_waiting()
            del channel

    def end(self) -> None:
        """Nothing more comes: what waits may still be read."""
        kinds: tuple[Iterable[Channel[Any]], ...] = (
            self.orders,
            self.fills,
            self.notices,
            self.quotes,
            self.pnl,
            self.lifecycle,
        )
        for channels in kinds:
            for channel in list(channels):
                channel.end()


def _put(channels: Iterable[Every[T]], value: T) -> None:
    # A function of its own: its loop variable must not outlive it and keep a channel alive.
    for channel in list(channels):
        channel.put(value)
