"""The order journal alone, for commands that need neither the network nor a sign-in."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, TypeVar

from ibkit.cli import context
from ibkit.cli.running import go
from ibkit.errors import NotFound

if TYPE_CHECKING:
    from ibkit.store.journal import SqliteJournal

__all__ = ["with_journal"]

T = TypeVar("T")


def with_journal(work: Callable[[SqliteJournal], Awaitable[T]]) -> T:
    from ibkit.bootstrap.desks import journal_path
    from ibkit.clock import SystemClock
    from ibkit.store import open_journal

    settings = context.load_settings(require_method=False)
    path = journal_path(settings)

    async def run() -> T:
        if not path.exists():
            raise NotFound(
                f"Order journal not found: {path}",
                code="E-NOT-FOUND",
                remedy="It is made by the first order; check IBKIT_STATE_DIR if there was one.",
            )
        async with open_journal(path, clock=SystemClock()) as journal:
            return await work(journal)

    return go(run)
