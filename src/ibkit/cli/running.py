"""From a command's function to the event loop and a signed-in client."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, TypeVar

from ibkit.errors import IbkitError

if TYPE_CHECKING:
    from ibkit.client import Client
    from ibkit.settings import Settings

__all__ = ["banner_of", "go", "signed_in"]

T = TypeVar("T")


def go(work: Callable[[], Awaitable[T]]) -> T:
    """Run `work` to its end on an event loop of its own."""
    from ibkit.bootstrap import run

    return run(work)


@asynccontextmanager
async def signed_in(settings: Settings, *, compete: bool = False, looking: bool = False) -> AsyncIterator[Client]:
    """A client that is signed in; a failure tells what was looked at (OPT-09).

    looking: without a brokerage session, which another program of the user name may have.
    """
    from ibkit.bootstrap import open_client
    from ibkit.cli.causes import causes
    from ibkit.wire.endpoint import Needs

    opened = False
    try:
        upto = Needs.OUTER_SESSION if looking else Needs.PRIMED_ACCOUNTS
        async with open_client(settings, compete=compete or None, upto=upto) as ib:
            opened = True
            yield ib
    except IbkitError as error:
        if not opened and "causes" not in error.details:
            error.details["causes"] = await causes(settings, error)
        raise


def banner_of(settings: Settings) -> str:
    """One line on where the command acts: `paper, oauth1a, api.ibkr.com`."""
    if settings.mock:
        return "SIMULATED (BROKER_PROVIDER=mock)"
    address = settings.address
    where = address.host if address.port == 443 else f"{address.host}:{address.port}"
    return f"{settings.environment.value}, {settings.method.value}, {where}"
