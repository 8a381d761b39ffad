"""Who can be traded with, by name: adapters with what each can do, opened when they are first asked for.

An adapter opens a login: books that can be read at any time, and a desk for each account once it is signed in. What a
desk does goes through `trading.gateway`, whatever the broker. Source: requirement GWY-08.
"""

from __future__ import annotations

import dataclasses
import enum
import logging
from collections.abc import Callable, Collection, Iterable
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

import anyio
from anyio.abc import TaskGroup, TaskStatus

from ibkit.bootstrap.connection_opening import open_connection
from ibkit.bootstrap.connections import Confirm, Connection
from ibkit.bootstrap.quote_lines import QuoteLines
from ibkit.clock import Clock
from ibkit.errors import ConfigError, IbkitError
from ibkit.model import AccountId, Environment
from ibkit.settings import Settings
from ibkit.settings.production import is_production
from ibkit.trading.events import IntentId, Operation
from ibkit.trading.gateway import OrderGateway
from ibkit.trading.intent import Intent
from ibkit.trading.ports import Broker, Journal

__all__ = [
    "Adapter",
    "Brokers",
    "Capability",
    "IbkrAdapter",
    "Login",
    "MockAdapter",
    "OrderBook",
    "OrderDesk",
    "broker_of",
]


log = logging.getLogger(__name__)


class Capability(enum.StrEnum):
    STOCKS = "stocks"
    OPTIONS = "options"
    BRACKETS = "brackets"
    PREVIEW = "preview"
    MODIFY = "modify"
    CANCEL = "cancel"
    QUOTES = "quotes"
    LIVE = "live"


class OrderBook(Journal, Protocol):
    """A journal that can be asked for the orders of one user."""

    async def of_keys(
        self,
        beginning: str,
        *,
        environment: Environment,
        operation: Operation,
        before: IntentId | None = None,
        changed_since: datetime | None = None,
        or_nobodys: bool = False,
        limit: int,
    ) -> tuple[Intent, ...]: ...

    async def changes_of(self, orders: Collection[Intent]) -> tuple[Intent, ...]: ...


class OrderDesk(Protocol):
    """One account, ready to trade."""

    @property
    def gateway(self) -> OrderGateway: ...

    @property
    def broker(self) -> Broker: ...

    @property
    def account_id(self) -> AccountId: ...


class Login(Protocol):
    """One login of a broker. journal: readable before anybody is signed in."""

    @property
    def environment(self) -> Environment: ...

    @property
    def journal(self) -> OrderBook: ...

    @property
    def clock(self) -> Clock: ...

    async def desk(self, account_id: AccountId | None = None) -> OrderDesk:
        """Signed in, and journal and broker compared. NotFound for another's account, E-ACC-AMBIGUOUS."""
        ...

    @property
    def quote_lines(self) -> QuoteLines:
        """Asked of those that can do quotes."""
        ...

    async def keep(self, stop: anyio.Event, *, watch: bool) -> None:
        """Whatever keeps the login and its orders up to date, until `stop`."""
        ...


class Adapter(Protocol):
    """A broker as the service knows it."""

    @property
    def name(self) -> str: ...

    @property
    def capabilities(self) -> frozenset[Capability]: ...

    def missing(self) -> tuple[str, ...]:
        """The settings that it lacks; empty where it is configured."""
        ...

    def open(self) -> AbstractAsyncContextManager[Login]: ...


_ALL = frozenset(Capability)
_CLOSE_WITHIN_S = 10.0


@dataclass(frozen=True, slots=True, kw_only=True)
class IbkrAdapter:
    """Interactive Brokers, by the sign-in of the settings. confirm: see `Connection`."""

    settings: Settings
    confirm: Confirm
    name: str = "ibkr"
    capabilities: frozenset[Capability] = _ALL

    def missing(self) -> tuple[str, ...]:
        if self.settings.mock:
            return ("BROKER_PROVIDER=ibkr",)
        if self.settings.general.multi_user:
            return ()  # what a user lacks is told by that user's own connections
        return tuple(dict.fromkeys(name for problem in self.settings.method_problems for name in problem.names))

    def open(self) -> AbstractAsyncContextManager[Connection]:
        return open_connection(self.settings, confirm=self.confirm)


@dataclass(frozen=True, slots=True, kw_only=True)
class MockAdapter:
    """A simulated Interactive Brokers inside this process, which begins anew with it."""

    settings: Settings
    name: str = "mock"
    capabilities: frozenset[Capability] = _ALL - {Capability.LIVE}

    def missing(self) -> tuple[str, ...]:
        from importlib.util import find_spec

        if is_production(self.settings) and not self.settings.mock:  # a fill that never was must not look like one
            return ("a place that is not production (APP_ENV): what it fills is not real",)
        return () if find_spec("exchange_calendars") else ("the libraries of `pip install 'ibkit[sim]'`",)

    def open(self) -> AbstractAsyncContextManager[Connection]:
        general = dataclasses.replace(self.settings.general, provider="mock")
        return open_connection(dataclasses.replace(self.settings, general=general))


def broker_of(key: str) -> str:
    """The broker's name of an open login."""
    return key.partition("/")[0]


class Brokers:
    """tasks: in which each login is kept, from its first use to `stop`. watch: also do what `ibkit worker` does."""

    def __init__(
        self, adapters: Iterable[Adapter], *, default: str, tasks: TaskGroup, stop: anyio.Event, watch: bool
    ) -> None:
        self.adapters = {adapter.name: adapter for adapter in adapters}
        self.default = default
        self.opened: dict[str, Login] = {}
        """By the broker's name; those of users by `own_connections.key_of`."""
        self._held: dict[str, tuple[anyio.CancelScope, anyio.Event]] = {}
        self._tasks = tasks
        self._stop = stop
        self._watch = watch
        self._opening = anyio.Lock()

    def adapter(self, name: str, *needs: Capability) -> Adapter:
        """E-BROKER where there is none of that name, or it cannot do that, or is not configured."""
        found = self.adapters.get(name)
        if found is None:
            names = ", ".join(sorted(self.adapters))
            raise ConfigError(code="E-BROKER", details={"name": name, "list": names, "field": "broker"})
        lacking = [need.value for need in needs if need not in found.capabilities]
        if lacking:
            able = sorted(each.name for each in self.adapters.values() if each.capabilities.issuperset(needs))
            raise ConfigError(
                f"Broker {name} does not do {', '.join(lacking)}",
                code="E-BROKER",
                remedy=f"Use one of: {', '.join(able) or 'none does'}.",
                details={"name": name, "lacking": lacking, "field": "broker"},
            )
        missing = found.missing()
        if missing:
            raise ConfigError(
                f"Broker {name} is not configured: {', '.join(missing)} missing",
                code="E-BROKER",
                remedy=f"Set {', '.join(missing)} and start the service again.",
                details={"name": name, "missing": list(missing), "field": "broker"},
            )
        return found

    async def login(self, name: str, *needs: Capability) -> Login:
        """The login of that broker, opened if need be; not yet signed in."""
        login = await self.open(name, self.adapter(name, *needs).open)
        if isinstance(login, Connection):
            login.used()
        return login

    async def open(self, key: str, opener: Callable[[], AbstractAsyncContextManager[Login]]) -> Login:
        """The login called `key`, opened if need be; not yet signed in. It is kept until `stop`, or `close`."""
        async with self._opening:
            if key not in self.opened:
                failed: list[IbkitError] = []
                opened: Login | None = await self._tasks.start(self._hold, key, opener, failed)
                if opened is None:
                    raise failed[0]
                return opened
            return self.opened[key]

    async def close(self, key: str) -> None:
        """Nobody uses it any more. Nothing where it is not open."""
        async with self._opening:
            held = self._held.get(key)
            if held is None:
                return
            scope, ended = held
            scope.cancel()
            with anyio.move_on_after(_CLOSE_WITHIN_S):
                await ended.wait()

    async def _hold(
        self,
        key: str,
        opener: Callable[[], AbstractAsyncContextManager[Login]],
        failed: list[IbkitError],
        *,
        task_status: TaskStatus[Login | None],
    ) -> None:
        ended, told = anyio.Event(), False
        with anyio.CancelScope() as scope:
            self._held[key] = scope, ended
            try:
                async with opener() as login:
                    self.opened[key], told = login, True
                    task_status.started(login)
                    try:
                        await login.keep(self._stop, watch=self._watch)
                        await anyio.sleep_forever()  # open until the service ends: orders under way still need it
                    finally:
                        self.opened.pop(key, None)
            except Exception as error:
                if told:
                    self._broke(key, error, closed=scope.cancel_called)
                    return
                failed.append(error if isinstance(error, IbkitError) else IbkitError(code="E-INTERNAL"))
                if failed[0] is not error:
                    log.exception("a login could not be opened")
                task_status.started(None)
            finally:
                self._held.pop(key, None)
                ended.set()

    def _broke(self, key: str, error: Exception, *, closed: bool) -> None:
        """A login that breaks, or cannot be left in good order, takes no other one with it.

        `error` again for that of the settings: nothing opens it anew, with its watch, but a new start of the service.
        """
        if key == self.default and not closed and not self._stop.is_set():
            raise error
        log.error("a login ended by a fault; it is opened again when somebody needs it", exc_info=error)
