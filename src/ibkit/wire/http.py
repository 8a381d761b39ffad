"""A request and a response as plain values: what `wire` makes and reads, what transports and faces carry."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

__all__ = ["Request", "Response"]


@dataclass(frozen=True, slots=True)
class Request:
    """url: absolute, query included as sent. headers: names as sent; a dict, so each name once."""

    method: str
    url: str
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b""

    def __repr__(self) -> str:
        # Headers carry signatures and bearers, bodies carry assertions: neither is shown.
        return f"Request({self.method} {self.url.split('?')[0]})"


@dataclass(frozen=True, slots=True)
class Response:
    """headers: names in lower case."""

    status: int
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b""

    def __repr__(self) -> str:
        return f"Response({self.status}, {len(self.body)} bytes)"
