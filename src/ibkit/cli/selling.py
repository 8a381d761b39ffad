"""A sale at the command line: Ctrl-C only ends the waiting, never the protection."""

from __future__ import annotations

import signal
import threading
from collections.abc import Awaitable, Callable, Sequence

import anyio

from ibkit.model import Order
from ibkit.trading import TradeResult

__all__ = ["interruptible", "shown"]

_SHOWN_ORDERS = 10
_SIGNALS = (signal.SIGINT, signal.SIGTERM)


async def interruptible(work: Callable[[], Awaitable[TradeResult]]) -> tuple[TradeResult | None, bool]:
    """The result of `work`, and whether Ctrl-C (or a termination) came meanwhile: it then only ends the waiting."""
    if threading.current_thread() is not threading.main_thread():
        return await work(), False
    # The loop forgets who handled the signals before, and leaves the system's defaults behind.
    before = {number: signal.getsignal(number) for number in _SIGNALS}
    try:
        return await _while_listening(work)
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


async def _while_listening(work: Callable[[], Awaitable[TradeResult]]) -> tuple[TradeResult | None, bool]:
    results: list[TradeResult] = []
    came = False
    async with anyio.create_task_group() as tasks:
        selling = anyio.CancelScope()

        async def listen(*, task_status: anyio.abc.TaskStatus[None] = anyio.TASK_STATUS_IGNORED) -> None:
            nonlocal came
            with anyio.open_signal_receiver(*_SIGNALS) as signals:
                task_status.started()
                async for _ in signals:
                    came = True
                    selling.cancel()

        await tasks.start(listen)
        with selling:
            results.append(await work())
        tasks.cancel_scope.cancel()
    return (results[0] if results else None), came


def shown(orders: Sequence[Order]) -> Sequence[Order]:
    return orders[:_SHOWN_ORDERS]
