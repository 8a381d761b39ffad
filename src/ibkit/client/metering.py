"""Who counts the calls to IBKR. Without a meter nothing is counted and nothing is measured."""

from __future__ import annotations

import logging
from typing import Protocol

from ibkit.wire.endpoint import Endpoint

__all__ = ["CallLog", "Meter", "Meters"]

log = logging.getLogger(__name__)


class Meter(Protocol):
    """Called in the task that asks: it neither waits nor raises.

    An exchange is what a caller asked for; it takes one attempt, or several where a read is repeated. Sign-ins and
    keep-alive are attempts alone.
    """

    def waited(self, endpoint: Endpoint, seconds: float) -> None:
        """An attempt was held back for the rate limit, by so many seconds."""
        ...

    def began(self, endpoint: Endpoint) -> None:
        """A request goes on the line, and holds one connection of the pool until `attempted`."""
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


class Meters:
    """Several meters as one."""

    def __init__(self, *meters: Meter) -> None:
        self._meters = meters

    def waited(self, endpoint: Endpoint, seconds: float) -> None:
        for each in self._meters:
            each.waited(endpoint, seconds)

    def began(self, endpoint: Endpoint) -> None:
        for each in self._meters:
            each.began(endpoint)

    def attempted(self, endpoint: Endpoint, *, seconds: float, sent: int, received: int, status: int) -> None:
        for each in self._meters:
            each.attempted(endpoint, seconds=seconds, sent=sent, received=received, status=status)

    def repeated(self, endpoint: Endpoint) -> None:
        for each in self._meters:
            each.repeated(endpoint)

    def answered(self, endpoint: Endpoint, code: str) -> None:
        for each in self._meters:
            each.answered(endpoint, code)


class CallLog:
    """A line for each request to IBKR at DEBUG, and for each call that failed at INFO. Source: requirement MON-13.

    Paths are those of the catalogue, so that no account is in them.
    """

    def waited(self, endpoint: Endpoint, seconds: float) -> None:
        """Its own line would say little: the call's follows."""

    def began(self, endpoint: Endpoint) -> None:
        """As `waited`."""

    def attempted(self, endpoint: Endpoint, *, seconds: float, sent: int, received: int, status: int) -> None:
        log.debug(
            "broker call",
            extra={
                "method": endpoint.method,
                "path": endpoint.path,
                "status": status,
                "ms": round(seconds * 1000),
                "sent": sent,
                "received": received,
            },
        )

    def repeated(self, endpoint: Endpoint) -> None:
        log.debug("broker call repeated", extra={"method": endpoint.method, "path": endpoint.path})

    def answered(self, endpoint: Endpoint, code: str) -> None:
        if code:
            log.info("broker call failed", extra={"method": endpoint.method, "path": endpoint.path, "code": code})
