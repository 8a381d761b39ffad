"""Settings → a `Connection` with its books, its client, its record and whom it alerts; nothing is sent yet."""

from __future__ import annotations

import dataclasses
import tempfile
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from ibkit.bootstrap.alerting import PARTS, alerting_of, beside, connection_of, whose_of
from ibkit.bootstrap.clients import client_of
from ibkit.bootstrap.connections import Confirm, Connection, nobody_asked
from ibkit.bootstrap.desks import open_books
from ibkit.bootstrap.edge import edges
from ibkit.bootstrap.measuring import Measuring
from ibkit.bootstrap.pauses import waiting_in
from ibkit.bootstrap.session_book import PART, open_session_book
from ibkit.model import Environment
from ibkit.settings import Settings
from ibkit.store.connection_rows import ConnectionRow
from ibkit.trading import Observer
from ibkit.trading.timeline import unobserved

if TYPE_CHECKING:
    from ibkit.bootstrap.trading_client import TradingClient

__all__ = ["open_connection"]


@asynccontextmanager
async def open_connection(
    settings: Settings,
    *,
    observe: Observer = unobserved,
    confirm: Confirm = nobody_asked,
    row: ConnectionRow | None = None,
) -> AsyncIterator[Connection]:
    """The books and a client that is not signed in yet. ConfigError, StorageError; nothing is sent.

    row: as which it is kept; the connection of the settings by default.
    """
    async with AsyncExitStack() as stack:
        measuring = Measuring(connection_of(settings))
        settings, another = await _clients(settings, stack, measuring)
        client = another(True)
        measuring.signed_in_at = lambda: client.keeper.signed_in_at
        books = await stack.enter_async_context(open_books(settings, clock=client.clock, also=(*PARTS, PART)))
        assert books.records is not None, "the service keeps its records in the database"
        whose = whose_of(settings, books.records)
        alerting = alerting_of(settings, books.records, alerts=books.alerts, clock=client.clock, whose=whose)
        if edges().keep_alive:
            await stack.enter_async_context(beside(alerting.dispatcher.run))
            await stack.enter_async_context(beside(measuring.recorder(settings, books, client.clock).run))
        await stack.enter_async_context(client)
        book = await stack.enter_async_context(
            open_session_book(settings, books.records, alerting, client.clock, row=row)
        )
        book.waiting = waiting_in(books.trades, books.alerts)
        yield Connection(
            settings=settings,
            client=client,
            books=books,
            another=lambda: another(False),
            alerting=alerting,
            measuring=measuring,
            book=book,
            wanted=book.row.wanted,
            observe=measuring.counting(observe),
            confirm=confirm,
        )


async def _clients(
    settings: Settings, stack: AsyncExitStack, measuring: Measuring
) -> tuple[Settings, Callable[[bool], TradingClient]]:
    """The settings as they hold here, and what makes a client, which keeps its session alive or does not."""
    if not settings.mock:
        return settings, lambda lasting: client_of(settings, upto=None, keep_alive=lasting, meter=measuring.meter)
    from ibkit.bootstrap.mock import mock_client, running_world

    place = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="ibkit-mock-")))
    general = dataclasses.replace(settings.general, state_dir=place, account_id=None, environment=Environment.PAPER)
    settings = dataclasses.replace(settings, general=general)
    world = await stack.enter_async_context(running_world())
    return settings, lambda lasting: mock_client(settings, upto=None, world=world)
