"""Settings → who says whose a bearer token is: the users of this installation, in the database of DATABASE_URL."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from ibkit.bootstrap.clients import clock_of
from ibkit.bootstrap.edge import edges
from ibkit.bootstrap.users import open_users
from ibkit.clock import SystemClock
from ibkit.settings import Settings
from ibkit.users.principal import Authenticator

__all__ = ["open_authenticator"]


@asynccontextmanager
async def open_authenticator(settings: Settings) -> AsyncIterator[Authenticator]:
    """The authenticator of this installation, open until the block ends. ConfigError, StorageError."""
    given = edges().authenticator
    if given is not None:
        yield given(settings)
        return
    clock = SystemClock() if settings.mock else clock_of(settings)
    async with open_users(settings, clock=clock) as desk:
        yield desk.sign_ins
