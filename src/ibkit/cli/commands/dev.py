"""`ibkit dev`: for who works on a repository that keys must stay out of."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import cyclopts

from ibkit.cli import output
from ibkit.cli.flags import Json, flag
from ibkit.errors import ConfigError

__all__ = ["app"]

app = cyclopts.App(name="dev", help="The hook that keeps keys out of git.")

_OURS = "# Written by `ibkit dev hooks`"


@app.command
def hooks(
    folder: Annotated[Path, cyclopts.Parameter(help="A folder of the repository.")] = Path(),
    *,
    force: Annotated[bool, flag("Run the hook that is there first, and then ours.")] = False,
    json: Json = False,
) -> None:
    """Make git refuse commits with key files or secrets in them (`ibkit security scan --staged` before each)."""
    from ibkit.upkeep.secret_scan import hooks_folder, is_repository

    if not is_repository(folder):
        raise ConfigError(
            f"Invalid request: {folder.absolute()} is in no git repository, or git is not installed",
            code="E-VALIDATION",
            remedy="Name a folder inside of one.",
        )
    place = hooks_folder(folder) / "pre-commit"
    before = place.with_name("pre-commit.before-ibkit")
    if place.exists() and _OURS not in place.read_text(encoding="utf-8", errors="replace"):
        if not force:
            raise ConfigError(
                f"Invalid request: {place} is there already",
                code="E-VALIDATION",
                remedy="Add the line `ibkit security scan --staged` to it, or repeat with --force to run both.",
            )
        place.rename(before)
    place.parent.mkdir(parents=True, exist_ok=True)
    place.write_text(_script(before.name), encoding="utf-8")
    place.chmod(0o755)
    if json:
        output.emit({"hook": place.absolute()})
    else:
        output.say(
            f"Written: {place}. `git commit --no-verify` goes past it; `ibkit security scan` looks at everything."
        )


def _script(before: str) -> str:
    python = Path(sys.executable).as_posix()
    return f"""\
#!/bin/sh
{_OURS}; `ibkit dev hooks` writes it anew.
before="$(dirname "$0")/{before}"
if [ -x "$before" ]; then "$before" "$@" || exit $?; fi
if [ -x "{python}" ]; then exec "{python}" -m ibkit security scan --staged; fi
exec ibkit security scan --staged
"""
