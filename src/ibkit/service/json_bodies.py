"""A JSON body, read so that it can mean one thing only: no twin members, no NaN, no number that is none of ours.

Source: requirements GWY-04, GWY-11; reliability rules §6.1.
"""

from __future__ import annotations

import json
from decimal import Decimal
from typing import Any, NoReturn

from ibkit.errors import ConfigError
from ibkit.service.refusals import Refusal

__all__ = ["LARGEST_BODY", "MOST_DEPTH", "read_json"]

LARGEST_BODY = 256 * 1024
MOST_DEPTH = 32
_MOST_DIGITS = 400
_MOST_EXPONENT = 400
"""Beyond these nobody means a number; what is merely too large is told with the name of its field."""


def read_json(body: bytes) -> Any:
    """The value of `body`, numbers as int or exact Decimal. Refusal 400 (E-VALIDATION) naming what is wrong where."""
    if not body.strip():
        raise _unreadable("it is empty")
    if body.startswith(b"\xef\xbb\xbf"):
        raise _unreadable("it begins with a byte order mark")
    try:
        text = body.decode("utf-8")
    except UnicodeDecodeError as error:
        raise _unreadable(f"it is not UTF-8 (byte {error.start})") from None
    if text.count("[") + text.count("{") > MOST_DEPTH and _deepest(text) > MOST_DEPTH:
        raise _unreadable(f"it is nested deeper than {MOST_DEPTH}")
    try:
        value = json.loads(
            text, object_pairs_hook=_object, parse_float=_number, parse_int=_integer, parse_constant=_constant
        )
    except json.JSONDecodeError as error:
        raise _unreadable(f"{error.msg} (line {error.lineno}, column {error.colno})") from None
    if "\\u" in text:  # UTF-8 has no half pairs, and JSON no plain NUL: only an escape can bring them in
        _refuse_odd_text(value)
    return value


def _unreadable(why: str) -> Refusal:
    return Refusal(
        400,
        ConfigError(
            f"Invalid request: body: {why}",
            code="E-VALIDATION",
            remedy="Send one JSON object in UTF-8.",
            details={"errors": [{"field": "body", "message": why}]},
        ),
    )


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name, value in pairs:
        if name in found:
            raise _unreadable(f"member {name[:40]!r} stands twice")
        found[name] = value
    return found


def _constant(text: str) -> NoReturn:
    raise _unreadable(f"{text} is no number of JSON")


def _integer(text: str) -> int:
    if len(text) > _MOST_DIGITS:
        raise _unreadable(f"a number has more than {_MOST_DIGITS} digits")
    return int(text)


def _number(text: str) -> Decimal:
    digits, _, exponent = text.lower().partition("e")
    if len(digits) > _MOST_DIGITS or abs(int(exponent[:8] or 0)) > _MOST_EXPONENT:
        raise _unreadable(f"a number has more than {_MOST_DIGITS} digits, or an exponent beyond {_MOST_EXPONENT}")
    return Decimal(text)


def _deepest(text: str) -> int:
    """How deep brackets are nested, those within texts not counted: before the parser follows them."""
    depth = deepest = 0
    quoted = escaped = False
    for letter in text:
        if quoted:
            if escaped:
                escaped = False
            elif letter == "\\":
                escaped = True
            elif letter == '"':
                quoted = False
        elif letter == '"':
            quoted = True
        elif letter in "[{":
            depth += 1
            deepest = max(deepest, depth)
        elif letter in "]}":
            depth -= 1
    return deepest


def _refuse_odd_text(value: Any) -> None:
    match value:
        case str():
            if "\0" in value:
                raise _unreadable("a text holds a NUL")
            if any("\ud800" <= letter <= "\udfff" for letter in value):
                raise _unreadable("a text holds half of a surrogate pair")
        case dict():
            for name, member in value.items():
                _refuse_odd_text(name)
                _refuse_odd_text(member)
        case list():
            for member in value:
                _refuse_odd_text(member)
        case _:
            pass
