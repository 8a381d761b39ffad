"""A JSON object into a struct of ours, all of its mistakes told at once."""

from __future__ import annotations

import re
from collections.abc import Mapping
from decimal import Decimal
from difflib import get_close_matches
from functools import cache
from typing import Any, Literal, TypeVar, get_args, get_origin

import msgspec

from ibkit.errors import discreet
from ibkit.service.refusals import invalid

__all__ = ["problems_of", "read_struct"]

S = TypeVar("S", bound=msgspec.Struct)


@discreet
def read_struct(kind: type[S], value: Any) -> S:
    """`value` as a `kind`. ConfigError (E-VALIDATION) naming every field that is missing, unknown or wrong.

    What stood in them, a password or a token, is in none of its frames.
    """
    if not isinstance(value, Mapping):
        raise invalid(("body", f"it is {_kind(value)}, not an object"))
    found, problems = problems_of(kind, value)
    if found is None:
        raise invalid(*problems)
    return found


def problems_of(kind: type[S], value: Mapping[str, Any]) -> tuple[S | None, list[tuple[str, str]]]:
    """The struct, or what is wrong with its fields by themselves."""
    fields, decimals = _fields(kind)
    if not any(isinstance(value.get(name), str) for name in decimals):
        try:  # what is right is read at once; what is wrong is looked at field by field
            return msgspec.convert(value, kind, strict=True), []
        except msgspec.ValidationError:
            pass
    problems = [(name, _unknown(name, fields)) for name in value if name not in fields]
    given: dict[str, Any] = {}
    for name, field in fields.items():
        if name not in value:
            if field.required:
                problems.append((name, "it is missing"))
            continue
        if name in decimals and isinstance(value[name], str):
            problems.append((name, f"Expected a number, got a text{_comma(value[name])}"))
            continue
        try:
            given[field.name] = msgspec.convert(value[name], field.type, strict=True)
        except msgspec.ValidationError as error:
            problems.append((name, f"{_plain(str(error), field.type)}{_comma(value[name])}"))
    return (None, problems) if problems else (kind(**given), [])


@cache
def _fields(kind: type[msgspec.Struct]) -> tuple[Mapping[str, msgspec.structs.FieldInfo], frozenset[str]]:
    """By their names in JSON, and which of them are decimals. Kept: to find them out takes a millisecond."""
    fields = {field.encode_name: field for field in msgspec.structs.fields(kind)}
    return fields, frozenset(name for name, field in fields.items() if _is_decimal(field.type))


def _unknown(name: str, known: Mapping[str, object]) -> str:
    near = get_close_matches(name, known, n=1)
    return f"there is no such field; did you mean {near[0]}?" if near else "there is no such field"


def _is_decimal(kind: Any) -> bool:
    """msgspec takes texts for decimals; an order's number in quotes is more likely a mistake."""
    return kind is Decimal or any(_is_decimal(part) for part in get_args(kind))


def _plain(told: str, kind: Any) -> str:
    """msgspec's words, without the path of a value that has none; of a choice with what there is to choose."""
    words = told.removesuffix(" - at `$`").replace("`", "")
    choices = _choices(kind)
    return f"{words}; it is one of {', '.join(choices)}" if choices else words


def _comma(value: object) -> str:
    """What to do about a number that was typed with a comma, which some read as thousands and some as a fraction."""
    if not isinstance(value, str) or not re.fullmatch(r"[+-]?[0-9]*(,[0-9]*)+(\.[0-9]*)?", value):
        return ""
    return "; write it with a point and without commas, like 12.5"


def _choices(kind: Any) -> tuple[str, ...]:
    if get_origin(kind) is Literal:
        return tuple(str(choice) for choice in get_args(kind))
    return next((found for part in get_args(kind) if (found := _choices(part))), ())


def _kind(value: Any) -> str:
    match value:
        case None:
            return "null"
        case list():
            return "a list"
        case str():
            return "a text"
        case _:
            return "a number" if not isinstance(value, bool) else "a boolean"
