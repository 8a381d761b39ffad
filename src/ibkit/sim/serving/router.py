"""Which endpoint of the catalogue a path means. Words win over parameters; a trailing slash is ignored."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from urllib.parse import unquote

from ibkit.wire.catalogue import ENDPOINTS
from ibkit.wire.endpoint import Endpoint

__all__ = ["Match", "find_endpoint", "is_served_path"]


@dataclass(frozen=True, slots=True)
class Match:
    name: str
    endpoint: Endpoint
    path: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class _Row:
    name: str
    endpoint: Endpoint
    segments: tuple[str, ...]

    def match(self, segments: list[str]) -> dict[str, str] | None:
        found: dict[str, str] = {}
        for own, given in zip(self.segments, segments, strict=True):
            if own.startswith("{"):
                found[own[1:-1]] = given
            elif own != given:
                return None
        return found


def _rows() -> dict[int, list[_Row]]:
    rows: dict[int, list[_Row]] = {}
    for name, endpoint in ENDPOINTS.items():
        segments = tuple((endpoint.base.value + endpoint.path).strip("/").split("/"))
        rows.setdefault(len(segments), []).append(_Row(name, endpoint, segments))
    for same_length in rows.values():
        same_length.sort(key=lambda row: [segment.startswith("{") for segment in row.segments])
    return rows


_ROWS = _rows()


def _segments(path: str) -> list[str]:
    return [unquote(segment) for segment in path.rstrip("/").lstrip("/").split("/")]


@lru_cache(maxsize=4096)
def find_endpoint(method: str, path: str) -> Match | None:
    """The endpoint of a path as sent (percent-encoded, without its query), or None. Remembered: few are asked for."""
    segments = _segments(path)
    for row in _ROWS.get(len(segments), ()):
        if method in row.endpoint.methods:
            parameters = row.match(segments)
            if parameters is not None:
                return Match(row.name, row.endpoint, parameters)
    return None


def is_served_path(path: str) -> bool:
    """Whether the path is known under any method."""
    segments = _segments(path)
    return any(row.match(segments) is not None for row in _ROWS.get(len(segments), ()))
