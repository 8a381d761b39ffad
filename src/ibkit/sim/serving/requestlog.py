"""The log of received requests: what came in and how it was answered, without a single secret.

Header names only, never their values; bodies only of API calls in JSON (orders, init), never of token calls.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qsl

__all__ = ["Entry", "RequestLog"]

_KEPT = 20_000
_HIDDEN = frozenset({"oauth_token", "oauth_verifier", "bearer_token", "sessionToken", "t"})
"""t: the token of the Flex Web Service."""


@dataclass(slots=True)
class Entry:
    """One request. at: the world's time. status None: the connection broke before an answer."""

    id: int
    at: str
    face: str
    peer: str
    method: str
    path: str
    query: dict[str, str]
    headers: list[str]
    endpoint: str | None = None
    user: str | None = None
    body: Any = None
    status: int | None = None
    fault: str | None = None
    notes: dict[str, Any] = field(default_factory=dict)


class RequestLog:
    """The newest requests, oldest first; numbers go on when old ones fall out."""

    def __init__(self) -> None:
        self._entries: deque[Entry] = deque(maxlen=_KEPT)
        self._count = 0

    def open(self, *, at: str, face: str, peer: str, method: str, path: str, query: str, headers: list[str]) -> Entry:
        self._count += 1
        pairs = dict(parse_qsl(query, keep_blank_values=True))
        shown = {name: "…" if name in _HIDDEN else value for name, value in pairs.items()}
        entry = Entry(self._count, at, face, peer, method, path, shown, headers)
        self._entries.append(entry)
        return entry

    def entries(self) -> list[Entry]:
        return list(self._entries)

    def clear(self) -> None:
        self._entries.clear()
        self._count = 0
