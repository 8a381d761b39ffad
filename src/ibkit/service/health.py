"""Whether the process lives, is ready, and reaches the broker. No sign-in needed, so nothing is told but names.

Source: requirement MON-03.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable

import anyio
import msgspec

from ibkit.bootstrap.connections import Connection
from ibkit.bootstrap.vaults import ring_of
from ibkit.bootstrap.worker import worker_lease
from ibkit.clock import SystemClock
from ibkit.errors import IbkitError
from ibkit.settings import Settings
from ibkit.store.connection_rows import ConnectionRow
from ibkit.store.vault import SqlVault
from ibkit.users import UserStore

__all__ = ["BrokerHealth", "Health", "Layers", "Liveness", "Readiness", "of_row"]

_WITHIN_S = 3.0
_KEYS_AGAIN_S = 5.0
"""The keys may come from a program or another server, which nobody without a token may have asked all the time."""


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
    """connection: what the service trades through by default; None where none is configured. opened: all of them.

    users: who may ask. vault: of users' credentials, None without them. watch: the worker belongs to this process.
    stopping: whether the process is about to end.
    """

    def __init__(
        self,
        settings: Settings,
        connection: Callable[[], Connection | None],
        opened: Callable[[], Iterable[object]],
        *,
        users: UserStore,
        vault: SqlVault | None,
        watch: bool,
        stopping: Callable[[], bool],
    ) -> None:
        self._settings = settings
        self._connection = connection
        self._opened = opened
        self._users = users
        self._sealed = vault
        self._watch = watch
        self._stopping = stopping
        self._monotonic = SystemClock().monotonic
        self._keys_read_at = float("-inf")
        self._keys_error: IbkitError | None = None

    async def down(self) -> list[str]:
        """The layers that are down, each by its name."""
        asked: dict[str, Callable[[], Awaitable[bool]]] = {
            "database": self._database,
            "vault": self._vault,
            "worker": self._worker,
        }
        down = [name for name, works in asked.items() if not await _in_time(works)]
        return [*down, *(["process"] if self._stopping() else [])]

    def _connections(self) -> list[Connection]:
        return [each for each in self._opened() if isinstance(each, Connection)]

    async def _database(self) -> bool:
        await self._users.get("")
        for connection in self._connections()[:1]:  # they all share it
            await connection.books.journal.recent(limit=1)
            await connection.books.trades.check()
        return True

    async def _vault(self) -> bool:
        """The keys are there, and open what is sealed."""
        if self._monotonic() - self._keys_read_at > _KEYS_AGAIN_S:
            self._keys_read_at = self._monotonic()
            try:
                await anyio.to_thread.run_sync(ring_of, self._settings)
                self._keys_error = None
            except IbkitError as error:
                self._keys_error = error
        if self._keys_error is None and self._sealed is not None:
            await self._sealed.prove()
        return self._keys_error is None

    async def _worker(self) -> bool:
        """Each login is watched: by this process, or by another that has its lease."""
        return not self._watch or all(self._watched(each) for each in self._connections())

    def _watched(self, connection: Connection) -> bool:
        if connection.watching or connection.idleness.now or not connection.open:
            return True  # one that rests, or was never signed in, has nothing to watch
        return not connection.settings.mock and worker_lease(connection.settings).held()

    def broker(self) -> BrokerHealth:
        """Of the login of the settings; where users have their own, of all of them: down as soon as one is.

        One that rests, or that its user has logged out, is no reason as long as there are others.
        """
        default = self._connection()
        there = [default] if default is not None else self._connections()
        if not there:
            return BrokerHealth(status="down", code="E-NOT-CONFIGURED")
        busy = [each for each in there if each.wanted and not each.idleness.now] or there[:1]
        return next((told for each in busy if (told := _of_one(each)).status == "down"), _UP)


_UP = BrokerHealth(status="up", code=None)


def of_row(row: ConnectionRow) -> BrokerHealth:
    """As the last look at it found it."""
    if row.state.is_up:
        return _UP
    return BrokerHealth(status="down", code=row.error_code or "E-NOT-CONNECTED")


def _of_one(connection: Connection) -> BrokerHealth:
    if connection.connected:
        return _UP
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
