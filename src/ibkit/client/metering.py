"""Who counts the calls to IBKR. Without a meter nothing is counted and nothing is measured."""

from __future__ import annotations

from typing import Protocol

from ibkit.wire.endpoint import Endpoint

__all__ = ["Meter"]


class Meter(Protocol):
    """Called in the task that asks: it neither waits nor raises.

    An exchange is what a caller asked for; it takes one attempt, or several where a read is repeated. Sign-ins and
    keep-alive are attempts alone.
    """

    def waited(self, endpoint: Endpoint, seconds: float) -> None:
        """An attempt was held back for the rate limit, by so many seconds."""
        ...

    def attempted(self, endpoint: Endpoint, *, seconds: float, sent: int, received: int, status: int) -> None:
        """One request on the line. sent, received: bytes of the bodies. status: 0 where no answer came."""
        ...

    def repeated(self, endpoint: Endpoint) -> None:
        """The exchange goes on with another attempt."""
        ...

    def answered(self, endpoint: Endpoint, code: str) -> None:
        """The exchange is over. code: that of its error, "" where it succeeded."""
        ...
