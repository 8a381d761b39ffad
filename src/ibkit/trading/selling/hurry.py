"""Work that a cancellation only hastens: it runs to its end, is told, and then the cancellation goes on."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TypeVar

import anyio

from ibkit.errors import IbkitError

__all__ = ["HURRY_S", "Hurry", "unbroken"]

HURRY_S = 120.0
"""How long a cancelled sale may go on to protect what it sold."""

T = TypeVar("T")


class Hurry:
    """Set when the caller was cancelled: waits end, protection goes on."""

    def __init__(self) -> None:
        self.now = False

    def __call__(self) -> bool:
        return self.now


async def unbroken(
    work: Callable[[Hurry], Awaitable[T]],
    *,
    on_interrupt: Callable[[], None],
    at_end: Callable[[T | None, IbkitError | None], None],
) -> T:
    """`work` to its end, within HURRY_S once the caller was cancelled. Its IbkitError is raised as it is.

    on_interrupt: called when the cancellation comes. at_end: called with the result, or the error, or neither where the
                  time was up, before the cancellation goes on.
    """
    hurry, done = Hurry(), anyio.Event()
    scope = anyio.CancelScope(shield=True)
    results: list[T] = []
    errors: list[IbkitError] = []

    async def run() -> None:
        try:
            with scope:
                results.append(await work(hurry))
        except IbkitError as error:
            errors.append(error)
        finally:
            done.set()

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(run)
        try:
            await done.wait()
        except BaseException:
            hurry.now = True
            scope.deadline = anyio.current_time() + HURRY_S
            on_interrupt()
            with anyio.CancelScope(shield=True):
                await done.wait()
            at_end(results[0] if results else None, errors[0] if errors else None)
            raise
    if errors:
        raise errors[0]
    return results[0]
