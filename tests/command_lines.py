"""Command lines of `ibkit` that pages and unit files name: found, and read as the program would, without running."""

from __future__ import annotations

import re
import shlex
from functools import cache
from pathlib import Path
from typing import Any

from ibkit.cli import build, context
from ibkit.cli.commands import COMMANDS

__all__ = ["console_lines", "ibkit_lines", "why_not"]

_FENCE = re.compile(r"^ *```(\w*)\n(.*?)^ *```", re.MULTILINE | re.DOTALL)
_INLINE = re.compile(r"(?<!`)`(ibkit [^`]+)`(?!`)")
_CALL = re.compile(r"(?:^|/bin/|\bexec \w+ )(ibkit (?!&&).+)$")


def ibkit_lines(page: str) -> list[str]:
    """Every command line of ours in a page: in its blocks, as it is, by its path or after `exec NAME`, and inline."""
    found = [
        line.split("#")[0].strip()
        for kind, block in _FENCE.findall(page)
        if kind in ("sh", "console")
        for line in block.replace("\\\n", " ").splitlines()
    ]
    shown = [match[1] for line in found if (match := _CALL.search(line)) is not None]
    outside = _FENCE.sub("", page)
    return [line for line in (*shown, *_INLINE.findall(outside)) if line.startswith("ibkit ") and "…" not in line]


def console_lines(page: str) -> list[str]:
    return [
        line.strip()
        for kind, block in _FENCE.findall(page)
        if kind == "console"
        for line in block.splitlines()
        if line.strip()
    ]


def why_not(line: str) -> str | None:
    """Why `line` is no command of ours; None where it is one."""
    words = shlex.split(line)[1:]
    try:
        _, rest = context.split(words)
    except Exception as error:  # noqa: BLE001  - whatever it is, it is why
        return str(error)
    name = rest[0] if rest else ""
    if name not in {command.name for command in COMMANDS}:
        return f"no command {name}"
    if len(rest) == 1 and not _runs_alone(name):
        return None  # named as a whole
    try:
        _app(name).parse_args(rest, print_error=False, exit_on_error=False)
    except Exception as error:  # noqa: BLE001
        return " ".join(str(error).split())
    return None


@cache
def _app(name: str) -> Any:
    return build(name)


def _runs_alone(name: str) -> bool:
    return _app(name)[name].default_command is not None


def texts(folder: Path) -> dict[str, str]:
    return {path.name: path.read_text(encoding="utf-8") for path in sorted(folder.glob("*.md"))}
