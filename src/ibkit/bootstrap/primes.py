"""Looking for a safe prime on all processors at once; the first process that finds one ends the search."""

from __future__ import annotations

import multiprocessing
import os
import queue
import secrets
from collections.abc import Callable
from multiprocessing.queues import Queue as ProcessQueue

from ibkit.errors import IbkitError
from ibkit.wire.dh import find_safe_prime

__all__ = ["search"]

_REPORT_EVERY = 20


def search(bits: int, progress: Callable[[int], None], *, processes: int | None = None, apart: bool = False) -> int:
    """A safe prime of `bits` bits. progress: called now and then with how many numbers all have tried together; what
    it raises ends the search.

    apart: for a service: never in this process, of lower priority, and one processor is left to others.
    """
    there = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else 1
    count = processes or min(4, max(1, there - 1) if apart else there)
    if count < 2 and not apart:
        return find_safe_prime(bits, secrets.token_bytes, progress)
    context = multiprocessing.get_context("spawn")
    found: ProcessQueue[int] = context.Queue()
    tried: ProcessQueue[int] = context.Queue()
    workers = [context.Process(target=_work, args=(bits, found, tried, apart), daemon=True) for _ in range(count)]
    for worker in workers:
        worker.start()
    try:
        return _first(found, tried, progress, lambda: any(worker.is_alive() for worker in workers))
    finally:
        for worker in workers:
            worker.terminate()
        for worker in workers:
            worker.join()


def _first(
    found: ProcessQueue[int], tried: ProcessQueue[int], progress: Callable[[int], None], alive: Callable[[], bool]
) -> int:
    total = 0
    while True:
        lives = alive()
        try:
            return found.get(timeout=0.2)
        except queue.Empty:
            if not lives:
                raise IbkitError("The search for a prime ended without one", code="E-INTERNAL") from None
        while True:
            try:
                total += tried.get_nowait()
            except queue.Empty:
                break
        progress(total)


def _work(bits: int, found: ProcessQueue[int], tried: ProcessQueue[int], apart: bool) -> None:
    if apart and hasattr(os, "nice"):
        os.nice(10)

    def count(so_far: int) -> None:
        if so_far % _REPORT_EVERY == 0:
            tried.put(_REPORT_EVERY)

    try:
        found.put(find_safe_prime(bits, secrets.token_bytes, count))
    except KeyboardInterrupt:
        # Ctrl-C reaches every process of the terminal; the parent tells the user.
        return
