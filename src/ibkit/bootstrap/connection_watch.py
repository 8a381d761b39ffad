"""The watch over sold options and open orders of a connection, in the process that keeps it."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING

import anyio

from ibkit.bootstrap.alerting import beside
from ibkit.bootstrap.edge import edges
from ibkit.bootstrap.worker import Worker, worker_lease
from ibkit.bootstrap.worker_loop import WorkerLoop
from ibkit.errors import IbkitError, InFlight
from ibkit.store.lease import Lease

if TYPE_CHECKING:
    from ibkit.bootstrap.connections import Connection

__all__ = ["ConnectionWatch"]

log = logging.getLogger(__name__)

_WATCH_AGAIN_S = 30.0


class ConnectionWatch:
    """on: whether it runs here, and not in a worker of its own."""

    def __init__(self, connection: Connection) -> None:
        self.on = False
        self._of = connection
        self._ends = anyio.Event()

    def end(self) -> None:
        """After the round under way: the connection was logged out."""
        self._ends.set()

    async def for_ever(self, stop: anyio.Event) -> None:
        """The watch over sold options and open orders, unless a worker of this login has it already."""
        while not stop.is_set():
            try:
                if self._of.open and not self._of.idleness.now:
                    await self._watch_until(stop)
            except InFlight:
                log.debug("another process watches this login")
            except IbkitError as error:
                log.warning("the watch ended", extra={"code": error.code})
            await self._of.clock.sleep(_WATCH_AGAIN_S if self._of.open else 0.5)

    async def _watch_until(self, stop: anyio.Event) -> None:
        """Until `stop`, or until the connection is logged out."""
        self._ends = ends = anyio.Event()

        async def end() -> None:
            await stop.wait()
            ends.set()

        async with beside(end):
            await self._watch(ends)

    async def _watch(self, stop: anyio.Event) -> None:
        desks = tuple(self._of.desks.values())
        loop = WorkerLoop(
            rounds=[desk.rounds() for desk in desks],
            stream=self._of.client.stream,
            clock=self._of.clock,
            poll_s=60.0,
            observe=self._of.observe,
            chance=edges().chance,
        )
        if self._of.settings.mock:
            await self._watched(loop.run, stop)
            return
        user = hashlib.sha256(desks[0].broker.username.encode()).hexdigest()[:16]
        lease = worker_lease(self._of.settings)
        by_name = Lease(self._of.settings.state_dir / "worker", f"user-{user}")
        async with (
            lease.hold(clock=self._of.clock, what="the watch over this login"),
            by_name.hold(clock=self._of.clock, what=f"the watch over IBKR user {desks[0].broker.username}"),
        ):
            worker = Worker(
                settings=self._of.settings,
                client=self._of.client,
                desks=desks,
                loop=loop,
                lease=lease,
                since=self._of.clock.now(),
                alerting=self._of.alerting,
                book=self._of.book,
            )

            def published() -> None:
                worker.publish()
                if loop.standing.stream == "down":  # it breaks at once where the next look is half a minute away
                    self._of.doubt()

            loop.published = published
            worker.publish()
            loop.heard = lambda failure: self._of.book.tell(self._of.book.signs.heard(failure, self._of.clock.now()))
            self._of.measuring.watch(loop.standing, desks[0].broker.username)
            await self._watched(worker.loop.run, stop)

    async def _watched(self, run: Callable[[anyio.Event], Awaitable[None]], stop: anyio.Event) -> None:
        self.on = True
        try:
            await run(stop)
        finally:
            self.on = False
