"""Every text that a page shows, in one catalogue: the files of `texts/`, one for each group of pages. UI-16."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from functools import cache
from importlib.resources import files
from typing import Any

__all__ = ["catalogue", "text"]


@cache
def catalogue() -> Mapping[str, str]:
    """Text by its dotted name. ValueError for a name that stands in two files."""
    found: dict[str, str] = {}
    for entry in sorted(files("ibkit.service.web").joinpath("texts").iterdir(), key=lambda each: each.name):
        for name, told in _flat("", tomllib.loads(entry.read_text("utf-8"))):
            if name in found:
                raise ValueError(f"the text {name} stands twice")
            found[name] = told
    return found


def _flat(before: str, table: Mapping[str, Any]) -> list[tuple[str, str]]:
    found: list[tuple[str, str]] = []
    for name, value in table.items():
        if isinstance(value, dict):
            found += _flat(f"{before}{name}.", value)
        else:
            found.append((f"{before}{name}", str(value)))
    return found


def text(name: str, /, **values: Any) -> str:
    """KeyError for a text that is not there: a page that asks for it is wrong, and its test fails."""
    found = catalogue()[name]
    return found.format_map(values) if values else found
