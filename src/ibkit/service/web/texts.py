"""Every text that a page shows, in one catalogue: `texts.toml`. Requirement UI-16."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from functools import cache
from importlib.resources import files
from typing import Any

__all__ = ["catalogue", "text"]


@cache
def catalogue() -> Mapping[str, str]:
    """Text by its dotted name."""
    read = tomllib.loads(files("ibkit.service.web").joinpath("texts.toml").read_text("utf-8"))
    return dict(_flat("", read))


def _flat(before: str, table: Mapping[str, Any]) -> list[tuple[str, str]]:
    found: list[tuple[str, str]] = []
    for name, value in table.items():
        if isinstance(value, dict):
            found += _flat(f"{before}{name}.", value)
        else:
            found.append((f"{before}{name}", str(value)))
    return found


def text(name: str, **values: Any) -> str:
    """KeyError for a text that is not there: a page that asks for it is wrong, and its test fails."""
    found = catalogue()[name]
    return found.format_map(values) if values else found
