"""The root command: help, version, what is not there, and the speed of it."""

from __future__ import annotations

import importlib
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cyclopts
import pytest

from ibkit.cli import build, context
from ibkit.cli.commands import COMMANDS, root_help


def test_help_lists_every_command_once(ibkit: Callable[..., Any]) -> None:
    for arguments in ((), ("--help",), ("-h",), ("--env-file", "x.env", "--help")):
        ran = ibkit(*arguments)
        assert ran.code == 0
        assert ran.out == root_help()
    for command in COMMANDS:
        assert ran.out.count(f"  {command.name} ") == 1
    assert max(len(line) for line in ran.out.splitlines()) <= 80


@pytest.mark.parametrize("command", COMMANDS, ids=lambda c: c.name)
def test_every_command_is_there_and_says_what_the_table_says(command: Any) -> None:
    module, name = command.target.split(":")
    app = getattr(importlib.import_module(module), name)

    assert isinstance(app, cyclopts.App)
    assert app.name == (command.name,)
    assert app.help == command.summary


@pytest.mark.parametrize("command", COMMANDS, ids=lambda c: c.name)
def test_every_command_has_help(ibkit: Callable[..., Any], command: Any) -> None:
    ran = ibkit(command.name, "--help")
    assert ran.code == 0
    assert ran.out.startswith(f"Usage: ibkit {command.name}")


def test_version(ibkit: Callable[..., Any]) -> None:
    assert ibkit("--version").out.startswith("ibkit 0.")


@pytest.mark.requirement("OPT-06")
@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["stauts"], 'Unknown command "stauts". Did you mean "status"?'),
        (["--nonsense"], "Unknown option: --nonsense."),
        (["config", "shwo"], 'Did you mean "show"?'),
        (["config", "show", "--jsn"], "Did you mean --json?"),
        (["errors", "E-GW-DWN"], "E-GW-DWN is not in the catalogue"),
        (["config", "show", "--env-file"], "--env-file needs the name of a file"),
    ],
)
def test_what_is_not_there_exits_2_with_the_nearest_match(
    ibkit: Callable[..., Any], arguments: list[str], said: str
) -> None:
    ran = ibkit(*arguments)
    assert ran.code == 2
    assert ran.out == ""
    assert ran.err.startswith("E-VALIDATION: ")
    assert said in ran.err
    assert "Traceback" not in ran.err


@pytest.mark.requirement("LIM-06")
@pytest.mark.parametrize(("arguments", "kept"), [((), True), (("--no-cache",), False)])
def test_no_cache_holds_wherever_it_stands(
    arguments: tuple[str, ...], kept: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    options, rest = context.split(["positions", *arguments, "list"])
    assert rest == ["positions", "list"]
    context.use(options)
    try:
        assert context.load_settings(require_method=False).runtime.cache is kept
    finally:
        context.use(context.Options())


def test_the_help_of_the_root_needs_no_command_line_library() -> None:
    """`ibkit --help` within 200 ms: cyclopts alone takes 130."""
    code = (
        "import sys; from ibkit import cli; code = cli.run(['--help']);"
        "heavy = {'cyclopts', 'rich', 'anyio', 'msgspec', 'asyncio'} & set(sys.modules);"
        "sys.exit(code or (str(heavy) if heavy else 0))"
    )
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert said.returncode == 0, said.stderr
    assert said.stdout == root_help()


def test_one_command_does_not_load_the_others() -> None:
    app = build("errors")
    assert "errors" in app
    assert "status" not in app


def test_a_fault_of_ours_is_a_code_and_a_file_not_a_traceback(
    ibkit: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    from ibkit.cli.commands import errors

    def broken() -> str:
        raise ZeroDivisionError("with something secret in it")

    monkeypatch.setattr(errors, "page", broken)
    ran = ibkit("errors", "--md")

    assert ran.code == 1
    assert ran.err.startswith("E-INTERNAL: Unexpected fault in ibkit: ZeroDivisionError")
    assert "secret" not in ran.err
    assert "Traceback" not in ran.err
    file = Path(ran.err.split("with ", 1)[1].split(".txt", 1)[0] + ".txt")
    assert "ZeroDivisionError" in file.read_text(encoding="utf-8")
    file.unlink()
