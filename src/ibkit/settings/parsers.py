"""Text of a setting → its value. Each parser raises ValueError with what is wrong and what is allowed."""

from __future__ import annotations

import enum
import json
import re
from collections.abc import Callable, Mapping
from datetime import date
from decimal import Decimal, InvalidOperation
from pathlib import Path
from typing import TypeVar

from ibkit.model.secret import Secret

__all__ = [
    "boolean",
    "choice",
    "day",
    "decimal",
    "duration",
    "integer",
    "items",
    "one_of",
    "path",
    "path_map",
    "pattern",
    "secret",
    "secret_url",
    "text",
]

E = TypeVar("E", bound=enum.Enum)
_TRUE, _FALSE = ("true", "yes", "1", "on"), ("false", "no", "0", "off")
_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86400}
_DURATION = re.compile(r"(\d+(?:\.\d+)?)\s*([a-zA-Z]*)", re.ASCII)


def text(value: str) -> str:
    return value


def secret(value: str) -> Secret[str]:
    return Secret(value)


def secret_url(value: str) -> Secret[str]:
    """An address whose path is a secret; a complaint does not quote it."""
    if not value.lower().startswith(("https://", "http://")):
        raise ValueError("use an address that begins with https:// or http://")
    return Secret(value)


def path(value: str) -> Path:
    return Path(value).expanduser()


def boolean(value: str) -> bool:
    if value.lower() in _TRUE:
        return True
    if value.lower() in _FALSE:
        return False
    raise ValueError(f"use one of {', '.join(_TRUE + _FALSE)}")


def choice(*allowed: str) -> Callable[[str], str]:
    def parse(value: str) -> str:
        if value.lower() not in allowed:
            raise ValueError(f"use one of {', '.join(allowed)}")
        return value.lower()

    return parse


def one_of(kind: type[E]) -> Callable[[str], E]:
    """A member of an enum whose values are lower-case words."""

    def parse(value: str) -> E:
        try:
            return kind(value.lower())
        except ValueError:
            raise ValueError(f"use one of {', '.join(str(member.value) for member in kind)}") from None

    return parse


def integer(minimum: int, maximum: int | None = None) -> Callable[[str], int]:
    form = f"use a whole number from {minimum}" + (f" to {maximum}" if maximum is not None else "")

    def parse(value: str) -> int:
        if not re.fullmatch(r"[+-]?\d{1,12}", value, re.ASCII):
            raise ValueError(form)
        number = int(value)
        if number < minimum or (maximum is not None and number > maximum):
            raise ValueError(form)
        return number

    return parse


def day(value: str) -> date:
    try:
        return date.fromisoformat(value)
    except ValueError:
        raise ValueError("use a day like 2026-11-20") from None


def decimal(minimum: str, maximum: str) -> Callable[[str], Decimal]:
    form = f"use a number from {minimum} to {maximum}"

    def parse(value: str) -> Decimal:
        try:
            number = Decimal(value)
        except InvalidOperation:
            raise ValueError(form) from None
        if not number.is_finite() or not Decimal(minimum) <= number <= Decimal(maximum):
            raise ValueError(form)
        return number

    return parse


def duration(*, unit: str, minimum: float = 0, maximum: float | None = None) -> Callable[[str], float]:
    """A time in `unit` (s, m, h or d), written bare (`30`) or with a unit of its own (`30s`, `2h`)."""
    form = f"use a number of {_unit_name(unit)}, or one with a unit ({', '.join(_UNITS)}), at least {minimum:g}" + (
        f", at most {maximum:g}" if maximum is not None else ""
    )

    def parse(value: str) -> float:
        match = _DURATION.fullmatch(value.strip())
        if match is None or (match[2] and match[2] not in _UNITS):
            raise ValueError(form)
        amount = float(match[1]) * _UNITS[match[2] or unit] / _UNITS[unit]
        if amount < minimum or (maximum is not None and amount > maximum):
            raise ValueError(form)
        return amount

    return parse


def items(
    parse_one: Callable[[str], object] = text, *, allowed: tuple[str, ...] = ()
) -> Callable[[str], tuple[object, ...]]:
    """A list with commas. allowed: the only words there may be."""

    def parse(value: str) -> tuple[object, ...]:
        words = [word.strip() for word in value.split(",") if word.strip()]
        if allowed and any(word not in allowed for word in words):
            raise ValueError(f"use words of {', '.join(allowed)}, with commas between them")
        return tuple(parse_one(word) for word in words)

    return parse


def pattern(expression: str, form: str) -> Callable[[str], str]:
    def parse(value: str) -> str:
        if not re.fullmatch(expression, value, re.ASCII):
            raise ValueError(form)
        return value

    return parse


def path_map(value: str) -> Mapping[str, str]:
    """`{"/tickle": "/other/tickle"}`: API path to API path."""
    form = 'use a JSON object of paths, like {"/tickle": "/v2/tickle"}'
    try:
        found = json.loads(value)
    except json.JSONDecodeError as error:
        raise ValueError(f"{form} (character {error.pos + 1}: {error.msg})") from None
    if not isinstance(found, dict):
        raise ValueError(form)
    for name, target in found.items():
        if not isinstance(target, str) or not name.startswith("/") or not target.startswith("/"):
            raise ValueError(f"{form}; both sides start with /")
        if ".." in target or target.startswith("//"):
            raise ValueError(f"{form}; neither side leaves the API")
    return found


def _unit_name(unit: str) -> str:
    return {"s": "seconds", "m": "minutes", "h": "hours", "d": "days"}[unit]
