"""Text to values, and what is said of text that is none."""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal

import pytest

from ibkit.settings import parsers


@pytest.mark.requirement("CFG-03")
def test_words_for_yes_and_no() -> None:
    assert all(parsers.boolean(text) for text in ("true", "Yes", "1", "on"))
    assert not any(parsers.boolean(text) for text in ("false", "OFF", "0", "no"))


@pytest.mark.requirement("CFG-03")
@pytest.mark.parametrize(("text", "seconds"), [("30", 30), ("30s", 30), ("1m", 60), ("0.5h", 1800), ("1 d", 86400)])
def test_times_with_and_without_a_unit(text: str, seconds: float) -> None:
    assert parsers.duration(unit="s")(text) == seconds
    assert parsers.duration(unit="m")("2h") == 120


@pytest.mark.requirement("CFG-03")
@pytest.mark.parametrize(
    ("parse", "text", "said"),
    [
        (parsers.boolean, "maybe", "true, yes, 1, on"),
        (parsers.duration(unit="s", minimum=1), "0", "at least 1"),
        (parsers.duration(unit="s"), "-5", "seconds"),
        (parsers.duration(unit="s"), "5 weeks", "s, m, h, d"),
        (parsers.duration(unit="s"), "٣", "seconds"),
        (parsers.integer(1, 65535), "65536", "1 to 65535"),
        (parsers.integer(1), "1e3", "whole number"),
        (parsers.integer(0), "１", "whole number"),
        (parsers.decimal("0.1", "100"), "NaN", "0.1 to 100"),
        (parsers.decimal("0.1", "100"), "x", "0.1 to 100"),
        (parsers.items(allowed=("a", "b")), "a,c", "use words of a, b"),
        (parsers.path_map, "[1]", "JSON object"),
        (parsers.path_map, '{"/a": "b"}', "start with /"),
        (parsers.path_map, '{"/a": "/../b"}', "leaves the API"),
        (parsers.path_map, "{", "character"),
    ],
)
def test_what_is_wrong_is_said_with_what_is_allowed(parse: Callable[[str], object], text: str, said: str) -> None:
    with pytest.raises(ValueError, match=said.replace("(", "\\(")):
        parse(text)


def test_lists_and_numbers() -> None:
    assert parsers.items()(" a, b ,,c") == ("a", "b", "c")
    assert parsers.decimal("0.1", "100")("5.5") == Decimal("5.5")
    assert parsers.path_map('{"/tickle": "/v2/tickle"}') == {"/tickle": "/v2/tickle"}
