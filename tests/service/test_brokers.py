"""Logins that break: a user's ends alone, that of the settings ends the service."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, cast

import anyio
import pytest

from ibkit.errors import StorageError
from ibkit.service.brokers import Brokers, Login

pytestmark = pytest.mark.anyio


class _Breaks:
    """A login whose keeping fails when it is told to."""

    def __init__(self) -> None:
        self.now = anyio.Event()

    async def keep(self, stop: anyio.Event, *, watch: bool) -> None:
        await self.now.wait()
        raise StorageError("the disk is away")

    @asynccontextmanager
    async def opened(self) -> AsyncIterator[Login]:
        yield cast("Login", self)


async def broken(key: str, *, stopping: bool = False) -> tuple[Brokers, bool]:
    """Whether the others went on after the login `key` broke, of a service that trades by `ibkr`."""
    goes_on = False
    async with anyio.create_task_group() as tasks:
        stop = anyio.Event()
        brokers = Brokers([], default="ibkr", tasks=tasks, stop=stop, watch=True)
        login: Any = _Breaks()
        await brokers.open(key, login.opened)
        assert key in brokers.opened
        if stopping:
            stop.set()
        login.now.set()
        await anyio.wait_all_tasks_blocked()
        goes_on = True
        tasks.cancel_scope.cancel()
    return brokers, goes_on


@pytest.mark.parametrize(("key", "stopping"), [("ibkr/ada/one", False), ("mock", False), ("ibkr", True)])
async def test_a_login_that_breaks_ends_alone(key: str, stopping: bool) -> None:
    brokers, goes_on = await broken(key, stopping=stopping)
    assert goes_on
    assert not brokers.opened


async def test_the_login_of_the_settings_ends_the_service_when_it_breaks() -> None:
    """Nobody would open it again, and sold options would be watched by nobody."""
    with pytest.raises(BaseExceptionGroup) as raised:
        await broken("ibkr")
    assert raised.group_contains(StorageError, match="the disk is away")
