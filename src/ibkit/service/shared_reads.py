"""One reading for all who ask for the same within a moment: many pages cost the broker as much as one."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Hashable
from dataclasses import dataclass, field
from typing import Any, Final, Generic, TypeVar

import anyio

from ibkit.errors import IbkitError

__all__ = ["SharedReads"]

T = TypeVar("T")
_MOST: Final = 64


@dataclass(slots=True)
class _Kept:
    """of: whose reading it is, held so that no other has its identity. until: by the monotonic clock of who asks."""

    of: object
    lock: anyio.Lock = field(default_factory=anyio.Lock)
    value: Any = None
    error: IbkitError | None = None
    until: float | None = None


class SharedReads(Generic[T]):
    """age_s: how long an answer, or a refusal, is that of everybody who asks."""

    def __init__(self, age_s: float) -> None:
        self._age_s = age_s
        self._kept: dict[tuple[int, Hashable], _Kept] = {}

    async def of(
        self, whose: object, what: Hashable, read: Callable[[], Awaitable[T]], monotonic: Callable[[], float]
    ) -> T:
        """whose: the login. Whoever comes while it is read waits for that very reading."""
        key = (id(whose), what)
        kept = self._kept.pop(key, None) or _Kept(whose)
        self._kept[key] = kept  # the one asked last is the last to be forgotten
        while len(self._kept) > _MOST:
            del self._kept[next(iter(self._kept))]
        async with kept.lock:
            if kept.until is None or monotonic() >= kept.until:
                kept.value, kept.error = None, None
                try:
                    kept.value = await read()
                except IbkitError as error:
                    kept.error = error
                kept.until = monotonic() + self._age_s
            if kept.error is not None:
                raise kept.error
            value: T = kept.value
            return value
