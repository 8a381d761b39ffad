"""The permission that an order call carries until its first byte leaves."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass

__all__ = ["SendPermit"]


async def _granted() -> None:
    return None


@dataclass(frozen=True, slots=True)
class SendPermit:
    """Looked at after all waiting (pacing, sign-in), right before the transport.

    send_by: of the clock's monotonic time; a call that comes later does not leave (fault F91).
    check:   raises where the call may not leave any more (a kill switch was pressed meanwhile); its error says so with
             `details["unsent"]`.
    """

    send_by: float
    check: Callable[[], Awaitable[None]] = _granted
