"""The house keeps its own rules: what a room offers is listed and there, modules and functions stay readable."""

from __future__ import annotations

import ast
import importlib
import re
import shutil
import subprocess
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

from ibkit.settings import VARIABLES

SOURCE = Path(__file__).parents[1] / "src" / "ibkit"
ROOMS = ("model", "wire", "trading", "users", "vault", "client", "notify", "store", "settings", "bootstrap", "cli")
LONG_MODULES = {"error_catalogue.py": "one table"}
LONG_FUNCTIONS = {
    "cli/commands/orders.py: place": "each flag is a parameter",
    "cli/commands/sell_option.py: sell_option": "each flag is a parameter",
    "cli/commands/sim.py: sim": "each flag is a parameter",
    "sim/exchange/order_rows.py: status_row": "one long row, as IBKR spells it",
}
MODULE_LINES, FUNCTION_LINES = 500, 64


@cache
def trees() -> dict[str, ast.Module]:
    return {path.relative_to(SOURCE).as_posix(): ast.parse(path.read_text()) for path in sorted(SOURCE.rglob("*.py"))}


def listed(tree: ast.Module) -> list[str] | None:
    for node in tree.body:
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "__all__":
            return [ast.literal_eval(element) for element in node.value.elts]  # type: ignore[attr-defined]
    return None


@pytest.mark.parametrize("room", ROOMS)
def test_what_a_room_offers_is_there(room: str) -> None:
    module = importlib.import_module(f"ibkit.{room}")
    assert len(module.__all__) == len(set(module.__all__))
    assert [name for name in module.__all__ if getattr(module, name, None) is None] == []


def test_what_a_module_lists_is_defined_or_imported_in_it() -> None:
    for name, tree in trees().items():
        offered = listed(tree)
        if offered is None or any(isinstance(n, ast.FunctionDef) and n.name == "__getattr__" for n in tree.body):
            continue
        assert len(offered) == len(set(offered)), name
        module = importlib.import_module(
            "ibkit." + name.removesuffix(".py").replace("/", ".").removesuffix(".__init__")
        )
        assert [each for each in offered if not hasattr(module, each)] == [], name


def test_a_leading_underscore_means_this_module_only() -> None:
    for name, tree in trees().items():
        for node in ast.walk(tree):
            if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("ibkit"):
                private = [a.name for a in node.names if re.match(r"_[a-z]", a.name)]
                assert private == [], f"{name} takes {private} from {node.module}"


def functions() -> Iterator[tuple[str, int]]:
    for name, tree in trees().items():
        for node in ast.walk(tree):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                assert node.end_lineno is not None
                yield f"{name}: {node.name}", node.end_lineno - node.lineno + 1


def test_functions_and_modules_stay_readable() -> None:
    too_long = {name for name, lines in functions() if lines > FUNCTION_LINES}
    assert too_long <= LONG_FUNCTIONS.keys()
    lengths = {name: len((SOURCE / name).read_text().splitlines()) for name in trees()}
    assert {name for name, lines in lengths.items() if lines > MODULE_LINES} <= LONG_MODULES.keys()


def test_no_module_is_called_after_nothing() -> None:
    vague = {"utils", "util", "common", "helpers", "helper", "manager", "misc"}
    assert [name for name in trees() if Path(name).stem in vague] == []


def test_each_module_says_what_it_is_for() -> None:
    assert [name for name, tree in trees().items() if tree.body and not ast.get_docstring(tree)] == []


def test_no_work_is_left_in_a_comment() -> None:
    marks = re.compile(r"\b(TODO|FIXME|HACK)\b")
    assert [path.name for path in SOURCE.rglob("*.py") if marks.search(path.read_text())] == []


PARTS_TO_COME = ("sync", "web", "alerts", "support", "session", "vault", "oauth2", "general", "runtime")


def test_a_setting_that_nothing_reads_is_one_of_a_part_to_come_and_the_guide_says_so() -> None:
    code = "\n".join((SOURCE / name).read_text() for name in trees() if name != "settings/groups.py")
    unread = [v for v in VARIABLES.values() if not re.search(rf"\.{v.field}\b", code) and v.name != "IB_IS_LIVE"]
    assert {v.group for v in unread} <= set(PARTS_TO_COME), [v.name for v in unread if v.group not in PARTS_TO_COME]
    guide = (SOURCE.parents[1] / "docs/guide/limits.md").read_text()
    assert "have no effect" in guide
    named = re.findall(r"`([A-Z_]+\*?)`", guide)
    silent = [
        v.name for v in unread if not any(v.name == n or (n.endswith("*") and v.name.startswith(n[:-1])) for n in named)
    ]
    assert silent == []


def test_each_section_of_the_facts_that_the_code_cites_exists() -> None:
    facts = SOURCE.parents[1] / "docs/facts"
    sections = {
        page.name: set(re.findall(r"^#+ (\d+(?:\.\d+)?)", page.read_text(), re.M)) for page in facts.glob("*.md")
    }
    wrong: list[str] = []
    for name in trees():
        cited = re.finditer(
            r"docs/facts/([a-z-]+\.md)((?:,? §?\d+(?:\.\d+)?(?:-[\d.]+\d)?)*)", (SOURCE / name).read_text()
        )
        for match in cited:
            known = sections.get(match[1], set())
            numbers = re.findall(r"\d+(?:\.\d+)?", match[2])
            wrong += [f"{name}: {match[0]}" for number in numbers if number not in known]
            wrong += [f"{name}: {match[1]}"] if match[1] not in sections else []
    assert wrong == []


@pytest.mark.skipif(shutil.which("make") is None, reason="no make")
def test_make_test_runs_each_file_of_tests_once() -> None:
    root = SOURCE.parents[1]
    rooms = re.search(r"^ROOMS := ((?:.*\\\n)*.*)$", (root / "Makefile").read_text(), re.MULTILINE)
    assert rooms is not None
    wanted = [f"test-{room}" for room in rooms[1].replace("\\", "").split()]
    told = subprocess.run(["make", "--dry-run", *wanted], cwd=root, capture_output=True, text=True, check=True).stdout
    ran: list[Path] = []
    for words in (line.partition("pytest -q ")[2].split() for line in told.splitlines()):
        for found in (path for word in words for path in root.glob(word)):
            ran += sorted(found.rglob("test_*.py")) if found.is_dir() else [found]
    assert sorted(ran) == sorted((root / "tests").rglob("test_*.py"))
