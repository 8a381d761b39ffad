"""A request and a response as plain values: what `wire` makes and reads, what transports and faces carry.

Structs, as three are made for each call: a frozen dataclass costs five times as much to make.
"""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

__all__ = ["Request", "Response"]


class Request(msgspec.Struct, frozen=True):
    """url: absolute, query included as sent. headers: names as sent; a dict, so each name once."""

    method: str
    url: str
    headers: Mapping[str, str] = {}
    body: bytes = b""

    def __repr__(self) -> str:
        # Headers carry signatures and bearers, bodies carry assertions: neither is shown.
        return f"Request({self.method} {self.url.split('?')[0]})"


class Response(msgspec.Struct, frozen=True):
    """headers: names in lower case."""

    status: int
    headers: Mapping[str, str] = {}
    body: bytes = b""

    def __repr__(self) -> str:
        return f"Response({self.status}, {len(self.body)} bytes)"
