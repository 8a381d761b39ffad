"""Whether the process lives, is ready, and reaches the broker. No sign-in needed, so nothing is told but names.

Source: requirement MON-03.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import anyio
import msgspec

from ibkit.bootstrap.connections import Connection
from ibkit.bootstrap.vaults import ring_of
from ibkit.bootstrap.worker import worker_lease
from ibkit.errors import IbkitError
from ibkit.settings import Settings

__all__ = ["BrokerHealth", "Health", "Layers", "Liveness", "Readiness"]

_WITHIN_S = 3.0


class Liveness(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    status: str


class Readiness(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """down: the layers that keep the service from taking orders."""

    status: str
    down: list[str]


class BrokerHealth(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """code: of the last failure; null while connected."""

    status: str
    code: str | None


class Health(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    status: str
    layers: dict[str, str]


class Layers:
    """connection: what the service trades through by default; None where none is configured.

    watch: the worker belongs to this process. stopping: whether the process is about to end.
    """

    def __init__(
        self,
        settings: Settings,
        connection: Callable[[], Connection | None],
        *,
        watch: bool,
        stopping: Callable[[], bool],
    ) -> None:
        self._settings = settings
        self._connection = connection
        self._watch = watch
        self._stopping = stopping

    async def down(self) -> list[str]:
        """The layers that are down, each by its name."""
        asked: dict[str, Callable[[], Awaitable[bool]]] = {
            "database": self._database,
            "vault": self._vault,
            "worker": self._worker,
        }
        down = [name for name, works in asked.items() if not await _in_time(works)]
        return [*down, *(["process"] if self._stopping() else [])]

    async def _database(self) -> bool:
        connection = self._connection()
        if connection is None:
            return True  # nothing is kept for a service that trades nowhere
        await connection.books.journal.recent(limit=1)
        await connection.books.trades.check()
        return True

    async def _vault(self) -> bool:
        ring_of(self._settings)
        return True

    async def _worker(self) -> bool:
        """Somebody watches: this process, or another of the same login."""
        connection = self._connection()
        if connection is None or not self._watch or connection.watching or connection.idleness.now:
            return True  # one that rests has nothing to watch
        return not connection.settings.mock and worker_lease(connection.settings).held()

    def broker(self) -> BrokerHealth:
        connection = self._connection()
        if connection is None:
            return BrokerHealth(status="down", code="E-NOT-CONFIGURED")
        if connection.connected:
            return BrokerHealth(status="up", code=None)
        error = connection.health.error
        waiting = "E-NOT-CONNECTED" if connection.idleness.now or not connection.wanted else "E-SES-INIT"
        return BrokerHealth(status="down", code=waiting if error is None else error.code)


async def _in_time(works: Callable[[], Awaitable[bool]]) -> bool:
    with anyio.move_on_after(_WITHIN_S):
        try:
            return await works()
        except IbkitError:
            return False
    return False
