"""Work that must not be torn by a Ctrl-C: it runs to its end, within a bound, and then the cancellation goes on."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TypeVar

import anyio

__all__ = ["sheltered"]

T = TypeVar("T")


async def sheltered(work: Callable[[], Awaitable[T]], *, within_s: float) -> T:
    """The result of `work`, which a cancellation of the caller does not interrupt. TimeoutError after `within_s`.

    The work has a task of its own: a shielded scope alone would hold against anyio's cancellation, but not against
    asyncio's `Task.cancel`, which is how `asyncio.run` turns a Ctrl-C into an end.
    """
    results: list[T] = []
    errors: list[Exception] = []

    async def run() -> None:
        try:
            with anyio.CancelScope(shield=True), anyio.fail_after(within_s):
                results.append(await work())
        except Exception as error:  # noqa: BLE001  # handed to the caller below, unchanged and without a group around it
            errors.append(error)

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(run)
    if errors:
        raise errors[0]
    return results[0]
