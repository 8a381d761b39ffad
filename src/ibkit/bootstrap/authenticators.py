"""Settings → who says whose a bearer token is.

Without users nobody is let in: the service answers 401 to every token, and only its health is open.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from ibkit.bootstrap.edge import edges
from ibkit.errors import AuthError
from ibkit.model import Secret
from ibkit.settings import Settings
from ibkit.users.principal import Authenticator, Principal

__all__ = ["open_authenticator"]


class _Nobody:
    async def authenticate(self, token: Secret[str], *, address: str) -> Principal:
        raise AuthError(code="E-APP-AUTH")


@asynccontextmanager
async def open_authenticator(settings: Settings) -> AsyncIterator[Authenticator]:
    """The authenticator of this installation, open until the block ends."""
    given = edges().authenticator
    yield _Nobody() if given is None else given(settings)
