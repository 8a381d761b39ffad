"""One operation of the interface, as its description tells it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import msgspec

__all__ = ["Operation", "query"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Operation:
    """answers: status → what is given. errors: statuses that are told as a problem. signed: needs who asks.

    counted: of a read, whether it counts for the rate of reads; then it may be answered with 429.
    gives_file, takes_file: media types of a file in place of a document.
    """

    path: str
    method: str
    name: str
    summary: str
    answers: Mapping[int, type[msgspec.Struct] | None]
    errors: Sequence[int] = ()
    takes: type[msgspec.Struct] | None = None
    examples: Mapping[str, Any] = field(default_factory=dict)
    parameters: Sequence[Mapping[str, Any]] = ()
    signed: bool = True
    also_under_api: bool = False
    counted: bool = True
    gives_file: Sequence[str] = ()
    takes_file: Sequence[str] = ()


def query(name: str, schema: Mapping[str, Any], description: str) -> Mapping[str, Any]:
    return {"name": name, "in": "query", "required": False, "schema": schema, "description": description}
