"""Settings files as people write them."""

from __future__ import annotations

import contextlib
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ibkit.errors import ConfigError
from ibkit.settings.envfile import parse, read


@pytest.mark.requirement("CFG-01")
def test_each_form_of_a_line() -> None:
    text = (
        "# a comment\n"
        "\n"
        "A=bare value  # with a remark\n"
        "export B='as it is \\n $HOME'\n"
        'C="two\\nlines \\"quoted\\" \\\\"   # remark\n'
        "D=\n"
        "E = spaced\r\n"
        "F=a#b\n"
        'G="-----BEGIN KEY-----\nabc\n-----END KEY-----"\n'
        "H=last"
    )

    assert parse(text) == {
        "A": "bare value",
        "B": "as it is \\n $HOME",
        "C": 'two\nlines "quoted" \\',
        "D": "",
        "E": "spaced",
        "F": "a#b",
        "G": "-----BEGIN KEY-----\nabc\n-----END KEY-----",
        "H": "last",
    }


@pytest.mark.requirement("CFG-01")
@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("A=1\nthis is no setting\n", "line 2 is not NAME=value"),
        ("A=1\nB=2\nA=3\n", "line 3 sets A a second time"),
        ('A="open\nB=2\n', "line 1: the quote is not closed"),
        ("A='x' y\n", "line 1: text after the closing quote"),
    ],
)
def test_a_line_that_cannot_be_read_is_named_by_its_number(tmp_path: Path, text: str, said: str) -> None:
    (tmp_path / "x.env").write_text(text)

    with pytest.raises(ConfigError) as error:
        read(tmp_path / "x.env")

    assert error.value.code == "E-ENV-FILE"
    assert said in error.value.message


@pytest.mark.requirement("CFG-01")
def test_what_is_no_text_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "binary").write_bytes(b"A=\xff\xfe")
    (tmp_path / "bom").write_bytes(b"\xef\xbb\xbfA=1\n")

    assert read(tmp_path / "bom") == {"A": "1"}
    for path in (tmp_path / "binary", tmp_path, tmp_path / "nothing"):
        with pytest.raises(ConfigError) as error:
            read(path)
        assert error.value.code == "E-ENV-FILE"


@given(st.text(alphabet=st.characters(exclude_categories=("Cs",), exclude_characters="\r")))
def test_a_double_quoted_value_comes_back_as_it_was(value: str) -> None:
    written = value.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
    assert parse(f'A="{written}"\nB=1\n') == {"A": value, "B": "1"}


@given(st.text(max_size=200))
def test_any_text_is_parsed_or_refused_by_a_value_error(text: str) -> None:
    with contextlib.suppress(ValueError):
        assert isinstance(parse(text), dict)
