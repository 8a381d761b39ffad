"""The reviewer's page and the map of OWASP ASVS name nothing that is not there, and the map leaves nothing out."""

from __future__ import annotations

import ast
import csv
import re
import ssl
from functools import cache
from pathlib import Path

import pytest

from command_lines import ibkit_lines, why_not
from ibkit.client.transports.sockets import pinned, trusting

ROOT = Path(__file__).parents[1]
SOURCE, TESTS, PAGE = ROOT / "src/ibkit", ROOT / "tests", ROOT / "docs/security.md"
THREATS = 50
STATES = {"met", "not met", "n.a."}
LEVELS = {
    "1.1": "22", "1.2": "1111122223", "1.3": "112222222223", "1.4": "222", "1.5": "123",
    "2.1": "122", "2.2": "112", "2.3": "12223", "2.4": "23",
    "3.1": "3", "3.2": "113", "3.3": "12223", "3.4": "11222233", "3.5": "11122333", "3.6": "3", "3.7": "22333",
    "4.1": "12233", "4.2": "23333", "4.3": "22", "4.4": "1222",
    "5.1": "2", "5.2": "112333", "5.3": "113", "5.4": "222",
    "6.1": "122", "6.2": "111111112222", "6.3": "11223333", "6.4": "112233", "6.5": "22222333", "6.6": "2223",
    "6.7": "33", "6.8": "2222",
    "7.1": "222", "7.2": "1111", "7.3": "22", "7.4": "11222", "7.5": "223", "7.6": "22",
    "8.1": "1233", "8.2": "1123", "8.3": "133", "8.4": "23",
    "9.1": "111", "9.2": "1222",
    "10.1": "22", "10.2": "223", "10.3": "22223", "10.4": "1111122222233333", "10.5": "22222", "10.6": "22",
    "10.7": "222",
    "11.1": "2233", "11.2": "22233", "11.3": "11233", "11.4": "1222", "11.5": "23", "11.6": "23", "11.7": "33",
    "12.1": "12233", "12.2": "11", "12.3": "22223",
    "13.1": "2333", "13.2": "222223", "13.3": "2233", "13.4": "1222233",
    "14.1": "22", "14.2": "12223333", "14.3": "122",
    "15.1": "12233", "15.2": "12233", "15.3": "1222222", "15.4": "3333",
    "16.1": "2", "16.2": "22222", "16.3": "2222", "16.4": "222", "16.5": "2223",
    "17.1": "23", "17.2": "22223333", "17.3": "22",
}  # fmt: skip
"""Section → the level of each of its requirements, in their order. Source: OWASP ASVS 5.0.0, 5.0/docs_en, its CSV."""


@cache
def rows() -> tuple[dict[str, str], ...]:
    with (ROOT / "docs/asvs.tsv").open(encoding="utf-8", newline="") as file:
        return tuple(csv.DictReader(file, delimiter="\t", quoting=csv.QUOTE_NONE))


@cache
def names_in(path: Path) -> frozenset[str]:
    return frozenset(
        node.name
        for node in ast.walk(ast.parse(path.read_bytes()))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
    )


def is_test(cited: str) -> bool:
    place, _, name = cited.partition("::")
    path = TESTS / place
    return name.startswith("test_") and path.is_file() and name in names_in(path)


def is_there(cited: str) -> bool:
    return is_test(cited) if "::" in cited else (SOURCE / cited).exists() or (ROOT / cited).exists()


def cited_in(page: str) -> list[str]:
    """Every test and path in a page's code: `a/b.py`, `a/b.py::test_c`, `folder/`, a file of another kind."""
    code = re.findall(r"`([^`\n]+)`", re.sub(r"^```.*?^```", "", page, flags=re.MULTILINE | re.DOTALL))
    return [each for each in code if "::" in each or re.fullmatch(r"[\w.-]+(/[\w.-]+)+/?|[\w/-]+\.(py|lock|tsv)", each)]


def test_every_requirement_of_levels_1_and_2_stands_exactly_once() -> None:
    levels = [level for section in LEVELS.values() for level in section]
    assert (levels.count("1"), levels.count("2"), levels.count("3")) == (70, 183, 92)  # as OWASP counts them
    wanted = [
        (f"V{section}.{number}", level)
        for section, of_section in LEVELS.items()
        for number, level in enumerate(of_section, 1)
        if level in "12"
    ]
    assert [(row["number"], row["level"]) for row in rows()] == wanted


@pytest.mark.parametrize("chapter", range(1, 18))
def test_what_the_map_names_is_there_and_nothing_is_met_by_words_alone(chapter: int) -> None:
    for row in rows():
        if not row["number"].startswith(f"V{chapter}."):
            continue
        cited = row["where"].split()
        assert row["state"] in STATES, row
        assert row["about"].strip(), row
        assert row["why"].strip(), row
        assert [each for each in cited if not is_there(each)] == [], row["number"]
        if row["state"] == "met":
            assert any((SOURCE / each).exists() for each in cited), row["number"]
            assert any("::" in each for each in cited), row["number"]
        if row["state"] == "n.a.":
            assert cited == [], row["number"]


@pytest.mark.requirement("DOC-05")
def test_the_page_names_only_what_is_there() -> None:
    page = PAGE.read_text()
    cited = cited_in(page)
    assert len([each for each in cited if "::" in each]) > 100
    assert [each for each in cited if not is_there(each)] == []
    links = [target.partition("#")[0] for target in re.findall(r"\]\(([^)]+)\)", page)]
    assert [target for target in links if not (PAGE.parent / target).exists()] == []


def test_each_threat_has_controls_tests_and_what_is_left() -> None:
    threats = re.split(r"^### (?=TM-)", PAGE.read_text().partition("\n## Secrets and keys")[0], flags=re.MULTILINE)[1:]
    assert [each[:5] for each in threats] == [f"TM-{number:02}" for number in range(1, THREATS + 1)]
    for each in threats:
        parts = re.findall(
            r"^- (What could happen|Controls|Tests|Left): (.+?)(?=^- |\Z)", each, re.MULTILINE | re.DOTALL
        )
        assert [name for name, _ in parts] == ["What could happen", "Controls", "Tests", "Left"], each[:40]
        assert any(is_test(cited) for cited in cited_in(dict(parts)["Tests"])), each[:40]
    opened = set(re.findall(r"TM-\d\d", PAGE.read_text().partition("## What is open")[2].partition("\n## ")[0]))
    nothing = {each[:5] for each in threats if "- Left: Nothing known." in each}
    assert opened & nothing == set()


@pytest.mark.requirement("DOC-05")
def test_each_practice_has_a_command_of_ours_that_checks_it() -> None:
    section = PAGE.read_text().partition("## Practices")[2].partition("\n## ")[0]
    practices = [line for line in section.splitlines() if line.startswith("| ")][1:]
    assert len(practices) > 10
    assert [line for line in practices if not ibkit_lines(line)] == []
    assert {line: why for line in ibkit_lines(PAGE.read_text()) if (why := why_not(line)) is not None} == {}


def test_what_is_not_there_would_be_noticed() -> None:
    assert not is_there("users/nothing.py")
    assert not is_there("users/test_tokens.py::test_nothing")
    assert not is_there("users/test_nothing.py::test_any_text_is_no_token_and_raises_nothing")
    assert cited_in("see `users/nothing.py` and `a/test_b.py::test_c`, not `SameSite=Strict`") == [
        "users/nothing.py",
        "a/test_b.py::test_c",
    ]


def test_what_we_open_is_tls_1_2_at_least() -> None:
    """By Python's own default, which nothing of ours lowers; pyreqwest's rustls knows no older one."""
    for context in (trusting(None), pinned("0" * 64)):
        assert context.minimum_version >= ssl.TLSVersion.TLSv1_2
