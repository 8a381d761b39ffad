"""What is wrong with the settings, collected so that all of it is said at once (CFG-03)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from ibkit.error_catalogue import CATALOGUE
from ibkit.errors import ConfigError

__all__ = ["Problem", "conflict", "invalid", "problem", "raise_all"]


@dataclass(frozen=True, slots=True)
class Problem:
    """names: the variables it is about."""

    code: str
    message: str
    remedy: str
    names: tuple[str, ...]


def problem(code: str, message: str, *names: str, remedy: str | None = None) -> Problem:
    return Problem(code, message, remedy if remedy is not None else CATALOGUE[code].remedy, names)


def invalid(name: str, reason: str, *, remedy: str | None = None) -> Problem:
    """A setting with a wrong value. The value itself is not repeated: it may be a secret."""
    return problem("E-CONFIG", f"Setting invalid: {name}: {reason}", name, remedy=remedy or f"Correct {name}.")


def conflict(first: str, second: str, why: str) -> Problem:
    return problem(
        "E-CONFIG-CONFLICT",
        f"Conflicting settings: {first} and {second}: {why}",
        first,
        second,
        remedy="Keep one of the two.",
    )


def raise_all(problems: Sequence[Problem]) -> None:
    """One error for all of them; the first one's code decides the exit code."""
    if not problems:
        return
    raise ConfigError(
        "\n".join(each.message for each in problems),
        code=problems[0].code,
        remedy="\n".join(dict.fromkeys(each.remedy for each in problems)),
        details={
            "problems": [
                {"code": p.code, "message": p.message, "remedy": p.remedy, "names": list(p.names)} for p in problems
            ]
        },
    )
