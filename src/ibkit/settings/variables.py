"""What a setting is: a dataclass field that knows its variable, its parser and what it is for.

`groups.py` declares them all; `.env.example`, `ibkit config` and the checks read them from there.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from ibkit.model.secret import Secret, mask

__all__ = ["Variable", "masked", "variable", "variables_of"]


@dataclass(frozen=True, slots=True)
class Variable:
    """default: as a person would write it; "" is unset.

    credential: may carry the suffix _PAPER or _LIVE. hidden: shown masked. shown_default: for defaults made elsewhere.
    """

    name: str
    default: str
    parse: Callable[[str], Any]
    meaning: str
    credential: bool = False
    hidden: bool = False
    shown_default: str | None = None
    group: str = ""
    field: str = ""


def variable(
    name: str,
    default: str,
    parse: Callable[[str], Any],
    meaning: str,
    *,
    credential: bool = False,
    hidden: bool = False,
    shown_default: str | None = None,
) -> Any:
    """A dataclass field read from the variable `name`."""
    entry = Variable(name, default, parse, meaning, credential, hidden, shown_default)
    return dataclasses.field(default_factory=lambda: parse(default) if default else None, metadata={"variable": entry})


def variables_of(group: str, kind: type[Any]) -> tuple[Variable, ...]:
    """The variables that a group's fields declare, in order."""
    return tuple(
        dataclasses.replace(field.metadata["variable"], group=group, field=field.name)
        for field in dataclasses.fields(kind)
    )


def masked(value: object) -> str:
    """At most the first four characters, and of short secrets none (CFG-02)."""
    shown = value.reveal() if isinstance(value, Secret) else value
    return mask(shown.decode("latin-1") if isinstance(shown, bytes) else str(shown))
